"""AtomicPusher's executor: the checks and properties of the stock Pusher, but another way of writing a version."""

import errno
import hashlib
import json
import os
import random
import time
import uuid

from tfx.components.pusher import executor as tfx_pusher
from tfx.proto import pusher_pb2
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import proto_utils

from components.atomic_pusher import card
from components.data_statistics import kept_statistics, read_drift
from model_code import file_io, model_directory
from model_code.errors import PipelineStop
from model_code.logger import logger
from model_code.urls import is_url
from serving import served, version_directories

_LONGEST_PUSH_S = 3600.0


class Executor(tfx_pusher.Executor):
    """See component.AtomicPusher for inputs, outputs and properties."""

    def Do(self, input_dict, output_dict, exec_properties):
        pushed = artifact_utils.get_single_instance(output_dict['pushed_model'])
        if not input_dict.get('model_blessing') or not input_dict.get('infra_blessing'):
            raise PipelineStop('AtomicPusher needs two inputs, model_blessing and infra_blessing; nothing is pushed '
                               'unchecked.')
        if not self.CheckBlessing(input_dict):
            logger.info('Nothing is pushed, because the model was rejected. What is being served stays as it is.')
            self._MarkNotPushed(pushed)
            return
        destination = pusher_pb2.PushDestination()
        proto_utils.json_to_proto(exec_properties['push_destination'], destination)
        if destination.WhichOneof('destination') != 'filesystem':
            raise PipelineStop(f'The push destination is {destination.WhichOneof("destination")}; it must be a '
                               'filesystem with a base_directory.')
        model_dir, serving_dir = self.GetModelPath(input_dict), destination.filesystem.base_directory
        digest, newest = served.digest(model_dir), served.newest(serving_dir)
        # A cluster starts a step that was killed again, with the same outputs. No other push has them.
        own = hashlib.sha256(pushed.uri.encode()).hexdigest()[:16]
        if newest and newest.digest == digest:
            if newest.card.get('push') != own:
                logger.info('Nothing is pushed: version %d is this model already.', newest.number)
                self._MarkNotPushed(pushed)
                return
            version = str(newest.number)
            logger.info('This step was started before, and was ended after it had pushed version %s.', version)
        else:
            blessing, data = (artifact_utils.get_single_uri(input_dict[name])
                              for name in ('model_blessing', 'data_statistics'))
            custom = json.loads(exec_properties.get('custom_config') or '{}')
            version = push(model_dir, serving_dir, {
                **custom, **card.stated(custom), **read_decision(blessing),
                'evaluation': read_evaluations(input_dict),
                'data': card.data_entry(model_directory.read_data(kept_statistics(data)) or {}),
                'data_baseline_version': read_drift(data)['version'],
                'model_digest': digest, 'push': own}, kept_statistics(data))
        path = os.path.join(serving_dir, version)
        file_io.copy_folder(path, pushed.uri)
        self._MarkPushed(pushed, pushed_destination=path, pushed_version=version)
        logger.info('Pushed version %s to %s.', version, serving_dir)


def read_decision(blessing_dir: str) -> dict:
    """What the card says of the gate's decision: each task's metrics, and the version it was compared with."""
    decision = file_io.read_json(os.path.join(blessing_dir, 'decision.json'))
    return {'metrics': {task['name']: task['metrics'] for task in decision['tasks']},
            'baseline_version': decision['baseline_version']}


def read_evaluations(input_dict) -> dict[str, dict]:
    """Task -> card.evaluation_entry of its evaluation, as far as the evaluations have intervals."""
    found = {}
    for artifacts in input_dict.values():
        for artifact in artifacts:
            if artifact.type_name == standard_artifacts.ModelEvaluation.TYPE_NAME:
                evaluation = file_io.read_json(os.path.join(artifact.uri, 'evaluation.json'))
                if evaluation:
                    found[evaluation['task']] = card.evaluation_entry(evaluation)
    return found


def push(model_dir: str, serving_dir: str, card_additions: dict, statistics_dir: str) -> str:
    """Copies the SavedModel into serving_dir as a version greater than all that are there; returns the version.

    On a local file system it is written to a temporary directory, then renamed, so that a server that polls serving_dir
    sees the version whole or not at all. Behind a URL it is written in place, with saved_model.pb last, because a
    version counts by that file. card_additions: added to the copy's model card. statistics_dir: of the data, added too.
    """
    if is_url(serving_dir):
        version = claim_version(serving_dir)
        _write(model_dir, os.path.join(serving_dir, version), card_additions, statistics_dir)
        remove_half_pushed(serving_dir)
        return version
    os.makedirs(serving_dir, exist_ok=True)
    with file_io.temporary_folder(serving_dir) as temporary:
        _write(model_dir, temporary, card_additions, statistics_dir)
        _flush(temporary)
        while True:
            version = next_version(serving_dir)
            try:
                # Atomic. It fails if another push has taken the number, because then the directory is not empty.
                os.rename(temporary, os.path.join(serving_dir, version))
                return version
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise


def claim_version(serving_dir: str) -> str:
    """A version in a folder behind a URL that no other push writes.

    A push puts a file of its own into the version's folder, then looks. If anything else is there, another push may be
    writing, and this one takes its file back and another number. Of two pushes, the one that looks later sees the file
    of the other; if both do, both go on to other numbers. That needs nothing of a store but that its lists are up to
    date, which those of S3 and Google Cloud Storage are. A push that was killed leaves its file, and so the number is
    not used again.
    """
    while True:
        version = next_version(serving_dir)
        folder, claim = os.path.join(serving_dir, version), file_io.TEMPORARY + uuid.uuid4().hex
        file_io.write(os.path.join(folder, claim), '')
        if file_io.list_folder(folder) == [claim]:
            return version
        file_io.remove(os.path.join(folder, claim))
        time.sleep(random.uniform(0, 2))  # two that meet should not meet again


def remove_half_pushed(serving_dir: str):
    """Removes what pushes that were killed left behind a URL: versions without a model, too old to be written now."""
    for number, path in version_directories.list_versions(serving_dir).items():
        if number < time.time() - _LONGEST_PUSH_S and not model_directory.has_model(path):
            logger.info('Removing %s, which a push that was ended left half written.', path)
            file_io.remove_folder(path)


def next_version(serving_dir: str) -> str:
    """The time in seconds, as in the stock Pusher, or the greatest version in serving_dir plus one if that is more.

    The time, because a number must never name two models. If someone rolls back by removing the newest version,
    counting up would give its number to the next model, and whatever remembers the number (TFX's cache of
    ServingBaseline, dashboards, clients) would mistake one model for the other. Directories without a model count too,
    because a server may have seen and rejected them.
    """
    newest = max(version_directories.list_versions(serving_dir), default=0)
    if newest == version_directories.MAX_VERSION:
        raise PipelineStop(f'{serving_dir} has version {newest}, the greatest number that a server reads, so no newer '
                           'version can be pushed. Remove it.')
    return str(max(int(time.time()), newest + 1))


def _write(model_dir: str, target: str, card_additions: dict, statistics_dir: str):
    """Writes the model with the additions to its card, and the statistics of its data; saved_model.pb last."""
    graph, card = model_directory.graph_path(''), model_directory.card_path('')
    file_io.copy_folder(model_dir, target, leave_out=(graph, card))
    model_directory.write_card(target, model_directory.read_card(model_dir) | card_additions)
    file_io.copy_folder(statistics_dir, model_directory.statistics_path(target))
    file_io.remove_leftovers(target)  # the claim: by now the other files claim the number
    file_io.copy(os.path.join(model_dir, graph), os.path.join(target, graph))


def _flush(directory: str):
    """Flushes every file to disk, because after a power cut renamed files might otherwise be empty."""
    for folder, _, names in os.walk(directory):
        for path in [os.path.join(folder, name) for name in names] + [folder]:
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

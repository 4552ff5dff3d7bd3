"""AtomicPusher's executor: the checks and properties of the stock Pusher, but another way of writing a version."""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import random
import time
import typing
import uuid
from collections.abc import Collection

from tfx.components.pusher import executor as tfx_pusher
from tfx.proto import pusher_pb2
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import proto_utils

from components.atomic_pusher import card
from components.data_statistics import kept_statistics, read_drift
from components.evaluation_names import EVALUATION
from model_code import file_io, model_directory
from model_code.errors import PipelineStop
from model_code.logger import logger
from model_code.urls import is_url
from serving import served, signed_versions, version_directories

_LONGEST_PUSH_S = 3600.0
_LONGEST_COMMIT_S = 300.0  # in which saved_model.pb, the last file, is uploaded
_COMMIT = f'{file_io.TEMPORARY}commit-'


class Overtaken(PipelineStop):
    """What is being served is no longer what the model was compared with."""


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
            decided = read_decision(blessing)
            custom = json.loads(exec_properties.get('custom_config') or '{}')
            kept = decided.get('unchanged', ())
            version = push(model_dir, serving_dir, {
                **custom, **card.stated(custom), **decided,
                'evaluation': carried(newest, 'evaluation', kept) | read_evaluations(input_dict),
                'data': card.data_entry(model_directory.read_data(kept_statistics(data)) or {}) | carried(
                    newest, 'data', kept),
                'data_baseline_version': read_drift(data)['version'],
                'model_digest': digest, 'push': own}, kept_statistics(data), decided['baseline_version'])
        path = os.path.join(serving_dir, version)
        file_io.copy_folder(path, pushed.uri)
        self._MarkPushed(pushed, pushed_destination=path, pushed_version=version)
        logger.info('Pushed version %s to %s.', version, serving_dir)


def read_decision(blessing_dir: str) -> dict:
    """What the card says of the gate's decision: each task's metrics, and the version it was compared with.

    Of tasks that were not trained also their names, `unchanged`. Of a model that was pushed by force also `forced`: the
    reason, and what the gate rejected it for.
    """
    decision = file_io.read_result(os.path.join(blessing_dir, 'decision.json'))
    found = {'metrics': {task['name']: task['metrics'] for task in decision['tasks']},
             'baseline_version': decision['baseline_version']}
    unchanged = [task['name'] for task in decision['tasks'] if task.get('outcome') == 'unchanged']
    if unchanged:
        found['unchanged'] = unchanged
    if decision['forced']:
        found['forced'] = {'reason': decision['forced'], 'rejected_for': decision['reasons']}
    return found


def carried(newest: served.Served | None, key: str, tasks: Collection[str]) -> dict[str, dict]:
    """Task -> its part of an entry in the card of the version being served: the same holds of the new one."""
    entry = newest.card.get(key, {}) if newest else {}
    return {name: entry[name] for name in tasks if name in entry}


def read_evaluations(input_dict) -> dict[str, dict]:
    """Task -> card.evaluation_entry of its evaluation, as far as the evaluations have intervals."""
    found = {}
    for artifacts in input_dict.values():
        for artifact in artifacts:
            if artifact.type_name == standard_artifacts.ModelEvaluation.TYPE_NAME:
                evaluation = file_io.read_result(os.path.join(artifact.uri, EVALUATION))
                if evaluation:
                    found[evaluation['task']] = card.evaluation_entry(evaluation)
    return found


def push(model_dir: str, serving_dir: str, card_additions: dict, statistics_dir: str, baseline: str) -> str:
    """Copies the SavedModel into serving_dir as a version greater than all that are there; returns the version.

    baseline: the version that the model was compared with, '' for none. It must be the newest until the moment in which
    the new one appears: of two pushes at once one raises Overtaken, and leaves nothing.

    On a local file system it is written to a temporary directory, then renamed, so that a server that polls serving_dir
    sees the version whole or not at all. Behind a URL it is written in place, with saved_model.pb last, because a
    version counts by that file. card_additions: added to the copy's model card. statistics_dir: of the data, added too.

    With a key in the environment (signed_versions.signing_key) the version is signed.
    """
    key = signed_versions.signing_key()
    check_baseline(serving_dir, baseline)  # before copying
    if is_url(serving_dir):
        version = claim_version(serving_dir)
        folder = os.path.join(serving_dir, version)
        _write(model_dir, folder, card_additions, statistics_dir)
        if key is not None:
            graph = {model_directory.graph_path(''): file_io.content_hash(model_directory.graph_path(model_dir))}
            _sign(folder, version, signed_versions.file_digests(folder) | graph, key)
        try:
            with _only_commit(serving_dir):
                check_baseline(serving_dir, baseline)
                _write_graph(model_dir, folder)
        except Overtaken:
            file_io.remove_folder(folder)
            raise
        remove_half_pushed(serving_dir)
        return version
    os.makedirs(serving_dir, exist_ok=True)
    with file_io.temporary_folder(serving_dir) as temporary:
        _write(model_dir, temporary, card_additions, statistics_dir)
        _write_graph(model_dir, temporary)
        _flush(temporary)
        digests = signed_versions.file_digests(temporary) if key is not None else {}
        with _lock(f'{os.path.abspath(serving_dir)}.lock'):
            while True:
                check_baseline(serving_dir, baseline)
                version = next_version(serving_dir)
                if key is not None:
                    _sign(temporary, version, digests, key)
                try:
                    # Atomic. It fails if the number was taken without the lock, because the directory is not empty.
                    os.rename(temporary, os.path.join(serving_dir, version))
                    return version
                except OSError as error:
                    if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                        raise


def check_baseline(serving_dir: str, baseline: str):
    """Raises Overtaken unless the newest version is the one that the model was compared with, '' for none."""
    newest = served.newest(serving_dir)
    number = str(newest.number) if newest else ''
    if number == baseline:
        return
    compared = f'compared with version {baseline}' if baseline else 'judged by its floors alone, with nothing served'
    if newest and (not baseline or newest.number > int(baseline)):
        raise Overtaken(f'Version {number} was pushed while this model was {compared}. Nothing is pushed. Run again, '
                        f'and the model is compared with version {number}.')
    left = f'version {number} is the newest' if newest else 'no version is left'
    raise Overtaken(f'Version {baseline}, which this model was compared with, was removed from {serving_dir}: {left}. '
                    'Nothing is pushed. Run again, and the model is compared with what is there.')


@contextlib.contextmanager
def _lock(path: str) -> typing.Iterator[None]:
    with open(path, 'wb') as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # until the file is closed, also by the death of the process
        yield


@contextlib.contextmanager
def _only_commit(serving_dir: str) -> typing.Iterator[None]:
    """A context in which no other push to this folder behind a URL is.

    As in claim_version: a push announces itself by a file, then looks for others; where it sees one it takes its own
    back and waits. Of two pushes, the one that looks later sees the other's file, or, if that has gone, its version.
    The file of a push that was killed right here counts for minutes.
    """
    while True:
        own = f'{_COMMIT}{int(time.time())}-{uuid.uuid4().hex}'
        file_io.write(os.path.join(serving_dir, own), '')
        try:
            if not _other_commits(serving_dir, own):
                yield
                return
        finally:
            file_io.remove(os.path.join(serving_dir, own))
        time.sleep(random.uniform(0, 2))


def _other_commits(serving_dir: str, own: str) -> list[str]:
    oldest = time.time() - _LONGEST_COMMIT_S
    return [name for name in file_io.list_folder(serving_dir) if name.startswith(_COMMIT) and name != own
            and int(name.removeprefix(_COMMIT).partition('-')[0]) > oldest]


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
    """Writes all but saved_model.pb, with the additions to the card, and the statistics of the data."""
    graph, card = model_directory.graph_path(''), model_directory.card_path('')
    file_io.copy_folder(model_dir, target, leave_out=(graph, card))
    model_directory.write_card(target, model_directory.read_card(model_dir) | card_additions)
    file_io.copy_folder(statistics_dir, model_directory.statistics_path(target))
    file_io.remove_leftovers(target)  # the claim: by now the other files claim the number


def _write_graph(model_dir: str, target: str):
    """Writes saved_model.pb, by which a version counts."""
    file_io.copy(model_directory.graph_path(model_dir), model_directory.graph_path(target))


def _sign(folder: str, version: str, digests: dict[str, str], key):
    file_io.write(model_directory.signature_path(folder), signed_versions.sign(digests, version, key))


def _flush(directory: str):
    """Flushes every file to disk, because after a power cut renamed files might otherwise be empty."""
    for folder, _, names in os.walk(directory):
        for path in [os.path.join(folder, name) for name in names] + [folder]:
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

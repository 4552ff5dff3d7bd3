"""The serving check as plain functions that know no TFX: why a model must not be served, tried with real media."""

import base64
import http.client
import json
import os
import tempfile
import typing

from components.serving_check import ops
from model_code import file_io, modalities, model_directory, signature_names
from model_code.tasks import Task

_TOLERANCE = 1e-4  # by which scores of the same model may differ
_MODEL, _VERSION = 'candidate', 1
_TIMEOUT_S = 300.0  # The first request traces and compiles. A big model on a busy machine is slow, not broken.


def check_model(model_dir: str, tasks: typing.Sequence[Task],
                media: dict[str, bytes | list[bytes] | None]) -> list[str]:
    """Why the model must not be served, in sentences; [] if it may.

    media: task name -> the encoded media of one real example (a list of frames for video); None if there is none.
    """
    try:
        foreign = ops.foreign_ops(model_dir)
    except ops.UnreadableModel as error:
        return [str(error)]
    if foreign:
        return [f'The graph has the op {op} ({where}), which is not core TensorFlow, so TensorFlow Serving cannot run '
                'it. Export only core TensorFlow ops, and decode such media in the client.'
                for op, where in sorted(foreign.items())]
    from serving.limits import Limits
    from serving.server import ModelServer
    with tempfile.TemporaryDirectory(prefix='serving_check_') as base_path:
        _copy(model_dir, os.path.join(base_path, str(_VERSION)))
        with ModelServer(base_path, model_name=_MODEL, port=0, limits=Limits(timeout_s=_TIMEOUT_S)) as server:
            version = server.models.status(_MODEL)[0]
            if version.state != 'AVAILABLE':
                return [f'The server cannot load the model: {version.error.message}']
            card = model_directory.read_card(model_dir)
            reasons = []
            with server.models.acquire(_MODEL) as (_, model):
                signatures = set(model.signatures)
            for task in tasks:
                reasons += [f'Task {task.name}: {reason}'
                            for reason in _check_task(server, task, media.get(task.name), card, signatures)]
    return reasons


def _check_task(server, task: Task, media, card: dict, signatures: set[str]) -> list[str]:
    """What is wrong with the answers of one task's signatures; [] if nothing is. signatures: all that the model has."""
    if not media:
        return ['there is no example to send, neither in the eval split nor in the train split.']
    replies = {}
    of_all = signature_names.all_tasks(task.modality)
    for signature in (task.name, signature_names.scores(task.name), *({of_all} & signatures)):
        status, reply = _post(server, signature, media)
        if status != 200:
            return [f'the server answered {status} to a real example sent to signature {signature}: '
                    f'{reply.get("error", reply)}']
        replies[signature] = reply['predictions'][0]
    top, scores = replies[task.name], replies[signature_names.scores(task.name)]
    if not isinstance(top, dict) or top.keys() != {'labels', 'scores'}:
        return [f'signature {task.name} answered {str(top)[:200]}; it must answer with labels and scores.']
    classes = _classes(task, card)
    groups = task.group_ids(classes) if classes else ()
    reasons = task.data.kind.functions.check_answer(top['labels'], top['scores'], scores, classes, groups)
    if not reasons and of_all in replies:
        reasons = _check_same(replies[of_all], of_all, scores, task.name)
    return reasons


def _check_same(everything, signature: str, scores: list, task: str) -> list[str]:
    """Why the answer for all tasks of the modality is not the scores of this one; [] if it is."""
    name = signature_names.scores(task)
    # A single output has no name.
    found = everything.get(name) if isinstance(everything, dict) else everything
    if not isinstance(found, list) or len(found) != len(scores):
        return [f'signature {signature} answered {str(everything)[:200]}; it must answer with {name} of each class.']
    difference = max((abs(one - other) for one, other in zip(found, scores, strict=True)), default=0.0)
    return [] if difference <= _TOLERANCE else [
        f'signature {signature} gives other scores than {name}: they differ by up to {difference:.2g}.']


def _classes(task: Task, card: dict) -> tuple[str, ...]:
    for entry in card.get('tasks', ()):
        if entry.get('name') == task.name and entry.get('classes'):
            return tuple(entry['classes'])
    return task.data.classes


def _post(server, signature: str, media) -> tuple[int, dict]:
    """The HTTP status and the JSON of the answer to a predict request for one example."""
    def encode(content: bytes):
        return {'b64': base64.b64encode(content).decode('ascii')}
    instance = [encode(frame) for frame in media] if isinstance(media, list) else encode(media)
    connection = http.client.HTTPConnection(server.host, server.port, timeout=_TIMEOUT_S + 10)
    try:
        connection.request('POST', f'/v1/models/{_MODEL}:predict',
                           json.dumps({'signature_name': signature, 'instances': [instance]}))
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def _copy(source: str, destination: str):
    """Copies a directory tree from any file system that TensorFlow opens to a local one."""
    import tensorflow as tf
    for folder, _, names in tf.io.gfile.walk(source):
        target = os.path.join(destination, os.path.relpath(folder, source))
        os.makedirs(target, exist_ok=True)
        for name in names:
            tf.io.gfile.copy(os.path.join(folder, name), os.path.join(target, name))


def first_media(directories: typing.Sequence[str], modality: modalities.Modality) -> bytes | list[bytes] | None:
    """The encoded media of the first example in directories of TFRecords (gzip or not); None if they have none."""
    import tensorflow as tf
    for directory in directories:
        for path in sorted(tf.io.gfile.glob(os.path.join(directory, '*'))):
            compression = 'GZIP' if path.endswith('.gz') else ''
            for record in tf.data.TFRecordDataset(path, compression).take(1):
                example = tf.train.Example.FromString(record.numpy())
                values = list(example.features.feature[modality.feature].bytes_list.value)
                if values:
                    return values if modality.repeated else values[0]
    return None


def write_reasons(reasons: list[str], directory: str):
    """Writes reasons.json, {"blessed": bool, "reasons": [sentence, ...]}, into the directory."""
    file_io.write(os.path.join(directory, 'reasons.json'),
                  json.dumps({'blessed': not reasons, 'reasons': reasons}, indent=1))

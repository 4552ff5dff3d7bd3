"""The check itself, as plain functions that know no TFX: a model and real media in, reasons against it out."""

import base64
import http.client
import json
import math
import os
import tempfile
import typing

from components.serving_check import ops
from model_code import file_io, modalities, model_directory
from model_code.tasks import Task

_VERSION = 1
_TIMEOUT_S = 300.0  # a first request traces and compiles; a big model on a busy machine is slow, not broken


def check_model(model_dir: str, tasks: typing.Sequence[Task],
                media: dict[str, bytes | list[bytes] | None]) -> list[str]:
    """Sentences on why the model must not be served; none where it may.

    media: task name -> one real example's encoded media (a list of frames for video), or None where there is none.
    """
    try:
        foreign = ops.foreign_ops(model_dir)
    except ops.UnreadableModel as error:
        return [str(error)]
    if foreign:
        return [f'The graph has the op {op} ({where}), which is not core TensorFlow: TensorFlow Serving cannot run it. '
                'Use core TensorFlow ops in what is exported, and decode other media in the client.'
                for op, where in sorted(foreign.items())]
    from serving.rest import Limits
    from serving.server import ModelServer
    with tempfile.TemporaryDirectory(prefix='serving_check_') as base_path:
        _copy(model_dir, os.path.join(base_path, str(_VERSION)))
        with ModelServer(base_path, port=0, limits=Limits(timeout_s=_TIMEOUT_S)) as server:
            version = server.models.status('polyvit')[0]
            if version.state != 'AVAILABLE':
                return [f'The server cannot load the model: {version.error.message}']
            card = model_directory.read_card(model_dir)
            reasons = []
            for task in tasks:
                reasons += [f'Task {task.name}: {reason}'
                            for reason in _check_task(server, task, media.get(task.name), card)]
    return reasons


def _check_task(server, task: Task, media, card: dict) -> list[str]:
    """What is wrong with the answers of one task's signatures."""
    if not media:
        return ['there is no example to send, neither in the split eval nor in train.']
    replies = {}
    for signature in (task.name, f'{task.name}_scores'):
        status, reply = _post(server, signature, media)
        if status != 200:
            return [f'the server answered {status} to a real example sent to signature {signature}: '
                    f'{reply.get("error", reply)}']
        replies[signature] = reply['predictions'][0]
    top, scores = replies[task.name], replies[f'{task.name}_scores']
    if not isinstance(top, dict) or top.keys() != {'labels', 'scores'}:
        return [f'signature {task.name} answered {str(top)[:200]}; it must answer labels and scores.']
    classes = _classes(task, card)
    if task.data.label_groups and not classes:
        return ['the model card does not name its classes, so its label groups cannot be told apart.']
    if task.data.label_groups:
        return check_groups_answer(top['labels'], top['scores'], scores, classes, task.group_ids(classes))
    return check_answer(top['labels'], top['scores'], scores, classes, task.data.label_kind == 'multi')


def check_groups_answer(labels: list[str], top_scores: list[float], scores: list[float], classes: tuple[str, ...],
                        groups: tuple[tuple[int, ...], ...]) -> list[str]:
    """`check_answer` for each label group: `labels` and `top_scores` have its best, `groups` (Task.group_ids) its
    classes."""
    if len(labels) != len(groups) or len(top_scores) != len(groups) or len(scores) != len(classes):
        return [f'{len(labels)} labels and {len(top_scores)} scores of {len(scores)} classes came back; it must be one '
                f'of each for each of {len(groups)} label groups of {len(classes)} classes.']
    return [reason for label, score, ids in zip(labels, top_scores, groups)
            for reason in check_answer([label], [score], [scores[i] for i in ids], tuple(classes[i] for i in ids),
                                       multi_label=False, most=1)]


def check_answer(labels: list[str], top_scores: list[float], scores: list[float], classes: tuple[str, ...],
                 multi_label: bool, most: int = 5) -> list[str]:
    """What is wrong with one example's labels and scores (best first) and all scores (in vocabulary order).

    classes: the task's, or () where they are not known. most: how many labels come back where there are as many.
    """
    reasons = []
    count = min(most, len(scores))
    if len(labels) != count or len(top_scores) != count:
        reasons.append(f'{len(labels)} labels and {len(top_scores)} scores came back; of {len(scores)} classes it must '
                       f'be {count} of each.')
    if classes and len(scores) != len(classes):
        reasons.append(f'{len(scores)} scores came back for {len(classes)} classes.')
    if not all(isinstance(s, float) and math.isfinite(s) and 0 <= s <= 1 for s in [*top_scores, *scores]):
        reasons.append(f'the scores {top_scores} are not all numbers from 0 to 1.')
        return reasons
    if top_scores != sorted(top_scores, reverse=True):
        reasons.append(f'the scores {top_scores} are not sorted, best first.')
    if any(abs(a - b) > 1e-3 for a, b in zip(sorted(top_scores, reverse=True), sorted(scores, reverse=True))):
        reasons.append(f'the scores {top_scores} are not the best of {scores}, the signature of all scores.')
    if not multi_label and abs(sum(scores) - 1) > 1e-2:
        reasons.append(f'the scores of all classes sum to {sum(scores):.3f}; for a single label it must be 1.')
    if len(set(labels)) != len(labels):
        reasons.append(f'a label came back twice: {labels}.')
    unknown = [label for label in labels if classes and label not in classes]
    if unknown:
        reasons.append(f'the labels {unknown} are none of its classes.')
    return reasons


def _classes(task: Task, card: dict) -> tuple[str, ...]:
    for entry in card.get('tasks', ()):
        if entry.get('name') == task.name and entry.get('classes'):
            return tuple(entry['classes'])
    return task.data.classes


def _post(server, signature: str, media) -> tuple[int, dict]:
    """The status and JSON of a predict request for one example."""
    def encode(content: bytes):
        return {'b64': base64.b64encode(content).decode('ascii')}
    instance = [encode(frame) for frame in media] if isinstance(media, list) else encode(media)
    connection = http.client.HTTPConnection(server.host, server.port, timeout=_TIMEOUT_S + 10)
    try:
        connection.request('POST', '/v1/models/polyvit:predict',
                           json.dumps({'signature_name': signature, 'instances': [instance]}))
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def _copy(source: str, destination: str):
    """A directory tree, from any file system that TensorFlow opens, to a local one."""
    import tensorflow as tf
    for folder, _, names in tf.io.gfile.walk(source):
        target = os.path.join(destination, os.path.relpath(folder, source))
        os.makedirs(target, exist_ok=True)
        for name in names:
            tf.io.gfile.copy(os.path.join(folder, name), os.path.join(target, name))


def first_media(directories: typing.Sequence[str], modality: modalities.Modality) -> bytes | list[bytes] | None:
    """The encoded media of the first example under the directories of (gzip) TFRecords, in order; None without one."""
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
    """reasons.json: {"blessed": bool, "reasons": [...]} in the directory."""
    file_io.write(os.path.join(directory, 'reasons.json'),
                json.dumps({'blessed': not reasons, 'reasons': reasons}, indent=1))

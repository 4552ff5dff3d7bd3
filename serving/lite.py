"""A pushed version as a TensorFlow Lite model, for devices: of its tasks the part from the model's input to the scores.

Decoding stays outside, because TensorFlow Lite has no operation for it: who uses the file makes the inputs. Tasks that
the converter cannot translate (today those on videos) are left out.
"""

import collections
import dataclasses
import importlib.util
import json
import re
import tempfile

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from model_code import file_io, model_directory, signature_names
from model_code.errors import ConfigError, PipelineStop

# The most by which a score may differ from the served one. It is about 1e-7 where the conversion is right.
TOLERANCE = 1e-4


@dataclasses.dataclass(frozen=True)
class Lite:
    """What `convert` wrote: two files and their tasks. left_out: task -> why. difference: the largest of any score."""
    path: str
    description_path: str
    tasks: tuple[str, ...]
    left_out: dict[str, str]
    difference: float


def convert(version_dir: str, path: str) -> Lite:
    """Writes a .tflite file that has, for each task, a signature of the task's name.

    A signature takes `inputs` [N, *input shape] float32 and gives `scores` [N, classes] float32. All share one copy of
    the weights. A file beside it, with the ending .json, has each task's labels, the shape of its inputs, and over how
    many views of an example the served model averages the scores.

    Each task is compared with the served model on the real example in the version's warm-up requests. Raises
    ConfigError if the version or the path is wrong, or if a file is there already. Raises PipelineStop, and writes
    nothing, if no task can be converted or if a score differs by more than TOLERANCE.
    """
    if not path.endswith('.tflite'):
        raise ConfigError(f'The file {path} must end in .tflite.')
    description_path = f'{path.removesuffix(".tflite")}.json'
    for output in (path, description_path):
        if file_io.exists(output):
            raise ConfigError(f'{output} exists already. Remove it, or give another file.')
        file_io.check_output(output)
    if not model_directory.has_model(version_dir):
        raise ConfigError(f'There is no model in {version_dir}. Give a version directory (with saved_model.pb).')
    model, card = tf.saved_model.load(version_dir), model_directory.read_card(version_dir)
    tasks = card.get('tasks')
    if not hasattr(model, 'scores_of') or not tasks:
        raise ConfigError(f'The model in {version_dir} was exported by an older version of this package and lacks the '
                          'functions that are converted. Run its config again.')
    content, left_out = _convert_what_can_be(model, tasks)
    kept = [task for task in tasks if task['name'] not in left_out]
    samples = _samples(version_dir)
    views = {task['name']: _views(card, task) for task in kept}
    difference = max(_difference(model, content, name, samples[name], count) for name, count in views.items())
    if not difference <= TOLERANCE:
        raise PipelineStop(f'The scores of the converted model differ from the served ones by {difference:.2g}; at '
                           f'most {TOLERANCE:g} is allowed. Nothing was written.')
    description = {task['name']: {
        'modality': task['modality'], 'labels': task['classes'], 'views': views[task['name']],
        'input_shape': _input(model, task['name']).shape.as_list()} for task in kept}
    file_io.write(description_path, json.dumps(description, indent=1, ensure_ascii=False))
    file_io.write(path, content)
    return Lite(path, description_path, tuple(task['name'] for task in kept), left_out, difference)


def _convert_what_can_be(model, tasks: list[dict]) -> tuple[bytes, dict[str, str]]:
    """(the content of the file, task -> why it was left out)."""
    by_modality = collections.defaultdict(list)
    for task in tasks:
        by_modality[task['modality']].append(task['name'])
    try:
        return _convert(model, [task['name'] for task in tasks]), {}
    except _Untranslatable:
        pass
    # The tasks of a modality differ in their heads only, so one tells for all.
    left_out = {}
    for modality, names in by_modality.items():
        try:
            _convert(model, names[:1])
        except _Untranslatable as error:
            reason = f'TensorFlow Lite cannot run {error} with the shapes of {modality} inputs'
            left_out |= dict.fromkeys(names, reason)
    names = [task['name'] for task in tasks if task['name'] not in left_out]
    if not names:
        raise PipelineStop('No task can be converted: ' + '; '.join(
            f'{name}: {reason}' for name, reason in left_out.items()) + '. Nothing was written.')
    return _convert(model, names), left_out


class _Untranslatable(Exception):
    """The converter has no translation of an operation, whose name is the message."""


def _convert(model, names: list[str]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(model, folder, signatures={
            name: tf.function(lambda inputs, name=name: {'scores': model.scores_of[name](inputs)},
                              input_signature=[_input(model, name)], autograph=False) for name in names})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=names)
        try:
            return converter.convert()
        except Exception as error:  # the converter's own class is not public
            operation = re.search(r"'tf\.(\w+)' op is neither", str(error))
            if not operation:
                raise
            raise _Untranslatable(operation[1]) from None


def _input(model, task: str) -> tf.TensorSpec:
    (spec,), _ = model.scores_of[task].concrete_functions[0].structured_input_signature
    return tf.TensorSpec(spec.shape, spec.dtype, name='inputs')


def _samples(version_dir: str) -> dict[str, tf.Tensor]:
    """Task -> encoded media of one example, from the warm-up requests for `<task>_scores`."""
    samples = {}
    for record in tf.data.TFRecordDataset(model_directory.warmup_path(version_dir)):
        request = prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request
        name = request.model_spec.signature_name
        task = signature_names.task_of_scores(name)
        if task:
            samples[task] = tf.make_ndarray(next(iter(request.inputs.values())))
    return samples


def _views(card: dict, task: dict) -> int:
    """How many views of an example the served model averages over; a card of an older version does not tell."""
    return card['inputs'][task['modality']].get('views', 1)


def _difference(model, content: bytes, task: str, media: np.ndarray, views: int) -> float:
    """The largest difference of a score between the served and the converted model, for one example, given twice."""
    media = tf.constant(np.concatenate([media, media]))
    served = next(iter(model.signatures[signature_names.scores(task)](media).values())).numpy()
    inputs_of, run = model.inputs_of[task], _interpreter(content).get_signature_runner(task)
    inputs = [inputs_of(media)] if views == 1 else [inputs_of(media, tf.constant(view)) for view in range(views)]
    converted = np.mean([run(inputs=one.numpy())['scores'] for one in inputs], axis=0)
    return float(np.abs(served - converted).max())


def _interpreter(content: bytes):
    """An interpreter of the file. From TensorFlow 2.20 on it is a package of its own."""
    own_package = importlib.util.find_spec('ai_edge_litert')
    module = importlib.import_module('ai_edge_litert.interpreter') if own_package else tf.lite
    return module.Interpreter(model_content=content)

"""Reads what the report shows from the pipeline's artifacts."""

import math
import os
from collections.abc import Iterator

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from components import artifacts
from components.evaluation_names import EVALUATION, SHOWN, SUSPECT_EXAMPLES, SUSPECTS
from media.findings import Findings
from media.verdict import remarks
from model_code import file_io, model_directory
from model_code.errors import damaged
from model_code.tasks import Task


def read_card(model_dir: str) -> dict:
    """The SavedModel's card with the signatures of the model, and the number of its parameters if the card lacks it."""
    card = model_directory.read_card(model_dir)
    # The signatures always come from the model, because those in a card might have another form.
    return {'parameters': count_parameters(model_dir), **card, 'signatures': read_signatures(model_dir)}


def read_signatures(model_dir: str) -> dict[str, dict]:
    """Signature name -> {'inputs': {name: 'dtype [shape]'}, 'outputs': ...}, sorted by name."""
    saved_model = saved_model_pb2.SavedModel.FromString(file_io.read_bytes(model_directory.graph_path(model_dir)))
    return {name: {'inputs': _tensors(signature.inputs), 'outputs': _tensors(signature.outputs)}
            for graph in saved_model.meta_graphs for name, signature in sorted(graph.signature_def.items())
            if not name.startswith('__')}


def _tensors(infos) -> dict[str, str]:
    return {name: f'{tf.dtypes.as_dtype(info.dtype).name} [{_shape(info.tensor_shape)}]'
            for name, info in sorted(infos.items())}


def _shape(shape) -> str:
    if shape.unknown_rank:
        return '?'
    # An unknown first size is that of the batch; an unknown later one is the length of a list.
    return ', '.join(str(d.size) if d.size >= 0 else ('N' if i == 0 else '?') for i, d in enumerate(shape.dim))


def count_parameters(model_dir: str) -> int | None:
    """How many numbers the model's variables hold; None if it has no variables."""
    prefix = os.path.join(model_dir, 'variables', 'variables')
    if not file_io.exists(f'{prefix}.index'):
        return None
    reader = tf.train.load_checkpoint(prefix)
    types = reader.get_variable_to_dtype_map()
    return sum(math.prod(shape) for name, shape in reader.get_variable_to_shape_map().items()
               if types[name].is_floating)


def read_suspects(evaluation_dir: str) -> tuple[dict | None, dict[str, dict]]:
    """The suspect labels of an evaluation (components.task_evaluator.suspects): suspects.json, None if there is none,
    and the features of the listed examples by their ids: lists of bytes, ints or floats."""
    return (file_io.read_result(os.path.join(evaluation_dir, SUSPECTS)),
            _read_examples(os.path.join(evaluation_dir, SUSPECT_EXAMPLES)))


def read_evaluation(evaluation_dir: str) -> tuple[dict, dict[str, dict]]:
    """evaluation.json, {} if there is none, and the features of the examples that it lists, by their ids."""
    return (file_io.read_result(os.path.join(evaluation_dir, EVALUATION)) or {},
            _read_examples(os.path.join(evaluation_dir, SHOWN)))


def read_near_duplicates(rejected_dir: str) -> tuple[Findings, dict[str, dict]]:
    """The findings of RejectedMedia, and the features of the near duplicates that they name, by their ids."""
    return artifacts.read_findings(rejected_dir), _read_examples(os.path.join(rejected_dir, artifacts.NEAR_DUPLICATES))


def _read_examples(path: str) -> dict[str, dict]:
    """Id -> features of the examples in a file of gzip TFRecords; {} if there is none.

    Raises PipelineStop if it is damaged.
    """
    examples = {}
    if file_io.exists(path):
        for record in _records(path):
            features = {}
            for name, feature in tf.train.Example.FromString(record).features.feature.items():
                kind = feature.WhichOneof('kind')
                features[name] = list(getattr(feature, kind).value) if kind else []
            examples[features['id'][0].decode('utf-8', 'surrogateescape')] = features
    return examples


def _records(path: str) -> Iterator[bytes]:
    try:
        yield from tf.data.TFRecordDataset(path, 'GZIP').as_numpy_iterator()
    except tf.errors.DataLossError as error:
        raise damaged(path, error) from error


def read_findings(task: Task, rejected_dir: str) -> dict:
    """{'remarks': [line] on the task's media (media.verdict.remarks), 'groups': {split: number of groups}}."""
    findings = artifacts.read_findings(rejected_dir)
    return {'remarks': remarks(task.checks, findings), 'groups': findings.groups}

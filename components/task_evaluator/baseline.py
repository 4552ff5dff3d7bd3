"""Whether the model being served can be measured on a task. A model that does not load must not end the run."""

import os

import tensorflow as tf

from components.task_evaluator import loaded_models
from components.task_evaluator.eval_config import signatures
from model_code import file_io
from model_code.data import Source

_LONGEST = 300  # characters of an error


def problem(path: str, source: Source, example: bytes | None) -> str:
    """Why a model cannot be measured on a task whose signatures it has; '' if it can.

    path: of the SavedModel. example: a serialized tf.Example of the eval split; None if that is empty.
    """
    try:
        model = loaded_models.load(path)
        outputs = [_call(model.signatures[name], example) for name in signatures(source.name)]
    except Exception as error:  # a damaged model may raise anything
        first = (str(error).strip().splitlines() or [''])[0]
        return f'it cannot be loaded and asked ({type(error).__name__}: {first[:_LONGEST]})'
    label = outputs[1]
    if label is not None and (label.shape.rank == 2) != source.data.kind.multi_hot:
        return f'it was trained with another kind of label than {source.data.label_kind!r}'
    return ''


def first_example(split_dir: str) -> bytes | None:
    """The first tf.Example in a split's files, serialized; None if there is none."""
    files = sorted(os.path.join(split_dir, name) for name in file_io.list_folder(split_dir))
    return next(tf.data.TFRecordDataset(files, 'GZIP').as_numpy_iterator(), None) if files else None


def _call(signature, example: bytes | None):
    """The only output of a signature for the example; None without an example."""
    if example is None:
        return None
    (argument, _), = signature.structured_input_signature[1].items()
    output, = signature(**{argument: tf.constant([example])}).values()
    return output

"""Models, loaded once per process: the evaluators of a run share them where they run in one process.

Loading takes seconds, as long as thousands of predictions, and a mixture has an evaluator per task.
"""

import functools
import os

import tensorflow as tf

from model_code import file_io


def load(path: str):
    """The SavedModel in a directory, which must not be changed. Raises what TensorFlow does if it cannot be loaded."""
    files = tuple((name, _written(os.path.join(path, name))) for name in file_io.list_files(path))
    return _load(path, files)


@functools.lru_cache(maxsize=2)  # a candidate and a baseline
def _load(path: str, files: tuple[tuple[str, tuple[int, int]], ...]):
    """files: what shows that another model was written to the same place."""
    return tf.saved_model.load(path)


def _written(path: str) -> tuple[int, int]:
    status = tf.io.gfile.stat(path)
    return status.length, status.mtime_nsec

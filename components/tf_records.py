"""Writing tf.Examples as gzip TFRecords, by the workers of MediaExampleGen and of Transform."""

import contextlib
import os
from collections.abc import Iterator

import tensorflow as tf

from model_code import file_io

# Media are already compressed. Deflate saves a few percent more, and its lowest level takes a quarter of the time.
_OPTIONS = tf.io.TFRecordOptions(compression_type='GZIP', compression_level=1)


@contextlib.contextmanager
def writer(examples_uri: str, split: str, name: str) -> Iterator[tf.io.TFRecordWriter]:
    """A writer of the file `name` of a split. The file appears whole when the block ends; not at all if it raises.

    examples_uri: the directory of an Examples artifact.
    """
    path = os.path.join(examples_uri, f'Split-{split}', name)
    # The temporary file is outside the split's folder, because readers take every file there.
    with file_io.replacing(path, temporary_folder=examples_uri) as temporary:
        with file_writer(temporary) as file:
            yield file


def file_writer(path: str) -> tf.io.TFRecordWriter:
    """A writer of one file, which is written in place."""
    return tf.io.TFRecordWriter(path, _OPTIONS)


def serialize(features: dict[str, list]) -> bytes:
    """A tf.Example of features, each a list of bytes, ints or floats. Equal features give equal bytes."""
    example = tf.train.Example()
    for name, values in features.items():
        if not values:
            example.features.feature[name].SetInParent()
        elif isinstance(values[0], bytes):
            example.features.feature[name].bytes_list.value.extend(values)
        elif isinstance(values[0], int):
            example.features.feature[name].int64_list.value.extend(values)
        else:
            example.features.feature[name].float_list.value.extend(values)
    return example.SerializeToString(deterministic=True)

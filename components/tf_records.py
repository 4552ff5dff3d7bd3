"""Writing tf.Examples as gzip TFRecords, by the workers of MediaExampleGen and of Transform."""

import contextlib
import os
import zlib
from collections.abc import Iterator

import tensorflow as tf

from model_code import file_io

_SAMPLE_BYTES = 1 << 16
# The least share that Deflate must save, and the share by which its whole search may be better than coding bytes alone.
_SAVED, _BETTER = 0.1, 0.05


@contextlib.contextmanager
def writer(examples_uri: str, split: str, name: str) -> Iterator['Writer']:
    """A writer of the file `name` of a split. The file appears whole when the block ends; not at all if it raises.

    examples_uri: the directory of an Examples artifact.
    """
    path = os.path.join(examples_uri, f'Split-{split}', name)
    # The temporary file is outside the split's folder, because readers take every file there.
    with file_io.replacing(path, temporary_folder=examples_uri) as temporary:
        with Writer(temporary) as file:
            yield file


class Writer:
    """Writes a file in place, as a context. Compresses as much as pays, by its first records: equal records, equal
    files.

    Media are already compressed, but small JPEGs share their tables, which are two thirds of them. To search large ones
    for what they repeat would take longer than to decode them, and every reader would have to undo it.
    """

    def __init__(self, path: str):
        self._path, self._held, self._held_bytes = path, [], 0
        self._file: tf.io.TFRecordWriter | None = None

    def write(self, record: bytes):
        if self._file is not None:
            self._file.write(record)
            return
        self._held.append(record)
        self._held_bytes += len(record)
        if self._held_bytes >= _SAMPLE_BYTES:
            self._open()

    def _open(self) -> tf.io.TFRecordWriter:
        self._file = file = tf.io.TFRecordWriter(self._path, _options(b''.join(self._held)[:_SAMPLE_BYTES]))
        for record in self._held:
            file.write(record)
        self._held.clear()
        return file

    def __enter__(self) -> 'Writer':
        return self

    def __exit__(self, *unused):
        (self._file or self._open()).close()


def _options(sample: bytes) -> tf.io.TFRecordOptions:
    """The gzip options for records that begin with `sample`. Deflate's lowest level takes a quarter of its usual time
    for nearly the same size."""
    def size(strategy: int) -> int:
        deflate = zlib.compressobj(1, strategy=strategy)
        return len(deflate.compress(sample)) + len(deflate.flush())

    deflated, strategy = size(zlib.Z_DEFAULT_STRATEGY), zlib.Z_DEFAULT_STRATEGY
    level = 0 if deflated > (1 - _SAVED) * len(sample) else 1
    if level and size(zlib.Z_HUFFMAN_ONLY) <= (1 + _BETTER) * deflated:
        strategy = zlib.Z_HUFFMAN_ONLY
    return tf.io.TFRecordOptions(compression_type='GZIP', compression_level=level, compression_strategy=strategy)


def serialize(features: dict[str, list]) -> bytes:
    """A tf.Example of features, each a list of bytes, ints or floats. Equal features give equal bytes."""
    example = tf.train.Example()
    by_name = example.features.feature
    for name, values in features.items():
        feature = by_name[name]  # which adds it, though it may have no values
        if not values:
            feature.SetInParent()
        elif isinstance(values[0], bytes):
            feature.bytes_list.value.extend(values)
        elif isinstance(values[0], int):
            feature.int64_list.value.extend(values)
        else:
            feature.float_list.value.extend(values)
    return example.SerializeToString(deterministic=True)

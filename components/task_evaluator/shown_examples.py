"""Copies the few examples of a split that the report shows, with their media."""

import contextlib
import os
from collections.abc import Collection, Mapping

import tensorflow as tf

from model_code import file_io


def copy_examples(split_dir: str, wanted: Mapping[str, Collection[str]]):
    """Writes examples of a split to files of gzip TFRecords. Reads the split once, at most.

    wanted: path of a file -> the ids of the examples that it gets. A file without any is not written.
    """
    left = {path: {example_id.encode('utf-8', 'surrogateescape') for example_id in ids}
            for path, ids in wanted.items() if ids}
    with contextlib.ExitStack() as stack:
        writers = {path: stack.enter_context(tf.io.TFRecordWriter(stack.enter_context(file_io.replacing(path)), 'GZIP'))
                   for path in left}
        files = sorted(os.path.join(split_dir, name) for name in file_io.list_folder(split_dir)) if left else []
        for record in tf.data.TFRecordDataset(files, 'GZIP').as_numpy_iterator() if files else ():
            if not any(left.values()):
                break
            example_id = tf.train.Example.FromString(record).features.feature['id'].bytes_list.value[:1]
            for path, ids in left.items():
                if example_id and example_id[0] in ids:
                    ids.remove(example_id[0])
                    writers[path].write(record)

"""Files of examples appear whole or not at all, compressed as far as it pays; equal features give equal bytes."""

import zlib

import numpy as np
import pytest
import tensorflow as tf

from components import tf_records


def test_a_file_that_fails_leaves_nothing_and_is_written_whole_next_time(tmp_path):
    with pytest.raises(ValueError), tf_records.writer(str(tmp_path), 'train', 'some.gz') as writer:
        writer.write(b'half')
        raise ValueError
    assert [p.name for p in tmp_path.rglob('*')] == ['Split-train']
    for content in (b'first', b'again'):
        with tf_records.writer(str(tmp_path), 'train', 'some.gz') as writer:
            writer.write(content)
    assert [r.numpy() for r in tf.data.TFRecordDataset(str(tmp_path / 'Split-train/some.gz'), 'GZIP')] == [b'again']
    assert len(list(tmp_path.iterdir())) == 1


def test_features_keep_their_types_whatever_their_order():
    features = {'b': [b'x', b'y'], 'i': [3], 'f': [0.5], 'none': []}
    serialized = tf_records.serialize(features)
    assert serialized == tf_records.serialize(dict(reversed(features.items())))
    example = tf.train.Example.FromString(serialized).features.feature
    assert [example[name].WhichOneof('kind') for name in features] == ['bytes_list', 'int64_list', 'float_list', None]
    assert list(example['b'].bytes_list.value) == [b'x', b'y'] and list(example['f'].float_list.value) == [0.5]


def written(path, records):
    """The size of a file with these records, which must be read again as they are."""
    with tf_records.Writer(str(path)) as writer:
        for record in records:
            writer.write(record)
    assert [r.numpy() for r in tf.data.TFRecordDataset(str(path), 'GZIP')] == records
    return path.stat().st_size / max(1, sum(map(len, records)))


def test_records_are_compressed_as_far_as_it_pays(tmp_path):
    rng = np.random.default_rng(0)
    media = [rng.bytes(50_000) for _ in range(4)]  # as a large JPEG is to Deflate
    assert 1 < written(tmp_path / 'large.gz', media) < 1.002
    tables = rng.bytes(600)
    assert written(tmp_path / 'small.gz', [tables + rng.bytes(300) for _ in range(400)]) < 0.45
    quiet = [rng.normal(0, 200, 8_000).astype('<i2').tobytes() for _ in range(40)]  # no sequence comes twice
    assert written(tmp_path / 'quiet.gz', quiet) < 0.9
    assert tf_records._options(b''.join(quiet)[:1 << 16]).compression_strategy == zlib.Z_HUFFMAN_ONLY
    assert written(tmp_path / 'none.gz', []) > 0  # a split without examples has a file, too


def test_equal_records_give_equal_files_however_few(tmp_path):
    for records in ([b'one'], [b'x' * (1 << 20)], [bytes([number]) * 100 for number in range(256)] * 40):
        contents = []
        for name in ('first.gz', 'second.gz'):
            written(tmp_path / name, records)
            contents.append((tmp_path / name).read_bytes())
        assert contents[0] == contents[1]

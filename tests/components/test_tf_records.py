"""Files of examples appear whole or not at all, and equal features give equal bytes."""

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

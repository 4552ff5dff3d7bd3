"""Transform on real bytes: the transformed examples are in the order and the files of the examples."""

import json
import math
import os

import tensorflow as tf
import tensorflow_transform as tft
from tfx.types import standard_artifacts

from components import tf_records
from components.task_schema_gen import executor as schema_executor
from components.transform import executor
from model_code.serialization import to_json
from tests import artifacts, testing


def artifact(kind, uri):
    made = kind()
    made.uri = os.fspath(uri)
    return made


def transformed(directory, task, spec, classes, files):
    """Runs Do on {split: {file name: [features]}}; returns the same of what it wrote."""
    examples = artifact(standard_artifacts.Examples, directory / 'examples')
    examples.split_names = json.dumps(list(files))
    for split, by_name in files.items():
        for name, rows in by_name.items():
            with tf_records.writer(examples.uri, split, name) as writer:
                for row in rows:
                    writer.write(tf_records.serialize(row))
    properties = {'source': to_json(task.source), 'spec': to_json(spec)}
    schema = artifact(standard_artifacts.Schema, directory / 'schema')
    schema_executor.Executor().Do({'classes': [artifacts.classes(directory / 'classes', classes)]},
                                  {'schema': [schema]}, properties)
    graph = artifact(standard_artifacts.TransformGraph, directory / 'graph')
    output = artifact(standard_artifacts.Examples, directory / 'transformed')
    executor.Executor().Do({'examples': [examples], 'schema': [schema]},
                           {'transform_graph': [graph], 'transformed_examples': [output]}, properties)
    assert output.split_names == examples.split_names
    assert sorted(os.listdir(graph.uri)) == ['metadata', 'transform_fn', 'transformed_metadata']
    spec = tft.TFTransformOutput(graph.uri).transformed_feature_spec()
    return {split: {name: [tf.io.parse_single_example(record, spec) for record in tf.data.TFRecordDataset(
        os.path.join(output.uri, f'Split-{split}', name), 'GZIP')] for name in by_name}
        for split, by_name in files.items()}


def example(number, label, **media):
    return {'id': [f'{number}'.encode()], 'label': [label], 'height': [1], 'width': [1], 'brightness': [0.5], **media}


def ids(rows):
    return [int(row['id']) for row in rows]


def test_files_and_their_order_stay_and_a_file_without_examples_too(tmp_path):
    rows = [example(number, [b'cat', b'dog', b'dog'][number % 3], image=[bytes([number])]) for number in range(100)]
    rows.reverse()  # not the order of the ids
    files = {'train': {'data_tfrecord-00000-of-00002.gz': rows[:70], 'data_tfrecord-00001-of-00002.gz': rows[70:]},
             'eval': {'data_tfrecord-00000-of-00001.gz': []}}
    written = transformed(tmp_path, testing.task('pets', 'image'), testing.IMAGE_SPEC, ('cat', 'dog'), files)
    assert {split: {name: ids(rows) for name, rows in by_name.items()} for split, by_name in written.items()} == {
        'train': {'data_tfrecord-00000-of-00002.gz': list(range(99, 29, -1)),
                  'data_tfrecord-00001-of-00002.gz': list(range(29, -1, -1))},
        'eval': {'data_tfrecord-00000-of-00001.gz': []}}
    for row in written['train']['data_tfrecord-00000-of-00002.gz']:
        assert set(row) == {'id', 'label', 'image'} and row['image'].numpy() == bytes([int(row['id'])])
        assert row['label'].numpy() == (int(row['id']) % 3 == 0)  # dogs are more frequent


def test_clips_keep_their_frames_and_sounds_get_their_moments(tmp_path):
    clips = [[bytes([n, i]) for i in range(n + 1)] for n in range(3)]
    rows = [example(n, b'dog', frames=clip, duration_s=[1.0]) for n, clip in enumerate(clips)]
    written = transformed(tmp_path / 'video', testing.task('pets', 'video'), testing.VIDEO_SPEC, ('dog',),
                          {'train': {'a.gz': rows}, 'eval': {'a.gz': rows[:1]}})
    assert [tf.sparse.to_dense(row['frames']).numpy().tolist() for row in written['train']['a.gz']] == clips
    assert ids(written['eval']['a.gz']) == [0]
    rows = [{'id': [b'%d' % n], 'label': labels, 'audio': [testing.wav_bytes(frequency=300 * (n + 1))],
             'duration_s': [0.3], 'loudness_dbfs': [-20.0]} for n, labels in enumerate([[b'low', b'odd'], [b'low']])]
    written = transformed(tmp_path / 'audio', testing.task('tags', 'audio', label_kind='multi'), testing.AUDIO_SPEC,
                          ('low', 'odd', 'rare'), {'train': {'a.gz': rows}, 'eval': {'a.gz': rows}})
    # A class that no example has counts too: the schema knows it.
    assert [row['label'].numpy().tolist() for row in written['eval']['a.gz']] == [[1, 1, 0], [1, 0, 0]]
    mean, = {float(row['log_mel_mean']) for row in written['train']['a.gz'] + written['eval']['a.gz']}
    assert math.isfinite(mean) and mean != 0

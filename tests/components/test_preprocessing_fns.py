"""Transform's preprocessing_fn, run by the implementation that Transform runs."""

import os

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from tensorflow_transform.tf_metadata import dataset_metadata

from components import preprocessing_fns
from components.task_schema_gen import executor as schema_executor
from model_code.label_kinds import tensors
from model_code.preprocessing import audio as audio_ops
from model_code.serialization import to_json
from tests import testing


def run_transform(directory, task, spec, classes, rows):
    """Analyses and transforms `rows` of raw features; returns the transformed rows and the TFTransformOutput."""
    config = {'source': to_json(task.source), 'spec': to_json(spec), 'classes': len(classes)}
    names = {'image': ('id', 'label', 'image'), 'audio': ('id', 'label', 'audio'), 'video': ('id', 'label', 'frames')}
    schema = schema_executor.task_schema(task.source, classes)
    for feature in [f for f in schema.feature if f.name not in names[task.modality]]:
        schema.feature.remove(feature)
    metadata = dataset_metadata.DatasetMetadata(schema)
    with tft_beam.Context(temp_dir=os.fspath(directory / 'temp')):
        (transformed, _), transform_fn = (rows, metadata) | tft_beam.AnalyzeAndTransformDataset(
            lambda inputs: preprocessing_fns.preprocess(inputs, config))
        transform_fn | tft_beam.WriteTransformFn(os.fspath(directory / 'graph'))
    return transformed, tft.TFTransformOutput(os.fspath(directory / 'graph'))


def test_labels_become_places_in_the_vocabulary_and_clips_keep_their_frames(tmp_path):
    task = testing.task('pets', 'video')
    clips = [[testing.image_bytes('JPEG', seed=i) for i in range(n)] for n in (2, 3, 1, 2)]
    rows = [{'id': f'{i}'.encode(), 'label': label, 'frames': clip}
            for i, (label, clip) in enumerate(zip([b'dog', b'a cat, small', b'dog', b'owl'], clips, strict=True))]
    transformed, output = run_transform(tmp_path, task, testing.VIDEO_SPEC, ('a cat, small', 'dog', 'owl'), rows)
    vocabulary = output.vocabulary_by_name('pets_labels')
    assert vocabulary == [b'dog', b'owl', b'a cat, small']  # by frequency, then by name in reverse
    assert [vocabulary[row['label']] for row in transformed] == [row['label'] for row in rows]
    assert [list(row['frames']) for row in transformed] == clips
    assert [row['id'] for row in transformed] == [b'0', b'1', b'2', b'3']
    spec = output.transformed_feature_spec()
    assert spec['label'] == tf.io.FixedLenFeature([], tf.int64) and spec['frames'] == tf.io.VarLenFeature(tf.string)
    unknown = output.transform_raw_features({
        'id': tf.constant([b'x']), 'label': tf.constant([b'wolf']), 'frames': tf.sparse.from_dense([[b'jpeg']])})
    assert unknown['label'].numpy().tolist() == [-1]


def test_images_pass_as_they_are(monkeypatch):
    monkeypatch.setattr(preprocessing_fns, '_id_and_label', lambda inputs, *config: {'id': inputs['id'], 'label': 0})
    config = {'source': to_json(testing.source('pets', 'image'))}
    assert preprocessing_fns.preprocess({'id': 1, 'label': 'cat', 'image': b'png', 'height': 3}, config) == {
        'id': 1, 'label': 0, 'image': b'png'}


def test_sounds_of_several_labels_become_rows_of_ones_with_the_spectrograms_moments(tmp_path):
    task = testing.task('tags', 'audio', label_kind='multi')
    sounds = [testing.wav_bytes(0.3, frequency=f) for f in (300, 1200, 4000)]
    labels = [[b'low', b'even'], [b'even'], [b'high', b'odd']]
    rows = [{'id': b'i', 'label': row, 'audio': sound} for row, sound in zip(labels, sounds, strict=True)]
    transformed, output = run_transform(tmp_path, task, testing.AUDIO_SPEC, ('low', 'high', 'even', 'odd'), rows)
    vocabulary = output.vocabulary_by_name('tags_labels')
    assert sorted(vocabulary) == [b'even', b'high', b'low', b'odd'] and vocabulary[0] == b'even'
    for row, raw in zip(transformed, labels, strict=True):
        assert row['label'].dtype == np.float32
        assert {v for v, on in zip(vocabulary, row['label'], strict=True) if on == 1} == set(raw)
        assert set(row['label'].tolist()) <= {0.0, 1.0}
    assert output.transformed_feature_spec()['label'] == tf.io.FixedLenFeature([4], tf.float32)
    spectrograms = np.stack([audio_ops.decode(tf.constant(sound), testing.AUDIO_SPEC).numpy() for sound in sounds])
    for row in transformed:
        assert row['log_mel_mean'] == pytest.approx(spectrograms.mean(), rel=1e-4)
        assert row['log_mel_stddev'] == pytest.approx(spectrograms.std(), rel=1e-4)
    assert spectrograms.std() > 1  # otherwise the lines above would show nothing


def test_labels_of_several_groups_become_one_row_of_ones(tmp_path):
    task = testing.task('kitchen', 'image', label_kind='groups', label_groups=('verb', 'noun'))
    labels = [[b'verb:cut', b'noun:onion'], [b'noun:pan', b'verb:wash'], [b'verb:cut', b'noun:pan']]
    rows = [{'id': b'i', 'label': row, 'image': b'png'} for row in labels]
    transformed, output = run_transform(tmp_path, task, testing.IMAGE_SPEC,
                                        ('noun:onion', 'noun:pan', 'verb:cut', 'verb:wash'), rows)
    vocabulary = output.vocabulary_by_name('kitchen_labels')
    assert {len(ids) for ids in task.group_ids([v.decode() for v in vocabulary])} == {2}
    for row, raw in zip(transformed, labels, strict=True):
        assert {v for v, on in zip(vocabulary, row['label'], strict=True) if on == 1} == set(raw)
    assert output.transformed_feature_spec()['label'] == tf.io.FixedLenFeature([4], tf.float32)


def test_multi_hot_ignores_unknown_labels_and_repeated_ones():
    rows = tensors.multi_hot(tf.constant([[0, 2, 2], [-1, -1, -1], [1, -1, -1]], tf.int64), 3)
    assert rows.numpy().tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]
    assert tensors.multi_hot(tf.zeros([2, 0], tf.int64), 3).numpy().tolist() == [[0, 0, 0]] * 2

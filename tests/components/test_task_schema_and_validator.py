"""TaskSchemaGen, the stock StatisticsGen with that schema, and TaskValidator: what passes and what stops a run."""

import json
import logging
import os

import pytest
import tensorflow as tf
from tensorflow_metadata.proto.v0 import statistics_pb2
from tfx.components.statistics_gen import executor as statistics_executor
from tfx.components.statistics_gen import stats_artifact_utils
from tfx.types import channel, standard_artifacts
from tfx.utils import io_utils

from components.artifacts import RejectedMedia, write_rejected_media
from components.classes import Classes
from components.media_example_gen import beam_steps
from components.task_schema_gen import executor as schema_executor
from components.task_schema_gen.component import TaskSchemaGen
from components.task_validator import executor as validator
from components.task_validator.component import TaskValidator
from media.entries import Entry
from media.findings import Findings
from media.rejections import Rejection
from model_code.data import Columns
from model_code.errors import ConfigError, PipelineStop
from model_code.modalities import get_modality
from model_code.serialization import to_json
from model_code.tasks import Checks
from tests import artifacts, testing

IMAGE = testing.task('pets', 'image')
FEATURES = {
    'image': {'image': testing.image_bytes(), 'height': 16, 'width': 20, 'brightness': 0.5},
    'audio': {'audio': testing.wav_bytes(), 'duration_s': 0.3, 'loudness_dbfs': -20.0},
    'video': {'frames': [testing.image_bytes('JPEG')] * 3, 'height': 16, 'width': 20, 'duration_s': 0.5,
              'brightness': 0.5},
}


def _artifact(cls, uri, splits=False):
    made = cls()
    made.uri = os.fspath(uri)
    if splits:
        made.split_names = '["train", "eval"]'
    return made


def _check(directory, task, classes, labels, change=lambda features: features, extra=lambda i: (),
           add_findings=lambda findings: None):
    """Writes one example per label to each split, and makes schema, statistics and anomalies of them.

    labels: {split: [labels]}. add_findings: adds to the findings of MediaExampleGen.
    """
    findings = Findings()
    examples = _artifact(standard_artifacts.Examples, directory / 'examples', splits=True)
    for split, rows in labels.items():
        folder = directory / 'examples' / f'Split-{split}'
        folder.mkdir(parents=True)
        with tf.io.TFRecordWriter(str(folder / 'data_tfrecord-00000-of-00001.gz'), 'GZIP') as writer:
            for i, row in enumerate(rows):
                entry = Entry(f'{split}/{i}', row if isinstance(row, tuple) else (row,), split, extra=extra(i))
                writer.write(beam_steps.make_example(entry, change(dict(FEATURES[task.modality]))))
                findings.add_example(entry)
    add_findings(findings)
    rejected = _artifact(RejectedMedia, directory / 'rejected')
    write_rejected_media(rejected.uri, findings, [])
    schema = _artifact(standard_artifacts.Schema, directory / 'schema')
    statistics = _artifact(standard_artifacts.ExampleStatistics, directory / 'statistics')
    anomalies = _artifact(standard_artifacts.ExampleAnomalies, directory / 'anomalies')
    schema_executor.Executor().Do({'classes': [artifacts.classes(directory / 'classes', classes)]},
                                  {'schema': [schema]}, {'source': to_json(task.source)})
    statistics_executor.Executor().Do(
        {'examples': [examples], 'schema': [schema]}, {'statistics': [statistics]}, {})
    validator.Executor().Do(
        {'statistics': [statistics], 'schema': [schema], 'rejected': [rejected]}, {'anomalies': [anomalies]},
        {'source': to_json(task.source), 'checks': to_json(task.checks)})
    assert json.loads(anomalies.split_names) == ['train', 'eval']
    assert sorted(os.listdir(directory / 'anomalies')) == ['Split-eval', 'Split-train']
    return statistics


def test_good_clips_with_several_labels_pass_and_media_is_not_counted_as_words(tmp_path):
    task = testing.task('clips', 'video', label_kind='multi')
    statistics = _check(tmp_path, task, ['a', 'b'], {'train': [('a', 'b'), 'a', 'b'], 'eval': ['b']})
    loaded = stats_artifact_utils.load_statistics(statistics, 'train').proto().datasets[0]
    assert loaded.num_examples == 3
    types = {'.'.join(f.path.step): f.type for f in loaded.features}
    kinds = statistics_pb2.FeatureNameStatistics
    assert types == {'id': kinds.STRING, 'label': kinds.STRING, 'frames': kinds.BYTES, 'height': kinds.INT,
                     'width': kinds.INT, 'duration_s': kinds.FLOAT, 'brightness': kinds.FLOAT}


def test_extra_columns_are_texts_that_an_example_may_have(tmp_path):
    task = testing.task('pets', 'image', manifest='m.csv', columns=Columns(extra=('camera', 'place')))
    examples = {'train': ['a', 'b'], 'eval': ['b']}
    statistics = _check(tmp_path, task, ['a', 'b'], examples, extra=lambda i: (('camera', 'x100'),) if i == 0 else ())
    loaded = stats_artifact_utils.load_statistics(statistics, 'train').proto().datasets[0]
    camera = next(f for f in loaded.features if f.path.step == ['camera'])
    assert camera.type == statistics_pb2.FeatureNameStatistics.STRING
    assert (camera.string_stats.common_stats.num_non_missing, camera.string_stats.unique) == (1, 1)


def test_one_label_of_each_group_passes_and_one_alone_stops(tmp_path):
    task = testing.task('clips', 'video', label_kind='groups', label_groups=('verb', 'noun'))
    classes, train = ['noun:a', 'noun:b', 'verb:c'], [('verb:c', 'noun:a'), ('verb:c', 'noun:b')]
    _check(tmp_path / 'good', task, classes, {'train': train, 'eval': [('verb:c', 'noun:b')]})
    text = _stopped(tmp_path / 'bad', task, classes, {'train': train, 'eval': ['verb:c']})
    assert 'split eval, feature label' in text, text


def _stopped(directory, *args, **kwargs):
    with pytest.raises(PipelineStop) as caught:
        _check(directory, *args, **kwargs)
    return str(caught.value)


def test_wrong_labels_two_labels_and_a_missing_feature_stop_and_each_is_named(tmp_path):
    def drop_height(features):
        del features['height']
        return features
    message = _stopped(tmp_path, IMAGE, ['cat', 'dog', 'owl'],
                       {'train': [('cat', 'dog'), 'cat'], 'eval': ['cat', 'wolf']}, drop_height)
    assert 'Task pets, split train, feature height: it is missing from every example' in message
    assert 'Task pets, split train, feature label: some examples do not have exactly one value of it' in message
    assert 'Task pets, split eval, feature label: it has values that are not in its domain' in message
    assert 'Task pets: 2 classes without a train example: owl, wolf. Add examples' in message


def test_an_empty_split_stops(tmp_path):
    message = _stopped(tmp_path, testing.task('tones', 'audio'), ['a'], {'train': ['a'], 'eval': []})
    assert message.count('Task tones, ') == 1 and 'Task tones, split eval: it is empty.' in message


def test_the_real_readers_pass_the_schema(tmp_path):
    """The schema has exactly the features that MediaExampleGen writes."""
    for modality, features in FEATURES.items():
        for groups in ('', r'(\d)_'):
            task = testing.source('t', modality, groups=groups)
            entry = Entry('p', ('a',), 'train', group='7' if groups else '')
            example = tf.train.Example.FromString(beam_steps.make_example(entry, features))
            schema = schema_executor.task_schema(task, ('a',))
            # A timed task without groups may have segments, which have a group.
            optional = {'group'} if get_modality(modality).timed and not groups else set()
            assert {f.name for f in schema.feature} == {*example.features.feature} | optional
            required = {f.name for f in schema.feature if f.presence.min_fraction == 1}
            assert required == set(example.features.feature)


def test_the_schema_has_the_labels_domain_and_how_many_there_may_be(tmp_path):
    artifact = _artifact(standard_artifacts.Schema, tmp_path / 'schema')
    schema_executor.Executor().Do({'classes': [artifacts.classes(tmp_path / 'classes', ('cat', 'dog'))]},
                                  {'schema': [artifact]}, {'source': to_json(IMAGE.source)})
    schema = io_utils.SchemaReader().read(io_utils.get_only_uri_in_dir(artifact.uri))
    label = next(f for f in schema.feature if f.name == 'label')
    assert list(schema.string_domain[0].value) == ['cat', 'dog'] and label.domain == 'label'
    assert label.HasField('shape') and not label.HasField('value_count')
    several = schema_executor.task_schema(testing.source('t', 'audio', label_kind='multi'), ('a', 'b'))
    label = next(f for f in several.feature if f.name == 'label')
    assert label.value_count.min == 1 and not label.HasField('shape')
    grouped = testing.source('t', 'audio', label_kind='groups', label_groups=('verb', 'noun'))
    label = next(f for f in schema_executor.task_schema(grouped, ('noun:a', 'verb:b')).feature if f.name == 'label')
    assert (label.value_count.min, label.value_count.max) == (2, 2)
    with pytest.raises(ConfigError, match="'c' is in none of its label_groups"):
        schema_executor.task_schema(grouped, ('noun:a', 'verb:b', 'c'))


def _rejected(count):
    def add(findings):
        for i in range(count):
            findings.add_rejected(
                Rejection('unsupported', 'It is not one of PNG and JPEG.', f'train/left/bad{i:02d}.png'))
    return add


def test_too_many_rejected_files_stop_the_run_and_the_first_ten_are_named(tmp_path):
    good = {'train': ['cat', 'dog'] * 20, 'eval': ['cat', 'dog'] * 2}
    message = _stopped(tmp_path / '1', IMAGE, ['cat', 'dog'], good, add_findings=_rejected(12))
    assert message.startswith('Task pets: 12 of 56 files (21.4%) could not be read, more than the 1.0%')
    assert message.count('.png (unsupported: ') == 10 and 'bad09' in message and 'bad10' not in message
    _check(tmp_path / '2', testing.changed(IMAGE, max_rejected_share=0.22), ['cat', 'dog'], good,
           add_findings=_rejected(12))


def test_a_run_whose_files_are_all_rejected_stops(tmp_path):
    message = _stopped(tmp_path, IMAGE, ['cat', 'dog'], {'train': [], 'eval': []}, add_findings=_rejected(12))
    assert message.startswith('Task pets: 12 of 12 files (100.0%) could not be read')
    assert 'Task pets, split train: it is empty.' in message and 'Task pets, split eval: it is empty.' in message


def test_media_in_train_and_eval_stop_the_run_unless_leaks_are_allowed(tmp_path):
    def copies(findings):
        findings.add_copies([(b'1', 'train/left/0.png', 'train', ('cat',)), (b'1', 'eval/copy.png', 'eval', ('cat',))])
    good = {'train': ['cat', 'dog'], 'eval': ['cat', 'dog']}
    message = _stopped(tmp_path / '1', IMAGE, ['cat', 'dog'], good, add_findings=copies)
    assert 'both in train and in eval' in message and 'eval/copy.png = train/left/0.png' in message
    _check(tmp_path / '2', testing.changed(IMAGE, allow_leaks=True), ['cat', 'dog'], good, add_findings=copies)


def test_all_reasons_are_named_and_what_stops_nothing_is_logged(caplog):
    findings = Findings(examples={'train': 5, 'eval': 2}, classes={'Cat': {'train': 2, 'eval': 1},
                                                                   'cat': {'train': 3, 'eval': 1}})
    _rejected(1)(findings)
    with pytest.raises(PipelineStop) as caught:
        validator.judge(IMAGE.source, Checks(), findings, ['Cat', 'cat', 'owl'],
                        [f'split eval: {i}.' for i in range(12)])
    first, second, third = str(caught.value).split('Task pets: ')[1:]
    assert 'could not be read' in first and 'without a train example: owl' in second
    assert 'Task pets, split eval: 0. Task pets, split eval: 1.' in third and third.endswith('eval: 9. And 2 more.')
    with caplog.at_level(logging.INFO, 'polyvit'):
        validator.judge(IMAGE.source, Checks(max_rejected_share=0.5), findings, ['Cat', 'cat'], [])
    assert [r.getMessage() for r in caplog.records] == [
        "pets: labels that differ only by case, space or Unicode form: 'Cat', 'cat'"]


def test_the_components_declare_what_the_pipeline_wires():
    schema = TaskSchemaGen(source='{}', classes=_channel(Classes))
    component = TaskValidator(source='{}', checks='{}', schema=schema.outputs['schema'], code_version='v',
                              statistics=_channel(standard_artifacts.ExampleStatistics),
                              rejected=_channel(RejectedMedia))
    assert component.outputs['anomalies'].type is standard_artifacts.ExampleAnomalies
    assert component.exec_properties == {'source': '{}', 'checks': '{}', 'code_version': 'v'}
    assert schema.exec_properties == {'source': '{}', 'code_version': ''}


def _channel(kind):
    return channel.Channel(type=kind)

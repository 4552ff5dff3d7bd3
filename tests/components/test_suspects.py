"""TaskEvaluator lists suspect labels, with the media of the first ones."""

import json

import numpy as np
import tensorflow as tf
from tfx.types import standard_artifacts

from components.report import sources, suspect_labels
from components.report.pictures import draw
from components.task_evaluator import executor, shown_examples, suspects
from model_code.serialization import to_json
from tests import artifacts, testing
from tests.components import scoring_model as sm


def _write_examples(directory, labels, given):
    """As scoring_model.write_examples, with media and groups, in two files."""
    folder = directory / 'Split-eval'
    folder.mkdir(parents=True)
    for part in range(2):
        with tf.io.TFRecordWriter(str(folder / f'data_tfrecord-0000{part}-of-00002.gz'), 'GZIP') as writer:
            for number in range(part, len(labels), 2):
                def texts(*values):
                    return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
                writer.write(tf.train.Example(features=tf.train.Features(feature={
                    'id': texts(f'<b>{number}.png'.encode()), 'label': texts(labels[number].encode()),
                    'image': texts(testing.image_bytes(seed=number)), 'group': texts(f'cam{number % 3}'.encode()),
                    'given': tf.train.Feature(float_list=tf.train.FloatList(value=given[number])),
                })).SerializeToString())


def test_planted_errors_are_listed_with_their_media(tmp_path):
    rng = np.random.default_rng(0)
    ids = np.arange(240) % 6
    logits = rng.normal(0, 1, (240, 6)) + 10 * np.eye(6)[ids]
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    planted = np.concatenate([rng.choice(np.flatnonzero(ids == i), 4, replace=False) for i in range(6)])
    wrong = ids.copy()
    wrong[planted] = (ids[planted] + 2) % 6
    _write_examples(tmp_path / 'digits', [sm.CLASSES[i] for i in wrong], scores)
    card = {'tasks': [{'name': 'digits', 'classes': list(sm.CLASSES)}]}
    sm.export(tmp_path / 'candidate', {'digits': np.eye(6)}, (sm.SINGLE,), card)
    sm.export(tmp_path / 'baseline', {'digits': np.eye(6)[:, ::-1]}, (sm.SINGLE,))
    made = {}
    for name, kind in (('digits', standard_artifacts.Examples), ('candidate', standard_artifacts.Model),
                       ('baseline', standard_artifacts.Model), ('evaluation', standard_artifacts.ModelEvaluation)):
        made[name] = kind()
        made[name].uri = str(tmp_path / name)
    made['digits'].split_names = '["eval"]'
    executor.Executor().Do(
        {'examples': [made['digits']], 'model': [made['candidate']], 'baseline_model': [made['baseline']],
         'classes': [artifacts.classes(tmp_path / 'classes', sm.CLASSES)]},
        {'evaluation': [made['evaluation']]}, {'source': to_json(sm.SINGLE.source), 'code_version': ''})

    found, examples = sources.read_suspects(made['evaluation'].uri)
    assert found['examples'] == 240 and found['count'] == 24 and found['untrusted'] == []
    assert len(found['first']) == suspects.NAMED == len(examples)
    margins = [row['label_probability'] - row['other_probability'] for row in found['first']]
    assert margins == sorted(margins)
    for row in found['first']:
        number = int(row['id'][3:-4])
        assert number in planted
        assert (row['label'], row['other']) == (sm.CLASSES[wrong[number]], sm.CLASSES[ids[number]])
        assert examples[row['id']]['image'] == [testing.image_bytes(seed=number)]

    section = suspect_labels.section('digits', 'image', found, examples)
    number = int(found['first'][0]['id'][3:-4])
    assert section['rows'][0]['group'] == f'cam{number % 3}' and section['rows'][0]['other_percent'].endswith('%')
    assert draw([suspect_labels.pictures(section)], 1 << 20) == 0
    shown = [row['picture'].__html__() for row in section['rows']]
    assert all('<img src="data:image/png' in html and '<b>' not in html for html in shown)


def test_nothing_is_written_about_nothing(tmp_path):
    (tmp_path / 'Split-eval').mkdir()
    assert sources.read_suspects(str(tmp_path)) == (None, {})
    (tmp_path / 'suspects.json').write_text(json.dumps({'examples': 3, 'count': 0, 'untrusted': [], 'first': []}))
    shown_examples.copy_examples(str(tmp_path / 'Split-eval'), {str(tmp_path / 'suspects.tfrecord.gz'): []})
    found, examples = sources.read_suspects(str(tmp_path))
    assert not (tmp_path / 'suspects.tfrecord.gz').exists() and examples == {}
    assert suspect_labels.section('digits', 'image', found, examples)['rows'] == []
    assert suspect_labels.section('digits', 'image', None, {}) is None

"""TaskEvaluator lists suspect labels, with the media of the first ones."""

import json

import numpy as np
import pytest
import tensorflow as tf
from tfx.types import standard_artifacts

from components import evaluation_reading
from components.blessing_gate import results
from components.report import sources, suspect_labels
from components.report.pictures import draw
from components.task_evaluator import evaluation_files, executor, shown_examples, suspects
from model_code import outcomes
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
    # The baseline has another order of the classes, and does not know the first one.
    older = testing.changed(sm.SINGLE, classes=sm.CLASSES[:0:-1])
    sm.export(tmp_path / 'baseline', {'digits': np.eye(6)[:, :0:-1]}, (older,),
              {'tasks': [{'name': 'digits', 'classes': list(older.data.classes)}]})
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

    stored = evaluation_files.read_outcomes(made['evaluation'].uri)
    numbers = [int(example_id[3:-4]) for example_id in stored.ids]
    assert stored.labels.tolist() == wrong[numbers].tolist() and stored.groups[0] == f'cam{numbers[0] % 3}'
    np.testing.assert_allclose(stored.scores, scores[numbers], rtol=1e-5)
    np.testing.assert_allclose(stored.baseline_scores, scores[numbers] * [0, 1, 1, 1, 1, 1], rtol=1e-5)
    evaluation = evaluation_reading.read_evaluation(made['evaluation'].uri)
    assert (evaluation['groups'], evaluation['clustered']) == (3, True)
    candidate, baseline = results.read_metrics(made['evaluation'].uri)
    for name in ('accuracy', 'top_5_accuracy', 'loss'):
        measured = evaluation['slices'][0]['metrics'][name]
        assert measured['value'] == pytest.approx(candidate[name])
        assert measured['baseline'] == pytest.approx(baseline[name])
        assert measured['change_low'] < measured['change'] < measured['change_high']

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


def test_what_a_caption_does_not_mention_is_no_wrong_label():
    labels = np.tile([1.0, 0.0], (40, 1)).astype(np.float32)
    labels[20:] = [0.0, 1.0]
    scores = 0.05 + 0.9 * labels
    scores[0] = [0.9, 0.95]  # sure of both
    said = outcomes.Outcomes(np.array([f'{number}.png' for number in range(40)]), np.array([''] * 40), labels, scores)
    assert suspects.find(said, ('cat', 'mat'), 'multi')['count'] == 1
    found = suspects.find(said, ('cat', 'mat'), 'words')
    assert found['count'] == 0 and suspect_labels.section('captions', 'image', found, {}) is None

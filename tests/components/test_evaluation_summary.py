"""evaluation.json and resamples.npz from outcomes, without TFMA: intervals, slices, and what is nearly nothing."""

import json

import numpy as np
import pytest
import tensorflow as tf

from components import evaluation_names, evaluation_reading
from components.task_evaluator import evaluation_files, executor, outcome_parts, summary
from model_code import file_io, outcomes
from model_code.data import Columns
from model_code.outcomes import Outcomes, texts
from tests import testing
from tests.components import scoring_model as sm

CLASSES = {'candidate': sm.CLASSES, 'baseline': sm.CLASSES}
SOURCE = testing.changed(sm.SINGLE, manifest=('m.csv',), columns=Columns(extra=('camera',))).source


def _outcomes(n=200, groups=None, labels=None, baseline=True, seed=0, cameras=None):
    """The candidate is right on about 80%, the baseline on about 90%."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 6, n) if labels is None else labels
    said = [np.where(rng.random(n) < share, labels, rng.integers(0, 6, n)) for share in (0.76, 0.88)]
    scores = [(np.eye(6)[ids % 6] * 0.7 + 0.05).astype(np.float32) for ids in said]
    return Outcomes(texts([f'{i:05d}.png' for i in range(n)]), texts(groups or [''] * n), labels, scores[0],
                    scores[1] if baseline else None,
                    {'camera': texts(cameras or [''] * n), 'height': np.full(n, 100.0),
                     'width': np.where(np.arange(n) < 5, 20.0, 300.0)})


def _write(tmp_path, found, source=SOURCE, classes=CLASSES):
    """As the workers and the executor do. Returns evaluation.json, which must be JSON without NaN."""
    directory = str(tmp_path / 'evaluation')
    folder = f'{directory}/{evaluation_files.PARTS}'
    if len(found):
        outcomes.write(f'{folder}/a.npz', found.take(np.arange(len(found)) % 2 == 1))
        outcomes.write(f'{folder}/b.npz', found.take(np.arange(len(found)) % 2 == 0))
    file_io.write(f'{folder}/killed.npz', 'half')
    file_io.write(f'{folder}/parts.json', json.dumps(['a.npz', 'b.npz'] if len(found) else []))
    (tmp_path / 'split').mkdir()
    with tf.io.TFRecordWriter(str(tmp_path / 'split' / 'data.gz'), 'GZIP') as writer:
        for example_id in found.ids:
            writer.write(tf.train.Example(features=tf.train.Features(feature={'id': tf.train.Feature(
                bytes_list=tf.train.BytesList(value=[example_id.encode()]))})).SerializeToString())
    executor.write_evaluation(source, classes, str(tmp_path / 'split'), directory)
    assert not file_io.exists(folder)
    text = file_io.read_text(f'{directory}/{evaluation_names.EVALUATION}')
    assert 'NaN' not in text and 'Infinity' not in text
    return directory, evaluation_reading.read_evaluation(directory)


def test_metrics_of_both_models_and_their_change(tmp_path):
    found = _outcomes()
    directory, evaluation = _write(tmp_path, found)
    right = (found.scores.argmax(1) == found.labels).astype(float)
    baseline_right = (found.baseline_scores.argmax(1) == found.labels).astype(float)
    everything = evaluation['slices'][0]
    assert (everything['feature'], everything['examples'], everything['groups']) == ('', 200, 200)
    accuracy = everything['metrics']['accuracy']
    assert (accuracy['value'], accuracy['baseline']) == (pytest.approx(right.mean()),
                                                         pytest.approx(baseline_right.mean()))
    assert accuracy['change'] == pytest.approx((right - baseline_right).mean())
    # The normal intervals of a share, and of the paired difference.
    for name, values in (('', right), ('baseline_', baseline_right), ('change_', right - baseline_right)):
        half = 1.96 * values.std() / np.sqrt(200)
        assert accuracy[f'{name}low'] == pytest.approx(values.mean() - half, abs=half / 4)
        assert accuracy[f'{name}high'] == pytest.approx(values.mean() + half, abs=half / 4)
    assert {'loss', 'macro_f1', 'calibration_error', 'top_5_accuracy'} < set(everything['metrics'])
    resamples = evaluation_reading.read_resamples(directory)
    candidate, baseline = resamples['0/accuracy/candidate'], resamples['0/accuracy/baseline']
    assert candidate.shape == baseline.shape == (evaluation['resamples'],)
    assert (candidate - baseline).mean() == pytest.approx(accuracy['change'], abs=0.005)
    assert evaluation_files.read_outcomes(directory).ids.tolist() == found.ids.tolist()


def test_equal_models_are_equal_in_each_resample_and_yet_not_for_sure():
    found = _outcomes()
    same = Outcomes(found.ids, found.groups, found.labels, found.scores, found.scores, found.features)
    evaluation, resamples = summary.summarise(SOURCE, sm.CLASSES, same)
    np.testing.assert_array_equal(resamples['0/accuracy/candidate'], resamples['0/accuracy/baseline'])
    accuracy = evaluation['slices'][0]['metrics']['accuracy']
    assert accuracy['change'] == 0 and accuracy['change_high'] == -accuracy['change_low']
    assert accuracy['change_high'] == pytest.approx(1 - 0.025 ** (1 / 200))


def test_mistakes_and_hits_have_their_examples(tmp_path):
    directory, evaluation = _write(tmp_path, _outcomes())
    shown = {tf.train.Example.FromString(record).features.feature['id'].bytes_list.value[0].decode()
             for record in tf.data.TFRecordDataset(f'{directory}/{evaluation_names.SHOWN}', 'GZIP').as_numpy_iterator()}
    assert shown == {row['id'] for row in evaluation['mistakes'] + evaluation['hits']} and len(shown) == 40


def test_groups_widen_the_interval(tmp_path):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 6, 200)
    alone = _outcomes(labels=labels)
    # Ten groups: in some all are right.
    scores = np.eye(6, dtype=np.float32)[np.where(np.arange(200) // 20 < 8, labels, (labels + 1) % 6)]
    def width(found):
        row = summary.summarise(SOURCE, sm.CLASSES, found)[0]
        accuracy = row['slices'][0]['metrics']['accuracy']
        return row['groups'], row['clustered'], accuracy['high'] - accuracy['low']
    by_example = width(Outcomes(alone.ids, alone.groups, labels, scores, None, alone.features))
    by_group = width(Outcomes(alone.ids, texts([f'g{i // 20}' for i in range(200)]), labels, scores, None,
                              alone.features))
    assert by_example[:2] == (200, False) and by_group[:2] == (10, True)
    assert by_group[2] > 3 * by_example[2]


def test_slices_by_values_and_by_size():
    cameras = ['front'] * 100 + ['back'] * 80 + [f'c{i:02d}' for i in range(20)]
    evaluation, resamples = summary.summarise(SOURCE, sm.CLASSES, _outcomes(cameras=cameras))
    slices = [(row['feature'], row['value'], row['examples'], row['too_small']) for row in evaluation['slices']]
    assert slices[:4] == [('', '', 200, False), ('camera', 'front', 100, False), ('camera', 'back', 80, False),
                          ('camera', 'c00', 1, True)]
    assert slices[-2:] == [('short_side', 'under 64 px', 5, True), ('short_side', '64 to 128 px', 195, False)]
    assert len(slices) == 1 + 22 + 2 and set(evaluation['slices'][1]['metrics']) == {'accuracy', 'loss'}
    assert len(resamples) == 2 * len(slices)
    one = evaluation['slices'][3]['metrics']['accuracy']
    assert one['value'] in (0, 1) and one['low'] is None and one['change_high'] is None
    many, _ = summary.summarise(SOURCE, sm.CLASSES, _outcomes(cameras=[f'c{i}' for i in range(200)]))
    assert len(many['slices']) == 1 + summary.MOST_VALUES + 2


@pytest.mark.parametrize('label_kind', ['single', 'multi', 'groups'])
@pytest.mark.parametrize('examples', [0, 1])
def test_one_example_or_none(tmp_path, label_kind, examples):
    task = {'single': sm.SINGLE, 'multi': sm.MULTI, 'groups': sm.GROUPED}[label_kind]
    names = task.data.classes
    found = outcomes.no_outcomes(6, task.data.kind.multi_hot, baseline=True,
                                 features=outcome_parts.features(task.source))
    if examples:
        labels = {'single': np.array([2]), 'multi': np.eye(6, dtype=np.float32)[:1],
                  'groups': np.array([[1, -2, -1, 2, -2, -1]], np.float32)}[label_kind]
        scores = np.full((1, 6), 0.3, np.float32)
        found = Outcomes(texts(['a']), texts(['']), labels, scores, scores,
                         {name: np.full(1, 50.0) for name in found.features})
    _, evaluation = _write(tmp_path, found, task.source, dict.fromkeys(('candidate', 'baseline'), names))
    assert (evaluation['examples'], evaluation['groups']) == (examples, examples)
    everything = evaluation['slices'][0]
    assert everything['too_small'] and len(evaluation['slices']) == 1 + examples
    primary = everything['metrics'][task.data.kind.primary_metric]
    assert (primary['value'] is None) == (examples == 0) and primary['low'] is None and primary['change_low'] is None


def test_one_group_has_no_interval(tmp_path):
    _, evaluation = _write(tmp_path, _outcomes(groups=['speaker'] * 200))
    accuracy = evaluation['slices'][0]['metrics']['accuracy']
    assert evaluation['groups'] == 1 and evaluation['clustered'] and evaluation['slices'][0]['too_small']
    assert accuracy['value'] > 0.5 and accuracy['low'] is None and accuracy['high'] is None


def test_one_class(tmp_path):
    _, evaluation = _write(tmp_path, _outcomes(labels=np.full(200, 3)))
    assert 0.5 < evaluation['slices'][0]['metrics']['accuracy']['low'] < 0.8
    assert [row['examples'] for row in evaluation['classes']] == [0, 0, 0, 200, 0, 0]


def test_a_label_without_positives_and_none_at_all(tmp_path):
    rng = np.random.default_rng(0)
    labels = (rng.random((100, 6)) < 0.3).astype(np.float32)
    labels[:, 2] = 0
    scores = rng.random((100, 6)).astype(np.float32)
    def of(labels):
        return Outcomes(texts([f'{i:03d}' for i in range(100)]), texts([''] * 100), labels, scores, None,
                        {'duration_s': np.full(100, 2.0)})
    evaluation, _ = summary.summarise(sm.MULTI.source, sm.CLASSES, of(labels))
    precision = evaluation['slices'][0]['metrics']['mean_average_precision']
    assert precision['low'] < precision['value'] < precision['high'] and precision['change'] is None
    assert evaluation['classes'][2]['average_precision'] is None
    assert evaluation['slices'][1]['value'] == '1 to 3 s'
    (tmp_path / 'none').mkdir()
    _, evaluation = _write(tmp_path / 'none', of(labels * 0), sm.MULTI.source, {'candidate': sm.CLASSES})
    precision = evaluation['slices'][0]['metrics']['mean_average_precision']
    assert precision['value'] is None and precision['low'] is None


def test_scores_that_are_no_numbers(tmp_path):
    found = _outcomes()
    found.scores[::4] = np.nan
    _, evaluation = _write(tmp_path, found)
    metrics = evaluation['slices'][0]['metrics']
    assert metrics['accuracy']['value'] < 0.7 and metrics['loss']['value'] is None and metrics['loss']['low'] is None
    assert metrics['loss']['change'] is None and metrics['loss']['baseline'] is not None


def test_an_evaluation_that_has_not_ended_is_not_read(tmp_path):
    with pytest.raises(FileNotFoundError, match='has no evaluation.json, so its evaluation has not ended'):
        evaluation_reading.read_evaluation(str(tmp_path))

"""TaskEvaluator's Do on real examples and models, and its configuration of TFMA."""

import json

import numpy as np
import pytest
import sklearn.metrics
import tensorflow_model_analysis as tfma

from components import evaluation_reading
from components.blessing_gate import results
from components.task_evaluator import eval_config, evaluation_files, executor
from model_code.data import Columns
from model_code.serialization import to_json
from tests import testing
from tests.artifacts import classes as classes_artifact
from tests.components import scoring_model as sm


def test_a_task_with_label_groups_is_evaluated_by_group_and_jointly(tmp_path):
    """The baseline is the same model, with classes and groups in the other order."""
    from tfx.types import standard_artifacts

    task = testing.changed(sm.GROUPED, manifest=('m.csv',), columns=Columns(extra=('camera',)))
    rng = np.random.default_rng(0)
    given = rng.random((40, 6))
    verbs, nouns = rng.choice([0, 2, 5], 40), rng.choice([1, 3, 4], 40)
    given[:30] += np.eye(6)[verbs[:30]]  # the first 30 examples are right
    given[:37] += np.eye(6)[nouns[:37]]
    classes = task.data.classes
    pairs = [[classes[n], classes[v]] for n, v in zip(nouns, verbs, strict=True)]
    sm.write_examples(tmp_path / 'kitchen', pairs, given,
                      cameras=['front'] * 30 + ['back'] * 10)
    sm.export(tmp_path / 'candidate', {'kitchen': np.eye(6)}, (task,))
    sm.export(tmp_path / 'baseline_model', {'kitchen': np.eye(6)[:, ::-1]},
              (testing.changed(task, label_groups=('noun', 'verb'), classes=classes[::-1]),))
    artifacts = {}
    for name, kind in (('examples', standard_artifacts.Examples), ('model', standard_artifacts.Model),
                       ('baseline_model', standard_artifacts.Model),
                       ('evaluation', standard_artifacts.ModelEvaluation)):
        artifacts[name] = kind()
        artifacts[name].uri = str(tmp_path / {'examples': 'kitchen', 'model': 'candidate'}.get(name, name))
    artifacts['examples'].split_names, artifacts['model'].id = '["eval"]', 7
    executor.Executor().Do(
        {**{name: [artifacts[name]] for name in ('examples', 'model', 'baseline_model')},
         'classes': [classes_artifact(tmp_path / 'classes', classes)]},
        {'evaluation': [artifacts['evaluation']]},
        {'source': to_json(task.source), 'code_version': ''})

    verb_right = verbs == np.array([0, 2, 5])[given[:, [0, 2, 5]].argmax(1)]
    noun_right = nouns == np.array([1, 3, 4])[given[:, [1, 3, 4]].argmax(1)]
    candidate, baseline = results.read_metrics(artifacts['evaluation'].uri)
    assert set(candidate) == {'verb_accuracy', 'noun_accuracy', 'joint_accuracy', 'loss', 'example_count'}
    assert candidate['verb_accuracy'] == pytest.approx(verb_right.mean())
    assert candidate['noun_accuracy'] == pytest.approx(noun_right.mean())
    assert candidate['joint_accuracy'] == pytest.approx((verb_right & noun_right).mean()) != verb_right.mean()
    assert candidate['verb_accuracy'] != candidate['noun_accuracy'] and baseline == pytest.approx(candidate)
    slices = {key: outputs['']['']['joint_accuracy']['doubleValue'] for key, outputs in
              tfma.load_eval_result(artifacts['evaluation'].uri, model_name='candidate').slicing_metrics}
    assert set(slices) == {(), (('camera', 'front'),), (('camera', 'back'),)}
    assert slices[('camera', 'front'),] == pytest.approx((verb_right & noun_right)[:30].mean())
    rows = evaluation_reading.read_evaluation(artifacts['evaluation'].uri)['slices']
    assert [(row['feature'], row['value'], row['examples'], row['metrics']['joint_accuracy']['value'])
            for row in rows] == [
        ('', '', 40, pytest.approx((verb_right & noun_right).mean())),
        ('camera', 'front', 30, pytest.approx((verb_right & noun_right)[:30].mean())),
        ('camera', 'back', 10, pytest.approx((verb_right & noun_right)[30:].mean()))]


def test_eval_config_names_signatures_and_metrics_and_has_no_thresholds():
    config = eval_config.eval_config(testing.source('t', 'image'), classes=5, has_baseline=True)
    assert [(s.name, s.is_baseline, s.signature_name, list(s.preprocessing_function_names), s.label_key)
            for s in config.model_specs] == [('candidate', False, 't_examples', ['t_label'], 'label'),
                                             ('baseline', True, 't_examples', ['t_label'], 'label')]
    specs = config.metrics_specs[0].metrics
    names = [json.loads(s.config)['name'] for s in specs]
    assert names == ['example_count', 'accuracy', 'loss'], 'no top 5 of 5 classes'
    assert not tfma.metrics.metric_thresholds_from_metrics_specs(config.metrics_specs, eval_config=config)
    assert len(eval_config.eval_config(sm.MULTI.source, classes=6, has_baseline=False).model_specs) == 1


def test_single_label_task_with_a_baseline(evaluated):
    candidate, baseline = results.read_metrics(evaluated.evaluations['digits'].uri)
    assert candidate['example_count'] == 20
    assert candidate['accuracy'] == pytest.approx(14 / 20)
    assert baseline['accuracy'] == pytest.approx(16 / 20), (
        'It is wrong on two exchanged examples, and on two of a class that it does not know.')
    worst = evaluated.digit_scores.argmin(axis=1)
    assert candidate['top_5_accuracy'] == pytest.approx(np.mean(worst != evaluated.digit_ids))
    assert np.isfinite(candidate['loss']) and np.isfinite(baseline['loss'])
    assert not any(name.endswith('_diff') for name in candidate)


def test_an_average_precision_with_its_interval_is_that_of_tfma(evaluated):
    directory = evaluated.evaluations['tags'].uri
    found = evaluation_files.read_outcomes(directory)
    order = [int(example_id) for example_id in found.ids]
    np.testing.assert_array_equal(found.labels, evaluated.tag_labels[order])
    np.testing.assert_allclose(found.scores, evaluated.tag_scores[order], rtol=1e-6)
    measured = evaluation_reading.read_evaluation(directory)['slices'][0]['metrics']['mean_average_precision']
    tfmas, _ = results.read_metrics(directory)
    assert measured['value'] == pytest.approx(tfmas['mean_average_precision'], abs=1e-9)
    assert measured['low'] < measured['value'] < measured['high'] and measured['baseline'] is None


def test_a_baseline_that_does_not_name_its_classes_is_left_to_tfma(evaluated):
    directory = evaluated.evaluations['digits'].uri
    assert results.read_metrics(directory)[1]['accuracy'] == pytest.approx(16 / 20)
    everything, *_ = results.read_evaluation(sm.SINGLE, directory).slices
    assert everything.value == pytest.approx(14 / 20) and everything.low < everything.value < everything.high
    assert everything.baseline == pytest.approx(16 / 20) and everything.change == pytest.approx(-0.1)
    assert everything.baseline_resamples is None and everything.change_low is None


def test_multi_label_task_whose_baseline_does_not_know_it(evaluated):
    candidate, baseline = results.read_metrics(evaluated.evaluations['tags'].uri)
    assert baseline is None
    expected = sklearn.metrics.average_precision_score(evaluated.tag_labels, evaluated.tag_scores, average='macro')
    assert candidate['mean_average_precision'] == pytest.approx(expected, abs=1e-6)
    assert candidate['example_count'] == 30
    assert set(candidate) == {'mean_average_precision', 'loss', 'example_count'}


def test_knows_task(evaluated, tmp_path, caplog):
    caplog.set_level('INFO', 'polyvit')
    path = executor.model_path(evaluated.baseline)
    assert executor.knows_task(path, 'digits')
    assert not executor.knows_task(path, 'tags')
    assert 'no signature tags_examples' in caplog.text
    assert not executor.knows_task(str(tmp_path), 'digits')
    assert 'no model is being served' in caplog.text

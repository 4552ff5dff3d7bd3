"""The sentences of the decision, and the gate's Do on the results of TaskEvaluator."""

import json
import math
import os

import pytest
from tfx.types import standard_artifacts

from components.blessing_gate import executor, results
from components.blessing_gate.changes import Changes
from components.blessing_gate.decision import Evaluation, decide
from model_code import model_directory, serialization
from model_code.tasks import Mixture
from tests import testing
from tests.components import scoring_model as sm

DIGITS = testing.task('digits', 'image', floor=0.7, max_drop=0.02)
TAGS = testing.task('tags', 'audio', label_kind='multi', floor=0.0)


def evaluation_of(task, value, before=None):
    metric = task.primary_metric
    return Evaluation(task, {metric: value}, None if before is None else {metric: before})


@pytest.mark.parametrize('evaluation, version, sentence', [
    (evaluation_of(DIGITS, 0.62), '', 'digits: accuracy 0.62 is below its floor of 0.70.'),
    (evaluation_of(DIGITS, 0.6996), '', 'digits: accuracy 0.6996 is below its floor of 0.7000.'),
    (evaluation_of(DIGITS, 0.88, before=0.93), '3',
     'digits: accuracy fell by 0.05, from 0.93 (version 3) to 0.88; at most 0.02 is allowed.'),
    (evaluation_of(DIGITS, 0.88, before=0.93), '',
     'digits: accuracy fell by 0.05, from 0.93 to 0.88; at most 0.02 is allowed.'),
    (evaluation_of(TAGS, 0.1, before=0.5), '3',
     'tags: mean average precision fell by 0.40, from 0.50 (version 3) to 0.10; at most 0.02 is allowed.'),
])
def test_a_missed_threshold_is_one_sentence(evaluation, version, sentence):
    decision = decide([evaluation], True, [], version)
    assert not decision['blessed']
    assert decision['reasons'] == [sentence]
    assert decision['tasks'][0]['reason'] == sentence and not decision['tasks'][0]['blessed']


def test_floor_and_fall_are_both_named():
    reasons = decide([evaluation_of(DIGITS, 0.5, before=0.9)], True, [])['reasons']
    assert len(reasons) == 2 and 'below its floor' in reasons[0] and 'fell by 0.40' in reasons[1]


@pytest.mark.parametrize('evaluation', [
    evaluation_of(DIGITS, 0.7), evaluation_of(DIGITS, 0.91, before=0.93), evaluation_of(DIGITS, 0.75, before=0.72)])
def test_a_value_exactly_at_a_threshold_passes(evaluation):
    decision = decide([evaluation], True, [])
    assert decision['blessed'] and decision['reasons'] == [] and decision['tasks'][0]['reason'] == ''


def test_one_task_that_fails_rejects_the_model_and_only_it_is_named():
    decision = decide([evaluation_of(TAGS, 0.9), evaluation_of(DIGITS, 0.1)], True, [])
    assert not decision['blessed']
    assert [t['blessed'] for t in decision['tasks']] == [True, False]
    assert all(r.startswith('digits:') for r in decision['reasons'])


@pytest.mark.parametrize('metrics', [{}, {'mean_average_precision': math.nan}])
def test_what_could_not_be_measured_is_rejected_even_with_a_floor_of_zero(metrics):
    decision = decide([Evaluation(TAGS, metrics)], True, [])
    assert not decision['blessed'] and 'could not be measured' in decision['reasons'][0]
    json.dumps(decision, allow_nan=False)


@pytest.mark.parametrize('before', [{'accuracy': math.nan}, {'loss': 0.1}])
def test_a_baseline_that_could_not_be_measured_rejects_even_if_the_floor_is_met(before):
    decision = decide([Evaluation(DIGITS, {'accuracy': 0.9}, before)], True, [])
    assert decision['reasons'] == [
        'digits: accuracy of the model being served could not be measured, because its scores are not finite. So '
        'nobody knows how the new model compares with it.']
    assert not decision['blessed']


def test_only_a_task_that_the_baseline_knows_has_its_version():
    decision = decide([evaluation_of(DIGITS, 0.9, before=0.9), evaluation_of(TAGS, 0.9)], True, [], '3')
    assert decision['baseline_version'] == '3'
    assert [task['baseline_version'] for task in decision['tasks']] == ['3', '']


def test_the_serving_checks_verdict_and_reasons():
    decision = decide([evaluation_of(DIGITS, 0.9)], False, ['The graph has the op IO>X.'])
    assert decision['reasons'] == ['Serving check: The graph has the op IO>X.']
    assert decision['infra'] == {'blessed': False, 'reasons': ['The graph has the op IO>X.']}
    without_reason = decide([evaluation_of(DIGITS, 0.9)], False, [])
    assert not without_reason['blessed']
    assert without_reason['reasons'] == ['Serving check: it rejected the model and gave no reason.']


@pytest.mark.parametrize('text, reasons', [('{"reasons": ["a", "b"]}', ['a', 'b']), (None, [])])
def test_read_reasons(tmp_path, text, reasons):
    if text:
        (tmp_path / 'reasons.json').write_text(text)
    assert results.read_reasons(str(tmp_path)) == reasons


def model_with_card(directory, version='', **classes):
    """A Model artifact of which only the card is there. classes: task -> its classes."""
    model = standard_artifacts.Model()
    model.uri = str(directory)
    model_directory.write_card(f'{directory}/Format-Serving', {
        'tasks': [{'name': name, 'classes': labels, 'label_groups': []} for name, labels in classes.items()]})
    model.set_string_custom_property('version', version)
    return model


def run_gate(evaluated, directory, tasks, infra_blessed=1, model=None, baseline=None, run_parameters=None, **mixture):
    infra, blessing = standard_artifacts.InfraBlessing(), standard_artifacts.ModelBlessing()
    infra.uri, blessing.uri = str(directory / 'infra'), str(directory / 'blessing')
    infra.set_int_custom_property('blessed', infra_blessed)
    inputs = {'model': [model or evaluated.candidate], 'baseline_model': [baseline or evaluated.baseline],
              'infra_blessing': [infra]}
    for task in tasks:
        inputs[f'evaluation_{task.name}'] = [evaluated.evaluations[task.name]]
    executor.Executor().Do(inputs, {'blessing': [blessing]},
                           {'mixture': serialization.to_json(Mixture(tuple(tasks), **mixture)),
                            **(run_parameters or {})})
    return blessing, json.loads((directory / 'blessing' / 'decision.json').read_text())


def test_the_gate_rejects_for_one_task_and_says_why(evaluated, tmp_path):
    blessing, decision = run_gate(evaluated, tmp_path, (sm.SINGLE, sm.MULTI))
    assert blessing.get_int_custom_property('blessed') == 0
    assert sorted(os.listdir(blessing.uri)) == ['NOT_BLESSED', 'decision.json', 'metrics.json']
    assert decision['reasons'] == [
        'digits: accuracy fell by 0.10, from 0.80 (version 3) to 0.70; at most 0.05 is allowed.']
    digits, tags = decision['tasks']
    assert digits['value'] == pytest.approx(0.7) and digits['change'] == pytest.approx(-0.1)
    assert tags['blessed'] and tags['baseline_metrics'] is None and tags['change'] is None
    shown = json.loads((tmp_path / 'blessing' / 'metrics.json').read_text())
    assert shown == {'accepted': 0.0, 'digits_accuracy': digits['value'],
                     f'tags_{tags["primary_metric"]}': tags['value']}


def test_the_gate_blesses_in_the_form_that_the_stock_pusher_obeys(evaluated, tmp_path):
    blessing, decision = run_gate(evaluated, tmp_path, (sm.MULTI,))
    assert decision['blessed'] and decision['reasons'] == []
    assert blessing.get_int_custom_property('blessed') == 1
    assert blessing.get_string_custom_property('current_model') == evaluated.candidate.uri
    assert blessing.get_int_custom_property('current_model_id') == 7
    assert sorted(os.listdir(blessing.uri)) == ['BLESSED', 'decision.json', 'metrics.json']


def test_the_floor_of_the_run_counts(evaluated, tmp_path):
    _, decision = run_gate(evaluated, tmp_path, (sm.MULTI,), run_parameters={'floor_tags': 0.99})
    assert not decision['blessed'] and 'tags' in decision['reasons'][0] and '0.99' in decision['reasons'][0]


def test_the_gate_rejects_what_the_serving_check_rejected(evaluated, tmp_path):
    blessing, decision = run_gate(evaluated, tmp_path, (sm.MULTI,), infra_blessed=0)
    assert blessing.get_int_custom_property('blessed') == 0 and decision['tasks'][0]['blessed']


def test_the_gate_rejects_a_model_that_lost_a_class_or_a_task(evaluated, tmp_path, caplog):
    caplog.set_level('INFO', 'polyvit')
    model = model_with_card(tmp_path / 'new', tags=['b', 'c', 'd'])
    baseline = model_with_card(tmp_path / 'old', '3', tags=['a', 'b', 'c'], walks=['x'])
    blessing, decision = run_gate(evaluated, tmp_path, (sm.MULTI,), model=model, baseline=baseline)
    assert blessing.get_int_custom_property('blessed') == 0
    assert decision['lost_tasks'] == ['walks'] and 'task walks, which version 3 knows' in decision['reasons'][0]
    tags, = decision['tasks']
    assert not tags['blessed'] and "the class 'a', which version 3 knows" in tags['reason']
    assert decision['reasons'][1:] == [tags['reason']]
    unknown, order = decision['remarks']
    assert "does not know the class 'd'" in unknown and 'tags_scores by their place' in order
    assert unknown in caplog.text and order in caplog.text


def test_the_gate_accepts_what_the_config_drops(evaluated, tmp_path):
    model = model_with_card(tmp_path / 'new', tags=['b', 'c'])
    baseline = model_with_card(tmp_path / 'old', '3', tags=['a', 'b', 'c'], walks=['x'])
    task = testing.changed(sm.MULTI, dropped_classes=('a',))
    _, decision = run_gate(evaluated, tmp_path, (task,), model=model, baseline=baseline, dropped_tasks=('walks',))
    assert decision['blessed'] and decision['lost_tasks'] == []


def test_a_lost_class_and_a_missed_floor_are_both_named():
    lost = Changes(lost_classes={'digits': 'A class is lost.'})
    decision = decide([evaluation_of(DIGITS, 0.1), evaluation_of(TAGS, 0.9)], True, [], changes=lost)
    assert [task['blessed'] for task in decision['tasks']] == [False, True]
    assert decision['reasons'] == ['A class is lost.', 'digits: accuracy 0.10 is below its floor of 0.70.']

"""The sentences of the decision, and the gate's Do on the results of TaskEvaluator."""

import dataclasses
import json
import math
import os
import pathlib
import shutil

import jsonschema
import numpy as np
import pytest
from tfx.types import standard_artifacts

import schemas
from components.blessing_gate import decision as decisions
from components.blessing_gate import executor, forcing, results
from components.blessing_gate.changes import Changes
from components.blessing_gate.judgement import Judgement
from model_code import model_directory, serialization
from model_code.data import Columns
from model_code.errors import PipelineStop
from model_code.tasks import Mixture
from tests import testing
from tests.components import scoring_model as sm
from tests.evaluations import evaluation, measured

DIGITS = testing.task('digits', 'image', floor=0.7, max_drop=0.02)
TAGS = testing.task('tags', 'audio', label_kind='multi', floor=0.0)
SCENES = testing.changed(DIGITS, manifest='m.csv', columns=Columns(extra=('scene', 'camera')), slices=('scene',))
SCHEMA = json.loads((pathlib.Path(schemas.__file__).parent / 'decision.schema.json').read_text())


def decide(*arguments, **named) -> dict:
    """The gate's decision, which has the form of its schema."""
    return valid(forcing.apply(decisions.decide(*arguments, **named), ''))


def valid(decision: dict) -> dict:
    jsonschema.validate(json.loads(json.dumps(decision, allow_nan=False)), SCHEMA, jsonschema.Draft202012Validator)
    return decision


def judged(evaluations, check='change', **changed):
    """The judgements of one kind of a decision on evaluations. changed: fields of the gate of all tasks."""
    evaluations = [dataclasses.replace(e, task=testing.changed(e.task, **changed)) for e in evaluations]
    decision = decide(evaluations, True, [], '3')
    assert decision['reasons'] == [j['sentence'] for j in decision['judgements'] if j['rejects']]
    return [j for j in decision['judgements'] if j['check'] == check]


@pytest.mark.parametrize('found, version, sentence', [
    (evaluation(DIGITS, 0.62), '', 'digits: accuracy 0.62 (95% interval 0.62 to 0.62, 10,000 examples) is below its '
     'floor of 0.70.'),
    (evaluation(DIGITS, 0.6996, error=0.01, examples=48, groups=12, clustered=True), '', 'digits: accuracy 0.6996 (95% '
     'interval 0.6796 to 0.7196, 48 examples in 12 groups) is below its floor of 0.7000.'),
    (evaluation(DIGITS, 0.88, before=0.93, error=0.01), '3', 'digits: accuracy fell by 0.05, from 0.93 (version 3) to '
     '0.88 (95% interval of the change -0.07 to -0.03, 10,000 examples): at most 0.02 is allowed.'),
    (evaluation(DIGITS, 0.88, before=0.93, error=0.01), '', 'digits: accuracy fell by 0.05, from 0.93 to 0.88 (95% '
     'interval of the change -0.07 to -0.03, 10,000 examples): at most 0.02 is allowed.'),
    (evaluation(DIGITS, 0.88, before=0.91, error=0.015, examples=48, groups=12, clustered=True), '3',
     'digits: accuracy fell by 0.03, from 0.91 (version 3) to 0.88 (95% interval of the change -0.06 to 0.00, 48 '
     'examples in 12 groups): too few examples to tell whether it is worse by more than the 0.02 allowed. The measured '
     'fall is more, and counts. More eval examples would tell.'),
    (evaluation(DIGITS, 0.8, before=0.9, examples=20, too_small=True), '3',
     'digits: accuracy fell by 0.10, from 0.90 (version 3) to 0.80 (95% interval of the change -0.10 to -0.10, 20 '
     'examples): too few to judge by; at most 0.02 is allowed. The measured fall is more, and counts. More eval '
     'examples would tell.'),
    (evaluation(TAGS, 0.1, before=0.5), '3',
     'tags: mean average precision fell by 0.40, from 0.50 (version 3) to 0.10 (95% interval of the change -0.40 to '
     '-0.40, 10,000 examples): at most 0.02 is allowed.'),
])
def test_a_missed_threshold_is_one_sentence(found, version, sentence):
    decision = decide([found], True, [], version)
    assert not decision['blessed']
    assert decision['reasons'] == [sentence]
    assert decision['tasks'][0]['reason'] == sentence and not decision['tasks'][0]['blessed']
    assert [j['sentence'] for j in decision['judgements'] if j['rejects']] == [sentence]


@pytest.mark.parametrize('unseen, names', [
    (['two'], "the class 'two'"), (list('abcdefg'), "the classes 'a', 'b', 'c', 'd', 'e' and 2 more")])
def test_classes_without_an_eval_example_are_a_remark(unseen, names):
    found = dataclasses.replace(evaluation(DIGITS, 0.95), unseen_classes=unseen)
    decision = decide([found], True, [])
    assert decision['blessed']
    assert decision['remarks'] == [
        f'digits: no eval example has {names}: how well the model knows them was not measured.']


def test_floor_and_fall_are_both_named():
    reasons = decide([evaluation(DIGITS, 0.5, before=0.9)], True, [])['reasons']
    assert len(reasons) == 2 and 'below its floor' in reasons[0] and 'fell by 0.40' in reasons[1]


@pytest.mark.parametrize('found', [
    evaluation(DIGITS, 0.7), evaluation(DIGITS, 0.91, before=0.93), evaluation(DIGITS, 0.75, before=0.72)])
def test_a_value_exactly_at_a_threshold_passes(found):
    decision = decide([found], True, [])
    assert decision['blessed'] and decision['reasons'] == [] and decision['tasks'][0]['reason'] == ''


@pytest.mark.parametrize('error, outcome, bound', [(0.002, 'not_worse', -0.0134), (0.01, 'cannot_tell', -0.0266)])
def test_a_judgement_of_a_change_has_all_numbers(error, outcome, bound):
    found, = judged([evaluation(DIGITS, 0.9, before=0.91, error=error, examples=1_000)])
    assert (found['task'], found['metric'], found['slice']) == ('digits', 'accuracy', None)
    assert (found['outcome'], found['rejects'], found['limit']) == (outcome, False, -0.02)
    assert found['examples'] == 1_000 and found['groups'] is None
    assert found['value'] == pytest.approx(-0.01) and found['bound'] == pytest.approx(bound, abs=0.002)
    assert (found['low'], found['high']) == (pytest.approx(-0.01 - 2 * error), pytest.approx(-0.01 + 2 * error))
    assert found['p_worse'] > 0.5


@pytest.mark.parametrize('cannot_tell, change, rejects, end', [
    ('by_value', -0.03, True, 'The measured fall is more, and counts. More eval examples would tell.'),
    ('by_value', -0.01, False, 'by more than the 0.02 allowed.'),
    ('reject', -0.01, True, "The config rejects what it cannot tell: Gate(cannot_tell='reject')."),
    ('reject', 0.01, True, "The config rejects what it cannot tell: Gate(cannot_tell='reject')."),
    ('remark', -0.03, False, 'The measured fall is more, but does not reject the model.')])
def test_what_happens_if_it_cannot_tell_is_the_configs_choice(cannot_tell, change, rejects, end):
    found = dataclasses.replace(evaluation(DIGITS, 0.9 + change, before=0.9, error=0.05),
                                task=testing.changed(DIGITS, cannot_tell=cannot_tell))
    decision = decide([found], True, [], '3')
    told, = [j for j in decision['judgements'] if j['check'] == 'change']
    assert told['outcome'] == decision['tasks'][0]['outcome'] == 'cannot_tell'
    assert told['rejects'] == rejects and told['sentence'].endswith(end)
    assert (decision['reasons'], decision['remarks']) == (([told['sentence']], []) if rejects else
                                                          ([], [told['sentence']]))


def test_a_model_that_is_worse_is_rejected_whatever_the_config_does_if_it_cannot_tell():
    for cannot_tell in ('by_value', 'reject', 'remark'):
        found, = judged([evaluation(DIGITS, 0.8, before=0.9, error=0.01)], cannot_tell=cannot_tell)
        assert found['outcome'] == 'worse' and found['rejects']


def test_worse_is_corrected_for_all_tasks_and_not_worse_is_not():
    worse, better = (evaluation(DIGITS, 0.9 + change, before=0.9, error=0.01) for change in (-0.04, -0.002))
    alone, = judged([worse])
    assert alone['outcome'] == 'worse' and 0.02 < alone['p_worse'] < 0.05
    others = [dataclasses.replace(better, task=testing.changed(DIGITS, name=name)) for name in ('a', 'b', 'c')]
    among, *rest = judged([worse, *others])
    assert among['outcome'] == 'cannot_tell' and among['p_worse'] == pytest.approx(4 * alone['p_worse'])
    assert [found['outcome'] for found in rest] == ['not_worse'] * 3 and among['rejects']  # the value fell by more


@pytest.mark.parametrize('floor_by, value, outcome, says', [
    ('value', 0.72, 'met', 'accuracy 0.72 (95% interval 0.68 to 0.76, 10,000 examples) meets its floor of 0.70.'),
    ('low', 0.72, 'missed', 'digits: accuracy 0.72 (95% interval 0.68 to 0.76, 10,000 examples): the lower limit is '
     'below its floor of 0.70.'),
    ('low', 0.75, 'met', 'the lower limit meets its floor of 0.70.'),
    ('high', 0.67, 'met', 'the upper limit meets its floor of 0.70.'),
    ('high', 0.65, 'missed', 'the upper limit is below its floor of 0.70.')])
def test_the_floor_is_held_against_the_side_that_the_config_names(floor_by, value, outcome, says):
    found, = judged([evaluation(DIGITS, value, error=0.02)], 'floor', floor_by=floor_by)
    assert (found['outcome'], found['rejects']) == (outcome, outcome == 'missed')
    assert found['sentence'].endswith(says) and found['limit'] == 0.7
    assert found['bound'] == {'value': found['value'], 'low': found['low'], 'high': found['high']}[floor_by]


@pytest.mark.parametrize('floor_by, rejects', [('value', False), ('low', True)])
def test_without_an_interval_only_the_value_can_meet_a_floor(floor_by, rejects):
    found = evaluation(DIGITS, 0.9)
    found = dataclasses.replace(found, slices=(dataclasses.replace(found.slices[0], low=None, high=None),))
    judgement, = judged([found], 'floor', floor_by=floor_by)
    assert judgement['rejects'] == rejects and ('has no interval' in judgement['sentence']) == rejects


def test_a_gated_part_of_the_examples_rejects_and_another_does_not():
    slices = tuple(measured(0.5, 0.9, error=0.02, examples=400, feature=feature, value_of_feature='night')
                   for feature in ('scene', 'camera'))
    found = evaluation(SCENES, 0.9, before=0.9, error=0.001, slices=slices)
    whole, night = judged([found])
    assert whole['outcome'] == 'not_worse' and night['outcome'] == 'worse' and night['rejects']
    assert night['slice'] == {'feature': 'scene', 'value': 'night'}
    assert night['sentence'].startswith("digits: accuracy of scene 'night' fell by 0.40, from 0.90 (version 3) to 0.50")
    assert len(judged([found], slices=())) == 1


@pytest.mark.parametrize('cannot_tell, rejects', [('by_value', False), ('remark', False), ('reject', True)])
def test_a_part_with_a_handful_of_examples_is_too_small_to_judge_by(cannot_tell, rejects):
    small = measured(0.5, 1.0, examples=4, feature='scene', value_of_feature='night', too_small=True)
    _, night = judged([evaluation(SCENES, 0.9, before=0.9, error=0.001, slices=(small,))], cannot_tell=cannot_tell)
    assert night['outcome'] == 'cannot_tell' and night['rejects'] == rejects
    assert 'too few to judge by' in night['sentence']


def test_a_part_without_a_metric_is_a_remark():
    nothing = measured(math.nan, math.nan, examples=40, feature='scene', value_of_feature='night')
    decision = decide([evaluation(SCENES, 0.9, before=0.9, error=0.001, slices=(nothing,))], True, [])
    assert decision['blessed']
    assert decision['remarks'] == [
        "digits: accuracy of scene 'night' could not be measured of both models (40 examples)."]


def test_without_resamples_the_measured_values_are_compared():
    found = evaluation(DIGITS, 0.88, before=0.91, examples=1_200)
    found = dataclasses.replace(found, slices=(dataclasses.replace(
        found.slices[0], low=None, high=None, change_low=None, change_high=None, resamples=None),))
    judgement, = judged([found])
    assert judgement['outcome'] == 'not_tested' and judgement['rejects']
    assert judgement['sentence'].startswith(
        'digits: accuracy fell by 0.03, from 0.91 (version 3) to 0.88 (1,200 examples): nothing shows how certain that '
        'is; at most 0.02 is allowed. The measured fall is more, and counts.')


def test_a_small_fall_without_resamples_passes_without_a_remark_and_reject_rejects_it():
    found = evaluation(DIGITS, 0.9, before=0.91)
    found = dataclasses.replace(found, slices=(dataclasses.replace(found.slices[0], resamples=None),))
    decision = decide([found], True, [])
    assert decision['blessed'] and decision['remarks'] == []
    assert judged([found], cannot_tell='reject')[0]['rejects']


@pytest.mark.parametrize('lacking', [{'too_small': True}, {'resamples': None}, {'resamples': np.full(2_000, math.nan)}])
def test_remark_does_not_let_a_fall_pass_that_nothing_tested(lacking):
    found = evaluation(DIGITS, 0.7, before=0.9, examples=20)
    found = dataclasses.replace(found, slices=(dataclasses.replace(found.slices[0], **lacking),))
    judgement, = judged([found], cannot_tell='remark')
    assert judgement['outcome'] in ('cannot_tell', 'not_tested') and judgement['rejects']


def test_a_gated_column_that_was_not_measured_rejects():
    found = evaluation(SCENES, 0.9, before=0.9, error=0.001)
    assert [j['sentence'] for j in judged([found]) if j['rejects']] == [
        'digits: accuracy was not measured by scene, which slices of the gate names.']
    assert decide([evaluation(SCENES, 0.9)], True, [])['blessed']  # a new task is not compared


def test_a_new_task_needs_its_floor_only():
    decision = decide([evaluation(DIGITS, 0.9, error=0.3)], True, [], '3')
    assert decision['blessed'] and decision['remarks'] == []
    assert [j['check'] for j in decision['judgements']] == ['floor']
    assert decision['tasks'][0]['outcome'] is None and decision['tasks'][0]['change'] is None


def test_the_schema_has_the_fields_of_a_judgement():
    described = SCHEMA['properties']['judgements']['items']['properties']
    assert set(described) == {field.name for field in dataclasses.fields(Judgement)}
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_one_task_that_fails_rejects_the_model_and_only_it_is_named():
    decision = decide([evaluation(TAGS, 0.9), evaluation(DIGITS, 0.1)], True, [])
    assert not decision['blessed']
    assert [t['blessed'] for t in decision['tasks']] == [True, False]
    assert all(r.startswith('digits:') for r in decision['reasons'])


@pytest.mark.parametrize('found', [evaluation(TAGS, math.nan), evaluation(TAGS, math.nan, before=0.5)])
def test_what_could_not_be_measured_is_rejected_even_with_a_floor_of_zero(found):
    decision = decide([found], True, [])
    assert not decision['blessed'] and 'could not be measured' in decision['reasons'][0]
    assert len(decision['reasons']) == 1


@pytest.mark.parametrize('cannot_tell', ['by_value', 'remark'])
def test_a_baseline_that_could_not_be_measured_rejects_even_if_the_floor_is_met(cannot_tell):
    found, = judged([evaluation(DIGITS, 0.9, before=math.nan)], cannot_tell=cannot_tell)
    assert found['sentence'] == (
        'digits: accuracy of the model being served could not be measured, because its scores are not finite. So '
        'nobody knows how the new model compares with it.')
    assert found['rejects'] and found['outcome'] == 'not_measured'


def test_only_a_task_that_the_baseline_knows_has_its_version():
    decision = decide([evaluation(DIGITS, 0.9, before=0.9), evaluation(TAGS, 0.9)], True, [], '3')
    assert decision['baseline_version'] == '3'
    assert [task['baseline_version'] for task in decision['tasks']] == ['3', '']


def test_the_serving_checks_verdict_and_reasons():
    decision = decide([evaluation(DIGITS, 0.9)], False, ['The graph has the op IO>X.'])
    assert decision['reasons'] == ['Serving check: The graph has the op IO>X.']
    assert decision['infra'] == {'blessed': False, 'reasons': ['The graph has the op IO>X.']}
    without_reason = decide([evaluation(DIGITS, 0.9)], False, [])
    assert not without_reason['blessed']
    assert without_reason['reasons'] == ['Serving check: it rejected the model and gave no reason.']


@pytest.mark.parametrize('text, reasons', [('{"reasons": ["a", "b"]}', ['a', 'b']), (None, [])])
def test_read_reasons(tmp_path, text, reasons):
    if text:
        (tmp_path / 'reasons.json').write_text(text)
    assert results.read_reasons(str(tmp_path)) == reasons


def write_evaluation(directory, baseline=True):
    """The two files of TaskEvaluator, of digits: 0.8, and 0.9 for the baseline, in all and in one scene."""
    def entry(feature, value):
        numbers = {'value': 0.8, 'low': 0.7, 'high': 0.9, 'baseline': 0.9, 'baseline_low': 0.8, 'baseline_high': 1.0,
                   'change': -0.1, 'change_low': -0.2, 'change_high': 0.0}
        return {'feature': feature, 'value': value, 'examples': 100, 'groups': 20, 'too_small': False, 'metrics': {
            'accuracy': numbers if baseline else {**numbers, 'baseline': None, 'change': None, 'change_low': None,
                                                  'change_high': None}}}
    (directory / 'evaluation.json').write_text(json.dumps(
        {'version': 1, 'clustered': True, 'slices': [entry('', ''), entry('scene', 'night')], 'classes': [
            {'label': 'one', 'examples': 100}, {'label': 'two', 'examples': 0}]}))
    models = {'candidate': 0.8} | ({'baseline': 0.9} if baseline else {})
    np.savez(directory / 'resamples.npz', **{f'{number}/accuracy/{model}': np.full(2_000, value + number)
                                             for number in (0, 1) for model, value in models.items()})


def test_what_the_evaluator_wrote_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(results, 'read_metrics', lambda _: ({'accuracy': 0.8}, {'accuracy': 0.9}))
    write_evaluation(tmp_path)
    found = results.read_evaluation(DIGITS, str(tmp_path))
    whole, night = found.slices
    assert found.unseen_classes == ['two']
    assert found.clustered and (whole.examples, whole.groups, whole.low, whole.change_low) == (100, 20, 0.7, -0.2)
    assert (night.feature, night.value_of_feature) == ('scene', 'night')
    assert whole.resamples[7] == 0.8 and night.baseline_resamples[7] == 1.9
    judgement, = judged([found])
    assert judgement['outcome'] == 'worse' and (judgement['examples'], judgement['groups']) == (100, 20)


@pytest.mark.parametrize('name', ['evaluation.json', 'resamples.npz'])
def test_a_damaged_evaluation_is_named_with_what_to_do(tmp_path, monkeypatch, name):
    monkeypatch.setattr(results, 'read_metrics', lambda _: ({'accuracy': 0.8}, {'accuracy': 0.9}))
    write_evaluation(tmp_path)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:100])
    with pytest.raises(PipelineStop, match=rf'/{name} is damaged \(.+\). Remove the folder {tmp_path} and run again'):
        results.read_evaluation(DIGITS, str(tmp_path))


@pytest.mark.parametrize('name, size', [('metrics-00000-of-00001.tfrecord', 0), ('metrics-00000-of-00001.tfrecord', 60),
                                        ('eval_config.json', 100)])
def test_damaged_metrics_of_tfma_are_no_lack_of_metrics(evaluated, tmp_path, name, size):
    shutil.copytree(evaluated.evaluations['digits'].uri, tmp_path / 'evaluation')
    file = tmp_path / 'evaluation' / name
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(PipelineStop, match=r'evaluation is damaged \((.|\n)+\). Remove the folder '):
        results.read_evaluation(DIGITS, str(tmp_path / 'evaluation'))


def test_a_served_model_without_resamples_is_compared_by_its_value(tmp_path, monkeypatch):
    monkeypatch.setattr(results, 'read_metrics', lambda _: ({'accuracy': 0.8}, {'accuracy': 0.9}))
    write_evaluation(tmp_path, baseline=False)
    judgement, = judged([results.read_evaluation(DIGITS, str(tmp_path))])
    assert judgement['outcome'] == 'not_tested' and judgement['rejects']
    assert judgement['sentence'].startswith('digits: accuracy fell by 0.10, from 0.90 (version 3) to 0.80 (100 ')


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
                           {'mixture': serialization.to_json(
                               Mixture(tuple(tasks), **{'dropped_tasks': (sm.SINGLE.name,), **mixture})),
                            **(run_parameters or {})})
    return blessing, valid(json.loads((directory / 'blessing' / 'decision.json').read_text()))


def test_the_gate_rejects_for_one_task_and_says_why(evaluated, tmp_path):
    blessing, decision = run_gate(evaluated, tmp_path, (sm.SINGLE, sm.MULTI))
    assert blessing.get_int_custom_property('blessed') == 0
    assert sorted(os.listdir(blessing.uri)) == ['NOT_BLESSED', 'decision.json', 'metrics.json']
    reason, = decision['reasons']
    assert reason.startswith('digits: accuracy fell by 0.10, from 0.80 (version 3) to 0.70 (')
    assert '20 examples): ' in reason and 'at most 0.05 is allowed. The measured fall is more, and counts.' in reason
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
    decision = decide([evaluation(DIGITS, 0.1), evaluation(TAGS, 0.9)], True, [], changes=lost)
    assert [task['blessed'] for task in decision['tasks']] == [False, True]
    assert decision['reasons'] == ['A class is lost.', decision['judgements'][1]['sentence']]

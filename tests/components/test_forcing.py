"""--force: which refusals of the gate it overrules, which it does not, and where it is recorded."""

import json

import pytest
from tfx.types import standard_artifacts

from components.atomic_pusher import executor as pusher
from components.blessing_gate import executor as gate
from components.blessing_gate import forcing
from components.blessing_gate.changes import Changes
from components.blessing_gate.decision import decide
from components.report.render import verdict
from model_code.errors import ConfigError
from tests.components import scoring_model as sm
from tests.components.test_blessing_gate import DIGITS, TAGS, model_with_card, run_gate
from tests.components.test_report import HISTORY, render, text_of
from tests.evaluations import evaluation

WHY = 'The new camera is worth it.'


@pytest.mark.parametrize('found', [
    evaluation(DIGITS, 0.1), evaluation(DIGITS, 0.8, before=0.95),
    evaluation(DIGITS, 0.8, before=float('nan'))])
def test_floors_falls_and_a_baseline_that_tells_nothing_are_a_persons_to_overrule(found):
    rejected = decide([found], True, [], '3')
    forced = forcing.apply(rejected, f' {WHY} ')
    assert forced == {**rejected, 'blessed': True, 'forced': WHY} and forced['reasons']
    assert not forced['tasks'][0]['blessed'], 'the task did not pass'


@pytest.mark.parametrize('found, infra, changes, why', [
    (evaluation(DIGITS, 0.1), False, Changes(), 'the serving check rejected the model'),
    (evaluation(DIGITS, float('nan')), True, Changes(), 'digits could not be measured'),
    (evaluation(DIGITS, 0.9), True, Changes({'walks': 'It is lost.'}), 'the task walks is lost'),
    (evaluation(DIGITS, 0.9), True, Changes({}, {'digits': 'A class is lost.'}), 'digits lost classes')])
def test_what_breaks_those_who_ask_the_model_cannot_be_forced(found, infra, changes, why):
    rejected = decide([found], infra, [], '3', changes)
    result = forcing.apply(rejected, WHY, changes.lost_classes)
    assert not result['blessed'] and result['forced'] is None
    assert result['reasons'] == [*rejected['reasons'], f'It cannot be forced, because {why}.']


@pytest.mark.parametrize('reason', ['', WHY])
def test_an_accepted_model_is_not_forced(reason):
    accepted = decide([evaluation(DIGITS, 0.9)], True, [])
    assert forcing.apply(accepted, reason) == {**accepted, 'forced': None}


@pytest.mark.parametrize('reason', ['', '  ', 'a\nb', '\x1b[31mred', 'x' * 1_001])
def test_what_is_no_reason(reason):
    with pytest.raises(ConfigError, match='^--force (is empty|must be one line)'):
        forcing.check_reason(reason, '--force')


def test_the_gate_blesses_and_records_what_it_rejected(evaluated, tmp_path, caplog):
    blessing, decision = run_gate(evaluated, tmp_path, (sm.SINGLE, sm.MULTI), run_parameters={'force': WHY})
    assert decision['blessed'] and decision['forced'] == WHY and 'fell by 0.10' in decision['reasons'][0]
    assert blessing.get_int_custom_property('blessed') == 1
    assert json.loads((tmp_path / 'blessing/metrics.json').read_text())['accepted'] == 0.0
    assert f'The model is pushed by force: {WHY}' in caplog.text
    assert pusher.read_decision(blessing.uri)['forced'] == {'reason': WHY, 'rejected_for': decision['reasons']}
    _, accepted = run_gate(evaluated, tmp_path / 'accepted', (sm.MULTI,), run_parameters={'force': WHY})
    assert accepted['forced'] is None and gate.accepted(accepted)
    assert 'forced' not in pusher.read_decision(str(tmp_path / 'accepted/blessing'))


@pytest.mark.parametrize('lost, kept', [
    (dict(tags=['a', 'b'], walks=['x']), dict(tags=['a', 'b'])),
    (dict(tags=['a', 'b']), dict(tags=['b']))])
def test_a_task_or_class_that_disappears_stays_refused_under_force(evaluated, tmp_path, lost, kept):
    blessing, decision = run_gate(
        evaluated, tmp_path, (sm.MULTI,), model=model_with_card(tmp_path / 'new', **kept),
        baseline=model_with_card(tmp_path / 'old', '3', **lost), run_parameters={'force': WHY})
    assert blessing.get_int_custom_property('blessed') == 0 and decision['forced'] is None
    assert 'It cannot be forced' in decision['reasons'][-1]


def test_a_label_group_that_disappears_stays_refused_under_force():
    from components.blessing_gate import changes
    from model_code.tasks import Mixture
    card = {'tasks': [{'name': 'kitchen', 'classes': [*sm.GROUPED.data.classes, 'tool:k'],
                       'label_groups': ['verb', 'noun', 'tool']}]}
    lost = changes.compare(card, '3', Mixture((sm.GROUPED,)), {'kitchen': sm.GROUPED.data.classes})
    result = forcing.apply(decide([evaluation(sm.GROUPED, 0.9, 0.9)], True, [], '3', lost), WHY, lost.lost_classes)
    assert not result['blessed'] and "label group 'tool'" in result['reasons'][0]


def test_the_report_shows_it_in_red():
    hostile = '<script>x</script>'
    forced = forcing.apply(decide([evaluation(DIGITS, 0.1), evaluation(TAGS, 0.9)], True, []), hostile)
    page = render(forced, HISTORY, {}, [])
    assert '<header class="verdict bad">' in page and hostile not in page
    assert '<p class="forced">' in page and 'was pushed by force.' in text_of(page) and hostile in text_of(page)
    assert verdict(forced) == 'Failed: digits. It was pushed all the same.'


def test_a_forced_model_is_a_baseline_like_any_other(tmp_path):
    from components.serving_baseline.executor import choose
    from tests.components.test_serving_baseline import _model
    _model(tmp_path / 'serving/5', 'five')
    _model(tmp_path / 'serving/7', 'seven', forced={'reason': WHY, 'rejected_for': ['x']})
    _model(tmp_path / 'candidate', 'new')
    assert choose(str(tmp_path / 'serving'), str(tmp_path / 'candidate')) == (7, str(tmp_path / 'serving/7'))


def test_a_rejected_model_is_in_no_folder_from_which_baselines_come(tmp_path):
    from components.serving_baseline.executor import choose
    from tests.components import test_atomic_pusher as pushing
    from tests.components.test_serving_baseline import _model
    _model(tmp_path / 'model/Format-Serving', 'rejected')
    model = standard_artifacts.Model()
    model.uri = str(tmp_path / 'model')
    pushing.run_pusher(tmp_path, model, blessed=0)
    assert choose(str(tmp_path / 'serving'), str(tmp_path / 'candidate')) is None

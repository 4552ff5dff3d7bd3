"""How often the gate is wrong, of 1,000 simulated pairs of models. `python -m benchmarks.gate` prints the rates."""

import pytest

from benchmarks.gate import CASES, simulate

pytestmark = pytest.mark.slow
PAIRS = 1_000


@pytest.fixture(scope='module')
def rates():
    return {case.title: simulate(case, PAIRS) for case in CASES}


@pytest.mark.parametrize('max_drop', ['0', '0.02'])
def test_equal_models_are_called_worse_at_most_one_time_in_twenty_over_all_tasks(rates, max_drop):
    found = rates[f'three tasks, equal models, max_drop {max_drop}']
    assert 0.05 < found.disagree < 0.1 and found.worse <= 0.05


@pytest.mark.parametrize('title', [case.title for case in CASES if 'worse by 0.04' in case.title])
def test_a_model_worse_by_twice_the_margin_is_blessed_as_not_worse_at_most_one_time_in_twenty(rates, title):
    assert rates[title].not_worse <= 0.05


def test_with_enough_examples_the_gate_tells(rates):
    assert rates['1,000 examples, worse by 0.04, max_drop 0.02'].worse > 0.5
    assert rates['1,200 examples, equal models, max_drop 0.02'].not_worse > 0.75
    assert rates['three tasks, one worse by 0.04, max_drop 0.02'].accepted < 0.1


def test_groups_that_are_taken_for_single_examples_make_equal_models_look_worse(rates):
    assert rates['1,000 in 20 groups, equal models, max_drop 0'].worse <= 0.05
    assert rates['the same, resampled as if there were no groups'].worse > 0.2

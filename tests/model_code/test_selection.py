"""When to evaluate, which evaluation is the best, and when a training ends early."""

import math

import pytest

from model_code.selection import Evaluations
from model_code.settings import TrainingConfig

PRIMARY = ['eval/a/accuracy', 'eval/b/mean_average_precision']


def values(a: float, b: float) -> dict[str, float]:
    return {'eval/a/accuracy': a, 'eval/b/mean_average_precision': b, 'eval/a/loss': 9.0}


def make(total=20, first=0, records=(), **config):
    return Evaluations(TrainingConfig(**config), PRIMARY, total, first, list(records))


def simulate(steps: int, cost: float, first_cost: float) -> tuple[list[int], float]:
    """(the steps after which a training of one second per step is evaluated, the share of the time that this took)."""
    now, spent, at = 0.0, 0.0, []
    evaluations = Evaluations(TrainingConfig(), PRIMARY, steps, 0, [], lambda: now)
    for done in range(1, steps + 1):
        now += 1.0
        if evaluations.due(done, float(steps - done)):
            seconds = cost if at else first_cost
            evaluations.add(done, {}, seconds)
            now, spent = now + seconds, spent + seconds
            at.append(done)
    return at, spent / now


@pytest.mark.parametrize('cost, first_cost, least, most', [
    (0.01, 0.5, 95, 100),  # cheap: the number is limited
    (2.0, 2.0, 22, 26),  # 5% of 1,000 seconds
    (2.0, 10.0, 16, 23)])
def test_by_default_evaluations_are_evenly_spread_and_take_less_than_5_percent(cost, first_cost, least, most):
    at, share = simulate(1_000, cost, first_cost)
    assert least <= len(at) <= most and share < 0.055
    gaps = [b - a for a, b in zip(at[1:], at[2:], strict=False)]  # the first two are guided by guesses
    assert at[-1] > 900 and max(gaps) < 2 * min(gaps)


def test_an_evaluation_that_is_too_expensive_is_not_repeated_and_a_short_training_has_none():
    assert len(simulate(1_000, 80.0, 80.0)[0]) == 1
    assert len(simulate(1_000, 20.0, 20.0)[0]) == 2
    assert simulate(15, 0.1, 0.1)[0] == []
    assert not make(1_000).due(900, None), 'nothing is known of the speed'


def test_a_given_interval_is_kept_and_the_end_counts_where_evaluations_decide():
    def steps(**config):
        return [done for done in range(1, 21) if make(**config).due(done, 1.0)]
    assert steps(eval_every=0) == []
    assert steps(eval_every=6) == [6, 12, 18]
    assert steps(eval_every=6, keep_best=True) == steps(eval_every=6, patience=1) == [6, 12, 18, 20]


def test_the_best_is_the_first_of_the_highest_mean_and_nan_never_is():
    evaluations = make(eval_every=2, keep_best=True)
    assert evaluations.best is None
    assert [evaluations.add(done, values(a, b), 0.1) for done, a, b in (
        (2, math.nan, 1.0), (4, 0.5, 0.7), (6, 0.7, 0.5), (8, 0.8, 0.6), (10, 0.6, math.nan), (12, 0.1, 0.2))
    ] == [False, True, False, True, False, False]
    assert not evaluations.add(14, {'eval/c/loss': 1.0}, 0.1)
    assert [(r['step'], r['mean']) for r in evaluations.best_first] == [
        (7, pytest.approx(0.7)), (3, pytest.approx(0.6)), (5, pytest.approx(0.6)), (11, pytest.approx(0.15))]
    assert evaluations.records[1]['values'] == values(0.5, 0.7)


def test_patience_counts_the_evaluations_since_the_best_also_over_a_resume():
    means = [0.5, 0.6, 0.6, 0.4, 0.61, 0.5, 0.5, 0.5]
    for interrupted in range(len(means)):
        evaluations, stops = make(eval_every=1, patience=3), []
        for done, mean in enumerate(means, start=1):
            if done == interrupted:
                evaluations = make(first=done, records=evaluations.records, eval_every=1, patience=3)
            evaluations.add(done, values(mean, mean), 0.1)
            stops.append(evaluations.stop)
        assert stops == [False] * 7 + [True]
    assert make(records=evaluations.records, eval_every=1, patience=3).stop
    assert not make(records=evaluations.records, eval_every=1).stop
    assert not make(records=[{'step': i, 'values': {}, 'mean': None} for i in range(9)], eval_every=1, patience=3).stop

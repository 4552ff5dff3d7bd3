"""What a run has left: from its last run, from this one, or not known."""

import pytest

from pipeline import estimate

NODES = ['Transform_a', 'Transform_b', 'CoTrainer', 'Report']


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def _pass(plan, clock, node, seconds, cached=False):
    plan.started(node)
    clock.now += seconds
    plan.finished(cached)


def test_of_the_last_run():
    clock = Clock()
    plan = estimate.Estimate(NODES, dict(zip(NODES, (20.0, 20.0, 150.0, 10.0), strict=True)), clock)
    assert plan.left() == 'up to 3 minutes and 20 seconds left' and plan.share() == 0.0
    _pass(plan, clock, 'Transform_a', 20.0)
    assert plan.left() == 'about 3 minutes left' and plan.share() == pytest.approx(0.1)
    plan.started('Transform_b')
    clock.now += 50.0  # longer than the last time: it has nothing left, what follows has
    assert plan.left() == 'about 2 minutes and 40 seconds left' and plan.share() == pytest.approx(0.2)
    plan.finished(False)
    plan.started('CoTrainer')
    plan.progress(10, 100, 900.0)  # its own report counts more than the last run
    assert plan.left() == 'about 15 minutes left'
    clock.now += 600.0
    assert plan.left() == 'about 5 minutes and 20 seconds left'  # and the rest at the pace of what ran


def test_a_busier_machine_is_slower_to_the_end():
    clock = Clock()
    plan = estimate.Estimate(NODES, dict(zip(NODES, (15.0, 20.0, 150.0, 10.0), strict=True)), clock)
    _pass(plan, clock, 'Transform_a', 30.0)
    assert plan.left() == 'about 3 minutes left'  # 15 seconds are too few to tell
    _pass(plan, clock, 'Transform_b', 40.0)
    assert plan.left() == 'about 5 minutes and 20 seconds left' and plan.share() == pytest.approx(35 / 195)
    plan.started('CoTrainer')
    clock.now += 150.0
    assert plan.left() == 'about 2 minutes and 50 seconds left' and plan.share() == pytest.approx(110 / 195)


def test_what_is_cached_takes_no_time():
    clock = Clock()
    plan = estimate.Estimate(NODES, dict.fromkeys(NODES, 25.0), clock)
    _pass(plan, clock, 'Transform_a', 0.1, cached=True)
    assert plan.left() == 'up to 1 minute and 20 seconds left' and plan.share() == 0.25 and plan.done == 1


def test_a_new_task_takes_as_long_as_the_others():
    plan = estimate.Estimate(NODES, {'Transform_a': 10.0, 'CoTrainer': 10.0, 'Report': 10.0}, Clock())
    assert plan.left() == 'up to 40 seconds left'


def test_a_first_run_has_no_estimate_until_there_is_a_basis():
    clock = Clock()
    plan = estimate.Estimate(NODES, {}, clock)
    assert plan.left() == 'time left not known yet'
    _pass(plan, clock, 'Transform_a', 20.0)
    plan.started('Transform_b')
    assert plan.left() == 'time left not known yet' and plan.share() == 0.25
    plan.finished(False)
    plan.started('CoTrainer')
    assert plan.left() == 'time left not known yet'
    plan.progress(50, 100, 30.0)
    assert plan.left() == '30 seconds left of this one, then 1 more' and plan.share() == 0.625
    plan.finished(False)
    _pass(plan, clock, 'Report', 1.0)
    assert plan.left() == 'done' and plan.share() == 1.0 and plan.done == 4


def test_the_bar_never_goes_back():
    clock = Clock()
    plan = estimate.Estimate(NODES, dict.fromkeys(NODES, 10.0), clock)
    plan.started('CoTrainer')
    clock.now = 10.0
    assert plan.share() == 0.25
    plan.progress(1, 100, 99.0)
    assert plan.share() == 0.25


@pytest.mark.parametrize('seconds, text', [
    (0.2, '5 seconds'), (43, '45 seconds'), (59, '1 minute'), (133, '2 minutes and 10 seconds'),
    (905, '15 minutes'), (9000, '2 hours and 30 minutes')])
def test_no_more_exact_than_an_estimate(seconds, text):
    assert estimate.rough(seconds) == text

"""The order of tasks under each schedule, learning rates, and what follows from the order."""

import collections
import math

import numpy as np
import pytest

from model_code import schedules
from model_code.settings import TrainingConfig
from model_code.tasks import SCHEDULES, Mixture
from tests import testing

TASKS = (testing.task('a', 'image', steps=30, batch_size=1), testing.task('b', 'audio', steps=10, batch_size=1),
         testing.task('c', 'video', steps=5, batch_size=1))


def counts(schedule, seed=0):
    return dict(collections.Counter(schedules.task_sequence(Mixture(TASKS, schedule, seed)).tolist()))


def test_weighted_gives_each_task_exactly_its_steps_in_an_order_that_depends_on_the_seed():
    first = schedules.task_sequence(Mixture(TASKS, 'weighted', 0))
    assert counts('weighted') == {0: 30, 1: 10, 2: 5}
    np.testing.assert_array_equal(first, schedules.task_sequence(Mixture(TASKS, 'weighted', 0)))
    assert (first != schedules.task_sequence(Mixture(TASKS, 'weighted', 1))).any()


def test_task_by_task_and_alternating_orders():
    assert schedules.task_sequence(Mixture(TASKS, 'task_by_task')).tolist() == [0] * 30 + [1] * 10 + [2] * 5
    assert schedules.task_sequence(Mixture(TASKS, 'alternating')).tolist()[:7] == [0, 1, 2, 0, 1, 2, 0]


def test_uniform_draws_every_task_equally_often():
    tasks = tuple(testing.task(n, 'image', steps=10_000, batch_size=1) for n in 'abc')
    share = np.bincount(schedules.task_sequence(Mixture(tasks, 'uniform'))) / 30_000
    np.testing.assert_allclose(share, 1 / 3, atol=0.01)


def test_learning_rate_warms_up_then_follows_a_cosine_to_zero():
    config = TrainingConfig(learning_rate=2.0, warmup_steps=10)
    assert schedules.learning_rate(config, 110, 0) == pytest.approx(0.2)
    assert schedules.learning_rate(config, 110, 9) == pytest.approx(2.0)
    assert schedules.learning_rate(config, 110, 60) == pytest.approx(1.0)
    assert schedules.learning_rate(config, 110, 109) == pytest.approx(1 + math.cos(math.pi * 0.99))


def test_the_constant_schedule_warms_up_and_stays():
    config = TrainingConfig(learning_rate=2.0, warmup_steps=4, learning_rate_schedule='constant')
    assert [schedules.learning_rate(config, 9, s) for s in (0, 3, 4, 8)] == [0.5, 2.0, 2.0, 2.0]


def test_batches_done_are_those_of_the_steps_before():
    mixture = Mixture(TASKS, 'alternating')
    sequence = schedules.task_sequence(mixture)
    assert schedules.batches_done(mixture, sequence, 7) == {'a': 3, 'b': 2, 'c': 2}
    accumulated = Mixture(TASKS, 'accumulated')
    assert schedules.batches_done(accumulated, schedules.task_sequence(accumulated), 7) == {'a': 7, 'b': 7, 'c': 7}
    assert len(schedules.task_sequence(accumulated)) == 45


def test_a_run_ends_with_its_task_its_length_a_checkpoint_or_the_training():
    sequence = np.array([0, 0, 0, 0, 1, 1, 0, 0, 0])
    assert schedules.run_length(sequence, 0, 64, 0) == 4
    assert schedules.run_length(sequence, 0, 3, 0) == 3
    assert schedules.run_length(sequence, 1, 64, 2) == 1
    assert schedules.run_length(sequence, 4, 64, 10, 5) == 1
    assert schedules.run_length(sequence, 6, 64, 100) == 3


@pytest.mark.parametrize('schedule', SCHEDULES)
def test_a_long_training_records_a_limited_number_of_steps_and_every_task(schedule):
    tasks = tuple(testing.task(n, 'image', steps) for n, steps in (('a', 3_000), ('b', 2_900), ('c', 100)))
    sequence = schedules.task_sequence(Mixture(tasks, schedule))
    kept = schedules.recorded(sequence, 2_000)
    assert kept[0] and 1_400 < kept.sum() <= 2_000
    assert set(sequence[kept]) == set(sequence)
    assert schedules.recorded(sequence, 6_000).all()

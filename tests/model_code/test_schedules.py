"""The order of tasks under each schedule, learning rates, and what follows from the order."""

import collections
import math

import numpy as np
import pytest

from model_code import schedules, step_counts
from model_code.errors import ConfigError
from model_code.settings import TrainingConfig
from model_code.tasks import PAPER_SCHEDULES, Mixture
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


@pytest.mark.parametrize('schedule', PAPER_SCHEDULES)
def test_a_long_training_records_a_limited_number_of_steps_and_every_task(schedule):
    tasks = tuple(testing.task(n, 'image', steps) for n, steps in (('a', 3_000), ('b', 2_900), ('c', 100)))
    sequence = schedules.task_sequence(Mixture(tasks, schedule))
    kept = schedules.recorded(sequence, 2_000)
    assert kept[0] and 1_400 < kept.sum() <= 2_000
    assert set(sequence[kept]) == set(sequence)
    assert schedules.recorded(sequence, 6_000).all()


def steps_of(sizes, total, batch_size=1, **mixture) -> list[int]:
    """The steps of tasks a, b, ... with these train examples. total: of all recipes."""
    rest = total - len(sizes) + 1
    tasks = tuple(testing.task('abcde'[i], 'image', steps=1 if i else rest, batch_size=batch_size)
                  for i in range(len(sizes)))
    made = Mixture(tasks, **mixture)
    known = dict(zip('abcde', sizes, strict=False))
    steps = step_counts.task_steps(made, known)
    sequence = schedules.task_sequence(made, known)
    assert np.bincount(sequence, minlength=len(tasks)).tolist() == steps and sum(steps) == total
    np.testing.assert_array_equal(sequence, schedules.task_sequence(made, known))
    return steps


def test_the_papers_schedules_give_the_sequences_that_they_always_gave():
    # Recorded before the schedules by size were added: NumPy's generator with the seed of the mixture.
    in_order = np.repeat(np.arange(3, dtype=np.int32), [30, 10, 5])
    for seed in (0, 7):
        np.testing.assert_array_equal(schedules.task_sequence(Mixture(TASKS, 'weighted', seed)),
                                      np.random.default_rng(seed).permutation(in_order))
        np.testing.assert_array_equal(schedules.task_sequence(Mixture(TASKS, 'uniform', seed)),
                                      np.random.default_rng(seed).integers(0, 3, 45, dtype=np.int32))
    assert schedules.task_sequence(Mixture(TASKS))[:12].tolist() == [0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]


def test_temperature_goes_from_the_sizes_to_equal_shares():
    assert steps_of([8000, 1000, 1000], 1000, schedule='temperature') == [800, 100, 100]
    # 8 ** (1 / 3) = 2: the shares are 2 : 1 : 1.
    assert steps_of([8000, 1000, 1000], 1000, schedule='temperature', temperature=3.0) == [500, 250, 250]
    assert steps_of([8000, 1000, 1000], 999, schedule='temperature', temperature=1e6) == [333, 333, 333]
    # 7 / 3 of each; what is left goes to the earliest.
    assert steps_of([5, 5, 5], 7, schedule='temperature') == [3, 2, 2]


def test_temperature_in_any_part_of_a_training_is_what_it_is_in_the_whole():
    tasks = tuple(testing.task(name, 'image', steps=2000, batch_size=1) for name in 'abc')
    sequence = schedules.task_sequence(Mixture(tasks, 'temperature', temperature=2.0), {'a': 1600, 'b': 400, 'c': 100})
    shares = np.array([4, 2, 1]) / 7
    for part in np.split(sequence, 6):
        expected = shares * len(part)
        # 99.99% of a chi-square with 2 degrees of freedom; without replacement it is smaller yet.
        assert (((np.bincount(part, minlength=3) - expected) ** 2) / expected).sum() < 18.4


def test_unimax_by_hand():
    # Caps of 2 epochs in steps of 10 examples: 20, 200, 2000. 600 / 3 = 200 is over the cap of a; (600 - 20) / 2 = 290
    # over that of b; what is left, 380, is under that of c.
    assert steps_of([100, 1000, 10_000], 600, 10, schedule='unimax', max_epochs=2.0) == [20, 200, 380]
    assert steps_of([10_000, 100, 1000], 600, 10, schedule='unimax', max_epochs=2.0) == [380, 20, 200]
    # A cap that binds nowhere is the uniform distribution, and what does not divide goes to the larger ones.
    assert steps_of([100, 1000, 10_000], 11, 10, schedule='unimax', max_epochs=2.0) == [3, 4, 4]
    # All is given away, to the last step.
    assert steps_of([100, 1000, 10_000], 2220, 10, schedule='unimax', max_epochs=2.0) == [20, 200, 2000]
    with pytest.raises(ConfigError, match='all tasks together may have 2,220 steps, and their recipes have 2,221.'):
        steps_of([100, 1000, 10_000], 2221, 10, schedule='unimax', max_epochs=2.0)


def test_unimax_is_as_even_as_its_caps_allow():
    rng = np.random.default_rng(5)
    for _ in range(50):
        sizes = rng.integers(50, 5000, 5).tolist()
        batch_size, epochs = int(rng.integers(1, 20)), float(rng.uniform(1, 9))
        caps = [int(epochs * size / batch_size) for size in sizes]
        steps = steps_of(sizes, int(rng.integers(10, sum(caps))), batch_size, schedule='unimax', max_epochs=epochs)
        assert all(count <= cap for count, cap in zip(steps, caps, strict=True))
        below = [count for count, cap in zip(steps, caps, strict=True) if count < cap]
        assert max(below, default=0) - min(below, default=0) <= 1, 'those below their caps are equal'
        assert all(count <= max(below) for count in steps) if below else True


def test_a_staged_start_trains_the_first_tasks_alone_until_its_border():
    mixture = Mixture(TASKS, 'staged', first_tasks=('a', 'c'), first_share=0.4)
    sequence = schedules.task_sequence(mixture)
    border = 12 + 2
    assert np.bincount(sequence[:border], minlength=3).tolist() == [12, 0, 2]
    assert np.bincount(sequence[border:], minlength=3).tolist() == [18, 10, 3]
    assert np.flatnonzero(sequence == 1)[0] >= border and (np.diff(sequence[:border]) != 0).sum() > 1
    assert step_counts.task_steps(mixture) == [30, 10, 5]
    whole = schedules.task_sequence(Mixture(TASKS, 'staged', first_tasks=('b',), first_share=1.0))
    assert set(whole[:10]) == {1} and set(whole[10:]) == {0, 2}
    done = schedules.batches_done(mixture, sequence, border)
    assert done == {'a': 12, 'b': 0, 'c': 2}


def test_a_schedule_is_described_with_its_settings():
    assert [step_counts.describe(mixture) for mixture in (
        Mixture(TASKS), Mixture(TASKS, 'task_by_task'), Mixture(TASKS, 'temperature', temperature=2.5),
        Mixture(TASKS, 'unimax', max_epochs=10.0), Mixture(TASKS, 'staged', first_tasks=('a', 'c')))] == [
            'weighted', 'task by task', 'by temperature 2.5', 'unimax with at most 10 epochs of a task',
            'staged, the first 17 with a and c alone']


@pytest.mark.parametrize('fields, message', [
    ({'temperature': 2.0}, "temperature is 2.0, which only the schedule 'temperature' has, and schedule is 'weighted'"),
    ({'schedule': 'temperature', 'max_epochs': 3.0}, "max_epochs is 3.0, which only the schedule 'unimax' has"),
    ({'schedule': 'temperature', 'temperature': 0.5}, 'temperature is 0.5; it must be at least 1.'),
    ({'schedule': 'unimax'}, "the schedule 'unimax' needs max_epochs, the most epochs of a task."),
    ({'schedule': 'unimax', 'max_epochs': -1.0}, 'max_epochs is -1.0; it must be at least 0.'),
    ({'first_tasks': ('a',)}, "first_tasks is ('a',), which only the schedule 'staged' has"),
    ({'schedule': 'staged'}, "first_tasks is (); the schedule 'staged' needs one task at least there, and not all."),
    ({'schedule': 'staged', 'first_tasks': ('a', 'b', 'c')}, 'one task at least there, and not all.'),
    ({'schedule': 'staged', 'first_tasks': ('x',)}, "There is no task named 'x'."),
    ({'schedule': 'staged', 'first_tasks': ('a',), 'first_share': 0.0}, 'first_share is 0.0; it must be more than 0'),
    ({'schedule': 'staged', 'first_tasks': ('a',), 'first_share': 1.5}, 'first_share is 1.5; it must be more than 0'),
    ({'schedule': 'staged', 'first_tasks': ('a', 'c'), 'first_share': 0.1},
     'first_share is 0.1, which gives task c of first_tasks none of its 5 steps first. Take a larger first_share'),
])
def test_settings_that_fit_no_schedule_are_sentences(fields, message):
    with pytest.raises(ConfigError) as error:
        Mixture(TASKS, **fields)
    assert message in str(error.value)


def test_unknown_sizes_and_tasks_without_a_step_are_errors():
    mixture = Mixture(TASKS, 'unimax', max_epochs=2.0)
    for sizes in (None, {'a': 5, 'b': 0, 'c': 5}):
        with pytest.raises(ConfigError, match='goes by the train examples of each task, and how many [ab] has is not'):
            step_counts.task_steps(mixture, sizes)
    with pytest.raises(ConfigError, match='would leave task b without a step. Take a larger temperature, or more'):
        steps_of([10_000, 1], 100, schedule='temperature')
    with pytest.raises(ConfigError, match='would leave task b without a step. Take a larger max_epochs, or more'):
        steps_of([10_000, 3], 100, batch_size=10, schedule='unimax', max_epochs=2.0)


def test_a_part_of_a_mixture_has_its_own_steps():
    for fields in ({'schedule': 'unimax', 'max_epochs': 1.0}, {'schedule': 'staged', 'first_tasks': ('a',)}):
        mixture = Mixture(TASKS, seed=3, dropped_tasks=('old',), **fields)
        assert mixture.only(['b', 'c']) == Mixture(TASKS[1:], seed=3)
        assert mixture.only('abc') == Mixture(TASKS, seed=3, **fields)
    assert Mixture(TASKS, 'alternating').only(['a']) == Mixture(TASKS[:1], 'alternating')

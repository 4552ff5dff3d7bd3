"""The task that each step trains, and its learning rate (docs/model.md, "Schedules"). numpy only."""

import math
from collections.abc import Sequence

import numpy as np

from model_code import step_counts
from model_code.settings import TrainingConfig
from model_code.tasks import Mixture


def task_sequence(mixture: Mixture, sizes: dict[str, int] | None = None) -> np.ndarray:
    """[total_steps] int32, the index of each step's task. Equal arguments give an equal sequence.

    sizes: as for step_counts.task_steps, which says how often each task comes. That is exact, and the order shuffled,
    but for 'uniform', which draws each step's task with probability 1/n. An 'accumulated' step trains every task, so
    its sequence has zeros, which nothing reads.
    """
    total, n = mixture.total_steps, len(mixture.tasks)
    rng = np.random.default_rng(mixture.seed)
    if mixture.schedule == 'accumulated':
        return np.zeros(total, np.int32)
    if mixture.schedule == 'alternating':
        return (np.arange(total) % n).astype(np.int32)
    if mixture.schedule == 'uniform':
        return rng.integers(0, n, total, dtype=np.int32)
    steps = step_counts.task_steps(mixture, sizes)
    if mixture.schedule == 'task_by_task':
        return _in_order(steps)
    first = step_counts.first_steps(mixture)  # none, but for 'staged'
    rest = [count - before for count, before in zip(steps, first, strict=True)]
    return np.concatenate([rng.permutation(_in_order(part)) for part in (first, rest)])


def _in_order(steps: Sequence[int]) -> np.ndarray:
    """[sum of steps] int32: so often task 0, then so often task 1, and so on."""
    return np.repeat(np.arange(len(steps), dtype=np.int32), steps)


def batches_done(mixture: Mixture, sequence: np.ndarray, step: int) -> dict[str, int]:
    """Task name -> the number of its batches that the steps before `step` have used."""
    if mixture.schedule == 'accumulated':
        return {t.name: step for t in mixture.tasks}
    counts = np.bincount(sequence[:step], minlength=len(mixture.tasks))
    return {t.name: int(count) for t, count in zip(mixture.tasks, counts, strict=True)}


def recorded(sequence: np.ndarray, most: int) -> np.ndarray:
    """[total_steps] bool: the steps that go into the history.

    All of them, or, if there are more than `most`, every n-th of each task. (Every n-th of all could always miss a
    task.)
    """
    tasks = np.unique(sequence)
    if len(sequence) <= most:
        return np.ones(len(sequence), bool)
    every = math.ceil(len(sequence) / max(1, most - len(tasks)))  # less one per task, whose first step is always in
    kept = np.zeros(len(sequence), bool)
    for task in tasks:
        kept[np.flatnonzero(sequence == task)[::every]] = True
    return kept


def run_length(sequence: np.ndarray, step: int, longest: int, *stops_every: int) -> int:
    """The number of steps from `step` on with the same task: at most `longest`, up to a multiple of stops_every."""
    end = min([step + longest, len(sequence)] + [(step // every + 1) * every for every in stops_every if every])
    different = np.flatnonzero(sequence[step:end] != sequence[step])
    return int(different[0]) if different.size else end - step


def learning_rate(config: TrainingConfig, total_steps: int, step: int) -> float:
    """The learning rate of a step, from 0, before the task's coefficient (docs/model.md, "Learning rate").

    Linear warm-up to config.learning_rate, then cosine to 0 at total_steps, or constant.
    """
    warmup = config.warmup(total_steps)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    if config.learning_rate_schedule == 'constant':
        return config.learning_rate
    done = (step - warmup) / max(1, total_steps - warmup)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * done))

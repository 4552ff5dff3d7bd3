"""Evaluations as the gate reads them, of numbers that a test chooses."""

import math

import numpy as np

from components.blessing_gate.judgement import Evaluation, Slice
from model_code.tasks import Task


def evaluation(task: Task, value: float, before: float | None = None, metrics: dict[str, float] | None = None,
               slices: tuple[Slice, ...] = (), clustered: bool = False, **fields) -> Evaluation:
    """One task's, whose primary metric is value; before: that of the model being served, None for none.

    fields: of `measured`. slices: further ones.
    """
    name = task.primary_metric
    return Evaluation(task, {name: value, **(metrics or {})}, None if before is None else {name: before}, clustered,
                      (measured(value, before, **fields), *slices))


def measured(value: float, before: float | None = None, error: float = 0.0, examples: int = 10_000,
             groups: int | None = None, feature: str = '', value_of_feature: str = '', too_small: bool = False
             ) -> Slice:
    """A Slice. error: the standard error of the change. NaN becomes None, as in evaluation.json."""
    known = before is not None and math.isfinite(before) and math.isfinite(value)
    differences = np.random.default_rng(0).normal(size=2_000)
    differences = error * (differences - differences.mean()) / differences.std()
    change = value - before if known else None
    return Slice(
        feature, value_of_feature, examples, groups or examples, too_small,
        value=_finite(value), low=_finite(value - 2 * error), high=_finite(value + 2 * error),
        baseline=None if before is None else _finite(before), change=change,
        change_low=change - 2 * error if known else None, change_high=change + 2 * error if known else None,
        resamples=value + differences if known else None,
        baseline_resamples=np.full(2_000, before) if known else None)


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None

"""What the gate finds of one task: a metric against its floor, and its change. No TFX, no TensorFlow.

A finding is one Judgement: fields for programs, and a sentence for people.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from model_code import non_inferiority, words
from model_code.non_inferiority import Comparison
from model_code.tasks import Task

# Floats are rounded: 0.93 - 0.91 is a little more than 0.02. A threshold that is missed by less than this is met.
TOLERANCE = 1e-9


@dataclasses.dataclass(frozen=True)
class Slice:
    """What was measured of a task's primary metric, over all examples or those of one value of a kept column.

    feature, value_of_feature: '' for all examples. too_small: to judge by. value, baseline: of the candidate and of the
    model being served; None if they could not be measured. low to change_high: limits of 95% intervals, None if there
    are none. resamples, baseline_resamples: [R] float64, as for non_inferiority.compare; None if there are none.
    """
    feature: str
    value_of_feature: str
    examples: int
    groups: int
    too_small: bool
    value: float | None
    low: float | None
    high: float | None
    baseline: float | None
    change: float | None
    change_low: float | None
    change_high: float | None
    resamples: np.ndarray | None = None
    baseline_resamples: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The results of one task's TaskEvaluator.

    metrics, baseline_metrics: name -> value, over all examples; baseline_metrics is None if no model that knows the
    task is being served. clustered: whether examples have groups. slices: the first is that of all examples.
    unseen_classes: those that no eval example has.
    """
    task: Task
    metrics: dict[str, float]
    baseline_metrics: dict[str, float] | None
    clustered: bool
    slices: Sequence[Slice]
    unseen_classes: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class Judgement:
    """One thing that the gate looked at: an entry of `judgements` in decision.json (schemas/decision.schema.json).

    What does not apply to it is None: a lost task has no metric.
    """
    check: str
    """floor, change, classes, tasks, serving, baseline (unknown_baseline), or unchanged."""
    task: str | None
    rejects: bool
    """Whether the model is rejected for it."""
    outcome: str
    """change: not_worse, worse, cannot_tell; not_tested without resamples. All others: met, missed. floor, change,
    baseline: also not_measured."""
    sentence: str
    slice: dict | None = None
    """{'feature', 'value'} of a part of the examples; None for all."""
    metric: str | None = None
    examples: int | None = None
    groups: int | None = None
    """How many groups the examples are in; None if they have none."""
    value: float | None = None
    """What was measured: the metric, or for `change` its change."""
    low: float | None = None
    """The lower limit of the 95% interval of the value."""
    high: float | None = None
    bound: float | None = None
    """What is compared with the limit. floor: the side of the interval that the config names. change: the value's
    one-sided lower bound at 95%: the model is not worse if that is above the limit."""
    limit: float | None = None
    """The floor, or -max_drop."""
    p_worse: float | None = None
    """change: the p-value of 'worse', corrected for all comparisons of the decision. Up to 0.05 it is worse."""


def floor(evaluation: Evaluation) -> Judgement:
    """The metric over all examples against the task's floor."""
    task, measured = evaluation.task, evaluation.slices[0]
    name = _name(task, measured)
    fields = _fields(evaluation, measured) | {
        'check': 'floor', 'value': measured.value, 'low': measured.low, 'high': measured.high, 'limit': task.gate.floor}
    if measured.value is None:
        return Judgement(**fields, rejects=True, outcome='not_measured', sentence=(
            f'{name} could not be measured, because there was no eval example or the scores of the model are not '
            'finite.'))
    bound = {'value': measured.value, 'low': measured.low, 'high': measured.high}[task.gate.floor_by]
    if bound is None:
        return Judgement(**fields, rejects=True, outcome='not_measured', sentence=(
            f'{name} is {measured.value:.2f}, but has no interval ({_size(evaluation, measured)}), of which '
            f'Gate(floor_by={task.gate.floor_by!r}) takes a limit.'))
    missed = bound < task.gate.floor - TOLERANCE
    number = _format(bound, task.gate.floor)
    comparison = 'is below' if missed else 'meets'
    if task.gate.floor_by == 'value':
        sentence = (f'{name} {number(bound)}{_interval(evaluation, measured, number)} {comparison} its floor of '
                    f'{number(task.gate.floor)}.')
    else:
        side = 'lower' if task.gate.floor_by == 'low' else 'upper'
        sentence = (f'{name} {number(measured.value)}{_interval(evaluation, measured, number)}: the {side} limit '
                    f'{comparison} its floor of {number(task.gate.floor)}.')
    return Judgement(**fields, rejects=missed, bound=bound, outcome='missed' if missed else 'met', sentence=sentence)


def comparisons(evaluation: Evaluation) -> list[tuple[Slice, Comparison | None]]:
    """The slices that are compared with the model being served; None where that can tell nothing.

    All examples, and each value of the features that the task's gate names. None at all if the model being served does
    not know the task, or if the metric could not be measured, which has a judgement of its own.
    """
    if evaluation.baseline_metrics is None or evaluation.slices[0].value is None:
        return []
    gated = [measured for measured in evaluation.slices[1:] if measured.feature in evaluation.task.gate.slices]
    return [(measured, _compare(evaluation.task, measured)) for measured in (evaluation.slices[0], *gated)]


def _compare(task: Task, measured: Slice) -> Comparison | None:
    if (measured.too_small or measured.value is None or measured.baseline is None or measured.resamples is None
            or measured.baseline_resamples is None):
        return None
    return non_inferiority.compare(measured.value, measured.baseline, measured.resamples, measured.baseline_resamples,
                                   measured.examples, measured.groups, task.gate.max_drop)


def change(evaluation: Evaluation, measured: Slice, comparison: Comparison | None, outcome: str, p_worse: float | None,
           version: str) -> Judgement:
    """The change of the metric since the model being served against the task's max_drop.

    outcome: non_inferiority.Outcome. p_worse: corrected. version: of the model being served, '' if unknown.
    """
    if (measured.resamples is None or measured.baseline_resamples is None) and not measured.too_small:
        outcome = 'not_tested'
    task = evaluation.task
    allowed, name = task.gate.max_drop, _name(task, measured)
    fields = _fields(evaluation, measured) | {
        'check': 'change', 'value': measured.change, 'low': measured.change_low, 'high': measured.change_high,
        'limit': -allowed, 'p_worse': p_worse,
        'bound': comparison.low if comparison and math.isfinite(comparison.low) else None}
    if measured.value is None or measured.baseline is None or measured.change is None:
        # A part of the examples may have none with a label of which there is an average precision.
        whole = not measured.feature
        rejects = whole or task.gate.cannot_tell == 'reject'
        return Judgement(**fields, rejects=rejects, outcome='not_measured', sentence=(
            f'{name} of the model being served could not be measured, because its scores are not finite. So nobody '
            'knows how the new model compares with it.' if whole else
            f'{name} could not be measured of both models ({_size(evaluation, measured)}).'))
    fell = measured.change < -allowed - TOLERANCE
    # A part with a handful of examples almost always has one in which a new model is wrong.
    falls_count = fell and not (measured.too_small and measured.feature)
    # 'remark' is about what a test could not tell. Where there was none, a model may have fallen to chance.
    rejects = outcome == 'worse' or outcome != 'not_worse' and {
        'by_value': falls_count, 'reject': True, 'remark': falls_count and fields['bound'] is None
    }[task.gate.cannot_tell]
    number = _format(-measured.change, allowed)
    text = (f'{name} {_moved(measured.baseline, measured.value, version, number)}'
            f'{_interval_of_change(evaluation, measured, number)}: ')
    if outcome == 'worse':
        text += f'at most {number(allowed)} is allowed.'
    elif outcome == 'not_worse':
        text += f'not worse by more than the {number(allowed)} allowed.'
    else:
        if measured.too_small:
            text += f'too few to judge by; at most {number(allowed)} is allowed.'
        elif fields['bound'] is None:
            text += f'nothing shows how certain that is; at most {number(allowed)} is allowed.'
        else:
            text += f'too few examples to tell whether it is worse by more than the {number(allowed)} allowed.'
        if rejects and task.gate.cannot_tell == 'reject':
            text += " The config rejects what it cannot tell: Gate(cannot_tell='reject')."
        elif rejects:
            text += ' The measured fall is more, and counts. More eval examples would tell.'
        elif fell:
            text += ' The measured fall is more, but does not reject the model.'
    return Judgement(**fields, rejects=rejects, outcome=outcome, sentence=text)


def missing_slices(evaluation: Evaluation) -> list[Judgement]:
    """A judgement against the model for each column that the gate names and by which nothing was measured."""
    task, whole = evaluation.task, evaluation.slices[0]
    measured = {part.feature for part in evaluation.slices}
    return [Judgement('change', task.name, rejects=True, outcome='not_measured', metric=task.primary_metric, sentence=(
        f'{_name(task, whole)} was not measured by {feature}, which slices of the gate names.'))
            for feature in task.gate.slices if feature not in measured and evaluation.baseline_metrics is not None]


def _fields(evaluation: Evaluation, measured: Slice) -> dict:
    """The fields that all judgements of a metric share."""
    return {'task': evaluation.task.name, 'metric': evaluation.task.primary_metric, 'examples': measured.examples,
            'groups': measured.groups if evaluation.clustered else None,
            'slice': {'feature': measured.feature, 'value': measured.value_of_feature} if measured.feature else None}


def _name(task: Task, measured: Slice) -> str:
    where = f' of {measured.feature} {measured.value_of_feature!r}' if measured.feature else ''
    return f'{task.name}: {task.primary_metric.replace("_", " ")}{where}'


def _size(evaluation: Evaluation, measured: Slice) -> str:
    """'48 examples in 12 groups'."""
    groups = f' in {words.count(measured.groups, "group")}' if evaluation.clustered else ''
    return f'{words.count(measured.examples, "example")}{groups}'


def _interval(evaluation: Evaluation, measured: Slice, number) -> str:
    """' (95% interval 0.48 to 0.74, 48 examples in 12 groups)'."""
    limits = ('' if measured.low is None or measured.high is None else
              f'95% interval {number(measured.low)} to {number(measured.high)}, ')
    return f' ({limits}{_size(evaluation, measured)})'


def _interval_of_change(evaluation: Evaluation, measured: Slice, number) -> str:
    limits = ('' if measured.change_low is None or measured.change_high is None else
              f'95% interval of the change {number(measured.change_low)} to {number(measured.change_high)}, ')
    return f' ({limits}{_size(evaluation, measured)})'


def _moved(baseline: float, value: float, version: str, number) -> str:
    """'fell by 0.05, from 0.93 (version 3) to 0.88'."""
    served = f' (version {version})' if version else ''
    before, now, by = number(baseline), number(value), number(abs(value - baseline))
    if float(by) == 0:
        return f'is {now} as before{served}'
    return f'{"fell" if value < baseline else "rose"} by {by}, from {before}{served} to {now}'


def _format(a: float, b: float):
    """A function that writes numbers with two decimals, or with as many (at most 8) as it takes to tell a from b."""
    digits = next((d for d in range(2, 9) if f'{a:.{d}f}' != f'{b:.{d}f}'), 2)
    return lambda number: f'{round(number, digits) + 0.0:.{digits}f}'  # + 0.0: no minus before zero

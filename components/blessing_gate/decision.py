"""One decision from all evaluations and the serving check, with its reasons. Knows neither TFX nor TensorFlow."""

import dataclasses
import math

from model_code.tasks import Task

# Floats are rounded: 0.93 - 0.91 is a little more than 0.02. A threshold that is missed by less than this is met.
TOLERANCE = 1e-9


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The results of one task's TaskEvaluator.

    metrics, baseline_metrics: name -> value; baseline_metrics is None without a baseline.
    baseline_version: the version of the baseline, '' if unknown.
    blessed: the verdict of TaskEvaluator.
    """
    task: Task
    metrics: dict[str, float]
    blessed: bool
    baseline_metrics: dict[str, float] | None = None
    baseline_version: str = ''


def decide(evaluations: list[Evaluation], infra_blessed: bool, infra_reasons: list[str]) -> dict:
    """The decision as a dict for JSON: blessed only if every task's evaluation and the serving check are.

    {"blessed": bool, "reasons": [sentence], "tasks": [{"name", "modality", "metrics", "baseline_metrics",
    "baseline_version", "primary_metric", "floor", "max_drop", "value", "change", "blessed", "reason"}],
    "infra": {"blessed", "reasons"}}. Values that are not finite become None.
    """
    tasks = [_decide_task(evaluation) for evaluation in evaluations]
    reasons = [reason for _, task_reasons in tasks for reason in task_reasons]
    if not infra_blessed:
        reasons += [f'Serving check: {r}' for r in infra_reasons or ['it rejected the model and gave no reason.']]
    return {
        'blessed': not reasons,
        'reasons': reasons,
        'tasks': [task for task, _ in tasks],
        'infra': {'blessed': infra_blessed, 'reasons': list(infra_reasons)},
    }


def _decide_task(evaluation: Evaluation) -> tuple[dict, list[str]]:
    """The task's entry in the decision, and the reasons to reject the model; none if it passed."""
    task = evaluation.task
    metric = task.primary_metric
    metrics = _finite(evaluation.metrics)
    baseline_metrics = None if evaluation.baseline_metrics is None else _finite(evaluation.baseline_metrics)
    value = metrics.get(metric)
    served = (baseline_metrics or {}).get(metric)
    change = None if value is None or served is None else value - served

    name = f'{task.name}: {metric.replace("_", " ")}'
    reasons = []
    if value is None:
        reasons.append(f'{name} could not be measured, because there was no eval example or the scores of the model '
                       'are not finite.')
    elif value < task.gate.floor - TOLERANCE:
        shown, floor = _two_texts(value, task.gate.floor)
        reasons.append(f'{name} {shown} is below its floor of {floor}.')
    if change is not None and change < -task.gate.max_drop - TOLERANCE:
        fall, allowed = _two_texts(-change, task.gate.max_drop)
        shown_served, shown = _two_texts(served, value)
        version = f' (version {evaluation.baseline_version})' if evaluation.baseline_version else ''
        reasons.append(f'{name} fell by {fall}, from {shown_served}{version} to {shown}; at most {allowed} is allowed.')
    if not reasons and not evaluation.blessed:
        shown, _ = _two_texts(value, task.gate.floor)
        reasons.append(f'{name} {shown} meets its floor, but the evaluation rejected the model: the change from the '
                       'model being served could not be measured.')
    return {
        'name': task.name,
        'modality': task.modality,
        'metrics': metrics,
        'baseline_metrics': baseline_metrics,
        'baseline_version': evaluation.baseline_version,
        'primary_metric': metric,
        'floor': task.gate.floor,
        'max_drop': task.gate.max_drop,
        'value': value,
        'change': change,
        'blessed': not reasons,
        'reason': ' '.join(reasons),
    }, reasons


def _finite(metrics: dict[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in metrics.items()}


def _two_texts(a: float, b: float) -> tuple[str, str]:
    """Both numbers with two decimals, or with as many (at most 8) as it takes to tell them apart."""
    for digits in range(2, 9):
        texts = f'{a:.{digits}f}', f'{b:.{digits}f}'
        if texts[0] != texts[1]:
            return texts
    return f'{a:.2f}', f'{b:.2f}'

"""One decision from all evaluations, lost classes and the serving check, with its reasons. No TFX, no TensorFlow."""

import dataclasses
import math

from components.blessing_gate.changes import Changes
from model_code.tasks import Task

# Floats are rounded: 0.93 - 0.91 is a little more than 0.02. A threshold that is missed by less than this is met.
TOLERANCE = 1e-9


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The results of one task's TaskEvaluator.

    metrics, baseline_metrics: name -> value; baseline_metrics is None if no model that knows the task is being served.
    """
    task: Task
    metrics: dict[str, float]
    baseline_metrics: dict[str, float] | None = None


def decide(evaluations: list[Evaluation], infra_blessed: bool, infra_reasons: list[str],
           baseline_version: str = '', changes: Changes | None = None) -> dict:
    """The decision as a dict for JSON: blessed only if every task and the serving check pass, and no task is lost.

    baseline_version: the version of the model that the evaluations compare with; '' if there is none. changes: of tasks
    and classes, from that version to this model.

    {"blessed": bool, "reasons": [sentence], "remarks": [sentence], "baseline_version", "lost_tasks": [name],
    "tasks": [{"name", "modality", "metrics", "baseline_metrics", "baseline_version", "primary_metric", "floor",
    "max_drop", "value", "change", "blessed", "reason"}], "infra": {"blessed", "reasons"}}. Values that are not finite
    become None. A task's baseline_version is '' if the baseline does not know the task.
    """
    changes = changes or Changes()
    tasks = [_decide_task(evaluation, baseline_version, changes.lost_classes.get(evaluation.task.name))
             for evaluation in evaluations]
    reasons = list(changes.lost_tasks.values()) + [reason for _, task_reasons in tasks for reason in task_reasons]
    if not infra_blessed:
        reasons += [f'Serving check: {r}' for r in infra_reasons or ['it rejected the model and gave no reason.']]
    return {
        'blessed': not reasons,
        'reasons': reasons,
        'remarks': list(changes.remarks),
        'baseline_version': baseline_version,
        'lost_tasks': list(changes.lost_tasks),
        'tasks': [task for task, _ in tasks],
        'infra': {'blessed': infra_blessed, 'reasons': list(infra_reasons)},
    }


def _decide_task(evaluation: Evaluation, baseline_version: str, lost_classes: str | None
                 ) -> tuple[dict, list[str]]:
    """The task's entry in the decision, and the reasons to reject the model; none if it passed.

    lost_classes: such a reason, if there are any.
    """
    task = evaluation.task
    metric = task.primary_metric
    metrics = _finite(evaluation.metrics)
    baseline_metrics = None if evaluation.baseline_metrics is None else _finite(evaluation.baseline_metrics)
    value = metrics.get(metric)
    compared = baseline_metrics is not None
    served = baseline_metrics.get(metric) if compared else None
    change = None if value is None or served is None else value - served

    name = f'{task.name}: {metric.replace("_", " ")}'
    reasons = [lost_classes] if lost_classes else []
    if value is None:
        reasons.append(f'{name} could not be measured, because there was no eval example or the scores of the model '
                       'are not finite.')
    elif value < task.gate.floor - TOLERANCE:
        shown, floor = _two_texts(value, task.gate.floor)
        reasons.append(f'{name} {shown} is below its floor of {floor}.')
    if change is not None and change < -task.gate.max_drop - TOLERANCE:
        fall, allowed = _two_texts(-change, task.gate.max_drop)
        shown_served, shown = _two_texts(served, value)
        version = f' (version {baseline_version})' if baseline_version else ''
        reasons.append(f'{name} fell by {fall}, from {shown_served}{version} to {shown}; at most {allowed} is allowed.')
    if value is not None and compared and served is None:
        reasons.append(f'{name} of the model being served could not be measured, because its scores are not finite. So '
                       'nobody knows how the new model compares with it.')
    return {
        'name': task.name,
        'modality': task.modality,
        'metrics': metrics,
        'baseline_metrics': baseline_metrics,
        'baseline_version': baseline_version if compared else '',
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

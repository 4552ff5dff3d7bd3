"""One decision from all tasks' evaluations and the serving check, with its reasons in words. No TFX, no TensorFlow."""

import dataclasses
import math

from model_code.tasks import Task

# Metrics are sums of rounded floats: 0.93 - 0.91 is a little more than 0.02. A miss smaller than this is none.
TOLERANCE = 1e-9


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What one task's Evaluator found.

    metrics and baseline_metrics: name -> value; the latter None where there was nothing to compare with.
    baseline_version: the version of the model being served, '' where it is not known.
    blessed: the Evaluator's own verdict.
    """
    task: Task
    metrics: dict[str, float]
    blessed: bool
    baseline_metrics: dict[str, float] | None = None
    baseline_version: str = ''


def decide(evaluations: list[Evaluation], infra_blessed: bool, infra_reasons: list[str]) -> dict:
    """The decision as a JSON-able dict: blessed only if every task's evaluation and the serving check are.

    {"blessed": bool, "reasons": [a sentence for each refusal], "tasks": [{"name", "modality", "metrics",
    "baseline_metrics", "baseline_version", "primary_metric", "floor", "max_drop", "value", "change", "blessed",
    "reason"}], "infra": {"blessed", "reasons"}}. Values that are no finite number become None.
    """
    tasks = [_decide_task(e) for e in evaluations]
    reasons = [sentence for _, sentences in tasks for sentence in sentences]
    if not infra_blessed:
        reasons += [f'Serving check: {r}' for r in infra_reasons or ['the model was refused, without a reason.']]
    return {
        'blessed': not reasons,
        'reasons': reasons,
        'tasks': [task for task, _ in tasks],
        'infra': {'blessed': infra_blessed, 'reasons': list(infra_reasons)},
    }


def _decide_task(evaluation: Evaluation) -> tuple[dict, list[str]]:
    task = evaluation.task
    metric = task.primary_metric
    metrics = _finite(evaluation.metrics)
    baseline_metrics = None if evaluation.baseline_metrics is None else _finite(evaluation.baseline_metrics)
    value = metrics.get(metric)
    before = (baseline_metrics or {}).get(metric)
    change = None if value is None or before is None else value - before

    words = metric.replace('_', ' ')
    sentences = []
    if value is None:
        sentences.append(f'{task.name}: {words} could not be measured; there was no eval example, or the model gave '
                         'scores that are no numbers.')
    elif value < task.gate.floor - TOLERANCE:
        shown, floor = _apart(value, task.gate.floor)
        sentences.append(f'{task.name}: {words} {shown} is below its floor {floor}.')
    if change is not None and change < -task.gate.max_drop - TOLERANCE:
        fall, allowed = _apart(-change, task.gate.max_drop)
        shown_before, shown = _apart(before, value)
        version = f' (version {evaluation.baseline_version})' if evaluation.baseline_version else ''
        sentences.append(f'{task.name}: {words} fell by {fall} from {shown_before}{version} to {shown}; at most '
                         f'{allowed} is allowed.')
    if not sentences and not evaluation.blessed:
        sentences.append(f'{task.name}: the evaluation did not bless the model, though {words} '
                         f'{_apart(value, task.gate.floor)[0]} holds its floor; its change from the model being served '
                         'could not be measured.')
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
        'blessed': not sentences,
        'reason': ' '.join(sentences),
    }, sentences


def _finite(metrics: dict[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in metrics.items()}


def _apart(a: float, b: float) -> tuple[str, str]:
    """Both numbers with two digits after the point, or as many more as make the two look different."""
    for digits in range(2, 9):
        texts = f'{a:.{digits}f}', f'{b:.{digits}f}'
        if texts[0] != texts[1]:
            break
    return texts if texts[0] != texts[1] else (f'{a:.2f}', f'{b:.2f}')

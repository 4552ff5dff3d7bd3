"""One decision from all evaluations, lost classes and the serving check, with its reasons. No TFX, no TensorFlow."""

import dataclasses
import math
from collections.abc import Sequence

from components.blessing_gate import judgement
from components.blessing_gate.changes import Changes
from components.blessing_gate.judgement import Evaluation, Judgement
from model_code import non_inferiority

_NAMED = 5  # classes in a sentence
VERSION = 1  # of decision.json: schemas/decision.schema.json


def decide(evaluations: Sequence[Evaluation], infra_blessed: bool, infra_reasons: list[str],
           baseline_version: str = '', changes: Changes | None = None) -> dict:
    """The decision as a dict for JSON, of the form of schemas/decision.schema.json.

    Blessed only if every task and the serving check pass, and no task is lost. `judgements` has all that was looked at;
    the sentences of those that reject the model are `reasons` too, and those about which the gate cannot tell and
    that pass are among the `remarks`.

    baseline_version: the version of the model that the evaluations compare with; '' if there is none. changes: of tasks
    and classes, from that version to this model. Values that are not finite become None.
    """
    changes = changes or Changes()
    compared = _compared(evaluations, baseline_version)
    of_task: dict[str, list[Judgement]] = {}
    for evaluation in evaluations:
        name = evaluation.task.name
        lost = [_plain('classes', sentence, name) for sentence in (changes.lost_classes.get(name),) if sentence]
        of_task[name] = [*lost, judgement.floor(evaluation), *compared[name]]
    judgements = [_plain('tasks', sentence, name) for name, sentence in changes.lost_tasks.items()]
    judgements += [found for several in of_task.values() for found in several]
    if not infra_blessed:
        judgements += [_plain('serving', f'Serving check: {reason}')
                       for reason in infra_reasons or ['it rejected the model and gave no reason.']]
    reasons = [found.sentence for found in judgements if found.rejects]
    return {
        'version': VERSION,
        'blessed': not reasons,
        'reasons': reasons,
        'remarks': [*changes.remarks, *(_unseen(found) for found in evaluations if found.unseen_classes),
                    *(found.sentence for found in judgements if _is_remark(found))],
        'baseline_version': baseline_version,
        'lost_tasks': list(changes.lost_tasks),
        'tasks': [_task(evaluation, of_task[evaluation.task.name], baseline_version) for evaluation in evaluations],
        'judgements': [dataclasses.asdict(found) for found in judgements],
        'infra': {'blessed': infra_blessed, 'reasons': list(infra_reasons)},
    }


def _compared(evaluations: Sequence[Evaluation], version: str) -> dict[str, list[Judgement]]:
    """Task -> the judgements of its changes. All comparisons are corrected together (see non_inferiority)."""
    slices = [(evaluation, *pair) for evaluation in evaluations for pair in judgement.comparisons(evaluation)]
    known = [comparison for _, _, comparison in slices if comparison]
    found = dict(zip(map(id, known), zip(non_inferiority.outcomes(known),
                                         non_inferiority.holm([c.p_worse for c in known]), strict=True), strict=True))
    judgements: dict[str, list[Judgement]] = {evaluation.task.name: [] for evaluation in evaluations}
    for evaluation, measured, comparison in slices:
        outcome, p_worse = found.get(id(comparison), ('cannot_tell', None))
        judgements[evaluation.task.name].append(
            judgement.change(evaluation, measured, comparison, outcome, p_worse, version))
    for evaluation in evaluations:
        judgements[evaluation.task.name] += judgement.missing_slices(evaluation)
    return judgements


def _plain(check: str, sentence: str, task: str | None = None) -> Judgement:
    """A judgement against the model without any number."""
    return Judgement(check, task, rejects=True, outcome='missed', sentence=sentence)


def _is_remark(found: Judgement) -> bool:
    return found.check == 'change' and not found.rejects and found.outcome not in ('not_worse', 'not_tested')


def _unseen(evaluation: Evaluation) -> str:
    names = [repr(name) for name in evaluation.unseen_classes]
    more = len(names) - _NAMED
    listed = ', '.join(names[:_NAMED]) + (f' and {more:,} more' if more > 0 else '')
    classes = 'the class' if len(names) == 1 else 'the classes'
    return (f'{evaluation.task.name}: no eval example has {classes} {listed}: how well the model knows them was not '
            'measured.')


def _task(evaluation: Evaluation, judgements: list[Judgement], baseline_version: str) -> dict:
    """The task's entry in the decision."""
    task, measured = evaluation.task, evaluation.slices[0]
    baseline = evaluation.baseline_metrics
    compared = baseline is not None
    # The change over all examples is the first that is judged.
    change = next((found for found in judgements if found.check == 'change'), None)
    reasons = [found.sentence for found in judgements if found.rejects]
    return {
        'name': task.name,
        'modality': task.modality,
        'examples': measured.examples,
        'groups': measured.groups if evaluation.clustered else None,
        'too_small': measured.too_small,
        'metrics': _finite(evaluation.metrics),
        'baseline_metrics': None if baseline is None else _finite(baseline),
        'baseline_version': baseline_version if compared else '',
        'primary_metric': task.primary_metric,
        'floor': task.gate.floor,
        'max_drop': task.gate.max_drop,
        'value': measured.value,
        'low': measured.low,
        'high': measured.high,
        'change': measured.change if compared else None,
        'change_low': measured.change_low if compared else None,
        'change_high': measured.change_high if compared else None,
        'outcome': change.outcome if change else None,
        'blessed': not reasons,
        'reason': ' '.join(reasons),
    }


def _finite(metrics: dict[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in metrics.items()}

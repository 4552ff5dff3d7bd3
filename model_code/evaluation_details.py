"""What is behind the metrics of an evaluation: by class, by confidence, and single examples. numpy only.

`of_choices` and `of_labels` make the same dict, which is written as JSON, with None for what is not a number (0 / 0):
- classes: [{label, group, examples, and by label kind precision, recall, f1 or average_precision, auc, d_prime}], in
  vocabulary order; with the baseline's as baseline_precision, ... where there is one. group: its label group, or ''.
- confusion: [{group, labels, counts: [[label, predicted, count]], left_out}], one for each choice; [] where an example
  may have several labels. counts has places among `labels`, and only pairs that occur. left_out: how many examples have
  an unknown label, or a score that is NaN.
- reliability: [{group, low, high, count, confidence, accuracy}]: bins of probability, BINS of them for each choice; the
  mean probability of their decisions, and how many were right.
- curves: [{name, points: [[recall, precision]]}]: at most POINTS. "all classes" is of all decisions about examples and
  classes together, as if they were of one class (micro).
- mistakes, hits: [{id, label, predicted, confidence}]: the NAMED most confident mistakes and least confident hits. Each
  example is there once at most, with its most telling decision. Equal ones are in the order of their ids.
"""

import math
import typing
from collections.abc import Sequence

import numpy as np

from model_code import outcome_metrics

NAMED = 20
POINTS = 100
_FEW = 10_000  # points of a curve that are looked at, evenly spread


class Choice(typing.NamedTuple):
    """A question to each of N examples, with one right answer among its classes."""
    group: str
    """The label group, or ''."""
    classes: Sequence[str]
    labels: np.ndarray
    """[N] int: places among the classes, -1 for an unknown label."""
    scores: np.ndarray
    """[N, classes] float32."""
    baseline_scores: np.ndarray | None
    """The same of the baseline."""


class _Decisions(typing.NamedTuple):
    """Decisions about examples, [M] each."""
    examples: np.ndarray
    """The numbers of the examples."""
    labels: np.ndarray
    """object: what is right, and below what the model says, in words."""
    predicted: np.ndarray
    confidence: np.ndarray


def of_choices(ids: Sequence[str], order: Sequence[str], choices: Sequence[Choice]) -> dict:
    """The details of examples with one label, or one in each group.

    ids: [N] of str. order: all classes, in vocabulary order. Each belongs to one choice.
    """
    answers = [outcome_metrics.predicted(choice.labels, choice.scores) for choice in choices]
    answered = list(zip(choices, answers, strict=True))
    place = {name: number for number, name in enumerate(order)}
    return {
        'classes': sorted((row for pair in answered for row in _choice_classes(*pair)),
                          key=lambda row: place[row['label']]),
        'confusion': [_confusion(*pair) for pair in answered],
        'reliability': [row for choice in choices for row in _bins(
            choice.group, outcome_metrics.reliability(choice.labels, choice.scores))],
        'curves': _curves([(outcome_metrics.one_hot(c.labels, len(c.classes)) > 0, c.scores) for c in choices]),
        'mistakes': _named(ids, [_choice_decisions(*pair, right=False) for pair in answered], most_confident=True),
        'hits': _named(ids, [_choice_decisions(*pair, right=True) for pair in answered], most_confident=False),
    }


def of_labels(ids: Sequence[str], classes: Sequence[str], labels: np.ndarray, scores: np.ndarray,
              baseline_scores: np.ndarray | None) -> dict:
    """The details of examples with several labels: there is a decision about each class.

    The model says that a class is there if its score is at least 0.5. A mistake is a class that it wrongly says is
    there or is not ('not dog'); a hit is a label that it finds. ids: [N] of str. labels: [N, classes], multi-hot.
    scores, baseline_scores: [N, classes] float32.
    """
    there, said = labels > 0, scores >= 0.5
    values = _label_metrics(there, scores)
    if baseline_scores is not None:
        values |= {f'baseline_{name}': column for name, column in _label_metrics(there, baseline_scores).items()}
    return {
        'classes': [{'label': name, 'group': '', 'examples': int(count),
                     **{key: _number(column[place]) for key, column in values.items()}}
                    for place, (name, count) in enumerate(zip(classes, there.sum(axis=0), strict=True))],
        'confusion': [],
        'reliability': _bins('', outcome_metrics.labels_reliability(there, scores)),
        'curves': _curves([(there, scores)]),
        'mistakes': _named(ids, [_label_decisions(classes, there, scores, (there != said) & ~np.isnan(scores), True)],
                           most_confident=True),
        'hits': _named(ids, [_label_decisions(classes, there, scores, there & said, False)], most_confident=False),
    }


def _number(value) -> float | None:
    return float(value) if math.isfinite(value) else None


def _choice_classes(choice: Choice, answers: np.ndarray) -> list[dict]:
    values = _precision_recall_f1(choice.labels, answers, len(choice.classes))
    if choice.baseline_scores is not None:
        baseline = outcome_metrics.predicted(choice.labels, choice.baseline_scores)
        values |= {f'baseline_{name}': column for name, column in _precision_recall_f1(
            choice.labels, baseline, len(choice.classes)).items()}
    examples = np.bincount(choice.labels[choice.labels >= 0], minlength=len(choice.classes))
    return [{'label': name, 'group': choice.group, 'examples': int(count),
             **{key: _number(column[place]) for key, column in values.items()}}
            for place, (name, count) in enumerate(zip(choice.classes, examples, strict=True))]


def _precision_recall_f1(labels: np.ndarray, answers: np.ndarray, classes: int) -> dict[str, np.ndarray]:
    def counted(ids):
        return np.bincount(ids[ids >= 0], minlength=classes)

    right, answered, labelled = counted(labels[labels == answers]), counted(answers), counted(labels)
    return {'precision': outcome_metrics.ratio(right, answered), 'recall': outcome_metrics.ratio(right, labelled),
            'f1': outcome_metrics.ratio(2 * right, answered + labelled)}


def _label_metrics(there: np.ndarray, scores: np.ndarray) -> dict[str, np.ndarray]:
    """Name -> [classes]."""
    each_once = np.ones((len(scores), 1))
    precisions, aucs = np.full(there.shape[1], math.nan), np.full(there.shape[1], math.nan)
    for c in np.flatnonzero(there.any(axis=0) & ~np.isnan(scores).any(axis=0)):
        ranked = outcome_metrics.Ranked.of(there[:, c], scores[:, c])
        precisions[c], aucs[c] = ranked.average_precision(each_once)[0], ranked.auc(each_once)[0]
    return {'average_precision': precisions, 'auc': aucs,
            'd_prime': np.array([outcome_metrics.d_prime_of(value) for value in aucs])}


def _confusion(choice: Choice, answers: np.ndarray) -> dict:
    known = (choice.labels >= 0) & (answers >= 0)
    classes = len(choice.classes)
    cells, counts = np.unique(choice.labels[known] * classes + answers[known], return_counts=True)
    return {'group': choice.group, 'labels': list(choice.classes), 'left_out': int(np.count_nonzero(~known)),
            'counts': [[int(cell // classes), int(cell % classes), int(count)]
                       for cell, count in zip(cells, counts, strict=True)]}


def _bins(group: str, reliability: outcome_metrics.Reliability) -> list[dict]:
    count, probability, right = (sums.sum(axis=0) for sums in reliability)
    edges = np.linspace(0, 1, outcome_metrics.BINS + 1)
    return [{'group': group, 'low': float(low), 'high': float(high), 'count': int(n),
             'confidence': _number(confidence), 'accuracy': _number(accuracy)}
            for low, high, n, confidence, accuracy in zip(
                edges[:-1], edges[1:], count, outcome_metrics.ratio(probability, count),
                outcome_metrics.ratio(right, count), strict=True)]


def _curves(decisions: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[dict]:
    """decisions: ([N, classes] bool, whether a class is there; [N, classes] scores), for each choice."""
    positive = np.sort(np.concatenate([scores[there] for there, scores in decisions]))
    every = np.sort(np.concatenate([scores.ravel() for _, scores in decisions]))
    if not len(positive) or np.isnan(every[-1]):  # NaN comes last
        return []
    thresholds = np.unique(positive)[::-1]
    found = len(positive) - np.searchsorted(positive, thresholds, side='left')
    chosen = len(every) - np.searchsorted(every, thresholds, side='left')
    recall, precision = found / len(positive), found / chosen
    return [{'name': 'all classes', 'points': [[float(recall[i]), float(precision[i])]
                                               for i in thinned(recall, precision, POINTS)]}]


def thinned(x: np.ndarray, y: np.ndarray, most: int) -> np.ndarray:
    """The numbers of at most so many points of a curve, whose straight connection stays close to the others.

    From the two ends on, the point that is furthest (in y) from the connection is added, as Ramer, Douglas and Peucker
    do. x: [N], rising.
    """
    few = np.unique(np.searchsorted(x, np.linspace(x[0], x[-1], _FEW))) if len(x) > _FEW else np.arange(len(x))
    x, y = x[few], y[few]
    kept = [0, len(x) - 1]
    while len(kept) < most:
        distance = np.abs(np.interp(x, x[kept], y[kept]) - y)
        if distance.max() == 0:
            break
        kept = sorted([*kept, int(distance.argmax())])
    return few[np.unique(kept)]


def _choice_decisions(choice: Choice, answers: np.ndarray, right: bool) -> _Decisions:
    examples = np.flatnonzero((choice.labels >= 0) & (answers >= 0) & ((choice.labels == answers) == right))
    names, answered = np.array(choice.classes, object), answers[examples]
    return _Decisions(examples, names[choice.labels[examples]], names[answered], choice.scores[examples, answered])


def _label_decisions(classes: Sequence[str], there: np.ndarray, scores: np.ndarray, chosen: np.ndarray,
                     most_confident: bool) -> _Decisions:
    """The most (or least) confident of the chosen decisions [N, classes] of each example that has one."""
    examples = np.flatnonzero(chosen.any(axis=1))
    certain = np.where(scores[examples] >= 0.5, scores[examples], 1 - scores[examples])
    certain[~chosen[examples]] = -1 if most_confident else 2
    which = certain.argmax(axis=1) if most_confident else certain.argmin(axis=1)
    texts = np.array([[f'not {name}' for name in classes], classes], object)
    said = (scores[examples, which] >= 0.5).astype(int)
    return _Decisions(examples, texts[there[examples, which].astype(int), which], texts[said, which],
                      certain[np.arange(len(examples)), which])


def _named(ids: Sequence[str], decisions: Sequence[_Decisions], most_confident: bool) -> list[dict]:
    """The first NAMED of the decisions, one for each example."""
    examples, labels, predicted, confidence = (np.concatenate(parts) for parts in zip(*decisions, strict=True))
    ranks = -confidence if most_confident else confidence
    listed: dict[int, dict] = {}
    for i in sorted(range(len(examples)), key=lambda i: (ranks[i], ids[examples[i]])):
        if len(listed) == NAMED:
            break
        listed.setdefault(int(examples[i]), {'id': ids[examples[i]], 'label': labels[i], 'predicted': predicted[i],
                                             'confidence': float(confidence[i])})
    return list(listed.values())

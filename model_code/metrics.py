"""Metrics of scores, in numpy: what a model is judged by after training (TFMA's evaluation) and during it.

An example has `scores` [classes] float (probabilities) and a label: an int class id; a multi-hot [classes] float; or,
for a task with label groups, [classes] float: a class of group g (from 1) has g where it is the label, else -g.

Why not the stock Keras metrics: the baseline may be a model that never learned a class which the data now has. Its
label id is -1 then; Keras' cross-entropy raises on it, while here such an example counts as wrong. And neither Keras
nor TFMA has an exact macro average precision.
"""

import dataclasses
import typing

import numpy as np

# Probabilities are clipped to at least this in logarithms, as Keras does: the largest loss of an example is 16.1.
EPSILON = 1e-7


@dataclasses.dataclass(frozen=True)
class Metric:
    """A number that a trained model is judged by; what TFMA's configuration is made from."""
    name: str
    """Its name in the evaluation's results."""
    function: typing.Callable[..., float]
    """A module's function of label, scores and `arguments`; both [classes] float, or the label [1], an id. Where
    `of_all_examples`, of labels and scores [N, classes]."""
    arguments: dict = dataclasses.field(default_factory=dict)
    """By name; JSON-able."""
    of_all_examples: bool = False
    """Whether the metric is the function of all examples at once, rather than the function's mean over them."""


def correct(label: int, scores: np.ndarray, k: int = 1) -> float:
    """1.0 where the label is among the k best scores, else 0.0; 0.0 for a label of -1 or a score that is no number."""
    if not 0 <= label < len(scores) or np.isnan(scores).any():
        return 0.0
    # Ties are broken against the model: constant scores must not count as right.
    better = np.count_nonzero(scores >= scores[label]) - 1
    return float(better < k)


def accuracy(labels: np.ndarray, scores: np.ndarray) -> float:
    """The mean of `correct` over the examples: labels [N] int, scores [N, classes]."""
    return float(np.mean([correct(label, score) for label, score in zip(labels, scores, strict=True)]))


def cross_entropy(label: int, scores: np.ndarray) -> float:
    """-log of the label's probability; a label of -1 has probability 0."""
    probability = scores[label] if 0 <= label < len(scores) else 0.0
    return float(-np.log(np.clip(probability, EPSILON, 1.0)))


def binary_cross_entropy(label: np.ndarray, scores: np.ndarray) -> float:
    """The mean over classes of -log of what the model gave to each class's being, or not being, there."""
    scores = np.clip(scores.astype(np.float64), EPSILON, 1 - EPSILON)
    return float(-np.mean(label * np.log(scores) + (1 - label) * np.log(1 - scores)))


def group_label(label: np.ndarray, scores: np.ndarray, group: int) -> tuple[int, np.ndarray]:
    """One group's label, by its place among the group's classes (-1: a class unknown to the model), and scores."""
    members = np.abs(label) == group
    right = np.flatnonzero(label[members] > 0)
    return (int(right[0]) if len(right) else -1), scores[members]


def groups_correct(label: np.ndarray, scores: np.ndarray, groups: typing.Sequence[int]) -> float:
    """1.0 where the best class of each of the groups is the right one, else 0.0."""
    return float(all(correct(*group_label(label, scores, group)) for group in groups))


def joint_accuracy(labels: np.ndarray, scores: np.ndarray, groups: typing.Sequence[typing.Sequence[int]]) -> float:
    """The share of examples for which the best class of each group is the right one.

    labels: [N, classes], 1 at each label. scores: [N, classes]. groups: the ids of each group's classes.
    """
    right = [labels[:, ids].argmax(-1) == scores[:, ids].argmax(-1) for ids in groups]
    return float(np.all(right, axis=0).mean())


def groups_cross_entropy(label: np.ndarray, scores: np.ndarray) -> float:
    """The mean over the label groups of `cross_entropy`."""
    groups = range(1, 1 + int(np.abs(label).max()))
    return float(np.mean([cross_entropy(*group_label(label, scores, group)) for group in groups]))


def average_precision(labels: np.ndarray, scores: np.ndarray) -> float:
    """Area under the precision-recall steps of one class: labels [N] of 0 and 1, scores [N].

    Equal scores are one threshold, as in scikit-learn. NaN where no example is positive or a score is no number.
    """
    positives = np.count_nonzero(labels)
    if not positives or np.isnan(scores).any():
        return float('nan')
    order = np.argsort(-scores, kind='stable')
    labels, scores = np.asarray(labels, np.float64)[order], scores[order]
    last_of_ties = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
    found = np.cumsum(labels)[last_of_ties]
    precision = found / (last_of_ties + 1)
    return float(np.sum(np.diff(found, prepend=0.0) / positives * precision))


def mean_average_precision(labels: np.ndarray, scores: np.ndarray) -> float:
    """The mean of `average_precision` over the classes with a positive example; labels and scores are [N, classes].

    NaN where no class has one, or where any score is no number: a model that gives NaN must not pass a threshold.
    """
    present = np.flatnonzero(np.any(labels > 0, axis=0))
    if not len(present):
        return float('nan')
    return float(np.mean([average_precision(labels[:, c] > 0, scores[:, c]) for c in present]))

"""Metrics of scores, in numpy. They judge a model after training (in TFMA) and during training.

An example has `scores` [classes] float (probabilities) and a label, which is one of three things:
- an int class id;
- [classes] float, multi-hot;
- for a task with label groups, [classes] float: a class of group g (from 1) has g if it is the label, else -g.

Keras' metrics do not fit. The baseline may be a model that never learned a class which the data now has. Such a label
has the id -1: Keras' cross-entropy raises an error for it, while here the example counts as wrong. And neither Keras
nor TFMA has an exact macro average precision.
"""

import dataclasses
import typing

import numpy as np

# The least probability that a logarithm is taken of, as in Keras: the largest loss of an example is 16.1.
EPSILON = 1e-7


@dataclasses.dataclass(frozen=True)
class Metric:
    """A metric of a trained model. TFMA's configuration is made from it."""
    name: str
    """Its name in the results of the evaluation."""
    function: typing.Callable[..., float]
    """A module's function of (label, scores, **arguments). scores: [classes] float. label: [classes] float, or an id
    as [1]. With `of_all_examples`, a function of labels and scores [N, classes]."""
    arguments: dict = dataclasses.field(default_factory=dict)
    """Further arguments of the function, by name. JSON can hold them."""
    of_all_examples: bool = False
    """Whether the function takes all examples at once. If not, the metric is its mean over the examples."""


def correct(label: int, scores: np.ndarray, k: int = 1) -> float:
    """1.0 if the label is among the k best scores, else 0.0. 0.0 also for a label of -1, and if a score is NaN."""
    if not 0 <= label < len(scores) or np.isnan(scores).any():
        return 0.0
    # Ties are broken against the model: constant scores must not count as right.
    better = np.count_nonzero(scores >= scores[label]) - 1
    return float(better < k)


def accuracy(labels: np.ndarray, scores: np.ndarray) -> float:
    """The mean of `correct` over the examples: labels [N] int, scores [N, classes]."""
    return float(np.mean([correct(label, score) for label, score in zip(labels, scores, strict=True)]))


def cross_entropy(label: int, scores: np.ndarray) -> float:
    """-log of the label's probability. A label of -1 has the probability 0."""
    probability = scores[label] if 0 <= label < len(scores) else 0.0
    return float(-np.log(np.clip(probability, EPSILON, 1.0)))


def binary_cross_entropy(label: np.ndarray, scores: np.ndarray) -> float:
    """The mean over the classes of -log of the probability given to what is true: there, or not."""
    scores = np.clip(scores.astype(np.float64), EPSILON, 1 - EPSILON)
    return float(-np.mean(label * np.log(scores) + (1 - label) * np.log(1 - scores)))


def group_label(label: np.ndarray, scores: np.ndarray, group: int) -> tuple[int, np.ndarray]:
    """The label and the scores of one group. The label is a place among its classes, or -1 for an unknown class."""
    members = np.abs(label) == group
    right = np.flatnonzero(label[members] > 0)
    return (int(right[0]) if len(right) else -1), scores[members]


def groups_correct(label: np.ndarray, scores: np.ndarray, groups: typing.Sequence[int]) -> float:
    """1.0 if the best class of every group is right, else 0.0. groups: their numbers, from 1."""
    return float(all(correct(*group_label(label, scores, group)) for group in groups))


def joint_accuracy(labels: np.ndarray, scores: np.ndarray, groups: typing.Sequence[typing.Sequence[int]]) -> float:
    """The share of examples for which the best class of every group is right.

    labels: [N, classes], 1 at each label. scores: [N, classes]. groups: the ids of each group's classes.
    """
    right = [labels[:, ids].argmax(-1) == scores[:, ids].argmax(-1) for ids in groups]
    return float(np.all(right, axis=0).mean())


def groups_cross_entropy(label: np.ndarray, scores: np.ndarray) -> float:
    """The mean over the label groups of `cross_entropy`."""
    groups = range(1, 1 + int(np.abs(label).max()))
    return float(np.mean([cross_entropy(*group_label(label, scores, group)) for group in groups]))


def average_precision(labels: np.ndarray, scores: np.ndarray) -> float:
    """The area under the precision-recall steps of one class. labels: [N] of 0 and 1. scores: [N].

    Equal scores are one threshold, as in scikit-learn. NaN if no example is positive or a score is NaN.
    """
    positives = np.count_nonzero(labels)
    if not positives or np.isnan(scores).any():
        return float('nan')
    order = np.argsort(-scores, kind='stable')
    labels, scores = np.asarray(labels, np.float64)[order], scores[order]
    last_of_ties = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
    true_positives = np.cumsum(labels)[last_of_ties]
    precision = true_positives / (last_of_ties + 1)
    return float(np.sum(np.diff(true_positives, prepend=0.0) / positives * precision))


def mean_average_precision(labels: np.ndarray, scores: np.ndarray) -> float:
    """The mean of `average_precision` over the classes that have a positive example. labels, scores: [N, classes].

    NaN if no class has one, or if any score of such a class is NaN: a model that gives NaN must not pass a threshold.
    """
    present = np.flatnonzero(np.any(labels > 0, axis=0))
    if not len(present):
        return float('nan')
    return float(np.mean([average_precision(labels[:, c] > 0, scores[:, c]) for c in present]))

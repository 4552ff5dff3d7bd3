"""Metrics of the outcomes of an evaluation, in numpy, in the form that intervals need.

They complete `metrics`, which TFMA and training use. An interval comes from thousands of resamples, and a resample is a
weight for each example: how often it was drawn. So a metric looks at labels and scores once, and gives what any weights
are then applied to: `Sums` or `Weighted`.

labels are as in `metrics`: [n] ids, -1 for a label that the model does not know; [n, classes] multi-hot; or for label
groups [n, classes], where a class of group g (from 1) has g if it is the label, else -g. scores: [n, classes].

For all metrics: without examples, or if all weights are 0, the value is NaN. A class without an example (of a weight
above 0) is left out of a mean over classes. Where a score is NaN, accuracies count the example as wrong, and all other
metrics are NaN; of several labels, only a class that has an example counts here.
"""

import collections.abc
import dataclasses
import functools
import math
import statistics
import typing

import numpy as np

from model_code.metrics import EPSILON

BINS = 15  # of probabilities, equally wide, as in Guo et al. 2017
_TINY = 1e-300
# Beyond so many scores, the resamples of a mean over classes are computed to first order in the weights (the
# infinitesimal jackknife: Efron and Tibshirani 1993, chapter 22), which takes the time of two sorts a class.
EXACT_SCORES = 2 ** 20
_BLOCK = 2 ** 20  # how many numbers are worked on at once where a whole copy in float64 would be large


class Sums(typing.NamedTuple):
    """A metric that is a function of sums over the examples."""
    values: np.ndarray
    """[n, k]: what is summed for each example."""
    function: collections.abc.Callable[[np.ndarray], np.ndarray]
    """Sums [r, k] float64 -> [r]."""

    def value(self, weights: np.ndarray | None = None) -> float:
        """weights: [n]; None: each example counts once."""
        sums = self.values.sum(axis=0, dtype=np.float64) if weights is None else weights @ self.values
        return float(self.function(sums[np.newaxis])[0])


class Weighted(typing.NamedTuple):
    """Any other metric."""
    examples: int
    function: collections.abc.Callable[[np.ndarray], np.ndarray]
    """Weights [n, r] of the examples, of any numeric type -> [r]."""

    def value(self, weights: np.ndarray | None = None) -> float:
        """weights: [n]; None: each example counts once."""
        weights = np.ones(self.examples, np.uint8) if weights is None else weights
        return float(self.function(weights[:, np.newaxis])[0])


@dataclasses.dataclass(frozen=True)
class OutcomeMetric:
    """A metric that is measured from outcomes."""
    name: str
    """Its name in evaluation.json. Where TFMA measures it too, it has TFMA's name and value."""
    prepare: collections.abc.Callable[[np.ndarray, np.ndarray], Sums | Weighted]
    """A function of (labels, scores)."""
    higher_is_better: bool = True
    interval: bool = True
    """Whether an interval is wanted."""
    bounds: tuple[float, float] | None = (0.0, 1.0)
    """The least and the largest value that it can have."""

    def value(self, labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> float:
        """Its value at once. For many weights, call `prepare` once instead."""
        return self.prepare(labels, scores).value(weights)


def mean(values: np.ndarray) -> Sums:
    """The mean of [n] values of the examples."""
    return Sums(np.stack([values, np.ones(len(values))], axis=1), lambda sums: ratio(sums[:, 0], sums[:, 1]))


def ratio(parts: np.ndarray, wholes: np.ndarray) -> np.ndarray:
    """Element by element; NaN where the whole is 0."""
    parts, wholes = np.asarray(parts, np.float64), np.asarray(wholes, np.float64)
    return np.divide(parts, wholes, out=np.full(parts.shape, math.nan), where=wholes > 0)


def not_a_number(examples: int) -> Sums:
    return mean(np.full(examples, math.nan))


# One label, or one in each label group.

def in_best(labels: np.ndarray, scores: np.ndarray, k: int = 1) -> np.ndarray:
    """[n] bool: whether the label is among the k best. As `metrics.correct`: ties count against the model."""
    known = (labels >= 0) & ~np.isnan(scores).any(axis=1)
    own = scores[np.arange(len(labels)), np.maximum(labels, 0)]
    return known & (np.count_nonzero(scores >= own[:, np.newaxis], axis=1) <= k)


def predicted(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """[n] int: the ids of the best classes; -1 if a score is NaN.

    Of equal scores, one that is wrong is taken, so that the prediction is the label just where `in_best` is true.
    """
    best = scores.argmax(axis=1)
    tied = np.flatnonzero((best == labels) & ~in_best(labels, scores))
    others = scores[tied].copy()
    others[np.arange(len(tied)), labels[tied]] = -np.inf
    best[tied] = others.argmax(axis=1)
    best[np.isnan(scores).any(axis=1)] = -1
    return best


def accuracy(labels: np.ndarray, scores: np.ndarray, k: int = 1) -> Sums:
    """The share of examples whose label is among the k best classes."""
    return mean(in_best(labels, scores, k))


def cross_entropies(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """[n]: -log of each label's probability. As `metrics.cross_entropy`."""
    own = scores[np.arange(len(labels)), np.maximum(labels, 0)].astype(np.float64)
    own[labels < 0] = 0
    return -np.log(np.clip(own, EPSILON, 1.0))


def cross_entropy(labels: np.ndarray, scores: np.ndarray) -> Sums:
    """The mean of `cross_entropies`."""
    return mean(cross_entropies(labels, scores))


def one_hot(ids: np.ndarray, classes: int) -> np.ndarray:
    """[n, classes] float32: 1 at each id; nothing for -1."""
    return (ids[:, np.newaxis] == np.arange(classes)).astype(np.float32)


def macro_f1(labels: np.ndarray, scores: np.ndarray) -> Weighted:
    """The mean of the classes' F1, the harmonic mean of precision and recall: each class counts as much.

    An example with an unknown label is a false answer of the class that the model names.
    """
    n, classes = scores.shape
    if np.isnan(scores).any():
        return Weighted(n, _nan)
    answers = predicted(labels, scores)
    labelled, answered = _by_class(labels, classes), _by_class(answers, classes)
    right = _by_class(np.where(labels == answers, labels, -1), classes)

    def function(weights):
        examples, both = labelled(weights), right(weights)
        f1 = np.divide(2 * both, examples + answered(weights), out=np.zeros_like(both), where=examples > 0)
        return ratio(f1.sum(axis=0), np.count_nonzero(examples, axis=0))

    return Weighted(n, function)


def _by_class(ids: np.ndarray, classes: int):
    """A function of weights [n, r] -> [classes, r] float64: their sums by id. -1 is no class."""
    order = np.argsort(ids, kind='stable')[np.count_nonzero(ids < 0):]
    present, starts = np.unique(ids[order], return_index=True)

    def function(weights):
        sums = np.zeros((classes, weights.shape[1]))
        sums[present] = _sums(weights, order, starts)
        return sums

    return function


def _sums(weights: np.ndarray, examples: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """[len(starts), r] float64: the sums of weights [n, r] from each place of `examples` in `starts` up to the next."""
    return np.add.reduceat(weights.take(examples, axis=0), starts, axis=0, dtype=np.float64)


def _nan(weights: np.ndarray) -> np.ndarray:
    return np.full(weights.shape[1], math.nan)


class Reliability(typing.NamedTuple):
    """Probabilities of decisions, by BINS equally wide bins, and how often each decision was right.

    All are [n, BINS] sums over the decisions about an example: their number, their probabilities, how many were right.
    Bin i has the probabilities in (i / BINS, (i + 1) / BINS]; the first has 0 too.
    """
    decisions: np.ndarray
    probabilities: np.ndarray
    right: np.ndarray

    @classmethod
    def of(cls, probabilities: np.ndarray, right: np.ndarray) -> 'Reliability':
        """probabilities: [n, k] of the k decisions about each example; those of NaN are left out. right: [n, k]."""
        n, k = probabilities.shape
        sums = [np.zeros((n, BINS)) for _ in range(3)]
        edges = np.linspace(0, 1, BINS + 1)[1:-1]
        for part in _parts(n, k):
            p = probabilities[part].astype(np.float64)
            known = ~np.isnan(p)
            places = (np.arange(len(p))[:, np.newaxis] * BINS + np.searchsorted(edges, p))[known]
            for total, values in zip(sums, (None, p[known], right[part][known]), strict=True):
                total[part] = np.bincount(places, values, minlength=len(p) * BINS).reshape(-1, BINS)
        return cls(*sums)

    def error(self) -> Sums:
        """The expected calibration error: the mean over the decisions of |share right - mean probability| of the bin.

        Guo, Pleiss, Sun and Weinberger 2017, "On Calibration of Modern Neural Networks", equation 3. Chance alone makes
        it larger, the more so the fewer examples there are, and resampling adds chance once more: the percentiles of
        resamples lie too high, and may not even hold the value. So no interval is made of them.
        """
        def function(sums):
            count, gap = np.split(sums, 2, axis=1)
            return ratio(np.abs(gap).sum(axis=1), count.sum(axis=1))

        return Sums(np.concatenate([self.decisions, self.right - self.probabilities], axis=1), function)


def reliability(labels: np.ndarray, scores: np.ndarray) -> Reliability:
    """One decision per example: the probability of the best class, and whether it is the label."""
    return Reliability.of(scores.max(axis=1, keepdims=True), in_best(labels, scores)[:, np.newaxis])


def calibration_error(labels: np.ndarray, scores: np.ndarray) -> Sums:
    """The expected calibration error of the best class's probability. See `Reliability.error`."""
    return not_a_number(len(scores)) if np.isnan(scores).any() else reliability(labels, scores).error()


def group_labels(labels: np.ndarray, scores: np.ndarray, group: int) -> tuple[np.ndarray, np.ndarray]:
    """The labels [n] and scores [n, classes of the group] of one label group, in the order of the vocabulary.

    labels: [n, classes] with the groups' numbers. The new ones are places among the group's classes, -1 if unknown.
    """
    if not len(labels):
        return np.zeros(0, np.int64), scores
    members = np.abs(labels[0]) == group
    mine = labels[:, members] > 0
    return np.where(mine.any(axis=1), mine.argmax(axis=1), -1), scores[:, members]


def of_group(prepare, group: int):
    """The metric of one label group: a function of all labels and scores. prepare: that of a single label."""
    return functools.partial(_of_group, prepare, group)


def _of_group(prepare, group, labels, scores):
    return prepare(*group_labels(labels, scores, group))


def joint_accuracy(labels: np.ndarray, scores: np.ndarray) -> Sums:
    """The share of examples for which the best class of every label group is right."""
    right = [in_best(*group_labels(labels, scores, group)) for group in _groups(labels)]
    return mean(np.all(right, axis=0)) if right else not_a_number(0)


def groups_cross_entropy(labels: np.ndarray, scores: np.ndarray) -> Sums:
    """The mean over the label groups of `cross_entropy`."""
    losses = [cross_entropies(*group_labels(labels, scores, group)) for group in _groups(labels)]
    return mean(np.mean(losses, axis=0)) if losses else not_a_number(0)


def _groups(labels: np.ndarray) -> range:
    """The groups' numbers; none without examples."""
    return range(1, 1 + int(np.abs(labels[:1]).max(initial=0)))


# Several labels.

class Ranked(typing.NamedTuple):
    """The examples by their score for one class, which some of them (the positive ones) have.

    Only thresholds at which recall rises count: the T different scores of positive examples, falling. Equal scores are
    one threshold, as in scikit-learn. The weights of the examples between two thresholds are summed before anything
    else is done, so the time is that of reading all weights once.
    """
    order: np.ndarray
    """The examples from the highest score down to the lowest of a positive one."""
    starts: np.ndarray
    """[T]: the places in `order` where the examples of each threshold begin."""
    positive: np.ndarray
    """The positive examples in this order."""
    positive_starts: np.ndarray
    """[T]: the places in `positive` where those of each threshold begin."""
    tied: np.ndarray
    """The examples with just the score of a threshold, in this order."""
    tied_starts: np.ndarray

    @classmethod
    def of(cls, positive: np.ndarray, scores: np.ndarray) -> 'Ranked':
        """positive: [n] bool, at least one true. scores: [n], without NaN."""
        falling = -scores
        order = np.argsort(falling).astype(np.int32)
        falling = falling[order]
        places = np.flatnonzero(positive[order])
        thresholds, positive_starts = np.unique(falling[places], return_index=True)
        begins = np.searchsorted(falling, thresholds, side='left')
        ends = np.searchsorted(falling, thresholds, side='right')
        tied_starts = np.cumsum(ends - begins) - (ends - begins)
        tied = np.arange(np.sum(ends - begins)) + np.repeat(begins - tied_starts, ends - begins)
        return cls(order[:ends[-1]], np.append(0, ends[:-1]), order[places], positive_starts, order[tied], tied_starts)

    def average_precision(self, weights: np.ndarray) -> np.ndarray:
        """weights: [n, r] -> [r]: the area under the precision-recall steps; NaN without a positive example."""
        true = _sums(weights, self.positive, self.positive_starts)
        so_far = np.cumsum(true, axis=0)
        chosen = np.cumsum(_sums(weights, self.order, self.starts), axis=0)
        # Where no example was drawn, both are 0.
        return ratio((true * so_far / np.maximum(chosen, _TINY)).sum(axis=0), so_far[-1])

    def auc(self, weights: np.ndarray) -> np.ndarray:
        """weights: [n, r] -> [r]: the area under the ROC curve.

        It is how often a positive example has a higher score than a negative one; ties count half. NaN without a
        positive or without a negative example.
        """
        true = _sums(weights, self.positive, self.positive_starts)
        so_far = np.cumsum(true, axis=0)
        negatives = np.cumsum(_sums(weights, self.order, self.starts), axis=0) - so_far  # with at least this score
        tied = _sums(weights, self.tied, self.tied_starts) - true
        positives = so_far[-1]
        lost = (true * (negatives - tied / 2)).sum(axis=0)
        return 1 - ratio(lost, positives * (weights.sum(axis=0, dtype=np.float64) - positives))


def _mean_of_classes(present: np.ndarray, of_ranked, slopes_of, labels: np.ndarray, scores: np.ndarray
                     ) -> Sums | Weighted:
    """The mean over classes of a method of Ranked. present: [classes] bool: which classes count. slopes_of: function of
    (positive [n] bool, scores [n]) -> the same value, and its derivatives [n] by the weights, where all are 1."""
    chosen = np.flatnonzero(present)
    if np.isnan(scores[:, chosen]).any():  # such a model must not look good
        return Weighted(len(scores), _nan)
    if scores.size > EXACT_SCORES and len(chosen):
        value, slopes = 0.0, np.zeros(len(scores))
        for c in chosen:
            its_value, its_slopes = slopes_of(labels[:, c] > 0, scores[:, c])
            value += its_value / len(chosen)
            slopes += its_slopes / len(chosen)
        return mean(value + len(scores) * slopes)
    classes = [Ranked.of(labels[:, c] > 0, scores[:, c]) for c in chosen]

    def function(weights):
        values, known = np.zeros(weights.shape[1]), np.zeros(weights.shape[1])
        for ranked in classes:
            step = max(1, _BLOCK // len(ranked.starts))  # of resamples, so that memory is bounded
            value = np.concatenate([of_ranked(ranked, weights[:, start:start + step])
                                    for start in range(0, weights.shape[1], step)])
            values += np.nan_to_num(value)
            known += ~np.isnan(value)
        return ratio(values, known)

    return Weighted(len(scores), function)


def mean_average_precision(labels: np.ndarray, scores: np.ndarray) -> Sums | Weighted:
    """The mean of the classes' average precisions. As `metrics.mean_average_precision`."""
    present = (labels > 0).any(axis=0)
    return _mean_of_classes(present, Ranked.average_precision, average_precision_slopes, labels, scores)


def average_precision_slopes(positive: np.ndarray, scores: np.ndarray) -> tuple[float, np.ndarray]:
    """The average precision of a class, and its derivatives [n] by the weights of the examples."""
    ranked = Ranked.of(positive, scores)
    sizes, hits = (np.diff(np.append(starts, len(order))) for starts, order in (
        (ranked.starts, ranked.order), (ranked.positive_starts, ranked.positive)))
    chosen, true = np.cumsum(sizes), np.cumsum(hits)
    value = float(np.sum(hits * true / chosen) / true[-1])
    # An example counts at its own threshold and at all lower ones.
    as_chosen = -np.cumsum((hits * true / chosen ** 2)[::-1])[::-1]
    as_true = true / chosen - value + np.cumsum((hits / chosen)[::-1])[::-1]
    slopes = np.zeros(len(scores))
    slopes[ranked.order] = np.repeat(as_chosen, sizes)
    slopes[ranked.positive] += np.repeat(as_true, hits)
    return value, slopes / true[-1]


def auc(labels: np.ndarray, scores: np.ndarray) -> Sums | Weighted:
    """The mean of the classes' areas under the ROC curve, over those that have both positive and negative examples."""
    both = (labels > 0).any(axis=0) & (labels <= 0).any(axis=0)
    return _mean_of_classes(both, Ranked.auc, auc_slopes, labels, scores)


def auc_slopes(positive: np.ndarray, scores: np.ndarray) -> tuple[float, np.ndarray]:
    """The area under the ROC curve of a class, and its derivatives [n] by the weights of the examples."""
    won = np.zeros(len(scores))  # the share of the others that an example is on the right side of; ties count half
    for its, others, sign in ((positive, ~positive, 1), (~positive, positive, -1)):
        ranked, mine = np.sort(sign * scores[others]), sign * scores[its]
        lower, not_higher = (np.searchsorted(ranked, mine, side=side) for side in ('left', 'right'))
        won[its] = (lower + not_higher) / (2 * len(ranked))
    value = float(won[positive].mean())
    return value, (won - value) / np.where(positive, np.count_nonzero(positive), np.count_nonzero(~positive))


def d_prime_of(auc: float) -> float:
    """sqrt(2) times the standard normal quantile of an AUC; inf for 1, -inf for 0.

    Hershey et al. 2017, "CNN Architectures for Large-Scale Audio Classification": how many standard
    deviations the scores of positives are above those of negatives, if both are normal.
    """
    if not 0 < auc < 1:
        return math.nan if math.isnan(auc) else math.copysign(math.inf, auc - 0.5)
    return math.sqrt(2) * statistics.NormalDist().inv_cdf(auc)


def d_prime(labels: np.ndarray, scores: np.ndarray) -> Sums | Weighted:
    """`d_prime_of` the mean AUC."""
    measured = auc(labels, scores)
    return measured._replace(function=lambda found: np.array([d_prime_of(v) for v in measured.function(found)]))


def binary_cross_entropy(labels: np.ndarray, scores: np.ndarray) -> Sums:
    """The mean over examples and classes. As `metrics.binary_cross_entropy`."""
    rows = np.zeros(len(scores))
    for part in _parts(*scores.shape):
        p = np.clip(scores[part].astype(np.float64), EPSILON, 1 - EPSILON)
        rows[part] = -np.log(np.where(labels[part] > 0, p, 1 - p)).mean(axis=1)
    return mean(rows)


def labels_reliability(labels: np.ndarray, scores: np.ndarray) -> Reliability:
    """A decision per example and class: the probability that the class is there, and whether it is."""
    return Reliability.of(scores, labels > 0)


def labels_calibration_error(labels: np.ndarray, scores: np.ndarray) -> Sums:
    """The expected calibration error over all examples and classes. See `labels_reliability`."""
    return not_a_number(len(scores)) if np.isnan(scores).any() else labels_reliability(labels, scores).error()


def _parts(examples: int, width: int):
    """Slices of the examples, about _BLOCK numbers each."""
    step = max(1, _BLOCK // max(width, 1))
    return [slice(start, start + step) for start in range(0, examples, step)]

"""The evaluation's metrics, as numpy functions and as TFMA metrics made of them.

An example has `scores` [classes] float (probabilities) and a label: an int class id; a multi-hot [classes] float; or,
for a task with label groups, [classes] float: a class of group g (from 1) has g where it is the label, else -g.
`eval_config.py` names the TFMA classes; Beam's workers import them from here.

Why not the stock Keras metrics: the baseline may be a model that never learned a class which the data now has. Its
label id is -1 then; Keras' cross-entropy raises on it, while here such an example counts as wrong. And neither Keras
nor TFMA has an exact macro average precision.
"""

import functools
import typing

import apache_beam as beam
import numpy as np
from tensorflow_model_analysis.metrics import metric_types, metric_util

# Probabilities are clipped to at least this in logarithms, as Keras does: the largest loss of an example is 16.1.
EPSILON = 1e-7


def correct(label: int, scores: np.ndarray, k: int = 1) -> float:
    """1.0 where the label is among the k best scores, else 0.0; 0.0 for a label of -1 or a score that is no number."""
    if not 0 <= label < len(scores) or np.isnan(scores).any():
        return 0.0
    # Ties are broken against the model: constant scores must not count as right.
    better = np.count_nonzero(scores >= scores[label]) - 1
    return float(better < k)


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


class _Combiner(beam.CombineFn):
    """Finds each example's label and scores for its model; subclasses say what is kept of them."""

    def __init__(self, key: metric_types.MetricKey, eval_config):
        self._key = key
        self._eval_config = eval_config

    def _label_and_scores(self, element) -> tuple[np.ndarray, np.ndarray]:
        label, scores, _ = next(metric_util.to_label_prediction_example_weight(
            element, eval_config=self._eval_config, model_name=self._key.model_name,
            output_name=self._key.output_name, flatten=False))
        return np.ravel(label), np.ravel(scores)


class _MeanCombiner(_Combiner):
    """The mean over examples of `per_example(label, scores)`; accumulator: (sum, count)."""

    def __init__(self, key, eval_config, per_example: typing.Callable[[np.ndarray, np.ndarray], float]):
        super().__init__(key, eval_config)
        self._per_example = per_example

    def create_accumulator(self):
        return 0.0, 0

    def add_input(self, accumulator, element):
        total, count = accumulator
        return total + self._per_example(*self._label_and_scores(element)), count + 1

    def merge_accumulators(self, accumulators):
        totals, counts = zip(*accumulators)
        return sum(totals), sum(counts)

    def extract_output(self, accumulator):
        total, count = accumulator
        return {self._key: total / count if count else float('nan')}


class _AllExamplesCombiner(_Combiner):
    """Keeps every example's label and scores, 8 bytes a class: 85 MB for 20,000 examples of 527 classes."""

    def create_accumulator(self):
        return []

    def add_input(self, accumulator, element):
        label, scores = self._label_and_scores(element)
        accumulator.append(np.stack([label, scores]).astype(np.float32)[:, None, :])
        return accumulator

    def merge_accumulators(self, accumulators):
        return [block for accumulator in accumulators for block in accumulator]

    def compact(self, accumulator):
        return [np.concatenate(accumulator, axis=1)] if len(accumulator) > 1 else accumulator

    def extract_output(self, accumulator):
        if not accumulator:
            return {self._key: float('nan')}
        labels, scores = np.concatenate(accumulator, axis=1)
        return {self._key: mean_average_precision(labels, scores)}


def _computations(make_combiner, name, eval_config, model_name, output_name) -> metric_types.MetricComputations:
    key = metric_types.MetricKey(name=name, model_name=model_name, output_name=output_name)
    return [metric_types.MetricComputation(keys=[key], preprocessors=None, combiner=make_combiner(key, eval_config))]


def _top_k(label: np.ndarray, scores: np.ndarray, k: int) -> float:
    return correct(int(label[0]), scores, k)


_LOSSES = {'single': lambda label, scores: cross_entropy(int(label[0]), scores), 'multi': binary_cross_entropy,
           'groups': groups_cross_entropy}


def _loss(label: np.ndarray, scores: np.ndarray, kind: str) -> float:
    return _LOSSES[kind](label, scores)


class TopKAccuracy(metric_types.Metric):
    """The share of examples whose label is among the k best scores."""

    def __init__(self, k: int = 1, name: str = 'accuracy'):
        super().__init__(metric_util.merge_per_key_computations(_accuracy_computations), name=name, k=k)


def _accuracy_computations(name='accuracy', eval_config=None, model_name='', output_name='', k=1, **_):
    def make(key, config):
        return _MeanCombiner(key, config, functools.partial(_top_k, k=k))
    return _computations(make, name, eval_config, model_name, output_name)


class GroupAccuracy(metric_types.Metric):
    """The share of examples for which all of `groups` (numbers, from 1) are right."""

    def __init__(self, groups: typing.Sequence[int] = (1,), name: str = 'joint_accuracy'):
        super().__init__(metric_util.merge_per_key_computations(_group_computations), name=name, groups=list(groups))


def _group_computations(name='joint_accuracy', eval_config=None, model_name='', output_name='', groups=(1,), **_):
    def make(key, config):
        return _MeanCombiner(key, config, functools.partial(groups_correct, groups=groups))
    return _computations(make, name, eval_config, model_name, output_name)


class Loss(metric_types.Metric):
    """The mean cross-entropy of an example, without label smoothing, in nats.

    label: 'single', 'multi' (binary, the mean over classes) or 'groups' (the mean over label groups).
    """

    def __init__(self, label: str = 'single', name: str = 'loss'):
        super().__init__(metric_util.merge_per_key_computations(_loss_computations), name=name, label=label)


def _loss_computations(name='loss', eval_config=None, model_name='', output_name='', label='single', **_):
    def make(key, config):
        return _MeanCombiner(key, config, functools.partial(_loss, kind=label))
    return _computations(make, name, eval_config, model_name, output_name)


class MeanAveragePrecision(metric_types.Metric):
    """`mean_average_precision` over all examples of the slice, exact: no thresholds, no histogram."""

    def __init__(self, name: str = 'mean_average_precision'):
        super().__init__(metric_util.merge_per_key_computations(_map_computations), name=name)


def _map_computations(name='mean_average_precision', eval_config=None, model_name='', output_name='', **_):
    return _computations(_AllExamplesCombiner, name, eval_config, model_name, output_name)


for _metric in (TopKAccuracy, GroupAccuracy, Loss, MeanAveragePrecision):
    metric_types.register_metric(_metric)

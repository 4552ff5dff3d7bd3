"""model_code.metrics as TFMA metrics. `eval_config.py` names the classes; Beam's workers import them from here."""

import functools
import typing

import apache_beam as beam
import numpy as np
from tensorflow_model_analysis.metrics import metric_types, metric_util

from model_code import metrics


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
        return {self._key: metrics.mean_average_precision(labels, scores)}


def _computations(make_combiner, name, eval_config, model_name, output_name) -> metric_types.MetricComputations:
    key = metric_types.MetricKey(name=name, model_name=model_name, output_name=output_name)
    return [metric_types.MetricComputation(keys=[key], preprocessors=None, combiner=make_combiner(key, eval_config))]


def _top_k(label: np.ndarray, scores: np.ndarray, k: int) -> float:
    return metrics.correct(int(label[0]), scores, k)


_LOSSES = {'single': lambda label, scores: metrics.cross_entropy(int(label[0]), scores),
           'multi': metrics.binary_cross_entropy, 'groups': metrics.groups_cross_entropy}


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
        return _MeanCombiner(key, config, functools.partial(metrics.groups_correct, groups=groups))
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
    """`metrics.mean_average_precision` over all examples of the slice, exact: no thresholds, no histogram."""

    def __init__(self, name: str = 'mean_average_precision'):
        super().__init__(metric_util.merge_per_key_computations(_map_computations), name=name)


def _map_computations(name='mean_average_precision', eval_config=None, model_name='', output_name='', **_):
    return _computations(_AllExamplesCombiner, name, eval_config, model_name, output_name)


for _metric in (TopKAccuracy, GroupAccuracy, Loss, MeanAveragePrecision):
    metric_types.register_metric(_metric)

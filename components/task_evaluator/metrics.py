"""The metrics of label kinds (model_code.metrics.Metric) as TFMA metrics.

eval_config.py names these classes and the functions of the metrics. Beam's workers import both by name.
"""

import functools
import importlib
import typing

import apache_beam as beam
import numpy as np
from tensorflow_model_analysis.metrics import metric_types, metric_util


class _Combiner(beam.CombineFn):
    """Extracts each example's label and scores, for one model. Subclasses apply `function` to them."""

    def __init__(self, key: metric_types.MetricKey, eval_config, function: typing.Callable[..., float]):
        self._key = key
        self._eval_config = eval_config
        self._function = function

    def _label_and_scores(self, element) -> tuple[np.ndarray, np.ndarray]:
        label, scores, _ = next(metric_util.to_label_prediction_example_weight(
            element, eval_config=self._eval_config, model_name=self._key.model_name,
            output_name=self._key.output_name, flatten=False))
        return np.ravel(label), np.ravel(scores)


class _MeanCombiner(_Combiner):
    """The mean over examples of `function(label, scores)`; accumulator: (sum, count)."""

    def create_accumulator(self):
        return 0.0, 0

    def add_input(self, accumulator, element):
        total, count = accumulator
        return total + self._function(*self._label_and_scores(element)), count + 1

    def merge_accumulators(self, accumulators):
        totals, counts = zip(*accumulators, strict=True)
        return sum(totals), sum(counts)

    def extract_output(self, accumulator):
        total, count = accumulator
        return {self._key: total / count if count else float('nan')}


class _AllExamplesCombiner(_Combiner):
    """`function(labels, scores)` of all examples.

    It keeps 5 bytes per example and class: 53 MB for 20,000 examples of 527 classes. Beam holds several copies, because
    accumulators go from worker to worker. Accumulator: [(labels [n, k] int8, scores [n, classes] float32)].
    """

    def create_accumulator(self):
        return []

    def add_input(self, accumulator, element):
        label, scores = self._label_and_scores(element)
        accumulator.append((_small(label)[np.newaxis], scores.astype(np.float32)[np.newaxis]))
        return accumulator

    def merge_accumulators(self, accumulators):
        return [block for accumulator in accumulators for block in accumulator]

    def compact(self, accumulator):
        return [_joined(accumulator)] if len(accumulator) > 1 else accumulator

    def extract_output(self, accumulator):
        if not accumulator:
            return {self._key: float('nan')}
        return {self._key: self._function(*_joined(accumulator))}


def _small(labels: np.ndarray) -> np.ndarray:
    """The labels as int8, in which 0, 1 and the numbers of label groups are exact; as they are if they do not fit."""
    small = labels.astype(np.int8)
    return small if np.array_equal(small, labels) else labels


def _joined(accumulator: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    labels, scores = zip(*accumulator, strict=True)
    return np.concatenate(labels), np.concatenate(scores)


def _computations(combiner, function, name, eval_config, model_name, output_name) -> metric_types.MetricComputations:
    key = metric_types.MetricKey(name=name, model_name=model_name, output_name=output_name)
    return [metric_types.MetricComputation(keys=[key], preprocessors=None,
                                           combiner=combiner(key, eval_config, function))]


def _named(function: str, arguments: dict) -> typing.Callable[..., float]:
    """The function of a dotted name, with these arguments filled in."""
    module, _, name = function.rpartition('.')
    return functools.partial(getattr(importlib.import_module(module), name), **arguments)


class ExampleMean(metric_types.Metric):
    """The mean over examples of a function of label and scores.

    function: its dotted name. arguments: its further arguments, by name.
    """

    def __init__(self, name: str, function: str, arguments: dict):
        super().__init__(metric_util.merge_per_key_computations(_mean_computations), name=name, function=function,
                         arguments=arguments)


def _mean_computations(name='', eval_config=None, model_name='', output_name='', function='', arguments=None, **_):
    return _computations(_MeanCombiner, _named(function, arguments), name, eval_config, model_name, output_name)


class OfAllExamples(metric_types.Metric):
    """A function of the labels and scores of all examples in the slice. It is exact: no thresholds, no histogram.

    function, arguments: as in ExampleMean.
    """

    def __init__(self, name: str, function: str, arguments: dict):
        super().__init__(metric_util.merge_per_key_computations(_all_computations), name=name, function=function,
                         arguments=arguments)


def _all_computations(name='', eval_config=None, model_name='', output_name='', function='', arguments=None, **_):
    return _computations(_AllExamplesCombiner, _named(function, arguments), name, eval_config, model_name, output_name)


for _metric in (ExampleMean, OfAllExamples):
    metric_types.register_metric(_metric)

"""The metrics of label kinds (model_code.metrics.Metric) as TFMA metrics, over batches of examples.

eval_config.py names these classes and the functions of the metrics. Beam's workers import both by name.

TFMA's own evaluator takes batches apart and hands each metric one example at a time, which cost more than all
predictions of a small model; and its further stages more than that for each task. `of_part` and `of_all` do its work.
"""

import functools
import importlib
import typing
from collections.abc import Iterator, Mapping, Sequence

import apache_beam as beam
import numpy as np
from tensorflow_model_analysis.metrics import metric_specs, metric_types, metric_util

# Model, as TFMA names it -> labels [N] or [N, classes], scores [N, classes].
Said = Mapping[str, tuple[np.ndarray, np.ndarray]]
SliceKey = tuple[tuple[str, str], ...]  # as TFMA has it: () is all examples, (('camera', 'front'),) some
Accumulators = dict[SliceKey, list]  # those of the combiners, in their order


def combiners(config) -> list[beam.CombineFn]:
    """What TFMA computes the metrics of a tfma.EvalConfig with, which are those of this module."""
    found = metric_specs.to_computations(config.metrics_specs, eval_config=config)
    return [computation.combiner for computation in found if isinstance(computation, metric_types.MetricComputation)]


def of_part(combiners: Sequence[beam.CombineFn], said: Said, columns: Mapping[str, np.ndarray]) -> Accumulators:
    """What is to be added up of a part of the examples. columns: those to slice by -> [N] of str, '' if missing."""
    return {key: [combiner.add_input(combiner.create_accumulator(), taken) for combiner in combiners]
            for key, taken in _slices(said, columns)}


def of_all(combiners: Sequence[beam.CombineFn], parts: Sequence[Accumulators]) -> list[tuple[SliceKey, dict]]:
    """The metrics of each slice, by TFMA's MetricKey. parts: of `of_part`; without any there is no slice."""
    metrics = []
    for key in dict.fromkeys(key for part in parts for key in part):
        values = {}
        of_combiner = zip(*(part[key] for part in parts if key in part), strict=True)
        for combiner, accumulators in zip(combiners, of_combiner, strict=True):
            values |= combiner.extract_output(combiner.merge_accumulators(accumulators))
        metrics.append((key, values))
    return metrics


def _slices(said: Said, columns: Mapping[str, np.ndarray]) -> Iterator[tuple[SliceKey, Said]]:
    yield (), said
    for column, values in columns.items():
        for value in dict.fromkeys(values[values != ''].tolist()):
            there = values == value
            yield ((column, value),), {model: (labels[there], scores[there])
                                       for model, (labels, scores) in said.items()}


class _CountCombiner(beam.CombineFn):
    """How many examples there are in batches of what one model said (Said); accumulator: their number."""

    def __init__(self, key: metric_types.MetricKey):
        self._key = key

    def create_accumulator(self):
        return 0

    def add_input(self, accumulator, element):
        return accumulator + len(element[self._key.model_name][1])

    def merge_accumulators(self, accumulators):
        return sum(accumulators)

    def extract_output(self, accumulator):
        return {self._key: float(accumulator)}


class _Combiner(beam.CombineFn):
    """Adds up batches of what one model said (Said). Subclasses apply `function` to it."""

    def __init__(self, key: metric_types.MetricKey, function: typing.Callable[..., float]):
        self._key = key
        self._function = function


class _MeanCombiner(_Combiner):
    """The mean over examples of `function(label, scores)`; accumulator: (sum, count)."""

    def create_accumulator(self):
        return 0.0, 0

    def add_input(self, accumulator, element):
        total, count = accumulator
        labels, scores = element[self._key.model_name]
        for label, its in zip(labels, scores, strict=True):
            total += self._function(np.ravel(label), its)
        return total, count + len(scores)

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
        labels, scores = element[self._key.model_name]
        return [*accumulator, (_small(labels), scores.astype(np.float32, copy=False))]

    def merge_accumulators(self, accumulators):
        return [block for accumulator in accumulators for block in accumulator]

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


def _computations(combiner, name, model_name, output_name, *function) -> metric_types.MetricComputations:
    key = metric_types.MetricKey(name=name, model_name=model_name, output_name=output_name)
    return [metric_types.MetricComputation(keys=[key], preprocessors=None, combiner=combiner(key, *function))]


def _named(function: str, arguments: dict) -> typing.Callable[..., float]:
    """The function of a dotted name, with these arguments filled in."""
    module, _, name = function.rpartition('.')
    return functools.partial(getattr(importlib.import_module(module), name), **arguments)


class Count(metric_types.Metric):
    """The number of examples."""

    def __init__(self, name: str):
        super().__init__(metric_util.merge_per_key_computations(_count_computations), name=name)


def _count_computations(name='', model_name='', output_name='', **_):
    return _computations(_CountCombiner, name, model_name, output_name)


class ExampleMean(metric_types.Metric):
    """The mean over examples of a function of label and scores.

    function: its dotted name. arguments: its further arguments, by name.
    """

    def __init__(self, name: str, function: str, arguments: dict):
        super().__init__(metric_util.merge_per_key_computations(_mean_computations), name=name, function=function,
                         arguments=arguments)


def _mean_computations(name='', model_name='', output_name='', function='', arguments=None, **_):
    return _computations(_MeanCombiner, name, model_name, output_name, _named(function, arguments))


class OfAllExamples(metric_types.Metric):
    """A function of the labels and scores of all examples in the slice. It is exact: no thresholds, no histogram.

    function, arguments: as in ExampleMean.
    """

    def __init__(self, name: str, function: str, arguments: dict):
        super().__init__(metric_util.merge_per_key_computations(_all_computations), name=name, function=function,
                         arguments=arguments)


def _all_computations(name='', model_name='', output_name='', function='', arguments=None, **_):
    return _computations(_AllExamplesCombiner, name, model_name, output_name, _named(function, arguments))


for _metric in (Count, ExampleMean, OfAllExamples):
    metric_types.register_metric(_metric)

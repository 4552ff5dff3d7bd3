"""What TFMA measures of a task, and the thresholds that its metrics must meet."""

import json

import tensorflow_model_analysis as tfma

from components.blessing_gate.decision import TOLERANCE
from model_code.tasks import Task

_METRICS = 'components.task_evaluator.metrics'


def eval_config(task: Task, classes: int, has_baseline: bool) -> tfma.EvalConfig:
    """TFMA's configuration for one task: over all raw examples, and sliced by each of its extra columns.

    The metrics are those of the task's label kind (model_code/label_kinds). Thresholds apply to all examples together.
    Labels come from the model's own signature `<task>_label`, so that their ids are those of its own vocabulary.

    classes: how many classes the task has.
    has_baseline: compare with a second model, the one being served. Then the result also has the metrics of that model
      and the differences, and `task.gate.max_drop` limits how far the primary metric may fall.
    """
    specs = [tfma.MetricConfig(class_name='ExampleCount', config='{"name": "example_count"}')]
    for metric in task.data.kind.functions.evaluation_metrics(task.data.label_groups, classes):
        function = f'{metric.function.__module__}.{metric.function.__qualname__}'
        spec = tfma.MetricConfig(
            class_name='OfAllExamples' if metric.of_all_examples else 'ExampleMean', module=_METRICS,
            config=json.dumps({'name': metric.name, 'function': function, 'arguments': metric.arguments}))
        if metric.name == task.primary_metric:
            # Only for all examples together. `threshold` would apply to every slice, even of a few examples.
            spec.per_slice_thresholds.append(tfma.PerSliceMetricThreshold(
                slicing_specs=[tfma.SlicingSpec()], threshold=_threshold(task, has_baseline)))
        specs.append(spec)
    return tfma.EvalConfig(
        model_specs=[_model_spec(task, 'candidate')] + ([_model_spec(task, 'baseline')] if has_baseline else []),
        slicing_specs=[tfma.SlicingSpec(),
                       *(tfma.SlicingSpec(feature_keys=[name]) for name in task.data.columns.extra)],
        metrics_specs=[tfma.MetricsSpec(metrics=specs)])


def signatures(task: Task) -> tuple[str, str]:
    """The signatures that a model needs to be evaluated on the task: one for scores, one for labels."""
    return f'{task.name}_examples', f'{task.name}_label'


def _model_spec(task: Task, name: str) -> tfma.ModelSpec:
    scores, label = signatures(task)
    return tfma.ModelSpec(name=name, is_baseline=name == 'baseline', signature_name=scores,
                          preprocessing_function_names=[label], label_key='label')


def _threshold(task: Task, has_baseline: bool) -> tfma.MetricThreshold:
    threshold = tfma.MetricThreshold(
        value_threshold=tfma.GenericValueThreshold(lower_bound={'value': task.gate.floor - TOLERANCE}))
    if has_baseline:
        threshold.change_threshold.CopyFrom(tfma.GenericChangeThreshold(
            direction=tfma.MetricDirection.HIGHER_IS_BETTER, absolute={'value': -task.gate.max_drop - TOLERANCE}))
    return threshold

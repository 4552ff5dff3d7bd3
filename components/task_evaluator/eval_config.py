"""What TFMA measures of a task, and the thresholds that its metrics must hold."""

import json

import tensorflow_model_analysis as tfma

from components.blessing_gate.decision import TOLERANCE
from model_code.tasks import Task

_METRICS = 'components.task_evaluator.metrics'


def eval_config(task: Task, classes: int, has_baseline: bool) -> tfma.EvalConfig:
    """TFMA's configuration for one task, over all raw examples and by each of its extra columns.

    Thresholds hold for all examples together.

    classes: how many classes the task has; top_5_accuracy is measured where there are more than 5. A task with label
      groups has an accuracy a group, and the joint accuracy: all groups right.
    has_baseline: compare with a second model, the one being served; the result then also has its metrics and the
      differences, and `task.gate.max_drop` bounds the fall of the primary metric.
    The labels come from the model's own `<task>_label` signature, so that ids always mean the vocabulary of the model
    that is judged by them.
    """
    metrics = [('TopKAccuracy', {'name': 'accuracy', 'k': 1})]
    if classes > 5:
        metrics.append(('TopKAccuracy', {'name': 'top_5_accuracy', 'k': 5}))
    if task.data.label_kind == 'multi':
        metrics = [('MeanAveragePrecision', {'name': 'mean_average_precision'})]
    if task.data.label_groups:
        metrics = [('GroupAccuracy', {'name': f'{group}_accuracy', 'groups': [number]})
                   for number, group in enumerate(task.data.label_groups, start=1)]
        metrics.append(('GroupAccuracy', {'name': 'joint_accuracy',
                                          'groups': list(range(1, 1 + len(task.data.label_groups)))}))
    label = 'multi' if task.data.label_kind == 'multi' else 'groups' if task.data.label_groups else 'single'
    metrics.append(('Loss', {'name': 'loss', 'label': label}))

    specs = [tfma.MetricConfig(class_name='ExampleCount', config='{"name": "example_count"}')]
    for class_name, config in metrics:
        spec = tfma.MetricConfig(class_name=class_name, module=_METRICS, config=json.dumps(config))
        if config['name'] == task.primary_metric:
            # Of all examples together: `threshold` would bind every slice, however few examples it has.
            spec.per_slice_thresholds.append(tfma.PerSliceMetricThreshold(
                slicing_specs=[tfma.SlicingSpec()], threshold=_threshold(task, has_baseline)))
        specs.append(spec)
    return tfma.EvalConfig(
        model_specs=[_model_spec(task, 'candidate')] + ([_model_spec(task, 'baseline')] if has_baseline else []),
        slicing_specs=[tfma.SlicingSpec(),
                       *(tfma.SlicingSpec(feature_keys=[name]) for name in task.data.columns.extra)],
        metrics_specs=[tfma.MetricsSpec(metrics=specs)])


def signatures(task: Task) -> tuple[str, str]:
    """The two signatures that a model must have to be evaluated on the task: for its scores and for its label."""
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

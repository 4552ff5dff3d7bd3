"""What TFMA measures of a task."""

import json

import tensorflow_model_analysis as tfma
from tensorflow_model_analysis import constants

from model_code import signature_names
from model_code.data import Source

_METRICS = 'components.task_evaluator.metrics'


def eval_config(source: Source, classes: int, has_baseline: bool) -> tfma.EvalConfig:
    """TFMA's configuration for one task: over all raw examples, and sliced by each of its extra columns.

    The metrics are those of the task's label kind (model_code/label_kinds). The gate judges them.
    Labels come from the model's own signature `<task>_label`, so that their ids are those of its own vocabulary.

    classes: how many classes the task has.
    has_baseline: measure a second model too, the one being served.
    """
    specs = [tfma.MetricConfig(class_name='Count', module=_METRICS, config='{"name": "example_count"}')]
    for metric in source.data.kind.functions.evaluation_metrics(source.data.label_groups, classes):
        function = f'{metric.function.__module__}.{metric.function.__qualname__}'
        specs.append(tfma.MetricConfig(
            class_name='OfAllExamples' if metric.of_all_examples else 'ExampleMean', module=_METRICS,
            config=json.dumps({'name': metric.name, 'function': function, 'arguments': metric.arguments})))
    return tfma.EvalConfig(
        model_specs=[_model_spec(source.name, 'candidate')] + [_model_spec(source.name, 'baseline')] * has_baseline,
        slicing_specs=[tfma.SlicingSpec(),
                       *(tfma.SlicingSpec(feature_keys=[name]) for name in source.data.columns.extra)],
        metrics_specs=[tfma.MetricsSpec(metrics=specs)])


def signatures(task: str) -> tuple[str, str]:
    """The signatures that a model needs to be evaluated on the task: one for scores, one for labels."""
    return signature_names.examples(task), signature_names.label(task)


def _model_spec(task: str, name: str) -> tfma.ModelSpec:
    scores, label = signatures(task)
    # The type is named because TFMA would look for Keras metadata in the whole model, once per model and task.
    return tfma.ModelSpec(name=name, model_type=constants.TF_GENERIC, is_baseline=name == 'baseline',
                          signature_name=scores, preprocessing_function_names=[label], label_key='label')

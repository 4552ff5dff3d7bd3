"""TaskEvaluator: TFMA's Evaluator for one task of a PolyViT."""

from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import channel, component_spec, standard_artifacts

from components.task_evaluator import executor


class TaskEvaluatorSpec(component_spec.ComponentSpec):
    """Inputs `examples`, `model`, `baseline_model`; outputs `evaluation`, `blessing`; properties: see TaskEvaluator."""
    PARAMETERS = {
        'task': component_spec.ExecutionParameter(type=str),
        'classes': component_spec.ExecutionParameter(type=str),
        'code_version': component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        'examples': component_spec.ChannelParameter(type=standard_artifacts.Examples),
        'model': component_spec.ChannelParameter(type=standard_artifacts.Model),
        'baseline_model': component_spec.ChannelParameter(type=standard_artifacts.Model, optional=True),
    }
    OUTPUTS = {
        'evaluation': component_spec.ChannelParameter(type=standard_artifacts.ModelEvaluation),
        'blessing': component_spec.ChannelParameter(type=standard_artifacts.ModelBlessing),
    }


class TaskEvaluator(base_beam_component.BaseBeamComponent):
    """Measures the model on the task's eval split, and compares it with the task's floor and the model being served.

    task: the Task as JSON. classes: all its labels, as a JSON list. examples: the raw examples, of MediaExampleGen.
    baseline_model: an empty directory, or a model that does not know the task, counts as no baseline.

    A missed threshold does not end the run: the blessing is NOT_BLESSED, and BlessingGate says why.
    """
    SPEC_CLASS = TaskEvaluatorSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(self, task: str, classes: str, examples: channel.BaseChannel, model: channel.BaseChannel,
                 baseline_model: channel.BaseChannel | None = None, code_version: str = ''):
        super().__init__(TaskEvaluatorSpec(
            task=task, classes=classes, code_version=code_version, examples=examples, model=model,
            baseline_model=baseline_model, evaluation=channel.Channel(type=standard_artifacts.ModelEvaluation),
            blessing=channel.Channel(type=standard_artifacts.ModelBlessing)))

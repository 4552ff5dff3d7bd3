"""TaskEvaluator: TFMA's Evaluator for one task of a PolyViT."""

from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import channel, component_spec, standard_artifacts

from components.classes import Classes
from components.task_evaluator import executor


class TaskEvaluatorSpec(component_spec.ComponentSpec):
    """Inputs `classes`, `examples`, `model`, `baseline_model`; output `evaluation`; properties: see TaskEvaluator."""
    PARAMETERS = {
        'source': component_spec.ExecutionParameter(type=str),
        'probe': component_spec.ExecutionParameter(type=str, optional=True),
        'code_version': component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        'classes': component_spec.ChannelParameter(type=Classes),
        'examples': component_spec.ChannelParameter(type=standard_artifacts.Examples),
        'model': component_spec.ChannelParameter(type=standard_artifacts.Model),
        'baseline_model': component_spec.ChannelParameter(type=standard_artifacts.Model, optional=True),
    }
    OUTPUTS = {'evaluation': component_spec.ChannelParameter(type=standard_artifacts.ModelEvaluation)}


class TaskEvaluator(base_beam_component.BaseBeamComponent):
    """Measures the model, and the baseline, on the task's eval split.

    source: the task's Source as JSON. classes, examples: the labels and the raw examples, of MediaExampleGen.
    baseline_model: an empty directory, or a model that does not know the task, counts as no baseline. Of one that knows
    it but does not load or answer, the evaluation says why (components/baseline_files.py).

    Beside TFMA's results, the evaluation has intervals, slices and details (evaluation_files.py), and lists the labels
    that the model contradicts with confidence (suspects.py).

    probe: the task's Probe as JSON; '' measures no representation (representation.py).

    It judges nothing: floors are known to BlessingGate alone, so another floor measures nothing again.
    """
    SPEC_CLASS = TaskEvaluatorSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(self, source: str, classes: channel.BaseChannel, examples: channel.BaseChannel,
                 model: channel.BaseChannel, baseline_model: channel.BaseChannel | None = None, probe: str = '',
                 code_version: str = ''):
        super().__init__(TaskEvaluatorSpec(
            source=source, classes=classes, probe=probe, code_version=code_version, examples=examples, model=model,
            baseline_model=baseline_model, evaluation=channel.Channel(type=standard_artifacts.ModelEvaluation)))

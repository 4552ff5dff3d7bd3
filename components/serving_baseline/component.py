"""ServingBaseline: the model that is being served, as the Evaluators' baseline."""

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel, component_spec, standard_artifacts

from components.serving_baseline import executor


class ServingBaselineSpec(component_spec.ComponentSpec):
    """Output: `model`. Properties: see ServingBaseline."""
    PARAMETERS = {
        'serving_dir': component_spec.ExecutionParameter(type=str),
        'version': component_spec.ExecutionParameter(type=str),
        'code_version': component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {}
    OUTPUTS = {'model': component_spec.ChannelParameter(type=standard_artifacts.Model)}


class ServingBaseline(base_component.BaseComponent):
    """Copies a version of the push destination to a Model artifact (<uri>/Format-Serving).

    serving_dir: the folder of the version directories. version: which one; '' for none; 'newest' looks when it runs
    (TFX's cache then does not see a new version: turn the cache off for this component, or give the number).
    Where there is no version the model's directory is empty. The artifact's custom property `version` names it.

    In place of a Resolver with LatestBlessedModelStrategy: that takes any Evaluator's blessing for the gate's, and
    Kubeflow does not implement resolver nodes.
    """
    SPEC_CLASS = ServingBaselineSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(self, serving_dir: str, version: str = 'newest', code_version: str = ''):
        super().__init__(ServingBaselineSpec(serving_dir=serving_dir, version=version, code_version=code_version,
                                             model=channel.Channel(type=standard_artifacts.Model)))

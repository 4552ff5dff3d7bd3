"""ServingBaseline: the model being served, as the baseline for TaskEvaluator."""

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

    serving_dir: the folder of the version directories. version: which of them; '' for none; 'newest' for the newest
    when the component runs. (TFX's cache does not notice a new version then: turn it off for this component, or give
    the number.) Without a version the model's directory is empty. The artifact's custom property `version` is the
    number.

    It replaces a Resolver with LatestBlessedModelStrategy, which takes the blessing of any Evaluator for that of the
    gate. Kubeflow does not implement resolver nodes either.
    """
    SPEC_CLASS = ServingBaselineSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(self, serving_dir: str, version: str = 'newest', code_version: str = ''):
        super().__init__(ServingBaselineSpec(serving_dir=serving_dir, version=version, code_version=code_version,
                                             model=channel.Channel(type=standard_artifacts.Model)))

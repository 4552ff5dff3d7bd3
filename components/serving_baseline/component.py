"""ServingBaseline: the model being served, as the baseline for TaskEvaluator."""

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel, component_spec, standard_artifacts

from components.serving_baseline import executor
from components.specs import Property, given


class ServingBaselineSpec(component_spec.ComponentSpec):
    """Input `candidate`; output `model`; properties: see ServingBaseline."""
    PARAMETERS = {
        'serving_dir': component_spec.ExecutionParameter(type=str),
        'version': component_spec.ExecutionParameter(type=str, optional=True),
        'served_version': component_spec.ExecutionParameter(type=str),
        'code_version': component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {'candidate': component_spec.ChannelParameter(type=standard_artifacts.Model, optional=True)}
    OUTPUTS = {'model': component_spec.ChannelParameter(type=standard_artifacts.Model)}


class ServingBaseline(base_component.BaseComponent):
    """Copies the model that the candidate is compared with to a Model artifact (<uri>/Format-Serving).

    That is the newest version when the component runs, or, if the newest version is the candidate itself, the version
    with which that one was compared. If there is none, the model's directory is empty. The artifact's custom property
    `version` is the number.

    candidate: the Model that was trained. serving_dir: the folder of the version directories. served_version: what is
    being served, for TFX's cache alone, which does not look into serving_dir: with another value the component runs
    again. version: on a cluster, in place of candidate and served_version, the output of BaselineLookup, which has
    chosen.

    It replaces a Resolver with LatestBlessedModelStrategy, which takes the blessing of any Evaluator for that of the
    gate. Kubeflow does not implement resolver nodes either.
    """
    SPEC_CLASS = ServingBaselineSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(self, serving_dir: str, candidate: channel.BaseChannel | None = None, served_version: str = '',
                 version: Property | None = None, code_version: str = ''):
        super().__init__(ServingBaselineSpec(candidate=candidate, serving_dir=serving_dir,
                                             served_version=served_version, code_version=code_version,
                                             **given(version=version),
                                             model=channel.Channel(type=standard_artifacts.Model)))

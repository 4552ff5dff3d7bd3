"""BaselineLookup: which version a model is compared with, as it is when the component runs."""

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel, component_spec, standard_artifacts

from components.baseline_lookup import executor


class BaselineLookupSpec(component_spec.ComponentSpec):
    """Input `candidate`; output `version`; properties: see BaselineLookup."""
    PARAMETERS = {
        'serving_dir': component_spec.ExecutionParameter(type=str),
        'code_version': component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {'candidate': component_spec.ChannelParameter(type=standard_artifacts.Model)}
    OUTPUTS = {'version': component_spec.ChannelParameter(type=standard_artifacts.String)}


class BaselineLookup(base_component.BaseComponent):
    """Chooses the version that a model is compared with, by serving_baseline.executor.choose.

    It is for a cluster, where nobody looks at what is being served before a run. It must run every time, so switch its
    cache off; ServingBaseline, which copies the version, is cached by what it found.

    candidate: the Model that was trained. serving_dir: the folder of the version directories. code_version: by it a
    container notices that its image has other code (pipeline/fingerprints.py).

    Output: `version` (String), which ServingBaseline takes as its property of that name: a number, or 'none'.
    """
    SPEC_CLASS = BaselineLookupSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(self, candidate: channel.BaseChannel, serving_dir: str, code_version: str = ''):
        super().__init__(BaselineLookupSpec(candidate=candidate, serving_dir=serving_dir, code_version=code_version,
                                            version=channel.Channel(type=standard_artifacts.String)))

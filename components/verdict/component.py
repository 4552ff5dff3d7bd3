"""Verdict: fails a run whose model the gate rejected."""

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel, component_spec, standard_artifacts

from components import specs
from components.verdict import executor


class Verdict(base_component.BaseComponent):
    """Does nothing for a model that was accepted; stops the run (PipelineStop) with the gate's reasons for another.

    blessing: that of BlessingGate, which has decision.json. No outputs. It should come after Report, so that the page
    is there when the run fails. Only clusters have it, where the state of a run is what people see; on one machine a
    rejected model has an exit code of its own.
    """
    SPEC_CLASS = component_spec.ComponentSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(self, blessing: channel.BaseChannel, code_version: str = ''):
        super().__init__(specs.make_spec(
            parameters={'code_version': code_version},
            inputs={'blessing': (blessing, standard_artifacts.ModelBlessing)}, task_inputs={}, outputs={}))

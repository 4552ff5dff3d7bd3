"""TaskSchemaGen: the schema of one task's examples."""

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel, component_spec, standard_artifacts

from components.classes import Classes
from components.task_schema_gen import executor


class TaskSchemaGenSpec(component_spec.ComponentSpec):
    """Inputs, outputs and properties: see TaskSchemaGen."""
    PARAMETERS = {
        'source': component_spec.ExecutionParameter(type=str),
        'code_version': component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {'classes': component_spec.ChannelParameter(type=Classes)}
    OUTPUTS = {'schema': component_spec.ChannelParameter(type=standard_artifacts.Schema)}


class TaskSchemaGen(base_component.BaseComponent):
    """Writes schemas/<modality>.pbtxt with the task's labels. (The stock ImportSchemaGen takes a file as it is.)

    Input: `classes` (Classes of MediaExampleGen). Output: `schema` (Schema: schema.pbtxt).

    Properties:
      source: the task's Source, as JSON.
      code_version: makes the cache notice changed code (pipeline/fingerprints.py).
    """
    SPEC_CLASS = TaskSchemaGenSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(self, source: str, classes: channel.BaseChannel, code_version: str = ''):
        super().__init__(spec=TaskSchemaGenSpec(
            source=source, classes=classes, code_version=code_version,
            schema=channel.Channel(type=standard_artifacts.Schema)))

"""TaskSchemaGen: the schema of one task."""

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel, component_spec, standard_artifacts

from components.task_schema_gen import executor


class TaskSchemaGenSpec(component_spec.ComponentSpec):
    """The interface of TaskSchemaGen; see there."""
    PARAMETERS = {
        'source': component_spec.ExecutionParameter(type=str),
        'classes': component_spec.ExecutionParameter(type=str),
        'code_version': component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {}
    OUTPUTS = {'schema': component_spec.ChannelParameter(type=standard_artifacts.Schema)}


class TaskSchemaGen(base_component.BaseComponent):
    """schemas/<modality>.pbtxt with the task's label domain. (The stock ImportSchemaGen takes a file as it is.)

    No inputs. Output: `schema` (Schema: schema.pbtxt).

    Properties: source, the task's Source as JSON; classes, the label domain as a JSON list; code_version, for the
    cache.
    """
    SPEC_CLASS = TaskSchemaGenSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(self, source: str, classes: str, code_version: str = ''):
        super().__init__(spec=TaskSchemaGenSpec(
            source=source, classes=classes, code_version=code_version,
            schema=channel.Channel(type=standard_artifacts.Schema)))

"""TaskValidator: statistics against the schema; an anomaly stops the run."""

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel, component_spec, standard_artifacts

from components.task_validator import executor


class TaskValidatorSpec(component_spec.ComponentSpec):
    """The interface of TaskValidator; see there."""
    PARAMETERS = {
        'source': component_spec.ExecutionParameter(type=str),
        'code_version': component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        'statistics': component_spec.ChannelParameter(type=standard_artifacts.ExampleStatistics),
        'schema': component_spec.ChannelParameter(type=standard_artifacts.Schema),
    }
    OUTPUTS = {'anomalies': component_spec.ChannelParameter(type=standard_artifacts.ExampleAnomalies)}


class TaskValidator(base_component.BaseComponent):
    """Stops the run (PipelineStop) with a sentence a task, split, feature and anomaly.

    Inputs: `statistics` (ExampleStatistics of all splits), `schema` (Schema). Output: `anomalies` (ExampleAnomalies, as
    the stock ExampleValidator writes them).

    Properties: source, the task's Source as JSON; code_version, for the cache.
    """
    SPEC_CLASS = TaskValidatorSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(self, source: str, statistics, schema, code_version: str = ''):
        super().__init__(spec=TaskValidatorSpec(
            source=source, statistics=statistics, schema=schema, code_version=code_version,
            anomalies=channel.Channel(type=standard_artifacts.ExampleAnomalies)))

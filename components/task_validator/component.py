"""TaskValidator: the judge of a task's data, by what was found in its media and by statistics against the schema."""

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel, component_spec, standard_artifacts

from components.artifacts import RejectedMedia
from components.task_validator import executor


class TaskValidatorSpec(component_spec.ComponentSpec):
    """The interface of TaskValidator; see there."""
    PARAMETERS = {
        'source': component_spec.ExecutionParameter(type=str),
        'checks': component_spec.ExecutionParameter(type=str),
        'code_version': component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        'statistics': component_spec.ChannelParameter(type=standard_artifacts.ExampleStatistics),
        'schema': component_spec.ChannelParameter(type=standard_artifacts.Schema),
        'rejected': component_spec.ChannelParameter(type=RejectedMedia),
    }
    OUTPUTS = {'anomalies': component_spec.ChannelParameter(type=standard_artifacts.ExampleAnomalies)}


class TaskValidator(base_component.BaseComponent):
    """Stops the run (PipelineStop) with a sentence for each reason: too many files are rejected or missing, media is
    both in train and in eval, a class has no train example (media.verdict.stops), an anomaly of the statistics.

    Inputs: `statistics` (ExampleStatistics of all splits), `schema` (Schema), `rejected` (RejectedMedia of
    MediaExampleGen). Output: `anomalies` (ExampleAnomalies, as the stock ExampleValidator writes them).

    Properties: source and checks, the task's Source and Checks as JSON; code_version, for the cache.
    """
    SPEC_CLASS = TaskValidatorSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(self, source: str, checks: str, statistics, schema, rejected, code_version: str = ''):
        super().__init__(spec=TaskValidatorSpec(
            source=source, checks=checks, statistics=statistics, schema=schema, rejected=rejected,
            code_version=code_version, anomalies=channel.Channel(type=standard_artifacts.ExampleAnomalies)))

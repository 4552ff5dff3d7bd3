"""TaskValidator: judges a task's data, by the findings in its media and by its statistics against the schema."""

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel, component_spec, standard_artifacts

from components.artifacts import RejectedMedia
from components.task_validator import executor


class TaskValidatorSpec(component_spec.ComponentSpec):
    """Inputs, outputs and properties: see TaskValidator."""
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
    """Stops the run (PipelineStop) if a task's data are not good enough to train on, with a sentence for each reason.

    The reasons are too many rejected or missing files, media in both train and eval, a class without a train example
    (media.verdict.stops), and anomalies of the statistics.

    Inputs: `statistics` (ExampleStatistics of all splits), `schema` (Schema), `rejected` (RejectedMedia of
    MediaExampleGen). Output: `anomalies` (ExampleAnomalies, as the stock ExampleValidator writes them).

    Properties:
      source, checks: the task's Source and Checks, as JSON.
      code_version: makes the cache notice changed code (pipeline/fingerprints.py).
    """
    SPEC_CLASS = TaskValidatorSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(self, source: str, checks: str, statistics, schema, rejected, code_version: str = ''):
        super().__init__(spec=TaskValidatorSpec(
            source=source, checks=checks, statistics=statistics, schema=schema, rejected=rejected,
            code_version=code_version, anomalies=channel.Channel(type=standard_artifacts.ExampleAnomalies)))

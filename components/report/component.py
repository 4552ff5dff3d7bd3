"""Report: decision, metrics, training, data and model of a run -> one HTML file."""

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel, component_spec, standard_artifacts

from components.artifacts import EvaluationReport, RejectedMedia
from components.report import executor


class Report(base_component.BaseComponent):
    """Writes report.html, self-contained, into the output `report`.

    mixture: the Mixture as JSON. model, model_run: CoTrainer's outputs. blessing: BlessingGate's, with decision.json.
    rejected, statistics: task name -> the channels of MediaExampleGen and StatisticsGen; as inputs they are named
    `rejected_<task>` and `statistics_<task>`.
    """
    SPEC_CLASS = component_spec.ComponentSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(self, mixture: str, model: channel.BaseChannel, model_run: channel.BaseChannel,
                 blessing: channel.BaseChannel, infra_blessing: channel.BaseChannel,
                 rejected: dict[str, channel.BaseChannel], statistics: dict[str, channel.BaseChannel],
                 code_version: str = ''):
        inputs = {
            'model': (model, standard_artifacts.Model),
            'model_run': (model_run, standard_artifacts.ModelRun),
            'blessing': (blessing, standard_artifacts.ModelBlessing),
            'infra_blessing': (infra_blessing, standard_artifacts.InfraBlessing),
            **{f'rejected_{name}': (c, RejectedMedia) for name, c in rejected.items()},
            **{f'statistics_{name}': (c, standard_artifacts.ExampleStatistics) for name, c in statistics.items()},
        }

        class ReportSpec(component_spec.ComponentSpec):
            PARAMETERS = {
                'mixture': component_spec.ExecutionParameter(type=str),
                'code_version': component_spec.ExecutionParameter(type=str),
            }
            INPUTS = {key: component_spec.ChannelParameter(type=kind) for key, (_, kind) in inputs.items()}
            OUTPUTS = {'report': component_spec.ChannelParameter(type=EvaluationReport)}

        super().__init__(ReportSpec(mixture=mixture, code_version=code_version,
                                    report=channel.Channel(type=EvaluationReport),
                                    **{key: value for key, (value, _) in inputs.items()}))

"""Report: one HTML file with the decision, metrics, training, data and model of a run."""

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel, component_spec, standard_artifacts

from components import specs
from components.artifacts import EvaluationReport, RejectedMedia
from components.data_statistics import DataStatistics
from components.report import executor


class Report(base_component.BaseComponent):
    """Writes report.html, which is self-contained, into the output `report`.

    mixture: the Mixture as JSON. model, model_run: outputs of CoTrainer. blessing: that of BlessingGate, which has
    decision.json. infra_blessing: that of ServingCheck. rejected, statistics: task name -> channel of MediaExampleGen
    and of StatisticsGen. evaluation: of TaskEvaluator, for the tasks that were evaluated. As inputs they are named
    `rejected_<task>` and so on (components.specs). data_statistics: that of DataDrift. intended_use, limits: of the
    config.
    """
    SPEC_CLASS = component_spec.ComponentSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(self, mixture: str, model: channel.BaseChannel, model_run: channel.BaseChannel,
                 blessing: channel.BaseChannel, infra_blessing: channel.BaseChannel,
                 rejected: dict[str, channel.BaseChannel], statistics: dict[str, channel.BaseChannel],
                 data_statistics: channel.BaseChannel, evaluation: dict[str, channel.BaseChannel],
                 intended_use: str = '', limits: str = '', code_version: str = ''):
        super().__init__(specs.make_spec(
            parameters={'mixture': mixture, 'intended_use': intended_use, 'limits': limits,
                        'code_version': code_version},
            inputs={'model': (model, standard_artifacts.Model),
                    'model_run': (model_run, standard_artifacts.ModelRun),
                    'blessing': (blessing, standard_artifacts.ModelBlessing),
                    'infra_blessing': (infra_blessing, standard_artifacts.InfraBlessing),
                    'data_statistics': (data_statistics, DataStatistics)},
            task_inputs={'rejected': (rejected, RejectedMedia),
                         'statistics': (statistics, standard_artifacts.ExampleStatistics),
                         'evaluation': (evaluation, standard_artifacts.ModelEvaluation)},
            outputs={'report': EvaluationReport}))

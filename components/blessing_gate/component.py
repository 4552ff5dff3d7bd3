"""BlessingGate: judges the evaluations of all tasks and the serving check: one ModelBlessing, with reasons."""

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel, component_spec, standard_artifacts

from components import specs
from components.blessing_gate import executor


class BlessingGate(base_component.BaseComponent):
    """Blesses a model only if every task meets its floor and did not fall too far, no task or class is lost unnoticed,
    and the serving check blesses it.

    mixture: the Mixture as JSON. evaluations: task name -> channel of TaskEvaluator; as inputs they are named
    `evaluation_<task>` (components.specs). A task without one was not trained, and must answer as the model being
    served, bit for bit (unchanged.py). baseline_model: the model that the evaluations compare with, whose card says
    which tasks and classes it knows; an empty directory if there is none. run_parameters: those that change the floors,
    and `force`, the reason for which a rejected model is pushed all the same, '' for none (components.run_parameters,
    forcing). The reason is among the properties, so that what it forced is no result of a run without it.

    Output `blessing`: in the form that the stock Pusher obeys (custom property `blessed`, a file BLESSED or
    NOT_BLESSED), decision.json (see decision.decide) and metrics.json (executor.shown_metrics). A rejected model does
    not end the run, which goes on to its report.
    """
    SPEC_CLASS = component_spec.ComponentSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(self, mixture: str, model: channel.BaseChannel, baseline_model: channel.BaseChannel,
                 evaluations: dict[str, channel.BaseChannel], infra_blessing: channel.BaseChannel,
                 run_parameters: dict[str, specs.Property] | None = None, code_version: str = ''):
        super().__init__(specs.make_spec(
            parameters={'mixture': mixture, **(run_parameters or {}), 'code_version': code_version},
            inputs={'model': (model, standard_artifacts.Model),
                    'baseline_model': (baseline_model, standard_artifacts.Model),
                    'infra_blessing': (infra_blessing, standard_artifacts.InfraBlessing)},
            task_inputs={'evaluation': (evaluations, standard_artifacts.ModelEvaluation)},
            outputs={'blessing': standard_artifacts.ModelBlessing}))

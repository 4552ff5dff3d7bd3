"""ServingCheck: whether the exported model can be served, as an InfraBlessing."""

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel, component_spec, standard_artifacts

from components import specs
from components.serving_check import executor


class ServingCheck(base_component.BaseComponent):
    """Loads the model in a server and sends it one real example of each task over REST.

    It replaces the stock InfraValidator, which needs Docker and does not run on Kubeflow Pipelines v2.

    mixture: the Mixture as JSON. model: the exported Model. examples: task name -> channel of MediaExampleGen (the raw
    examples, with encoded media); as inputs they are named `examples_<task>` (components.specs).

    Output `infra_blessing`: in the form that the stock Pusher obeys (custom property `blessed`, a file INFRA_BLESSED or
    INFRA_NOT_BLESSED), and reasons.json: {"blessed": bool, "reasons": [sentence, ...]}. A rejected model does not end
    the run, which goes on to its report.
    """
    SPEC_CLASS = component_spec.ComponentSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(self, mixture: str, model: channel.BaseChannel, examples: dict[str, channel.BaseChannel],
                 code_version: str = ''):
        super().__init__(specs.make_spec(
            parameters={'mixture': mixture, 'code_version': code_version},
            inputs={'model': (model, standard_artifacts.Model)},
            task_inputs={'examples': (examples, standard_artifacts.Examples)},
            outputs={'infra_blessing': standard_artifacts.InfraBlessing}))

"""ServingCheck: would the exported model serve? Its verdict is an InfraBlessing."""

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel, component_spec, standard_artifacts

from components import specs
from components.serving_check import executor


class ServingCheck(base_component.BaseComponent):
    """Loads the model as a server would and sends it one real example of each task over REST.

    In place of the stock InfraValidator, which needs Docker and does not run on Kubeflow Pipelines v2.

    mixture: the Mixture as JSON. model: the exported Model. examples: task name -> MediaExampleGen's examples (the raw
    ones, with the encoded media). Output `infra_blessing`: an InfraBlessing as the stock Pusher obeys it (custom
    property `blessed`, a file INFRA_BLESSED or INFRA_NOT_BLESSED), with reasons.json beside: {"blessed": bool,
    "reasons": [sentence, ...]}. A refusal does not raise: the run goes on to its report. code_version: a hash of the
    code, for the cache.

    The inputs are named `examples_<task>` (components.specs).
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

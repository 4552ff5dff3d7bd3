"""CoTrainer: every task's transformed examples -> one model. All lanes join here."""

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel, component_spec, standard_artifacts

from components.co_trainer import executor


class CoTrainer(base_component.BaseComponent):
    """Co-trains one PolyViT on all tasks and exports it for serving.

    mixture, model, training: Mixture, ModelConfig and TrainingConfig as JSON. card: JSON to put in the model card.
    examples: task name -> Transform's transformed examples; transform_graphs: task name -> its transform graph (the
    label vocabulary). The inputs are named `examples_<task>` and `transform_graph_<task>`: one union of channels would
    lose which examples are whose, and Kubeflow compiles none.

    Outputs: `model` (SavedModel at <uri>/Format-Serving), `model_run` (history.json, checkpoints/, tensorboard/).
    """
    SPEC_CLASS = component_spec.ComponentSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(self, mixture: str, model: str, training: str, card: str,
                 examples: dict[str, channel.BaseChannel], transform_graphs: dict[str, channel.BaseChannel],
                 code_version: str = ''):
        inputs = {
            **{f'examples_{name}': (c, standard_artifacts.Examples) for name, c in examples.items()},
            **{f'transform_graph_{name}': (c, standard_artifacts.TransformGraph)
               for name, c in transform_graphs.items()},
        }

        class CoTrainerSpec(component_spec.ComponentSpec):
            PARAMETERS = {name: component_spec.ExecutionParameter(type=str)
                          for name in ('mixture', 'model_config', 'training', 'card', 'code_version')}
            INPUTS = {key: component_spec.ChannelParameter(type=kind) for key, (_, kind) in inputs.items()}
            OUTPUTS = {'model': component_spec.ChannelParameter(type=standard_artifacts.Model),
                       'model_run': component_spec.ChannelParameter(type=standard_artifacts.ModelRun)}

        super().__init__(CoTrainerSpec(
            mixture=mixture, model_config=model, training=training, card=card, code_version=code_version,
            model=channel.Channel(type=standard_artifacts.Model),
            model_run=channel.Channel(type=standard_artifacts.ModelRun),
            **{key: value for key, (value, _) in inputs.items()}))

"""CoTrainer: trains one model on the transformed examples of all tasks. All lanes join here."""

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel, component_spec, standard_artifacts

from components import specs
from components.classes import Classes
from components.co_trainer import executor


class CoTrainer(base_component.BaseComponent):
    """Co-trains one PolyViT on all tasks and exports it for serving.

    mixture, model, training: Mixture, ModelConfig and TrainingConfig as JSON. name: the config's name, for the card.
    examples, transform_graphs: task name -> Transform's examples and its graph, which has the vocabulary of labels.
    classes: task name -> the Classes of MediaExampleGen, for the card. As inputs they are named `examples_<task>`,
    `transform_graph_<task>` and `classes_<task>` (components.specs). run_parameters: those that change the mixture and
    the training (components.run_parameters).
    unfinished_dir: the folder or URL in which trainings that do not finish leave their checkpoints, for the next run of
    the same to go on; '' for a folder beside the output, which suits a single machine.

    Outputs: `model` (SavedModel at <uri>/Format-Serving), `model_run` (history.json, checkpoints/, tensorboard/).
    """
    SPEC_CLASS = component_spec.ComponentSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(self, mixture: str, model: str, training: str, name: str,
                 examples: dict[str, channel.BaseChannel], transform_graphs: dict[str, channel.BaseChannel],
                 classes: dict[str, channel.BaseChannel], run_parameters: dict[str, specs.Property] | None = None,
                 unfinished_dir: str = '', code_version: str = ''):
        super().__init__(specs.make_spec(
            parameters={'mixture': mixture, 'model_config': model, 'training': training, 'name': name,
                        **(run_parameters or {}), 'unfinished_dir': unfinished_dir, 'code_version': code_version},
            task_inputs={'examples': (examples, standard_artifacts.Examples),
                         'transform_graph': (transform_graphs, standard_artifacts.TransformGraph),
                         'classes': (classes, Classes)},
            outputs={'model': standard_artifacts.Model, 'model_run': standard_artifacts.ModelRun}))

"""CoTrainer's executor: parses TFX's arguments; model_code does the work."""

import functools
import hashlib
import json
import os
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft
import tf_keras
from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import path_utils

from components.specs import task_input
from model_code import (
    evaluation,
    export,
    initialisation,
    input_pipeline,
    loop,
    modalities,
    model_directory,
    polyvit,
    strategy,
    words,
)
from model_code.checkpoints import stop_if_disk_full
from model_code.logger import logger
from model_code.serialization import from_json
from model_code.settings import ModelConfig, TrainingConfig, check_batches
from model_code.tasks import Mixture, Task


class Executor(base_executor.BaseExecutor):

    def Do(self, input_dict: dict[str, list[types.Artifact]], output_dict: dict[str, list[types.Artifact]],
           exec_properties: dict[str, Any]) -> None:
        mixture = from_json(Mixture, exec_properties['mixture'])
        train_files, eval_files, vocabularies = {}, {}, {}
        for task in mixture.tasks:
            examples = artifact_utils.get_single_instance(input_dict[task_input('examples', task.name)])
            graph = artifact_utils.get_single_instance(input_dict[task_input('transform_graph', task.name)])
            for files, split in ((train_files, 'train'), (eval_files, 'eval')):
                folder = artifact_utils.get_split_uri([examples], split)
                files[task.name] = tf.io.gfile.glob(os.path.join(folder, '*.gz'))
            vocabularies[task.name] = read_vocabulary(task, graph.uri)

        # Beside the run's own output, under a name that follows what is trained: a run that was cut finds it.
        model_run = artifact_utils.get_single_instance(output_dict['model_run']).uri
        unfinished = os.path.join(os.path.dirname(model_run.rstrip('/')), 'unfinished')
        key = work_key(exec_properties, train_files)
        _name_leftovers(unfinished, key)
        co_train(
            mixture=mixture,
            model_config=from_json(ModelConfig, exec_properties['model_config']),
            config=from_json(TrainingConfig, exec_properties['training']),
            train_files=train_files,
            eval_files=eval_files,
            vocabularies=vocabularies,
            checkpoint_dir=os.path.join(unfinished, key),
            model_run_dir=model_run,
            export_dir=path_utils.serving_model_dir(
                artifact_utils.get_single_instance(output_dict['model']).uri),
            card=json.loads(exec_properties['card']))


def read_vocabulary(task: Task, transform_graph_uri: str) -> list[str]:
    """The task's labels in id order, from its Transform's vocabulary file."""
    graph = tft.TFTransformOutput(transform_graph_uri)
    return [label.decode('utf-8') for label in graph.vocabulary_by_name(f'{task.name}_labels')]


def work_key(exec_properties: dict[str, Any], train_files: dict[str, list[str]]) -> str:
    """A name that is the same exactly for the same training of the same examples by the same code."""
    settings = [exec_properties[name] for name in ('mixture', 'model_config', 'training', 'code_version')]
    return hashlib.sha256(json.dumps([settings, sorted(train_files.items())]).encode()).hexdigest()[:16]


def _name_leftovers(unfinished: str, key: str):
    """Other trainings that were cut are kept, as one of them may be running: only the user knows."""
    others = [name.rstrip('/') for name in tf.io.gfile.listdir(unfinished)] if tf.io.gfile.exists(unfinished) else []
    others = sorted(name for name in others if name != key)
    if others:
        logger.info('training: %s holds %s that did not finish: %s. Where none is running, they can be deleted.',
                    unfinished, words.count(len(others), 'other training'), ', '.join(others))


def co_train(*, mixture: Mixture, model_config: ModelConfig, config: TrainingConfig,
             train_files: dict[str, list[str]], eval_files: dict[str, list[str]], vocabularies: dict[str, list[str]],
             checkpoint_dir: str, model_run_dir: str, export_dir: str, card: dict) -> dict:
    """Trains from the newest checkpoint in checkpoint_dir, exports to export_dir, leaves the run in model_run_dir.

    Returns the history (loop.train). The exported model computes in float32 whatever config.precision. Of several
    workers only the chief exports, and moves the checkpoints. Raises PipelineStop as loop.train does, and where there
    is no space left for what is written.
    """
    distribution = strategy.make_strategy(config)  # before TensorFlow's first operation: see there
    check_batches(mixture.tasks, distribution.num_replicas_in_sync)
    classes = {name: len(labels) for name, labels in vocabularies.items()}
    groups = {t.name: t.group_ids(vocabularies[t.name]) for t in mixture.tasks}
    firsts = {task.name: input_pipeline.first_example(task, classes[task.name], train_files[task.name])
              for task in mixture.tasks}
    # Python's, numpy's and TensorFlow's: tf_keras's initialisers draw from all three.
    tf_keras.utils.set_random_seed(config.seed)
    with distribution.scope(), strategy.precision(config):
        model = polyvit.PolyViT(mixture, classes, model_config, groups)
        if config.initial_checkpoint:
            initialisation.initialise(model, config.initial_checkpoint, config.inflation, vocabularies)
    with stop_if_disk_full(checkpoint_dir):
        tf.io.gfile.makedirs(checkpoint_dir)
    datasets = {
        task.name: functools.partial(input_pipeline.train_dataset, task, classes[task.name], model_config,
                                     train_files[task.name], config.seed + index, counts_dir=checkpoint_dir)
        for index, task in enumerate(mixture.tasks)}

    def first_inputs(task):
        return input_pipeline.first_inputs(task, classes[task.name], model_config, train_files[task.name], config.seed)

    evaluate = None
    if config.eval_every:
        evaluate = evaluation.make_evaluate(model, model_config, classes, eval_files, config.eval_batch_size)
    history = loop.train(distribution, model, mixture, datasets, config, checkpoint_dir, evaluate, first_inputs)
    if not strategy.is_chief(distribution):
        return history

    if config.precision != 'float32':
        trained, model = model, polyvit.PolyViT(mixture, classes, model_config, groups)
        for variable, value in zip(model.variables, trained.variables, strict=True):
            variable.assign(value)
    statistics = {task.name: tuple(float(firsts[task.name][name])
                                   for name in modalities.get_modality(task.modality).statistics)
                  for task in mixture.tasks}
    samples = {task.name: _media(task, firsts[task.name]) for task in mixture.tasks}
    with stop_if_disk_full(export_dir):
        export.save(export.ServedModel(model, mixture, vocabularies, statistics), export_dir, card, samples)
    with stop_if_disk_full(model_run_dir):
        loop.write_history(model_run_dir, history)
        # Beside the checkpoints: whoever starts from them learns which classes and inputs they are of.
        tf.io.gfile.copy(model_directory.card_path(export_dir), os.path.join(model_run_dir, model_directory.CARD_FILE),
                         overwrite=True)
        # Last: until here the same training, started again, finds its checkpoints.
        tf.io.gfile.rename(os.path.join(checkpoint_dir, loop.SUMMARIES_DIR),
                           os.path.join(model_run_dir, loop.SUMMARIES_DIR), overwrite=True)
        tf.io.gfile.rename(checkpoint_dir, os.path.join(model_run_dir, 'checkpoints'), overwrite=True)
    return history


def _media(task: Task, features: dict[str, tf.Tensor]) -> list[bytes]:
    """The encoded media of one parsed example: a list of one, or a clip's frames."""
    value = features[modalities.get_modality(task.modality).feature].numpy()
    return list(value) if isinstance(value, (list, tuple)) or getattr(value, 'ndim', 0) else [value]

"""CoTrainer's executor: parses TFX's arguments, trains and exports. model_code does the work."""

import contextlib
import datetime
import functools
import hashlib
import importlib.metadata
import json
import os
import platform
import re
from collections.abc import Iterator
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft
import tf_keras
from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import path_utils

from components import run_parameters
from components.classes import read_classes
from components.specs import task_input
from model_code import (
    encoded_examples,
    evaluation,
    export,
    file_io,
    freezing,
    hardware,
    initialisation,
    input_pipeline,
    loop,
    modalities,
    model_directory,
    parents,
    polyvit,
    shell,
    strategy,
    words,
)
from model_code.checkpoints import stop_if_disk_full
from model_code.errors import PipelineStop
from model_code.logger import logger
from model_code.serialization import from_json
from model_code.settings import ModelConfig, TrainingConfig, check_batches
from model_code.snapshots import NO_SNAPSHOTS, Snapshots, unfinished
from model_code.tasks import BY_SIZE, Mixture, Task

# The distributions whose versions the card names.
_STACK = ('polyvit-pipeline', 'tensorflow', 'tf-keras', 'tensorflow-transform', 'tfx', 'numpy')


class Executor(base_executor.BaseExecutor):
    """See component.CoTrainer for inputs, outputs and properties."""

    def Do(self, input_dict: dict[str, list[types.Artifact]], output_dict: dict[str, list[types.Artifact]],
           exec_properties: dict[str, Any]) -> None:
        exec_properties = run_parameters.apply(exec_properties)
        mixture = from_json(Mixture, exec_properties['mixture'])
        train_files, eval_files, vocabularies, media_fingerprints = {}, {}, {}, {}
        for task in mixture.tasks:
            examples = artifact_utils.get_single_instance(input_dict[task_input('examples', task.name)])
            graph = artifact_utils.get_single_instance(input_dict[task_input('transform_graph', task.name)])
            for files, split in ((train_files, 'train'), (eval_files, 'eval')):
                folder = artifact_utils.get_split_uri([examples], split)
                files[task.name] = tf.io.gfile.glob(os.path.join(folder, '*.gz'))
            vocabularies[task.name] = read_vocabulary(task, graph.uri)
            classes = artifact_utils.get_single_uri(input_dict[task_input('classes', task.name)])
            media_fingerprints[task.name] = read_classes(classes).media_fingerprint

        key = work_key(exec_properties, train_files, eval_files, vocabularies)
        model_run = artifact_utils.get_single_instance(output_dict['model_run']).uri
        with checkpoints_kept(exec_properties['unfinished_dir'], key, model_run) as (checkpoint_dir, kept):
            # Not in co_train: a study's many trainings each remove this folder at their end.
            logger.info('training: curves while it runs: %s',
                        shell.tensorboard(os.path.join(kept.folder or checkpoint_dir, loop.SUMMARIES_DIR)))
            co_train(
                mixture=mixture,
                model_config=from_json(ModelConfig, exec_properties['model_config']),
                config=from_json(TrainingConfig, exec_properties['training']),
                train_files=train_files,
                eval_files=eval_files,
                vocabularies=vocabularies,
                checkpoint_dir=checkpoint_dir,
                model_run_dir=model_run,
                export_dir=path_utils.serving_model_dir(
                    artifact_utils.get_single_instance(output_dict['model']).uri),
                card=model_card(exec_properties, media_fingerprints),
                snapshots=kept)


def read_vocabulary(task: Task, transform_graph_uri: str) -> list[str]:
    """The task's labels in the order of their ids, from the vocabulary file of its Transform."""
    graph = tft.TFTransformOutput(transform_graph_uri)
    return [label.decode('utf-8') for label in graph.vocabulary_by_name(f'{task.name}_labels')]


def model_card(exec_properties: dict[str, Any], media_fingerprints: dict[str, str]) -> dict:
    """What the model's card says of where it came from. media_fingerprints: task name -> that of its media."""
    made_by = [exec_properties[name] for name in ('mixture', 'model_config', 'training')]
    return {'name': exec_properties['name'], 'media_fingerprints': media_fingerprints,
            'model': json.loads(exec_properties['model_config']), 'training': json.loads(exec_properties['training']),
            'config_digest': hashlib.sha256(json.dumps(made_by).encode()).hexdigest(),
            'code_version': exec_properties['code_version'],
            'versions': {'python': platform.python_version(), **installed(*_STACK)}}


def installed(*names: str) -> dict[str, str]:
    """Name -> version of these distributions, as far as they are installed; of all without names."""
    found = {re.sub('[-_.]+', '-', package.metadata['Name'] or '').lower(): package.version
             for package in importlib.metadata.distributions()}
    return {name: found[name] for name in names or sorted(filter(None, found)) if name in found}


def work_key(exec_properties: dict[str, Any], train_files: dict[str, list[str]], eval_files: dict[str, list[str]],
             vocabularies: dict[str, list[str]]) -> str:
    """A hash that is the same only for the same training of the same examples by the same code.

    It does not depend on where the examples lie: on a cluster this is another place in every run, and in every pod.
    files: task name -> paths; vocabularies: task name -> labels.
    """
    settings = [exec_properties[name] for name in ('mixture', 'model_config', 'training', 'code_version')]
    content = [{name: input_pipeline.fingerprint(paths) for name, paths in files.items()}
               for files in (train_files, eval_files)]
    return hashlib.sha256(json.dumps([settings, content, vocabularies], sort_keys=True).encode()).hexdigest()[:16]


@contextlib.contextmanager
def checkpoints_kept(unfinished_dir: str, key: str, model_run_dir: str) -> Iterator[tuple[str, Snapshots]]:
    """A context that gives the folder for the checkpoints of a training, and the place of its snapshots.

    Without unfinished_dir the folder is beside the run's own output, under the key, where the same training finds it
    again after an interruption. With it, it is a new one on this machine, filled from the newest snapshot.
    """
    beside = os.path.dirname(model_run_dir.rstrip('/'))
    directory = unfinished_dir or os.path.join(beside, 'unfinished')
    _report_other_trainings(directory, key)
    if not unfinished_dir:
        yield os.path.join(directory, key), NO_SNAPSHOTS
        return
    os.makedirs(beside, exist_ok=True)
    with file_io.temporary_folder(beside) as folder:
        kept = Snapshots(os.path.join(directory, key))
        kept.fetch(folder)
        yield folder, kept


def _report_other_trainings(directory: str, key: str):
    """Logs which other trainings did not finish. They are kept, because only the user knows if one is still running."""
    others = [name for name in unfinished(directory) if name != key]
    if others:
        logger.info('training: %s has %s that did not finish: %s. Those that are not running can be deleted.',
                    directory, words.count(len(others), 'other training'), ', '.join(others))


def co_train(*, mixture: Mixture, model_config: ModelConfig, config: TrainingConfig,
             train_files: dict[str, list[str]], eval_files: dict[str, list[str]], vocabularies: dict[str, list[str]],
             checkpoint_dir: str, model_run_dir: str, export_dir: str, card: dict,
             snapshots: Snapshots = NO_SNAPSHOTS) -> dict:
    """Trains from the newest checkpoint in checkpoint_dir, exports to export_dir, and keeps the run in model_run_dir.

    Returns the history (loop.train). The exported model computes in float32, whatever config.precision is. Of several
    workers only the chief exports and moves the checkpoints. Raises PipelineStop as loop.train does, and if the disk is
    full.

    snapshots: of checkpoint_dir, which has the newest already; they are finished once the run is in model_run_dir.
    """
    distribution = strategy.make_strategy(config)  # must come before TensorFlow's first operation, see there
    trained = config.trained(mixture)
    check_batches(trained.tasks, distribution.num_replicas_in_sync)
    parent = {}
    if config.train_only:
        parent = parents.read_card(config.initial_checkpoint)
        parents.check(parent, config.initial_checkpoint, config, mixture, model_config, vocabularies)
        vocabularies = vocabularies | parents.kept(parent, 'classes', config, mixture)
    classes = {name: len(labels) for name, labels in vocabularies.items()}
    groups = {t.name: t.group_ids(vocabularies[t.name]) for t in mixture.tasks}
    _check_eval_examples(trained, config, eval_files)
    first_examples = {task.name: input_pipeline.first_example(task, classes[task.name], train_files[task.name])
                      for task in mixture.tasks}
    with stop_if_disk_full(checkpoint_dir):
        tf.io.gfile.makedirs(checkpoint_dir)
    class_weights = {t.name: t.data.kind.functions.class_weights(
        *input_pipeline.count_labels(t, classes[t.name], train_files[t.name], checkpoint_dir), groups[t.name])
        for t in trained.tasks if t.recipe.class_weights}
    # Seeds Python, numpy and TensorFlow: the initialisers of tf_keras draw from all three.
    tf_keras.utils.set_random_seed(config.seed)
    with distribution.scope(), strategy.precision(config):
        model = polyvit.PolyViT(mixture, classes, model_config, groups, class_weights, config.train_only, vocabularies)
        if config.initial_checkpoint:
            found = initialisation.initialise(model, config.initial_checkpoint, config.inflation, vocabularies)
            if config.train_only:
                parents.check_taken(found, _kept_variables(model), config.initial_checkpoint)
    datasets, diagnosed, encoded = {}, {}, []
    for index, task in enumerate(trained.tasks):
        seed, arguments = config.seed + index, (task, classes[task.name])
        datasets[task.name] = functools.partial(input_pipeline.train_dataset, *arguments, model_config,
                                                train_files[task.name], seed, counts_dir=checkpoint_dir)
        diagnosed[task.name] = functools.partial(input_pipeline.train_dataset, *arguments, model_config,
                                                 train_files[task.name], -1 - seed,  # which no training has
                                                 counts_dir=checkpoint_dir)
        if model.is_frozen(task.name) and strategy.workers(distribution) == 1:
            count = input_pipeline.count_records(train_files[task.name], checkpoint_dir)
            if freezing.is_encoded_once(task, count, model_config.width):
                encoded.append(task.name)
                datasets[task.name] = encoded_examples.train_dataset(model, *arguments, train_files[task.name], count,
                                                                     seed)

    def first_inputs(task):
        return input_pipeline.first_inputs(task, classes[task.name], model_config, train_files[task.name], config.seed)

    evaluate = None
    if config.eval_every:
        # What is decided by the metrics is decided by those of all examples, as the gate measures them.
        batches = -1 if config.keep_best or config.patience else evaluation.BATCHES
        files = {task.name: eval_files.get(task.name, []) for task in trained.tasks}
        evaluate = evaluation.make_evaluate(model, model_config, classes, files, config.eval_batch_size, batches)
    sizes = {name: input_pipeline.count_records(files, checkpoint_dir) for name, files in train_files.items()
             } if trained.schedule in BY_SIZE else None
    history = loop.train(distribution, model, trained, datasets, config, checkpoint_dir, evaluate, first_inputs,
                         snapshots, sizes, encoded, diagnosed)
    if strategy.is_chief(distribution):
        if config.precision != 'float32':
            computed, model = model, polyvit.PolyViT(mixture, classes, model_config, groups,
                                                     train_only=config.train_only, vocabularies=vocabularies)
            for variable, value in zip(model.variables, computed.variables, strict=True):
                variable.assign(value)
        card = card | {'exported': history['exported'] | {'total_steps': history['total_steps']},
                       'trained': training_entry(history['seconds'], distribution.num_replicas_in_sync)}
        if config.train_only:
            card |= parents.card_entries(parent, config, card)
        _export(model, mixture, vocabularies, first_examples, export_dir, card,
                parents.kept(parent, 'statistics', config, mixture))
        _keep_run(history, export_dir, checkpoint_dir, model_run_dir)
        snapshots.finish()
    return history


def _kept_variables(model: polyvit.PolyViT) -> list[str]:
    """The names of the variables that no step trains."""
    trained = {variable.ref() for variable in model.trained_variables()}
    return [name for name, variable in initialisation.named_variables(model).items() if variable.ref() not in trained]


def training_entry(seconds: float, replicas: int) -> dict:
    """What the card says of the training that ends now: when, how long in all, on what."""
    used = any(device.device_type != 'CPU' for device in tf.config.list_physical_devices())
    return {'ended': datetime.datetime.now(datetime.timezone.utc).isoformat(timespec='seconds'),
            'seconds': round(seconds, 1), 'processor': hardware.processor(), 'cores': hardware.usable_cores(),
            'accelerators': list(hardware.accelerators()) if used else [], 'replicas': replicas}


def _check_eval_examples(mixture: Mixture, config: TrainingConfig, eval_files: dict[str, list[str]]):
    """Raises PipelineStop if metrics are to decide, and a task has none."""
    if config.keep_best or config.patience:
        for task in mixture.tasks:
            if not input_pipeline.has_records(eval_files.get(task.name, [])):
                raise PipelineStop(f'Task {task.name} has no eval example. keep_best and patience need some of every '
                                   'task: they go by the mean of the primary metrics.')


def _export(model, mixture: Mixture, vocabularies: dict[str, list[str]], first_examples: dict[str, dict],
            export_dir: str, card: dict, kept_statistics: dict[str, list[float]]):
    """Saves the model for serving. first_examples: task name -> the features of its first example.

    From it come the statistics, which are the same in every example, and media to try the signatures with.
    kept_statistics: task name -> statistics that count in place of those.
    """
    statistics = {task.name: tuple(float(first_examples[task.name][name])
                                   for name in modalities.get_modality(task.modality).statistics)
                  for task in mixture.tasks} | kept_statistics
    samples = {task.name: _media(task, first_examples[task.name]) for task in mixture.tasks}
    model.update_classes()
    with stop_if_disk_full(export_dir):
        export.save(export.ServedModel(model, mixture, vocabularies, statistics), export_dir, card, samples)
        file_io.write(model_directory.libraries_path(export_dir), json.dumps(installed(), indent=1))


def _keep_run(history: dict, export_dir: str, checkpoint_dir: str, model_run_dir: str):
    """Writes the history, the card, the summaries and the checkpoints to model_run_dir."""
    with stop_if_disk_full(model_run_dir):
        loop.write_history(model_run_dir, history)
        # The card goes beside the checkpoints, so that a model that starts from them knows their classes and inputs.
        tf.io.gfile.copy(model_directory.card_path(export_dir), os.path.join(model_run_dir, model_directory.CARD_FILE),
                         overwrite=True)
        # The checkpoints are moved last, in one step: if the process ends before, the same training finds all of them
        # again, and the summaries too, which are therefore copied.
        checkpoints = os.path.join(model_run_dir, 'checkpoints')
        _copy_folder(os.path.join(checkpoint_dir, loop.SUMMARIES_DIR), os.path.join(model_run_dir, loop.SUMMARIES_DIR))
        tf.io.gfile.rename(checkpoint_dir, checkpoints, overwrite=True)
        tf.io.gfile.rmtree(os.path.join(checkpoints, loop.SUMMARIES_DIR))


def _copy_folder(source: str, target: str):
    tf.io.gfile.makedirs(target)
    for name in tf.io.gfile.listdir(source):
        tf.io.gfile.copy(os.path.join(source, name), os.path.join(target, name), overwrite=True)


def _media(task: Task, features: dict[str, tf.Tensor]) -> list[bytes]:
    """The encoded media of one parsed example: a list of one, or the frames of a clip."""
    value = features[modalities.get_modality(task.modality).feature].numpy()
    return list(value) if isinstance(value, (list, tuple)) or getattr(value, 'ndim', 0) else [value]

"""One training of a study: trains as CoTrainer does, asks the exported model about the eval split, keeps what it said.

The folder of a finished training has result.json, which is written last, and what was said of each example, in
<task>.npz and frozen_<task>.npz (model_code/outcomes.py). Its model and its checkpoints are removed then. An
interrupted training goes on from its newest checkpoint; an interrupted evaluation is repeated.
"""

import dataclasses
import gc
import hashlib
import json
import os
import time
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
import tf_keras

from components.co_trainer import executor
from components.task_evaluator import representation
from model_code import file_io, input_pipeline, interruption, outcomes, signature_names
from model_code.errors import PipelineStop
from model_code.flops import forward_flops
from model_code.logger import logger
from model_code.outcomes import Outcomes, texts
from model_code.serialization import to_json
from model_code.settings import ModelConfig
from model_code.tasks import Task
from pipeline.fingerprints import component_version
from pipeline.ingested import TrainingLane
from pipeline.pipeline import trained_tasks
from pipeline.study.arms import Training, config_of, cost

RESULT = 'result.json'
_BATCH_SIZE = 64  # examples that the model gets at once, as in the evaluation


@dataclasses.dataclass(frozen=True)
class Result:
    """What is kept of a finished training beside the outcomes.

    parameters: of its model. flops, seconds: of the training's steps. took: seconds with export and evaluation.
    frozen: task -> {'seconds', 'flops', 'train_examples'} of its new head, for the training of all tasks. gradients:
    those of the history, if they were measured.
    """
    tasks: tuple[str, ...]
    seed: int
    parameters: int
    steps: int
    flops: float
    seconds: float
    took: float
    frozen: dict[str, dict]
    gradients: list[dict] = dataclasses.field(default_factory=list)


class Trainer:
    """Does the trainings of a study.

    config: that of the study. lanes, vocabularies: of all its tasks; a vocabulary has the labels in the order of their
    ids. folder: for all trainings. by_size: whether a schedule goes by the tasks' train examples. Its `data` tell the
    plan what a training costs.
    """

    def __init__(self, config, lanes: dict[str, TrainingLane], vocabularies: dict[str, list[str]], folder: str,
                 by_size: bool = False):
        self._config, self._lanes, self._vocabularies, self._folder = config, lanes, vocabularies, folder
        self._folders: dict[Training, str] = {}
        self.data = Known(self._vocabularies, {name: {'train': input_pipeline.count_records(lane.files('train'))}
                                               for name, lane in lanes.items()} if by_size else {})
        self._asked = {name: input_pipeline.fingerprint(_examples(lane, 'eval')) for name, lane in lanes.items()}

    def path(self, training: Training, name: str = '') -> str:
        """A file of the training's folder, or the folder, which no training of other data or other code has."""
        if training not in self._folders:
            self._folders[training] = os.path.join(self._folder, self._key(training))
        return os.path.join(self._folders[training], *([name] if name else []))

    def _key(self, training: Training) -> str:
        config, tasks = config_of(self._config, training), training.tasks
        properties = {'mixture': to_json(trained_tasks(config.mixture)), 'model_config': to_json(config.model),
                      'training': to_json(config.training), 'code_version': component_version('CoTrainer')}
        key = executor.work_key(properties, *(self._files(tasks, split) for split in ('train', 'eval')),
                                {task: self._vocabularies[task] for task in tasks})
        return hashlib.sha256(json.dumps([key, [self._asked[task] for task in tasks]]).encode()).hexdigest()[:16]

    def result(self, training: Training) -> Result | None:
        """None until it has finished."""
        found = file_io.read_json(self.path(training, RESULT))
        return Result(**{**found, 'tasks': tuple(found['tasks'])}) if found else None

    def outcomes(self, training: Training, task: str, frozen: bool = False) -> Outcomes:
        """What the trained model, or the new head on its frozen encoder, said of the task's eval examples."""
        return outcomes.read(self.path(training, f'frozen_{task}.npz' if frozen else f'{task}.npz'))

    def run(self, training: Training) -> Result:
        """Trains from where it was interrupted, evaluates, and keeps the result. Raises what co_train does."""
        begin, config = time.monotonic(), config_of(self._config, training)
        tf_keras.backend.clear_session()  # the graphs of the training before
        gc.collect()
        model_dir, model_run = self.path(training, 'model'), self.path(training, 'model_run')
        if not os.path.isdir(os.path.join(model_run, 'checkpoints')):  # what is moved there last
            file_io.remove_folder(model_dir)
            executor.co_train(
                mixture=trained_tasks(config.mixture), model_config=config.model, config=config.training,
                train_files=self._files(training.tasks, 'train'), eval_files=self._files(training.tasks, 'eval'),
                vocabularies={task: self._vocabularies[task] for task in training.tasks},
                checkpoint_dir=self.path(training, 'checkpoints'), model_run_dir=model_run, export_dir=model_dir,
                card={'name': config.name})
        history = file_io.read_json(os.path.join(model_run, 'history.json'))
        model = tf.saved_model.load(model_dir)
        for task in config.mixture.tasks:
            lane = self._lanes[task.name]
            said = ask(model, task, _examples(lane, 'eval'))
            outcomes.write(self.path(training, f'{task.name}.npz'), said)
        frozen = {}
        # As arms.arms says; of one task there is no study of the arms.
        if 1 < len(training.tasks) == len(self._config.mixture.tasks) and not training.changes:
            logger.info('training: new heads on the frozen encoder')
            frozen = {task.name: head for task in config.mixture.tasks
                      if (head := self._new_head(training, task, model_dir, config.model))}
        planned = cost(self._config, training, self.data)
        result = Result(training.tasks, training.seed, planned.parameters, history['total_steps'], planned.flops,
                        round(history['seconds'], 3), round(time.monotonic() - begin, 3), frozen,
                        history['gradients'])
        file_io.write(self.path(training, RESULT), json.dumps(dataclasses.asdict(result), indent=1))
        for folder in (model_dir, model_run):
            file_io.remove_folder(folder)
        return result

    def _new_head(self, training: Training, task: Task, model_dir: str, model: ModelConfig) -> dict | None:
        begin, lane = time.monotonic(), self._lanes[task.name].lane
        classes = self._vocabularies[task.name]
        probe = representation.probe_scores(model_dir, task.source, classes,
                                            {split: lane.split_dir(split) for split in ('train', 'eval')},
                                            task.probe.max_examples)
        if probe is None:
            return None
        said = self.outcomes(training, task.name)
        place = {name: row for row, name in enumerate(probe.ids)}
        rows = [place[name] for name in said.ids.tolist()]
        outcomes.write(self.path(training, f'frozen_{task.name}.npz'),
                       dataclasses.replace(said, scores=probe.scores[rows]))
        return {'seconds': round(time.monotonic() - begin, 3), 'train_examples': probe.train_examples,
                'flops': float(probe.train_examples * forward_flops(model, task, len(classes)))}

    def _files(self, tasks: Sequence[str], split: str) -> dict[str, list[str]]:
        return {task: self._lanes[task].files(split) for task in tasks}


@dataclasses.dataclass(frozen=True)
class Known:
    """The part of checks.DataSummary that tells the cost of a training."""
    classes: dict[str, list[str]]
    counts: dict = dataclasses.field(default_factory=dict)
    groups: dict = dataclasses.field(default_factory=dict)


def ask(model, task: Task, files: list[str]) -> Outcomes:
    """What a loaded SavedModel says of a task's examples, as MediaExampleGen writes them, in the order of their ids."""
    scores_of, label_of = (model.signatures[name(task.name)] for name in (
        signature_names.examples, signature_names.label))
    ids, groups, labels, scores = [], [], [], []
    for batch in tf.data.TFRecordDataset(files, 'GZIP').batch(_BATCH_SIZE):
        if interruption.requested():
            raise PipelineStop('The evaluation was interrupted.')
        parsed = tf.io.parse_example(batch, {name: tf.io.RaggedFeature(tf.string) for name in ('id', 'group')})
        ids += [_text(values) for values in parsed['id'].to_list()]
        groups += [_text(values) for values in parsed['group'].to_list()]
        labels.append(_only(label_of, batch))
        scores.append(_only(scores_of, batch).astype(np.float32))
    if not ids:
        raise PipelineStop(f'Task {task.name} has no eval example, so a study can compare nothing.')
    label = np.concatenate(labels)
    label = label.astype(np.int64).ravel() if np.issubdtype(label.dtype, np.integer) else label
    order = np.array(sorted(range(len(ids)), key=ids.__getitem__))
    return Outcomes(texts(ids), texts(groups), label, np.concatenate(scores)).take(order)


def _only(signature, records: tf.Tensor) -> np.ndarray:
    """The only output of a signature of serialized examples."""
    (argument, _), = signature.structured_input_signature[1].items()
    (output,) = signature(**{argument: records}).values()
    return output.numpy()


def _examples(lane: TrainingLane, split: str) -> list[str]:
    folder = lane.lane.split_dir(split)
    return sorted(os.path.join(folder, name) for name in file_io.list_folder(folder) if name.endswith('.gz'))


def _text(values: list[bytes]) -> str:
    return values[0].decode('utf-8', 'surrogateescape') if values else ''


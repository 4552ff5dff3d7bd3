"""A tiny co-training of three modalities, for tests: `python -m tests.model_code.tiny_training FOLDER` runs it.
With OUTPUT UNFINISHED_DIR it runs `co_train`.

FOLDER/data holds the examples (`write_examples`), FOLDER/checkpoints the results. Everything that draws at random is
switched on.
"""

import dataclasses
import functools
import hashlib
import os
import sys

os.environ.setdefault('TF_USE_LEGACY_KERAS', '1')
os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '1')
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')

import numpy as np
import tensorflow as tf
import tf_keras

from model_code import evaluation, input_pipeline, loop, polyvit, strategy
from model_code.serialization import to_json
from model_code.settings import ModelConfig, TrainingConfig
from model_code.snapshots import NO_SNAPSHOTS, Snapshots
from model_code.tasks import Mixture, Task
from tests import testing

MODEL = ModelConfig(layers=2, width=16, heads=2, mlp_width=32, dropout=0.1, inputs=testing.INPUTS)
TASKS = (testing.task('shapes', 'image', steps=120, batch_size=4, stochastic_depth=0.2,
              augmentations=('inception_crop', 'flip', 'shift')),
         testing.task('tones', 'audio', steps=60, batch_size=4, mixup_alpha=0.3, stochastic_depth=0.2, token_share=0.5,
              augmentations=('spec_augment', 'time_shift')),
         testing.task('walks', 'video', steps=60, batch_size=2, learning_rate_coefficient=0.5, token_share=0.5,
              augmentations=('temporal_crop', 'scale_jitter', 'flip', 'shift', 'colour_jitter')))
CLASSES = 2
CONFIG = TrainingConfig(optimizer='momentum', learning_rate=0.05, warmup_steps=20, weight_decay=0.01,
                        checkpoint_every=40, eval_every=0, strategy='one_device')


def feature(value):
    """The tf.train.Feature of a list of bytes, of an int, or of numbers."""
    if isinstance(value, list):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=value))
    if isinstance(value, int):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
    return tf.train.Feature(float_list=tf.train.FloatList(value=np.atleast_1d(value)))


def example(task: Task, seed: int, label) -> tf.train.Example:
    """A transformed example. Its media are made from the seed."""
    if task.modality == 'image':
        features = {'image': [testing.image_bytes(('JPEG', 'PNG')[seed % 2], seed=seed)]}
    elif task.modality == 'audio':
        features = {'audio': [testing.wav_bytes(0.2, frequency=300 + 100 * seed)], 'log_mel_mean': -20.0,
                    'log_mel_stddev': 15.0}
    else:
        features = {'frames': [testing.image_bytes('JPEG', seed=seed + i) for i in range(3 + seed % 3)]}
    return tf.train.Example(features=tf.train.Features(
        feature={name: feature(value) for name, value in {**features, 'label': label}.items()}))


def write_examples(folder: str, files: int = 3, per_file: int = 5):
    """Writes examples of every task as Transform does, `per_file` in each of `files` files."""
    for task in TASKS:
        os.makedirs(f'{folder}/data/{task.name}')
        for f in range(files):
            with tf.io.TFRecordWriter(f'{folder}/data/{task.name}/{f}.gz', 'GZIP') as writer:
                for i in range(per_file):
                    number = f * per_file + i
                    writer.write(example(task, number, number % CLASSES).SerializeToString())


def files_of(folder: str, task: Task) -> list[str]:
    return tf.io.gfile.glob(f'{folder}/data/{task.name}/*.gz')


def train(folder: str, checkpoints: str = 'checkpoints', config: TrainingConfig = CONFIG, tasks=TASKS,
          schedule: str = 'weighted', model_config: ModelConfig = MODEL, evaluate=None,
          snapshots: Snapshots = NO_SNAPSHOTS) -> tuple[dict, list[np.ndarray]]:
    """Trains in FOLDER/checkpoints, from the newest snapshot if there is one; returns (history, the weights)."""
    mixture = Mixture(tasks, schedule)
    directory = os.path.join(folder, checkpoints)
    tf_keras.utils.set_random_seed(config.seed)
    placed = strategy.make_strategy(config)
    with placed.scope(), strategy.precision(config):
        model = polyvit.PolyViT(mixture, {t.name: CLASSES for t in tasks}, model_config, class_weights={
            t.name: t.data.kind.functions.class_weights(
                *input_pipeline.count_labels(t, CLASSES, files_of(folder, t)), ()) for t in tasks
            if t.recipe.class_weights})
    datasets, diagnosed = ({
        t.name: functools.partial(input_pipeline.train_dataset, t, CLASSES, model_config, files_of(folder, t),
                                  first + i, counts_dir=directory) for i, t in enumerate(tasks)} for first in (0, 100))
    os.makedirs(directory, exist_ok=True)
    snapshots.fetch(directory)
    if config.eval_every and evaluate is None:
        files = {t.name: files_of(folder, t) for t in tasks}
        evaluate = evaluation.make_evaluate(model, model_config, {t.name: CLASSES for t in tasks}, files, 4)
    history = loop.train(
        placed, model, mixture, datasets, config, directory, evaluate,
        lambda task: input_pipeline.first_inputs(task, CLASSES, model_config, files_of(folder, task)), snapshots,
        diagnosed=diagnosed)
    return history, [v.numpy() for v in model.trainable_variables]


def co_train(folder: str, output: str, unfinished_dir: str, steps: int = 600) -> dict:
    """Trains `shapes` by CoTrainer's functions. OUTPUT/model_run and OUTPUT/model are its outputs."""
    from components.co_trainer import executor
    mixture = Mixture((testing.changed(TASKS[0], steps=steps),))
    config = dataclasses.replace(CONFIG, checkpoint_every=100)
    files, labels = {'shapes': files_of(folder, TASKS[0])}, {'shapes': ['a', 'b']}
    key = executor.work_key({'mixture': to_json(mixture), 'model_config': to_json(MODEL), 'training': to_json(config),
                             'code_version': ''}, files, {}, labels)
    with executor.checkpoints_kept(unfinished_dir, key, f'{output}/model_run') as (checkpoint_dir, snapshots):
        return executor.co_train(
            mixture=mixture, model_config=MODEL, config=config, train_files=files, eval_files={}, vocabularies=labels,
            checkpoint_dir=checkpoint_dir, model_run_dir=f'{output}/model_run', export_dir=f'{output}/model', card={},
            snapshots=snapshots)


def digest(weights: list[np.ndarray]) -> str:
    """SHA-256 over the bytes of all weights."""
    return hashlib.sha256(b''.join(w.tobytes() for w in weights)).hexdigest()


if __name__ == '__main__':
    if sys.argv[2:]:
        co_train(*sys.argv[1:])
    else:
        print(digest(train(sys.argv[1])[1]))

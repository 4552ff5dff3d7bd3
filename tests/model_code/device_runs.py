"""Trainings that test_devices.py runs in separate processes: python -m tests.model_code.device_runs RUN FOLDER [NAME].

TensorFlow takes logical CPUs and collectives only before its first operation, so each strategy needs a new process. RUN
is the name of a function here. It trains on FOLDER/data and prints its results as a line of JSON, the last line.

Each task has one file, and nothing is drawn at random, so the global batches are the same for every number of hosts and
replicas. (If there are fewer files than hosts, the hosts share them record by record.)
"""

import dataclasses
import json
import os
import signal
import sys
import time

import numpy as np

from model_code import loop
from model_code import strategy as strategies
from model_code.errors import PipelineStop
from model_code.snapshots import NO_SNAPSHOTS, Snapshots
from tests import testing
from tests.model_code import tiny_training  # first: it sets the environment that TensorFlow reads

# How far weights may be from those of one device. float32 rounds (6e-8 of a number), and sums are added up in another
# order, over SAME_STEPS steps with momentum.
TOLERANCE = 2e-6
SAME_MODEL = dataclasses.replace(tiny_training.MODEL, layers=1, dropout=0.0)
SAME_TASKS = tuple(testing.changed(task, steps=steps, augmentations=(), mixup_alpha=0.0, stochastic_depth=0.0,
                                   token_share=1.0)
                   for task, steps in zip(tiny_training.TASKS[:2], (10, 6), strict=True))
SAME_STEPS = 16
SAME_CONFIG = dataclasses.replace(tiny_training.CONFIG, warmup_steps=4, checkpoint_every=6, gradient_diagnosis_every=8)


def train_same(folder: str, checkpoints: str, strategy: str = 'one_device', evaluate=None, eval_every: int = 0,
               snapshots: Snapshots = NO_SNAPSHOTS, **options):
    """tiny_training.train with the tasks, model and settings that are the same on all devices."""
    config = dataclasses.replace(SAME_CONFIG, strategy=strategy, eval_every=eval_every, **options)
    return tiny_training.train(folder, checkpoints, config, SAME_TASKS, model_config=SAME_MODEL, evaluate=evaluate,
                               snapshots=snapshots)


def mirrored(folder: str) -> dict:
    """Trains on two logical CPUs: as on all devices, then with float16 and everything that is random.

    With float16 all replicas decide together whether a step counts.
    """
    config = dataclasses.replace(SAME_CONFIG, strategy='mirrored', replicas=2)
    history, weights = train_same(folder, 'mirrored', 'mirrored', replicas=2)
    np.savez(os.path.join(folder, 'mirrored.npz'), *weights)
    _, restored = train_same(folder, 'mirrored', 'mirrored', replicas=2)
    random, _ = tiny_training.train(folder, 'mirrored_random', dataclasses.replace(config, precision='float16'),
                                    (testing.changed(tiny_training.TASKS[0], steps=4),))
    return {'gradients': history['gradients'],
            'replicas': strategies.make_strategy(config).num_replicas_in_sync,
            'restored': tiny_training.digest(restored) == tiny_training.digest(weights),
            'losses': [[s['loss'] for s in h['steps']] for h in (history, random)]}


def worker(folder: str, name: str) -> dict:
    """One of several workers (TF_CONFIG). Trains in FOLDER/NAME, then with snapshots in FOLDER/shared, without end."""
    history, weights = train_same(folder, name, 'auto', eval_every=5)
    np.savez(os.path.join(folder, f'{name}.npz'), *weights)
    # Every evaluation is as good as the one before, so the second ends the training in both workers.
    stopped, _ = train_same(folder, f'{name}_stopped', 'auto', evaluate=lambda: {'eval/shapes/accuracy': 0.5},
                            eval_every=4, patience=1)
    try:
        train_same(folder, name, 'auto')
        message = ''
    except PipelineStop as error:
        message = str(error)
    print(json.dumps({'gradients': history['gradients'], 'steps': len(history['steps']),
                      'evaluations': len(history['evaluations']), 'stopped': len(stopped['steps']),
                      'at_different_steps': message,
                      'interrupted': _interrupted(folder, name == 'worker_1')}), flush=True)
    # The evaluation after the first checkpoint does not return in the chief, so the training is killed before its end.
    train_same(folder, f'{name}_killed', 'auto', evaluate=lambda: time.sleep(600),
               eval_every=SAME_CONFIG.checkpoint_every + 2, snapshots=Snapshots(os.path.join(folder, 'shared')))


def _interrupted(folder: str, by_signal: bool, step: int = 5) -> str:
    """The message of a training in FOLDER/interrupted, in which the workers with by_signal get SIGTERM at this step."""
    update = loop.StepProgress.update

    def interrupt(self, *arguments):
        update(self, *arguments)
        if by_signal and self._progress.done == step:
            os.kill(os.getpid(), signal.SIGTERM)

    loop.StepProgress.update = interrupt
    try:
        train_same(folder, 'interrupted', 'auto')
    except PipelineStop as error:
        return str(error)
    finally:
        loop.StepProgress.update = update
    return ''


def resumed_worker(folder: str, name: str) -> dict:
    """A worker that resumes the training of FOLDER/shared, in a folder of its own as on another machine."""
    kept = Snapshots(os.path.join(folder, 'shared'))
    history, weights = train_same(folder, f'{name}_resumed', 'auto', snapshots=kept)
    np.savez(os.path.join(folder, f'{name}_resumed.npz'), *weights)
    return {'steps': [s['step'] for s in history['steps']]}


def gpu(folder: str) -> dict:
    """Trains on a GPU, as on the processor: plainly, under mirrored, with XLA, and interrupted.

    Then in each precision, with everything that is random. Returns the losses, and which devices TensorFlow sees.
    """
    import tensorflow as tf
    for name, options in {'plain': {}, 'mirrored': {'strategy': 'mirrored'}, 'jit': {'jit': True}}.items():
        _, weights = train_same(folder, f'gpu_{name}', **options)
        np.savez(os.path.join(folder, f'gpu_{name}.npz'), *weights)
    message = _interrupted(folder, by_signal=True, step=SAME_CONFIG.checkpoint_every)
    _, weights = train_same(folder, 'interrupted')
    np.savez(os.path.join(folder, 'gpu_resumed.npz'), *weights)
    losses = {}
    for precision in ('float32', 'bfloat16', 'float16'):
        config = dataclasses.replace(SAME_CONFIG, strategy='one_device', precision=precision)
        history, _ = tiny_training.train(folder, f'gpu_{precision}', config,
                                         tuple(testing.changed(task, steps=8) for task in tiny_training.TASKS))
        losses[precision] = [step['loss'] for step in history['steps']]
    return {'devices': [device.name for device in tf.config.list_logical_devices('GPU')], 'interrupted': message,
            'losses': losses}


if __name__ == '__main__':
    print(json.dumps(globals()[sys.argv[1]](*sys.argv[2:])), flush=True)

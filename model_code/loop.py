"""The training loop: schedule, learning rate, steps, progress, checkpoints, history."""

import json
import logging
import math
import os
import time

import tensorflow as tf

from model_code import schedules, training
from model_code.checkpoints import Checkpoints
from model_code.errors import PipelineStop
from model_code.polyvit import PolyViT
from model_code.settings import TrainingConfig
from model_code.tasks import Mixture

_logger = logging.getLogger('polyvit')
PROGRESS_EVERY_S = 5.0
HISTORY_LENGTH = 2_000  # steps written to history.json at most: a curve needs no more


class Progress:
    """Says every few seconds how far training is, how fast, how long it still takes, and each task's recent loss.

    A task's first step traces its function, which takes longer than hundreds of later ones: it does not count in the
    rate, or the first estimates would be hours.
    """

    def __init__(self, total_steps: int, clock=time.monotonic):
        self._total, self._clock = total_steps, clock
        self._previous = self._said = clock()
        self._counted_steps, self._counted_seconds = 0, 0.0
        self._losses = {}

    def update(self, done: int, task: str, loss: float):
        now = self._clock()
        if task in self._losses:
            self._counted_steps += 1
            self._counted_seconds += now - self._previous
        self._previous = now
        self._losses[task] = 0.9 * self._losses.get(task, loss) + 0.1 * loss
        if now - self._said < PROGRESS_EVERY_S and done < self._total:
            return
        self._said = now
        losses = ', '.join(f'{name} {value:.3f}' for name, value in sorted(self._losses.items()))
        _logger.info('training: step %d of %d (%d%%), %sloss: %s', done, self._total, 100 * done // self._total,
                     self._speed(self._total - done), losses)

    def _speed(self, steps_left: int) -> str:
        if not self._counted_steps:
            return 'the first steps take longest; '
        rate = self._counted_steps / max(1e-9, self._counted_seconds)
        return f'{rate:.1f} steps/s, {_minutes(steps_left / rate)} left; '


def _minutes(seconds: float) -> str:
    return f'{seconds:.0f} s' if seconds < 90 else f'{seconds / 60:.0f} min'


def train(strategy: tf.distribute.Strategy, model: PolyViT, mixture: Mixture, datasets: dict[str, tf.data.Dataset],
          config: TrainingConfig, checkpoint_dir: str) -> dict:
    """Trains `model` in place through the mixture's schedule, from the newest checkpoint in checkpoint_dir if any.

    datasets: task name -> endless batches. Returns the history: {'steps': [{'step', 'task', 'loss', 'learning_rate',
    'gradient_norm'}, ...], 'seconds', 'total_steps'}; checkpoint_dir/history.json holds it as of the newest checkpoint.

    Raises PipelineStop where a loss is not finite.
    """
    with strategy.scope():
        optimizer = training.make_optimizer(config)
        optimizer.build(list(model.trainable_variables))
        checkpoints = Checkpoints(checkpoint_dir, model, optimizer)
        first = checkpoints.restore()
    history = _read_history(checkpoint_dir) if first else {'steps': [], 'seconds': 0.0}
    sequence = schedules.task_sequence(mixture)
    total = len(sequence)
    if first:
        _logger.info('training: goes on from the checkpoint at step %d of %d', first, total)

    iterators = {name: iter(strategy.experimental_distribute_dataset(d)) for name, d in datasets.items()}
    run_step = _step_runner(strategy, model, optimizer, mixture, config, iterators)
    progress = Progress(total)
    stride = math.ceil(total / HISTORY_LENGTH)
    start = time.monotonic() - history['seconds']
    for step in range(first, total):
        task = mixture.tasks[sequence[step]]
        accumulated = mixture.schedule == 'accumulated'
        rate = schedules.learning_rate(config, total, step) * (1 if accumulated else task.learning_rate_coefficient)
        optimizer.learning_rate = rate
        loss, norm = (float(x) for x in run_step(task))
        name = 'all' if accumulated else task.name
        if not math.isfinite(loss):
            raise PipelineStop(f'Training stopped at step {step}: the loss of task {name} is {loss}. The last good '
                               f'checkpoint is {checkpoints.latest}. A smaller learning rate (now {rate:.3g}) or '
                               'clip_norm is the usual cure.')
        if step % stride == 0:
            history['steps'].append({'step': step, 'task': name, 'loss': loss, 'learning_rate': rate,
                                     'gradient_norm': norm})
        progress.update(step + 1, name, loss)
        if (step + 1) % config.checkpoint_every == 0 or step + 1 == total:
            history['seconds'] = time.monotonic() - start
            checkpoints.save(step + 1)
            _write_history(checkpoint_dir, history)
    return history | {'total_steps': total}


def _step_runner(strategy, model, optimizer, mixture: Mixture, config: TrainingConfig, iterators):
    """A function of the scheduled Task -> (loss, gradient norm) of one step on its next batch."""
    if mixture.schedule == 'accumulated':
        step = training.make_accumulated_step(strategy, model, optimizer, mixture.tasks, config)
        return lambda task: step({name: next(iterator) for name, iterator in iterators.items()})
    steps = {t.name: training.make_train_step(strategy, model, optimizer, t, config) for t in mixture.tasks}
    return lambda task: steps[task.name](next(iterators[task.name]))


def _write_history(directory: str, history: dict):
    path = os.path.join(directory, 'history.json')
    with tf.io.gfile.GFile(path + '.tmp', 'w') as file:
        json.dump(history, file)
    tf.io.gfile.rename(path + '.tmp', path, overwrite=True)


def _read_history(directory: str) -> dict:
    with tf.io.gfile.GFile(os.path.join(directory, 'history.json')) as file:
        return json.load(file)

"""The training loop: schedule, learning rate, steps, progress, checkpoints, history."""

import functools
import json
import math
import os
import signal
import threading
import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from model_code import file_io, schedules, training
from model_code.checkpoints import Checkpoints, stop_if_disk_full
from model_code.errors import PipelineStop
from model_code.logger import logger
from model_code.polyvit import PolyViT
from model_code.progress import Progress
from model_code.settings import TrainingConfig
from model_code.strategy import is_chief, workers
from model_code.summaries import Summaries
from model_code.tasks import Mixture

CHECKPOINT_EVERY_S = 600.0
HISTORY_LENGTH = 2_000  # steps written to history.json at most: a curve needs no more
STEPS_PER_CALL = 64  # at most, and no more than take a second
# Where event files are while training runs, in the folder of the checkpoints.
SUMMARIES_DIR = 'tensorboard'


class StepProgress:
    """The progress of training, with each task's recent loss.

    A task's first step traces its function, which takes longer than hundreds of later ones: it does not count in the
    rate, or the first estimates would be hours.
    """

    def __init__(self, total_steps: int, done: int = 0, clock=time.monotonic):
        self._progress = Progress(total_steps, 'steps', self._say, done=done, clock=clock)
        self._losses = {}
        self.step_seconds = {}

    def update(self, task: str, loss: float, steps: int = 1):
        """After `steps` steps of a task; loss: the last one's."""
        timed = task in self._losses
        self._losses[task] = 0.9 * self._losses.get(task, loss) + 0.1 * loss
        seconds = self._progress.add(steps, timed)
        if timed:
            self.step_seconds[task] = seconds / steps

    def pause(self):
        """What was done since the last update was no step."""
        self._progress.pause()

    def finish(self):
        """After the last step."""
        self._progress.finish()

    def _say(self, text: str):
        losses = ', '.join(f'{name} {value:.3f}' for name, value in sorted(self._losses.items()))
        slow = '' if self._progress.rate else '; the first steps take longest'
        logger.info('training: %s%s; loss: %s', text, slow, losses)


def train(strategy: tf.distribute.Strategy, model: PolyViT, mixture: Mixture, datasets: dict[str, Callable],
          config: TrainingConfig, checkpoint_dir: str, evaluate: Callable | None = None,
          first_inputs: Callable | None = None) -> dict:
    """Trains `model` in place through the mixture's schedule, from the newest checkpoint in checkpoint_dir if any.

    datasets: task name -> a function (batches already taken, tf.distribute.InputContext) -> endless batches of one
    replica, going on behind those. evaluate: a function of nothing -> {name: value}, called every config.eval_every
    steps. first_inputs: a function of a task -> some of its inputs [n, *input shape], to be looked at in TensorBoard.

    Returns the history: {'steps': [{'step', 'task', 'loss', 'learning_rate', 'gradient_norm'}, ...], 'seconds',
    'total_steps'}; checkpoint_dir/history.json holds it as of the newest checkpoint. TensorBoard's event files are in
    checkpoint_dir/tensorboard.

    Raises PipelineStop where a loss or gradient is not finite, the disk is full, or the process is asked to end
    (SIGTERM: what is done so far is saved first).
    """
    with stop_if_disk_full(checkpoint_dir), training.without_graph_optimizer():
        return _Training(strategy, model, mixture, datasets, config, checkpoint_dir, evaluate, first_inputs).run()


class _Training:

    def __init__(self, strategy, model, mixture, datasets, config, checkpoint_dir, evaluate, first_inputs):
        self._mixture, self._config, self._directory = mixture, config, checkpoint_dir
        self._evaluate = evaluate
        self._accumulated = mixture.schedule == 'accumulated'
        self._sequence = schedules.task_sequence(mixture)
        self._total = len(self._sequence)
        self._recorded = schedules.recorded(self._sequence, HISTORY_LENGTH)
        with strategy.scope():
            optimizer = training.make_optimizer(config)
            optimizer.build(list(model.trainable_variables))
            scale = training.LossScale() if config.precision == 'float16' else None
            self._checkpoints = Checkpoints(checkpoint_dir, model, optimizer,
                                            **({'loss_scale': scale} if scale else {}))
            self._first = self._checkpoints.restore()
        self._chief = is_chief(strategy)
        if self._chief:
            self._checkpoints.remove_leftovers()
        self._alone = workers(strategy) == 1
        if not self._alone:
            _check_same_step(strategy, self._first)
        self._history = _read_history(checkpoint_dir, self._first)
        self._summaries = Summaries(os.path.join(checkpoint_dir, SUMMARIES_DIR) if self._chief else '', self._first)
        if first_inputs and self._first == 0 and self._chief:
            for task in mixture.tasks:
                self._summaries.inputs(task, first_inputs(task))
        steps = training.TrainSteps(strategy, model, optimizer, config, scale)
        self._runs = self._make_runs(strategy, steps, datasets)
        self._loss_scaled = scale is not None

    def _make_runs(self, strategy, steps, datasets):
        """Task name -> a function (first step, rates [k]) -> (losses [k], norms [k]) of k steps on its next batches."""
        done = schedules.batches_done(self._mixture, self._sequence, self._first)
        iterators = {name: iter(strategy.distribute_datasets_from_function(functools.partial(datasets[name], batches)))
                     for name, batches in done.items()}
        if self._accumulated:
            return {'all': training.multi_step_function(steps.accumulated(self._mixture.tasks),
                                                        lambda: {name: next(i) for name, i in iterators.items()})}
        return {t.name: training.multi_step_function(steps.single(t), lambda name=t.name: next(iterators[name]))
                for t in self._mixture.tasks}

    def run(self) -> dict:
        if self._first:
            logger.info('training: goes on at step %d of %d, from the checkpoint %s', self._first, self._total,
                        self._checkpoints.latest)
        logger.info('training: tensorboard --logdir %s', os.path.join(self._directory, SUMMARIES_DIR))
        self._progress = StepProgress(self._total, self._first)
        self._start = self._saved = time.monotonic()
        self._seconds_before = self._history['seconds']
        step = self._first
        with _Termination() as termination:
            asked = False
            while step < self._total and not asked:
                step = self._call(step)
                asked = termination.asked  # looked at once: of a signal that comes while saving, the next call's end
                self._between_calls(step, asked)
            if termination.asked:
                raise PipelineStop(f'Training was asked to end (SIGTERM) after {step} of {self._total} steps. They are '
                                   'saved: run the same command again, and it goes on from there.')
        self._summaries.close()
        return self._history | {'total_steps': self._total}

    def _call(self, step: int) -> int:
        """Runs one call's steps from `step` on; returns the step that comes next."""
        task = self._mixture.tasks[self._sequence[step]]
        name = 'all' if self._accumulated else task.name
        count = schedules.run_length(self._sequence, step, self._longest(name), self._config.checkpoint_every,
                                     self._config.eval_every)
        coefficient = 1 if self._accumulated else task.recipe.learning_rate_coefficient
        rates = np.array([coefficient * schedules.learning_rate(self._config, self._total, s)
                          for s in range(step, step + count)], np.float32)
        losses, norms = (x.numpy() for x in self._runs[name](tf.constant(step), tf.constant(rates)))
        for i in range(count):
            self._check_finite(step + i, name, losses[i], norms[i], rates[i])
            self._record(step + i, name, float(losses[i]), float(rates[i]), float(norms[i]))
        self._progress.update(name, float(losses[-1]), count)
        if step + count == self._total:
            self._progress.finish()
        return step + count

    def _longest(self, name: str) -> int:
        """Steps in one call: about a second of them, so that progress, saving and stopping do not wait. One where
        several processes train, which must make the same calls."""
        seconds = self._progress.step_seconds.get(name)
        if seconds is None or not self._alone:
            return 1
        return max(1, min(STEPS_PER_CALL, int(1.0 / max(seconds, 1e-6))))

    def _check_finite(self, step, name, loss, norm, rate):
        what = 'loss' if not math.isfinite(loss) else 'gradient norm'
        if math.isfinite(loss) and (math.isfinite(norm) or self._loss_scaled):
            return
        self._summaries.close()
        raise PipelineStop(
            f'Training stopped at step {step}: the {what} of task {name} is {loss if what == "loss" else norm}. '
            f'The last good checkpoint is {self._checkpoints.latest}. A smaller learning rate (now {rate:.3g}) or '
            'clip_norm is the usual cure.')

    def _record(self, step, name, loss, rate, norm):
        if not self._recorded[step]:
            return
        self._history['steps'].append({'step': step, 'task': name, 'loss': loss, 'learning_rate': rate,
                                       'gradient_norm': norm})
        values = {f'loss/{name}': loss, f'learning_rate/{name}': rate, f'gradient_norm/{name}': norm}
        seconds = self._progress.step_seconds.get(name)
        if seconds:
            size = sum(t.recipe.batch_size for t in self._mixture.tasks if name in ('all', t.name))
            values[f'examples_per_second/{name}'] = size / seconds
        self._summaries.scalars(step, values)

    def _between_calls(self, done: int, asked_to_end: bool):
        if self._evaluate and self._chief and self._config.eval_every and done % self._config.eval_every == 0:
            self._summaries.scalars(done - 1, self._evaluate())
        due = (done % self._config.checkpoint_every == 0 or done == self._total or asked_to_end
               or time.monotonic() - self._saved > CHECKPOINT_EVERY_S)
        if due and self._chief:
            self._save(done)
        self._progress.pause()

    def _save(self, done: int):
        self._history['seconds'] = self._seconds_before + time.monotonic() - self._start
        # The history first: of one that is ahead of its checkpoint, the steps that come again are dropped.
        self._summaries.flush()
        write_history(self._directory, self._history)
        self._checkpoints.save(done)
        self._saved = time.monotonic()


class _Termination:
    """A context in which SIGTERM is noted, for the loop to end between two calls, instead of ending the process.

    Only Python's main thread can ask for that; elsewhere SIGTERM ends the process, and the newest checkpoint counts.
    """

    def __init__(self):
        self.asked = False

    def _note(self, *_):
        self.asked = True

    def __enter__(self):
        self._previous = None
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(self, *_):
        if self._previous is not None:
            signal.signal(signal.SIGTERM, self._previous)


def _check_same_step(strategy, first: int):
    """All workers must have read the same checkpoint: they would wait for each other for ever."""
    @tf.function
    def summed(step):
        return strategy.reduce('SUM', strategy.run(lambda s: s, args=(step,)), axis=None)

    total = int(summed(tf.constant(float(first), tf.float32)))
    if total != first * strategy.num_replicas_in_sync:
        raise PipelineStop(f'This worker found a checkpoint at step {first}, others at another step. The checkpoint '
                           'directory must be on a file system that all workers share.')


def write_history(directory: str, history: dict):
    """Writes history.json."""
    file_io.write(os.path.join(directory, 'history.json'), json.dumps(history))


def _read_history(directory: str, first: int) -> dict:
    """The history of the steps before `first`; an empty one where the file cannot be read."""
    path, nothing = os.path.join(directory, 'history.json'), {'steps': [], 'seconds': 0.0}
    try:
        history = file_io.read_json(path) if first else nothing
        if history is None:  # no file
            return nothing
        return history | {'steps': [s for s in history['steps'] if s['step'] < first]}
    except (ValueError, KeyError, TypeError) as error:  # no JSON, no UTF-8, or not what was written
        logger.warning('training: %s cannot be read (%s); the history starts at step %d.', path, error, first)
        return nothing

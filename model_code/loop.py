"""The training loop: schedule, learning rate, steps, progress, checkpoints, history."""

import functools
import json
import math
import os
import time
from collections.abc import Callable, Collection

import numpy as np
import tensorflow as tf

from model_code import file_io, gradient_diagnosis, interruption, schedules, training, words
from model_code.checkpoints import Checkpoints, stop_if_disk_full
from model_code.errors import PipelineStop
from model_code.logger import logger
from model_code.polyvit import PolyViT
from model_code.progress import Progress
from model_code.selection import Evaluations
from model_code.settings import TrainingConfig
from model_code.snapshots import NO_SNAPSHOTS, Snapshots
from model_code.strategy import is_chief, workers
from model_code.summaries import Summaries
from model_code.tasks import Mixture

CHECKPOINT_EVERY_S = 600.0
HISTORY_LENGTH = 2_000  # the most steps in history.json: a curve needs no more
STEPS_PER_CALL = 64  # the most steps in one call, if they take no more than about a second
# The folder with the event files, in the folder of the checkpoints.
SUMMARIES_DIR = 'tensorboard'


class StepProgress:
    """Reports the progress of training, with each task's recent loss.

    The first step of a task does not count for the rate. It traces the task's function, which takes longer than
    hundreds of later steps, so the first estimates would be far too long.
    """

    def __init__(self, total_steps: int, done: int = 0, clock=time.monotonic):
        self._progress = Progress(total_steps, 'step', self._report, done=done, clock=clock)
        self._losses = {}  # task -> running mean of its loss
        self.step_seconds = {}  # task -> seconds of one step, by its last call

    def update(self, task: str, loss: float, steps: int = 1) -> float | None:
        """To be called after `steps` steps of a task. loss: of the last of them.

        Returns how many seconds they took; None if they do not count.
        """
        timed = task in self._losses
        self._losses[task] = 0.9 * self._losses.get(task, loss) + 0.1 * loss
        seconds = self._progress.add(steps, timed)
        if timed:
            self.step_seconds[task] = seconds / steps
        return seconds if timed else None

    def pause(self):
        """To be called after work that is not a step; its time does not count."""
        self._progress.pause()

    def finish(self):
        """To be called after the last step, which may come before the planned one."""
        self._progress.total = self._progress.done
        self._progress.finish()

    @property
    def seconds_left(self) -> float | None:
        """An estimate, without evaluations; None before there is one."""
        return self._progress.seconds_left

    def _report(self, text: str):
        losses = ', '.join(f'{name} {value:.3f}' for name, value in sorted(self._losses.items()))
        remark = '' if self._progress.rate else '; the first steps take longest'
        logger.info('training: %s%s; loss: %s', text, remark, losses, extra=self._progress.extra)


def train(strategy: tf.distribute.Strategy, model: PolyViT, mixture: Mixture, datasets: dict[str, Callable],
          config: TrainingConfig, checkpoint_dir: str, evaluate: Callable | None = None,
          first_inputs: Callable | None = None, snapshots: Snapshots = NO_SNAPSHOTS,
          sizes: dict[str, int] | None = None, encoded: Collection[str] = (),
          diagnosed: dict[str, Callable] | None = None) -> dict:
    """Trains `model` in place by the mixture's schedule, from the newest checkpoint in checkpoint_dir if there is one.

    datasets: task name -> a function (number of batches to skip, tf.distribute.InputContext) -> endless batches of one
    replica. evaluate: a function () -> {name: value} (`evaluation.make_evaluate`), called as config.eval_every says. It
    may return None if the process is interrupted.
    first_inputs: a function of a task -> some of its inputs [n, *input shape], to be shown in TensorBoard.
    encoded: see training.TrainSteps.
    snapshots: where the chief copies checkpoint_dir after each checkpoint. All copies have ended when this returns.
    sizes: task name -> its train examples, for the schedules that go by them.
    diagnosed: as datasets, for config.gradient_diagnosis_every: other streams of the same examples.

    The model has the weights of the last step, or, in the chief, the best ones if config.keep_best says so.

    Returns the history: {'steps': [{'step', 'task', 'loss', 'learning_rate', 'gradient_norm'}, ...], 'evaluations':
    [selection.Evaluations' records], 'gradients': [gradient_diagnosis.record], 'speeds': [{'step', 'task', 'examples',
    'seconds'} of some calls of steps, each up to this step], 'seconds', 'total_steps', 'exported': {'steps':
    after which the model has these weights, 'trained_steps': how many were trained, 'mean': of the primary metrics,
    None unless keep_best}}.
    checkpoint_dir/history.json has the first five as of the newest checkpoint. TensorBoard's event files are in
    checkpoint_dir/tensorboard.

    Raises PipelineStop if a loss or gradient is not finite, if the disk is full, or if the process gets SIGTERM or
    SIGINT (Ctrl-C); then the steps done so far are saved first.
    """
    with stop_if_disk_full(checkpoint_dir), training.without_graph_optimizer(), snapshots.completed():
        return _Training(strategy, model, mixture, datasets, config, checkpoint_dir, evaluate, first_inputs,
                         snapshots, sizes, encoded, diagnosed).run()


class _Training:
    """One call of `train`, which describes the arguments."""

    def __init__(self, strategy, model, mixture, datasets, config, checkpoint_dir, evaluate, first_inputs, snapshots,
                 sizes, encoded, diagnosed):
        self._mixture, self._config, self._directory = mixture, config, checkpoint_dir
        self._evaluate, self._snapshots = evaluate, snapshots
        self._accumulated = mixture.schedule == 'accumulated'
        self._sequence = schedules.task_sequence(mixture, sizes)
        self._total = len(self._sequence)
        self._recorded = schedules.recorded(self._sequence, HISTORY_LENGTH)
        with strategy.scope():
            optimizer = training.make_optimizer(config)
            optimizer.build(model.trained_variables())
            scale = training.LossScale() if config.precision == 'float16' else None
            self._checkpoints = Checkpoints(checkpoint_dir, model, optimizer,
                                            **({'loss_scale': scale} if scale else {}))
            self._first = self._checkpoints.restore()
        self._chief = is_chief(strategy)
        if self._chief:
            self._checkpoints.remove_leftovers()
        self._one_worker = workers(strategy) == 1
        self._sum = _sum_over_replicas(strategy)
        if not self._one_worker:
            _check_same_step(self._sum, self._first, strategy.num_replicas_in_sync)
        self._history = _read_history(checkpoint_dir, self._first)
        primary = [f'eval/{t.name}/{t.primary_metric}' for t in mixture.tasks]
        self._evaluations = Evaluations(config, primary, self._total, self._first, self._history['evaluations'])
        self._ends_early = self._agreed_stop()
        self._summaries = Summaries(os.path.join(checkpoint_dir, SUMMARIES_DIR) if self._chief else '', self._first)
        if first_inputs and self._first == 0 and self._chief:
            for task in mixture.tasks:
                self._summaries.inputs(task, first_inputs(task))
        steps = training.TrainSteps(strategy, model, optimizer, config, scale, encoded)
        self._runs = self._make_runs(strategy, steps, datasets)
        self._loss_scaled = scale is not None
        every, self._diagnose = config.gradient_diagnosis_every, None
        if every and diagnosed:
            self._diagnose = gradient_diagnosis.GradientDiagnosis(
                strategy, model, steps, mixture.tasks, diagnosed, self._first // every, self._chief)
            self._kept_every = every * gradient_diagnosis.kept_every(
                self._total // every, len(mixture.tasks), len(model.encoder.blocks))

    def _make_runs(self, strategy, steps, datasets):
        """Task name -> a function (first step, rates [k]) -> (losses [k], norms [k]), which does k steps."""
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
            logger.info('training: resumes at step %s of %s, from the checkpoint %s', f'{self._first:,}',
                        f'{self._total:,}', self._checkpoints.latest)
        self._progress = StepProgress(self._total, self._first)
        self._start = self._saved = time.monotonic()
        self._saved_step = self._first
        self._seconds_before = self._history['seconds']
        step = self._first
        with interruption.postponed(self._kept):
            stopping = False
            self._evaluate_if_due(step)  # an interruption may have cut this evaluation short
            while step < self._total and not stopping and not self._ends_early:
                step = self._call(step)
                self._diagnose_if_due(step)
                best = self._evaluate_if_due(step)
                # Asked once per call. A signal that comes after this, while saving, counts at the end of the next call.
                stopping = self._interrupted()
                self._between_calls(step, best, stopping)
            if self._ends_early:
                self._progress.finish()
            self._snapshots.wait()
            if stopping or interruption.requested():
                raise PipelineStop(f'Training was stopped by {_reason()} after {step} of {self._total} steps. '
                                   f'{self._what_is_saved(step)} Run the same command again to resume from there.')
        self._summaries.close()
        return self._history | {'total_steps': self._total, 'exported': self._choose_weights(step)}

    def _call(self, step: int) -> int:
        """Runs the steps of one call, from `step` on. Returns the next step."""
        task = self._mixture.tasks[self._sequence[step]]
        name = 'all' if self._accumulated else task.name
        count = schedules.run_length(self._sequence, step, self._longest(name), self._config.checkpoint_every,
                                     max(0, self._config.eval_every), self._config.gradient_diagnosis_every)
        coefficient = 1 if self._accumulated else task.recipe.learning_rate_coefficient
        rates = np.array([coefficient * schedules.learning_rate(self._config, self._total, s)
                          for s in range(step, step + count)], np.float32)
        losses, norms = (x.numpy() for x in self._runs[name](tf.constant(step), tf.constant(rates)))
        for i in range(count):
            self._check_finite(step + i, name, losses[i], norms[i], rates[i])
            self._record(step + i, name, float(losses[i]), float(rates[i]), float(norms[i]))
        seconds = self._progress.update(name, float(losses[-1]), count)
        if seconds is not None and self._recorded[step:step + count].any():
            self._history['speeds'].append({'step': step + count - 1, 'task': name, 'seconds': round(seconds, 4),
                                            'examples': count * self._batch_size(name)})
        if step + count == self._total:
            self._progress.finish()
        return step + count

    def _longest(self, name: str) -> int:
        """The most steps in one call: about one second of them, so that reports, saving and stopping do not wait.

        It is 1 if several processes train, because they must make the same calls.
        """
        seconds = self._progress.step_seconds.get(name)
        if seconds is None or not self._one_worker:
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
            'clip_norm usually helps.')

    def _record(self, step, name, loss, rate, norm):
        if not self._recorded[step]:
            return
        self._history['steps'].append({'step': step, 'task': name, 'loss': loss, 'learning_rate': rate,
                                       'gradient_norm': norm})
        values = {f'loss/{name}': loss, f'learning_rate/{name}': rate, f'gradient_norm/{name}': norm}
        seconds = self._progress.step_seconds.get(name)
        if seconds:
            values[f'examples_per_second/{name}'] = self._batch_size(name) / seconds
        self._summaries.scalars(step, values)

    def _batch_size(self, name: str) -> int:
        """Of a task, or of all together."""
        return sum(t.recipe.batch_size for t in self._mixture.tasks if name in ('all', t.name))

    def _between_calls(self, done: int, best: bool, stopping: bool):
        # The best weights are saved at once: a later checkpoint would not have them.
        due = (done % self._config.checkpoint_every == 0 or done == self._total or stopping or self._ends_early
               or best and self._config.keep_best or time.monotonic() - self._saved > CHECKPOINT_EVERY_S)
        if due and self._chief:
            self._save(done)
        self._progress.pause()

    def _diagnose_if_due(self, done: int):
        """Measures how the gradients of the tasks agree after `done` steps, if it is time."""
        if self._diagnose is None or done % self._config.gradient_diagnosis_every:
            return
        measured = self._diagnose(done)
        if measured is not None:
            self._summaries.scalars(done - 1, gradient_diagnosis.scalars(measured))
            if done % self._kept_every == 0:
                self._history['gradients'].append(measured)

    def _evaluate_if_due(self, done: int) -> bool:
        """Evaluates after `done` steps if it is time. Returns whether this is the best evaluation so far."""
        best = False
        if self._evaluate and self._evaluations.due(done, self._progress.seconds_left):
            start = time.monotonic()
            values = self._evaluate() if self._chief else None
            if values is not None:
                best = self._evaluations.add(done, values, time.monotonic() - start)
                self._summaries.scalars(done - 1, values)
            self._ends_early = self._agreed_stop()
        return best

    def _agreed_stop(self) -> bool:
        """Whether training ends early. Only the chief evaluates, so it tells the other workers, which wait for it."""
        stop = self._chief and self._evaluations.stop
        return stop if self._one_worker or not self._config.patience else self._sum(float(stop)) > 0

    def _choose_weights(self, done: int) -> dict:
        """Restores the best weights after `done` steps, if they are asked for. Returns what the model has now."""
        if self._ends_early and self._chief and done < self._total:
            best = self._evaluations.best_first[0]
            logger.info('training: ends early, after %d of %d steps: in %s the mean of the primary metrics was not '
                        'better than the %.4g after %d steps.', done, self._total,
                        words.count(self._config.patience, 'evaluation'), best['mean'], best['step'] + 1)
        last = {'steps': done, 'trained_steps': done, 'mean': None}
        if not self._config.keep_best or not self._chief:
            return last
        for record in self._evaluations.best_first:
            steps = record['step'] + 1
            if steps == done or self._checkpoints.restore_steps(steps):
                logger.info('training: the best weights are those after %d of %d steps; the mean of the primary '
                            'metrics is %.4g.', steps, self._total, record['mean'])
                return last | {'steps': steps, 'mean': record['mean']}
        logger.warning('training: there are no best weights, because no evaluation gave a number; the last are taken.')
        return last

    def _save(self, done: int):
        self._history['seconds'] = self._seconds_before + time.monotonic() - self._start
        # The history is written first. If it is ahead of the checkpoint, a resumed run drops the steps that it repeats.
        self._summaries.flush()
        write_history(self._directory, self._history)
        best = self._evaluations.best if self._config.keep_best else None
        self._snapshots.wait()  # saving removes old files
        self._checkpoints.save(done, best['step'] + 1 if best else None)
        self._snapshots.keep(self._directory, done)
        self._saved, self._saved_step = time.monotonic(), done

    def _interrupted(self) -> bool:
        """Whether training ends after this call, because of a signal to this worker or to any other.

        Workers end after the same step or not at all: one that trained on would wait for the others forever.
        """
        asked = interruption.requested() is not None
        return asked if self._one_worker else self._sum(float(asked)) > 0

    def _what_is_saved(self, done: int) -> str:
        if self._chief and self._snapshots.steps < done:  # the log says why
            return f'Only {self._snapshots.steps} of them are saved, in {self._snapshots.folder}.'
        return 'They are saved.'

    def _kept(self) -> str:
        """What an interruption leaves of the training."""
        step = self._snapshots.steps if self._snapshots.folder else self._saved_step
        if not step:
            return 'training has saved no step yet'
        when = 'before this run'
        if step != self._first:
            when = f'{words.duration(time.monotonic() - self._saved)} ago'
        return f'training is saved at step {step:,} of {self._total:,}, {when}'


def _sum_over_replicas(strategy) -> Callable[[float], float]:
    """A function that sums a number over the replicas of all workers. All workers must call it, and wait for it."""
    @tf.function
    def summed(number):
        return strategy.reduce('SUM', strategy.run(lambda n: n, args=(number,)), axis=None)

    return lambda number: float(summed(tf.constant(number, tf.float32)))


def _check_same_step(summed: Callable[[float], float], first: int, replicas: int):
    """Raises PipelineStop if the workers start at different steps: they would wait for each other forever."""
    if int(summed(float(first))) != first * replicas:
        raise PipelineStop(f'This worker found a checkpoint at step {first}, others at another step. The checkpoint '
                           'directory must be on a file system that all workers share.')


def _reason() -> str:
    signal = interruption.requested()
    return signal.name if signal else 'a signal to another worker'


def write_history(directory: str, history: dict):
    """Writes history.json."""
    file_io.write(os.path.join(directory, 'history.json'), json.dumps(history))


def _read_history(directory: str, first: int) -> dict:
    """The history of the steps before `first`; an empty one if there is no file, or none that can be read."""
    path, empty = os.path.join(directory, 'history.json'), {
        'steps': [], 'evaluations': [], 'gradients': [], 'speeds': [], 'seconds': 0.0}
    try:
        history = file_io.read_json(path) if first else empty
        if history is None:  # no file
            return empty
        return history | {name: [s for s in history[name] if s['step'] < first]
                          for name in ('steps', 'evaluations', 'gradients', 'speeds')}
    except (ValueError, KeyError, TypeError) as error:  # not JSON, not UTF-8, or not a history
        logger.warning('training: %s cannot be read (%s); the history starts at step %d.', path, error, first)
        return empty

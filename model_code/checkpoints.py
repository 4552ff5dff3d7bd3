"""Checkpoints of model, optimiser and step. A save cut short, or files damaged since, are never loaded."""

import errno
import logging
import os
import re

import tensorflow as tf

from model_code.errors import PipelineStop

_logger = logging.getLogger('polyvit')


class Checkpoints:
    """Saves to and restores from `directory`; keeps the newest two.

    others: name -> what else of the training's state is saved (a tf.Module).
    """

    def __init__(self, directory: str, model: tf.Module, optimizer, **others: tf.Module):
        self.step = tf.Variable(0, trainable=False, dtype=tf.int64, name='step')
        self._variables = model.variables
        checkpoint = tf.train.Checkpoint(model=model, optimizer=optimizer, step=self.step, **others)
        self.latest = 'none'  # the newest that is known to be whole
        self._manager = tf.train.CheckpointManager(checkpoint, directory, max_to_keep=2)

    def restore(self) -> int:
        """Restores the newest whole checkpoint where there is one; returns the number of steps already done.

        One that is not whole is named in the log, and the one before it is taken.
        """
        for path in _newest_first(self._manager.directory):
            problem = _problem(path)
            if problem:
                _logger.warning('training: the checkpoint %s cannot be read (%s); the one before it is taken.', path,
                                problem)
                continue
            self._manager.checkpoint.restore(path).expect_partial()
            self.latest = path
            return int(self.step)
        return 0

    def save(self, steps_done: int):
        """Raises PipelineStop where a weight is not finite, or the disk is full."""
        for variable in self._variables:
            if not bool(tf.reduce_all(tf.math.is_finite(tf.convert_to_tensor(variable)))):
                raise PipelineStop(f'Training stopped after step {steps_done - 1}: the weights in {variable.name} are not '
                                   f'finite, and were not saved. The last good checkpoint is {self.latest}. A smaller '
                                   'learning rate or clip_norm is the usual cure.')
        self.step.assign(steps_done)
        with disk_full_is_a_sentence(self._manager.directory):
            self.latest = self._manager.save(checkpoint_number=steps_done)


class disk_full_is_a_sentence:
    """A context: no space left while writing to `directory` is a PipelineStop that says where and what to do."""

    def __init__(self, directory: str):
        self._directory = directory

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        # TensorFlow's file systems say it in the message, Python's in the number.
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT) or isinstance(
            error, tf.errors.OpError) and re.search('No space left|Disk quota exceeded', error.message)
        if full:
            raise PipelineStop(f'Training stopped: there is no space left to write to {self._directory}. Make some, and '
                               'run the same command again: it goes on from the newest checkpoint there.') from error


def _newest_first(directory: str) -> list[str]:
    """The checkpoints that have an index, which TensorFlow writes last; also ones that its `checkpoint` file, written
    after it, does not name."""
    found = {}
    for path in tf.io.gfile.glob(os.path.join(directory, 'ckpt-*.index')):
        number = re.fullmatch(r'.*ckpt-(\d+)\.index', path)
        if number:
            found[int(number[1])] = path.removesuffix('.index')
    return [found[number] for number in sorted(found, reverse=True)]


def _problem(path: str) -> str:
    """Why a checkpoint cannot be read, '' where every tensor can. Reads it all: the format's checksums tell the damage.

    Before anything is restored: a restore that fails half-way has changed some variables already.
    """
    try:
        reader = tf.train.load_checkpoint(path)
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
    except (tf.errors.OpError, ValueError, RuntimeError) as error:
        return str(error).splitlines()[0] or type(error).__name__
    return ''

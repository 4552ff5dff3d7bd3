"""Checkpoints of model, optimiser and step. A save cut short, or files damaged since, are never loaded."""

import contextlib
import errno
import os
import re

import tensorflow as tf

from model_code import file_io
from model_code.errors import PipelineStop
from model_code.logger import logger


class Checkpoints:
    """Saves to and restores from `directory`; keeps the newest two.

    others: name -> what else of the training's state is saved (a tf.Module).
    """

    def __init__(self, directory: str, model: tf.Module, optimizer, **others: tf.Module):
        self.step = tf.Variable(0, trainable=False, dtype=tf.int64, name='step')
        self._variables = model.variables
        checkpoint = tf.train.Checkpoint(model=model, optimizer=optimizer, step=self.step, **others)
        # Made by all workers now: each variable made is broadcast, and where one found a checkpoint and another none,
        # the restore, which makes it else, would be out of step.
        _ = checkpoint.save_counter
        self.latest = 'none'  # the newest that is known to be whole
        self._manager = tf.train.CheckpointManager(checkpoint, directory, max_to_keep=2)

    def restore(self) -> int:
        """Restores the newest whole checkpoint where there is one; returns the number of steps already done, else 0.

        Those that are not whole are named in the log. Where none is, nothing is restored: training starts anew. Raises
        PipelineStop where the newest whole one is of another model or optimiser.
        """
        paths = _newest_first(self._manager.directory)
        for path in paths:
            problem = _problem(path)
            if not problem:
                self._load(path)
                self.latest = path
                return int(self.step.numpy())  # one of several replicas' is no number
            logger.warning('training: the checkpoint %s is not whole (%s).', path, problem)
        if paths:
            logger.warning('training: no checkpoint in %s is whole; training starts anew.', self._manager.directory)
        return 0

    def _load(self, path: str):
        try:
            status = self._manager.checkpoint.restore(path)
            status.assert_existing_objects_matched()  # a variable that the checkpoint lacks would keep what it has
        except (AssertionError, ValueError) as error:
            raise PipelineStop(
                f'The checkpoint {path} is not of this model and optimiser ({_first_line(error)}). Train in another '
                'directory, or with the recipe that it is of.') from error

    def remove_leftovers(self):
        """Removes what saves that were cut short left behind, up to a checkpoint's size each. One process calls it."""
        for path in tf.io.gfile.glob(os.path.join(self._manager.directory, 'ckpt-*_temp')):
            tf.io.gfile.rmtree(path)
        for path in tf.io.gfile.glob(os.path.join(self._manager.directory, 'checkpoint.tmp*')):
            tf.io.gfile.remove(path)
        file_io.remove_leftovers(self._manager.directory)

    def save(self, steps_done: int):
        """Raises PipelineStop where a weight is not finite; of a full disk, TensorFlow's error."""
        for variable in self._variables:
            if not bool(tf.reduce_all(tf.math.is_finite(tf.convert_to_tensor(variable)))):
                raise PipelineStop(
                    f'Training stopped after step {steps_done - 1}: the weights in {variable.name} are not finite, and '
                    f'were not saved. The last good checkpoint is {self.latest}. A smaller learning rate or clip_norm '
                    'is the usual cure.')
        self.step.assign(steps_done)
        self.latest = self._manager.save(checkpoint_number=steps_done)


@contextlib.contextmanager
def stop_if_disk_full(directory: str):
    """A context for what is written to `directory`: no space left is a PipelineStop that says where and what to do."""
    try:
        yield
    except (OSError, tf.errors.OpError) as error:
        # TensorFlow's file systems say it in the message, Python's in the number.
        full = (re.search('No space left|Disk quota exceeded', error.message) if isinstance(error, tf.errors.OpError)
                else error.errno in (errno.ENOSPC, errno.EDQUOT))
        if not full:
            raise
        raise PipelineStop(
            f'Training stopped: there is no space left to write to {directory}. Free some, and run the same command '
            'again: training goes on from its newest checkpoint.') from error


def _newest_first(directory: str) -> list[str]:
    """All checkpoints of which any file is there; also ones that TensorFlow's `checkpoint` file, which is written after
    them, does not name."""
    found = {}
    for path in tf.io.gfile.glob(os.path.join(directory, 'ckpt-*')):
        match = re.fullmatch(r'(.*ckpt-(\d+))\.(index|data-\d+-of-\d+)', path)
        if match:
            found[int(match[2])] = match[1]
    return [found[number] for number in sorted(found, reverse=True)]


def _problem(path: str) -> str:
    """Why a checkpoint cannot be read, '' where every tensor can. Reads it all: the format's checksums tell the damage.

    Before anything is restored: a restore that fails half-way has changed some variables already.
    """
    try:
        reader = tf.train.load_checkpoint(path)
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
    except Exception as error:  # the reader turns TensorFlow's codes into Python's: of a cut file, it is an IndexError
        return _first_line(error)
    return ''


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [''])[0] or type(error).__name__

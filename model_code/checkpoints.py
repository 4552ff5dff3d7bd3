"""Checkpoints of model, optimiser and step. One that was cut short or damaged is never loaded."""

import contextlib
import errno
import os
import re

import tensorflow as tf

from model_code import file_io
from model_code.errors import PipelineStop
from model_code.logger import logger


class Checkpoints:
    """Saves to `directory` and restores from it. Keeps the newest two checkpoints, and one that is asked for.

    others: name -> a tf.Module that also belongs to the training's state.
    """

    def __init__(self, directory: str, model: tf.Module, optimizer, **others: tf.Module):
        self.step = tf.Variable(0, trainable=False, dtype=tf.int64, name='step')
        self._directory, self._variables = directory, model.variables
        self._checkpoint = tf.train.Checkpoint(model=model, optimizer=optimizer, step=self.step, **others)
        # All workers make this variable now, because making one is broadcast. Otherwise restoring would make it, and a
        # worker that has a checkpoint would be out of step with one that has none.
        _ = self._checkpoint.save_counter
        self.latest = 'none'  # the path of the newest checkpoint that is known to be whole

    def restore(self) -> int:
        """Restores the newest whole checkpoint. Returns the number of steps that it has behind it.

        Checkpoints that are not whole are named in the log. If none is whole, nothing is restored and the result is 0.
        Raises PipelineStop if the newest whole one belongs to another model or optimiser.
        """
        paths = _newest_first(self._directory)
        for path in paths:
            if self._load(path):
                self.latest = path
                return int(self.step.numpy())  # int() alone cannot read a variable of several replicas
        if paths:
            logger.warning('training: no checkpoint in %s is whole; training starts from step 0.', self._directory)
        return 0

    def restore_steps(self, steps_done: int) -> bool:
        """Restores the checkpoint of that many steps. Returns False, and restores nothing, if it is not whole."""
        return self._load(self._path(steps_done))

    def _path(self, steps_done: int) -> str:
        return os.path.join(self._directory, f'ckpt-{steps_done}')

    def _load(self, path: str) -> bool:
        """Restores a checkpoint if it is whole. If not, the log says what is wrong with it."""
        problem = _problem(path)
        if problem:
            logger.warning('training: the checkpoint %s is not whole (%s).', path, problem)
            return False
        try:
            status = self._checkpoint.restore(path)
            status.assert_existing_objects_matched()  # else a variable that the checkpoint lacks keeps its value
        except (AssertionError, ValueError) as error:
            raise PipelineStop(
                f'The checkpoint {path} belongs to another model or optimiser ({_first_line(error)}). Train in another '
                'directory, or with the settings that wrote it.') from error
        return True

    def remove_leftovers(self):
        """Removes what interrupted saves left behind, which may be large. Only one process may call it."""
        for path in tf.io.gfile.glob(os.path.join(self._directory, 'ckpt-*_temp')):
            tf.io.gfile.rmtree(path)
        for path in tf.io.gfile.glob(os.path.join(self._directory, 'checkpoint.tmp*')):
            tf.io.gfile.remove(path)
        file_io.remove_leftovers(self._directory)

    def save(self, steps_done: int, keep: int | None = None):
        """Saves a checkpoint, then removes all but the newest two and that of `keep` steps.

        One of more steps is removed too: it was not whole when training resumed.
        Raises PipelineStop if a weight is not finite, TensorFlow's error if the disk is full.
        """
        for variable in self._variables:
            if not bool(tf.reduce_all(tf.math.is_finite(tf.convert_to_tensor(variable)))):
                raise PipelineStop(
                    f'Training stopped after step {steps_done - 1}: the weights in {variable.name} are not finite, and '
                    f'were not saved. The last good checkpoint is {self.latest}. A smaller learning rate or clip_norm '
                    'usually helps.')
        self.step.assign(steps_done)
        self._checkpoint.save_counter.assign(steps_done - 1)  # TensorFlow adds 1, and names the files by it
        self.latest = self._checkpoint.save(os.path.join(self._directory, 'ckpt'))
        paths = _newest_first(self._directory)
        newest = paths[paths.index(self.latest):][:2]
        for path in paths:
            if path not in (*newest, self._path(keep or 0)):
                # The index first, so that a checkpoint of which only a part is removed is not taken for whole.
                for file in tf.io.gfile.glob(f'{path}.index') + tf.io.gfile.glob(f'{path}.data-*'):
                    tf.io.gfile.remove(file)


@contextlib.contextmanager
def stop_if_disk_full(directory: str):
    """A context for writing to `directory`. Raises PipelineStop, which says what to do, if the disk is full."""
    try:
        yield
    except (OSError, tf.errors.OpError) as error:
        # TensorFlow's file systems say so in the message, Python's in the error number.
        full = (re.search('No space left|Disk quota exceeded', error.message) if isinstance(error, tf.errors.OpError)
                else error.errno in (errno.ENOSPC, errno.EDQUOT))
        if not full:
            raise
        raise PipelineStop(
            f'Training stopped: there is no space left to write to {directory}. Free some space and run the same '
            'command again: training resumes from its newest checkpoint.') from error


def _newest_first(directory: str) -> list[str]:
    """The path of every checkpoint that has at least one file, newest first.

    TensorFlow's own list, the file `checkpoint`, is not used: it is written later and may lack the newest.
    """
    by_step = {}
    for path in tf.io.gfile.glob(os.path.join(directory, 'ckpt-*')):
        match = re.fullmatch(r'(.*ckpt-(\d+))\.(index|data-\d+-of-\d+)', path)
        if match:
            by_step[int(match[2])] = match[1]
    return [by_step[step] for step in sorted(by_step, reverse=True)]


def _problem(path: str) -> str:
    """Why a checkpoint cannot be read, or '' if it can. Reads every tensor: the format's checksums reveal damage.

    To be called before restoring: a restore that fails half-way has already changed some variables.
    """
    try:
        reader = tf.train.load_checkpoint(path)
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
    except Exception as error:  # any: the reader turns TensorFlow's error codes into Python's, such as IndexError
        return _first_line(error)
    return ''


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [''])[0] or type(error).__name__

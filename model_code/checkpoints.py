"""Checkpoints of model, optimiser and step. TensorFlow writes them aside and names the newest last."""

import tensorflow as tf


class Checkpoints:
    """Saves to and restores from `directory`; keeps the newest two."""

    def __init__(self, directory: str, model: tf.Module, optimizer):
        self.step = tf.Variable(0, trainable=False, dtype=tf.int64, name='step')
        checkpoint = tf.train.Checkpoint(model=model, optimizer=optimizer, step=self.step)
        self._manager = tf.train.CheckpointManager(checkpoint, directory, max_to_keep=2)

    def restore(self) -> int:
        """Restores the newest checkpoint where there is one; returns the number of steps already done."""
        if self._manager.latest_checkpoint:
            self._manager.checkpoint.restore(self._manager.latest_checkpoint).expect_partial()
        return int(self.step)

    def save(self, steps_done: int):
        self.step.assign(steps_done)
        self._manager.save(checkpoint_number=steps_done)

    @property
    def latest(self) -> str:
        return self._manager.latest_checkpoint or 'none'

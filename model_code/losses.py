"""A task's loss and scores from its logits."""

import tensorflow as tf

from model_code.tasks import Task


def loss(task: Task, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """[batch] float32: softmax cross-entropy of int64 ids, or sigmoid cross-entropy summed over the classes.

    logits: [batch, classes] float32. labels: [batch] int64, or [batch, classes] float32 for a multi-label task.
    """
    if task.multi_label:
        return tf.reduce_sum(tf.nn.sigmoid_cross_entropy_with_logits(labels, logits), axis=-1)
    classes = logits.shape[-1]
    targets = tf.one_hot(labels, classes) * (1 - task.label_smoothing) + task.label_smoothing / classes
    return tf.nn.softmax_cross_entropy_with_logits(targets, logits)


def scores(task: Task, logits: tf.Tensor) -> tf.Tensor:
    """[batch, classes] float32 in [0, 1]: softmax, or a sigmoid a class for a multi-label task."""
    return tf.nn.sigmoid(logits) if task.multi_label else tf.nn.softmax(logits)

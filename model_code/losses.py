"""A task's loss and scores from its logits.

groups: the ids of each label group's classes (Task.group_ids), for a task with label groups. Ids are places in the
vocabulary, which is ordered by frequency, so that a group's classes stand anywhere in it.
"""

import numpy as np
import tensorflow as tf

from model_code.tasks import Task


def loss(task: Task, logits: tf.Tensor, labels: tf.Tensor, groups: tuple[tuple[int, ...], ...] = ()) -> tf.Tensor:
    """[batch] float32: softmax cross-entropy; for a multi-label task sigmoid cross-entropy summed over the classes;
    for a task with label groups the mean over groups of the softmax cross-entropy within each.

    logits: [batch, classes] float32. labels: [batch] int64 ids, or targets [batch, classes] float32 (multi-hot; mixed
    ones of single-label tasks).
    """
    targets = tf.one_hot(labels, logits.shape[-1]) if labels.dtype.is_integer else labels
    if task.data.label_kind == 'multi':
        return tf.reduce_sum(tf.nn.sigmoid_cross_entropy_with_logits(targets, logits), axis=-1)
    smoothing = task.recipe.label_smoothing
    if not groups:
        return _softmax_cross_entropy(targets, logits, smoothing)
    return tf.add_n([
        _softmax_cross_entropy(tf.gather(targets, ids, axis=-1), tf.gather(logits, ids, axis=-1), smoothing)
        for ids in groups]) / len(groups)


def _softmax_cross_entropy(targets, logits, smoothing: float) -> tf.Tensor:
    smooth = targets * (1 - smoothing) + smoothing / logits.shape[-1]
    return tf.nn.softmax_cross_entropy_with_logits(smooth, logits)


def scores(task: Task, logits: tf.Tensor, groups: tuple[tuple[int, ...], ...] = ()) -> tf.Tensor:
    """[batch, classes] float32 in [0, 1]: softmax, within each label group where there are groups; a sigmoid a class
    for a multi-label task."""
    if task.data.label_kind == 'multi':
        return tf.nn.sigmoid(logits)
    if not groups:
        return tf.nn.softmax(logits)
    by_group = tf.concat([tf.nn.softmax(tf.gather(logits, ids, axis=-1)) for ids in groups], axis=-1)
    return tf.gather(by_group, np.argsort(np.concatenate(groups)), axis=-1)

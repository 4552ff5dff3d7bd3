"""A task's loss and scores from its logits. Its label kind computes them (model_code/label_kinds).

groups: the ids of each label group's classes (Task.group_ids), for a task with label groups.
"""

import numpy as np
import tensorflow as tf

from model_code.tasks import Task


def loss(task: Task, logits: tf.Tensor, labels: tf.Tensor, groups: tuple[tuple[int, ...], ...] = (),
         weights: np.ndarray | None = None) -> tf.Tensor:
    """[batch] float32, each example's loss.

    logits: [batch, classes] float32. labels: [batch] int64 ids, or targets [batch, classes] float32 (multi-hot labels,
    and labels mixed by mixup). weights: the label kind's `class_weights`, for a weighted loss.
    """
    functions = task.data.kind.functions
    return functions.loss(logits, targets(labels, logits.shape[-1]), groups, task.recipe.label_smoothing,
                          weights)


def targets(labels: tf.Tensor, classes: int) -> tf.Tensor:
    """Labels as for `loss` -> [batch, classes] float32."""
    return tf.one_hot(labels, classes) if labels.dtype.is_integer else labels


def scores(task: Task, logits: tf.Tensor, groups: tuple[tuple[int, ...], ...] = ()) -> tf.Tensor:
    """[batch, classes] float32 in [0, 1]."""
    return task.data.kind.functions.scores(logits, groups)

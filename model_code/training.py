"""The train step: forward, loss, gradients, clipping, update. One traced function a task."""

import functools
from typing import Callable

import tensorflow as tf
import tf_keras

from model_code.polyvit import PolyViT
from model_code.settings import TrainingConfig
from model_code.tasks import Task

# Variables whose name has one of these words are not decayed: the usual exclusions of transformer recipes.
NOT_DECAYED = ('bias', 'norm', 'class_token', 'position_embedding')

# Nothing here has a Python branch on a tensor, and AutoGraph would rewrite all of tf_keras's optimiser and layers:
# without it a task's step is traced several times faster (benchmarks/trace_step.py).
_function = functools.partial(tf.function, autograph=False)


def make_optimizer(config: TrainingConfig) -> tf_keras.optimizers.Optimizer:
    """The optimiser that config.optimizer names. The loop sets its learning rate before each step."""
    if config.optimizer == 'momentum':
        optimizer = tf_keras.optimizers.SGD(config.learning_rate, momentum=0.9)
    elif config.optimizer == 'adam':
        optimizer = tf_keras.optimizers.Adam(config.learning_rate)
    else:
        optimizer = tf_keras.optimizers.AdamW(config.learning_rate, weight_decay=config.weight_decay)
        optimizer.exclude_from_weight_decay(var_names=list(NOT_DECAYED))
    return optimizer


def _gradients(model: PolyViT, task: Task, inputs, labels):
    """A replica's share of the global batch's mean loss, and its gradients by the task's own variables."""
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model.loss(task.name, inputs, labels)) / task.batch_size
    return loss, tape.gradient(loss, model.task_variables(task.name))


def _apply(optimizer, gradients, variables, clip_norm: float) -> tf.Tensor:
    """Sums gradients over the replicas, clips by the global norm, updates; returns the norm before clipping.

    Only `variables` are handed to the optimiser: a zero gradient would let momentum and weight decay move idle heads.
    """
    gradients = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, gradients)
    norm = tf.linalg.global_norm(gradients)
    if clip_norm:
        gradients, _ = tf.clip_by_global_norm(gradients, clip_norm, use_norm=norm)
    optimizer.apply_gradients(zip(gradients, variables), skip_gradients_aggregation=True)
    return norm


def make_train_step(strategy: tf.distribute.Strategy, model: PolyViT, optimizer, task: Task,
                    config: TrainingConfig) -> Callable:
    """A function of one distributed batch -> (loss, gradient norm), scalars; traced once."""
    gradients_of = _function(lambda x, y: _gradients(model, task, x, y), jit_compile=config.jit or None)

    def replica_step(inputs, labels):
        loss, gradients = gradients_of(inputs, labels)
        norm = _apply(optimizer, gradients, model.task_variables(task.name), config.clip_norm)
        return loss, norm

    @_function
    def step(batch):
        loss, norm = strategy.run(replica_step, args=batch)
        return strategy.reduce('SUM', loss, axis=None), strategy.reduce('MEAN', norm, axis=None)

    return step


def make_accumulated_step(strategy: tf.distribute.Strategy, model: PolyViT, optimizer, tasks: tuple[Task, ...],
                          config: TrainingConfig) -> Callable:
    """A function of {task name: distributed batch} -> (mean loss, gradient norm): every task's gradients, one update.

    The tasks' gradients are summed, each times its task's learning-rate coefficient.
    """
    def replica_step(batches):
        sums, total = {}, 0.0
        for task in tasks:
            loss, gradients = _gradients(model, task, *batches[task.name])
            total += loss / len(tasks)
            for variable, gradient in zip(model.task_variables(task.name), gradients):
                weighted = gradient * task.learning_rate_coefficient
                key = variable.ref()
                sums[key] = sums[key] + weighted if key in sums else weighted
        variables = [key.deref() for key in sums]
        return total, _apply(optimizer, list(sums.values()), variables, config.clip_norm)

    @_function
    def step(batches):
        loss, norm = strategy.run(replica_step, args=(batches,))
        return strategy.reduce('SUM', loss, axis=None), strategy.reduce('MEAN', norm, axis=None)

    return step

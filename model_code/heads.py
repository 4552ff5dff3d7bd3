"""Heads: the encoder's tokens -> a representation -> a task's logits. float32 under mixed precision too."""

import tensorflow as tf
import tf_keras

from model_code.tasks import Task


def pool(tokens: tf.Tensor, pooling: str) -> tf.Tensor:
    """[batch, tokens, width] -> [batch, width] float32: the class token ('token') or the mean of all tokens ('gap')."""
    tokens = tf.cast(tokens, tf.float32)
    return tokens[:, 0] if pooling == 'token' else tf.reduce_mean(tokens, axis=1)


class Head(tf_keras.layers.Layer):
    """[batch, tokens, width] -> [batch, classes] float32: pooling, hidden layers with ReLU, one dense output.

    With task.recipe.zero_init_head the kernel of the output starts at zero.
    """

    def __init__(self, task: Task, classes: int, **kwargs):
        super().__init__(dtype=tf.float32, **kwargs)
        self.pooling = task.recipe.pooling
        self.hidden = [
            tf_keras.layers.Dense(width, activation='relu', kernel_initializer='lecun_normal', dtype=tf.float32,
                                  name=f'hidden_{i}')
            for i, width in enumerate(task.recipe.head_hidden)]
        self.output_layer = tf_keras.layers.Dense(
            classes, kernel_initializer='zeros' if task.recipe.zero_init_head else 'lecun_normal', dtype=tf.float32,
            name='output')

    def call(self, tokens):
        x = pool(tokens, self.pooling)
        for layer in self.hidden:
            x = layer(x)
        return self.output_layer(x)

"""Heads: the encoder's tokens -> a representation -> a task's logits."""

import tensorflow as tf
import tf_keras


def pool(tokens: tf.Tensor, pooling: str) -> tf.Tensor:
    """[batch, tokens, width] -> [batch, width]: the class token ('token') or the mean of all ('gap')."""
    return tokens[:, 0] if pooling == 'token' else tf.reduce_mean(tokens, axis=1)


def make_head(name: str, classes: int, zero_init: bool) -> tf_keras.layers.Dense:
    """One dense output, float32 also under mixed precision: [batch, width] -> [batch, classes]."""
    return tf_keras.layers.Dense(classes, kernel_initializer='zeros' if zero_init else 'glorot_uniform',
                                 dtype=tf.float32, name=name)

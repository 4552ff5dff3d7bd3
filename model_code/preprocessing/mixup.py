"""Mixup: mixes the examples of a batch, and their labels, in pairs."""

import tensorflow as tf

from model_code.preprocessing import draws


def mixup(inputs: tf.Tensor, targets: tf.Tensor, alpha: float, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Inputs [batch, ...] and targets [batch, classes] float32, each mixed with the same batch in reverse order.

    The share of the original order is drawn from Beta(alpha, alpha), once per batch (docs/model.md, "Augmentations").
    """
    # A Beta(a, a) number is x / (x + y) for two Gamma(a) numbers. The seeds' names only have to differ.
    first, second = (tf.random.stateless_gamma([], draws.fold(seed, name), alpha) for name in ('ours', 'theirs'))
    share = first / tf.maximum(first + second, 1e-30)
    return (share * inputs + (1 - share) * tf.reverse(inputs, [0]),
            share * targets + (1 - share) * tf.reverse(targets, [0]))

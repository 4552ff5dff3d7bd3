"""Mixup: batches of examples and their labels, mixed in pairs."""

import tensorflow as tf

from model_code.preprocessing import draws


def mixup(inputs: tf.Tensor, targets: tf.Tensor, alpha: float, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Inputs [batch, ...] and targets [batch, classes] float32, both mixed with the same batch backwards.

    The share of the first is drawn from Beta(alpha, alpha), once per batch (docs/model.md, "Augmentations").
    """
    ours, theirs = (tf.random.stateless_gamma([], draws.fold(seed, name), alpha) for name in ('ours', 'theirs'))
    share = ours / tf.maximum(ours + theirs, 1e-30)
    return (share * inputs + (1 - share) * tf.reverse(inputs, [0]),
            share * targets + (1 - share) * tf.reverse(targets, [0]))

"""Random numbers for augmentations: functions of a seed [2] int32, equal eagerly and inside tf.data.

An augmentation with a probability should choose the value of a parameter, such as the axes to mirror or the matrix that
mixes the colours. It then makes one pass over the pixels in either case. tf.cond does not fit: with it, one colour
jitter in some hundreds differed in its last bit from run to run, so a resumed training would differ. tf.where with a
scalar is slow on whole images.
"""

import zlib

import tensorflow as tf


def fold(seed: tf.Tensor, name: str) -> tf.Tensor:
    """The seed [2] int32 for the draw called `name`. It does not depend on what else is drawn from `seed`."""
    return tf.random.experimental.stateless_fold_in(seed, zlib.crc32(name.encode()) & 0x7FFFFFFF)


def uniform(seed: tf.Tensor, name: str, low: float, high: float) -> tf.Tensor:
    """A float32 scalar in [low, high)."""
    return tf.random.stateless_uniform([], fold(seed, name), low, high)


def integer(seed: tf.Tensor, name: str, low, high) -> tf.Tensor:
    """An int32 scalar in [low, high)."""
    return tf.random.stateless_uniform([], fold(seed, name), low, high, tf.int32)


def happens(seed: tf.Tensor, probability: float, name: str = 'happens') -> tf.Tensor:
    """A bool scalar, True with this probability."""
    return uniform(seed, name, 0.0, 1.0) < probability


def apply(functions: dict, augmentations: tuple[str, ...], example: tf.Tensor, spec, seed: tf.Tensor) -> tf.Tensor:
    """Applies those of the augmentations that are in `functions`, in order, each with its own seed."""
    for name in augmentations:
        if name in functions:
            example = functions[name](example, spec, fold(seed, name))
    return example

"""Random numbers for augmentations: functions of a seed [2] int32, the same eagerly and inside tf.data.

What happens with a probability is the value of a parameter (which axes are mirrored, which matrix mixes the colours):
one pass over the pixels either way. With tf.cond one colour jitter in some hundreds came out different in its last bit
from one run to the next, and a resumed training would not be the same; tf.where by a scalar is slow on whole pictures.
"""

import zlib

import tensorflow as tf


def fold(seed: tf.Tensor, name: str) -> tf.Tensor:
    """A seed of its own for everything that has a name, whatever else is drawn from `seed`."""
    return tf.random.experimental.stateless_fold_in(seed, zlib.crc32(name.encode()) & 0x7FFFFFFF)


def uniform(seed: tf.Tensor, name: str, low: float, high: float) -> tf.Tensor:
    """A float32 scalar in [low, high)."""
    return tf.random.stateless_uniform([], fold(seed, name), low, high)


def integer(seed: tf.Tensor, name: str, low, high) -> tf.Tensor:
    """An int32 scalar in [low, high)."""
    return tf.random.stateless_uniform([], fold(seed, name), low, high, tf.int32)


def happens(seed: tf.Tensor, probability: float, name: str = 'happens') -> tf.Tensor:
    """A bool scalar, True with the probability."""
    return uniform(seed, name, 0.0, 1.0) < probability


def apply(functions: dict, augmentations: tuple[str, ...], example: tf.Tensor, spec, seed: tf.Tensor) -> tf.Tensor:
    """The augmentations among `functions`, in order, each with a seed of its own."""
    for name in augmentations:
        if name in functions:
            example = functions[name](example, spec, fold(seed, name))
    return example

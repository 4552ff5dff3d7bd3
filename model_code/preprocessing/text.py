"""Texts: UTF-8 bytes -> one-hot bytes. Pure functions of core TensorFlow operations.

Contract: a text -> its first bytes [length, 256] float32: `SCALE` at the number of each byte, else 0. After the end of
the text the byte is 0, which no stored text has (media.readers.text). There is no vocabulary: training and serving have
the same tokens, whatever the language.
"""

import tensorflow as tf

from model_code.modalities import TextInput

SCALE = 16.0  # the root of 256: the mean square of an input is then 1, as of pixels, and so is that of a fresh token


def decode(encoded: tf.Tensor, spec: TextInput, augmentations: tuple[str, ...] = (),
           seed: tf.Tensor | None = None) -> tf.Tensor:
    """Bytes, a scalar -> [length, 256] float32."""
    del augmentations, seed
    values = tf.io.decode_raw(encoded, tf.uint8, fixed_length=spec.length)
    return tf.ensure_shape(tf.one_hot(values, spec.shape[-1], on_value=SCALE), spec.shape)


def augment(text: tf.Tensor, spec: TextInput, augmentations: tuple[str, ...], seed: tf.Tensor) -> tf.Tensor:
    """The text as it is: there are no augmentations."""
    del spec, augmentations, seed
    return text

"""Texts as clients send them. Pure functions of core TensorFlow ops, which do what media.readers.text does."""

import numpy as np
import tensorflow as tf

from model_code.modalities import Limits, TextInput
from model_code.sent_media import content

_BYTE_ORDER_MARK = b'\xef\xbb\xbf'


def tables() -> dict[str, np.ndarray]:
    """What `as_stored` needs besides: nothing."""
    return {}


def check(encoded: tf.Tensor, spec: TextInput, limits: Limits) -> tuple[tf.Tensor, tf.Tensor]:
    """[N] bytes -> (what is wrong with each, '' if nothing; an empty plan [N, 0])."""
    del spec
    size = tf.strings.length(encoded)
    valid = tf.strings.unicode_transcode(encoded, 'UTF-8', 'UTF-8', errors='ignore') == encoded
    problems = content.sentences(
        tf.size(encoded),
        (size > limits.bytes, lambda: tf.strings.join(
            ['it has ', tf.strings.as_string(size), f' bytes; at most {limits.bytes:,} are allowed: send a shorter '
                                                    'text'])),
        (tf.strings.length(_stripped(encoded)) == 0, 'it has nothing but white space: send a text'),
        (~valid, 'it is no UTF-8: send a text in UTF-8'),
        (content.contains(encoded, r'[\x00-\x08\x0e-\x1f\x7f]'),
         'it has an ASCII control character: send a text with none but tabs and line ends'))
    return problems, tf.zeros([tf.size(encoded), 0], tf.int32)


def as_stored(encoded: tf.Tensor, plan: tf.Tensor, spec: TextInput, tables: dict) -> tf.Tensor:
    """[N] bytes in which `check` found nothing wrong -> [N] texts as ingest stores them."""
    del plan, spec, tables
    return _stripped(encoded)


def _stripped(encoded: tf.Tensor) -> tf.Tensor:
    marked = tf.strings.substr(encoded, 0, len(_BYTE_ORDER_MARK)) == _BYTE_ORDER_MARK
    return tf.strings.strip(tf.where(marked, content.parts(encoded, len(_BYTE_ORDER_MARK), (1 << 31) - 1), encoded))

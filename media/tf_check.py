"""Rejects images that core TensorFlow, which decodes them in training and in serving, cannot decode as stored."""

import dataclasses
from collections.abc import Iterable, Iterator

import tensorflow as tf

from media.rejections import Rejection
from media.sandbox.parent import Decoded

# The images of one call to TensorFlow. An eager call costs several times as much as the decoding of a small image.
_BATCH_IMAGES, _BATCH_BYTES = 64, 8 << 20


def only_decodable(images: Iterable[Decoded]) -> Iterator[Decoded]:
    """The images from a Decoder, in order. Those that TensorFlow cannot decode are rejected (undecodable).

    Pillow forgives some faults in a JPEG (a stray marker) that would end the training hours later. Such a picture is
    not stored anew as Pillow reads it: nearly always it differs from the one before the damage.
    """
    batch, size = [], 0
    for decoded in images:
        batch.append(decoded)
        size += len(decoded.features['image']) if decoded.features else 0
        if len(batch) >= _BATCH_IMAGES or size >= _BATCH_BYTES:
            yield from _checked(batch)
            batch, size = [], 0
    yield from _checked(batch)


def _checked(batch: list[Decoded]) -> list[Decoded]:
    rejections = iter(undecodable([decoded.features['image'] for decoded in batch if decoded.features]))
    checked = []
    for decoded in batch:
        rejection = decoded.rejection or next(rejections)
        checked.append(dataclasses.replace(decoded, features=None, rejection=rejection) if rejection else decoded)
    return checked


def undecodable(images: list[bytes]) -> list[Rejection | None]:
    """For each image None, or a Rejection if TensorFlow's decoder fails."""
    try:
        if images:
            _decode_all(tf.constant(images))
        return [None] * len(images)
    except tf.errors.OpError:
        return [_undecodable(image) for image in images]


@tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
def _decode_all(images):
    # One at a time, so that no more than one of many large images is decoded in memory.
    return tf.map_fn(lambda image: tf.size(_decode(image)), images, fn_output_signature=tf.int32, parallel_iterations=1)


def _decode(image):
    return tf.io.decode_image(image, channels=3, expand_animations=False)


def _undecodable(image: bytes) -> Rejection | None:
    try:
        _decode(image)
    except tf.errors.OpError:
        return Rejection('undecodable', 'It is damaged: TensorFlow, which decodes images in training and in serving, '
                                        'does not accept it, although Pillow shows a picture. Save it anew.')
    return None

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
    features = [decoded.features for decoded in batch if decoded.features]
    rejections = iter(undecodable([(its['image'], its['height'] * its['width']) for its in features]))
    checked = []
    for decoded in batch:
        rejection = decoded.rejection or next(rejections)
        checked.append(dataclasses.replace(decoded, features=None, rejection=rejection) if rejection else decoded)
    return checked


def undecodable(images: list[tuple[bytes, int]]) -> list[Rejection | None]:
    """For each image and its number of pixels: None, or a Rejection if TensorFlow's decoder fails."""
    reduced = [image for image, pixels in images if _reducible(image, pixels)]
    others = [image for image, pixels in images if not _reducible(image, pixels)]
    try:
        if reduced:
            _decode_reduced(tf.constant(reduced))
        if others:
            _decode_all(tf.constant(others))
        return [None] * len(images)
    except tf.errors.OpError:
        return [_undecodable(image) for image, _ in images]


def _reducible(image: bytes, pixels: int) -> bool:
    """Whether a fraction of its pixels tells: of a JPEG all data are read before any pixel is computed. TensorFlow
    rejects a JPEG of 2^29 bytes of pixels or more for its size, which is that of the fraction here."""
    return image.startswith(b'\xff\xd8') and 3 * pixels < 1 << 29


# One at a time, so that no more than one of many large images is decoded in memory.

@tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
def _decode_reduced(images):
    return tf.map_fn(lambda image: tf.size(tf.io.decode_jpeg(image, channels=3, ratio=8)), images,
                     fn_output_signature=tf.int32, parallel_iterations=1)


@tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
def _decode_all(images):
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

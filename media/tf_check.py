"""Whether core TensorFlow, which decodes images in training and in serving, takes an image as it is stored."""

import dataclasses
from collections.abc import Iterable, Iterator

import tensorflow as tf

from media.rejections import Rejection
from media.sandbox.parent import Decoded

# Images handed to TensorFlow in one call: an eager call costs several times what a small image's decoding does.
_BATCH_IMAGES, _BATCH_BYTES = 64, 8 << 20


def only_decodable(read: Iterable[Decoded]) -> Iterator[Decoded]:
    """Images as a Decoder gives them, in their order; those that TensorFlow can't decode are rejected (undecodable).

    Pillow forgives a few damages of JPEG (a stray marker) that would end the training hours later.
    """
    batch, size = [], 0
    for decoded in read:
        batch.append(decoded)
        size += len(decoded.features['image']) if decoded.features else 0
        if len(batch) >= _BATCH_IMAGES or size >= _BATCH_BYTES:
            yield from _checked(batch)
            batch, size = [], 0
    yield from _checked(batch)


def _checked(batch: list[Decoded]) -> list[Decoded]:
    rejections = iter(undecodable([d.features['image'] for d in batch if d.features]))
    checked = []
    for decoded in batch:
        rejection = decoded.rejection or next(rejections)
        checked.append(dataclasses.replace(decoded, features=None, rejection=rejection) if rejection else decoded)
    return checked


def undecodable(images: list[bytes]) -> list[Rejection | None]:
    """For each image the Rejection where TensorFlow's decoder fails; else None."""
    try:
        if images:
            _decode_all(tf.constant(images))
        return [None] * len(images)
    except tf.errors.OpError:
        return [_undecodable(image) for image in images]


@tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
def _decode_all(images):
    # One at a time: of many large images no more than one stands decoded in memory.
    return tf.map_fn(lambda image: tf.size(_decode(image)), images, fn_output_signature=tf.int32, parallel_iterations=1)


def _decode(image):
    return tf.io.decode_image(image, channels=3, expand_animations=False)


def _undecodable(image: bytes) -> Rejection | None:
    try:
        _decode(image)
    except tf.errors.OpError as error:
        return Rejection('undecodable', error.message)
    return None

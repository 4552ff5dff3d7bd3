"""Whether core TensorFlow, which decodes images in training and in serving, takes an image as it is stored."""

import tensorflow as tf

from components.media_example_gen.readers.errors import MediaError


def undecodable(image: bytes) -> MediaError | None:
    """The error where TensorFlow's own decoder refuses an image that was passed on byte for byte.

    Pillow forgives a few damages of JPEG (a stray marker) that would end the training hours later.
    """
    try:
        tf.io.decode_image(image, channels=3, expand_animations=False)
    except tf.errors.OpError as error:
        return MediaError('undecodable', error.message)
    return None

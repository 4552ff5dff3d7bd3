"""Pictures: JPEG or PNG bytes -> pixels. Pure functions of core TensorFlow ops.

Contract: encoded bytes -> [height, width, 3] float32 in [-1, 1]. Grey images are repeated over three channels and
transparency is dropped. At test time the whole image is resized (polyvit.md, the recipe).
"""

import tensorflow as tf

from model_code.modalities import ImageInput


def decode(encoded: tf.Tensor, spec: ImageInput) -> tf.Tensor:
    """Bytes, a scalar -> [height, width, 3] float32 in [-1, 1], the whole picture resized."""
    pixels = tf.io.decode_image(encoded, channels=3, expand_animations=False)
    pixels.set_shape([None, None, 3])
    return scale(tf.image.resize(pixels, [spec.height, spec.width]), spec)


def scale(pixels: tf.Tensor, spec: ImageInput) -> tf.Tensor:
    """[height, width, 3] in [0, 255] -> float32 in [-1, 1]."""
    return tf.ensure_shape(tf.cast(pixels, tf.float32) / 127.5 - 1.0, spec.shape)


def flip(image: tf.Tensor, spec: ImageInput) -> tf.Tensor:
    """Mirrors left and right with probability 1/2."""
    return tf.image.random_flip_left_right(image)


def shift(image: tf.Tensor, spec: ImageInput) -> tf.Tensor:
    """Pads by an eighth of each side, mirrored, and crops a random window of the first size."""
    rows, columns = max(1, spec.height // 8), max(1, spec.width // 8)
    padded = tf.pad(image, [[rows, rows], [columns, columns], [0, 0]], mode='REFLECT')
    return tf.image.random_crop(padded, spec.shape)


def inception_crop(image: tf.Tensor, spec: ImageInput) -> tf.Tensor:
    """A random window of 5% to 100% of the area and aspect 3/4 to 4/3, resized to the whole input."""
    begin, size, _ = tf.image.sample_distorted_bounding_box(
        spec.shape, tf.zeros([1, 0, 4]), area_range=(0.05, 1.0), min_object_covered=0.0,
        aspect_ratio_range=(3 / 4, 4 / 3), use_image_if_no_bounding_boxes=True)
    return tf.ensure_shape(tf.image.resize(tf.slice(image, begin, size), [spec.height, spec.width]), spec.shape)


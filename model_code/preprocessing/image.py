"""Images: JPEG or PNG bytes -> pixels. Pure functions of core TensorFlow ops.

Contract: encoded bytes -> [height, width, 3] float32 in [-1, 1]. Grey images are repeated over three channels. What is
stored is upright and opaque (model_code.sent_media makes it so of what clients send). Without augmentations the whole
image is resized (docs/model.md, "Inputs"). seed: [2] int32, which alone determines what is drawn.
"""

import tensorflow as tf

from model_code.modalities import ImageInput
from model_code.preprocessing import draws


def decode(encoded: tf.Tensor, spec: ImageInput, augmentations: tuple[str, ...] = (),
           seed: tf.Tensor | None = None) -> tf.Tensor:
    """Bytes, a scalar -> [height, width, 3] float32 in [-1, 1], resized.

    This does 'inception_crop' and 'flip', on the stored pixels, which are fewer bytes. `augment` does the others.
    """
    crop = 'inception_crop' in augmentations
    pixels = inception_crop(encoded, draws.fold(seed, 'inception_crop')) if crop else _pixels(encoded)
    if 'flip' in augmentations:
        pixels = flip(pixels, draws.fold(seed, 'flip'))
    return _resized(pixels, spec)


def augment(image: tf.Tensor, spec: ImageInput, augmentations: tuple[str, ...], seed: tf.Tensor) -> tf.Tensor:
    """The augmentations that `decode` does not do."""
    return draws.apply({'shift': shift}, augmentations, image, spec, seed)


def _pixels(encoded):
    pixels = tf.io.decode_image(encoded, channels=3, expand_animations=False)
    pixels.set_shape([None, None, 3])
    return pixels


def _resized(pixels, spec: ImageInput):
    return scale(tf.image.resize(pixels, [spec.height, spec.width]), spec)


def scale(pixels: tf.Tensor, spec: ImageInput) -> tf.Tensor:
    """[height, width, 3] in [0, 255] -> float32 in [-1, 1]."""
    return tf.ensure_shape(tf.cast(pixels, tf.float32) * (1 / 127.5) - 1.0, spec.shape)  # dividing is slower


def inception_crop(encoded: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Bytes -> [rows, columns, 3] uint8: a random window with 5% to 100% of the area and an aspect of 3/4 to 4/3.

    Only the window of a JPEG is decoded.
    """
    def window(shape):
        begin, size, _ = tf.image.stateless_sample_distorted_bounding_box(
            shape, tf.zeros([1, 0, 4]), seed, area_range=(0.05, 1.0), min_object_covered=0.0,
            aspect_ratio_range=(3 / 4, 4 / 3), use_image_if_no_bounding_boxes=True)
        return begin, size

    def crop_jpeg():
        begin, size = window(tf.io.extract_jpeg_shape(encoded))
        return tf.io.decode_and_crop_jpeg(encoded, tf.concat([begin[:2], size[:2]], 0), channels=3)

    def crop_decoded():
        pixels = _pixels(encoded)
        return tf.slice(pixels, *window(tf.shape(pixels)))

    pixels = tf.cond(tf.io.is_jpeg(encoded), crop_jpeg, crop_decoded)
    pixels.set_shape([None, None, 3])
    return pixels


def flip(pixels: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """[rows, columns, 3] of any dtype, mirrored left and right with probability 1/2."""
    mirrored = tf.random.stateless_uniform([], seed) < 0.5
    return tf.raw_ops.Reverse(tensor=pixels, dims=tf.stack([False, mirrored, False]))


def shift(image: tf.Tensor, spec: ImageInput, seed: tf.Tensor) -> tf.Tensor:
    """Pads each side by an eighth, mirrored, and crops a random window of the original size."""
    rows, columns = max(1, spec.height // 8), max(1, spec.width // 8)
    padded = tf.pad(image, [[rows, rows], [columns, columns], [0, 0]], mode='REFLECT')
    return tf.image.stateless_random_crop(padded, spec.shape, seed)


def pictures(images: tf.Tensor) -> tf.Tensor:
    """[batch, height, width, 3] in [-1, 1] -> in [0, 1], for TensorBoard. Values outside are clipped."""
    return tf.clip_by_value(images / 2 + 0.5, 0.0, 1.0)

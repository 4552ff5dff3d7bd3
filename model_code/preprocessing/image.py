"""Images: JPEG or PNG bytes -> pixels. Pure functions of core TensorFlow ops.

Contract: encoded bytes -> [height, width, 3] float32 in [-1, 1]. Grey images are repeated over three channels. What is
stored is opaque; what a client sends may not be, and goes through `as_stored` first. Without augmentations the whole
image is resized (docs/model.md, "Inputs"). seed: [2] int32, which alone determines what is drawn.
"""

import tensorflow as tf

from model_code.modalities import ImageInput
from model_code.preprocessing import draws

# Bytes in which the chunk tRNS of a PNG must begin, and in a GIF, after its palette, the extension that names its
# transparent colour. Only a colour profile or comments can come before them.
_PNG_HEAD, _GIF_HEAD = 1 << 13, 1 << 12


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


def as_stored(encoded: tf.Tensor) -> tf.Tensor:
    """[N] bytes that a client sends -> [N] images without transparency, as ingest stores them: white is beneath.

    A PNG with transparency becomes an opaque one, of 8 bits; in a GIF the palette changes. All other bytes stay.
    """
    head = tf.strings.join([tf.strings.substr(encoded, 0, _PNG_HEAD), bytes(26)])  # so that it is long enough
    is_png = tf.strings.substr(head, 0, 8) == b'\x89PNG\r\n\x1a\n'
    colour_type = tf.strings.substr(head, 25, 1)
    with_key = tf.strings.length(tf.strings.regex_replace(head, 'tRNS', '')) < tf.strings.length(head)
    transparent_png = is_png & ((colour_type == b'\x04') | (colour_type == b'\x06') | with_key)
    gif = tf.strings.substr(encoded, 0, 6) == b'GIF89a'

    def over_white(image):
        one, png = image
        return tf.cond(png, lambda: _png_over_white(one), lambda: _gif_over_white(one))

    def each():
        return tf.map_fn(lambda image: tf.cond(image[1] | image[2], lambda: over_white(image[:2]), lambda: image[0]),
                         (encoded, transparent_png, gif), fn_output_signature=tf.string)
    return tf.cond(tf.reduce_any(transparent_png | gif), each, lambda: encoded)


def _png_over_white(encoded):
    rgba = tf.cast(tf.io.decode_png(encoded, channels=4), tf.int32)
    colour, alpha = rgba[..., :3], rgba[..., 3:]
    blended = tf.cast((colour * alpha + 255 * (255 - alpha) + 127) // 255, tf.uint8)
    return tf.io.encode_png(blended, compression=0)  # it is decoded at once


def _gif_over_white(encoded):
    """A GIF -> one whose first picture has white in place of a transparent colour.

    TensorFlow would leave black there, and not say where. So the palette's entry becomes white, and the flag that makes
    it transparent is cleared. The layout is that of the GIF89a specification.
    """
    palette_flags = _byte(encoded, 10)
    palette_end = 13 + tf.where(palette_flags >= 128, 3 * 2 ** (palette_flags % 8 + 1), 0)
    # The graphic control extension, before the first picture.
    between = _from(encoded, palette_end, _GIF_HEAD)
    parts = tf.strings.split(between, b'!\xf9\x04', maxsplit=1)
    control = palette_end + tf.strings.length(parts[0])
    flags, index, picture = _byte(encoded, control + 3), _byte(encoded, control + 6), control + 8
    own_palette = (_byte(encoded, picture) == 0x2C) & (_byte(encoded, picture + 9) >= 128)
    entry = tf.where(own_palette, picture + 10, 13) + 3 * index

    def changed():
        opaque = tf.gather(tf.constant([bytes([value]) for value in range(256)]), flags - 1)
        return _replaced(_replaced(encoded, control + 3, opaque, 1), entry, b'\xff\xff\xff', 3)
    return tf.cond((tf.size(parts) > 1) & (flags % 2 == 1), changed, lambda: encoded)


def _byte(encoded, position) -> tf.Tensor:
    """The byte at a position, int32; 0 beyond the end."""
    return tf.reduce_sum(tf.cast(tf.io.decode_raw(_from(encoded, position, 1), tf.uint8), tf.int32))


def _from(encoded, position, length) -> tf.Tensor:
    """At most `length` bytes from a position on; none beyond the end, where tf.strings.substr would fail."""
    return tf.strings.substr(encoded, tf.minimum(position, tf.strings.length(encoded)), length)


def _replaced(encoded, position, new, length: int) -> tf.Tensor:
    """The bytes with the `length` at a position replaced."""
    return tf.strings.join([tf.strings.substr(encoded, 0, position), new,
                            _from(encoded, position + length, tf.strings.length(encoded))])


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

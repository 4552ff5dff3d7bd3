"""How a picture lies, by its EXIF or XMP metadata: core TensorFlow ops over the bytes of one file.

The rules are those of Pillow's `Image.getexif`, by which ingest turns pictures: the tag Orientation of the first
directory counts, and XMP only where EXIF has no such tag. What cannot be read turns nothing.
"""

import tensorflow as tf

from model_code.sent_media import content

_ORIENTATION = 0x0112
_SHORTS, _LONGS = (3, 8), (4, 9)  # types of the TIFF specification and its supplement
UPRIGHT = 1


def orientation(tiff: tf.Tensor, xmp: tf.Tensor) -> tf.Tensor:
    """The orientation, an int32 scalar in 1 to 8. tiff: the EXIF data from its byte order on. '' stands for none."""
    tag = tf.cond(tf.strings.length(tiff) > 0, lambda: _of_tiff(tiff), lambda: 0)
    found = tf.where(tag == 0, _of_xmp(xmp), tag)
    return tf.where((found >= 1) & (found <= 8), found, UPRIGHT)


def _of_tiff(tiff: tf.Tensor) -> tf.Tensor:
    """0 if the first directory has no such tag."""
    order = tf.strings.substr(tf.strings.join([tiff, bytes(4)]), 0, 4)
    little = (order == b'II*\0') | (order == b'II\0*')
    known = little | (order == b'MM\0*') | (order == b'MM*\0')

    def number(values):
        """[..., k] bytes as numbers, in the file's byte order."""
        size = values.shape[-1]
        weights = tf.where(little, [256 ** i for i in range(size)], [256 ** i for i in reversed(range(size))])
        return tf.reduce_sum(tf.cast(values, tf.int64) * tf.cast(weights, tf.int64), -1)

    def at(position, count):
        return number(content.numbers(tiff[tf.newaxis], tf.cast(tf.minimum(position, 1 << 30), tf.int32), count)[0])

    directory = at(tf.constant(4, tf.int64), 4)
    begin = tf.cast(tf.minimum(directory + 2, 1 << 30), tf.int32)
    entries = content.part(tiff, begin, 12 * tf.cast(at(directory, 2), tf.int32))
    whole = tf.strings.length(entries) // 12
    raw = tf.reshape(tf.cast(tf.io.decode_raw(tf.strings.substr(entries, 0, 12 * whole), tf.uint8), tf.int32), [-1, 12])
    kind, value = number(raw[:, 2:4]), raw[:, 8:12]
    is_short = tf.reduce_any([kind == number_type for number_type in _SHORTS], 0)
    is_long = tf.reduce_any([kind == number_type for number_type in _LONGS], 0)
    values = tf.where(is_short, number(value[:, :2]), tf.where(is_long, number(value), UPRIGHT))
    # A value of 0, or one that is no single number, turns nothing, but it is there.
    values = tf.where((values >= 1) & (values <= 8) & (number(raw[:, 4:8]) == 1), values, UPRIGHT)
    of_tag = tf.cast(tf.boolean_mask(values, number(raw[:, 0:2]) == _ORIENTATION), tf.int32)
    last = tf.concat([[0], of_tag], 0)[-1]
    return tf.where(known, last, UPRIGHT)


def _of_xmp(xmp: tf.Tensor) -> tf.Tensor:
    """The digit after 'tiff:Orientation=\"' or 'tiff:Orientation>'; 0 if there is none."""
    after = tf.concat([tf.strings.split(xmp, 'tiff:Orientation', maxsplit=1), ['', '']], 0)[1]
    start = tf.where(tf.strings.substr(after, 0, 1) == '>', 1, 2)
    marked = (start == 1) | (tf.strings.substr(after, 0, 2) == '="')
    digit = content.byte(after, start) - ord('0')
    return tf.where(marked & (digit >= 0) & (digit <= 9), digit, 0)


def turned(pixels: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """[rows, columns, channels] as stored -> upright."""
    pixels = tf.cond(orientation >= 5, lambda: tf.transpose(pixels, [1, 0, 2]), lambda: pixels)
    rows = tf.reduce_any(orientation == [3, 4, 7, 8])
    columns = tf.reduce_any(orientation == [2, 3, 6, 7])
    return tf.raw_ops.Reverse(tensor=pixels, dims=tf.stack([rows, columns, False]))

"""The header of JPEG files, without decoding: size, components, metadata. Core TensorFlow ops over N files at a time.

A JPEG is a chain of segments: a marker (0xFF and a byte), a length, a body. The chain is followed in all files in step,
up to the frame header (SOF), which has the size; metadata (APP1) come before it.
"""

import tensorflow as tf

from model_code.sent_media import content

# Most files have no more before their size. These steps are written out, because a loop costs more than they do.
_STEPS, _MAX_SEGMENTS = 5, 500
_ON, _FRAME, _END = 0, 1, 2
_APP1 = 0xE1
_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ENDS = {0x00, 0xD8, 0xD9, 0xDA}
# What follows from the second byte of a marker.
_KINDS = [_FRAME if code in _SOF else _END if code in _ENDS else _ON for code in range(256)]
_EXIF, _XMP = b'Exif\0\0', b'http://ns.adobe.com/xap/1.0/\0'


def is_jpeg(encoded: tf.Tensor) -> tf.Tensor:
    return tf.strings.substr(encoded, 0, 3) == b'\xff\xd8\xff'


def headers(encoded: tf.Tensor, is_jpeg: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """[N] bytes, [N] bool -> (height, width, components, whether metadata come before), each [N].

    All are 0 for what is no JPEG, and for a JPEG whose header is damaged.
    """
    size = tf.strings.length(encoded)

    def step(position, kind, metadata):
        marker, length = tf.unstack(content.numbers(encoded, position, 2, tf.uint16), axis=1)
        kind = tf.gather(_KINDS, tf.maximum(marker - 0xFF00, 0))
        metadata |= marker == 0xFF00 + _APP1
        skipped = tf.where(marker == 0xFFFF, 1, 2 + length)  # bytes 0xFF may fill the space before a marker
        return tf.where(kind == _ON, position + skipped, position), kind, metadata

    # What is no JPEG is at its end from the beginning.
    state = tf.where(is_jpeg, 2, size), tf.zeros_like(size), tf.zeros_like(is_jpeg)
    for _ in range(_STEPS):
        state = step(*state)
    _, position, kind, metadata = tf.while_loop(
        lambda i, position, kind, metadata: (i < _MAX_SEGMENTS) & tf.reduce_any(kind == _ON),
        lambda i, *state: (i + 1, *step(*state)), (_STEPS, *state))
    sizes = content.numbers(encoded, position + 5, 5)
    sizes = tf.where((kind == _FRAME)[:, tf.newaxis], sizes, 0)
    return sizes[:, 0] * 256 + sizes[:, 1], sizes[:, 2] * 256 + sizes[:, 3], sizes[:, 4], metadata


def metadata(encoded: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The EXIF data (from its byte order on) and the XMP of one JPEG, each '' if there is none."""
    def step(i, position, tiff, xmp, _):
        marker, length = tf.unstack(content.numbers(encoded[tf.newaxis], position, 2, tf.uint16)[0])
        body = tf.cond(marker == 0xFF00 + _APP1, lambda: content.part(encoded, position + 4, tf.maximum(length - 2, 0)),
                       lambda: '')
        padded = tf.strings.join([body, bytes(len(_XMP))])
        is_exif = tf.strings.substr(padded, 0, len(_EXIF)) == _EXIF
        tiff = tf.where(is_exif & (tiff == ''), content.part(body, len(_EXIF), length), tiff)
        xmp = tf.where(tf.strings.substr(padded, 0, len(_XMP)) == _XMP, body, xmp)
        on = tf.gather(_KINDS, tf.maximum(marker - 0xFF00, 0)) == _ON
        return i + 1, position + tf.where(marker == 0xFFFF, 1, 2 + length), tiff, xmp, on

    *_, tiff, xmp, _ = tf.while_loop(lambda i, position, tiff, xmp, on: on & (i < _MAX_SEGMENTS), step,
                                     (0, 2, '', '', True))
    return tiff, xmp

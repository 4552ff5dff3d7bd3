"""Bytes inside string tensors: numbers at positions, and the kind of a file by its first bytes. Core TensorFlow ops."""

import functools

import numpy as np
import tensorflow as tf

_UNKNOWN = 'in a format that is not known here'
# (position, bytes, what it is). The first that fits counts. media.readers.formats has many more, for files that ingest
# rejects; these are what people send to servers.
_KINDS = (
    (0, b'\x89PNG', 'a PNG image'), (0, b'\xff\xd8\xff', 'a JPEG image'), (0, b'GIF8', 'a GIF image'),
    (8, b'WEBP', 'a WebP image'), (0, b'BM', 'a BMP image'), (0, b'II*\0', 'a TIFF image'),
    (0, b'MM\0*', 'a TIFF image'), (4, b'ftyphei', 'a HEIC image'), (4, b'ftypmif1', 'a HEIC image'),
    (4, b'ftypavif', 'an AVIF image'),
    (8, b'WAVE', 'a WAV sound'), (0, b'fLaC', 'a FLAC sound'), (0, b'OggS', 'an Ogg sound'),
    (0, b'ID3', 'an MP3 sound'),
    (0, b'\xff\xfb', 'an MP3 sound'), (0, b'\xff\xf3', 'an MP3 sound'), (0, b'FORM', 'an AIFF sound'),
    (4, b'ftypM4A', 'an M4A sound'), (4, b'ftyp', 'an MP4 video'), (8, b'AVI ', 'an AVI video'),
    (0, b'\x1aE\xdf\xa3', 'a WebM or Matroska video'), (0, b'%PDF', 'a PDF document'),
)


def numbers(encoded: tf.Tensor, position, count: int, dtype=tf.uint8, little: bool = False) -> tf.Tensor:
    """[N] bytes, positions [N] or one -> [N, count] int32: the numbers of `dtype` from there on.

    Zeros stand for what lies beyond the end.
    """
    return _reader(count, dtype, little)(encoded, tf.convert_to_tensor(position, tf.int32))


@functools.cache
def _reader(count: int, dtype: tf.DType, little: bool):
    """`numbers` as a function of the graph: one operation wherever numbers are read, not a dozen."""
    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string), tf.TensorSpec(None, tf.int32)])
    def read(encoded, position):
        length = count * dtype.size
        values = tf.io.decode_raw(parts(encoded, position, length), dtype, little_endian=little, fixed_length=length)
        return tf.cast(tf.ensure_shape(values, [None, count]), tf.int32)
    return read.get_concrete_function()


def parts(encoded: tf.Tensor, position, length: int) -> tf.Tensor:
    """[N] bytes, positions [N] or one -> [N] bytes: at most `length` from there on."""
    size = tf.strings.length(encoded)
    begin = tf.minimum(position, size)
    return tf.strings.substr(encoded, begin, tf.fill(tf.shape(size), length))


def part(encoded: tf.Tensor, position, length) -> tf.Tensor:
    """At most `length` bytes of a scalar from a position on; none beyond the end."""
    return tf.strings.substr(encoded, tf.minimum(position, tf.strings.length(encoded)), length)


def byte(encoded: tf.Tensor, position) -> tf.Tensor:
    """The byte of a scalar at a position, int32; 0 beyond the end."""
    return _byte_reader()(encoded, tf.convert_to_tensor(position, tf.int32))


@functools.cache
def _byte_reader():
    @tf.function(autograph=False, input_signature=[tf.TensorSpec([], tf.string), tf.TensorSpec([], tf.int32)])
    def read(encoded, position):
        return numbers(encoded[tf.newaxis], position, 1)[0, 0]
    return read.get_concrete_function()


def replaced(encoded: tf.Tensor, position, new, length: int) -> tf.Tensor:
    """The bytes of a scalar with the `length` at a position replaced."""
    return tf.strings.join([tf.strings.substr(encoded, 0, position), new,
                            part(encoded, position + length, tf.strings.length(encoded))])


def contains(encoded: tf.Tensor, pattern: str) -> tf.Tensor:
    """Whether a regular expression of ASCII characters matches anywhere in each of [N] bytes: [N] bool."""
    return tf.strings.length(tf.strings.regex_replace(encoded, pattern, '')) < tf.strings.length(encoded)


def kinds(encoded: tf.Tensor) -> tf.Tensor:
    """[N] bytes -> [N] strings: what each is, for a sentence that begins with 'it is'."""
    # [kinds, 16]: the bytes of each signature in their places, and which places they are.
    wanted = np.array([list((bytes(at) + signature).ljust(16, b'\0')) for at, signature, _ in _KINDS], np.int32)
    matters = np.array([[at <= i < at + len(signature) for i in range(16)] for at, signature, _ in _KINDS])
    differs = (numbers(encoded, 0, 16)[:, tf.newaxis] != wanted) & matters
    fits = tf.concat([~tf.reduce_any(differs, 2), tf.fill([tf.size(encoded), 1], True)], 1)
    names = tf.gather([*(name for _, _, name in _KINDS), _UNKNOWN], tf.argmax(fits, 1))
    return tf.where(tf.strings.length(encoded) == 0, 'empty', names)


def rarely(condition: tf.Tensor, function, otherwise):
    """tf.cond, whose first branch is a function of its own: the graph calls it, and does not contain it.

    So it is built when it is first needed, and not in every signature when a server loads the model.
    """
    def called():
        return tf.function(
            function, autograph=False, experimental_attributes={'_noinline': True}).get_concrete_function()()
    return tf.cond(condition, called, otherwise)


def sentences(size: tf.Tensor, *cases: tuple) -> tf.Tensor:
    """[N] strings: of (condition [N] bool, sentence) that of the first condition that holds; '' where none does.

    A sentence is a str, or a function that returns [N] strings. They are made only if a condition holds at all.
    """
    none = tf.fill([size], '')
    conditions = tf.stack([condition for condition, _ in cases])

    def chosen():
        result = none
        for number, (_, sentence) in reversed([*enumerate(cases)]):
            result = tf.where(conditions[number], sentence() if callable(sentence) else sentence, result)
        return result
    return rarely(tf.reduce_any(conditions), chosen, lambda: none)

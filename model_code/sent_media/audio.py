"""Sounds as clients send them: WAV. Pure functions of core TensorFlow ops.

What already is a 16 kHz mono PCM16 WAV is passed on byte for byte. Any other becomes one, with the samples that ingest
stores of the same file: channels are averaged in float32, other rates resampled in float64 (model_code.resampling).
"""

import functools

import numpy as np
import tensorflow as tf

from model_code import resampling
from model_code.modalities import COMMON_SOUND_RATES, AudioInput, Limits
from model_code.preprocessing.audio import window_samples
from model_code.sent_media import content

_RATES = (resampling.RATE, *COMMON_SOUND_RATES)
# From the name of the format on: the first 40 bytes of what ingest stores, but for the length.
_STORED = (b'WAVEfmt \x10\0\0\0\1\0\1\0' + resampling.RATE.to_bytes(4, 'little')
           + (2 * resampling.RATE).to_bytes(4, 'little') + b'\2\0\x10\0data')
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_ENCODINGS = ((_PCM, 8), (_PCM, 16), (_PCM, 24), (_PCM, 32), (_FLOAT, 32), (_FLOAT, 64))
# A bound, so that the sum over channels can be written out: its order decides the last bit.
_MAX_CHANNELS = 8
_MAX_CHUNKS = 1_000
_MARGIN = 2_000  # samples of any rate: more than a block of the resampler, and what it reaches
_MAX_SAMPLE = 1e6  # in full scales, as in ingest
# Programs that write to a pipe leave a length from here on, which cannot be true unless a part of it is there.
_PLACEHOLDER, _PART = 0x70000000, 16
_SEND = 'send a WAV file'
# The columns of a plan.
_ENCODING, _RATE, _CHANNELS, _START, _BYTES = range(5)
_STORED_PLAN = _ENCODINGS.index((_PCM, 16)), 0, 1, 44, 0


def tables() -> dict[str, np.ndarray]:
    """The filters of the rates that are resampled, [taps, outputs] float64 each."""
    return {str(rate): resampling.matrix(rate) for rate in COMMON_SOUND_RATES}


def check(encoded: tf.Tensor, spec: AudioInput, limits: Limits) -> tuple[tf.Tensor, tf.Tensor]:
    """[N] bytes -> (what is wrong with each, '' if nothing; a plan [N, 5] int32 for `as_stored`)."""
    size = tf.strings.length(encoded)
    length = content.numbers(encoded, 40, 1, tf.int32, little=True)[:, 0]
    head = content.parts(encoded, 8, len(_STORED))
    stored = (head == _STORED) & (tf.strings.substr(encoded, 0, 4) == b'RIFF') & (length > 1) & (
        length <= size - 44) & (tf.cast(length, tf.float32) <= limits.seconds * 2 * resampling.RATE)

    def fine():
        return tf.fill([tf.size(encoded)], ''), tf.tile([_STORED_PLAN], [tf.size(encoded), 1])
    return content.rarely(~tf.reduce_all(stored), lambda: _looked_into(encoded, stored, limits), fine)


def _looked_into(encoded, stored, limits):
    """`check` for sounds of which some are not as ingest stores them."""
    size = tf.strings.length(encoded)
    is_wav = (tf.strings.substr(encoded, 0, 4) == b'RIFF') & (content.parts(encoded, 8, 4) == b'WAVE')
    rare = content.parts(encoded, 8, 4) == b'WAVE'
    fmt, data = _chunks(encoded, is_wav)
    tag, channels, align, bits, rate = _format(encoded, fmt)
    available = size - data - 8
    length = _length(encoded, data, available)
    length -= tf.math.floormod(length, tf.maximum(align, 1))
    seconds = tf.cast(length, tf.float32) / tf.maximum(tf.cast(align, tf.float32) * tf.cast(rate, tf.float32), 1)
    known = tf.stack([(tag == wanted) & (bits == wide) for wanted, wide in _ENCODINGS], 1)
    encoding = tf.argmax(known, 1, tf.int32)
    plan = tf.where(stored[:, tf.newaxis], [_STORED_PLAN], tf.stack([encoding, rate, channels, data + 8, length], 1))

    complete = is_wav & (fmt > 0) & (data > 0)
    plain = complete & tf.reduce_any(known, 1) & (channels >= 1) & (channels <= _MAX_CHANNELS) & (
        align == channels * bits // 8)
    right_rate = tf.reduce_any(rate[:, tf.newaxis] == [_RATES], 1)
    # Less than half a sample at 16 kHz.
    silent = tf.cast(length, tf.int64) * (2 * resampling.RATE) < tf.cast(align, tf.int64) * tf.cast(rate, tf.int64)
    fits = plain & right_rate & ~silent & (length <= available) & (seconds <= limits.seconds)
    is_float = fits & (tag == _FLOAT) & ~stored
    wild = tf.cond(tf.reduce_any(is_float), lambda: _wild(encoded, plan, is_float), lambda: tf.zeros_like(stored))

    def number(value):
        return tf.strings.as_string(value)
    rates = ', '.join(f'{rate:,}' for rate in sorted(_RATES)[:-1]) + f' or {max(_RATES):,}'
    others = ~stored
    problems = content.sentences(
        tf.size(encoded),
        (others & ~rare, lambda: tf.strings.join(
            ['it is ', content.kinds(encoded), f', which an audio task does not take: {_SEND}'])),
        (others & ~is_wav, f'it is a WAV of a rare kind (RIFX, RF64 or BW64): {_SEND} that begins with RIFF'),
        (others & ~complete, 'it is a WAV that ends before its sound: send the whole file'),
        (others & ~plain, lambda: tf.strings.join(
            ['it is a WAV with ', number(channels), ' channels of ', number(bits), ' bits in format ', number(tag),
             f': send PCM of 8, 16, 24 or 32 bits, or floats, with at most {_MAX_CHANNELS} channels'])),
        (others & ~right_rate, lambda: tf.strings.join(
            ['its rate is ', number(rate), f' Hz: send {rates} Hz, or use `polyvit predict`, which resamples'])),
        (others & (length > available), 'it is a WAV that ends before its header says: send the whole file'),
        (others & silent, 'it has no samples: send a WAV with sound'),
        (others & (seconds > limits.seconds), lambda: tf.strings.join(
            ['it has ', number(tf.cast(seconds, tf.int32)), f' seconds; at most {limits.seconds:g} are allowed: send a '
             'shorter sound'])),
        (wild, 'it has samples that are not finite, or far too large for a sound: send samples in [-1, 1]'))
    return problems, plan


def _chunks(encoded, is_wav):
    """The positions of the chunks 'fmt ' and 'data' in each of N files, [N] int32; 0 where there is none."""
    size = tf.strings.length(encoded)

    def step(i, position, fmt, data):
        name = content.parts(encoded, position, 4)
        length = content.numbers(encoded, position + 4, 1, tf.int32, little=True)[:, 0]
        fmt = tf.where((name == b'fmt ') & (fmt == 0), position, fmt)
        data = tf.where((name == b'data') & (data == 0), position, data)
        # Chunks begin at even positions. A length that cannot be ends the search.
        after = position + 8 + length + length % 2
        on = (data == 0) & (length >= 0) & (length < size - position)
        return i + 1, tf.where(on, after, size), fmt, data
    none = tf.zeros_like(size)
    return tf.while_loop(lambda i, position, fmt, data: (i < _MAX_CHUNKS) & tf.reduce_any(position < size), step,
                         (0, tf.where(is_wav, 12, size), none, none))[2:]


def _format(encoded, fmt):
    """(tag, channels, bytes of the samples of one moment, bits, Hz), each [N] int32."""
    tag, channels, _, _, _, _, align, bits = tf.unstack(
        content.numbers(encoded, fmt + 8, 8, tf.uint16, little=True), axis=1)
    rate = content.numbers(encoded, fmt + 12, 1, tf.int32, little=True)[:, 0]
    inner = content.numbers(encoded, fmt + 32, 1, tf.uint16, little=True)[:, 0]
    return tf.where(tag == _EXTENSIBLE, inner, tag), channels, align, bits, rate


def _length(encoded, data, available):
    """The bytes of each sound, as ingest counts them (media.readers.audio_files), [N] int32.

    Programs that write to a pipe leave a length that means "up to the end"; others count wrong, but their file is
    whole. A length beyond the end that is neither is left as it is: the file was cut.
    """
    length = content.numbers(encoded, data + 4, 1, tf.int32, little=True)[:, 0]
    outer = content.numbers(encoded, 4, 1, tf.int32, little=True)[:, 0] + 8
    size = tf.strings.length(encoded)
    placeholder = (length < 0) | (length >= _PLACEHOLDER) & (available < length // _PART)
    whole = (outer == size) | (outer == size - 1)
    return tf.where((length > available) & whole | placeholder, available, length)


def _wild(encoded, plan, is_float):
    """Whether a sound of floats has samples that are none, [N] bool."""
    def each(sound):
        one, how, floats = sound
        # A comparison that is false for NaN, too.
        return tf.cond(floats, lambda: ~tf.reduce_all(tf.abs(_mono(one, how, how[_BYTES])) < _MAX_SAMPLE),
                       lambda: False)
    return tf.map_fn(each, (encoded, plan, is_float), fn_output_signature=tf.bool)


def as_stored(encoded: tf.Tensor, plan: tf.Tensor, spec: AudioInput, tables: dict) -> tf.Tensor:
    """[N] bytes in which `check` found nothing wrong, with its plan -> [N] WAV, 16 kHz mono PCM16, as ingest stores.

    Of a sound that is changed only what the model sees is kept, if it has one view.
    """
    change = tf.reduce_any(plan != [_STORED_PLAN], 1)
    wanted = window_samples(spec) if spec.views == 1 else (1 << 31) - 1  # views are taken from the whole sound

    def each(sound):
        one, how, changes = sound
        return tf.cond(changes, lambda: _stored(one, how, wanted, tables), lambda: one)
    return content.rarely(
        tf.reduce_any(change),
        lambda: tf.map_fn(each, (encoded, plan, change), fn_output_signature=tf.string), lambda: encoded)


def _stored(encoded, plan, wanted, tables):
    # What is after the samples that are wanted is not decoded, but for what the filters reach.
    frames = tf.cast(wanted, tf.int64) * tf.cast(plan[_RATE], tf.int64) // resampling.RATE + _MARGIN
    frame = plan[_CHANNELS] * tf.gather([bits // 8 for _, bits in _ENCODINGS], plan[_ENCODING])
    length = tf.minimum(tf.cast(plan[_BYTES], tf.int64), frames * tf.cast(frame, tf.int64))
    mono = _mono(encoded, plan, tf.cast(length, tf.int32))

    at_16_khz = tf.cond(plan[_RATE] == resampling.RATE, lambda: tf.cast(mono[:wanted], tf.float64),
                        lambda: _resampled(mono, plan[_RATE], wanted, tables))
    samples = tf.clip_by_value(tf.round(at_16_khz * 32768), -32768, 32767)
    return tf.audio.encode_wav(tf.cast(samples, tf.float32)[:, tf.newaxis] / 32768, resampling.RATE)


@functools.cache
def _mono_reader():
    """`_mono` as a function of the graph, which two parts of it share."""
    signature = [tf.TensorSpec([], tf.string), tf.TensorSpec([5], tf.int32), tf.TensorSpec([], tf.int32)]
    return tf.function(_mono_samples, autograph=False, input_signature=signature).get_concrete_function()


def _mono(encoded, plan, length):
    """[samples] float32, the mean of the channels: the arithmetic of media.readers.audio, in its order.

    length: the bytes that are decoded.
    """
    return _mono_reader()(encoded, plan, length)


def _mono_samples(encoded, plan, length):
    raw = tf.strings.substr(encoded, plan[_START], length)

    def integers(dtype, offset=0):
        scale = 2.0 ** (8 * dtype.size - 1)
        return lambda: (tf.cast(tf.io.decode_raw(raw, dtype), tf.float32) - offset) / scale

    def of_24_bits():
        low, middle, high = tf.unstack(tf.reshape(tf.cast(tf.io.decode_raw(raw, tf.uint8), tf.int32), [-1, 3]), axis=1)
        high -= tf.where(high >= 128, 256, 0)  # two's complement
        return tf.cast(low + 256 * middle + 65_536 * high, tf.float32) / 2.0 ** 23

    interleaved = tf.switch_case(plan[_ENCODING], [
        integers(tf.uint8, 128), integers(tf.int16), of_24_bits, integers(tf.int32),
        lambda: tf.io.decode_raw(raw, tf.float32),
        lambda: tf.cast(tf.io.decode_raw(raw, tf.float64), tf.float32)])
    channels = tf.reshape(interleaved, [-1, plan[_CHANNELS]])

    def mean():
        padded = tf.pad(channels, [[0, 0], [0, _MAX_CHANNELS - plan[_CHANNELS]]])
        total = padded[:, 0]
        for i in range(1, _MAX_CHANNELS):
            total += padded[:, i]
        return total * tf.cast(1 / tf.cast(plan[_CHANNELS], tf.float64), tf.float32)
    return tf.cond(plan[_CHANNELS] == 1, lambda: channels[:, 0], mean)


def _resampled(mono, rate, wanted: int, tables):
    """[n] float32 at `rate` Hz, one of COMMON_SOUND_RATES -> at most `wanted` samples at 16 kHz, float64."""
    which = tf.argmax(rate == [COMMON_SOUND_RATES], 1, tf.int32)[0]
    matrix = tf.switch_case(which, [tables[str(one)].read_value for one in COMMON_SOUND_RATES])
    inputs, outputs, around = tf.unstack(tf.gather([resampling.block(one) for one in COMMON_SOUND_RATES], which))
    count, rate = tf.size(mono, tf.int64), tf.cast(rate, tf.int64)
    ready = tf.cast(tf.minimum((2 * count * resampling.RATE + rate) // (2 * rate), wanted), tf.int32)
    blocks = -(-ready // outputs)
    length = blocks * inputs + 2 * around
    samples = tf.cast(mono[:length - around], tf.float64)
    padded = tf.pad(samples, [[around, length - around - tf.size(samples)]])
    windows = tf.gather(padded, tf.range(blocks)[:, tf.newaxis] * inputs + tf.range(inputs + 2 * around))
    return tf.reshape(tf.matmul(windows, matrix), [-1])[:ready]

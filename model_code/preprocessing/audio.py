"""Sounds: WAV bytes -> log-mel spectrogram. Pure functions of core TensorFlow ops.

Contract: encoded WAV bytes (16 kHz, mono, PCM16) -> [frames, mel_bins, channels] float32. Values are decibels until
`normalize` shifts and scales them. The same functions run in Transform's analysers, in the input pipeline and in the
serving graph. Spectrogram (Hann window), mel scale and decibels come from functions of tensorflow-io that are written
in plain TensorFlow. None of its custom ops is used, so a stock server can load the graph. seed: [2] int32, which alone
determines what is drawn.
"""

import tensorflow as tf
import tensorflow_io as tfio

from model_code.modalities import SOUND_RATE, AudioInput
from model_code.preprocessing import draws

SAMPLE_RATE = SOUND_RATE
FFT_LENGTH = 512  # samples: the first power of two above a window of 25 ms
MEL_FMIN, MEL_FMAX = 0.0, 8_000.0  # Hz
TOP_DB = 80.0  # decibels below the loudest bin at which values are cut off


def window_samples(spec: AudioInput) -> int:
    """The samples that the model sees: those of spec.frames hops, from the beginning of a sound."""
    return round(spec.frames * spec.hop_s * SAMPLE_RATE)


def decode_waveform(encoded: tf.Tensor, spec: AudioInput) -> tf.Tensor:
    """WAV bytes, a scalar -> [samples] float32 in [-1, 1], padded with silence or cropped to the model's window."""
    samples = window_samples(spec)
    waveform, _ = tf.audio.decode_wav(encoded, desired_channels=1, desired_samples=samples)
    return tf.ensure_shape(waveform[:, 0], [samples])


def log_mel(waveform: tf.Tensor, spec: AudioInput) -> tf.Tensor:
    """[samples] float32 -> [frames, mel_bins, 1] float32, in decibels."""
    magnitude = tfio.audio.spectrogram(
        waveform, nfft=FFT_LENGTH, window=round(spec.window_s * SAMPLE_RATE), stride=round(spec.hop_s * SAMPLE_RATE))
    mel = tfio.audio.melscale(magnitude, rate=SAMPLE_RATE, mels=spec.mel_bins, fmin=MEL_FMIN, fmax=MEL_FMAX)
    decibels = tfio.audio.dbscale(mel, top_db=TOP_DB)
    return tf.ensure_shape(decibels[..., tf.newaxis], [spec.frames, spec.mel_bins, 1])


def decode(encoded: tf.Tensor, spec: AudioInput, augmentations: tuple[str, ...] = (),
           seed: tf.Tensor | None = None) -> tf.Tensor:
    """WAV bytes, a scalar -> [frames, mel_bins, 1] float32, in decibels. `augment` does all but 'temporal_crop'."""
    crop = 'temporal_crop' in augmentations
    return log_mel(temporal_crop(encoded, spec, draws.fold(seed, 'temporal_crop')) if crop
                   else decode_waveform(encoded, spec), spec)


def decode_view(encoded: tf.Tensor, spec: AudioInput, view: tf.Tensor) -> tf.Tensor:
    """WAV bytes, a scalar -> as `decode`, of one of spec.views windows.

    The first window begins with the sound, the last ends with it, and the others lie evenly between. A sound that is no
    longer than a window is the same in each: as `decode` has it.
    """
    return log_mel(_window(encoded, spec, lambda room: tf.cast(view, tf.int64) * room // (spec.views - 1)), spec)


def temporal_crop(encoded: tf.Tensor, spec: AudioInput, seed: tf.Tensor) -> tf.Tensor:
    """WAV bytes, a scalar -> as `decode_waveform`, from a random sample on that leaves a whole window, if there is."""
    return _window(encoded, spec, lambda room: tf.random.stateless_uniform([], seed, 0, room + 1, tf.int64))


def _window(encoded, spec: AudioInput, start):
    """[samples] float32 from a sample on that start(room) gives, int64; room: how far from the beginning it may be."""
    samples = window_samples(spec)
    whole = tf.audio.decode_wav(encoded, desired_channels=1).audio[:, 0]
    window = whole[start(tf.maximum(tf.size(whole, tf.int64) - samples, 0)):][:samples]
    return tf.ensure_shape(tf.pad(window, [[0, samples - tf.size(window)]]), [samples])


def normalize(spectrogram: tf.Tensor, mean: tf.Tensor, stddev: tf.Tensor, spec: AudioInput) -> tf.Tensor:
    """Decibels [frames, mel_bins, 1] -> [frames, mel_bins, channels] with mean 0, deviation 1 over the train split."""
    scaled = (spectrogram - mean) / tf.maximum(stddev, 1e-3)
    return scaled if spec.channels == 1 else tf.tile(scaled, [1, 1, spec.channels])


def augment(spectrogram: tf.Tensor, spec: AudioInput, augmentations: tuple[str, ...], seed: tf.Tensor) -> tf.Tensor:
    """The augmentations that `decode` does not do, of a normalised spectrogram [frames, mel_bins, channels]."""
    return draws.apply({'spec_augment': spec_augment, 'time_shift': time_shift}, augmentations, spectrogram, spec, seed)


def spec_augment(spectrogram: tf.Tensor, spec: AudioInput, seed: tf.Tensor) -> tf.Tensor:
    """One frequency mask of up to 48 of 128 bins, and four time masks of up to 48 of 800 frames, in proportion.

    Masked values are 0, the mean of a normalised spectrogram. For equal draws the masks are those of tensorflow-io's
    freq_mask and time_mask; a test compares them. Those cannot be used: they draw from the global random state, which
    a resumed training cannot restore.
    """
    bins = _mask(spec.mel_bins, spec.mel_bins * 48 // 128, draws.fold(seed, 'frequency'))
    frames = tf.reduce_all([_mask(spec.frames, spec.frames * 48 // 800, draws.fold(seed, f'time_{i}'))
                            for i in range(4)], axis=0)
    plane = tf.reshape(spectrogram, [spec.frames, -1])  # broadcasting is fast in two dimensions only
    plane *= tf.repeat(tf.cast(bins, tf.float32), spec.channels)
    plane *= tf.cast(frames, tf.float32)[:, tf.newaxis]
    return tf.reshape(plane, spec.shape)


def _mask(size: int, longest: int, seed: tf.Tensor) -> tf.Tensor:
    """[size] bool, False along a random stretch. Its length is uniform in [0, longest), or in [0, 2) if longest < 2."""
    length = draws.integer(seed, 'length', 0, max(2, longest))
    start = draws.integer(seed, 'start', 0, size - length)
    places = tf.range(size)
    return (places < start) | (places >= start + length)


def time_shift(spectrogram: tf.Tensor, spec: AudioInput, seed: tf.Tensor) -> tf.Tensor:
    """Moves the sound later by up to a quarter of the frames, wrapping around."""
    return tf.roll(spectrogram, draws.integer(seed, 'shift', 0, max(1, spec.frames // 4)), axis=0)


def moments(encoded: tf.Tensor, spec: AudioInput) -> tf.Tensor:
    """WAV bytes, a scalar -> [2] float64: the mean of the decibels and the mean of their squares, with padding.

    float64, because the variance is the difference of two large numbers.
    """
    decibels = tf.cast(decode(encoded, spec), tf.float64)
    return tf.stack([tf.reduce_mean(decibels), tf.reduce_mean(tf.square(decibels))])


def statistics(moments: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The mean of `moments` over the train split, [2] float64 -> log_mel_mean, log_mel_stddev, float32 scalars."""
    mean, mean_square = tf.unstack(moments)
    stddev = tf.sqrt(tf.maximum(mean_square - tf.square(mean), 0))
    return tf.cast(mean, tf.float32), tf.cast(stddev, tf.float32)


def pictures(spectrograms: tf.Tensor) -> tf.Tensor:
    """[batch, frames, mel_bins, channels] -> [batch, mel_bins, frames, 1] in [0, 1], for TensorBoard.

    Time runs to the right, pitch upwards. Each spectrogram is scaled from its least value (0) to its greatest (1).
    """
    plane = tf.reverse(tf.transpose(spectrograms[..., :1], [0, 2, 1, 3]), [1])
    low, high = (reduce(plane, axis=[1, 2, 3], keepdims=True) for reduce in (tf.reduce_min, tf.reduce_max))
    return (plane - low) / tf.maximum(high - low, 1e-6)

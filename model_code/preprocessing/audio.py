"""Sounds: WAV bytes -> log-mel spectrogram. Pure functions of core TensorFlow ops.

Contract: encoded WAV bytes (16 kHz, mono, PCM16) -> [frames, mel_bins, channels] float32, in decibels until
`normalize` shifts and scales them. The same functions run in Transform's analysers, in the input pipeline and in the
serving graph. The spectrogram, the mel scale and the masks are tensorflow-io's plain-TensorFlow functions (Hann
window); none of its custom ops is used, so the graph loads in a stock server.
"""

import tensorflow as tf
import tensorflow_io as tfio

from model_code.modalities import AudioInput

SAMPLE_RATE = 16_000  # Hz
FFT_LENGTH = 512  # samples: the power of two above a 25 ms window
MEL_FMIN, MEL_FMAX = 0.0, 8_000.0  # Hz
TOP_DB = 80.0  # quieter than this below the loudest bin counts as silence


def decode_waveform(encoded: tf.Tensor, spec: AudioInput) -> tf.Tensor:
    """WAV bytes, a scalar -> [samples] float32 in [-1, 1], padded with silence or cropped to spec.frames hops."""
    samples = round(spec.frames * spec.hop_s * SAMPLE_RATE)
    waveform, _ = tf.audio.decode_wav(encoded, desired_channels=1, desired_samples=samples)
    return tf.ensure_shape(waveform[:, 0], [samples])


def log_mel(waveform: tf.Tensor, spec: AudioInput) -> tf.Tensor:
    """[samples] float32 -> [frames, mel_bins, 1] float32, in decibels."""
    magnitude = tfio.audio.spectrogram(
        waveform, nfft=FFT_LENGTH, window=round(spec.window_s * SAMPLE_RATE), stride=round(spec.hop_s * SAMPLE_RATE))
    mel = tfio.audio.melscale(magnitude, rate=SAMPLE_RATE, mels=spec.mel_bins, fmin=MEL_FMIN, fmax=MEL_FMAX)
    decibels = tfio.audio.dbscale(mel, top_db=TOP_DB)
    return tf.ensure_shape(decibels[..., tf.newaxis], [spec.frames, spec.mel_bins, 1])


def decode(encoded: tf.Tensor, spec: AudioInput) -> tf.Tensor:
    """WAV bytes, a scalar -> [frames, mel_bins, 1] float32, in decibels."""
    return log_mel(decode_waveform(encoded, spec), spec)


def normalize(spectrogram: tf.Tensor, mean: tf.Tensor, stddev: tf.Tensor, spec: AudioInput) -> tf.Tensor:
    """Decibels [frames, mel_bins, 1] -> [frames, mel_bins, channels], zero mean and unit deviation over the train split."""
    scaled = (spectrogram - mean) / tf.maximum(stddev, 1e-3)
    return tf.tile(scaled, [1, 1, spec.channels])


def spec_augment(spectrogram: tf.Tensor, spec: AudioInput) -> tf.Tensor:
    """One frequency mask of up to 48 of 128 bins and four time masks of up to 48 of 800 frames, in that proportion.

    Masked cells are 0, the mean of a normalised spectrogram. The recipe's AudioSet and VGGSound setting.
    """
    plane = spectrogram[..., 0]
    plane = tfio.audio.freq_mask(plane, max(1, spec.mel_bins * 48 // 128))
    for _ in range(4):
        plane = tfio.audio.time_mask(plane, max(1, spec.frames * 48 // 800))
    return tf.tile(plane[..., tf.newaxis], [1, 1, spec.channels])


def time_shift(spectrogram: tf.Tensor, spec: AudioInput) -> tf.Tensor:
    """Moves the sound later by up to a quarter of the window, wrapping around."""
    shift = tf.random.uniform([], 0, max(1, spec.frames // 4), tf.int32)
    return tf.roll(spectrogram, shift, axis=0)


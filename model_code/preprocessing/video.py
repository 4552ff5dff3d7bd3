"""Videos: JPEG frames -> pixels. Pure functions of core TensorFlow ops.

Contract: [F] encoded JPEG frames at spec.frame_rate -> [frames, height, width, 3] float32 in [-1, 1]. `frames` of the
F are taken, evenly spread over the clip (some twice where F is smaller); only those are decoded.
"""

import tensorflow as tf

from model_code.modalities import VideoInput


def frame_indices(count: tf.Tensor, spec: VideoInput) -> tf.Tensor:
    """The number of frames, a scalar -> [spec.frames] int32, the middles of equal parts of the clip."""
    positions = (tf.range(spec.frames, dtype=tf.float32) + 0.5) / spec.frames * tf.cast(count, tf.float32)
    return tf.cast(positions, tf.int32)


def decode(encoded: tf.Tensor, spec: VideoInput) -> tf.Tensor:
    """[F] JPEG bytes, F >= 1 -> [frames, height, width, 3] float32 in [-1, 1], each frame resized whole.

    Empty strings at the end, which pad a batch of clips of different lengths, do not count as frames.
    """
    count = tf.reduce_sum(tf.cast(tf.strings.length(encoded) > 0, tf.int32))
    chosen = tf.gather(encoded, frame_indices(count, spec))

    def decode_frame(jpeg):
        pixels = tf.io.decode_jpeg(jpeg, channels=3)
        return tf.image.resize(pixels, [spec.height, spec.width])

    frames = tf.map_fn(decode_frame, chosen,
                       fn_output_signature=tf.TensorSpec([spec.height, spec.width, 3], tf.float32))
    return tf.ensure_shape(frames / 127.5 - 1.0, spec.shape)


def flip(frames: tf.Tensor, spec: VideoInput) -> tf.Tensor:
    """Mirrors the whole clip left and right with probability 1/2."""
    return tf.cond(tf.random.uniform([]) < 0.5, lambda: tf.reverse(frames, [2]), lambda: frames)


def shift(frames: tf.Tensor, spec: VideoInput) -> tf.Tensor:
    """Pads each side by an eighth, mirrored, and crops one random window of the first size for all frames."""
    rows, columns = max(1, spec.height // 8), max(1, spec.width // 8)
    padded = tf.pad(frames, [[0, 0], [rows, rows], [columns, columns], [0, 0]], mode='REFLECT')
    return tf.image.random_crop(padded, spec.shape)


def colour_jitter(frames: tf.Tensor, spec: VideoInput) -> tf.Tensor:
    """With probability 0.8 changes brightness and contrast of the clip; with probability 0.1 makes it grey."""
    def jitter():
        brightness = tf.random.uniform([], -0.25, 0.25)
        contrast = tf.random.uniform([], 0.6, 1.4)
        mean = tf.reduce_mean(frames)
        return tf.clip_by_value((frames - mean) * contrast + mean + brightness, -1.0, 1.0)

    frames = tf.cond(tf.random.uniform([]) < 0.8, jitter, lambda: frames)
    grey = lambda: tf.tile(tf.image.rgb_to_grayscale(frames), [1, 1, 1, 3])
    return tf.cond(tf.random.uniform([]) < 0.1, grey, lambda: frames)


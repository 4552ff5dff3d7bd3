"""Videos: JPEG frames -> pixels. Pure functions of core TensorFlow ops.

Contract: [F] encoded JPEG frames at spec.frame_rate -> [frames, height, width, 3] float32 in [-1, 1]. `frames` of the
F are taken, evenly spread over the clip (some twice where F is smaller); only those are decoded. seed: [2] int32; what
is drawn is a function of it alone, and the same for every frame of a clip.
"""

import tensorflow as tf

from model_code.modalities import VideoInput
from model_code.preprocessing import draws


def frame_indices(count: tf.Tensor, spec: VideoInput, start=0.0, share=1.0) -> tf.Tensor:
    """The number of frames, a scalar -> [spec.frames] int32, the middles of equal parts of a window of the clip.

    start, share: where the window begins and how long it is, as shares of the clip; by default it is all of it.
    """
    positions = (start + (tf.range(spec.frames, dtype=tf.float32) + 0.5) / spec.frames * share)
    return tf.minimum(tf.cast(positions * tf.cast(count, tf.float32), tf.int32), count - 1)


def decode(encoded: tf.Tensor, spec: VideoInput, augmentations: tuple[str, ...] = (),
           seed: tf.Tensor | None = None) -> tf.Tensor:
    """[F] JPEG bytes, F >= 1 -> [frames, height, width, 3] float32 in [-1, 1], each frame resized whole.

    Empty strings at the end, which pad a batch of clips of different lengths, do not count as frames. Of the
    augmentations, 'temporal_crop' and 'scale_jitter' choose the frames, and the window of each, that are decoded.
    """
    count = tf.reduce_sum(tf.cast(tf.strings.length(encoded) > 0, tf.int32))
    window = temporal_crop(draws.fold(seed, 'temporal_crop')) if 'temporal_crop' in augmentations else ()
    chosen = tf.gather(encoded, frame_indices(count, spec, *window))
    if 'scale_jitter' not in augmentations:
        return _decode_frames(chosen, spec)
    crop = scale_jitter(tf.io.extract_jpeg_shape(chosen[0]), spec, draws.fold(seed, 'scale_jitter'))
    return _decode_frames(chosen, spec, crop)


def augment(frames: tf.Tensor, spec: VideoInput, augmentations: tuple[str, ...], seed: tf.Tensor) -> tf.Tensor:
    """The named augmentations of a decoded clip, in order, the whole clip alike."""
    functions = {'flip': flip, 'shift': shift, 'colour_jitter': colour_jitter}
    return draws.apply(functions, augmentations, frames, spec, seed)


def _decode_frames(chosen, spec: VideoInput, crop=None):
    """crop: [4] int32 (top, left, height, width) in the frames' own pixels."""
    def decode_frame(jpeg):
        pixels = (tf.io.decode_jpeg(jpeg, channels=3) if crop is None
                  else tf.io.decode_and_crop_jpeg(jpeg, crop, channels=3))
        return tf.image.resize(pixels, [spec.height, spec.width])

    frames = tf.map_fn(decode_frame, chosen,
                       fn_output_signature=tf.TensorSpec([spec.height, spec.width, 3], tf.float32))
    return tf.ensure_shape(frames / 127.5 - 1.0, spec.shape)


def temporal_crop(seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """(start, share) of a random window of half to all of the clip; evaluation takes the whole clip."""
    share = draws.uniform(seed, 'share', 0.5, 1.0)
    return draws.uniform(seed, 'start', 0.0, 1.0) * (1.0 - share), share


def scale_jitter(shape: tf.Tensor, spec: VideoInput, seed: tf.Tensor) -> tf.Tensor:
    """A frame's [height, width, 3] -> the window [4] int32 (top, left, height, width) to decode.

    As if the frame, short side spec.short_side, were scaled by 0.9 to 1.33 and a random height x width cut out of it
    (polyvit.md, the recipe). A window larger than the frame is the whole of that side.
    """
    zoom = draws.uniform(seed, 'zoom', 0.9, 1.33) * spec.short_side / tf.cast(tf.reduce_min(shape[:2]), tf.float32)
    size = tf.stack([spec.height, spec.width])
    size = tf.clip_by_value(tf.cast(tf.round(tf.cast(size, tf.float32) / zoom), tf.int32), 1, shape[:2])
    place = tf.random.stateless_uniform([2], draws.fold(seed, 'place'))
    begin = tf.cast(place * tf.cast(shape[:2] - size + 1, tf.float32), tf.int32)
    return tf.concat([begin, size], 0)


def flip(frames: tf.Tensor, spec: VideoInput, seed: tf.Tensor) -> tf.Tensor:
    """Mirrors the whole clip left and right with probability 1/2."""
    return tf.where(draws.happens(seed, 0.5), tf.reverse(frames, [2]), frames)


def shift(frames: tf.Tensor, spec: VideoInput, seed: tf.Tensor) -> tf.Tensor:
    """Pads each side by an eighth, mirrored, and crops one random window of the first size for all frames."""
    rows, columns = max(1, spec.height // 8), max(1, spec.width // 8)
    padded = tf.pad(frames, [[0, 0], [rows, rows], [columns, columns], [0, 0]], mode='REFLECT')
    return tf.image.stateless_random_crop(padded, spec.shape, seed)


def colour_jitter(frames: tf.Tensor, spec: VideoInput, seed: tf.Tensor) -> tf.Tensor:
    """With probability 0.8 changes brightness, contrast and saturation of the clip; with 0.1 makes it grey."""
    # In double precision: the order of a sum, and so its last bit, differs from one run to the next.
    mean = tf.cast(tf.reduce_mean(tf.cast(frames, tf.float64)), tf.float32)
    grey = _grey(frames)
    saturation, contrast = draws.uniform(seed, 'saturation', 0.6, 1.4), draws.uniform(seed, 'contrast', 0.6, 1.4)
    # One sum of three products: a chain of sums with scalars was seen to differ in its last bit from run to run.
    offset = mean * (1 - contrast) + draws.uniform(seed, 'brightness', -0.25, 0.25)
    lit = frames * (saturation * contrast) + grey * ((1 - saturation) * contrast) + offset
    jittered = tf.clip_by_value(lit, -1.0, 1.0)
    frames = tf.where(draws.happens(seed, 0.8, 'jitter'), jittered, frames)
    return tf.where(draws.happens(seed, 0.1, 'grey'), _grey(frames), frames)


def _grey(frames):
    """[..., 3] -> [..., 1], ITU-R BT.601's luma."""
    red, green, blue = tf.split(frames, 3, axis=-1)
    return 0.299 * red + 0.587 * green + 0.114 * blue

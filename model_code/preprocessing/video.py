"""Videos: JPEG frames -> pixels. Pure functions of core TensorFlow ops.

Contract: [F] encoded JPEG frames at spec.frame_rate -> [frames, height, width, 3] float32 in [-1, 1]. `frames` of the
F are taken, evenly over the clip (some repeatedly, if F is smaller). Only those are decoded. seed: [2] int32, which
alone determines what is drawn. All frames of a clip are augmented alike.
"""

import math

import tensorflow as tf

from model_code.modalities import VideoInput
from model_code.preprocessing import draws, image

LUMA = ((0.299,), (0.587,), (0.114,))  # weights of red, green and blue in the luma of ITU-R BT.601
STRIP_FRAMES, STRIP_HEIGHT = 8, 112  # the most frames, and pixels, of a strip for TensorBoard


def frame_indices(count: tf.Tensor, spec: VideoInput, start=0.0, share=1.0) -> tf.Tensor:
    """The number of frames, a scalar -> [spec.frames] int32: the middles of equal parts of a window of the clip.

    start, share: the start and the length of the window, as shares of the clip. The default is the whole clip.
    """
    positions = (start + (tf.range(spec.frames, dtype=tf.float32) + 0.5) / spec.frames * share)
    return tf.minimum(tf.cast(positions * tf.cast(count, tf.float32), tf.int32), count - 1)


def successive(count: tf.Tensor, spec: VideoInput, first: tf.Tensor) -> tf.Tensor:
    """[spec.frames] int32: frames one after the other, from `first` on; of a shorter clip those of `frame_indices`."""
    return tf.where(count > spec.frames, first + tf.range(spec.frames), frame_indices(count, spec))


def decode_view(encoded: tf.Tensor, spec: VideoInput, view: tf.Tensor) -> tf.Tensor:
    """[F] JPEG bytes -> as `decode`: `frames` successive frames, those of one of spec.views windows.

    The first window begins with the clip, the last ends with it, and the others lie evenly between. A clip of no more
    than `frames` frames is the same in each.
    """
    count = _count(encoded)
    first = view * (count - spec.frames) // (spec.views - 1)
    return decode(tf.gather(encoded, successive(count, spec, first)), spec)


def _count(encoded):
    return tf.reduce_sum(tf.cast(tf.strings.length(encoded) > 0, tf.int32))


def decode(encoded: tf.Tensor, spec: VideoInput, augmentations: tuple[str, ...] = (),
           seed: tf.Tensor | None = None) -> tf.Tensor:
    """[F] JPEG bytes, F >= 1 -> [frames, height, width, 3] float32 in [-1, 1], resized.

    Empty strings at the end, which pad a batch of clips of different lengths, do not count as frames. All augmentations
    but 'shift' are done here: the choice of frames, the window of each, mirroring and colours. That is done frame by
    frame, while a frame is in the processor's cache.
    """
    def drawn(name, function, *args, otherwise=None):
        return function(*args, draws.fold(seed, name)) if name in augmentations else otherwise

    count = _count(encoded)
    window = drawn('temporal_crop', temporal_crop, otherwise=())
    chosen = tf.gather(encoded, drawn('successive_frames', successive_frames, count, spec)
                       if 'successive_frames' in augmentations else frame_indices(count, spec, *window))
    crop = (scale_jitter(tf.io.extract_jpeg_shape(chosen[0]), spec, draws.fold(seed, 'scale_jitter'))
            if 'scale_jitter' in augmentations else None)
    colours = drawn('colour_jitter', colour_jitter)

    def decode_frame(jpeg):
        pixels = (tf.io.decode_jpeg(jpeg, channels=3) if crop is None
                  else tf.io.decode_and_crop_jpeg(jpeg, crop, channels=3))
        if 'flip' in augmentations:
            pixels = image.flip(pixels, draws.fold(seed, 'flip'))
        # Resizing float32 gives the same as resizing uint8, in two thirds of the time.
        resized = tf.image.resize(tf.cast(pixels, tf.float32), [spec.height, spec.width])
        return resized * (1 / 127.5) - 1.0 if colours is None else recoloured(resized, *colours)

    frames = tf.map_fn(decode_frame, chosen,
                       fn_output_signature=tf.TensorSpec([spec.height, spec.width, 3], tf.float32))
    return tf.ensure_shape(frames, spec.shape)


def augment(frames: tf.Tensor, spec: VideoInput, augmentations: tuple[str, ...], seed: tf.Tensor) -> tf.Tensor:
    """The augmentations that `decode` does not do, the same for the whole clip."""
    return draws.apply({'shift': shift}, augmentations, frames, spec, seed)


def temporal_crop(seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """(start, share) of a random window, half to all of the clip. Evaluation takes the whole clip."""
    share = draws.uniform(seed, 'share', 0.5, 1.0)
    return draws.uniform(seed, 'start', 0.0, 1.0) * (1.0 - share), share


def successive_frames(count: tf.Tensor, spec: VideoInput, seed: tf.Tensor) -> tf.Tensor:
    """[spec.frames] int32: successive frames from a random one on."""
    return successive(count, spec, draws.integer(seed, 'first', 0, tf.maximum(count - spec.frames, 0) + 1))


def scale_jitter(shape: tf.Tensor, spec: VideoInput, seed: tf.Tensor) -> tf.Tensor:
    """A frame's [height, width, 3] -> the window [4] int32 (top, left, height, width) to decode.

    It is as if the frame, with spec.short_side as its short side, were scaled by 0.9 to 1.33 and a random window of
    height x width cut out (docs/model.md, "Augmentations"). A side of the window that is longer than the frame's is cut
    to the frame.
    """
    zoom = draws.uniform(seed, 'zoom', 0.9, 1.33) * spec.short_side / tf.cast(tf.reduce_min(shape[:2]), tf.float32)
    size = tf.stack([spec.height, spec.width])
    size = tf.clip_by_value(tf.cast(tf.round(tf.cast(size, tf.float32) / zoom), tf.int32), 1, shape[:2])
    place = tf.random.stateless_uniform([2], draws.fold(seed, 'place'))
    begin = tf.cast(place * tf.cast(shape[:2] - size + 1, tf.float32), tf.int32)
    return tf.concat([begin, size], 0)


def shift(frames: tf.Tensor, spec: VideoInput, seed: tf.Tensor) -> tf.Tensor:
    """Pads each side by an eighth, mirrored, and crops a random window of the original size, the same in all frames."""
    rows, columns = max(1, spec.height // 8), max(1, spec.width // 8)
    padded = tf.pad(frames, [[0, 0], [rows, rows], [columns, columns], [0, 0]], mode='REFLECT')
    return tf.image.stateless_random_crop(padded, spec.shape, seed)


def colour_jitter(seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """(matrix [3, 3], contrast, brightness): what `recoloured` does to every frame of a clip.

    With probability 0.8, brightness, contrast and saturation change. With probability 0.1, the clip becomes grey.
    """
    saturation, contrast = draws.uniform(seed, 'saturation', 0.6, 1.4), draws.uniform(seed, 'contrast', 0.6, 1.4)
    jitter, grey = draws.happens(seed, 0.8, 'jitter'), draws.happens(seed, 0.1, 'grey')
    saturation = tf.where(grey, 0.0, tf.where(jitter, saturation, 1.0))
    contrast = tf.where(jitter, contrast, 1.0)
    brightness = tf.where(jitter, draws.uniform(seed, 'brightness', -0.25, 0.25), 0.0)
    return contrast * (saturation * tf.eye(3) + (1 - saturation) * tf.tile(LUMA, [1, 3])), contrast, brightness


def recoloured(frame: tf.Tensor, matrix: tf.Tensor, contrast: tf.Tensor, brightness: tf.Tensor) -> tf.Tensor:
    """A frame [height, width, 3] float32 in [0, 255] -> in [-1, 1], recoloured.

    A colour c in [-1, 1] becomes c @ matrix + mean * (1 - contrast) + brightness, clipped. The mean is that of the
    frame, as in tf.image.adjust_contrast, which the paper's code uses. The matrix also does the scaling to [-1, 1].
    """
    # First along rows: so the order of the sums does not depend on the number of threads.
    mean = tf.reduce_mean(tf.reduce_mean(frame, [1, 2])) / 127.5 - 1.0
    # Each row of the matrix product has several pixels: rows of three numbers would take twice as long.
    height, width, _ = frame.shape
    pixels = math.gcd(8, height * width)
    block_diagonal = tf.eye(pixels)[:, tf.newaxis, :, tf.newaxis] * matrix[:, tf.newaxis, :] / 127.5
    offset = mean * (1 - contrast) + brightness - contrast
    mixed = tf.matmul(tf.reshape(frame, [-1, 3 * pixels]), tf.reshape(block_diagonal, [3 * pixels] * 2)) + offset
    return tf.reshape(tf.clip_by_value(mixed, -1.0, 1.0), [height, width, 3])


def pictures(clips: tf.Tensor) -> tf.Tensor:
    """[batch, frames, height, width, 3] in [-1, 1] -> strips [batch, rows, columns, 3] in [0, 1], for TensorBoard.

    Each strip has up to STRIP_FRAMES frames side by side, taken evenly from the clip, up to STRIP_HEIGHT pixels high.
    """
    n, stored, h, w, c = clips.shape
    f = min(STRIP_FRAMES, stored)
    chosen = tf.gather(clips, [i * stored // f for i in range(f)], axis=1)
    smaller = min(1.0, STRIP_HEIGHT / h)
    size = [round(h * smaller), round(w * smaller)]
    frames = tf.image.resize(tf.reshape(chosen, [n * f, h, w, c]), size, method='area')
    strips = tf.transpose(tf.reshape(frames, [n, f, *size, c]), [0, 2, 1, 3, 4])
    return image.pictures(tf.reshape(strips, [n, size[0], f * size[1], c]))

"""Clips as clients send them: JPEG frames. Pure functions of core TensorFlow ops. What is no such frame is refused."""

import numpy as np
import tensorflow as tf

from model_code.modalities import Limits, VideoInput
from model_code.sent_media import content, exif, jpeg

_SEND = 'send the frames as JPEG, or use `polyvit predict`, which takes MP4 and others'


def tables() -> dict[str, np.ndarray]:
    """What `as_stored` needs besides: nothing."""
    return {}


def check(encoded: tf.Tensor, spec: VideoInput, limits: Limits) -> tuple[tf.Tensor, tf.Tensor]:
    """[N, F] bytes, '' after the end of a clip -> (what is wrong with each, '' if nothing; an empty plan [N, 0])."""
    del spec
    clips, most = tf.unstack(tf.shape(encoded))
    frames = tf.reshape(encoded, [-1])
    present = tf.strings.length(encoded) > 0
    counts = tf.reduce_sum(tf.cast(present, tf.int32), 1)
    is_jpeg = jpeg.is_jpeg(frames)
    height, width, components, metadata = jpeg.headers(frames, is_jpeg)
    turned = content.rarely(tf.reduce_any(metadata), lambda: _turned(frames, metadata), lambda: tf.zeros_like(metadata))
    too_large = tf.cast(height, tf.int64) * tf.cast(width, tf.int64) > limits.pixels

    def of_first(condition, sentence):
        """(whether any frame of a clip fulfils it, the sentence after the place of the first)."""
        table = tf.reshape(condition, [clips, most]) & present

        def sentences():
            # With one frame more, which is empty: clips of no frames at all have sentences, too.
            first = tf.argmax(tf.pad(tf.cast(table, tf.int32), [[0, 0], [0, 1]]), 1, tf.int32)
            one_more = tf.concat([encoded, tf.fill([clips, 1], '')], 1)
            said = sentence(tf.gather(one_more, first, batch_dims=1)) if callable(sentence) else sentence
            return tf.strings.join(['frame ', tf.strings.as_string(first + 1), ' is ', said])
        return tf.reduce_any(table, 1), sentences

    def kinds(first):
        return tf.strings.join([content.kinds(first), f': {_SEND}'])
    problems = content.sentences(
        clips,
        (tf.fill([clips], most > limits.frames),
         f'it has more than {limits.frames:,} frames: send fewer, at the frame rate that the model card names'),
        (counts == 0, f'it has no frames: {_SEND}'),
        (tf.reduce_any(present[:, 1:] & ~present[:, :-1], 1),
         'it has an empty frame before others: send frames without gaps; only the end of a clip is filled'),
        of_first(~is_jpeg, kinds),
        of_first(too_large, f'of more than {limits.pixels:,} pixels: send smaller frames'),
        of_first((height == 0) | (width == 0), 'a JPEG with a damaged header: send one that other programs open'),
        of_first((components != 1) & (components != 3), 'a JPEG in CMYK: send RGB'),
        of_first(turned, 'not upright by its metadata: send upright frames, without metadata'))
    return problems, tf.zeros([clips, 0], tf.int32)


def _turned(frames, metadata):
    def each(frame):
        return tf.cond(frame[1], lambda: exif.orientation(*jpeg.metadata(frame[0])) != exif.UPRIGHT, lambda: False)
    return tf.map_fn(each, (frames, metadata), fn_output_signature=tf.bool)


def as_stored(encoded: tf.Tensor, plan: tf.Tensor, spec: VideoInput, tables: dict) -> tf.Tensor:
    """[N, F] bytes as they are: `check` lets nothing else pass."""
    del plan, spec, tables
    return encoded

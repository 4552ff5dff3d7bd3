"""Tiny SavedModels for the tests of serving: one like TensorFlow Serving's own, one like ours, and ours untrained."""

import os

import numpy as np
import tensorflow as tf
import tf_keras

from model_code import export
from model_code.modalities import AudioInput, ImageInput, TextInput, VideoInput
from model_code.polyvit import PolyViT
from model_code.settings import ModelConfig
from model_code.tasks import Mixture
from tests import testing


class Affine(tf.Module):
    """y = x * slope + offset, with the signatures of half_plus_two, TensorFlow Serving's test model.

    An x of 1e6 or more fails in the graph. spin: how often the signature `slow` loops; without it there is no `slow`.
    """

    def __init__(self, slope=0.5, offset=2.0, spin=0):
        super().__init__()
        self.slope = tf.Variable(slope)
        self.offset = tf.Variable(offset)
        self._spin = spin

    def _y(self, x):
        return x * self.slope + self.offset

    def signatures(self):
        unknown = tf.TensorSpec(None, tf.float32, 'x')
        examples = tf.TensorSpec([None], tf.string, 'inputs')

        @tf.function(input_signature=[unknown])
        def predict(x):
            with tf.control_dependencies([tf.debugging.assert_less(x, 1e6, message='x is too big')]):
                return {'y': self._y(x)}

        @tf.function(input_signature=[examples])
        def regress(inputs):
            x = tf.io.parse_example(inputs, {'x': tf.io.FixedLenFeature([1], tf.float32)})['x']
            return {'outputs': self._y(x)}

        @tf.function(input_signature=[examples])
        def classify(inputs):
            x = tf.io.parse_example(inputs, {'x': tf.io.FixedLenFeature([1], tf.float32)})['x']
            return {'scores': self._y(x)}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, 'x')])
        def slow(x):
            return {'y': tf.while_loop(lambda i, _: i < self._spin, lambda i, s: (i + 1, s * 1.000001), (0, x),
                                       parallel_iterations=1)[1]}

        signatures = {'serving_default': predict, 'regress_x_to_y': regress, 'classify_x_to_y': classify}
        if self._spin:
            signatures['slow'] = slow
        return signatures


def save_affine(directory, **arguments):
    """Writes a version with an Affine as a push does: under a temporary name, then renamed."""
    directory = os.fspath(directory)
    module = Affine(**arguments)
    temporary = directory + '.copying'
    tf.saved_model.save(module, temporary, signatures=module.signatures())
    os.rename(temporary, directory)


class Brightness(tf.Module):
    """A classifier with the signatures of an exported PolyViT: media are 'low' or 'high' by brightness or loudness.

    broken: a fault that ServingCheck must find: 'nan' scores, the wrong 'order', a 'py_function', other scores of 'all'
    tasks; '' for none. card: what the signature `model_card` returns; without it there is no such signature.
    """

    def __init__(self, broken='', card=''):
        super().__init__()
        self.labels = tf.constant(['low', 'high'])
        self._broken = broken
        self._card = card

    def _scores(self, mean):
        mean = tf.clip_by_value(mean, 0.0, 1.0)
        if self._broken == 'nan':
            mean = mean * np.nan
        return tf.stack([1.0 - mean, mean], axis=1)

    def _top(self, scores):
        values, indices = tf.math.top_k(scores, 2)
        if self._broken == 'order':
            values, indices = values[:, ::-1], indices[:, ::-1]
        return {'labels': tf.gather(self.labels, indices), 'scores': values}

    def signatures(self):
        spec = tf.TensorSpec

        def image_mean(image):
            if self._broken == 'py_function':
                return tf.py_function(lambda b: tf.cast(tf.strings.length(b) > 0, tf.float32), [image], tf.float32)
            return tf.reduce_mean(tf.cast(tf.io.decode_image(image, 3, expand_animations=False), tf.float32)) / 255

        def image_means(images):
            return tf.map_fn(image_mean, images, fn_output_signature=tf.TensorSpec([], tf.float32))

        def audio_means(sounds):
            return tf.map_fn(lambda s: 0.5 * tf.reduce_max(tf.abs(tf.audio.decode_wav(s, 1).audio)), sounds,
                             fn_output_signature=tf.TensorSpec([], tf.float32))

        def video_means(frames):  # of clips that empty strings pad
            def clip_mean(clip):
                return tf.reduce_mean(image_means(tf.boolean_mask(clip, tf.strings.length(clip) > 0)))
            return tf.map_fn(clip_mean, frames, fn_output_signature=tf.TensorSpec([], tf.float32))

        signatures = {}
        for task, modality, name, shape, means in (('shade', 'image', 'image', [None], image_means),
                                                   ('volume', 'audio', 'audio', [None], audio_means),
                                                   ('film', 'video', 'frames', [None, None], video_means)):
            def top(media, means=means):
                return self._top(self._scores(means(media)))

            def scores(media, means=means):
                return {'scores': self._scores(means(media))}

            def every_task(media, task=task, means=means):
                return {f'{task}_scores': self._scores(means(media)) / (2.0 if self._broken == 'all' else 1.0)}
            signatures[f'{modality}_all'] = tf.function(every_task).get_concrete_function(spec(shape, tf.string, name))
            signatures[task] = tf.function(top).get_concrete_function(spec(shape, tf.string, name))
            signatures[f'{task}_scores'] = tf.function(scores).get_concrete_function(spec(shape, tf.string, name))
        signatures['image_embedding'] = tf.function(
            lambda image: {'embedding': image_means(image)[:, None] * [1.0, 2.0]}).get_concrete_function(
                spec([None], tf.string, 'image'))
        if self._card:
            signatures['model_card'] = tf.function(
                lambda request: {'card': tf.fill(tf.shape(request), self._card)}).get_concrete_function(
                    spec([None], tf.string, 'request'))
        return signatures


def save_brightness(directory, broken='', card=''):
    module = Brightness(broken, card)
    tf.saved_model.save(module, os.fspath(directory), signatures=module.signatures())


def save_polyvit(directory):
    """A version with an untrained PolyViT whose scores differ: `pets` (images), `calls` (sounds), `moves` (videos) and
    `notes` (texts)."""
    tasks = {'image': 'pets', 'audio': 'calls', 'video': 'moves', 'text': 'notes'}
    mixture = Mixture(tuple(testing.task(task, modality) for modality, task in tasks.items()))
    config = ModelConfig(layers=1, width=16, heads=2, mlp_width=32, inputs=(
        ImageInput(32, 32, (8, 8)), AudioInput(frames=64, mel_bins=32), VideoInput(2, 16, 16, (2, 8, 8)),
        TextInput(length=32)))
    labels = {'pets': ['cat', 'dog', 'rat'], 'calls': ['owl', 'wren', 'tit'], 'moves': ['up', 'down'],
              'notes': ['glad', 'sad']}
    tf_keras.utils.set_random_seed(0)
    model = PolyViT(mixture, {name: len(words) for name, words in labels.items()}, config)
    for head in model.heads.values():  # they are zero at first, and all scores would be the same
        for weights in head.trainable_variables:
            weights.assign(tf.random.stateless_normal(weights.shape, [1, 2], stddev=2.0))
    picture = testing.image_bytes('JPEG', size=(40, 30))
    samples = {'pets': [picture], 'calls': [testing.wav_bytes()], 'moves': [picture, picture], 'notes': [b'all well']}
    export.save(export.ServedModel(model, mixture, labels, {'calls': (-30.0, 20.0)}), os.fspath(directory), {}, samples)

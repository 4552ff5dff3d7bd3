"""Transform's preprocessing_fn, one a modality: raw features -> what training reads. Media bytes stay encoded.

Each takes the batched features that TaskSchemaGen's schema describes and custom_config: 'source' (the task's Source),
'spec' (the modality's input settings) and 'classes' (the label domain, a list), as JSON. Each returns `id`, `label`,
the media feature, and writes the vocabulary `<task>_labels`, one label per line, most frequent first. `label` is what
the task's kind of label makes of the places in that file (model_code/label_kinds: `transform`): [N] int64 or [N,
classes] float32.
"""

import json

import tensorflow as tf
import tensorflow_transform as tft

from model_code.data import Source
from model_code.modalities import AudioInput
from model_code.preprocessing import audio as audio_ops
from model_code.serialization import from_json


def image(inputs, custom_config):
    """image [N] string: PNG or JPEG bytes."""
    return {**_id_and_label(inputs, custom_config), 'image': inputs['image']}


def video(inputs, custom_config):
    """frames: a SparseTensor [N, F] string, JPEG bytes, a row a clip."""
    return {**_id_and_label(inputs, custom_config), 'frames': inputs['frames']}


def audio(inputs, custom_config):
    """audio [N] string: WAV bytes; log_mel_mean and log_mel_stddev [N] float32: of the train split, in every row.

    Mean and deviation are over all frames and bins of the spectrograms that training sees, padding included.
    """
    spec = from_json(AudioInput, custom_config['spec'])

    def moments(encoded):
        # Two numbers an example, so that a batch of spectrograms never stands in memory. Double precision: the
        # variance is a difference of large numbers.
        decibels = tf.cast(audio_ops.log_mel(audio_ops.decode_waveform(encoded, spec), spec), tf.float64)
        return tf.stack([tf.reduce_mean(decibels), tf.reduce_mean(tf.square(decibels))])

    per_example = tf.map_fn(moments, inputs['audio'], fn_output_signature=tf.TensorSpec([2], tf.float64))
    mean, mean_square = tf.unstack(tft.mean(per_example, reduce_instance_dims=False))
    stddev = tf.sqrt(tf.maximum(mean_square - tf.square(mean), 0))
    rows = tf.shape(inputs['audio'])
    return {
        **_id_and_label(inputs, custom_config),
        'audio': inputs['audio'],
        'log_mel_mean': tf.fill(rows, tf.cast(mean, tf.float32)),
        'log_mel_stddev': tf.fill(rows, tf.cast(stddev, tf.float32)),
    }


def _id_and_label(inputs, custom_config) -> dict:
    source = from_json(Source, custom_config['source'])
    places = tft.compute_and_apply_vocabulary(
        inputs['label'], vocab_filename=f'{source.name}_labels', default_value=-1, num_oov_buckets=0)
    # [N] where the schema says that there is one label, else sparse.
    places = places[:, tf.newaxis] if isinstance(places, tf.Tensor) else tf.sparse.to_dense(places, default_value=-1)
    # How many classes there are must be known while the graph is built: an example's shape is part of its schema.
    classes = len(json.loads(custom_config['classes']))
    return {'id': inputs['id'], 'label': source.data.kind.functions.transform(places, classes)}

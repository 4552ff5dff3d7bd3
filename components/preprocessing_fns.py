"""Transform's preprocessing_fn: raw features -> what training reads. Media bytes stay encoded."""

import json

import tensorflow as tf
import tensorflow_transform as tft

from model_code.data import Source
from model_code.modalities import Modality, get_modality
from model_code.serialization import from_json


def preprocess(inputs, custom_config):
    """`id`, `label`, the media feature, and the train split's statistics that the modality is normalised by.

    inputs: the batched features that TaskSchemaGen's schema describes; media are [N] string, or where they are lists
    (a clip's frames) a SparseTensor [N, F]. custom_config: 'source' (the task's Source), 'spec' (the modality's input
    settings) and 'classes' (the label domain, a list), as JSON.

    Writes the vocabulary `<task>_labels`, one label per line, most frequent first. `label` is what the task's kind of
    label makes of the places in that file (model_code/label_kinds: `transform`): [N] int64 or [N, classes] float32.
    Each statistic is [N] float32, the same in every row.
    """
    source = from_json(Source, custom_config['source'])
    modality = get_modality(source.modality)
    features = {**_id_and_label(inputs, source, custom_config), modality.feature: inputs[modality.feature]}
    if modality.statistics:
        spec = from_json(modality.input_class, custom_config['spec'])
        features |= _statistics(inputs[modality.feature], modality, spec)
    return features


def _statistics(media, modality: Modality, spec) -> dict:
    encoded = tf.sparse.to_dense(media) if modality.repeated else media
    # A few numbers per example, so that a batch of decoded examples never stands in memory.
    moments = tf.map_fn(lambda one: modality.preprocessing.moments(one, spec), encoded,
                        fn_output_signature=tf.TensorSpec([len(modality.statistics)], tf.float64))
    values = modality.preprocessing.statistics(tft.mean(moments, reduce_instance_dims=False))
    rows = tf.shape(encoded)[:1]
    return {name: tf.fill(rows, value) for name, value in zip(modality.statistics, values, strict=True)}


def _id_and_label(inputs, source: Source, custom_config) -> dict:
    places = tft.compute_and_apply_vocabulary(
        inputs['label'], vocab_filename=f'{source.name}_labels', default_value=-1, num_oov_buckets=0)
    # [N] where the schema says that there is one label, else sparse.
    places = places[:, tf.newaxis] if isinstance(places, tf.Tensor) else tf.sparse.to_dense(places, default_value=-1)
    # How many classes there are must be known while the graph is built: an example's shape is part of its schema.
    classes = len(json.loads(custom_config['classes']))
    return {'id': inputs['id'], 'label': source.data.kind.functions.transform(places, classes)}

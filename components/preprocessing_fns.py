"""Transform's preprocessing_fn: turns raw features into those that training reads. Media stay encoded."""

import tensorflow as tf
import tensorflow_transform as tft

from model_code.data import Source
from model_code.modalities import CAPTION, Modality, get_modality
from model_code.serialization import from_json


def preprocess(inputs, custom_config):
    """`id`, `label`, the media feature, the caption if there is one, and the statistics of the train split by which the
    modality is normalised.

    inputs: the batched features that TaskSchemaGen's schema describes. Media are [N] string, or a SparseTensor [N, F]
    if an example has a list of them (the frames of a clip). custom_config: 'source' (the task's Source) and 'spec' (the
    modality's input settings), as JSON, and 'classes' (the number of classes, from the schema).

    Writes the vocabulary `<task>_labels`, one label per line, most frequent first. `label` is [N] int64 or
    [N, classes] float32, made by the task's label kind from the labels' line numbers in that file
    (model_code/label_kinds: `transform`). Each statistic is [N] float32, the same in every row.
    """
    source = from_json(Source, custom_config['source'])
    modality = get_modality(source.modality)
    features = {**_id_and_label(inputs, source, custom_config), modality.feature: inputs[modality.feature]}
    if source.captioned:
        features[CAPTION] = inputs[CAPTION]
    if modality.statistics:
        spec = from_json(modality.input_class, custom_config['spec'])
        features |= _statistics(inputs[modality.feature], modality, spec)
    return features


def _statistics(media, modality: Modality, spec) -> dict:
    encoded = tf.sparse.to_dense(media) if modality.repeated else media
    # One example at a time gives a few numbers, so a batch of decoded examples is never in memory.
    moments = tf.map_fn(lambda example: modality.preprocessing.moments(example, spec), encoded,
                        fn_output_signature=tf.TensorSpec([len(modality.statistics)], tf.float64))
    values = modality.preprocessing.statistics(tft.mean(moments, reduce_instance_dims=False))
    rows = tf.shape(encoded)[:1]
    return {name: tf.fill(rows, value) for name, value in zip(modality.statistics, values, strict=True)}


def _id_and_label(inputs, source: Source, custom_config) -> dict:
    places = tft.compute_and_apply_vocabulary(
        inputs['label'], vocab_filename=f'{source.name}_labels', default_value=-1, num_oov_buckets=0)
    # Dense [N] if the schema says that an example has exactly one label, otherwise sparse.
    places = places[:, tf.newaxis] if isinstance(places, tf.Tensor) else tf.sparse.to_dense(places, default_value=-1)
    # The number of classes must be known while the graph is built, because the label's shape is part of the schema.
    return {'id': inputs['id'],
            'label': source.data.kind.functions.transform(places, custom_config['classes'])}

"""Transformed TFRecords -> batches. Media stays encoded until here; memory is bounded by the buffers, not the data set."""

import tensorflow as tf

from model_code import modalities
from model_code.errors import PipelineStop
from model_code.settings import ModelConfig
from model_code.tasks import Task

SHUFFLE_BUFFER = 2_048  # encoded examples: kilobytes each, so some megabytes a task


def feature_spec(task: Task, classes: int) -> dict:
    """The transformed features that training reads, as tf.io.parse_single_example wants them."""
    row = modalities.get_modality(task.modality)
    media = (tf.io.FixedLenSequenceFeature([], tf.string, allow_missing=True) if row.repeated
             else tf.io.FixedLenFeature([], tf.string))
    label = tf.io.FixedLenFeature([classes], tf.float32) if task.multi_hot else tf.io.FixedLenFeature([], tf.int64)
    spec = {row.feature: media, 'label': label}
    if task.modality == 'audio':
        spec |= {'log_mel_mean': tf.io.FixedLenFeature([], tf.float32),
                 'log_mel_stddev': tf.io.FixedLenFeature([], tf.float32)}
    return spec


def model_input(task: Task, spec, features: dict) -> tf.Tensor:
    """One parsed example -> the tokenizer's input, without augmentation."""
    row = modalities.get_modality(task.modality)
    example = row.preprocessing.decode(features[row.feature], spec)
    if task.modality == 'audio':
        example = row.preprocessing.normalize(example, features['log_mel_mean'], features['log_mel_stddev'], spec)
    return example


def task_dataset(task: Task, classes: int, config: ModelConfig, files: list[str], training: bool,
                 seed: int = 0, batch_size: int | None = None) -> tf.data.Dataset:
    """Batches (inputs [batch, *input shape] float32, labels) of one task's TFRecord files (gzip).

    In training: shuffled, endless, augmented, full batches of task.batch_size only, so that shapes are static. Else:
    once through in order, the last batch as large as it comes.
    """
    row = modalities.get_modality(task.modality)
    spec = config.input(task.modality)
    parsed_features = feature_spec(task, classes)

    @tf.autograph.experimental.do_not_convert  # no Python branch on a tensor: tracing is faster without
    def to_example(record):
        features = tf.io.parse_single_example(record, parsed_features)
        example = model_input(task, spec, features)
        if training:
            for name in task.augmentations:
                example = getattr(row.preprocessing, name)(example, spec)
        return tf.ensure_shape(example, spec.shape), features['label']

    names = tf.data.Dataset.from_tensor_slices(sorted(files))
    if training:
        names = names.shuffle(len(files), seed=seed)
    records = names.interleave(lambda name: tf.data.TFRecordDataset(name, compression_type='GZIP'),
                               cycle_length=4)
    if training:
        # Shuffled while still encoded: a buffer of decoded clips would not fit.
        records = records.shuffle(SHUFFLE_BUFFER, seed=seed).repeat()
    dataset = records.map(to_example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    dataset = dataset.batch(batch_size or task.batch_size, drop_remainder=training).prefetch(2)
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    options.autotune.ram_budget = 512 * 1024 * 1024
    return dataset.with_options(options)


def first_example(task: Task, classes: int, files: list[str]) -> dict:
    """The first transformed example, parsed. Export takes the log-mel statistics from it: a task's are all the same."""
    for record in tf.data.TFRecordDataset(sorted(files), compression_type='GZIP').take(1):
        return tf.io.parse_single_example(record, feature_spec(task, classes))
    raise PipelineStop(f'Task {task.name} has no training example in {files}; it needs at least one.')

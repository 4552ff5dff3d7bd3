"""Transformed TFRecords -> batches. Media stays encoded until here; memory is bounded by the buffers, not the data set.

A task's training stream is a function of its seed alone: epoch e reads the files in an order, and shuffles with a seed,
drawn from (seed, e); the example at position p is augmented with (seed, p). So a stream is rebuilt at any position:
whole epochs are skipped by arithmetic, and what is left of one by reading its encoded records over.
"""

import functools
import hashlib
import json
import os

import tensorflow as tf

from model_code import file_io, losses, modalities
from model_code.errors import PipelineStop
from model_code.preprocessing import draws, mixup
from model_code.settings import ModelConfig
from model_code.tasks import Task

READ_FILES = 4  # at a time
READ_AHEAD = 8  # encoded examples

ONE_HOST = tf.distribute.InputContext(num_input_pipelines=1, input_pipeline_id=0, num_replicas_in_sync=1)


def feature_spec(task: Task, classes: int) -> dict:
    """The transformed features that training reads, as tf.io.parse_single_example wants them."""
    row = modalities.get_modality(task.modality)
    media = (tf.io.FixedLenSequenceFeature([], tf.string, allow_missing=True) if row.repeated
             else tf.io.FixedLenFeature([], tf.string))
    label = (tf.io.FixedLenFeature([classes], tf.float32) if task.data.kind.multi_hot
             else tf.io.FixedLenFeature([], tf.int64))
    return {row.feature: media, 'label': label,
            **{name: tf.io.FixedLenFeature([], tf.float32) for name in row.statistics}}


def model_input(modality: str, augmentations: tuple[str, ...], spec, features: dict,
                seed: tf.Tensor | None = None) -> tf.Tensor:
    """One parsed example -> the tokenizer's input; augmented where there is a seed [2] int32."""
    row = modalities.get_modality(modality)
    augmentations = augmentations if seed is not None else ()
    example = row.preprocessing.decode(features[row.feature], spec, augmentations, seed)
    if row.statistics:
        example = row.preprocessing.normalize(example, *(features[name] for name in row.statistics), spec)
    return row.preprocessing.augment(example, spec, augmentations, seed)


def train_dataset(task: Task, classes: int, config: ModelConfig, files: list[str], seed: int = 0,
                  batches_done: int = 0, context: tf.distribute.InputContext = ONE_HOST,
                  counts_dir: str = '') -> tf.data.Dataset:
    """Endless batches (inputs [batch, *input shape] float32, labels) for one replica: shuffled, augmented, of static
    shape.

    batches_done: the stream goes on behind so many global batches. context: which host of how many reads; each has
    files of its own, or, where there are fewer files than hosts, every n-th record. A batch may
    hold the end of one epoch and the start of the next. counts_dir: where the number of records is remembered.
    labels: [batch] int64, or [batch, classes] float32 for multi-hot and mixed ones.
    """
    spec = config.input(task.modality)
    hosts, host = context.num_input_pipelines, context.input_pipeline_id
    by_file = len(files) >= hosts
    own = sorted(files)[host::hosts] if by_file else sorted(files)
    if not has_records(own):
        raise PipelineStop(f'Task {task.name} has no training example in {own}; it needs at least one.')
    position = batches_done * task.recipe.batch_size // (hosts if by_file else 1)
    epoch, offset = divmod(position, count_records(own, counts_dir)) if position else (0, 0)

    records = tf.data.Dataset.range(epoch, tf.int64.max).flat_map(
        tf.autograph.experimental.do_not_convert(lambda e: _epoch(task, own, seed, e))).skip(offset)
    first = position
    if not by_file:
        records, first = records.shard(hosts, host), position // hosts
    # Records are read and unpacked while others are decoded: a thread that does both leaves a processor waiting.
    records = records.prefetch(READ_AHEAD)
    numbered = tf.data.Dataset.zip((tf.data.Dataset.range(first, tf.int64.max), records))
    examples = numbered.map(_example_function(task, classes, spec, tf.constant([seed, host], tf.int32)),
                            num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    batch_size = context.get_per_replica_batch_size(task.recipe.batch_size)
    batches = examples.batch(batch_size, drop_remainder=True)
    if task.recipe.mixup_alpha:
        numbers = tf.data.Dataset.range(first // batch_size, tf.int64.max)
        batches = tf.data.Dataset.zip((numbers, batches)).map(
            lambda number, batch: _mixed(task, classes, batch[0], batch[1],
                                         _seed_of(tf.constant([seed, host], tf.int32), number)),
            num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    # Said to be endless: else distribution would be ready for a last, smaller batch, and shapes would not be static.
    endless = batches.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))
    return endless.prefetch(2).with_options(_options())


def eval_dataset(task: Task, classes: int, config: ModelConfig, files: list[str], batch_size: int) -> tf.data.Dataset:
    """Batches of the examples, once through in order, the last as large as it comes. Files are gzip TFRecords."""
    records = tf.data.TFRecordDataset(sorted(files), compression_type='GZIP')
    examples = records.map(_example_function(task, classes, config.input(task.modality)),
                           num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return examples.batch(batch_size).prefetch(2).with_options(_options())


def first_inputs(task: Task, classes: int, config: ModelConfig, files: list[str], seed: int = 0,
                 count: int = 4) -> tf.Tensor:
    """[count or as many as there are, *input shape] float32: the first examples as training sees them, to be looked at.

    Not of a stream of training, which would fill its buffer for them.
    """
    example = _example_function(task, classes, config.input(task.modality), tf.constant([seed, 0], tf.int32))
    records = tf.data.TFRecordDataset(sorted(files), compression_type='GZIP').take(count)
    examples = [example(number, record) for number, record in records.enumerate()]
    inputs, labels = map(tf.stack, zip(*examples, strict=True))
    if task.recipe.mixup_alpha:
        inputs, _ = _mixed(task, classes, inputs, labels, tf.constant([seed, 0], tf.int32))
    return inputs


def _epoch(task: Task, files: list[str], seed: int, epoch: tf.Tensor) -> tf.data.Dataset:
    """The records of one epoch, shuffled while still encoded: a buffer of decoded clips would not fit."""
    tf.random.set_seed(None)  # this function's own graph: the order depends on no other seed than ours
    folded = tf.random.experimental.stateless_fold_in(tf.constant([seed, len(files)], tf.int32), epoch)
    names = tf.data.Dataset.from_tensor_slices(tf.random.experimental.stateless_shuffle(tf.constant(files), folded))
    records = names.interleave(lambda name: tf.data.TFRecordDataset(name, compression_type='GZIP'),
                               cycle_length=READ_FILES)
    return records.shuffle(modalities.get_modality(task.modality).shuffle_buffer, seed=tf.cast(folded[0], tf.int64),
                           reshuffle_each_iteration=False)


def _seed_of(seed: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
    return tf.random.experimental.stateless_fold_in(seed, number)


def _example_function(task: Task, classes: int, spec, seed: tf.Tensor | None = None):
    """A function of a record, or with a seed of (its position in the stream, record), -> (input, label)."""
    parsed_features = feature_spec(task, classes)
    to_input = _input_function(task.modality, task.recipe.augmentations, spec)

    def example(record, example_seed=None):
        features = tf.io.parse_single_example(record, parsed_features)
        label = features.pop('label')
        return tf.ensure_shape(to_input(features, example_seed), spec.shape), label

    convert = tf.autograph.experimental.do_not_convert  # no Python branch on a tensor: tracing is faster without
    return convert(example if seed is None else lambda number, record: example(record, _seed_of(seed, number)))


@functools.cache
def _input_function(modality: str, augmentations: tuple[str, ...], spec) -> tf.types.experimental.GenericFunction:
    """model_input as a function that tasks of the same modality and augmentations share: it takes long to trace."""
    return tf.function(lambda features, seed: model_input(modality, augmentations, spec, features, seed),
                       autograph=False)


def _mixed(task: Task, classes: int, inputs, labels, seed):
    return mixup.mixup(inputs, losses.targets(labels, classes), task.recipe.mixup_alpha, draws.fold(seed, 'mixup'))


def _options() -> tf.data.Options:
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    options.autotune.ram_budget = 512 * 1024 * 1024
    # Examples are made in parallel, each by one thread: else a sum's order, and last bit, depends on the threads free.
    options.threading.max_intra_op_parallelism = 1
    return options


def has_records(files: list[str]) -> bool:
    """Whether any record is in the files: an endless stream of none would wait for ever."""
    return any(True for _ in tf.data.TFRecordDataset(files, compression_type='GZIP').take(1)) if files else False


def count_records(files: list[str], counts_dir: str = '') -> int:
    """How many records the gzip TFRecords hold. Reads them all once, and remembers it in counts_dir."""
    key = hashlib.sha256(json.dumps(files).encode()).hexdigest()[:16]
    path = os.path.join(counts_dir, f'records-{key}.json')
    known = file_io.read_json(path) if counts_dir else None
    if known:
        return known['records']
    count = int(tf.data.TFRecordDataset(files, compression_type='GZIP', num_parallel_reads=READ_FILES).reduce(
        tf.constant(0, tf.int64), lambda total, _: total + 1))
    if counts_dir:
        file_io.write(path, json.dumps({'records': count}))  # hosts that share records may do so at the same time
    return count


def first_example(task: Task, classes: int, files: list[str]) -> dict:
    """The first transformed example, parsed. Export takes the train split's statistics from it: all have the same."""
    for record in tf.data.TFRecordDataset(sorted(files), compression_type='GZIP').take(1):
        return tf.io.parse_single_example(record, feature_spec(task, classes))
    raise PipelineStop(f'Task {task.name} has no training example in {files}; it needs at least one.')

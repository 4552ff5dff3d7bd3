"""Transformed TFRecords -> batches. Media are stored encoded and decoded here. Memory depends on the buffers only.

A task's training stream is a function of its seed alone. For epoch e, the order of the files and the seed of the
shuffle are drawn from (seed, e). The example at position p is augmented with (seed, p). So a stream can start at any
position: whole epochs are skipped by arithmetic, and the first part of an epoch by reading its records undecoded.
"""

import functools
import hashlib
import json
import os
from collections.abc import Callable
from concurrent import futures

import numpy as np
import tensorflow as tf

from model_code import file_io, losses, modalities
from model_code.errors import PipelineStop
from model_code.preprocessing import draws, mixup
from model_code.settings import ModelConfig
from model_code.tasks import Task

READ_FILES = 4  # files that are read at a time
READ_AHEAD = 8  # encoded examples that are read ahead
_OPEN_AT_ONCE = 32  # files, for a few bytes of each: over a network opening one takes most of the time

ONE_HOST = tf.distribute.InputContext(num_input_pipelines=1, input_pipeline_id=0, num_replicas_in_sync=1)


def feature_spec(task: Task, classes: int) -> dict:
    """The transformed features that training reads, in the form that tf.io.parse_single_example takes."""
    row = modalities.get_modality(task.modality)
    media = (tf.io.FixedLenSequenceFeature([], tf.string, allow_missing=True) if row.repeated
             else tf.io.FixedLenFeature([], tf.string))
    label = (tf.io.FixedLenFeature([classes], tf.float32) if task.data.kind.multi_hot
             else tf.io.FixedLenFeature([], tf.int64))
    captions = {modalities.CAPTION: tf.io.FixedLenFeature([], tf.string)} if task.source.captioned else {}
    return {row.feature: media, 'label': label, **captions,
            **{name: tf.io.FixedLenFeature([], tf.float32) for name in row.statistics}}


def model_input(modality: str, augmentations: tuple[str, ...], spec, features: dict,
                seed: tf.Tensor | None = None, view: tf.Tensor | None = None) -> tf.Tensor:
    """One parsed example -> the tokenizer's input, augmented if there is a seed [2] int32.

    view: which of spec.views windows to take (int32 scalar, from 0), without augmentations. None takes the one input
    that training has, as if spec.views were 1.
    """
    row = modalities.get_modality(modality)
    augmentations = augmentations if seed is not None else ()
    encoded = features[row.feature]
    example = (row.preprocessing.decode(encoded, spec, augmentations, seed) if view is None
               else row.preprocessing.decode_view(encoded, spec, view))
    if row.statistics:
        example = row.preprocessing.normalize(example, *(features[name] for name in row.statistics), spec)
    return row.preprocessing.augment(example, spec, augmentations, seed)


def train_dataset(task: Task, classes: int, config: ModelConfig, files: list[str], seed: int = 0,
                  batches_done: int = 0, context: tf.distribute.InputContext = ONE_HOST,
                  counts_dir: str = '') -> tf.data.Dataset:
    """Endless batches (inputs [batch, *input shape] float32, labels) for one replica, shuffled and augmented.

    Shapes are static. labels: [batch] int64, or [batch, classes] float32 if they are multi-hot or mixed by mixup; with
    the objective 'captions' these, as their tokenizer takes them. A
    batch may hold the end of one epoch and the start of the next.

    batches_done: the number of global batches to skip. context: the number of hosts, and which of them this is. Each
    host reads its own files, or every n-th record if there are fewer files than hosts. counts_dir: where to keep the
    number of records.
    """
    hosts, host = context.num_input_pipelines, context.input_pipeline_id
    by_file = len(files) >= hosts
    host_files = sorted(files)[host::hosts] if by_file else sorted(files)
    if not has_records(host_files):
        raise PipelineStop(f'Task {task.name} has no training example in {host_files}; it needs at least one.')
    position = batches_done * task.recipe.batch_size // (hosts if by_file else 1)
    epoch, offset = divmod(position, count_records(host_files, counts_dir)) if position else (0, 0)

    records = tf.data.Dataset.range(epoch, tf.int64.max).flat_map(
        tf.autograph.experimental.do_not_convert(lambda e: _epoch(task, host_files, seed, e))).skip(offset)
    first = position
    if not by_file:
        records, first = records.shard(hosts, host), position // hosts
    # Reading and unpacking records in a thread of its own keeps all processors busy with decoding.
    records = records.prefetch(READ_AHEAD)
    numbered = tf.data.Dataset.zip((tf.data.Dataset.range(first, tf.int64.max), records))
    examples = numbered.map(_example_function(task, classes, config, tf.constant([seed, host], tf.int32)),
                            num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    batch_size = context.get_per_replica_batch_size(task.recipe.batch_size)
    batches = examples.batch(batch_size, drop_remainder=True)
    if task.recipe.mixup_alpha:
        numbers = tf.data.Dataset.range(first // batch_size, tf.int64.max)
        batches = tf.data.Dataset.zip((numbers, batches)).map(
            lambda number, batch: _mixed(task, classes, batch[0], batch[1],
                                         _seed_of(tf.constant([seed, host], tf.int32), number)),
            num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    # Without this, tf.distribute expects a smaller last batch, and shapes are not static.
    endless = batches.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))
    return endless.prefetch(2).with_options(options())


def eval_dataset(task: Task, classes: int, config: ModelConfig, files: list[str], batch_size: int) -> tf.data.Dataset:
    """Batches of all examples, once and in order. The last may be smaller. Files are gzip TFRecords.

    (inputs, labels), and with the objective 'captions' these too, as their tokenizer takes them.
    """
    records = tf.data.TFRecordDataset(sorted(files), compression_type='GZIP')
    examples = records.map(_example_function(task, classes, config),
                           num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return examples.batch(batch_size).prefetch(2).with_options(options())


def first_inputs(task: Task, classes: int, config: ModelConfig, files: list[str], seed: int = 0,
                 count: int = 4) -> tf.Tensor:
    """The first `count` examples (or all, if fewer) as training sees them, to look at: [n, *input shape] float32.

    They do not come from `train_dataset`, which would fill its shuffle buffer first.
    """
    example = _example_function(task, classes, config, tf.constant([seed, 0], tf.int32))
    records = tf.data.TFRecordDataset(sorted(files), compression_type='GZIP').take(count)
    examples = [example(number, record) for number, record in records.enumerate()]
    inputs, labels = map(tf.stack, zip(*examples, strict=True))
    if task.recipe.mixup_alpha:
        inputs, _ = _mixed(task, classes, inputs, labels, tf.constant([seed, 0], tf.int32))
    return inputs


def _epoch(task: Task, files: list[str], seed: int, epoch: tf.Tensor) -> tf.data.Dataset:
    """The records of one epoch, shuffled before they are decoded: decoded clips would fill the memory."""
    tf.random.set_seed(None)  # of this function's graph: the order must depend on no other seed
    folded = tf.random.experimental.stateless_fold_in(tf.constant([seed, len(files)], tf.int32), epoch)
    names = tf.data.Dataset.from_tensor_slices(tf.random.experimental.stateless_shuffle(tf.constant(files), folded))
    records = names.interleave(lambda name: tf.data.TFRecordDataset(name, compression_type='GZIP'),
                               cycle_length=READ_FILES)
    return records.shuffle(modalities.get_modality(task.modality).shuffle_buffer, seed=tf.cast(folded[0], tf.int64),
                           reshuffle_each_iteration=False)


def _seed_of(seed: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
    return tf.random.experimental.stateless_fold_in(seed, number)


def _example_function(task: Task, classes: int, config: ModelConfig, seed: tf.Tensor | None = None):
    """A function of a record, or of (position in the stream, record) if there is a seed, -> (input, label).

    With the objective 'captions' it gives (input, caption), or without a seed (input, label, caption): the caption as
    its tokenizer takes it.
    """
    parsed_features, spec = feature_spec(task, classes), config.input(task.modality)
    to_input = _input_function(task.modality, task.recipe.augmentations, spec)

    def example(record, example_seed=None):
        features = tf.io.parse_single_example(record, parsed_features)
        label, caption = features.pop('label'), features.pop(modalities.CAPTION, None)
        example_input = tf.ensure_shape(to_input(features, example_seed), spec.shape)
        if task.recipe.objective != 'captions':
            return example_input, label
        caption_input = captions(caption[tf.newaxis], config)[0]
        return (example_input, label, caption_input) if seed is None else (example_input, caption_input)

    convert = tf.autograph.experimental.do_not_convert  # tracing is faster, and no Python branch needs AutoGraph
    return convert(example if seed is None else lambda number, record: example(record, _seed_of(seed, number)))


def captions(texts: tf.Tensor, config: ModelConfig) -> tf.Tensor:
    """[N] texts as they are stored -> [N, *input shape] of the modality of captions."""
    row, spec = modalities.get_modality(modalities.CAPTION_MODALITY), config.input(modalities.CAPTION_MODALITY)
    return tf.map_fn(lambda text: row.preprocessing.decode(text, spec), texts,
                     fn_output_signature=tf.TensorSpec(spec.shape, tf.float32))


@functools.cache
def _input_function(modality: str, augmentations: tuple[str, ...], spec) -> tf.types.experimental.GenericFunction:
    """`model_input`, traced once for all tasks of equal modality and augmentations, because tracing takes long."""
    return tf.function(lambda features, seed: model_input(modality, augmentations, spec, features, seed),
                       autograph=False)


def _mixed(task: Task, classes: int, inputs, labels, seed):
    return mixup.mixup(inputs, losses.targets(labels, classes), task.recipe.mixup_alpha, draws.fold(seed, 'mixup'))


def options() -> tf.data.Options:
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    # AUTOTUNE then stands for one call per core. With autotuning on, its threads outlive a training by a minute, and
    # whoever collects the iterators waits for them; training itself is no faster.
    options.autotune.enabled = False
    # One thread per example: with several, the order of a sum, and so its last bit, depends on which are free.
    options.threading.max_intra_op_parallelism = 1
    return options


def has_records(files: list[str]) -> bool:
    """Whether the files hold any record. Without one, an endless stream would wait forever."""
    return any(True for _ in tf.data.TFRecordDataset(files, compression_type='GZIP').take(1)) if files else False


def count_records(files: list[str], counts_dir: str = '') -> int:
    """The number of records in gzip TFRecords. Reads them all once, and keeps the number in counts_dir."""
    def count():
        return {'records': int(_records(files).reduce(tf.constant(0, tf.int64), lambda total, _: total + 1))}
    return _kept('records', files, counts_dir, count)['records']


def count_labels(task: Task, classes: int, files: list[str], counts_dir: str = '') -> tuple[np.ndarray, int]:
    """(how many examples have each class, [classes] int64; how many examples there are). Kept like `count_records`."""
    spec = {'label': feature_spec(task, classes)['label']}

    def add(sums, records):
        targets = losses.targets(tf.io.parse_example(records, spec)['label'], classes)
        return (sums[0] + tf.cast(tf.reduce_sum(targets, axis=0), tf.int64), sums[1] + tf.size(records, tf.int64))

    def count():
        zeros = tf.zeros([classes], tf.int64), tf.constant(0, tf.int64)
        labels, examples = _records(files).batch(1024).reduce(zeros, add)
        return {'labels': labels.numpy().tolist(), 'examples': int(examples)}

    counts = _kept('labels', files, counts_dir, count)
    return np.array(counts['labels'], np.int64), counts['examples']


def _records(files: list[str]) -> tf.data.Dataset:
    """All records, in no order that matters."""
    return tf.data.TFRecordDataset(files, compression_type='GZIP', num_parallel_reads=READ_FILES)


def _kept(what: str, files: list[str], counts_dir: str, count: Callable[[], dict]) -> dict:
    """What `count` returned for these files when it was called first, from a file in counts_dir if it is given."""
    if not counts_dir:
        return count()
    path = os.path.join(counts_dir, f'{what}-{fingerprint(files)}.json')
    known = file_io.read_json(path)
    if not known:
        known = count()
        file_io.write(path, json.dumps(known))  # several hosts may write the same file at once
    return known


def fingerprint(files: list[str]) -> str:
    """A hash of gzip TFRecords by their names without folders and by their content, which is not read.

    gzip ends a file with the CRC-32 and the length of what it holds. With the size these are a digest at the cost of
    8 bytes of each file, so a terabyte takes no longer than opening its files.
    """
    def end(path: str) -> tuple[str, int, str]:
        with tf.io.gfile.GFile(path, 'rb') as file:
            size = file.size()
            file.seek(max(0, size - 8))
            return os.path.basename(path), size, file.read(8).hex()

    with futures.ThreadPoolExecutor(_OPEN_AT_ONCE) as threads:
        return hashlib.sha256(json.dumps(list(threads.map(end, sorted(files)))).encode()).hexdigest()[:16]


def first_example(task: Task, classes: int, files: list[str]) -> dict:
    """The first transformed example, parsed. All have the train split's statistics, which the export takes from it."""
    for record in tf.data.TFRecordDataset(sorted(files), compression_type='GZIP').take(1):
        return tf.io.parse_single_example(record, feature_spec(task, classes))
    raise PipelineStop(f'Task {task.name} has no training example in {files}; it needs at least one.')

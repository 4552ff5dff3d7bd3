"""Reads media with Beam, writes examples and the list of rejected files."""

import hashlib
import json
import logging
import math
import os

import apache_beam as beam
import tensorflow as tf
from tfx.components.example_gen import utils as example_gen_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils

from components.media_example_gen import listing, readers
from components.media_example_gen.entries import Entry, Listing
from model_code.errors import PipelineStop
from model_code.modalities import get_modality
from model_code.serialization import from_json
from model_code.tasks import Task

SPLITS = ('train', 'eval')
REJECTED_FILE = 'rejected.jsonl'

# A shard holds about this much: little enough to sort in a worker's memory, and to give many workers something to do.
SHARD_BYTES = 64 << 20
SHARD_EXAMPLES = 4096

# Files in an element of the Beam pipeline: an element costs about 0.1 ms, a clip's decoding a hundred.
_BATCH = {'image': 64, 'audio': 32, 'video': 4}

_log = logging.getLogger('polyvit')


class Executor(base_beam_executor.BaseBeamExecutor):
    """Executor of MediaExampleGen."""

    def Do(self, input_dict, output_dict, exec_properties):
        """Reads the files of exec_properties['task'] into the outputs `examples` and `rejected`.

        Raises ConfigError where the files can't be listed, PipelineStop where too many of them can't be read.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        task = from_json(Task, exec_properties['task'])
        spec = from_json(get_modality(task.modality).input_class, exec_properties['spec'])
        examples = artifact_utils.get_single_instance(output_dict['examples'])
        rejected = artifact_utils.get_single_instance(output_dict['rejected'])

        if listing.files.is_remote(task.data):
            listing.files.use_beam_options(self._beam_pipeline_args)
        found = listing.list_media(task)
        entries = found.entries
        shards = count_shards(entries, listing.file_facts(task, entries))
        with self._make_beam_pipeline() as pipeline:
            read_media(pipeline, task, spec, found, shards, examples.uri, rejected.uri)

        # What Examples of any ExampleGen carry: later components ask for it.
        examples.split_names = artifact_utils.encode_split_names(list(SPLITS))
        examples.set_string_custom_property(
            example_gen_utils.PAYLOAD_FORMAT_PROPERTY_NAME,
            example_gen_pb2.PayloadFormat.Name(example_gen_pb2.PayloadFormat.FORMAT_TF_EXAMPLE))
        examples.set_string_custom_property(example_gen_utils.FILE_FORMAT_PROPERTY_NAME, 'tfrecords_gzip')

        report(task, found, read_rejected(rejected.uri))


def count_shards(entries: list[Entry], facts: list[tuple[int, int]]) -> dict[str, int]:
    """How many files each split is written to, by its number of entries and their bytes; at least one."""
    shards = {}
    for split in SPLITS:
        sizes = [max(size, 0) for entry, (size, _) in zip(entries, facts) if entry.split == split]
        shards[split] = max(1, math.ceil(sum(sizes) / SHARD_BYTES), math.ceil(len(sizes) / SHARD_EXAMPLES))
    return shards


def read_media(pipeline: beam.Pipeline, task: Task, spec, found: Listing, shards: dict[str, int],
               examples_uri: str, rejected_uri: str):
    """Adds to `pipeline`: entries -> Split-<split>/data_tfrecord-*.gz under examples_uri, rejected.jsonl.

    An example's shard and place in it follow from a hash of its id: the files are the same at every run, and their
    order is not that of the classes.
    """
    size = _BATCH[task.modality]
    entries = found.entries
    batches = [entries[i:i + size] for i in range(0, len(entries), size)]
    read = (pipeline
            | 'Entries' >> beam.Create(batches)
            | 'Spread' >> beam.Reshuffle()
            | 'Read' >> beam.ParDo(_Read(task, spec, shards)))
    # Every file is written, also one that nothing falls into: a split of no examples must be there to be found empty.
    files = [(split, i) for split in SPLITS for i in range(shards[split])] + [(_REJECTED, 0)]
    turned_away = [((_REJECTED, 0), (line['path'], json.dumps(line))) for line in found.rejected]
    every_file = pipeline | 'Files' >> beam.Create([(file, None) for file in files] + turned_away)
    _ = ((read, every_file)
         | 'Both' >> beam.Flatten()
         | 'Gather' >> beam.GroupByKey()
         | 'Write' >> beam.Map(_write_file, shards, examples_uri, rejected_uri))


_REJECTED = 'rejected'


class _Read(beam.DoFn):
    """Batches of entries -> ((split, shard), (order, serialized example)) or ((_REJECTED, 0), (path, JSON line))."""

    def __init__(self, task: Task, spec, shards: dict[str, int]):
        self._task, self._spec, self._shards = task, spec, shards

    def process(self, batch):
        task = self._task
        for entry in batch:
            try:
                features = readers.read(task.modality, os.path.join(task.data, entry.path), self._spec)
                if task.modality == 'image':
                    check_decodable(features['image'])
            except readers.MediaError as error:
                line = json.dumps({'path': entry.id, 'reason': error.reason, 'detail': error.detail})
                yield (_REJECTED, 0), (entry.id, line)
                continue
            place = hashlib.sha256(entry.id.encode()).digest()
            shard = int.from_bytes(place[:8], 'big') % self._shards[entry.split]
            yield (entry.split, shard), (place[8:16] + entry.id.encode(), make_example(entry, features))


def check_decodable(image: bytes):
    """MediaError where TensorFlow's own decoder refuses an image that was passed on byte for byte.

    Pillow forgives a few damages of JPEG (a stray marker) that would end the training hours later.
    """
    try:
        tf.io.decode_image(image, channels=3, expand_animations=False)
    except tf.errors.OpError as error:
        raise readers.MediaError('undecodable', error.message) from error


def make_example(entry: Entry, features: dict) -> bytes:
    """A serialized tf.Example: id, label (one or more), extra columns by their names, and the reader's features."""
    values = {'id': [entry.id.encode()], 'label': [label.encode() for label in entry.labels]}
    values.update({name: [value.encode()] for name, value in entry.extra})
    values.update({name: value if isinstance(value, list) else [value] for name, value in features.items()})
    example = tf.train.Example()
    for name, value in values.items():
        if isinstance(value[0], bytes):
            example.features.feature[name].bytes_list.value.extend(value)
        elif isinstance(value[0], int):
            example.features.feature[name].int64_list.value.extend(value)
        else:
            example.features.feature[name].float_list.value.extend(value)
    return example.SerializeToString(deterministic=True)


def _write_file(group, shards: dict[str, int], examples_uri: str, rejected_uri: str):
    """Writes one output file of sorted records; aside first, so that a worker that dies leaves no half of one."""
    (kind, shard), records = group
    ordered = [record for _, record in sorted(record for record in records if record is not None)]
    if kind == _REJECTED:
        path = os.path.join(rejected_uri, REJECTED_FILE)
        aside = os.path.join(rejected_uri, f'.{REJECTED_FILE}-{os.getpid()}')
        tf.io.gfile.makedirs(rejected_uri)
        with tf.io.gfile.GFile(aside, 'w') as file:
            file.write(''.join(line + '\n' for line in ordered))
    else:
        name = f'data_tfrecord-{shard:05d}-of-{shards[kind]:05d}.gz'
        folder = os.path.join(examples_uri, f'Split-{kind}')
        path = os.path.join(folder, name)
        # Not beside it: readers take every file of the split's folder.
        aside = os.path.join(examples_uri, f'.{kind}-{name}-{os.getpid()}')
        tf.io.gfile.makedirs(folder)
        with tf.io.TFRecordWriter(aside, 'GZIP') as writer:
            for record in ordered:
                writer.write(record)
    tf.io.gfile.rename(aside, path, overwrite=True)


def read_rejected(rejected_uri: str) -> list[dict]:
    """The lines of a RejectedMedia artifact: {'path', 'reason', 'detail'}, by path."""
    with tf.io.gfile.GFile(os.path.join(rejected_uri, REJECTED_FILE)) as file:
        return [json.loads(line) for line in file]


def report(task: Task, found: Listing, rejected: list[dict]):
    """Logs what became of the files; PipelineStop where more are rejected than the task allows."""
    paths = {line['path'] for line in rejected}
    entries, total = found.entries, len(found.entries) + len(found.rejected)
    counts = {split: sum(entry.split == split and entry.id not in paths for entry in entries) for split in SPLITS}
    _log.info('%s: %d train and %d eval examples; %d of %d files rejected%s', task.name, counts['train'],
              counts['eval'], len(rejected), total, _some(rejected, 3))
    share = len(rejected) / total
    if share > task.max_rejected_share:
        raise PipelineStop(
            f'Task {task.name}: {len(rejected)} of {total} files ({share:.1%}) could not be read, more than the '
            f'{task.max_rejected_share:.1%} that its max_rejected_share allows{_some(rejected, 10)}. '
            'Mend or remove them, or raise max_rejected_share.')


def _some(rejected: list[dict], count: int) -> str:
    if not rejected:
        return ''
    named = '; '.join(f'{line["path"]} ({line["reason"]}: {line["detail"].rstrip(".")})' for line in rejected[:count])
    return f'. {"The first " + str(count) if len(rejected) > count else "These"}: {named}'

"""MediaExampleGen's executor: reads media with Beam and writes examples, rejections and findings."""

import collections
import itertools
import json
import math
import os
from collections.abc import Iterator

import apache_beam as beam
from apache_beam.utils import shared
from tfx.components.example_gen import utils as example_gen_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils

from components import tf_records
from components.artifacts import read_findings, write_rejected_media
from components.classes import TaskClasses, write_classes
from components.media_example_gen import plan_files
from media import listing, reading, rejections, rows
from media.entries import SPLITS, Entry, Listing, unpack
from media.findings import Findings, first_rejected
from media.listing.files import FileStat
from media.rejections import Rejection
from media.sandbox.parent import Decoder
from media.shards import ShardPlan
from model_code import file_io, job_progress, remote_files, words
from model_code.data import Source
from model_code.errors import PipelineStop
from model_code.logger import logger
from model_code.modalities import get_modality
from model_code.progress import Progress
from model_code.serialization import from_json
from model_code.urls import is_url

# How many examples' digests a worker compares at once; they take a few megabytes.
BUCKET_EXAMPLES = 50_000


class Executor(base_beam_executor.BaseBeamExecutor):
    """See component.MediaExampleGen for outputs and properties."""

    def Do(self, input_dict, output_dict, exec_properties):
        """Raises ConfigError if the files cannot be listed, PipelineStop if they are not those of media_fingerprint."""
        self._log_startup(input_dict, output_dict, exec_properties)
        source = from_json(Source, exec_properties['source']).at_version(exec_properties.get('data_version', ''))
        spec = from_json(get_modality(source.modality).input_class, exec_properties['spec'])
        examples = artifact_utils.get_single_instance(output_dict['examples'])
        rejected = artifact_utils.get_single_instance(output_dict['rejected'])
        media_fingerprint = exec_properties['media_fingerprint']

        beam_args = tuple(self._beam_pipeline_args or ())
        if is_url(source.data.folder):
            remote_files.use_options(beam_args)
        listed = listing.list_media(source)
        plan = plan_shards(source, listed, media_fingerprint)
        write_classes(artifact_utils.get_single_uri(output_dict['classes']),
                      TaskClasses(listing.classes_of(source, listed), media_fingerprint))
        try:
            paths = plan_files.write(plan, examples.uri)
            with (job_progress.expected(len(listed.entries), 'file', lambda text, extra: logger.info(
                    '%s: read %s', source.name, text, extra=extra)), self._make_beam_pipeline() as pipeline):
                read_media(pipeline, source, spec, paths, len(listed.entries), examples.uri, rejected.uri, beam_args)
            write_rejected_media(rejected.uri, *merge_parts(rejected.uri, listed.rejected))
        finally:
            file_io.remove_leftovers(examples.uri)
            file_io.remove_leftovers(rejected.uri)

        # Later components expect these properties from any ExampleGen.
        examples.split_names = artifact_utils.encode_split_names(list(SPLITS))
        examples.set_string_custom_property(
            example_gen_utils.PAYLOAD_FORMAT_PROPERTY_NAME,
            example_gen_pb2.PayloadFormat.Name(example_gen_pb2.PayloadFormat.FORMAT_TF_EXAMPLE))
        examples.set_string_custom_property(example_gen_utils.FILE_FORMAT_PROPERTY_NAME, 'tfrecords_gzip')

        log_summary(source.name, read_findings(rejected.uri))


def plan_shards(source: Source, listed: Listing, media_fingerprint: str) -> ShardPlan:
    """Plans the output files. Each media file is looked at only once, because millions take minutes.

    Raises PipelineStop if the media are not those of media_fingerprint.
    """
    plan = ShardPlan(source.modality)

    def planned():
        for entry, stat in listing.with_stats(source, listed.entries):
            plan.add(entry, stat.size)
            yield entry, stat

    check_unchanged(media_fingerprint, source, listed, planned())
    return plan


def check_unchanged(media_fingerprint: str, source: Source, listed: Listing,
                    stats: Iterator[tuple[Entry, FileStat]]):
    """Raises PipelineStop if the media are not those that were listed when the run was started: the cache's key is
    that of that listing.
    """
    if media_fingerprint != listing.media_fingerprint(source, listed, stats):
        raise PipelineStop(f'Task {source.name}: the media in {source.data.folder} (or the manifest) changed after the '
                           'run had checked them. Run again, and do not change them until they have been read.')


def read_media(pipeline: beam.Pipeline, source: Source, spec, plan: list[str], total: int, examples_uri: str,
               rejected_uri: str, beam_args: tuple[str, ...] = ()):
    """Adds the reading of a task's media to `pipeline`.

    It writes Split-<split>/data_tfrecord-*.gz under examples_uri, and temporary files for `merge_parts` under
    rejected_uri. plan: the paths from plan_files.write, which hold `total` entries.

    Neither media nor lists of entries pass between Beam steps, but for the shards' entries after they are spread: a
    worker reads the files of one shard and writes that shard. So it holds one example in memory, and no runner
    shuffles or stores the data set. Nor is each file an element of its own, because a small image is decoded in less
    time than Beam needs to pass on an element.
    """
    buckets = math.ceil(total / BUCKET_EXAMPLES)
    read = (pipeline
            | 'Plan' >> beam.Create(plan)
            | 'Shards' >> beam.FlatMap(plan_files.read)
            | 'Spread' >> beam.Reshuffle()
            | 'Read' >> beam.ParDo(_WriteShard(source, spec, examples_uri, rejected_uri, total, buckets, beam_args))
            .with_outputs('digests', main='findings'))
    equal_media = read.digests | 'ByDigest' >> beam.GroupByKey() | 'Equal' >> beam.Map(_equal_media)
    _ = ((read.findings, equal_media)
         | 'AllFindings' >> beam.Flatten()
         # There is a shard at least. A default value for none would cost a stage and a side input.
         | 'Merge' >> beam.CombineGlobally(_Merge()).without_defaults()
         | 'WriteFindings' >> beam.Map(write_findings, rejected_uri))


class _WriteShard(beam.DoFn):
    """Takes a Shard, writes its file and the part of rejected.jsonl, yields its findings.

    It also yields (bucket, packed rows for Findings.add_copies), tagged 'digests', for finding equal media. An element
    that Beam retries replaces only its own files.
    """

    def __init__(self, source: Source, spec, examples_uri: str, rejected_uri: str, total: int, buckets: int,
                 beam_args: tuple[str, ...]):
        self._source, self._spec, self._uri, self._total = source, spec, examples_uri, total
        self._rejected_uri = rejected_uri
        self._buckets, self._beam_args = buckets, beam_args
        self._decoder = self._progress = None
        self._shared_progress = shared.Shared()
        self._files = beam.metrics.Metrics.counter(job_progress.NAMESPACE, 'files')

    def setup(self):
        source = self._source
        self._decoder = Decoder(source.data.folder, source.modality, self._spec, source.data.limits, self._beam_args)
        self._progress = self._shared_progress.acquire(lambda: _make_progress(source.name, self._total))

    def teardown(self):
        if self._decoder is not None:
            self._decoder.close()

    def process(self, element):
        split, index, count, packed = element
        gathered, buckets = reading.Gathered(), collections.defaultdict(list)
        with tf_records.writer(self._uri, split, shard_name(index, count)) as file:
            for decoded in reading.decode(self._decoder, unpack(packed), self._source.modality):
                self._progress.add(1)
                self._files.inc()
                gathered.add(decoded)
                if not decoded.rejection:
                    file.write(make_example(decoded.entry, decoded.features))
        for rejection in gathered.rejected:
            gathered.findings.add_rejected(rejection)
        write_rejected(self._rejected_uri, f'{split}-{index}', gathered.rejected)
        yield gathered.findings.to_dict()
        for row in gathered.copies:
            buckets[int(row[0][:8], 16) % self._buckets].append(row)
        for bucket, copies in buckets.items():
            yield beam.pvalue.TaggedOutput('digests', (bucket, rows.pack(copies)))


def _make_progress(task: str, total: int) -> Progress:
    progress = Progress(total, 'file', lambda text: logger.info('%s: read %s', task, text, extra=progress.extra))
    return progress


def shard_name(index: int, count: int) -> str:
    """The name of a file of examples, one of `count` of its split."""
    return f'data_tfrecord-{index:05d}-of-{count:05d}.gz'


def _equal_media(bucket) -> dict:
    """The findings about equal media in one bucket, (number, iterable of packed rows)."""
    findings = Findings()
    findings.add_copies(itertools.chain.from_iterable(map(rows.unpack, bucket[1])))
    return findings.to_dict()


class _Merge(beam.CombineFn):
    """Merges Findings, as dicts."""

    def create_accumulator(self):
        return Findings().to_dict()

    def add_input(self, accumulator, values):
        return self.merge_accumulators([accumulator, values])

    def merge_accumulators(self, accumulators):
        merged = Findings()
        for values in accumulators:
            merged.merge(Findings.from_dict(values))
        return merged.to_dict()

    def extract_output(self, accumulator):
        return accumulator


# What workers leave under the uri of RejectedMedia: the findings about all files that were read, and for each shard its
# rejections.
_FINDINGS, _REJECTED = file_io.TEMPORARY + 'findings', file_io.TEMPORARY + 'rejected-'


def write_findings(findings: dict, uri: str):
    """Keeps the findings, as a dict, for `merge_parts`."""
    file_io.write(os.path.join(uri, _FINDINGS), json.dumps(findings))


def write_rejected(uri: str, shard: str, rejected: list[Rejection]):
    """Keeps a shard's rejections for `merge_parts`, in place of those of an earlier attempt."""
    path = os.path.join(uri, _REJECTED + shard)
    if rejected:
        file_io.write(path, ''.join(rejections.to_lines(rejected)))
    else:
        file_io.remove(path)  # this time all files could be read


def merge_parts(uri: str, listed: list[Rejection]) -> tuple[Findings, Iterator[Rejection]]:
    """All findings and all rejections: those of the listing, and those that the workers wrote."""
    findings = Findings.from_dict(json.loads(file_io.read_text(os.path.join(uri, _FINDINGS))))
    for rejection in listed:
        findings.add_rejected(rejection)
    parts = (name for name in file_io.list_folder(uri) if name.startswith(_REJECTED))
    read = (rejections.from_lines(file_io.read_text(os.path.join(uri, name))) for name in parts)
    return findings, itertools.chain(listed, itertools.chain.from_iterable(read))


def make_example(entry: Entry, features: dict) -> bytes:
    """A serialized tf.Example: the id, one or more labels, the extra columns by name, and the reader's features."""
    values = {'id': [entry.id.encode()], 'label': [label.encode() for label in entry.labels]}
    values.update({name: [value.encode()] for name, value in entry.extra})
    values.update({name: value if isinstance(value, list) else [value] for name, value in features.items()})
    return tf_records.serialize(values)


def log_summary(task: str, findings: Findings):
    """Logs a summary: 'digits: 500 train and 100 eval examples; 2 of 602 files rejected. These: ...'."""
    logger.info('%s: %s train and %s eval examples; %s of %s rejected%s', task,
                *(f'{findings.examples.get(split, 0):,}' for split in SPLITS), f'{findings.rejected_count:,}',
                words.count(findings.total, 'file'), first_rejected(findings.rejected, 3))

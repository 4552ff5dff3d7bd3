"""MediaExampleGen's executor: reads media with Beam and writes examples, rejections and findings."""

import collections
import itertools
import math

import apache_beam as beam
from apache_beam.utils import shared
from tfx.components.example_gen import utils as example_gen_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils

from components import tf_records
from components.artifacts import read_findings, write_rejected_media
from components.classes import TaskClasses, write_classes
from media import listing, reading
from media.entries import SPLITS, Entry, Listing, pack, unpack
from media.findings import Findings, first_rejected
from media.listing.files import FileStat
from media.rejections import Rejection
from media.sandbox.parent import Decoder
from media.shards import plan_shards
from model_code import job_progress, remote_files, words
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
        stats = listing.file_stats(source, listed.entries)
        check_unchanged(media_fingerprint, source, listed, stats)
        write_classes(artifact_utils.get_single_uri(output_dict['classes']),
                      TaskClasses(listing.classes_of(source, listed), media_fingerprint))
        with (job_progress.expected(len(listed.entries), 'file', lambda text, extra: logger.info(
                '%s: read %s', source.name, text, extra=extra)), self._make_beam_pipeline() as pipeline):
            read_media(pipeline, source, spec, listed, [stat.size for stat in stats], examples.uri, rejected.uri,
                       beam_args)

        # Later components expect these properties from any ExampleGen.
        examples.split_names = artifact_utils.encode_split_names(list(SPLITS))
        examples.set_string_custom_property(
            example_gen_utils.PAYLOAD_FORMAT_PROPERTY_NAME,
            example_gen_pb2.PayloadFormat.Name(example_gen_pb2.PayloadFormat.FORMAT_TF_EXAMPLE))
        examples.set_string_custom_property(example_gen_utils.FILE_FORMAT_PROPERTY_NAME, 'tfrecords_gzip')

        log_summary(source.name, read_findings(rejected.uri))


def check_unchanged(media_fingerprint: str, source: Source, listed: Listing, stats: list[FileStat]):
    """Raises PipelineStop if the media are not those that were listed when the run was started: the cache's key is
    that of that listing.
    """
    if media_fingerprint != listing.media_fingerprint(source, listed, stats):
        raise PipelineStop(f'Task {source.name}: the media in {source.data.folder} (or the manifest) changed after the '
                           'run had checked them. Run again, and do not change them until they have been read.')


def read_media(pipeline: beam.Pipeline, source: Source, spec, listed: Listing, sizes: list[int], examples_uri: str,
               rejected_uri: str, beam_args: tuple[str, ...] = ()):
    """Adds the reading of a task's media to `pipeline`.

    It writes Split-<split>/data_tfrecord-*.gz under examples_uri, rejected.jsonl and findings.json under rejected_uri.
    sizes: bytes of each entry's media.

    Media never pass between Beam steps: a worker reads the files of one shard and writes that shard. So it holds one
    example in memory, and no runner shuffles or stores the data set. Nor is each file an element of its own, because a
    small image is decoded in less time than Beam needs to pass on an element.
    """
    shards = plan_shards(listed.entries, sizes, source.modality)
    elements = [(split, index, len(parts), pack(entries)) for split, parts in shards.items()
                for index, entries in enumerate(parts)]
    buckets = math.ceil(len(listed.entries) / BUCKET_EXAMPLES)
    read = (pipeline
            | 'Shards' >> beam.Create(elements)
            | 'Spread' >> beam.Reshuffle()
            | 'Read' >> beam.ParDo(_WriteShard(source, spec, examples_uri, len(listed.entries), buckets,
                                                beam_args)).with_outputs('rejected', 'digests', main='findings'))
    equal_media = read.digests | 'ByDigest' >> beam.GroupByKey() | 'Equal' >> beam.Map(_equal_media)
    listed_rejected = pipeline | 'ListedRejected' >> beam.Create(listed.rejected)
    rejected = (read.rejected, listed_rejected) | 'Rejected' >> beam.Flatten()
    findings = ((read.findings, equal_media, rejected | 'Count' >> beam.Map(_rejection_findings))
                | 'AllFindings' >> beam.Flatten()
                | 'Merge' >> beam.CombineGlobally(_Merge()))
    _ = (findings | 'WriteRejectedMedia' >> beam.Map(
        lambda values, rejected: write_rejected_media(rejected_uri, Findings.from_dict(values), rejected),
        beam.pvalue.AsList(rejected)))


class _WriteShard(beam.DoFn):
    """Takes (split, index, number of shards, packed entries), writes that shard, yields its findings.

    It also yields each Rejection (tagged 'rejected') and (bucket, copies) for finding equal media (tagged 'digests').
    An element that Beam retries replaces only its own file.
    """

    def __init__(self, source: Source, spec, examples_uri: str, total: int, buckets: int,
                 beam_args: tuple[str, ...]):
        self._source, self._spec, self._uri, self._total = source, spec, examples_uri, total
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
        yield gathered.findings.to_dict()
        for rejection in gathered.rejected:
            yield beam.pvalue.TaggedOutput('rejected', rejection)
        for copy in gathered.copies:
            buckets[int.from_bytes(copy[0][:4], 'big') % self._buckets].append(copy)
        for pair in buckets.items():
            yield beam.pvalue.TaggedOutput('digests', pair)


def _make_progress(task: str, total: int) -> Progress:
    progress = Progress(total, 'file', lambda text: logger.info('%s: read %s', task, text, extra=progress.extra))
    return progress


def shard_name(index: int, count: int) -> str:
    """The name of a file of examples, one of `count` of its split."""
    return f'data_tfrecord-{index:05d}-of-{count:05d}.gz'


def _equal_media(bucket) -> dict:
    """The findings about equal media in one bucket, (number, iterable of lists of copies)."""
    findings = Findings()
    findings.add_copies(itertools.chain.from_iterable(bucket[1]))
    return findings.to_dict()


def _rejection_findings(rejection: Rejection) -> dict:
    findings = Findings()
    findings.add_rejected(rejection)
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

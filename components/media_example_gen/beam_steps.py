"""MediaExampleGen's Beam steps: what workers do. No TFX, which would take a third of a worker's start."""

import collections
import functools
import gc
import itertools
import json
import math
import os
from collections.abc import Iterator

import apache_beam as beam
from apache_beam.utils import shared

from components import tf_records
from components.media_example_gen import plan_files
from media import near_duplicates, reading, rejections, rows
from media.entries import SPLITS, TEXT, Entry, unpack
from media.findings import Findings
from media.rejections import Rejection
from media.sandbox.parent import Decoder
from model_code import file_io, job_progress
from model_code.data import Source
from model_code.logger import logger
from model_code.modalities import CAPTION
from model_code.progress import Progress

# How many examples' digests a worker compares at once; they take a few megabytes.
BUCKET_EXAMPLES = 50_000
# From so many examples on, the log says when the search for near duplicates begins. It may take a minute.
LONG_SEARCH = 5_000


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
            | 'Plan' >> beam.Create(plan, reshuffle=False)
            | 'Shards' >> beam.FlatMap(plan_files.read)
            | 'Spread' >> beam.Reshuffle()
            | 'Read' >> beam.ParDo(_WriteShard(source, spec, examples_uri, rejected_uri, total, buckets, beam_args))
            .with_outputs('digests', 'hashes', main='findings'))
    equal_media = read.digests | 'ByDigest' >> beam.GroupByKey() | 'Equal' >> beam.Map(_equal_media)
    near = (read.hashes
            | 'ByHash' >> beam.GroupByKey()
            | 'Candidates' >> beam.FlatMap(_candidates, source, total).with_outputs('pairs', main='cut'))
    near_media = near.pairs | 'ByShard' >> beam.GroupByKey() | 'Near' >> beam.Map(
        _near_media, source.modality, rejected_uri)
    _ = ((read.findings, equal_media, near.cut, near_media)
         | 'AllFindings' >> beam.Flatten()
         # There is a shard at least. A default value for none would cost a stage and a side input.
         | 'Merge' >> beam.CombineGlobally(_Merge()).without_defaults()
         | 'WriteFindings' >> beam.Map(write_findings, rejected_uri))


class _WriteShard(beam.DoFn):
    """Takes a Shard, writes its file and the part of rejected.jsonl, yields its findings.

    It also yields (bucket, packed rows for Findings.add_copies), tagged 'digests', for finding equal media, and what
    near_duplicates.to_rows gives, tagged 'hashes'. An element that Beam retries replaces only its own files.
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
        # The garbage collector would look at all that TensorFlow and Beam hold, again and again: a third of the time of
        # small images.
        gc.freeze()
        source = self._source
        self._decoder = Decoder(source.data.folder, source.modality, self._spec, source.data.limits, self._beam_args)
        self._progress = self._shared_progress.acquire(lambda: _make_progress(source.name, self._total))

    def teardown(self):
        if self._decoder is not None:
            self._decoder.close()

    def process(self, element):
        split, index, count, packed = element
        gathered, buckets, examples = reading.Gathered(), collections.defaultdict(list), []
        with tf_records.writer(self._uri, split, shard_name(index, count)) as file:
            for decoded in reading.decode(self._decoder, unpack(packed), self._source.modality):
                self._progress.add(1)
                self._files.inc()
                gathered.add(decoded)
                if not decoded.rejection:
                    file.write(make_example(decoded.entry, decoded.features))
                    examples.append(near_duplicates.example_of(decoded))
        for rejection in gathered.rejected:
            gathered.findings.add_rejected(rejection)
        write_rejected(self._rejected_uri, f'{split}-{index}', gathered.rejected)
        yield gathered.findings.to_dict()
        for row in gathered.copies:
            buckets[int(row[0][:8], 16) % self._buckets].append(row)
        for bucket, copies in buckets.items():
            yield beam.pvalue.TaggedOutput('digests', (bucket, rows.pack(copies)))
        if near_duplicates.fingerprinted(self._source.modality):
            shard = 2 * index + SPLITS.index(split)
            near_duplicates.write_fingerprints(self._rejected_uri, shard, examples)
            for element in near_duplicates.to_rows(self._source.modality, examples, shard, self._total):
                yield beam.pvalue.TaggedOutput('hashes', element)


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


@functools.cache  # said once in a worker
def _say_search(task: str):
    logger.info('%s: the files are read; looking for near duplicates', task)


def _candidates(group, source: Source, total: int) -> Iterator:
    """(shards, packed candidates) of a group of hashes, (number, what to_rows gave for it), tagged 'pairs'.

    Also the findings about buckets that were cut. Candidates of one pair come under the same key from every group.
    """
    if total >= LONG_SEARCH:
        _say_search(source.name)
    pairs, cut = near_duplicates.candidates(source.modality, group[1], total)
    by_shard = collections.defaultdict(list)
    for pair in pairs:
        by_shard[pair[0] // 8].append(pair)
    for shards, its_pairs in by_shard.items():
        yield beam.pvalue.TaggedOutput('pairs', (shards, rows.pack(its_pairs)))
    if cut:
        findings = Findings()
        findings.near_cut.count = cut
        yield findings.to_dict()


def _near_media(element, modality: str, uri: str) -> dict:
    """The findings about near duplicates among the candidates, (shards, iterable of packed candidates)."""
    pairs = {tuple(pair) for packed in element[1] for pair in rows.unpack(packed)}
    return near_duplicates.verified(modality, pairs, near_duplicates.Fingerprints(uri)).to_dict()


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
    """A serialized tf.Example: id, labels, the group and the caption if it has them, the extra columns, and the
    reader's features."""
    values = {'id': [entry.id.encode()], 'label': [label.encode() for label in entry.labels]}
    if entry.group:
        values['group'] = [entry.group.encode()]
    if entry.text and entry.record != TEXT:
        values[CAPTION] = [entry.text.encode()]
    values.update({name: [value.encode()] for name, value in entry.extra})
    values.update({name: value if isinstance(value, list) else [value] for name, value in features.items()})
    return tf_records.serialize(values)


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

"""MediaExampleGen's executor: reads media with Beam and writes examples, rejections and findings."""

import os
from collections.abc import Iterator

from tfx.components.example_gen import utils as example_gen_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils

from components import tf_records
from components.artifacts import NEAR_DUPLICATES, read_findings, write_rejected_media
from components.classes import TaskClasses, write_classes
from components.media_example_gen import plan_files
from components.media_example_gen.beam_steps import make_example, merge_parts, read_media
from media import listing
from media.entries import SPLITS, Entry, Listing
from media.findings import Findings, first_rejected
from media.listing.files import FileStat
from media.sandbox.parent import Decoder
from media.shards import ShardPlan
from model_code import file_io, job_progress, remote_files, words
from model_code.data import Source
from model_code.errors import PipelineStop
from model_code.logger import logger
from model_code.modalities import get_modality
from model_code.serialization import from_json
from model_code.urls import is_url


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
            findings, rejections = merge_parts(rejected.uri, listed.rejected)
            findings.add_listing(listed)
            write_rejected_media(rejected.uri, findings, rejections)
            write_near_duplicates(rejected.uri, source, spec, listed, findings, beam_args)
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


def write_near_duplicates(uri: str, source: Source, spec, listed: Listing, findings: Findings,
                          beam_args: tuple[str, ...]):
    """Writes the examples in the near duplicates that a report shows. Their media, a few, are read once more.

    uri: of RejectedMedia.
    """
    ids = {example_id for _, one, other, _ in findings.named_near() for example_id in (one, other)}
    if not ids:
        return
    entries = [entry for entry in listed.entries if entry.id in ids]
    path = os.path.join(uri, NEAR_DUPLICATES)
    with (file_io.replacing(path) as temporary, tf_records.Writer(temporary) as file,
          Decoder(source.data.folder, source.modality, spec, source.data.limits, beam_args) as decoder):
        for decoded in decoder.read(entries):
            if decoded.features:
                file.write(make_example(decoded.entry, decoded.features))


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


def log_summary(task: str, findings: Findings):
    """Logs a summary: 'digits: 500 train and 100 eval examples; 2 of 602 files rejected. These: ...'."""
    logger.info('%s: %s train and %s eval examples; %s of %s rejected%s', task,
                *(f'{findings.examples.get(split, 0):,}' for split in SPLITS), f'{findings.rejected_count:,}',
                words.count(findings.total, 'file'), first_rejected(findings.rejected, 3))

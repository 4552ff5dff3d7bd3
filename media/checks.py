"""Checks of a task's media without a pipeline: by the names alone, or by reading every file as the pipeline does."""

import concurrent.futures
import itertools
import os
import threading
from collections.abc import Callable, Iterator

from media import listing, reading
from media.entries import Entry, Listing
from media.findings import Findings
from media.rejections import Rejection
from media.sandbox.parent import Decoded, Decoder
from media.verdict import rare_classes, remarks, spelling_variants, stops
from model_code.data import Source
from model_code.modalities import get_modality
from model_code.tasks import Checks


def check_names(listed: Listing) -> Findings:
    """What the names alone tell, as if every file could be read: reading them can only make it worse."""
    findings = Findings()
    for entry in listed.entries:
        findings.add_example(entry)
    for rejection in listed.rejected:
        findings.add_rejected(rejection)
    return findings


def check_media(source: Source, checks: Checks, spec, beam_args: tuple[str, ...] = (), workers: int = 0,
                progress: Callable[[str, int, int], None] = lambda *unused: None) -> dict:
    """Reads all media of a task, with the decoders, findings and verdict of MediaExampleGen and TaskValidator.

    spec: the modality's input settings. workers: decoding processes; 0 takes one per core. progress: called at the
    start and after every few hundred files, with the task's name, how many files are done, and how many there are.
    Returns {'name', 'modality', 'data', 'ok', 'stops': [sentence], 'remarks': [line], 'spelling': [[label]], 'few':
    {label: count}, 'rejected_lines': [line of rejected.jsonl], and the fields of findings.Findings}. ok: a run would
    not stop for it. Raises ConfigError where the media can't be listed.
    """
    listed = listing.list_media(source)
    findings, rejected = gather(listed, _read(source, spec, beam_args, listed.entries, workers, progress))
    classes = source.data.classes or listing.train_labels(listed)
    reasons = stops(source.name, checks, findings, classes)
    return {'name': source.name, 'modality': source.modality, 'data': source.data.folder, 'ok': not reasons,
            'stops': reasons, 'remarks': remarks(checks, findings), 'spelling': spelling_variants(findings.classes),
            'few': rare_classes(checks, findings, classes), **findings.to_dict(),
            'rejected_lines': [rejection.to_dict() for rejection in rejected]}


def gather(listed: Listing, decoded: Iterator[Decoded]) -> tuple[Findings, list[Rejection]]:
    """Findings and rejections, sorted, of a listing and its decoded entries, in one process.

    MediaExampleGen does the same on workers. The digests of a million examples are some 200 MB here.
    """
    gathered = reading.Gathered()
    for one in decoded:
        gathered.add(one)
    findings, rejected = gathered.findings, sorted(listed.rejected + gathered.rejected)
    for rejection in rejected:
        findings.add_rejected(rejection)
    findings.add_copies(gathered.copies)
    return findings, rejected


def _read(source: Source, spec, beam_args, entries: list[Entry], workers: int, progress) -> Iterator[Decoded]:
    """The entries, decoded in their order by several processes, without their features."""
    local, decoders = threading.local(), []
    workers = workers or os.cpu_count() or 1

    def read_chunk(chunk):
        if not hasattr(local, 'decoder'):
            local.decoder = Decoder(source.data.folder, source.modality, spec, source.data.limits, beam_args)
            decoders.append(local.decoder)
        return [one.without_features() for one in reading.decode(local.decoder, chunk, source.modality)]

    size = max(1, get_modality(source.modality).shard_entries // 4)
    chunks = (entries[i:i + size] for i in range(0, len(entries), size))
    done = 0
    progress(source.name, done, len(entries))
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        try:
            # A few chunks ahead of the workers: a million entries are not a million futures.
            waiting = [pool.submit(read_chunk, chunk) for chunk in itertools.islice(chunks, 2 * workers)]
            while waiting:
                results = waiting.pop(0).result()
                waiting += [pool.submit(read_chunk, chunk) for chunk in itertools.islice(chunks, 1)]
                yield from results
                done += len(results)
                progress(source.name, done, len(entries))
        finally:
            for future in waiting:
                future.cancel()
            pool.shutdown()
            for decoder in decoders:
                decoder.close()

"""Checks a task's media without a pipeline, by reading every file as the pipeline does."""

import functools
import typing
from collections.abc import Callable, Iterator

from media import listing, near_duplicates, parallel, reading, scene_names, scenes
from media.entries import Entry, Listing, StoredEntries
from media.findings import Findings
from media.rejections import Rejection
from media.sandbox.parent import Decoded, Decoder
from media.verdict import rare_classes, reasons_to_stop, remarks, spelling_variants
from model_code.data import Source
from model_code.modalities import get_modality
from model_code.tasks import Checks

_Seen = typing.TypeVar('_Seen')


def check_media(source: Source, checks: Checks, spec, beam_args: tuple[str, ...] = (), workers: int = 0,
                progress: Callable[..., None] = lambda *unused: None) -> dict:
    """Reads all media of a task, and judges them as MediaExampleGen and TaskValidator do.

    spec: the modality's input settings. workers: the number of decoding processes; 0 for one per core. progress: called
    at the start and after every few hundred files, with the task's name, the number of files done, and the total; then,
    while near duplicates are searched, with what is counted in place of files too.

    Returns {'name', 'modality', 'data', 'ok', 'stops': [sentence], 'remarks': [line], 'spelling': [[label]], 'few':
    {label: count}, 'rejected_lines': [line of rejected.jsonl], and the fields of findings.Findings}. ok: a run would
    not stop because of these media. Raises ConfigError if the media cannot be listed.
    """
    listed = listing.list_media(source)
    looked_for = scenes.has_scenes(source.modality) and not source.data.groups
    clips = scenes.Scenes() if looked_for and len(listed.entries) <= scenes.MAX_CLIPS else None

    def look(decoded: Decoded):
        return None if clips is None or decoded.features is None else scenes.views(
            decoded.features[get_modality(source.modality).feature])

    def all_decoded() -> Iterator[Decoded]:
        for decoded, views in read_all(source, spec, beam_args, listed.entries, workers, progress, look):
            if clips is not None and views is not None:
                clips.add(decoded.entry, views)
            yield decoded

    findings, rejected = gather(
        listed, all_decoded(), source.modality if near_duplicates.fingerprinted(source.modality) else '',
        functools.partial(progress, f'{source.name}, near duplicates'))
    classes = source.data.classes or sorted(listing.train_labels(listed))
    reasons = reasons_to_stop(source, checks, findings, classes, listed.rejected_labels)
    return {'name': source.name, 'modality': source.modality, 'data': source.data.folder, 'ok': not reasons,
            'stops': reasons,
            'remarks': [*listed.remarks, *remarks(checks, findings), *_scene_remarks(source, listed, clips)],
            'spelling': spelling_variants(findings.classes), 'few': rare_classes(checks, findings, classes),
            **findings.to_dict(), 'rejected_lines': [rejection.to_dict() for rejection in rejected]}


def gather(listed: Listing, decoded: Iterator[Decoded], modality: str = '',
           progress: Callable[[int, int, str], None] = lambda *unused: None) -> tuple[Findings, list[Rejection]]:
    """The findings and the sorted rejections of a listing and its decoded entries, in one process.

    modality: to look for near duplicates too. progress: as in near_duplicates.InOneProcess. MediaExampleGen does the
    same on its workers.
    """
    gathered = reading.Gathered()
    near = near_duplicates.InOneProcess(modality, len(listed.entries)) if modality else None
    for decoded_entry in decoded:
        gathered.add(decoded_entry)
        if near and not decoded_entry.rejection:
            near.add(decoded_entry)
    findings, rejected = gathered.findings, sorted(listed.rejected + gathered.rejected)
    for rejection in rejected:
        findings.add_rejected(rejection)
    findings.add_copies(gathered.copies)
    findings.add_listing(listed)
    if near:
        findings.merge(near.findings(progress))
    return findings, rejected


def _scene_remarks(source: Source, listed: Listing, clips: scenes.Scenes | None) -> list[str]:
    """Lines about eval examples that seem to share their scene with train, by their names or backgrounds;
    none if the task has groups."""
    if source.data.groups:
        return []  # the groups are known: whether they are torn is a finding
    lines = []
    named = scene_names.suggest(listed.entries)
    if named and named.shared:
        lines.append(named.remark())
    found = clips.find() if clips else []
    if scenes.shared_with_train(found):
        lines.append(scenes.remark(source.name, found))
    return lines


def read_all(source: Source, spec, beam_args: tuple[str, ...], entries: list[Entry] | StoredEntries, workers: int,
             progress: Callable[[str, int, int], None], look: Callable[[Decoded], _Seen]
             ) -> Iterator[tuple[Decoded, _Seen]]:
    """Decodes the entries in several processes. Yields them in order: without their features, and with what
    look(decoded) has returned, which sees the features.

    The other arguments are those of `check_media`.
    """
    total = len(entries)

    def make_decoder():
        return Decoder(source.data.folder, source.modality, spec, source.data.limits, beam_args)

    def read(decoder: Decoder, chunk: list[Entry]):
        return [(decoded.without_features(), look(decoded))
                for decoded in reading.decode(decoder, chunk, source.modality)]

    done = 0
    progress(source.name, done, total)
    chunk_entries = max(1, get_modality(source.modality).shard_entries // 4)
    for results in parallel.read_chunks(make_decoder, read, entries, chunk_entries, workers):
        yield from results
        done += len(results)
        progress(source.name, done, total)

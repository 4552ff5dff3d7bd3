"""`polyvit data show`: one HTML page with examples of each task and class, as the reader gives them to the model."""

import collections
import dataclasses
import hashlib
import heapq
import os
import time
from collections.abc import Callable, Iterable, Iterator

from components.media_pictures import picture
from components.report import render as report
from media import checked_listing, listing, parallel, verdict
from media.entries import SPLITS, Entry
from media.sandbox.parent import Decoded, Decoder
from model_code import file_io, words
from model_code.errors import ConfigError
from model_code.modalities import get_modality
from model_code.tasks import Task
from pipeline import checks
from pipeline.config import PipelineConfig

EXAMPLES = 600  # in a page, about: those of a task are fewer the more tasks there are, and
CELL_EXAMPLES = (1, 6)  # those of a class in a split are within these bounds
CLASSES = 60  # of one task
PAGE_BYTES = 18 << 20  # of pictures and players; examples beyond it have only text
SECONDS = 180.0  # to read media, for all tasks together
_REJECTED = 10  # of those that the listing rejects, named for each task
_CHUNK = 4  # examples that are decoded in a row by one process


@dataclasses.dataclass(frozen=True)
class Example:
    """A figure of the page. picture: HTML, '' without one. size: in words. rejected: reason and detail, '' if none."""
    id: str
    labels: tuple[str, ...]
    group: str
    extra: tuple[tuple[str, str], ...]
    picture: str
    size: str
    notes: tuple[str, ...]
    rejected: str = ''


def show(config: PipelineConfig, output: str | None, progress: Callable[[str, int, int], None]) -> str:
    """Writes the page; returns its path. progress: as in data_check.check_config.

    output: a file that ends in .html; None for one in the current folder, named by the config. Raises ConfigError if it
    cannot be written, or if the media of a task cannot be listed.
    """
    path = output or f'{config.name}-examples.html'
    if not path.lower().endswith(('.html', '.htm')):
        raise ConfigError(f'--output is {path!r}; it must be the name of a file that ends in .html.')
    file_io.check_output(path)
    checks.use_file_systems(config)
    checks.check_demo_media(config)
    count = len(config.mixture.tasks)
    tasks = [_task(task, config, EXAMPLES // count, PAGE_BYTES // count, SECONDS / count, progress)
             for task in config.mixture.tasks]
    environment = report.environment(os.path.dirname(__file__))
    page = environment.get_template('data_show.html').render(
        name=config.name, tasks=tasks, splits=SPLITS, colours=[f'c{i % report.COLOURS}' for i in range(count)])
    file_io.write(path, page.encode('utf-8', 'backslashreplace'))
    return path


def _task(task: Task, config: PipelineConfig, examples: int, most_bytes: int, seconds: float, progress) -> dict:
    """What the page shows of a task."""
    listed = listing.list_media(task.source)
    counts = count_labels(listed.entries)
    shown = choose_labels(counts, CLASSES)
    least, most = CELL_EXAMPLES
    cells = choose(listed.entries, shown, min(max(examples // (len(SPLITS) * len(shown)), least), most))
    entries = list({entry.id: entry for cell in cells.values() for entry in cell}.values())
    figures, bytes_left, end = {}, most_bytes, time.monotonic() + seconds
    progress(task.name, 0, len(entries))
    for example in _examples(task, config, entries):
        kept = example if len(example.picture) <= bytes_left else dataclasses.replace(example, picture='')
        bytes_left -= len(kept.picture)
        figures[example.id] = kept
        late = time.monotonic() > end
        progress(task.name, len(figures), len(figures) if late else len(entries))
        if late:
            break
    found = checked_listing.name_findings(listed)
    classes = task.data.classes or sorted(listing.train_labels(listed))
    greatest = max(counts[label].total() for label in shown) or 1
    return {
        'name': task.name, 'modality': task.modality, 'folder': task.data.folder, 'kind': task.data.label_kind,
        'examples': {split: found.examples.get(split, 0) for split in SPLITS},
        'stops': verdict.reasons_to_stop(task.source, task.checks, found, classes, listed.rejected_labels),
        'remarks': verdict.remarks(task.checks, found),
        'rejected': [(one.path, one.reason, one.detail) for one in listed.rejected[:_REJECTED]],
        'rejected_count': len(listed.rejected),
        'class_count': len(counts),
        'unread': len(entries) - len(figures),
        'text_only': sum(not one.picture and not one.rejected for one in figures.values()),
        'classes': [{'label': label, 'counts': counts[label],
                     'widths': {split: f'{100 * counts[label][split] / greatest:.2f}' for split in SPLITS},
                     'cells': {split: [figures[entry.id] for entry in cells[label, split] if entry.id in figures]
                               for split in SPLITS}}
                    for label in sorted(shown, key=lambda label: (-counts[label].total(), label))]}


def _labels(entry: Entry) -> tuple[str, ...]:
    return entry.labels or ('',)


def count_labels(entries: Iterable[Entry]) -> dict[str, collections.Counter]:
    """Label -> split -> number of examples; '' for examples without a label."""
    counts = collections.defaultdict(collections.Counter)
    for entry in entries:
        for label in _labels(entry):
            counts[label][entry.split] += 1
    return dict(counts)


def choose_labels(labels: Iterable[str], count: int) -> list[str]:
    """At most `count` of the labels, by a hash."""
    return heapq.nsmallest(count, labels, key=_hash)


def choose(entries: Iterable[Entry], labels: Iterable[str], count: int) -> dict[tuple[str, str], list[Entry]]:
    """(label, split) -> at most `count` of its entries, by a hash of their ids: the same in every call."""
    chosen = {(label, split): [] for label in labels for split in SPLITS}
    for number, entry in enumerate(entries):
        key = None
        for label in _labels(entry):
            cell = chosen.get((label, entry.split))
            if cell is not None:
                # The greatest hash first, so that it is the one to go. The number, because entries have no order.
                key = key or -_hash(entry.id)
                (heapq.heappushpop if len(cell) >= count else heapq.heappush)(cell, (key, number, entry))
    return {cell: [entry for *_, entry in sorted(found, reverse=True)] for cell, found in chosen.items()}


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode('utf-8', 'surrogatepass'), digest_size=8).digest(), 'big')


def _examples(task: Task, config: PipelineConfig, entries: list[Entry]) -> Iterator[Example]:
    """The figure of each entry, in order. Of the media only that is kept."""
    spec, options = config.model.input(task.modality), tuple(config.beam.options)

    def make_decoder() -> Decoder:
        return Decoder(task.data.folder, task.modality, spec, task.data.limits, options)

    def read(decoder: Decoder, chunk: list[Entry]) -> list[Example]:
        return [_example(task, decoded) for decoded in decoder.read(chunk)]

    for examples in parallel.read_chunks(make_decoder, read, entries, _CHUNK):
        yield from examples


def _example(task: Task, decoded: Decoded) -> Example:
    entry, features = decoded.entry, decoded.features
    known = entry.id, entry.labels, entry.group, entry.extra
    if features is None:
        assert decoded.rejection
        return Example(*known, '', '', (), f'{decoded.rejection.reason}: {decoded.rejection.detail}')
    alt = f'{task.modality}, {" and ".join(entry.labels) or "without a label"}, {entry.split}'
    return Example(*known, picture(task.modality, features, alt), size_in_words(task.modality, features), decoded.notes)


def size_in_words(modality: str, features: dict) -> str:
    """'32 × 48 pixels, 2.1 s': the width, the height, the duration and the length, as far as the modality has them."""
    sizes = get_modality(modality).sizes
    parts = []
    if {'width', 'height'} <= {*sizes}:
        parts.append(f'{features["width"]} × {features["height"]} pixels')
    if 'duration_s' in sizes:
        parts.append(f'{features["duration_s"]:.3g} s')
    if 'text_bytes' in sizes:
        parts.append(words.count(features['text_bytes'], 'byte'))
    return ', '.join(parts)

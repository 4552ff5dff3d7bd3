"""What reading a task's media found: counts, rejected files, duplicates, leaks, odd media; and whether to stop.

Plain Python over small facts, no media: MediaExampleGen gathers them on Beam's workers, `polyvit data check` in one
process, and both judge by `stops`.
"""

import collections
import dataclasses
import itertools
import unicodedata
from typing import Iterable

from media.entries import Entry, Listing
from model_code.tasks import Task

FILE = 'findings.json'
# Of each kind this many are named; all are counted.
NAMED = 10

SENTENCES = {
    'silent': 'silent sounds', 'clipped': 'clipped sounds', 'still': 'videos that stand still',
    'black': 'black videos', 'one_colour': 'images of one colour',
}


@dataclasses.dataclass
class Some:
    """How many there are, and the first of them (sorted): bounded, whatever the data."""
    count: int = 0
    first: list = dataclasses.field(default_factory=list)

    def add(self, item, count: int = 1):
        self.count += count
        self.first = sorted(self.first + [item])[:NAMED]

    def merge(self, other: 'Some'):
        self.count += other.count
        self.first = sorted(self.first + other.first)[:NAMED]


@dataclasses.dataclass
class Findings:
    """All that was found in a task's media; merges with the findings of another part of the same task.

    examples: split -> number. classes: label -> split -> number of examples. rejected: reason -> Some [path, detail].
    duplicates, leaks, contradictions: groups of ids with equal media, within one split, over both, and with unequal
    labels; a group may be more than one of these. notes: word of readers.NOTES -> ids.
    """
    examples: dict = dataclasses.field(default_factory=dict)
    classes: dict = dataclasses.field(default_factory=dict)
    rejected: dict = dataclasses.field(default_factory=dict)
    duplicates: Some = dataclasses.field(default_factory=Some)
    leaks: Some = dataclasses.field(default_factory=Some)
    contradictions: Some = dataclasses.field(default_factory=Some)
    notes: dict = dataclasses.field(default_factory=dict)

    def add_example(self, split: str, labels: tuple[str, ...], example_id: str, notes: tuple[str, ...]):
        _count(self.examples, split, 1)
        for label in labels:
            _count(self.classes.setdefault(label, {}), split, 1)
        for word in notes:
            self.notes.setdefault(word, Some()).add(example_id)

    def add_rejected(self, line: dict):
        """A line of rejected.jsonl."""
        self.rejected.setdefault(line['reason'], Some()).add([line['path'], line['detail']])

    def add_copies(self, examples: Iterable[tuple[bytes, str, str, tuple[str, ...]]]):
        """Finds those with equal media among (digest, id, split, labels), which are all that have these digests."""
        copies = collections.defaultdict(list)
        for digest, *example in examples:
            copies[digest].append(tuple(example))
        for group in copies.values():
            if len(group) > 1:
                self._add_equal(group)

    def _add_equal(self, group: list[tuple[str, str, tuple[str, ...]]]):
        """(id, split, labels) of two or more examples with equal media."""
        ids = [example_id for example_id, _, _ in sorted(group)[:NAMED]]
        splits = {split for _, split, _ in group}
        if len(splits) > 1:
            # One of each split, that the pair may be looked at.
            first = {split: min(e for e, s, _ in group if s == split) for split in sorted(splits)}
            self.leaks.add(list(first.values()))
        if len(group) > len(splits):
            self.duplicates.add(ids)
        if len({labels for _, _, labels in group}) > 1:
            self.contradictions.add(ids)

    def merge(self, other: 'Findings') -> 'Findings':
        for split, count in other.examples.items():
            _count(self.examples, split, count)
        for label, counts in other.classes.items():
            for split, count in counts.items():
                _count(self.classes.setdefault(label, {}), split, count)
        for mine, theirs in ((self.rejected, other.rejected), (self.notes, other.notes)):
            for key, some in theirs.items():
                mine.setdefault(key, Some()).merge(some)
        for name in ('duplicates', 'leaks', 'contradictions'):
            getattr(self, name).merge(getattr(other, name))
        return self

    @property
    def rejected_count(self) -> int:
        return sum(some.count for some in self.rejected.values())

    @property
    def missing_count(self) -> int:
        return self.rejected['missing'].count if 'missing' in self.rejected else 0

    @property
    def total(self) -> int:
        """Everything that the task names: examples and rejected."""
        return sum(self.examples.values()) + self.rejected_count

    def to_dict(self) -> dict:
        return dataclasses.asdict(self) | {'total': self.total}

    @classmethod
    def from_dict(cls, values: dict) -> 'Findings':
        def some(value):
            return Some(value['count'], [list(v) if isinstance(v, tuple) else v for v in value['first']])
        return cls(values['examples'], values['classes'],
                   {reason: some(v) for reason, v in values['rejected'].items()},
                   some(values['duplicates']), some(values['leaks']), some(values['contradictions']),
                   {word: some(v) for word, v in values['notes'].items()})


def _count(counts: dict, key: str, number: int):
    counts[key] = counts.get(key, 0) + number


def gather(listing: Listing, read) -> tuple[Findings, list[dict]]:
    """Findings and the lines of rejected.jsonl, in one process. read: (entry, notes, digest, error) an entry.

    MediaExampleGen does the same on workers. The digests of a million examples are some 200 MB here.
    """
    found, lines, digests = Findings(), list(listing.rejected), []
    for entry, notes, digest, error in read:
        if error is not None:
            lines.append(rejected_line(entry, error))
            continue
        found.add_example(entry.split, entry.labels, entry.id, notes)
        digests.append((digest, entry.id, entry.split, entry.labels))
    for line in lines:
        found.add_rejected(line)
    found.add_copies(digests)
    return found, sort_lines(lines)


def rejected_line(entry: Entry, error) -> dict:
    """A line of rejected.jsonl for an entry that a MediaError kept from becoming an example."""
    return {'path': entry.id, 'reason': error.reason, 'detail': error.detail}


def sort_lines(lines: list[dict]) -> list[dict]:
    return sorted(lines, key=lambda line: (line['path'], line['reason'], line['detail']))


def spelling(labels) -> list[list[str]]:
    """Groups of labels that differ only by case, space or Unicode form: probably one class, written in two ways."""
    groups = collections.defaultdict(list)
    for label in labels:
        groups[' '.join(unicodedata.normalize('NFKC', label).casefold().split())].append(label)
    return sorted(sorted(group) for group in groups.values() if len(group) > 1)


def few(task: Task, found: Findings) -> dict[str, int]:
    """Label -> train examples, where these are fewer than task.min_class_examples; with 0 where there is none."""
    least = max(1, task.min_class_examples)
    counts = {label: found.classes.get(label, {}).get('train', 0) for label in {*task.classes, *found.classes}}
    return {label: count for label, count in sorted(counts.items()) if count < least}


def stops(task: Task, found: Findings) -> list[str]:
    """Why a run of the task must stop, a sentence each; [] where it may go on."""
    reasons = []
    rejected = {reason: some for reason, some in found.rejected.items() if reason != 'missing'}
    reasons += _too_many(task, found.total, rejected, task.max_rejected_share, 'could not be read',
                         'Mend or remove them, or raise max_rejected_share')
    missing = {reason: some for reason, some in found.rejected.items() if reason == 'missing'}
    reasons += _too_many(task, found.total, missing, task.max_missing_share, 'are missing',
                         'Fetch them, take them out of the manifest, or raise max_missing_share')
    if found.leaks.count and not task.allow_leaks:
        pairs = '; '.join(' = '.join(pair) for pair in found.leaks.first)
        reasons.append(
            f'Task {task.name}: {found.leaks.count:,} media are both in train and in eval, so that the evaluation '
            f'would flatter the model{_first(found.leaks)}: {pairs}. Take them out of one split, or set '
            'allow_leaks=True.')
    absent = [label for label, count in few(task, found).items() if not count]
    if absent and found.examples.get('train'):
        reasons.append(f'Task {task.name}: {len(absent)} of its classes have no train example: '
                       f'{", ".join(absent[:NAMED])}. Add examples, or take the classes out.')
    return reasons


def _too_many(task: Task, total: int, rejected: dict[str, Some], most: float, what: str, cure: str) -> list[str]:
    count = sum(some.count for some in rejected.values())
    if not total or count / total <= most:
        return []
    return [f'Task {task.name}: {count:,} of {total:,} files ({count / total:.1%}) {what}, more than the {most:.1%} '
            f'that is allowed{some_rejected(rejected)}. {cure}.']


def some_rejected(rejected: dict[str, Some], most: int = NAMED) -> str:
    """'. The first 3: a.png (empty: ...); ...', or '' where there is none."""
    lines = sorted([path, reason, detail] for reason, some in rejected.items() for path, detail in some.first)[:most]
    if not lines:
        return ''
    count = sum(some.count for some in rejected.values())
    named = '; '.join(f'{path} ({reason}: {detail.rstrip(".")})' for path, reason, detail in lines)
    return f'. {"The first " + str(len(lines)) if count > len(lines) else "These"}: {named}'


def _first(some: Some) -> str:
    return f' (the first {len(some.first)})' if some.count > len(some.first) else ''


def remarks(task: Task, found: Findings) -> list[str]:
    """What a person should know of, and no run stops for; a line each."""
    lines = []
    for name, words in (('duplicates', 'media more than once in a split'), ('leaks', 'media in train and in eval'),
                        ('contradictions', 'media with different labels')):
        some = getattr(found, name)
        if some.count:
            lines.append(f'{some.count:,} {words}{_first(some)}: ' + '; '.join(' = '.join(g) for g in some.first))
    for group in itertools.islice(spelling(found.classes), NAMED):
        lines.append('labels that differ only in their writing: ' + ', '.join(repr(label) for label in group))
    rare = {label: count for label, count in few(task, found).items() if count}
    if rare:
        named = ', '.join(f'{label} ({count})' for label, count in itertools.islice(rare.items(), NAMED))
        lines.append(f'{len(rare)} classes with fewer than {task.min_class_examples} train examples: {named}')
    for word, some in sorted(found.notes.items()):
        lines.append(f'{some.count:,} {SENTENCES[word]}{_first(some)}: ' + ', '.join(some.first))
    return lines

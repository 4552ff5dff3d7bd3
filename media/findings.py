"""What reading a task's media found: counts, rejected files, duplicates, leaks, odd media.

Plain Python, and no media: MediaExampleGen gathers findings on Beam's workers, `polyvit data check` in one process
(media.checks), and media.verdict judges them.
"""

import collections
import dataclasses
from collections.abc import Iterable

from media.entries import Entry
from media.rejections import Rejection

# Of each kind this many are named; all are counted.
NAMED = 10


@dataclasses.dataclass
class Tally:
    """How many there are, and the first NAMED of them, sorted: bounded, whatever the data."""
    count: int = 0
    first: list = dataclasses.field(default_factory=list)

    def add(self, item, count: int = 1):
        self.count += count
        self.first = sorted(self.first + [item])[:NAMED]

    def merge(self, other: 'Tally'):
        self.count += other.count
        self.first = sorted(self.first + other.first)[:NAMED]


@dataclasses.dataclass
class Findings:
    """All that was found in a task's media; merges with the findings of another part of the same task.

    examples: split -> number. classes: label -> split -> number of examples. rejected: reason -> Tally [path, detail].
    duplicates, leaks, contradictions: groups of ids with equal media, within one split, over both, and with unequal
    labels; a group may be more than one of these. notes: word of readers.NOTES -> Tally of ids.
    """
    examples: dict = dataclasses.field(default_factory=dict)
    classes: dict = dataclasses.field(default_factory=dict)
    rejected: dict = dataclasses.field(default_factory=dict)
    duplicates: Tally = dataclasses.field(default_factory=Tally)
    leaks: Tally = dataclasses.field(default_factory=Tally)
    contradictions: Tally = dataclasses.field(default_factory=Tally)
    notes: dict = dataclasses.field(default_factory=dict)

    def add_example(self, entry: Entry, notes: tuple[str, ...] = ()):
        """Counts an entry that became an example. notes: words of readers.NOTES."""
        _count(self.examples, entry.split, 1)
        for label in entry.labels:
            _count(self.classes.setdefault(label, {}), entry.split, 1)
        for word in notes:
            self.notes.setdefault(word, Tally()).add(entry.id)

    def add_rejected(self, rejection: Rejection):
        self.rejected.setdefault(rejection.reason, Tally()).add([rejection.path, rejection.detail])

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
            for key, tally in theirs.items():
                mine.setdefault(key, Tally()).merge(tally)
        for name in ('duplicates', 'leaks', 'contradictions'):
            getattr(self, name).merge(getattr(other, name))
        return self

    @property
    def rejected_count(self) -> int:
        return sum(tally.count for tally in self.rejected.values())

    @property
    def total(self) -> int:
        """Everything that the task names: examples and rejected."""
        return sum(self.examples.values()) + self.rejected_count

    def to_dict(self) -> dict:
        return dataclasses.asdict(self) | {'total': self.total}

    @classmethod
    def from_dict(cls, values: dict) -> 'Findings':
        def tally(value):
            return Tally(value['count'], [list(v) if isinstance(v, tuple) else v for v in value['first']])
        return cls(values['examples'], values['classes'],
                   {reason: tally(v) for reason, v in values['rejected'].items()},
                   tally(values['duplicates']), tally(values['leaks']), tally(values['contradictions']),
                   {word: tally(v) for word, v in values['notes'].items()})


def _count(counts: dict, key: str, number: int):
    counts[key] = counts.get(key, 0) + number


def first_rejected(rejected: dict[str, Tally], most: int = NAMED) -> str:
    """'. The first 3: a.png (empty: ...); ...', or '' where there is none."""
    first = sorted(Rejection(reason, detail, path)
                   for reason, tally in rejected.items() for path, detail in tally.first)[:most]
    if not first:
        return ''
    count = sum(tally.count for tally in rejected.values())
    named = '; '.join(f'{r.path} ({r.reason}: {r.detail.rstrip(".")})' for r in first)
    return f'. {f"The first {len(first)}" if count > len(first) else "These"}: {named}'

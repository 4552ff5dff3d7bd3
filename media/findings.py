"""Findings: what reading a task's media found. Counts, rejected files, duplicates, leaks, odd media.

MediaExampleGen gathers them on Beam's workers, `polyvit data check` in one process (media.checks). media.verdict judges
them.
"""

import dataclasses
import itertools
import operator
from collections.abc import Iterable
from typing import ClassVar

from media.entries import Entry, Listing
from media.rejections import Rejection
from media.rows import SortedRows

# So many of each kind are named; all are counted.
NAMED = 10


@dataclasses.dataclass
class Tally:
    """A count, and the first KEPT of what was counted, sorted. So its size is bounded."""
    KEPT: ClassVar[int] = NAMED
    count: int = 0
    first: list = dataclasses.field(default_factory=list)

    def add(self, item, count: int = 1):
        self.count += count
        if len(self.first) < self.KEPT or item < self.first[-1]:
            self.first = sorted(self.first + [item])[:self.KEPT]

    def merge(self, other: 'Tally'):
        self.count += other.count
        self.first = sorted(self.first + other.first)[:self.KEPT]

    @property
    def named(self) -> list:
        """Those of `first` that a text names."""
        return self.first[:NAMED]


class LongTally(Tally):
    """Keeps so many that a person or a program can work through them; texts name as few as of any."""
    KEPT = 1_000


@dataclasses.dataclass
class Findings:
    """All that was found in a task's media, or in a part of them: `merge` joins the findings of two parts.

    examples: split -> number of examples.
    classes: label -> split -> number of examples.
    rejected: reason -> Tally of [path, detail].
    duplicates, leaks, contradictions: groups of ids with the same media: in one split, in both splits, and with
    different labels. A group may be more than one of these.
    groups: split -> number of groups (Entry.group) that have an example in it.
    near_duplicates, near_leaks, near_contradictions: pairs of examples with nearly the same media
    (media.near_duplicates): in one split, in both splits, and with different labels. A pair is in one of the first two,
    and may be in the last.
    [difference, id, id], the most alike first; of a leak, that in eval first. difference: from 0, the same, to 1, just
    alike enough to be near duplicates.
    near_cut: a count of hashes of similar media that were too many to compare all with all.
    torn_groups: groups that are in both splits: [group, an id in eval, an id in train].
    notes: word of readers.NOTES -> Tally of ids.
    left_out: ending -> Tally of the paths of files that nothing was made of, because of their names (files.Walk).
    lost_folders: [folder, what is wrong], of folders whose examples are unknown and class folders without any.
    unlabelled: the ids of examples without a label.
    about: what the data set says of itself (Listing.about).
    """
    examples: dict = dataclasses.field(default_factory=dict)
    classes: dict = dataclasses.field(default_factory=dict)
    groups: dict = dataclasses.field(default_factory=dict)
    rejected: dict = dataclasses.field(default_factory=dict)
    duplicates: LongTally = dataclasses.field(default_factory=LongTally)
    leaks: LongTally = dataclasses.field(default_factory=LongTally)
    contradictions: LongTally = dataclasses.field(default_factory=LongTally)
    near_duplicates: LongTally = dataclasses.field(default_factory=LongTally)
    near_leaks: LongTally = dataclasses.field(default_factory=LongTally)
    near_contradictions: LongTally = dataclasses.field(default_factory=LongTally)
    near_cut: Tally = dataclasses.field(default_factory=Tally)
    torn_groups: LongTally = dataclasses.field(default_factory=LongTally)
    notes: dict = dataclasses.field(default_factory=dict)
    left_out: dict = dataclasses.field(default_factory=dict)
    lost_folders: Tally = dataclasses.field(default_factory=Tally)
    unlabelled: Tally = dataclasses.field(default_factory=Tally)
    about: dict = dataclasses.field(default_factory=dict)

    def add_example(self, entry: Entry, notes: tuple[str, ...] = ()):
        """Counts an entry that became an example. notes: words of readers.NOTES."""
        _count(self.examples, entry.split, 1)
        for label in entry.labels:
            _count(self.classes.setdefault(label, {}), entry.split, 1)
        if not entry.labels:
            self.unlabelled.add(entry.id)
        for word in notes:
            self.notes.setdefault(word, Tally()).add(entry.id)

    def add_rejected(self, rejection: Rejection):
        self.rejected.setdefault(rejection.reason, Tally()).add([rejection.path, rejection.detail])

    def add_listing(self, listed: Listing):
        """Adds what the names of all of a task's media show, beside its entries and rejections."""
        self.add_groups(listed.entries)
        self.about |= listed.about
        for ending, tally in listed.left_out.items():
            self.left_out.setdefault(ending, Tally()).merge(tally)
        for folder in listed.lost_folders:
            self.lost_folders.add(list(folder))

    def add_groups(self, entries: Iterable[Entry]):
        """Counts the groups, and finds those that are in both splits. entries: all of the task."""
        rows = SortedRows()
        for entry in entries:
            if entry.group:
                rows.add((entry.group, entry.split, entry.id))
        for group, members in itertools.groupby(rows, operator.itemgetter(0)):
            first_of = {}
            for _, split, example_id in members:
                first_of.setdefault(split, example_id)
            for split in first_of:
                _count(self.groups, split, 1)
            if len(first_of) > 1:
                self.torn_groups.add([group, *first_of.values()])

    def add_copies(self, examples: Iterable[Iterable]):
        """Finds examples with the same media. examples: (digest, id, split, labels) of all that have these digests."""
        rows = SortedRows()
        for example in examples:
            rows.add(example)
        for _, group in itertools.groupby(rows, operator.itemgetter(0)):
            group = [(example_id, split, tuple(labels)) for _, example_id, split, labels in group]
            if len(group) > 1:
                self._add_same_media(group)

    def _add_same_media(self, group: list[tuple[str, str, tuple[str, ...]]]):
        """group: (id, split, labels) of two or more examples with the same media."""
        ids = [example_id for example_id, _, _ in sorted(group)[:NAMED]]
        splits = {split for _, split, _ in group}
        if len(splits) > 1:
            # The first of each split, so that a person can compare the two.
            self.leaks.add([min(example_id for example_id, its_split, _ in group if its_split == split)
                            for split in sorted(splits)])
        if len(group) > len(splits):
            self.duplicates.add(ids)
        if len({labels for _, _, labels in group}) > 1:
            self.contradictions.add(ids)

    def add_near(self, one: tuple, other: tuple, difference: float):
        """Adds a pair of near duplicates. one, other: (id, split, labels). difference: from 0 to 1."""
        (split, one_id, labels), (other_split, other_id, other_labels) = sorted(
            (split, example_id, sorted(labels)) for example_id, split, labels in (one, other))
        pair = [round(difference, 3), one_id, other_id]
        (self.near_duplicates if split == other_split else self.near_leaks).add(pair)
        if labels != other_labels:
            self.near_contradictions.add(pair)

    def named_near(self) -> list[tuple[str, str, str, str]]:
        """('train and eval' or 'one split', id, other id, how much they differ) of the pairs that are named: those
        between the splits first, then the most alike."""
        return [(where, one, other, difference_in_words(difference))
                for where, tally in (('train and eval', self.near_leaks), ('one split', self.near_duplicates))
                for difference, one, other in tally.named]

    def merge(self, other: 'Findings') -> 'Findings':
        for mine, theirs in ((self.examples, other.examples), (self.groups, other.groups)):
            for split, count in theirs.items():
                _count(mine, split, count)
        for label, counts in other.classes.items():
            for split, count in counts.items():
                _count(self.classes.setdefault(label, {}), split, count)
        for name in _tallies(self):
            getattr(self, name).merge(getattr(other, name))
        for name in _TALLIES_BY_WORD:
            mine = getattr(self, name)
            for word, tally in getattr(other, name).items():
                mine.setdefault(word, Tally()).merge(tally)
        self.about |= other.about
        return self

    @property
    def rejected_count(self) -> int:
        return sum(tally.count for tally in self.rejected.values())

    @property
    def total(self) -> int:
        """The number of all that the task names: examples and rejected files."""
        return sum(self.examples.values()) + self.rejected_count

    def to_dict(self) -> dict:
        return dataclasses.asdict(self) | {'total': self.total}

    @classmethod
    def from_dict(cls, values: dict) -> 'Findings':
        def tally(value, of=Tally):
            return of(value['count'], [list(item) if isinstance(item, tuple) else item for item in value['first']])
        findings = cls(values['examples'], values['classes'], values['groups'], about=values['about'])
        for name in _tallies(findings):
            setattr(findings, name, tally(values[name], type(getattr(findings, name))))
        for name in _TALLIES_BY_WORD:
            setattr(findings, name, {word: tally(value) for word, value in values[name].items()})
        return findings


# The fields of Findings that have a Tally for each of some words.
_TALLIES_BY_WORD = ('rejected', 'notes', 'left_out')


def _tallies(findings: Findings) -> list[str]:
    """The names of the fields that are one Tally."""
    return [field.name for field in dataclasses.fields(findings) if isinstance(getattr(findings, field.name), Tally)]


def _count(counts: dict, key: str, number: int):
    counts[key] = counts.get(key, 0) + number


def difference_in_words(difference: float) -> str:
    """'hardly', 'slightly' or 'noticeably', of near duplicates that differ from 0 to 1.

    No percentage: of unrelated sounds half the bits are equal, so that people would take a copy for another sound.
    """
    return 'hardly' if difference < 1 / 3 else 'slightly' if difference < 2 / 3 else 'noticeably'


def first_rejected(rejected: dict[str, Tally], most: int = NAMED) -> str:
    """The end of a sentence: '. The first 3: a.png (empty: ...); ...', or '' if nothing is rejected."""
    first = sorted(Rejection(reason, detail, path)
                   for reason, tally in rejected.items() for path, detail in tally.first)[:most]
    if not first:
        return ''
    count = sum(tally.count for tally in rejected.values())
    named = '; '.join(f'{r.path} ({r.reason}: {r.detail.rstrip(".")})' for r in first)
    return f'. {f"The first {len(first)}" if count > len(first) else "These"}: {named}'

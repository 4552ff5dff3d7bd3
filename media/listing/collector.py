"""Collects the entries of a listing, row by row. Checks labels, splits and seconds, and that no example comes twice."""

import collections
import contextlib
import dataclasses
import hashlib
import heapq
import itertools
import math
import operator
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator

from media import paths
from media.entries import Entry, Listing, stored
from media.findings import NAMED, Tally
from media.listing import files, group_files
from media.rejections import Rejection
from media.rows import SortedRows
from model_code import words
from model_code.data import Source
from model_code.errors import ConfigError
from model_code.modalities import get_modality

# A split's name, in lower case, in a folder, the name of an archive or a manifest -> the split in the pipeline.
SPLITS = {'train': 'train', 'training': 'train', 'trainval': 'train',
          'eval': 'eval', 'evaluation': 'eval', 'test': 'eval', 'testing': 'eval', 'val': 'eval', 'valid': 'eval',
          'validate': 'eval', 'validation': 'eval', 'dev': 'eval', 'development': 'eval', 'holdout': 'eval',
          'hold-out': 'eval', 'hold_out': 'eval'}
# One of these names as a word of a longer name: validationSet, train2017. A letter beside it makes it another word.
_SPLIT_WORD = re.compile(
    rf'(?<![a-z])({"|".join(sorted(SPLITS, key=len, reverse=True))})(?:set|split|data)?(?![a-z])')

MAX_LABEL = 1000  # characters of a label, and of an extra column's value
MAX_LABELS = 1000  # of one example
MAX_REJECTED = 1_000_000  # rows of one task


def hashed_split(name: str, eval_share: float) -> str:
    """The split of an example that has none: by a hash of its group or id, so it is the same in every run."""
    position = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], 'big') / 2 ** 64
    return 'eval' if position < eval_share else 'train'


class Collector:
    """Collects the entries and rejections of a task. `listing()` returns them, sorted."""

    def __init__(self, source: Source):
        self.source, self.data = source, source.data
        # [id, number, `where` of `add`, the entry's row]: equal ids come one after the other, the first one first.
        self._added = SortedRows()
        self._rejected: list[tuple[Rejection, str]] = []  # with `where` of `reject`
        # Whether something names their split -> how many entries there are, and where the first ones are.
        self._split_counts, self._split_places = {True: 0, False: 0}, {True: {}, False: {}}
        self._lost_folders: list[tuple[str, str]] = []
        self.left_out: dict[str, Tally] = {}  # files.Walk.left_out, if folders are walked
        self._rejected_labels: set[str] = set()
        # Text of a row -> its labels.
        self._labels_of = {}
        self._remarks: dict[str, list[str]] = {}  # with the files that each is about
        self.about: dict[str, str] = {}  # Listing.about
        self._group_pattern = re.compile(self.data.group_pattern) if self.data.group_pattern else None
        self._unfitting, self._unfitting_count = '', 0  # the first path that the pattern does not fit; all of these
        self._group_of: dict[str, str] | None = None  # from the file of groups

    def add(self, entry: Entry, where: str) -> bool:
        """Adds an entry; False if it is rejected at once. One that comes twice is kept once; entries that contradict
        each other are all rejected.

        An entry with the split '' gets one by a hash: of its group, so that a group stays together, or else of its id.
        `listing` raises ConfigError if only some have ''.

        where: the row that names it, for messages; '' if no row does.
        """
        if len(self._added) >= files.MAX_FILES:
            raise ConfigError(f'Task {self.source.name}: {where} is beyond the {files.MAX_FILES:,} examples that '
                              'one task may have. Split it into several tasks.')
        is_named = bool(entry.split)
        self._split_counts[is_named] += 1
        if len(self._split_places[is_named]) < NAMED:
            self._split_places[is_named].setdefault(where or entry.path)
        try:
            entry = self._placed(entry)
        except Rejection as rejection:
            self.reject(rejection.at(entry.place), where, entry.labels)
            return False
        self._added.add((entry.id, len(self._added), where, entry.to_row()))
        return True

    def _placed(self, entry: Entry) -> Entry:
        """The entry with its group, if its path says that, and its split, if nothing has said that.

        Raises Rejection if the task has groups, but this entry has none.
        """
        group = entry.group or self._group(f'{entry.path}!{entry.member}' if entry.member else entry.path,
                                           entry.start is not None or entry.end is not None)
        split = entry.split or hashed_split(group or entry.id, self.data.eval_share)
        if (group, split) == (entry.group, entry.split):
            return entry
        return dataclasses.replace(entry, group=group, split=split)

    def _group(self, name: str, is_segment: bool) -> str:
        """The group of a path, or of `archive!member`: by the pattern, or by the file of groups.

        Without either, the segments of a file are a group: they are parts of one recording. Raises Rejection.
        """
        if self._group_pattern:
            match = self._group_pattern.search(name)
            group = (match[1] if match.groups() else match[0]) if match else ''
            if not group:
                self._unfitting_count += 1
                self._unfitting = self._unfitting or name
                raise Rejection('bad_row', f"Its path does not fit groups=r'{self.data.groups}', so nothing says to "
                                           'which group it belongs.')
            return group
        if self.data.group_file:
            if self._group_of is None:
                self._group_of = group_files.read(self.data.folder, self.data.group_file)
            if name not in self._group_of:
                raise Rejection('bad_row', f'{self.data.group_file} has no row for it, so nothing says to which group '
                                           'it belongs.')
            return self._group_of[name]
        if self.data.groups:
            raise Rejection('bad_row', f'It has no {self.data.groups}, which `groups` asks for, so nothing says to '
                                       'which group it belongs.')
        return name if is_segment else ''

    @property
    def no_path_fits(self) -> str:
        """A sentence if the pattern of the groups fits no path at all; else ''."""
        if self._added or not self._unfitting:
            return ''
        return (f"the pattern groups=r'{self.data.groups}' fits none of {words.count(self._unfitting_count, 'path')}, "
                f'such as {paths.shown(self._unfitting)}. It is searched in the path below the data folder.')

    def lose(self, folder: str, why: str):
        """Notes a folder whose examples cannot be known, or a class folder without any. why: what is wrong with it."""
        self._lost_folders.append((paths.shown(folder), why.rstrip('.')))

    def remark(self, text: str, file: str = ''):
        """Adds a line that people should read: what was taken for granted. file: in place of {} in the text."""
        self._remarks.setdefault(text, []).append(file)

    def _all_remarks(self) -> tuple[str, ...]:
        """The remarks; the same about several files is one line."""
        lines = []
        for text, places in self._remarks.items():
            others = f' and {words.count(len(places) - 1, "other file")}' if len(places) > 1 else ''
            lines.append(text.format(paths.shown(places[0]) + others) if places[0] else text)
        return tuple(lines)

    def reject(self, rejection: Rejection, where: str = '', labels: tuple[str, ...] = ()):
        """Adds a rejection, with its path if that is known. where: the row that names it, or ''. labels: its own."""
        self._rejected.append((rejection, where))
        self._rejected_labels.update(labels)
        if len(self._rejected) > MAX_REJECTED:
            raise ConfigError(f'Task {self.source.name}: more than {MAX_REJECTED:,} rows or files are rejected, the '
                              f'last one being {where or paths.shown(rejection.path)}: {rejection.detail}')

    def listing(self, check: Callable[[str], None] = lambda path: None) -> Listing:
        """All that was added. check: raises Rejection for the path of an entry that must not be read.

        Raises ConfigError if some of the entries name a split and others do not: a hash would put most of them into
        training.
        """
        if all(self._split_counts.values()):
            raise ConfigError(self._unnamed_splits())
        kept_ids, late = set(), []
        entries = stored(self._kept(check, kept_ids, late))
        rejected_labels = self._rejected_labels
        if self.data.kind.of_words:
            frequent = self._frequent_words(entries)
            entries = stored(self._with_words(entries, frequent, late))
            rejected_labels = rejected_labels & frequent
        for rejection, where in self._rejected:
            path, detail = rejection.path, rejection.detail
            name = paths.shown(path, 1000) if path and path not in kept_ids else where or f'{path} (again)'
            if where not in ('', name):
                detail = f'{where[0].upper()}{where[1:]}: {detail}'
            late.append(Rejection(rejection.reason, detail, name))
        return Listing(entries, sorted(late), self.left_out, sorted(self._lost_folders), rejected_labels,
                       self._all_remarks(), self.about)

    def _frequent_words(self, entries: Iterable[Entry]) -> set[str]:
        """The words that are labels: the task's classes, or the `most_words` most frequent ones of the train split."""
        if self.data.classes:
            return set(self.data.classes)
        counts = collections.Counter(word for entry in entries if entry.split == 'train' for word in entry.labels)
        most = heapq.nsmallest(self.data.most_words, counts.items(), key=lambda item: (-item[1], item[0]))
        return {word for word, _ in most}

    def _with_words(self, entries: Iterable[Entry], frequent: set[str], late: list[Rejection]) -> Iterator[Entry]:
        """The entries with those of their words that are labels. One without any is rejected, if it needs a label."""
        for entry in entries:
            labels = tuple(word for word in entry.labels if word in frequent)
            if not labels and not self.data.allow_unlabelled:
                detail = f'None of its words is one of the {words.count(len(frequent), "label")}.'
                late.append(Rejection('bad_label', f'{detail}{self.cure_of_no_label}', entry.place))
            else:
                yield dataclasses.replace(entry, labels=labels)

    def _unnamed_splits(self) -> str:
        unnamed, named = (self._split_counts[is_named] for is_named in (False, True))
        first, others = (', '.join(paths.shown(place) for place in self._split_places[is_named])
                         + (', ...' if len(self._split_places[is_named]) == NAMED else '')
                         for is_named in (False, True))
        names = ', '.join(SPLITS)
        remedy = (f"Fill the column {self.data.columns.split} in every row of every manifest with one of {names}; or "
                  "ignore it, with Columns(split='')." if self.data.manifest else
                  'Write the split into the name of each archive or of a folder that holds it, as in train-0000.tar or '
                  f'val/0000.tar. Names of splits: {names}.')
        return (f'Task {self.source.name}: {words.count(unnamed, "example")} of {unnamed + named:,} '
                f'{"names" if unnamed == 1 else "name"} no split ({first}), though the others do ({others}), so '
                f'nothing says what is for training and what for eval. {remedy}')

    def _kept(self, check, kept_ids: set[str], late: list[Rejection]) -> Iterator[Entry]:
        """Yields the entries to be kept. Rejects those that come twice, and adds to `late` those that `check` rejects.

        kept_ids: is given the ids of kept entries that are also the path of a rejection.
        """
        rejected_paths = {rejection.path for rejection, _ in self._rejected}
        for entry_id, group in itertools.groupby(self._added, key=operator.itemgetter(0)):
            entry, again = self._only_one(group)
            if not entry:
                continue
            if again or entry_id in rejected_paths:
                kept_ids.add(entry_id)
            try:
                check(entry.path)
            except Rejection as rejection:
                late.append(rejection.at(entry.place))
                self._rejected_labels.update(entry.labels)
            else:
                yield entry

    def _only_one(self, group: Iterator) -> tuple[Entry | None, bool]:
        """The one of some entries with the same id that is kept, and whether others were rejected.

        None is kept if they differ. group: their rows in self._added.
        """
        first, again, contradicted = Entry.from_row(next(group)[3]), False, False
        for _, _, where, row in group:
            entry, again = Entry.from_row(row), True
            if entry == first:
                detail = f'{paths.shown(entry.id)} is named again in the same way. It is kept once.'
                self.reject(Rejection('duplicate', detail, entry.id), where)
                continue
            if not contradicted:
                contradicted = True
                detail = (f'It is named twice, in different ways: as {self._words(first)}, and as {self._words(entry)} '
                          f'in {where or "another place"}. Neither is kept.{self._cure_of_captions}')
                self.reject(Rejection('duplicate', detail, entry.id), labels=first.labels)
            detail = f'{paths.shown(entry.id)} is named again, as {self._words(entry)}. This is not kept.'
            self.reject(Rejection('duplicate', detail, entry.id), where, entry.labels)
        return None if contradicted else first, again

    def _words(self, entry: Entry) -> str:
        """What a row says of a file, in a message."""
        labels = (' ' if self.data.kind.of_words else ' and ').join(entry.labels)
        extra = ''.join(f', {column} {value}' for column, value in entry.extra)
        return paths.shown(f'{labels} ({entry.split}{extra}{f", {entry.text}" if entry.text else ""})')

    @property
    def _cure_of_captions(self) -> str:
        """What to do if a file has several rows with a caption in each; '' if the task has no captions."""
        if not self.data.kind.of_words and not self.source.captioned:
            return ''
        lists = ', or write JSON lines with all of them in a list' if self.data.kind.of_words else ''
        return f' If it has several captions, keep one{lists}.'

    # The parts of a row. Each raises Rejection if it is wrong.

    def labels(self, text) -> tuple[str, ...]:
        """The labels in a text: one, or in a multi-label task several, joined by the task's separator; or its words."""
        if self.data.kind.of_words:
            return self.label_list([text])
        labels = self._labels_of.get(text)
        if labels is None:
            parts = text.split(self.data.label_separator) if self.data.kind.several else [text]
            labels = self._labels_of[text] = self.label_list(parts)
        return labels

    @property
    def cure_of_no_label(self) -> str:
        """What a config can say so that an example without a label is not rejected; '' if it cannot."""
        cure = ' If that means that no class is right, set Data(allow_unlabelled=True).'
        return cure if self.data.kind.several else ''

    def label_list(self, texts) -> tuple[str, ...]:
        """The labels without empty and repeated ones. Exactly one, unless the task is multi-label; then at least one,
        or none with `allow_unlabelled`."""
        if self.data.kind.of_words:
            texts = [word for text in texts for word in words_of(text)]
        labels = tuple(dict.fromkeys(label for label in map(clean_label, texts) if label))
        if not labels and not self.data.allow_unlabelled:
            raise Rejection('bad_label', f'It has no label.{self.cure_of_no_label}')
        if len(labels) > 1 and not self.data.kind.several:
            first = ' and '.join(map(paths.shown, labels[:3])) + (', ...' if len(labels) > 3 else '')
            raise Rejection('bad_label', f'It has {len(labels):,} labels, {first}, but the task has one label per '
                                         "example. Set label_kind='multi', or give one label.")
        if len(labels) > MAX_LABELS:
            raise Rejection('bad_label', f'It has {len(labels):,} labels; at most {MAX_LABELS:,} are allowed.')
        return labels

    def segment(self, start, end) -> tuple[float | None, float | None]:
        """The start and end of a row, in seconds; None for both if the modality has no time."""
        if not get_modality(self.source.modality).timed:
            return None, None
        start, end = _seconds('start', start), _seconds('end', end)
        if end is not None and (start or 0.0) >= end:
            raise Rejection('bad_row', f'The segment from {start or 0:g} s to {end:g} s has no length.')
        return start, end


def words_of(text: str) -> list[str]:
    """The words of a caption, in lower case: letters and digits, with apostrophes between them."""
    return re.findall(r"[^\W_]+(?:['\u2019][^\W_]+)*", unicodedata.normalize('NFC', text).lower())


def clean_label(text: str) -> str:
    """The label without spaces around it. Raises Rejection if it could not be a line of a vocabulary file."""
    if len(text) > MAX_LABEL:
        raise Rejection('bad_label', f'The label {paths.shown(text, 40)} is {len(text):,} characters long; at most '
                                     f'{MAX_LABEL:,} are allowed.')
    text = text.strip()
    if paths.has_control(text):
        raise Rejection('bad_label', f'The label {paths.shown(text)} has a line break or another control character.')
    if not paths.is_utf8(text):
        raise Rejection('bad_label', f'The label {paths.shown(text)} is not UTF-8.')
    return text


def split_of(text: str) -> str:
    """'train' or 'eval', by the name of a split. Raises Rejection if it is not in SPLITS."""
    split = SPLITS.get(text) or SPLITS.get(text.strip().lower())
    if split is None:
        raise Rejection('bad_row', f'The split {paths.shown(text, 40)!r} is not one of {", ".join(SPLITS)}.')
    return split


def split_of_name(name: str) -> str | None:
    """The split by a word in the name of a file or folder (trainval.txt, validationSet.csv), or None.

    Raises ConfigError if its words name both splits.
    """
    found = _SPLIT_WORD.findall(re.sub('(?<=[a-z0-9])(?=[A-Z])', '-', name).lower())
    splits = {SPLITS[word] for word in found}
    if len(splits) > 1:
        raise ConfigError(f'The name {paths.shown(name)} has words of both splits, {" and ".join(found)}, so nothing '
                          'says which one it is of. Rename it.')
    return splits.pop() if splits else None


def split_of_path(path: str) -> str | None:
    """`split_of_name` of the last part of a path that names a split, or None."""
    return next(filter(None, map(split_of_name, reversed(path.split('/')))), None)


def splits_of_files(names: Iterable[str]) -> dict[str, str]:
    """Name -> split of annotation files that were split: of train.csv and test.csv, or train/m.csv and test/m.csv.

    {} unless the names have both splits: a single train.csv may well be all that there is.
    """
    splits = {}
    for name in names:
        with contextlib.suppress(ConfigError):  # a name of both splits, as of a file that has a column for them
            splits[name] = split_of_path(name)
    splits = {name: split for name, split in splits.items() if split}
    return splits if len(set(splits.values())) > 1 else {}


def clean_extra(column: str, text: str) -> str:
    """The value of an extra column, which becomes a feature of the example."""
    if len(text) > MAX_LABEL or not paths.is_utf8(text):
        raise Rejection('bad_row', f'The {column} {paths.shown(text, 40)} is not UTF-8, or longer than '
                                   f'{MAX_LABEL:,} characters.')
    return text.strip()


def _seconds(name: str, value) -> float | None:
    if value is None or value == '':
        return None
    try:
        seconds = float(value)
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if isinstance(value, bool) or not 0 <= seconds < math.inf:
        raise Rejection('bad_row', f'The {name} {paths.shown(str(value), 40)!r} is not a number of seconds, 0 or more.')
    return seconds

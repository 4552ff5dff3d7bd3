"""Collects what a listing names, row by row: labels, splits and seconds are checked, nothing is taken twice."""

import hashlib
import math

from media.entries import Entry, Listing
from media.listing import files, paths
from media.rejections import Rejection
from model_code.data import Source
from model_code.errors import ConfigError
from model_code.modalities import get_modality

# A split's name in a folder or manifest -> the split that the pipeline has.
SPLITS = {'train': 'train', 'training': 'train', 'eval': 'eval', 'test': 'eval', 'testing': 'eval', 'val': 'eval',
          'validate': 'eval', 'validation': 'eval'}

MAX_LABEL = 1000  # characters of a label, and of an extra column's value
MAX_LABELS = 1000  # of one example
MAX_REJECTED = 1_000_000  # rows of one task


def hashed_split(name: str, eval_share: float) -> str:
    """The split of a file that nobody assigned: by a hash of its id, so the same at every run."""
    position = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], 'big') / 2 ** 64
    return 'eval' if position < eval_share else 'train'


class Collector:
    """Collects a task's entries and rejections. `listing()` gives them, sorted."""

    def __init__(self, source: Source):
        self.source, self.data = source, source.data
        self._entries, self._place, self._contradicted = [], {}, set()
        self._rejected = []  # (Rejection, where)
        # Text of a row -> its labels, and labels -> themselves: one tuple for all rows that say the same.
        self._known_labels, self._same_labels = {}, {}

    def add(self, entry: Entry, where: str):
        """Takes an entry. The same again is kept once; of entries that contradict each other none is kept."""
        name = entry.id
        place = self._place.setdefault(name, len(self._entries))
        if place == len(self._entries):
            if place >= files.MAX_FILES:
                raise ConfigError(f'Task {self.source.name}: {where} goes beyond the {files.MAX_FILES:,} examples '
                                  'that one task may have; split it over several tasks.')
            self._entries.append(entry)
            return
        first = self._entries[place]
        if first == entry:
            detail = f'{paths.shown(name)} is named again in the same words; one is kept.'
            self.reject(Rejection('duplicate', detail, name), where)
            return
        if place not in self._contradicted:
            self._contradicted.add(place)
            detail = (f'It is named twice and differently: as {_words(first)}, and as {_words(entry)} in '
                      f'{where or "another place"}. Neither is taken.')
            self.reject(Rejection('duplicate', detail, name))
        detail = f'{paths.shown(name)} is named again, as {_words(entry)}; not taken.'
        self.reject(Rejection('duplicate', detail, name), where)

    def reject(self, rejection: Rejection, where: str = ''):
        """Takes a rejection, with its path where that is known. where: the row that names it, if one does."""
        self._rejected.append((rejection, where))
        if len(self._rejected) > MAX_REJECTED:
            raise ConfigError(f'Task {self.source.name}: more than {MAX_REJECTED:,} rows or files are rejected, the '
                              f'last one {where or paths.shown(rejection.path)}: {rejection.detail}')

    def listing(self) -> Listing:
        entries = [self._entries[self._place[name]] for name in sorted(self._place)
                   if self._place[name] not in self._contradicted]
        rejected = []
        for rejection, where in self._rejected:
            path, detail = rejection.path, rejection.detail
            taken = path in self._place and self._place[path] not in self._contradicted
            name = paths.shown(path, 1000) if path and not taken else where or f'{path} (again)'
            detail = f'{where[0].upper()}{where[1:]}: {detail}' if where else detail
            rejected.append(Rejection(rejection.reason, detail, name))
        return Listing(entries, sorted(rejected))

    # What a row says, each Rejection where it is wrong.

    def labels(self, text) -> tuple[str, ...]:
        """The labels of a text: one, or several joined by the task's separator where it is multi-label."""
        known = self._known_labels.get(text)
        if known is None:
            parts = text.split(self.data.label_separator) if self.data.kind.several else [text]
            known = self._known_labels[text] = self.label_list(parts)
        return known

    def label_list(self, texts) -> tuple[str, ...]:
        """Labels without those that are empty or said again. At least one; just one unless the task is multi-label."""
        labels = tuple(dict.fromkeys(label for label in map(clean_label, texts) if label))
        if not labels:
            raise Rejection('bad_label', 'It has no label.')
        if len(labels) > 1 and not self.data.kind.several:
            first = ' and '.join(map(paths.shown, labels[:3])) + (', ...' if len(labels) > 3 else '')
            raise Rejection('bad_label', f'It has {len(labels):,} labels, {first}, but the task has one label per '
                                         "example. Set label_kind='multi', or give one label.")
        if len(labels) > MAX_LABELS:
            raise Rejection('bad_label', f'It has {len(labels):,} labels; at most {MAX_LABELS:,} are taken.')
        return self._same_labels.setdefault(labels, labels)

    def segment(self, start, end) -> tuple[float | None, float | None]:
        """Start and end in seconds of what a row says; media without a time has none."""
        if not get_modality(self.source.modality).timed:
            return None, None
        start, end = _seconds('start', start), _seconds('end', end)
        if end is not None and (start or 0.0) >= end:
            raise Rejection('bad_row', f'The segment from {start or 0:g} to {end:g} s has no length.')
        return start, end


def clean_label(text: str) -> str:
    """The label without spaces around it. It becomes a line of a vocabulary file: a Rejection where it can't."""
    if len(text) > MAX_LABEL:
        raise Rejection('bad_label', f'The label {paths.shown(text, 40)} is {len(text):,} characters long; at most '
                                     f'{MAX_LABEL:,} are taken.')
    text = text.strip()
    if paths.has_control(text):
        raise Rejection('bad_label', f'The label {paths.shown(text)} has a line break or another control character.')
    if not paths.is_utf8(text):
        raise Rejection('bad_label', f'The label {paths.shown(text)} is not UTF-8.')
    return text


def split_of(text: str) -> str:
    """'train' or 'eval' for a split's name; Rejection where it is none of SPLITS."""
    split = SPLITS.get(text) or SPLITS.get(text.strip().lower())
    if split is None:
        raise Rejection('bad_row', f'The split {paths.shown(text, 40)!r} is none of {", ".join(SPLITS)}.')
    return split


def split_of_name(name: str) -> str | None:
    """The split that the words of a file's or folder's name say (trainval.txt, eval_segments.csv), or None."""
    name = name.lower()
    if 'train' in name:
        return 'train'
    return 'eval' if any(word in name for word in ('test', 'val')) else None


def clean_extra(column: str, text: str) -> str:
    """The value of an extra column, for a feature of the examples."""
    if len(text) > MAX_LABEL or not paths.is_utf8(text):
        raise Rejection('bad_row', f'The {column} {paths.shown(text, 40)} is not UTF-8, or over {MAX_LABEL:,} long.')
    return text.strip()


def _seconds(name: str, value) -> float | None:
    if value is None or value == '':
        return None
    try:
        seconds = float(value)
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if isinstance(value, bool) or not 0 <= seconds < math.inf:
        raise Rejection('bad_row', f'The {name} {paths.shown(str(value), 40)!r} is no number of seconds from 0 on.')
    return seconds


def _words(entry: Entry) -> str:
    extra = ''.join(f', {column} {value}' for column, value in entry.extra)
    return paths.shown(f'{" and ".join(entry.labels)} ({entry.split}{extra})')

"""Finds what in the names of files may say which examples belong together: a scene, a camera, a speaker, a session.

It only suggests. Whether `jackson` in `7_jackson_32.wav` is a speaker, people know.
"""

import dataclasses
import re
from collections.abc import Iterable, Iterator

from media.entries import Entry
from media.listing.collector import SPLITS

_SEPARATORS = '_-. '  # between the words of a file's name
_MAX_WORDS, _MAX_FOLDERS = 8, 6  # of a name that are looked at, from its beginning
_MAX_GROUPS = 50_000  # of one candidate: bounds the memory, and so many are hardly scenes
_MIN_GROUPS = 5  # fewer are sites or takes rather than scenes
_MAX_SHARE = 0.5  # of the examples, in the largest group
_MIN_SHARE_TOGETHER = 0.8  # of the examples, in groups of at least two
_SHOWN = 3


@dataclasses.dataclass(frozen=True)
class NamedGroups:
    """Groups that a pattern finds in the names of files.

    pattern: for `Data.groups`. groups: how many there are. first: the names of the first ones. eval_examples: how many
    examples eval has. shared: how many of these have their group in train, too.
    """
    pattern: str
    groups: int
    first: tuple[str, ...]
    eval_examples: int
    shared: int

    def remark(self) -> str:
        """The suggestion, as a line of `polyvit data check`."""
        return (f'the names look as if they named {self.groups:,} groups ({", ".join(self.first)}, ...), and '
                f'{self.shared:,} of {self.eval_examples:,} eval examples share theirs with train: if these are '
                f"scenes, speakers or recordings, set groups=r'{self.pattern}'")


def suggest(entries: Iterable[Entry]) -> NamedGroups | None:
    """The likeliest groups in the names of a task's files; None if nothing looks like groups. entries: all of the task.

      A candidate is a folder, or a word of the files' names, counted from the left: people write the general before
    the     particular. All names must have it. It is neither a label nor a split nor what tells the files of a group
    apart,     which ends a name, nor a number that is counted from 0 or 1. There are at least five groups, none with
    more than half of the examples, and four of five     examples are not alone in theirs.
    """
    candidates, names = {}, _Names()
    for entry in entries:
        found = dict(names.add(entry))
        if names.count == 1:
            candidates = {key: _Groups() for key in found}
        candidates = {key: groups for key, groups in candidates.items()
                      if key in found and groups.add(found[key], entry)}
        if not candidates:
            return None
    for key, groups in candidates.items():
        if groups.are_plausible(names.count):
            return groups.named(names.pattern(key))
    return None


class _Names:
    """The names seen so far: how many, which separators they use, and whether they are members of archives.

    A candidate's key is ('folder', its number from the left) or ('word', its number from the left).
    """

    def __init__(self):
        self.count, self._separators, self._members = 0, set(), False

    def add(self, entry: Entry) -> Iterator[tuple[tuple[str, int], str]]:
        """Yields (key, text) of each candidate in the entry's name, the likeliest first."""
        self.count += 1
        self._members |= bool(entry.member)
        *folders, name = (entry.member or entry.path).split('/')
        for number, folder in enumerate(folders[:_MAX_FOLDERS]):
            if folder.lower() not in SPLITS:
                yield ('folder', number), folder
        stem = name.rpartition('.')[0] or name
        self._separators |= set(_SEPARATORS) & set(stem)
        words = [word for word in re.split(f'[{re.escape(_SEPARATORS)}]+', stem) if word]
        for number, word in enumerate(words[:-1][:_MAX_WORDS]):  # the last word tells the files of a group apart
            yield ('word', number), word

    def pattern(self, key: tuple[str, int]) -> str:
        """The regular expression of a candidate, over the path, or `archive!member`."""
        kind, number = key
        end = '!' if self._members else ''
        if kind == 'folder':
            return rf'{"!" if end else "^"}{"[^/]+/" * number}([^/]+)/'
        separators = ''.join(sorted(self._separators, key='_. -'.index))  # '-' last, where it means itself
        between = f'[{separators}]+' if len(separators) > 1 else f'{re.escape(separators)}+'
        word = f'[^/{end}{separators}]+'
        return rf'{f"{word}{between}" * number}({word}){between}[^/{end}]*$'


class _Groups:
    """The groups of one candidate: how many examples they have in train and eval, and which labels are theirs alone."""

    def __init__(self):
        self._counts: dict[str, list[int]] = {}
        self._common_labels: dict[str, set[str]] = {}  # of all examples of a group
        self._groups_of_label: dict[str, set[str]] = {}  # at most two

    def add(self, name: str, entry: Entry) -> bool:
        """Counts an entry. False if there are too many groups."""
        self._counts.setdefault(name, [0, 0])[entry.split == 'eval'] += 1
        self._common_labels.setdefault(name, set(entry.labels)).intersection_update(entry.labels)
        for label in entry.labels:
            groups = self._groups_of_label.setdefault(label, set())
            if len(groups) < 2:
                groups.add(name)
        return len(self._counts) <= _MAX_GROUPS

    def are_plausible(self, examples: int) -> bool:
        sizes = [sum(counts) for counts in self._counts.values()]
        # A label by another name: each group has one that no other group has.
        is_label = all(any(len(self._groups_of_label[label]) == 1 for label in labels)
                       for labels in self._common_labels.values())
        return (len(sizes) >= _MIN_GROUPS and not is_label and not self._are_labels() and not self._are_counted()
                and max(sizes) <= _MAX_SHARE * examples
                and sum(size for size in sizes if size > 1) >= _MIN_SHARE_TOGETHER * examples)

    def _are_labels(self) -> bool:
        """Whether most names are those of labels, although a few files may lie in a folder of another."""
        labels = {label.casefold() for label in self._groups_of_label}
        return sum(name.casefold() in labels for name in self._counts) > len(self._counts) / 2

    def _are_counted(self) -> bool:
        """Whether the names are the numbers from 0 or 1 on, which count something, such as the takes of each class."""
        if not all(name.isascii() and name.isdigit() and len(name) < 10 for name in self._counts):
            return False
        numbers = sorted(map(int, self._counts))
        return numbers[0] in (0, 1) and numbers == list(range(numbers[0], numbers[0] + len(numbers)))

    def named(self, pattern: str) -> NamedGroups:
        return NamedGroups(pattern, len(self._counts), tuple(sorted(self._counts)[:_SHOWN]),
                           sum(count for _, count in self._counts.values()),
                           sum(count for train, count in self._counts.values() if train))

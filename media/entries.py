"""What a listing consists of: an Entry for each future example, a Rejection for what cannot become one."""

import dataclasses
import itertools
import typing
from collections.abc import Iterable, Iterator

from media import rows
from media.rejections import Rejection

if typing.TYPE_CHECKING:
    from media.findings import Tally

SPLITS = ('train', 'eval')
TEXT = 'text'  # the record of an entry that has its media itself


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """A future example: where its media are, its labels, and its split.

    path: the file, relative to the task's data folder, with '/'.
    split: 'train' or 'eval'.
    start, end: a segment of a longer sound or video, in seconds; None for the beginning or the end of the file.
    offset, length: the bytes of the file that hold the media (a member of a tar, a record); length -1: up to its end.
    member: the name within the archive, or the number of the record or row; '' for a plain file.
    record: 'cifar10' or 'cifar100' if these bytes are a record of raw pixels; that of table_rows, as offset and length
    then are, for a row of a Parquet file; TEXT if `text` is all; '' if they are a media file.
    group: the name of what the example belongs to, such as a speaker or a scene (Data.groups); '' if nothing says so.
    text: the text itself, if a row of a manifest has it (record TEXT); '' otherwise.
    extra: (column, value) pairs, by which the evaluation is sliced.
    """
    path: str
    labels: tuple[str, ...]
    split: str
    start: float | None = None
    end: float | None = None
    offset: int = 0
    length: int = -1
    member: str = ''
    record: str = ''
    group: str = ''
    extra: tuple[tuple[str, str], ...] = ()
    text: str = ''

    @property
    def id(self) -> str:
        """The id of the example, unique in its task: path!member#t=start,end, with the parts that it has."""
        name = f'{self.path}!{self.member}' if self.member else self.path
        if self.start is None and self.end is None:
            return name
        return f'{name}#t={self.start or 0:.12g},{"" if self.end is None else f"{self.end:.12g}"}'

    @property
    def place(self) -> str:
        """Where it is, for a rejection: the id; of a text in a row that row, 'line 12 of manifest.csv'."""
        if self.record != TEXT:
            return self.id
        kind = 'row' if self.path.lower().endswith(('.parquet', '.arrow')) else 'line'
        return f'{kind} {self.member.lstrip("0") or 0} of {self.path}'

    def to_row(self) -> tuple:
        """The entry as JSON values."""
        return (self.path, self.labels, self.split, self.start, self.end, self.offset, self.length, self.member,
                self.record, self.group, self.text, self.extra)

    @classmethod
    def from_row(cls, row) -> 'Entry':
        """The inverse of `to_row`, also after a round trip through JSON."""
        path, labels, *rest, text, extra = row
        return cls(path, tuple(labels), *rest, extra=tuple((name, value) for name, value in extra), text=text)


class StoredEntries:
    """Entries that need not fit into memory (media.rows). They can be counted, and iterated over many times."""

    def __init__(self, entries: Iterable[Entry]):
        self._rows = rows.Rows()
        for entry in entries:
            self._rows.add(entry.to_row())

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Entry]:
        return map(Entry.from_row, self._rows)


def stored(entries: Iterator[Entry]) -> list[Entry] | StoredEntries:
    """All the entries: a list, unless they are too many for the memory."""
    first = list(itertools.islice(entries, rows.MEMORY_ROWS))
    following = next(entries, None)
    return first if following is None else StoredEntries(itertools.chain(first, [following], entries))


@dataclasses.dataclass(frozen=True)
class Listing:
    """A task's entries, sorted by id, and its rejections from before any file is opened, sorted.

    Many entries are not in memory, but are read from a temporary file each time that they are iterated over. Together
    they are all that the data folder or the manifest names. No rejection has the id of an entry as its path: if a row
    is rejected but its file is not, the path is 'line 12 of manifest.csv'.

    left_out: ending -> Tally of the paths of files that are of no interest by their names (files.Walk).
    lost_folders: (folder, what is wrong) of folders whose examples are unknown, and of class folders without any.
    rejected_labels: the labels of rejected rows, where they are known.
    remarks: what was taken for granted, such as a file that says the labels although no config names it.
    about: what the data set says of itself: name, license, url.
    """
    entries: list[Entry] | StoredEntries
    rejected: list[Rejection]
    left_out: dict[str, 'Tally'] = dataclasses.field(default_factory=dict)
    lost_folders: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    rejected_labels: set[str] = dataclasses.field(default_factory=set)
    remarks: tuple[str, ...] = ()
    about: dict[str, str] = dataclasses.field(default_factory=dict)


def pack(entries: list[Entry]) -> bytes:
    """Entries as compressed JSON. Beam's coders would pickle the objects of a list one by one, at every step."""
    return rows.pack([entry.to_row() for entry in entries])


def unpack(packed: bytes) -> list[Entry]:
    """The inverse of `pack`."""
    return [Entry.from_row(row) for row in rows.unpack(packed)]

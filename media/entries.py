"""What a listing consists of: an Entry for each future example, a Rejection for what cannot become one."""

import dataclasses
import json
import zlib

from media.rejections import Rejection

SPLITS = ('train', 'eval')


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """A future example: where its media are, its labels, and its split.

    path: the file, relative to the task's data folder, with '/'.
    split: 'train' or 'eval'.
    start, end: a segment of a longer sound or video, in seconds; None for the beginning or the end of the file.
    offset, length: the bytes of the file that hold the media (a member of a tar, a record); length -1: up to its end.
    member: the name within the archive, or the number of the record; '' for a plain file.
    record: 'cifar10' or 'cifar100' if these bytes are a record of raw pixels; '' if they are a media file.
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
    extra: tuple[tuple[str, str], ...] = ()

    @property
    def id(self) -> str:
        """The id of the example, unique in its task: path!member#t=start,end, with the parts that it has."""
        name = f'{self.path}!{self.member}' if self.member else self.path
        if self.start is None and self.end is None:
            return name
        return f'{name}#t={self.start or 0:.12g},{"" if self.end is None else f"{self.end:.12g}"}'


@dataclasses.dataclass(frozen=True)
class Listing:
    """A task's entries, sorted by id, and its rejections from before any file is opened, sorted.

    Together they are all that the data folder or the manifest names. No rejection has the id of an entry as its path:
    if a row is rejected but its file is not, the path is 'line 12 of manifest.csv'.
    """
    entries: list[Entry]
    rejected: list[Rejection]


def pack(entries: list[Entry]) -> bytes:
    """Entries as compressed JSON. Beam's coders would pickle the objects of a list one by one, at every step."""
    rows = [(entry.path, entry.labels, entry.split, entry.start, entry.end, entry.offset, entry.length, entry.member,
             entry.record, entry.extra) for entry in entries]
    return zlib.compress(json.dumps(rows, separators=(',', ':')).encode(), 1)


def unpack(packed: bytes) -> list[Entry]:
    """The inverse of `pack`."""
    return [Entry(path, tuple(labels), *rest, extra=tuple((name, value) for name, value in extra))
            for path, labels, *rest, extra in json.loads(zlib.decompress(packed))]

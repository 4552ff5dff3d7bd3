"""What a listing is made of: an Entry for each future example, a Rejection for what can't become one. No TensorFlow."""

import dataclasses
import json
import zlib

from media.rejections import Rejection

SPLITS = ('train', 'eval')


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """One example to be: where its media is, its labels, and its split.

    path: of the file, relative to the task's data, with '/'. split: 'train' or 'eval'.
    start, end: seconds, the segment of a longer sound or video; None from the beginning, to the end.
    offset, length: the bytes of the file that are the media (a member of a tar, a record); length -1 is all of it.
    member: the name within the archive, or the number of the record; '' for a plain file.
    record: 'cifar10' or 'cifar100' where the bytes are a record of raw pixels; '' where they are a media file.
    extra: (column, value) pairs kept as slice features.
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
        """The example's id, unique in its task: the path, '!' and the member, '#t=' and the segment in seconds."""
        name = f'{self.path}!{self.member}' if self.member else self.path
        if self.start is None and self.end is None:
            return name
        return f'{name}#t={self.start or 0:.12g},{"" if self.end is None else f"{self.end:.12g}"}'


@dataclasses.dataclass(frozen=True)
class Listing:
    """A task's entries, sorted by id, and the rows or files that are rejected before any file is opened, sorted.

    No rejection's path is the id of an entry: where a row is rejected and its file is not, the path is 'line 12 of
    manifest.csv'. Together they are all that the data folder or the manifest names.
    """
    entries: list[Entry]
    rejected: list[Rejection]


def pack(entries: list[Entry]) -> bytes:
    """Entries as compressed JSON: Beam's coders pickle a list of objects one by one, at every step."""
    rows = [(e.path, e.labels, e.split, e.start, e.end, e.offset, e.length, e.member, e.record, e.extra)
            for e in entries]
    return zlib.compress(json.dumps(rows, separators=(',', ':')).encode(), 1)


def unpack(packed: bytes) -> list[Entry]:
    """The inverse of `pack`."""
    return [Entry(path, tuple(labels), *rest, extra=tuple((name, value) for name, value in extra))
            for path, labels, *rest, extra in json.loads(zlib.decompress(packed))]

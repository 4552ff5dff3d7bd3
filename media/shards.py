"""Plans which entries go into which output file."""

import hashlib
import itertools
import math
import operator
import typing
from collections.abc import Iterator

from media import table_rows
from media.entries import SPLITS, Entry
from media.rows import SortedRows, pack
from model_code.modalities import get_modality

# The limit on an output file, beside its modality's `shard_entries`. A file is also one element of MediaExampleGen's
# Beam pipeline: small enough for workers to share the data evenly, and large enough for the overhead per element and
# file not to matter.
SHARD_BYTES = 64 << 20


class Shard(typing.NamedTuple):
    """The entries of an output file, one of `count` of its split; packed (entries.pack) for Beam."""
    split: str
    index: int
    count: int
    entries: bytes


class ShardPlan:
    """Which entries go into which output file. A split has at least one file, which may be empty.

    Entries are sorted by a hash of their ids, so the files are the same in every run and not ordered by class. They
    need not fit into memory. Rows of a Parquet file that are decoded together stay together.
    """

    def __init__(self, modality: str):
        self._max_entries = get_modality(modality).shard_entries
        # Rows of (hash, order within a file, the entry's row).
        self._entries: dict[str, SortedRows] = {split: SortedRows() for split in SPLITS}
        self._bytes: dict[str, int] = dict.fromkeys(SPLITS, 0)

    def add(self, entry: Entry, size: int):
        """size: bytes of the entry's media."""
        self._entries[entry.split].add((*_order(entry), entry.to_row()))
        self._bytes[entry.split] += max(size, 0)

    def __iter__(self) -> Iterator[Shard]:
        for split, rows in self._entries.items():
            count = max(1, math.ceil(self._bytes[split] / SHARD_BYTES), math.ceil(len(rows) / self._max_entries))
            rest = iter(rows)
            for i in range(count):
                length = len(rows) * (i + 1) // count - len(rows) * i // count
                some = sorted(itertools.islice(rest, length), key=operator.itemgetter(1))
                yield Shard(split, i, count, pack([row for _, _, row in some]))


def _order(entry: Entry) -> tuple[str, str]:
    """By what entries are spread over the files, and by what they are sorted in a file."""
    own = _hash(entry.id)
    if not entry.record.startswith(table_rows.PARQUET):
        return own, ''
    # A block of rows is decoded as a whole, and those before it in its row group are decoded to get there.
    block = f'{entry.offset // table_rows.block_rows(entry.length):08d}'
    group = _hash(f'{entry.path}!{entry.record}')
    return _hash(f'{group}{block}') + own, f'{group}{block}{own}'


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()

"""Plans which entries go into which output file."""

import hashlib
import itertools
import math
import typing
from collections.abc import Iterator

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
    need not fit into memory.
    """

    def __init__(self, modality: str):
        self._max_entries = get_modality(modality).shard_entries
        # Rows of (hash, the entry's row).
        self._entries: dict[str, SortedRows] = {split: SortedRows() for split in SPLITS}
        self._bytes: dict[str, int] = dict.fromkeys(SPLITS, 0)

    def add(self, entry: Entry, size: int):
        """size: bytes of the entry's media."""
        self._entries[entry.split].add((hashlib.sha256(entry.id.encode()).hexdigest(), entry.to_row()))
        self._bytes[entry.split] += max(size, 0)

    def __iter__(self) -> Iterator[Shard]:
        for split, rows in self._entries.items():
            count = max(1, math.ceil(self._bytes[split] / SHARD_BYTES), math.ceil(len(rows) / self._max_entries))
            entries = (row for _, row in rows)
            for i in range(count):
                length = len(rows) * (i + 1) // count - len(rows) * i // count
                yield Shard(split, i, count, pack(list(itertools.islice(entries, length))))

"""Rows that need not fit into memory: those beyond MEMORY_ROWS go to a temporary file, compressed.

A row is what JSON can hold: a text, or a list of texts, numbers and lists. The file has no name, so a killed process
leaves nothing behind. It is where Python puts temporary files (TMPDIR), some 40 bytes per entry of a listing.
"""

import heapq
import json
import os
import tempfile
import typing
import zlib
from collections.abc import Iterator

MEMORY_ROWS = 50_000  # of each object
_BLOCK_ROWS = 200  # written and read at once; the merge of a hundred million rows holds 2,000 blocks


def pack(rows: list) -> bytes:
    """Rows as compressed JSON."""
    return zlib.compress(json.dumps(rows, separators=(',', ':')).encode(), 1)


def unpack(packed: bytes) -> list:
    """The inverse of `pack`. Tuples have become lists."""
    return json.loads(zlib.decompress(packed))


class _File:
    """Blocks of rows in a temporary file. Several iterators may read it at once."""

    def __init__(self):
        self._file = tempfile.TemporaryFile()
        self._end = 0

    def write(self, rows: list) -> list[tuple[int, int]]:
        """Appends rows. Returns their blocks, (offset, bytes)."""
        blocks = []
        for begin in range(0, len(rows), _BLOCK_ROWS):
            blocks.append((self._end, self._file.write(pack(rows[begin:begin + _BLOCK_ROWS]))))
            self._end += blocks[-1][1]
        self._file.flush()
        return blocks

    def read(self, blocks: list[tuple[int, int]]) -> Iterator:
        for offset, size in blocks:
            yield from unpack(os.pread(self._file.fileno(), size, offset))


class Rows:
    """Rows in the order in which they were added."""

    def __init__(self):
        self._rows: list[typing.Any] = []  # not in the file yet
        self._file: _File | None = None
        self._blocks: list[tuple[int, int]] = []
        self._count = 0

    def add(self, row):
        self._rows.append(row)
        self._count += 1
        if len(self._rows) >= MEMORY_ROWS:
            self._file = self._file or _File()
            self._blocks += self._file.write(self._rows)
            self._rows.clear()

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator:
        if self._file:
            yield from self._file.read(self._blocks)
        yield from self._rows


class SortedRows:
    """Rows in ascending order, whatever the order in which they were added."""

    def __init__(self):
        self._rows: list[typing.Any] = []  # not in the file yet
        self._file: _File | None = None
        self._runs: list[list[tuple[int, int]]] = []  # blocks of sorted rows
        self._count = 0

    def add(self, row):
        self._rows.append(row)
        self._count += 1
        if len(self._rows) >= MEMORY_ROWS:
            self._write()

    def _write(self):
        self._file = self._file or _File()
        self._rows.sort()
        self._runs.append(self._file.write(self._rows))
        self._rows.clear()

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator:
        if not self._file:
            self._rows.sort()
            return iter(self._rows)
        if self._rows:  # tuples, which cannot be compared with the file's lists
            self._write()
        return heapq.merge(*map(self._file.read, self._runs))

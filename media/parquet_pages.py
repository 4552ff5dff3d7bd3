"""The pages of a Parquet column chunk, so that rows are read without decoding those before them.

pyarrow reads a row group from its beginning, which takes quadratic time for rows in any order. Here the headers of its
pages are read, which say how many rows each has, and pyarrow is given the file with only the pages of some rows. That
is for columns that are not repeated: there a value is a row. Source: the Parquet format (parquet.thrift), with headers
in Thrift's compact protocol.
"""

import bisect
import os

_HEADER_BYTES = (1 << 10, 1 << 17)  # read at once; a header with statistics may be long
_MAX_PAGES = 1 << 20
_MAX_NESTING = 8
_DATA_PAGE, _INDEX_PAGE, _DICTIONARY_PAGE, _DATA_PAGE_V2 = range(4)


class Pages:
    """Where the data pages of a column chunk are, and their first rows.

    Of headers that cannot be read, and those after them, it knows nothing. Then there are fewer pages to begin at, and
    more is decoded; pyarrow finds what is wrong.
    """

    def __init__(self, file, start: int, length: int):
        """file: seekable, binary. start, length: the bytes of the column chunk."""
        self._file, self._end = file, start + length
        self._rows, self._offsets = [0], [start]
        offset, row = start, 0
        for _ in range(_MAX_PAGES):
            try:
                page_type, rows, size = _header(file, offset, self._end)
            except (LookupError, ValueError, TypeError):  # or the end
                break
            if page_type in (_DATA_PAGE, _DATA_PAGE_V2):
                if not row:
                    self._offsets[0] = offset  # a dictionary stays before it
                else:
                    self._rows.append(row)
                    self._offsets.append(offset)
                row += rows
            elif page_type not in (_INDEX_PAGE, _DICTIONARY_PAGE):
                break
            offset += size

    def first_row(self, row: int) -> int:
        """The first row of the page that has this row."""
        return self._rows[bisect.bisect_right(self._rows, row) - 1]

    def file_of(self, row: int, count: int) -> '_Cut':
        """The file with those of the chunk's data pages that have `count` rows from this one on."""
        first, after = bisect.bisect_right(self._rows, row) - 1, bisect.bisect_left(self._rows, row + count)
        end = self._offsets[after] if after < len(self._offsets) else self._end
        return _Cut(self._file, self._offsets[0], self._offsets[first], end, self._end)


class _Cut:
    """A file in which a column chunk has but some of its data pages, as if it ended after them.

    What is before and after the chunk stays in place.
    """

    closed = False

    def __init__(self, file, begin: int, kept: int, kept_end: int, end: int):
        """begin, end: of the chunk's data pages in the file. kept, kept_end: of those that stay."""
        self._file, self._begin, self._kept, self._kept_end, self._end = file, begin, kept, kept_end, end
        self._position = 0

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_END:
            offset = self._file.seek(offset, os.SEEK_END)
        self._position = offset + (self._position if whence == os.SEEK_CUR else 0)
        return self._position

    def read(self, count: int) -> bytes:
        parts = []
        while count > 0:
            position, most = self._position, count
            if position < self._begin:
                most = min(most, self._begin - position)
            elif position < self._end:
                position += self._kept - self._begin
                most = min(most, self._kept_end - position)
            if most <= 0:
                break
            self._file.seek(position)
            part = self._file.read(most)
            if not part:
                break
            parts.append(part)
            self._position += len(part)
            count -= len(part)
        return parts[0] if len(parts) == 1 else b''.join(parts)


def _header(file, offset: int, end: int) -> tuple[int, int, int]:
    """(type, rows, bytes with the header) of the page at an offset. Raises LookupError or the like if it is none."""
    for most in _HEADER_BYTES:
        file.seek(offset)
        content = file.read(min(most, end - offset))
        try:
            fields, size = _struct(content, 0)
            break
        except IndexError:
            if most == _HEADER_BYTES[-1]:
                raise
    else:
        raise LookupError
    page_type, compressed = fields[1], fields[3]
    rows = fields[5][1] if page_type == _DATA_PAGE else fields[8][3] if page_type == _DATA_PAGE_V2 else 0
    if not (isinstance(rows, int) and rows >= 0 and 0 <= compressed <= end - offset - size):
        raise ValueError(fields)
    return page_type, rows, size + compressed


def _struct(content: bytes, at: int, nesting: int = 0) -> tuple[dict, int]:
    """(field number -> value of a struct's fields, where it ends)."""
    if nesting > _MAX_NESTING:
        raise ValueError(nesting)
    fields, number = {}, 0
    while content[at]:
        delta, kind = content[at] >> 4, content[at] & 15
        at += 1
        if delta:
            number += delta
        else:
            number, at = _zigzag(content, at)
        fields[number], at = _value(content, at, kind, nesting)
    return fields, at + 1


def _value(content: bytes, at: int, kind: int, nesting: int) -> tuple[object, int]:
    if kind in (1, 2):  # true, false
        return kind == 1, at
    if kind == 3:
        return content[at], at + 1
    if kind in (4, 5, 6):
        return _zigzag(content, at)
    if kind == 7:
        return None, at + 8
    if kind == 8:  # bytes
        length, at = _varint(content, at)
        return None, at + length
    if kind == 12:
        return _struct(content, at, nesting + 1)
    raise ValueError(kind)  # a page header has no lists or maps


def _varint(content: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        value |= (content[at] & 127) << shift
        at += 1
        if content[at - 1] < 128:
            return value, at
    raise ValueError(at)


def _zigzag(content: bytes, at: int) -> tuple[int, int]:
    value, at = _varint(content, at)
    return value >> 1 ^ -(value & 1), at

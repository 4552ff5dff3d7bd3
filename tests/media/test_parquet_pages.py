"""Rows of a large row group of a Parquet file: right in any order, and read without those before them."""

import random

import pyarrow as pa
import pytest

from media import table_rows
from media.rejections import Rejection
from media.tables import ParquetTable, open_table
from tests.media import tables

ROWS, IN_GROUP = 1_500, 1_000


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(table_rows, '_BLOCK_BYTES', 20_000)


def _media(nulls: bool = False) -> list[bytes | None]:
    rng = random.Random(1)
    some = [b'the same' * 30, *(rng.randbytes(rng.randint(1, 400)) for _ in range(ROWS))]
    return [None if nulls and rng.random() < 0.2 else rng.choice(some[:1] + some[i:i + 3]) for i in range(ROWS)]


def _write(directory, media, as_struct: bool = True, **options):
    column = pa.array([{'bytes': one, 'path': None} for one in media]) if as_struct else pa.array(media, pa.binary())
    tables.write_parquet(directory / 'm.parquet', pa.table({'image': column, 'label': ['a'] * len(media)}), IN_GROUP,
                         **{'data_page_size': 2_000, 'write_batch_size': 16, **options})
    return _open(directory)


def _open(directory) -> ParquetTable:
    table = open_table(str(directory), 'm.parquet')
    assert isinstance(table, ParquetTable)
    return table


def _read(table, row: int) -> bytes | None:
    try:
        return table.media(f'parquet:{row // IN_GROUP}:image', row % IN_GROUP, 200, 0)
    except Rejection as rejection:
        assert rejection.reason == 'empty', rejection.detail
        return None


@pytest.mark.parametrize('options', [
    {}, {'data_page_version': '2.0'}, {'compression': 'none', 'use_dictionary': False}, {'compression': 'zstd'},
    {'compression': 'gzip', 'data_page_version': '2.0', 'use_dictionary': False}, {'dictionary_pagesize_limit': 5_000}])
@pytest.mark.parametrize('as_struct', [True, False])
@pytest.mark.parametrize('nulls', [True, False])
def test_rows_in_any_order(tmp_path, options, as_struct, nulls):
    media = _media(nulls)
    table = _write(tmp_path, media, as_struct, **options)
    if not options.get('use_dictionary', True):  # else their numbers in the dictionary fit into a page
        assert len(table._pages_of(0, 'image.bytes' if as_struct else 'image')._rows) > 20
    rows = [*range(150), *random.Random(2).sample(range(ROWS), 60), ROWS - 1, 0]
    assert [_read(table, row) for row in rows] == [media[row] for row in rows]
    with pytest.raises(Rejection, match='no longer has this row'):
        table.media('parquet:1:image', ROWS, 200, 0)


def test_what_is_read_for_a_row_does_not_grow_with_what_is_before_it(tmp_path):
    table = _write(tmp_path, [random.Random(i).randbytes(200) for i in range(ROWS)], use_dictionary=False)
    read = []

    class Counting:
        def seek(self, *args):
            return table_file.seek(*args)

        def read(self, count):
            read.append(count)
            return table_file.read(count)

    pages = table._pages_of(0, 'image.bytes')  # reads the headers
    table_file, pages._file = pages._file, Counting()
    per_row = []
    for row in (0, 500, 900):
        read.clear()
        _read(table, row)
        per_row.append(sum(read))
    assert 20_000 < min(per_row) and max(per_row) < 30_000  # a block, of 200,000 bytes


def test_damaged_pages_are_rejected_or_read(tmp_path):
    media = _media()
    table = _write(tmp_path, media)
    offsets = table._pages_of(0, 'image.bytes')._offsets
    whole, rng = (tmp_path / 'm.parquet').read_bytes(), random.Random(3)
    outcomes = set()
    for _ in range(150):
        damaged = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            damaged[rng.choice(offsets) + rng.randrange(30)] = rng.randrange(256)
        (tmp_path / 'm.parquet').write_bytes(damaged)
        table = _open(tmp_path)
        for row in (3, 700, 999):
            try:
                outcomes.add(type(table.media('parquet:0:image', row, 200, 0)))
            except Rejection as rejection:
                outcomes.add(rejection.reason)
    assert {bytes, 'undecodable'} <= outcomes <= {bytes, 'undecodable', 'truncated', 'empty'}

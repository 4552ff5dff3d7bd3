"""media.rows: lists and sorted lists that need not fit into memory."""

import random

import pytest

from media import rows


@pytest.fixture(params=[3, 50, 10_000])
def memory_rows(request, monkeypatch):
    """Some lists are in memory, of others a part, of others nothing."""
    monkeypatch.setattr(rows, 'MEMORY_ROWS', request.param)
    monkeypatch.setattr(rows, '_BLOCK_ROWS', 7)


def _made(kind, items):
    made = kind()
    for item in items:
        made.add(item)
    return made


def test_rows_keep_their_order_and_values(memory_rows):
    items = [[f'ä{i % 7}\n"', i, 0.1 * i, None, ['x', ['y']]] for i in range(101)]
    kept = _made(rows.Rows, items)
    assert len(kept) == 101 and list(kept) == items
    assert list(zip(kept, kept, strict=True)) == [(item, item) for item in items], 'two iterators at once'
    assert list(_made(rows.Rows, [])) == []


def test_sorted_rows_are_sorted_however_they_were_added(memory_rows):
    items = [[f'{i:03d}', -i] for i in range(101)]
    shuffled = random.Random(0).sample(items, len(items))
    kept = _made(rows.SortedRows, map(tuple, shuffled))
    assert len(kept) == 101 and [list(row) for row in kept] == items
    assert [list(row) for row in kept] == items, 'again'
    kept.add(('', 0))
    assert next(iter(kept))[0] == '' and len(list(kept)) == 102
    assert list(_made(rows.SortedRows, 'bca')) == ['a', 'b', 'c']

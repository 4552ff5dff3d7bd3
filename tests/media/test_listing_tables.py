"""Parquet and Arrow: manifests, and media inside. A child process reads them, so that no file can harm the listing."""

import datetime
import itertools
import os
import pathlib

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from media import listing, shards
from media.entries import unpack
from media.open_entry import open_entry
from media.readers import read
from media.rejections import Rejection
from media.sandbox.parent import Decoder
from media.sandbox.tables import TableReader
from model_code.data import Columns
from model_code.errors import ConfigError
from model_code.modalities import ImageInput, Limits
from tests import testing
from tests.media import tables
from tests.media.tables import in_a_child, in_this_process  # noqa: F401

SPEC = ImageInput(16, 16, (8, 8))


def _source(directory, modality: str = 'image', **overrides):
    return testing.source('pets', modality, **{**dict(folder=os.fspath(directory)), **overrides})


def _labels(source):
    return {entry.id: entry.labels for entry in listing.list_media(source).entries}


def _images(count: int) -> list[bytes]:
    return [testing.image_bytes(seed=i) for i in range(count)]


def _contents(source) -> dict[str, bytes]:
    entries = listing.list_media(source).entries
    contents = {}
    for entry in entries:
        with open_entry(source.data.folder, entry, Limits(bytes=1 << 20)) as file:
            contents[entry.id] = file.read()
    return contents


@pytest.mark.parametrize('name, write', [
    ('m.parquet', tables.write_parquet), ('m.arrow', tables.write_arrow),
    ('m.arrow', lambda path, table: tables.write_arrow(path, table, stream=False))])
def test_a_manifest_says_the_same_as_csv(tmp_path, name, write):
    rows = {'path': ['a.png', 'b/c.png', 'd.png'], 'label': ['cat', 'dog, big', 'x|y'],
            'split': ['train', 'validation', 'test'], 'site': ['oak', '', 'ash'], 'speaker': ['1', '2', '3']}
    write(tmp_path / name, pa.table({**rows, 'speaker': [1, 2, 3], 'other': [{'x': 1}] * 3}))
    testing.write_manifest(tmp_path, list(zip(*rows.values(), strict=True)), columns=tuple(rows), name='m.csv')
    options = dict(groups='speaker', columns=Columns(extra=('site',)))
    expected = listing.list_media(_source(tmp_path, manifest='m.csv', **options))
    assert len(expected.entries) == 3 and expected.entries[0].extra == (('site', 'oak'),)
    assert listing.list_media(_source(tmp_path, manifest=name, **options)) == expected
    assert listing.list_media(_source(tmp_path, manifest=name, format=name.partition('.')[2], **options)) == expected


@pytest.mark.parametrize('values, labels', [
    (pa.array([3, 0]), ['3', '0']), (pa.array([3, 0], pa.uint8()), ['3', '0']),
    (pa.array(['cat', 'dog']).dictionary_encode(), ['cat', 'dog']), (pa.array([b'cat', b'dog']), ['cat', 'dog']),
    (pa.array([['cat'], ['dog']]), ['cat', 'dog']),
    (pa.array([datetime.date(2026, 1, 2), datetime.date(2026, 1, 3)]), ['2026-01-02', '2026-01-03']),
    (pa.array(['cat', 'dog'], pa.large_string()), ['cat', 'dog']), (pa.array([True, False]), ['true', 'false'])])
def test_types_of_labels(tmp_path, values, labels):
    tables.write_parquet(tmp_path / 'm.parquet', pa.table({'path': ['a.png', 'b.png'], 'label': values}))
    assert list(_labels(_source(tmp_path, manifest='m.parquet')).values()) == [(label,) for label in labels]


@pytest.mark.parametrize('values', [
    pa.array([0.5, 1.0]), pa.array([None, None], pa.string()), pa.array([['a', 'b'], ['c', 'd']])])
def test_values_that_are_no_label_are_rejected_row_by_row(tmp_path, values):
    tables.write_parquet(tmp_path / 'm.parquet', pa.table({
        'path': ['a.png', 'b.png', 'c.png'], 'label': pa.concat_arrays([values, values.slice(0, 1)])}))
    with pytest.raises(ConfigError, match='The first of 3 rejected is a.png .bad_label'):
        listing.list_media(_source(tmp_path, manifest='m.parquet'))


def test_several_labels_seconds_and_times(tmp_path):
    tables.write_parquet(tmp_path / 'm.parquet', pa.table({
        'path': ['a.wav', 'a.wav', 'b.wav'], 'labels': pa.array([['x', 'y'], ['x'], []]), 'start': [0.0, 1.5, None],
        'end': pa.array([1.5, 3.0, float('nan')]), 'recorded': pa.array([datetime.datetime(2026, 1, 2, 3)] * 3)}))
    source = _source(tmp_path, 'audio', manifest='m.parquet', label_kind='multi', allow_unlabelled=True,
                     columns=Columns(extra=('recorded',)))
    entries = listing.list_media(source).entries
    assert [(entry.id, entry.labels) for entry in entries] == [
        ('a.wav#t=0,1.5', ('x', 'y')), ('a.wav#t=1.5,3', ('x',)), ('b.wav', ())]
    assert entries[0].extra == (('recorded', '2026-01-02 03:00:00.000000'),)


def test_label_groups(tmp_path):
    tables.write_parquet(tmp_path / 'm.parquet', pa.table({'path': ['a.png', 'b.png'], 'verb': ['cut', 'wash'],
                                                           'noun': [1, 2]}))
    source = _source(tmp_path, manifest='m.parquet', label_kind='groups', label_groups=('verb', 'noun'))
    assert _labels(source) == {'a.png': ('verb:cut', 'noun:1'), 'b.png': ('verb:wash', 'noun:2')}


@pytest.mark.parametrize('name, write', [
    ('data/train-00000-of-00002.parquet', lambda path, table: tables.write_parquet(path, table, rows=7)),
    ('data/train-00000-of-00002.arrow', lambda path, table: tables.write_arrow(path, table, rows=7)),
    ('data/train-00000-of-00002.arrow', lambda path, table: tables.write_arrow(path, table, rows=7, stream=False))])
def test_media_inside(tmp_path, name, write):
    images = _images(30)
    write(tmp_path / name, tables.media_table(images))
    source = _source(tmp_path)
    assert list(_contents(source).values()) == images
    entries = listing.list_media(source).entries
    assert entries[12].id == f'{name}!00000012' and entries[12].labels == ('cat',) and entries[13].labels == ('dog',)
    assert {entry.split for entry in entries} == {'train'}
    before = listing.media_fingerprint(source)
    write(tmp_path / name, tables.media_table([*images[:29], images[0]]))
    assert listing.media_fingerprint(source) != before


@pytest.mark.parametrize('write', [tables.write_parquet, tables.write_arrow])
@pytest.mark.usefixtures('in_a_child')
def test_plain_bytes_paths_and_rows_without_either(tmp_path, write):
    images = _images(4)
    name = 'x.parquet' if write is tables.write_parquet else 'x.arrow'
    write(tmp_path / name, pa.table({'picture': images, 'label': ['a', 'b', 'a', 'b']}))
    assert list(_contents(_source(tmp_path)).values()) == images
    testing.write(tmp_path / 'sub/pictures', '2.png', images[2])
    write(tmp_path / 'sub' / name, tables.media_table([images[0], images[1], 'pictures/2.png', None]))
    source = _source(tmp_path, manifest=f'sub/{name}')
    assert _contents(source) == {f'sub/{name}!00000000': images[0], f'sub/{name}!00000001': images[1],
                                 'sub/pictures/2.png': images[2]}
    rejected, = listing.list_media(source).rejected
    assert (rejected.path, rejected.reason) == (f'row 3 of sub/{name}', 'empty')


def test_rows_of_one_block_are_read_together_and_every_row_is_in_one_shard(tmp_path, monkeypatch):
    images = _images(60)
    tables.write_parquet(tmp_path / 'a.parquet', tables.media_table(images), rows=20)
    source = _source(tmp_path, eval_share=0.0)
    entries = listing.list_media(source).entries
    assert len({entry.record for entry in entries}) == 3 and all(entry.length > 0 for entry in entries)
    monkeypatch.setattr('media.table_rows._BLOCK_BYTES', 5 * entries[0].length)
    plan = shards.ShardPlan('image')
    for entry in entries:
        plan.add(entry, entry.length)
    plan._max_entries = 20
    planned = [unpack(shard.entries) for shard in plan if shard.count == 3]
    assert sorted(entry.id for shard in planned for entry in shard) == [entry.id for entry in entries]
    for shard in planned:
        blocks = [(entry.record, entry.offset // 5) for entry in shard]
        # Each row group is read once, from its beginning to its end, and its blocks as a whole.
        assert len(set(blocks)) == 4
        runs = [block for block, _ in itertools.groupby(blocks)]
        assert len(runs) == 4
        for record in {record for record, _ in runs}:
            mine = [number for other, number in runs if other == record]
            first = runs.index((record, mine[0]))
            assert mine == sorted(mine) and runs[first:first + len(mine)] == [(record, number) for number in mine]
    with Decoder(source.data.folder, 'image', SPEC, Limits()) as decoder:
        decoded = {one.entry.id: one.features['image'] for shard in planned for one in decoder.read(shard)}
    assert decoded == {entry.id: read('image', images[i], SPEC)['image'] for i, entry in enumerate(entries)}


def test_rows_in_any_order(tmp_path):
    images = _images(30)
    tables.write_parquet(tmp_path / 'a.parquet', tables.media_table(images[:20]), rows=20)
    tables.write_parquet(tmp_path / 'b.parquet', tables.media_table(images[20:]), rows=3)
    entries = listing.list_media(_source(tmp_path)).entries
    for i in (19, 0, 25, 7, 7, 21, 29, 18, 3):
        with open_entry(os.fspath(tmp_path), entries[i], Limits(bytes=1 << 20)) as file:
            assert file.read() == images[i]
    with pytest.raises(Rejection, match='too_large'):
        open_entry(os.fspath(tmp_path), entries[0], Limits(bytes=10))
    tables.write_parquet(tmp_path / 'c.parquet', tables.media_table(images[:2]))
    os.replace(tmp_path / 'c.parquet', tmp_path / 'b.parquet')
    with pytest.raises(Rejection, match='no longer'):  # a later process, to which the file was never open
        from media import tables as open_tables
        open_tables._open = None
        open_entry(os.fspath(tmp_path), entries[29], Limits(bytes=1 << 20))


def _write_evil(path: pathlib.Path, mark: pathlib.Path):
    class Evil(pa.PyExtensionType):
        def __init__(self):
            pa.PyExtensionType.__init__(self, pa.string())

        def __reduce__(self):
            return os.mkdir, (os.fspath(mark),)

    labels = pa.ExtensionArray.from_storage(Evil(), pa.array(['a', 'b']))
    pq.write_table(pa.table({'path': ['a.png', 'b.png'], 'label': labels}), path)


@pytest.mark.skipif(not hasattr(pa, 'PyExtensionType'), reason='this pyarrow has no type that unpickles')
@pytest.mark.usefixtures('in_a_child')
def test_a_file_runs_no_code(tmp_path):
    _write_evil(tmp_path / 'm.parquet', tmp_path / 'ran')
    with pytest.raises(ConfigError, match='pickled Python objects'):
        listing.list_media(_source(tmp_path, manifest='m.parquet'))
    assert not (tmp_path / 'ran').exists()


@pytest.mark.parametrize('content, message', [
    (b'', 'no bytes'), (b'PAR1', 'without its end'), (b'path,label\na.png,cat\n', 'neither Parquet nor Arrow'),
    (b'PAR1' + b'x' * 100 + (90).to_bytes(4, 'little') + b'PAR1', 'undecodable'),
    (b'PAR1' + b'x' * 100 + (2**31).to_bytes(4, 'little') + b'PAR1', 'footer has 2,147,483,648 bytes'),
    (b'PAR1' + b'x' * 100 + b'PARE', 'encrypted'), (b'ARROW1\0\0' + b'x' * 100, 'undecodable'),
    (b'\xff\xff\xff\xff\xff\xff\xff\x7f' + b'x' * 100, 'undecodable')])
def test_files_that_cannot_be_read(tmp_path, content, message):
    testing.write(tmp_path, 'm.parquet', content)
    with pytest.raises(ConfigError, match=message):
        listing.list_media(_source(tmp_path, manifest='m.parquet'))


@pytest.mark.parametrize('table, options, message', [
    ({'path': pa.array([], pa.string()), 'label': pa.array([], pa.string())}, {}, 'has no rows'),
    ({'path': ['a.png'], 'kind': ['x']}, {}, 'no column label or labels; it has path, kind'),
    ({'file': ['a.png'], 'label': ['x']}, {}, 'needs the columns path, label, each once; it has file, label'),
    ({'path': [1], 'label': ['x']}, {}, 'path is int64; it must be text'),
    ({'path': ['a.png'], 'label': [{'x': 1}]}, {}, 'label is struct<x: int64>; it must be text, numbers or lists'),
    ({'left': [b'x'], 'right': [b'y'], 'label': ['x']}, {}, 'holds media in 2 columns, left, right, and none is named'),
    ({'path': ['a.png'], 'label': ['x'], 'split': [1]}, {}, 'split is int64; it must be text')])
def test_columns_that_do_not_fit(tmp_path, table, options, message):
    tables.write_parquet(tmp_path / 'm.parquet', pa.table(table))
    with pytest.raises(ConfigError, match=message):
        listing.list_media(_source(tmp_path, manifest='m.parquet', **options))


def test_a_row_named_twice_and_numbers_without_a_name(tmp_path):
    tables.write_parquet(tmp_path / 'm.parquet', pa.table({'path': ['a.png', 'a.png', 'b.png', '/c.png'],
                                                           'label': ['x', 'x', 'y', 'z']}))
    listed = listing.list_media(_source(tmp_path, manifest='m.parquet'))
    assert [entry.path for entry in listed.entries] == ['a.png', 'b.png']
    assert [(r.path, r.reason) for r in listed.rejected] == [('/c.png', 'bad_path')] or [
        (r.path, r.reason) for r in listed.rejected] == [('row 1 of m.parquet', 'duplicate'),
                                                         ('row 3 of m.parquet', 'bad_path')]
    tables.write_parquet(tmp_path / 'data/test.parquet', tables.media_table(_images(3), labels=[0, 1, -1]))
    rejected, = listing.list_media(_source(tmp_path, manifest='data/test.parquet')).rejected
    assert rejected.reason == 'bad_label' and 'Test sets often come without labels' in rejected.detail


@pytest.mark.usefixtures('in_a_child')
def test_a_damaged_row_group_stops_the_listing(tmp_path):
    tables.write_parquet(tmp_path / 'm.parquet', pa.table({'path': [f'{i}.png' for i in range(5000)],
                                                           'label': ['a', 'b'] * 2500}), compression='gzip')
    content = bytearray((tmp_path / 'm.parquet').read_bytes())
    content[200:4000] = b'\xff' * 3800
    testing.write(tmp_path, 'm.parquet', bytes(content))
    with pytest.raises(ConfigError, match='m.parquet in .* cannot be used'):
        listing.list_media(_source(tmp_path, manifest='m.parquet'))


def test_compressed_arrow_holds_no_media_that_can_be_read_in_place(tmp_path):
    tables.write_arrow(tmp_path / 'm.arrow', tables.media_table(_images(3)),
                       options=pa.ipc.IpcWriteOptions(compression='zstd'))
    with pytest.raises(ConfigError, match='buffers are compressed'):
        listing.list_media(_source(tmp_path, manifest='m.arrow'))


@pytest.mark.usefixtures('in_a_child')
def test_the_beginning_of_a_table(tmp_path):
    tables.write_parquet(tmp_path / 'm.parquet', pa.table({'x': range(5_000)}), rows=5_000)
    with TableReader(str(tmp_path)) as reader:
        rows = [value for (values,), _ in reader.rows('m.parquet', ['x'], most=1_500) for value in values]
        assert rows == [*range(2_000)]  # whole batches
        assert reader.describe('m.parquet')['rows'] == 5_000

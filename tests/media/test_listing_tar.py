"""Sharded tar files: members side by side make an example; damaged and hostile archives."""

import io
import json
import os
import random
import tarfile

import pytest

from media import listing
from media.listing import tars
from model_code.data import Columns
from model_code.errors import ConfigError
from tests import testing


def _task(directory, modality='image', **overrides):
    values = dict(folder=os.fspath(directory), format='tar')
    return testing.source('shards', modality, **{**values, **overrides})


def _tar(directory, name, members, format=tarfile.GNU_FORMAT):
    """members: (name, bytes), or (TarInfo, None)."""
    path = testing.write(directory, name, b'')
    with tarfile.open(path, 'w', format=format) as archive:
        for member, content in members:
            info = member if isinstance(member, tarfile.TarInfo) else tarfile.TarInfo(member)
            if content is not None:
                info.size = len(content)
            archive.addfile(info, io.BytesIO(content or b''))
    return path


def _content(directory, entry):
    with open(directory / entry.path, 'rb') as file:
        file.seek(entry.offset)
        return file.read(entry.length)


def _rejected(listed):
    return [(line.path, line.reason) for line in listed.rejected]


@pytest.mark.parametrize('format', [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_media_with_labels_beside_them(tmp_path, format):
    long = '/'.join(['folder' * 5] * 4) + '/0004'  # a header has room for 100 characters
    _tar(tmp_path, 'set-train-000.tar', [
        ('0001.jpg', b'one'), ('0001.cls', b'7\n'), ('0002.json', json.dumps({'label': 'dog'}).encode()),
        ('0002.png', b'two' * 400), ('./deep/0003.txt', b' cat '), ('./deep/0003.seg.npy', b'?'),
        ('./deep/0003.input.JPG', b''), (f'{long}.cls', b'7'), (f'{long}.jpg', b'four'),
        ('notes.md', b'not media')], format)
    _tar(tmp_path, 'val/000.tar', [('0001.jpg', b'five'), ('0001.cls', b'7')], format)
    task = _task(tmp_path)
    listed = listing.list_media(task)
    assert listed.rejected == []
    assert [(e.id, e.labels, e.split, _content(tmp_path, e)) for e in listed.entries] == [
        ('set-train-000.tar!0001.jpg', ('7',), 'train', b'one'),
        ('set-train-000.tar!0002.png', ('dog',), 'train', b'two' * 400),
        ('set-train-000.tar!deep/0003.input.JPG', ('cat',), 'train', b''),
        (f'set-train-000.tar!{long}.jpg', ('7',), 'train', b'four'),
        ('val/000.tar!0001.jpg', ('7',), 'eval', b'five')]
    assert [stat.size for _, stat in listing.with_stats(task, listed.entries)] == [3, 1200, 0, 4, 4]


def test_names_in_other_scripts_and_sizes_in_binary(tmp_path):
    for format in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        _tar(tmp_path, 'train.tar', [('kätzchen.jpg', b'x'), ('kätzchen.cls', 'größer'.encode())], format)
        assert [(e.member, e.labels) for e in listing.list_media(_task(tmp_path)).entries] == [
            ('kätzchen.jpg', ('größer',))]
    binary = bytearray((tmp_path / 'train.tar').read_bytes())
    (tmp_path / 'train.tar').write_bytes(_with_size(binary, 0, None))
    assert tars._number(b'\x80' + bytes(10) + b'\5') == 5


def test_json_with_labels_split_segment_and_extra_columns(tmp_path):
    row = {'labels': ['speech', 'inside'], 'split': 'test', 'start': 1.5, 'end': 3, 'room': 'kitchen', 'mic': 2}
    _tar(tmp_path, 'train-0.tar', [('a.wav', b'x'), ('a.json', json.dumps(row).encode()), ('b.mp4', b'y'),
                                   ('b.json', b'{"labels": ["speech"]}')])
    listed = listing.list_media(_task(tmp_path, 'audio', label_kind='multi', columns=Columns(extra=('room', 'mic'))))
    first, second = listed.entries
    assert (first.labels, first.split, first.start, first.end) == (('speech', 'inside'), 'eval', 1.5, 3.0)
    assert first.extra == (('room', 'kitchen'), ('mic', '2')) and first.id == 'train-0.tar!a.wav#t=1.5,3'
    assert (second.member, second.split, second.extra) == ('b.mp4', 'train', ())


def test_without_a_split_each_example_is_hashed(tmp_path):
    _tar(tmp_path, 'carnival.tar', [(f'{i}.{e}', b'x') for i in range(200) for e in ('jpg', 'cls')])
    entries = listing.list_media(_task(tmp_path)).entries
    assert 20 < sum(e.split == 'eval' for e in entries) < 60
    assert all(e.split == listing.hashed_split(e.id, 0.2) for e in entries)


def _link(name, kind, target='/etc/passwd'):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def test_bad_members_are_rejected_and_the_others_are_kept(tmp_path):
    _tar(tmp_path, 'train.tar', [
        ('good.jpg', b'x'), ('good.cls', b'1'),
        (_link('a.jpg', tarfile.SYMTYPE), None), (_link('b.jpg', tarfile.LNKTYPE), None),
        (_link('c.jpg', tarfile.FIFOTYPE), None), (_link('d.jpg', tarfile.CHRTYPE), None),
        (_link('folder.jpg', tarfile.DIRTYPE), None),
        ('../../e.jpg', b'x'), ('/f.jpg', b'x'), (f'{"g" * 5000}.jpg', b'x'), ('h\n.jpg', b'x'), ('u\udcff.jpg', b'x'),
        ('i.jpg', b'no label'), ('j.cls', b'no media'), ('k.jpg', b'1'), ('k.png', b'2'), ('k.cls', b'3'),
        ('l.jpg', b'x'), ('l.cls', b''), ('m.jpg', b'x'), ('m.json', b'{"label":'),
        ('n.jpg', b'x'), ('n.cls', b'y' * 70_000),
        ('o.jpg', b'x'), ('o.json', b'{"label": {"a": 1}}'), ('p.jpg', b'x'), ('p.cls', b'\xff\xfe'),
        ('q.jpg', b'x'), ('q.json', b'{"label": "a", "split": "hidden"}'),
        ('good.txt', b'apart from the others'), ('r.jpg', b'x'), ('r.jpg', b'y'), ('r.cls', b'1'),
        ('s.jpg', b'x'), ('s.json', b'[' * 60_000), ('.hidden.jpg', b'x'), ('._good.jpg', b'x'),
        ('t.jpg', b'x'), ('t.cls', b'2')])
    listed = listing.list_media(_task(tmp_path))
    assert [e.member for e in listed.entries] == ['good.jpg', 'r.jpg', 't.jpg']
    by_name = {path.removeprefix('train.tar!')[:9]: reason for path, reason in _rejected(listed)}
    assert by_name.pop('g' * 9) == 'bad_path'
    assert by_name == {
        'a.jpg': 'not_a_file', 'b.jpg': 'not_a_file', 'c.jpg': 'not_a_file', 'd.jpg': 'not_a_file',
        '../../e.j': 'bad_path',
        '/f.jpg': 'bad_path', 'h\\n.jpg': 'bad_path', 'u\\xff.jpg': 'bad_path', 'i.jpg': 'bad_label', 'j': 'missing',
        'k.jpg': 'bad_row',
        'l.jpg': 'bad_label', 'm.jpg': 'bad_row', 'n.jpg': 'bad_label', 'o.jpg': 'bad_label', 'p.jpg': 'bad_label',
        'q.jpg': 'bad_row', 'good.txt': 'bad_row', 'r.jpg (ag': 'duplicate', 's.jpg': 'bad_row'}


def test_sparse_members_are_rejected(tmp_path):
    info = tarfile.TarInfo('a.jpg')
    info.pax_headers = {'GNU.sparse.major': '1', 'GNU.sparse.minor': '0', 'GNU.sparse.realsize': '1000000000000'}
    old = tarfile.TarInfo('b.jpg')
    old.type = tarfile.GNUTYPE_SPARSE
    _tar(tmp_path, 'train.tar', [(info, b'x'), ('a.cls', b'1'), (old, b''), ('c.jpg', b'x'), ('c.cls', b'1')],
         tarfile.PAX_FORMAT)
    listed = listing.list_media(_task(tmp_path))
    assert [e.member for e in listed.entries] == ['c.jpg']
    assert {('train.tar!a.jpg', 'unsupported'), ('train.tar!b.jpg', 'unsupported')} <= set(_rejected(listed))


def _with_size(content: bytearray, position: int, size: int | None) -> bytes:
    """The archive with a binary size in the header at `position`, and the right checksum. size: None to keep it."""
    content = bytearray(content)
    header = content[position:position + 512]
    if size is None:
        size = int(header[124:135], 8)
    header[124:136] = b'\x80' + size.to_bytes(11, 'big')
    header[148:156] = b' ' * 8
    header[148:156] = b'%06o\0 ' % sum(header)
    content[position:position + 512] = header
    return bytes(content)


def test_false_sizes_of_members_and_names(tmp_path):
    path = _tar(tmp_path, 'train.tar', [('a.jpg', b'x'), ('a.cls', b'1'), ('b.jpg', b'x'), ('b.cls', b'1')])
    whole = path.read_bytes()
    path.write_bytes(_with_size(whole, 2048, 1 << 60))  # b.jpg
    listed = listing.list_media(_task(tmp_path))
    assert [e.member for e in listed.entries] == ['a.jpg']
    assert _rejected(listed) == [('train.tar', 'truncated'), ('train.tar!b.jpg', 'truncated')]
    for kind in (b'L', b'x', b'g', b'K'):
        lying = bytearray(whole)
        lying[2048 + 156:2048 + 157] = kind
        path.write_bytes(_with_size(lying, 2048, 1 << 60))
        listed = listing.list_media(_task(tmp_path))
        assert [e.member for e in listed.entries] == ['a.jpg'] and _rejected(listed) == [('train.tar', 'too_large')]


def test_a_damaged_archive_gives_the_members_before_the_damage(tmp_path):
    path = _tar(tmp_path, 'train.tar', [('a.jpg', b'x'), ('a.cls', b'1'), ('b.jpg', b'x'), ('b.cls', b'1')])
    whole = path.read_bytes()
    for content, reason in ((whole[:2048 + 100], 'truncated'),
                            (whole[:2048] + b'?' * 512 + whole[2560:], 'undecodable'),
                            (whole[:2048] + bytes(1024) + whole[2048:], 'undecodable')):
        path.write_bytes(content)
        listed = listing.list_media(_task(tmp_path))
        assert [e.member for e in listed.entries] == ['a.jpg'] and _rejected(listed) == [('train.tar', reason)]
    path.write_bytes(whole[:4096])  # no zeros at the end is tolerated
    assert len(listing.list_media(_task(tmp_path)).entries) == 2


def test_a_compressed_archive_is_an_error(tmp_path):
    testing.write(tmp_path, 'train.tar.gz', b'\x1f\x8b')
    with pytest.raises(ConfigError, match='train.tar.gz .* is compressed'):
        listing.list_media(_task(tmp_path))
    (tmp_path / 'train.tar.gz').rename(tmp_path / 'train.tar')
    testing.write(tmp_path, 'train.tar', b'\x1f\x8b' + bytes(1000))
    with pytest.raises(ConfigError, match='compressed by gzip'):
        listing.list_media(_task(tmp_path))
    (tmp_path / 'train.tar').unlink()
    with pytest.raises(ConfigError, match='no .tar file'):
        listing.list_media(_task(tmp_path))


def test_damaged_archives_give_entries_or_rejections(tmp_path):
    path = _tar(tmp_path, 'train.tar', [(f'{i}.{e}', b'1') for i in range(4) for e in ('jpg', 'cls')] +
                [(f'{"x" * 120}.jpg', b'x'), (f'{"x" * 120}.cls', b'1')], tarfile.PAX_FORMAT)
    _tar(tmp_path, 'train-1.tar', [('a.jpg', b'x'), ('a.cls', b'1')])
    whole, rng, reasons = path.read_bytes(), random.Random(0), set()
    for _ in range(400):
        content = bytearray(whole[:rng.choice([len(whole), rng.randrange(len(whole))])])
        for _ in range(rng.randrange(6)):
            if content:
                content[rng.randrange(len(content))] = rng.randrange(256)
        path.write_bytes(content)
        listed = listing.list_media(_task(tmp_path))
        reasons |= {line.reason for line in listed.rejected}
        assert 1 <= len(listed.entries) <= 6
        for entry in listed.entries:
            assert len(_content(tmp_path, entry)) == entry.length
    assert {'truncated', 'undecodable'} <= reasons


def test_the_fingerprint_changes_with_an_archive(tmp_path):
    task = _task(tmp_path)
    path = _tar(tmp_path, 'train.tar', [('a.jpg', b'x'), ('a.cls', b'1')])
    fingerprints = [listing.media_fingerprint(task)]
    assert listing.media_fingerprint(task) == fingerprints[0]
    os.utime(path, ns=(0, os.stat(path).st_mtime_ns + 1))
    fingerprints.append(listing.media_fingerprint(task))
    for members in ([('a.jpg', b'x'), ('a.cls', b'2')], [('a.cls', b'1'), ('a.jpg', b'x')],
                    [('a.jpg', b'x'), ('a.cls', b'1'), ('b.jpg', b'x')]):
        status = os.stat(path)
        _tar(tmp_path, 'train.tar', members)
        os.utime(path, ns=(0, status.st_mtime_ns))
        fingerprints.append(listing.media_fingerprint(task))
    assert len(set(fingerprints)) == len(fingerprints)

"""Listing: layouts, splits, manifests, fingerprints, and each mistake as a sentence."""

import os

import pytest

from components.media_example_gen import listing
from components.media_example_gen.listing import Entry
from model_code.errors import ConfigError
from model_code.tasks import Task
from tests import testing


def _task(directory, **overrides):
    return Task('pets', 'image', **{**dict(steps=1, batch_size=1, data=os.fspath(directory)), **overrides})


def _files(directory, *names):
    for name in names:
        testing.write(directory, name, b'x')


def _error(task):
    with pytest.raises(ConfigError) as caught:
        listing.list_media(task)
    assert 'pets' in str(caught.value) and str(caught.value).endswith('.')
    return str(caught.value)


def test_split_folders_and_what_lies_beside_the_media(tmp_path):
    _files(tmp_path, 'train/cat/1.png', 'train/dog/2.JPG', 'test/cat/3.jpeg', 'val/dog/4.png', 'train/cat/odd.gif',
           'train/cat/.hidden.png', '.cache/cat/5.png', 'train/cat/notes.txt', 'README.md')
    assert listing.list_media(_task(tmp_path)) == [
        Entry('test/cat/3.jpeg', ('cat',), 'eval'), Entry('train/cat/1.png', ('cat',), 'train'),
        Entry('train/cat/odd.gif', ('cat',), 'train'), Entry('train/dog/2.JPG', ('dog',), 'train'),
        Entry('val/dog/4.png', ('dog',), 'eval')]
    assert listing.classes_of(_task(tmp_path)) == ('cat', 'dog')
    assert listing.classes_of(_task(tmp_path, classes=('dog', 'cat'))) == ('dog', 'cat')


def test_class_folders_are_split_by_a_hash_that_no_other_file_moves(tmp_path):
    _files(tmp_path, *(f'{c}/{i}.png' for c in ('cat', 'train') for i in range(200)))
    before = {e.path: e.split for e in listing.list_media(_task(tmp_path, eval_share=0.25))}
    share = sum(s == 'eval' for s in before.values()) / len(before)
    assert 0.18 < share < 0.32
    _files(tmp_path, 'cat/new.png')
    after = {e.path: e.split for e in listing.list_media(_task(tmp_path, eval_share=0.25))}
    assert {path: after[path] for path in before} == before
    assert {e.labels for e in listing.list_media(_task(tmp_path))} == {('cat',), ('train',)}
    assert {e.split for e in listing.list_media(_task(tmp_path, eval_share=0.0))} == {'train'}


@pytest.mark.parametrize('names, said', [
    (('cat/1.png', '2.png'), '2.png'),
    (('cat/1.png', 'cat/more/2.png'), 'cat/more/2.png'),
    (('train/cat/1.png', 'dog/2.png'), 'dog/2.png'),
    (('train/cat/1.png', 'holdout/cat/2.png'), 'holdout/cat/2.png'),
    (('cat/readme.txt',), 'no image files'),
])
def test_layouts_that_do_not_fit(tmp_path, names, said):
    _files(tmp_path, *names)
    assert said in _error(_task(tmp_path))


def test_no_folder(tmp_path):
    assert 'there is no folder' in _error(_task(tmp_path / 'none'))
    assert 'has no data' in _error(_task(''))


def test_a_manifest_with_splits(tmp_path):
    testing.write_manifest(tmp_path, [
        ('b.png', 'dog', 'Test'), ('./a.png', ' cat ', 'train'), ('c.png', 'cat', 'validation')])
    assert listing.list_media(_task(tmp_path, manifest='manifest.csv')) == [
        Entry('a.png', ('cat',), 'train'), Entry('b.png', ('dog',), 'eval'), Entry('c.png', ('cat',), 'eval')]


def test_a_manifest_without_splits_hashes_and_multi_label_splits_labels(tmp_path):
    (tmp_path / 'm.csv').write_bytes('\ufeffpath,labels\r\nx/1.png,red|round | red\r\n"x/2,3.png",red\r\n'.encode())
    entries = listing.list_media(_task(tmp_path, manifest='m.csv', multi_label=True))
    assert [(e.path, e.labels) for e in entries] == [('x/1.png', ('red', 'round')), ('x/2,3.png', ('red',))]
    assert all(e.split == listing.hashed_split(e.path, 0.2) for e in entries)


@pytest.mark.parametrize('text, said', [
    ('path,colour\na.png,red\n', 'path and label'),
    ('file,label\na.png,red\n', 'path and label'),
    ('', 'nothing'),
    ('path,label\n', 'names none'),
    ('path,label\n../a.png,cat\n', 'line 2'),
    ('path,label\n/etc/passwd,cat\n', "'/etc/passwd'"),
    ('path,label\na/../../b.png,cat\n', 'leads out'),
    ('path,label\n,cat\n', 'empty'),
    ('path,label\na.png,\n', 'no label'),
    ('path,label\na.png\n', 'no label'),
    ('path,labels\na.png,x|y\n', 'multi_label=True'),
    ('path,label,split\na.png,cat,train\nb.png,cat,holdout\n', "line 3: b.png has the split 'holdout'"),
    ('path,label,split\na.png,cat,\n', 'split'),
    ('path,label\na.png,cat\nb.png,cat\na.png,dog\n', 'line 4, names a.png again (first on line 2)'),
    ('path,label\na.png,"cat\nb"\n', 'control character'),
    ('path,label\na.png,"cat\n', 'CSV'),
])
def test_manifests_that_are_wrong(tmp_path, text, said):
    (tmp_path / 'm.csv').write_text(text)
    assert said in _error(_task(tmp_path, manifest='m.csv'))


def test_a_manifest_that_is_not_there_not_text_or_outside(tmp_path):
    assert 'is not there' in _error(_task(tmp_path, manifest='m.csv'))
    (tmp_path / 'm.csv').write_bytes(b'path,label\n\xff\xfe,cat\n')
    assert 'UTF-8' in _error(_task(tmp_path, manifest='m.csv'))
    assert 'outside' in _error(_task(tmp_path, manifest='../m.csv'))


def test_links_may_stay_inside_and_not_lead_out(tmp_path):
    _files(tmp_path, 'data/cat/1.png', 'secret/2.png')
    data = tmp_path / 'data'
    (data / 'cat/same.png').symlink_to('1.png')
    assert [e.path for e in listing.list_media(_task(data))] == ['cat/1.png', 'cat/same.png']
    (data / 'cat/out.png').symlink_to(tmp_path / 'secret/2.png')
    assert 'cat/out.png' in _error(_task(data)) and 'link out' in _error(_task(data))
    (data / 'cat/out.png').unlink()
    (data / 'dog').symlink_to(tmp_path / 'secret')
    assert 'link out' in _error(_task(data))
    testing.write_manifest(data, [('dog/2.png', 'dog', 'train')])
    assert 'link out' in _error(_task(data, manifest='manifest.csv'))


def test_a_link_to_a_folder_above_does_not_go_round_for_ever(tmp_path):
    _files(tmp_path, 'cat/1.png')
    (tmp_path / 'cat/loop').symlink_to('..')
    assert 'no class folder' in _error(_task(tmp_path))


def test_the_fingerprint_follows_every_change_and_nothing_else(tmp_path):
    _files(tmp_path, 'a.png', 'b.png')
    rows = [('a.png', 'cat', 'train'), ('b.png', 'dog', 'eval')]
    testing.write_manifest(tmp_path, rows)
    task = _task(tmp_path, manifest='manifest.csv')
    seen = [listing.media_fingerprint(task)]
    assert listing.media_fingerprint(task) == seen[0]
    testing.write_manifest(tmp_path, rows[::-1])
    assert listing.media_fingerprint(task) == seen[0]  # Another order of the same rows.
    status = os.stat(tmp_path / 'a.png')

    testing.write(tmp_path, 'a.png', b'longer')
    seen.append(listing.media_fingerprint(task))
    testing.write(tmp_path, 'a.png', b'sameln')
    os.utime(tmp_path / 'a.png', ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    seen.append(listing.media_fingerprint(task))
    testing.write_manifest(tmp_path, [('a.png', 'dog', 'train'), rows[1]])
    seen.append(listing.media_fingerprint(task))
    testing.write_manifest(tmp_path, [('a.png', 'dog', 'eval'), rows[1]])
    seen.append(listing.media_fingerprint(task))
    (tmp_path / 'a.png').unlink()
    seen.append(listing.media_fingerprint(task))
    assert len(set(seen)) == len(seen)


def test_a_train_split_without_files_has_no_classes(tmp_path):
    _files(tmp_path, 'test/cat/1.png')
    with pytest.raises(ConfigError, match='train split is empty'):
        listing.classes_of(_task(tmp_path))


def test_other_file_systems_are_listed_through_beam(tmp_path, monkeypatch):
    # Beam's own local file system stands in for a bucket.
    _files(tmp_path, 'train/cat/1.png', 'test/cat/2.png', 'train/.tmp/3.png')
    monkeypatch.setattr(listing, '_is_remote', lambda path: True)
    entries = listing.list_media(_task(tmp_path))
    assert [(e.path, e.split) for e in entries] == [('test/cat/2.png', 'eval'), ('train/cat/1.png', 'train')]
    assert [size for size, _ in listing.file_facts(_task(tmp_path), entries)] == [1, 1]


def test_real_media(shared_data):
    entries = listing.list_media(_task(shared_data / 'cifar10'))
    assert len(entries) == 12_000 and sum(e.split == 'train' for e in entries) == 10_000
    tags = Task('tags', 'audio', 1, 1, data=str(shared_data / 'fsdd'), manifest='tags.csv', multi_label=True)
    assert {len(e.labels) for e in listing.list_media(tags)} == {4}

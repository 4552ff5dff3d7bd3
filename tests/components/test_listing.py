"""Listing: layouts, splits, manifests, fingerprints, and each mistake as a sentence."""

import os

import pytest

from components.media_example_gen import listing
from components.media_example_gen.entries import Entry
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


def _listed(task):
    return listing.list_media(task).entries


def _rejected(task):
    return [(line['path'], line['reason']) for line in listing.list_media(task).rejected]


def test_split_folders_and_what_lies_beside_the_media(tmp_path):
    _files(tmp_path, 'train/cat/1.png', 'train/dog/2.JPG', 'test/cat/3.jpeg', 'val/dog/4.png', 'train/cat/odd.gif',
           'train/cat/.hidden.png', '.cache/cat/5.png', 'train/cat/notes.txt', 'README.md')
    found = listing.list_media(_task(tmp_path))
    assert found.rejected == [] and found.entries == [
        Entry('test/cat/3.jpeg', ('cat',), 'eval'), Entry('train/cat/1.png', ('cat',), 'train'),
        Entry('train/cat/odd.gif', ('cat',), 'train'), Entry('train/dog/2.JPG', ('dog',), 'train'),
        Entry('val/dog/4.png', ('dog',), 'eval')]
    assert listing.classes_of(_task(tmp_path)) == ('cat', 'dog')
    assert listing.classes_of(_task(tmp_path, classes=('dog', 'cat'))) == ('dog', 'cat')


def test_class_folders_are_split_by_a_hash_that_no_other_file_moves(tmp_path):
    _files(tmp_path, *(f'{c}/{i}.png' for c in ('cat', 'train') for i in range(200)))
    before = {e.path: e.split for e in _listed(_task(tmp_path, eval_share=0.25))}
    share = sum(s == 'eval' for s in before.values()) / len(before)
    assert 0.18 < share < 0.32
    _files(tmp_path, 'cat/new.png')
    after = {e.path: e.split for e in _listed(_task(tmp_path, eval_share=0.25))}
    assert {path: after[path] for path in before} == before
    assert {e.labels for e in _listed(_task(tmp_path))} == {('cat',), ('train',)}
    assert {e.split for e in _listed(_task(tmp_path, eval_share=0.0))} == {'train'}


@pytest.mark.parametrize('names, misplaced', [
    (('cat/1.png', '2.png'), '2.png'),
    (('cat/1.png', 'cat/more/2.png'), 'cat/more/2.png'),
    (('train/cat/1.png', 'dog/2.png'), 'dog/2.png'),
    (('train/cat/1.png', 'holdout/cat/2.png'), 'holdout/cat/2.png'),
])
def test_files_that_do_not_fit_the_layout_are_rejected(tmp_path, names, misplaced):
    _files(tmp_path, *names)
    assert _rejected(_task(tmp_path)) == [(misplaced, 'bad_path')] and len(_listed(_task(tmp_path))) == 1


@pytest.mark.parametrize('names, said', [
    (('1.png', '2.png'), 'no class folder'),
    (('cat/readme.txt',), 'no image files'),
])
def test_layouts_that_are_none(tmp_path, names, said):
    _files(tmp_path, *names)
    assert said in _error(_task(tmp_path))


def test_no_folder(tmp_path):
    assert 'there is no folder' in _error(_task(tmp_path / 'none'))
    assert 'has no data' in _error(_task(''))


def test_a_manifest_with_splits(tmp_path):
    testing.write_manifest(tmp_path, [
        ('b.png', 'dog', 'Test'), ('./a.png', ' cat ', 'train'), ('c.png', 'cat', 'validation')])
    assert _listed(_task(tmp_path, manifest='manifest.csv')) == [
        Entry('a.png', ('cat',), 'train'), Entry('b.png', ('dog',), 'eval'), Entry('c.png', ('cat',), 'eval')]


def test_a_manifest_without_splits_hashes_and_multi_label_splits_labels(tmp_path):
    (tmp_path / 'm.csv').write_bytes('\ufeffpath,labels\r\nx/1.png,red|round | red\r\n"x/2,3.png",red\r\n'.encode())
    entries = _listed(_task(tmp_path, manifest='m.csv', multi_label=True))
    assert [(e.path, e.labels) for e in entries] == [('x/1.png', ('red', 'round')), ('x/2,3.png', ('red',))]
    assert all(e.split == listing.hashed_split(e.path, 0.2) for e in entries)


@pytest.mark.parametrize('text, said', [
    ('path,colour\na.png,red\n', 'path and label'),
    ('file,label\na.png,red\n', 'path and label'),
    ('path,label,label\na.png,red,red\n', 'each once'),
    ('', 'nothing'),
    ('path,label\n', 'names none'),
    ('path,"label\n', 'not valid CSV'),
    ('path,label\n../a.png,cat\n', 'line 2 of m.csv (bad_path)'),
])
def test_manifests_that_are_wrong(tmp_path, text, said):
    (tmp_path / 'm.csv').write_text(text)
    assert said in _error(_task(tmp_path, manifest='m.csv'))


@pytest.mark.parametrize('row, path, reason, said', [
    ('../b.png,cat,train', 'line 3 of m.csv', 'bad_path', 'leads out'),
    ('x/../../b.png,cat,train', 'line 3 of m.csv', 'bad_path', 'leads out'),
    ('/etc/passwd,cat,train', 'line 3 of m.csv', 'bad_path', 'absolute'),
    ('~/b.png,cat,train', 'line 3 of m.csv', 'bad_path', 'absolute'),
    ('gs://bucket/b.png,cat,train', 'line 3 of m.csv', 'bad_path', 'URL'),
    ('x\\b.png,cat,train', 'line 3 of m.csv', 'bad_path', 'backslash'),
    ('b\x07.png,cat,train', 'line 3 of m.csv', 'bad_path', 'control character'),
    (',cat,train', 'line 3 of m.csv', 'bad_path', 'empty'),
    ('b.png,,train', 'b.png', 'bad_label', 'no label'),
    ('b.png,"cat\nb",train', 'b.png', 'bad_label', 'control character'),
    ('b.png,"x\u2028y",train', 'b.png', 'bad_label', 'control character'),
    ('b.png,' + 'x' * 1001 + ',train', 'b.png', 'bad_label', '1,001 characters'),
    ('b.png,' + 'x' * 10_000_000 + ',train', 'b.png', 'bad_label', 'over 131,072 characters'),
    ('b.png,"' + 'x' * 10_000_000 + '",train', 'b.png', 'bad_label', 'over 131,072 characters'),
    ('b' * 200_000 + '.png,cat,train', 'line 3 of m.csv', 'bad_row', 'over 131,072 characters'),
    ('b' * 5000 + '.png,cat,train', 'line 3 of m.csv', 'bad_path', '5,004 characters'),
    ('b.png,cat,holdout', 'b.png', 'bad_row', "split 'holdout'"),
    ('b.png,cat,', 'b.png', 'bad_row', 'split'),
    ('b.png,cat', 'line 3 of m.csv', 'bad_row', '2 fields'),
    ('b.png,cat,train,more', 'line 3 of m.csv', 'bad_row', '4 fields'),
    ('b.png,"cat"x,train', 'line 3 of m.csv', 'bad_row', 'not valid CSV'),
    ('b.png,"cat,train', 'line 3 of m.csv', 'bad_row', 'not valid CSV'),
    ('a.png,cat,train', 'line 3 of m.csv', 'duplicate', 'kept once'),
    ('a.png,,train', 'line 3 of m.csv', 'bad_label', 'no label'),
])
def test_one_bad_row_is_rejected_and_the_others_are_read(tmp_path, row, path, reason, said):
    (tmp_path / 'm.csv').write_text(f'path,label,split\na.png,cat,train\n{row}\nc.png,dog,eval\n')
    found = listing.list_media(_task(tmp_path, manifest='m.csv'))
    assert [e.path for e in found.entries] == ['a.png', 'c.png']
    assert [(line['path'], line['reason']) for line in found.rejected] == [(path, reason)]
    assert said in found.rejected[0]['detail'] and found.rejected[0]['detail'].startswith('Line 3 of m.csv: ')
    assert len(found.rejected[0]['detail']) < 500


def test_a_manifest_that_is_not_there_not_text_or_outside(tmp_path):
    assert 'is not there' in _error(_task(tmp_path, manifest='m.csv'))
    (tmp_path / 'm.csv').write_bytes('path,label\na.png,cat\n'.encode('utf-16'))
    assert 'not text in UTF-8' in _error(_task(tmp_path, manifest='m.csv'))
    assert 'leads out' in _error(_task(tmp_path, manifest='../m.csv'))


def test_links_may_stay_inside_and_not_lead_out(tmp_path):
    _files(tmp_path, 'data/cat/1.png', 'secret/2.png')
    data = tmp_path / 'data'
    (data / 'cat/same.png').symlink_to('1.png')
    assert [e.path for e in _listed(_task(data))] == ['cat/1.png', 'cat/same.png']
    (data / 'cat/out.png').symlink_to(tmp_path / 'secret/2.png')
    (data / 'dog').symlink_to(tmp_path / 'secret')
    assert _rejected(_task(data)) == [('cat/out.png', 'bad_path'), ('dog', 'bad_path')]
    testing.write_manifest(data, [('dog/2.png', 'dog', 'train'), ('cat/out.png', 'cat', 'train'),
                                  ('cat/1.png', 'cat', 'train')])
    found = listing.list_media(_task(data, manifest='manifest.csv'))
    assert [e.path for e in found.entries] == ['cat/1.png']
    assert [line['path'] for line in found.rejected] == ['cat/out.png', 'dog/2.png']
    assert all('link out' in line['detail'] for line in found.rejected)
    (data / 'manifest.csv').unlink()
    testing.write_manifest(tmp_path, [('cat/1.png', 'cat', 'train')])
    (data / 'manifest.csv').symlink_to(tmp_path / 'manifest.csv')
    assert 'link out' in _error(_task(data, manifest='manifest.csv'))


def test_a_link_to_a_folder_above_does_not_go_round_for_ever(tmp_path):
    _files(tmp_path, 'cat/1.png', 'dog/2.png')
    (tmp_path / 'cat/loop').symlink_to('..')
    (tmp_path / 'cat/there').symlink_to('../dog')
    (tmp_path / 'dog/back').symlink_to('../cat')
    (tmp_path / 'dog/self.png').symlink_to('self.png')
    found = listing.list_media(_task(tmp_path))
    assert {'cat/1.png', 'dog/2.png', 'dog/self.png'} == {e.path for e in found.entries}  # the reader finds no self.png
    assert ('cat/loop', 'bad_path') in _rejected(_task(tmp_path))
    assert len(found.rejected) < 20


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


def test_real_media(shared_data):
    entries = _listed(_task(shared_data / 'cifar10'))
    assert len(entries) == 12_000 and sum(e.split == 'train' for e in entries) == 10_000
    tags = Task('tags', 'audio', 1, 1, data=str(shared_data / 'fsdd'), manifest='tags.csv', multi_label=True)
    assert {len(e.labels) for e in _listed(tags)} == {4}

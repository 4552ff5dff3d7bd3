"""Splits by name: the same words in folders, archives and rows; and what names none beside what does is refused."""

import io
import json
import os
import re
import tarfile

import pytest

from media import listing
from media.listing import collector
from model_code.data import Columns
from model_code.errors import ConfigError
from tests import testing

NAMES = [(name, split) for name, split in listing.SPLITS.items()]

def _source(directory, **fields):
    return testing.source('pets', 'image', **{**dict(folder=os.fspath(directory)), **fields})

def _splits(source):
    return {entry.path: entry.split for entry in listing.list_media(source).entries}

def _tar(directory, name, labels=('cat', 'dog'), **row):
    """An archive of one example for each label. row: more keys of their .json files."""
    path = testing.write(directory, name, b'')
    with tarfile.open(path, 'w') as archive:
        for i, label in enumerate(labels):
            for member, content in ((f'{i}.jpg', b'x'), (f'{i}.json', json.dumps({'label': label, **row}).encode())):
                info = tarfile.TarInfo(member)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))

def _refused(source, *parts):
    with pytest.raises(ConfigError) as caught:
        listing.list_media(source)
    message = str(caught.value)
    assert message.startswith('Task pets: ') and message.endswith('.')
    assert [part for part in parts if part not in message] == []
    return message

@pytest.mark.parametrize('name, split', NAMES)
def test_one_table_says_the_split_everywhere(tmp_path, name, split):
    written = name.capitalize()
    for folder in (written, 'train'):
        testing.write(tmp_path / 'folders', f'{folder}/cat/1.png', b'x')
    assert _splits(_source(tmp_path / 'folders'))[f'{written}/cat/1.png'] == split
    for archive in (f'shards-{name}-0000.tar', f'{name.upper()}/0000.tar'):
        _tar(tmp_path / 'tar', archive)
        assert _splits(_source(tmp_path / 'tar', format='tar'))[archive] == split
    _tar(tmp_path / 'json', '0000.tar', split=written)
    assert _splits(_source(tmp_path / 'json', format='tar')) == {'0000.tar': split}
    testing.write_manifest(tmp_path, [('a.png', 'cat', f' {written} ')])
    testing.write(tmp_path, 'm.jsonl', json.dumps({'path': 'b.png', 'label': 'cat', 'split': name}))
    assert _splits(_source(tmp_path, manifest=('manifest.csv', 'm.jsonl'))) == {'a.png': split, 'b.png': split}

@pytest.mark.parametrize('name, split', [
    ('trainval.txt', 'train'), ('trainingSet.csv', 'train'), ('unbalanced_train_segments.csv', 'train'),
    ('train2017', 'train'), ('imagenetTrain-0.tar', 'train'), ('TRAIN', 'train'), ('trainset.csv', 'train'),
    ('validationSet.csv', 'eval'), ('eval_segments.csv', 'eval'), ('hold-out.csv', 'eval'), ('test-dev.csv', 'eval'),
    ('valset', 'eval'), ('ILSVRC2012_img_val', 'eval'), ('my hold_out 3', 'eval'),
    ('retrieval.csv', None), ('devices', None), ('latest.tar', None), ('trains', None), ('medieval', None),
    ('restraint', None), ('devkit', None), ('0000.tar', None), ('contest', None)])
def test_a_split_is_a_word_of_a_name_and_not_a_part_of_a_word(name, split):
    assert collector.split_of_name(name) == split

@pytest.mark.parametrize('name', ['train_val.csv', 'train-test-0000.tar', 'testOfTraining'])
def test_a_name_of_both_splits_is_refused(tmp_path, name):
    with pytest.raises(ConfigError, match='has words of both splits'):
        collector.split_of_name(name)
    _tar(tmp_path, 'a train-test b.tar')
    _refused(_source(tmp_path, format='tar'), 'words of both splits, train and test')

def test_the_innermost_part_of_a_path_decides():
    assert collector.split_of_path('test/shards/train-0.tar') == 'train'
    assert collector.split_of_path('val/shards/0.tar') == 'eval' and collector.split_of_path('a/0.tar') is None

def test_an_archive_without_a_split_beside_ones_with_it_is_refused(tmp_path):
    for name in ('train-0.tar', 'dev-0.tar'):
        _tar(tmp_path, name)
    assert _splits(_source(tmp_path, format='tar')) == {'train-0.tar': 'train', 'dev-0.tar': 'eval'}
    _tar(tmp_path, 'more/extra.tar')
    _refused(_source(tmp_path, format='tar'), '2 examples of 6 name no split (more/extra.tar)',
             'the others do (dev-0.tar, train-0.tar)', 'train-0000.tar', 'validation')
    _tar(tmp_path, 'more/extra.tar', split='test')
    assert _splits(_source(tmp_path, format='tar'))['more/extra.tar'] == 'eval'

@pytest.mark.parametrize('empty', ['', '  '])
def test_an_empty_split_beside_others_is_refused_and_empty_ones_alone_are_hashed(tmp_path, empty):
    rows = [('a.png', 'cat', empty), ('b.png', 'dog', empty), ('c.png', 'dog', empty)]
    testing.write_manifest(tmp_path, rows)
    hashed = _splits(_source(tmp_path, manifest='manifest.csv'))
    assert hashed == {name: listing.hashed_split(name, 0.2) for name, *_ in rows}
    testing.write_manifest(tmp_path, [*rows, ('d.png', 'cat', 'test')])
    _refused(_source(tmp_path, manifest='manifest.csv'), '3 examples of 4', 'line 2 of manifest.csv',
             'the others do (line 5 of manifest.csv)', 'Fill the column split', "Columns(split='')")
    ignored = _source(tmp_path, manifest='manifest.csv', columns=Columns(split=''))
    assert _splits(ignored)['d.png'] == listing.hashed_split('d.png', 0.2)

def test_a_manifest_without_splits_beside_one_with_splits_is_refused(tmp_path):
    testing.write_manifest(tmp_path, [('a.png', 'cat', 'train')], name='train.csv')
    testing.write(tmp_path, 'more.jsonl', '{"path": "b.png", "label": "cat"}\n{"path": "c.png", "label": "dog", '
                                          '"split": null}')
    _refused(_source(tmp_path, manifest=('train.csv', 'more.jsonl')), '2 examples of 3', 'line 1 of more.jsonl')

@pytest.mark.parametrize('names', [('train.csv', 'valid.csv'), ('a/train/m.csv', 'a/test/m.csv')])
def test_the_names_of_manifests_say_the_split_if_they_were_split(tmp_path, names):
    for name, path in zip(names, 'ab', strict=True):
        testing.write(tmp_path, name, f'path,label\n{path}.png,cat\n')
    assert _splits(_source(tmp_path, manifest=names)) == {'a.png': 'train', 'b.png': 'eval'}
    hashed = {f'{path}.png': listing.hashed_split(f'{path}.png', 0.2) for path in 'ab'}
    assert _splits(_source(tmp_path, manifest=names, columns=Columns(split=''))) == hashed
    assert _splits(_source(tmp_path, manifest=names[:1])) == {'a.png': hashed['a.png']}
    testing.write(tmp_path, names[1], 'path,label,split\nb.png,cat,train\nc.png,cat,\n')  # a row's own comes first
    assert _splits(_source(tmp_path, manifest=names)) == {'a.png': 'train', 'b.png': 'train', 'c.png': 'eval'}
    testing.write(tmp_path, 'train_test.jsonl', '{"path": "d.png", "label": "cat"}')
    _refused(_source(tmp_path, manifest=(*names, 'train_test.jsonl')), 'line 1 of train_test.jsonl')


def test_a_column_of_splits_that_nothing_names_is_refused(tmp_path):
    rows = [('a.png', 'cat', 'train', 'train'), ('b.png', 'cat', ' Test', 'x'), ('c.png', 'test', 'dev', 'train')]
    columns = ('path', 'label', 'subset', 'city')
    testing.write_manifest(tmp_path, rows, columns=columns)
    testing.write(tmp_path, 'm.jsonl', '\n'.join(json.dumps(dict(zip(columns, row, strict=True))) for row in rows))
    for manifest in ('manifest.csv', 'm.jsonl'):
        _refused(_source(tmp_path, manifest=manifest), manifest, 'its column subset has the names of splits',
                 "Columns(split='subset')")
        for column, splits in (('subset', ['train', 'eval', 'eval']),
                               ('', [listing.hashed_split(row[0], 0.2) for row in rows])):
            source = _source(tmp_path, manifest=manifest, columns=Columns(split=column))
            assert list(_splits(source).values()) == splits
    testing.write_manifest(tmp_path, [(*row[:2], 'train') for row in rows], columns=('path', 'label', 'subset'))
    assert len(_splits(_source(tmp_path, manifest='manifest.csv'))) == 3  # train alone says nothing


def test_a_folder_that_is_of_no_split_beside_ones_that_are_is_refused(tmp_path):
    for name in ('train/cat/1.png', 'test/cat/2.png', 'train/dog/1.png'):
        testing.write(tmp_path, name, b'x')
    testing.write(tmp_path, 'notes/a.txt', b'no media')
    assert len(_splits(_source(tmp_path))) == 3
    testing.write(tmp_path, 'fresh/cat/3.png', b'x')
    _refused(_source(tmp_path), 'fresh in ', 'is beside test, train, but of no split', 'Rename it to one of train, ')
    testing.write(tmp_path, 'bird/3.png', b'x')  # a class at the place of a split
    _refused(_source(tmp_path), 'bird, fresh in ')

def test_split_folders_without_class_folders_are_no_classes(tmp_path):
    for name in ('train/1.png', 'valid/2.png'):
        testing.write(tmp_path, name, b'x')
    _refused(_source(tmp_path), 'train, valid in', 'names of splits, but have no class folders')
    testing.write(tmp_path, 'bus/3.png', b'x')
    assert {label for entry in listing.list_media(_source(tmp_path)).entries for label in entry.labels} == {
        'train', 'valid', 'bus'}

def test_train_valid_and_test_folders_as_roboflow_writes_them(tmp_path):
    for name in ('train/cat/1.png', 'valid/cat/2.png', 'test/dog/3.png'):
        testing.write(tmp_path, name, b'x')
    assert _splits(_source(tmp_path)) == {'train/cat/1.png': 'train', 'valid/cat/2.png': 'eval',
                                          'test/dog/3.png': 'eval'}

def test_an_imagenet_folder_without_a_split_beside_train_is_refused(tmp_path):
    for name in ('train/n01440764/1.JPEG', 'n02012001/2.JPEG'):
        testing.write(tmp_path, name, b'x')
    _refused(_source(tmp_path, format='imagenet'), 'n02012001/2.JPEG', 'train/n01440764/1.JPEG')

def test_the_message_is_bounded(tmp_path):
    testing.write_manifest(tmp_path, [(f'{i:03d}.png', 'cat', 'train' if i % 2 else '') for i in range(200)])
    message = _refused(_source(tmp_path, manifest='manifest.csv'), '100 examples of 200', ', ...')
    assert len(re.findall('line', message)) == 20

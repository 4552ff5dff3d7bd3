"""Folders that Hugging Face's datasets read and write are listed without any setting."""

import os

import pyarrow as pa
import pytest

from media import listing
from media.checks import check_media
from model_code.data import Columns
from model_code.errors import ConfigError
from model_code.modalities import MODALITIES, ImageInput
from model_code.tasks import Checks
from tests import testing
from tests.media import tables
from tests.media.tables import in_this_process  # noqa: F401


def _source(directory, modality: str = 'image', **overrides):
    return testing.source('pets', modality, **{**dict(folder=os.fspath(directory)), **overrides})


def _entries(source):
    return {entry.id: (entry.labels, entry.split) for entry in listing.list_media(source).entries}


README = '''---
license: mit
dataset_info:
  features:
  - name: image
    dtype: image
  - name: label
    dtype:
      class_label:
        names:
          '0': cat
          '1': big dog
  - name: kinds
    sequence:
      class_label:
        names: [soft, loud]
---
# Pets
'''


ENDINGS = pytest.mark.parametrize('ending', ['csv', 'jsonl', 'parquet'])


@ENDINGS
def test_metadata_at_the_top(tmp_path, ending):
    tables.write_rows(tmp_path / f'metadata.{ending}', [
        {'file_name': 'train/1.png', 'label': 'cat', 'text': 'a cat on a mat'},
        {'file_name': 'validation/2.png', 'label': 'dog', 'text': 'a dog'},
        {'file_name': './train/3.png', 'label': 'dog', 'text': ''}])
    source = _source(tmp_path, eval_share=0.0)
    assert _entries(source) == {'train/1.png': (('cat',), 'train'), 'validation/2.png': (('dog',), 'eval'),
                                'train/3.png': (('dog',), 'train')}
    assert listing.list_media(source).remarks == (
        f'media and labels are those in metadata.{ending} (columns file_name, label; not used: text)',)


@ENDINGS
def test_metadata_in_the_folder_of_each_split(tmp_path, ending):
    for folder in ('train', 'test', 'dev'):
        tables.write_rows(tmp_path / folder / f'metadata.{ending}', [
            {'file_name': '1.png', 'label': 'cat'}, {'file_name': 'more/2.png', 'label': 'dog'},
            {'file_name': '../shared/3.png' if folder == 'train' else '3.png', 'label': 'dog'}])
    entries = _entries(_source(tmp_path))
    assert len(entries) == 9 and entries['train/1.png'] == (('cat',), 'train')
    assert entries['test/more/2.png'] == (('dog',), 'eval') and entries['shared/3.png'] == (('dog',), 'train')
    assert sum(split == 'eval' for _, split in entries.values()) == 6


def test_paths_out_of_the_data_folder_are_rejected(tmp_path):
    tables.write_rows(tmp_path / 'metadata.csv', [
        {'file_name': '1.png', 'label': 'cat'}, {'file_name': '../2.png', 'label': 'dog'},
        {'file_name': '/etc/passwd', 'label': 'dog'}])
    tables.write_rows(tmp_path / 'train/metadata.csv', [
        {'file_name': '../../2.png', 'label': 'dog'}, {'file_name': '/etc/passwd', 'label': 'dog'}])
    listed = listing.list_media(_source(tmp_path))
    assert [entry.path for entry in listed.entries] == ['1.png']
    assert [rejection.reason for rejection in listed.rejected] == ['bad_path'] * 4


@ENDINGS
def test_numbers_get_the_names_of_the_readme(tmp_path, ending):
    testing.write(tmp_path, 'README.md', README)
    tables.write_rows(tmp_path / f'metadata.{ending}', [{'file_name': f'{label + 1}.png', 'label': label}
                                                        for label in range(3)])
    listed = listing.list_media(_source(tmp_path))
    assert [entry.labels for entry in listed.entries] == [('cat',), ('big dog',)]
    rejected, = listed.rejected
    assert rejected.reason == 'bad_label' and 'label 2 is not the number of a class' in rejected.detail
    testing.write(tmp_path, 'README.md', '---\nx: &a [1]\ny: *a\n---\n')
    listed = listing.list_media(_source(tmp_path))
    assert [entry.labels for entry in listed.entries] == [('0',), ('1',), ('2',)]
    assert 'README.md cannot be read' in listed.remarks[0]


def test_lists_of_numbers_get_names_too(tmp_path):
    testing.write(tmp_path, 'README.md', README)
    tables.write_rows(tmp_path / 'metadata.jsonl', [{'file_name': '1.png', 'kinds': [0, 1]},
                                                    {'file_name': '2.png', 'kinds': [1]}])
    entries = _entries(_source(tmp_path, label_kind='multi', columns=Columns(label='kinds')))
    assert [labels for labels, _ in entries.values()] == [('soft', 'loud'), ('loud',)]


@ENDINGS
@pytest.mark.parametrize('modality', MODALITIES)
def test_the_modality_chooses_among_columns_of_media(tmp_path, ending, modality):
    row = {f'{name}_file_name': f'1.{name}' for name in MODALITIES}
    tables.write_rows(tmp_path / f'metadata.{ending}', [
        {**row, 'label': 'a'}, {**row, f'{modality}_file_name': '2', 'label': 'b'}])
    assert list(_entries(_source(tmp_path, modality))) == [f'1.{modality}', '2']


@ENDINGS
@pytest.mark.parametrize('row, message', [
    ({'left_file_name': 'a', 'right_file_name': 'b', 'label': 'x'},
     'no column is named image_file_name or file_name; it has left_file_name, right_file_name'),
    ({'path_of_it': 'a', 'label': 'x'}, "needs a column file_name .* it has path_of_it, label.* format='folders'"),
    ({'file_name': 'a', 'text': 'x'}, "has no column label or labels; it has file_name, text.* format='folders'")])
def test_metadata_that_do_not_say_enough(tmp_path, ending, row, message):
    tables.write_rows(tmp_path / f'metadata.{ending}', [row])
    with pytest.raises(ConfigError, match=message):
        listing.list_media(_source(tmp_path))


def test_class_folders_are_read_in_spite_of_metadata_if_the_format_says_so(tmp_path):
    testing.write(tmp_path, 'cat/1.png', b'x')
    testing.write(tmp_path, 'dog/2.png', b'x')
    tables.write_rows(tmp_path / 'metadata.csv', [{'file_name': 'cat/1.png', 'label': 'tiger'}])
    assert _entries(_source(tmp_path, eval_share=0.0)) == {'cat/1.png': (('tiger',), 'train')}
    assert _entries(_source(tmp_path, eval_share=0.0, format='folders')) == {
        'cat/1.png': (('cat',), 'train'), 'dog/2.png': (('dog',), 'train')}


def test_two_metadata_files_in_one_folder(tmp_path):
    for ending in ('csv', 'jsonl'):
        tables.write_rows(tmp_path / f'metadata.{ending}', [{'file_name': 'a.png', 'label': 'tiger'}])
    with pytest.raises(ConfigError, match='metadata.csv and metadata.jsonl. Keep one'):
        listing.list_media(_source(tmp_path))


def test_columns_of_metadata_are_as_those_of_a_manifest(tmp_path):
    tables.write_rows(tmp_path / 'metadata.csv', [
        {'file_name': '1.wav', 'kind': 'a', 'start': 0, 'end': 1, 'site': 'x', 'speaker': 'p'},
        {'file_name': '1.wav', 'kind': 'b', 'start': 1, 'end': 2, 'site': 'y', 'speaker': 'q'}])
    entries = listing.list_media(_source(tmp_path, 'audio', groups='speaker',
                                         columns=Columns(label='kind', extra=('site',)))).entries
    assert [(entry.id, entry.labels, entry.group, entry.extra) for entry in entries] == [
        ('1.wav#t=0,1', ('a',), 'p', (('site', 'x'),)), ('1.wav#t=1,2', ('b',), 'q', (('site', 'y'),))]


@pytest.mark.parametrize('overrides', [dict(groups='speaker'), dict(columns=Columns(extra=('site',)))])
def test_class_folders_have_no_columns(tmp_path, overrides):
    testing.write(tmp_path, 'cat/1.png', b'x')
    with pytest.raises(ConfigError, match='no manifest .*has'):
        listing.list_media(_source(tmp_path, **overrides))


def test_exported_tables_with_media_inside(tmp_path):
    images = [testing.image_bytes(seed=i) for i in range(6)]
    for i, name in enumerate(('data/train-00000-of-00002', 'data/train-00001-of-00002', 'data/test-00000-of-00001')):
        tables.write_parquet(tmp_path / f'{name}.parquet', tables.media_table(images[2 * i:2 * i + 2]))
    entries = _entries(_source(tmp_path))
    assert entries['data/train-00001-of-00002.parquet!00000001'] == (('dog',), 'train')
    assert [split for _, split in entries.values()] == ['eval', 'eval', 'train', 'train', 'train', 'train']


def test_tables_that_a_manifest_names_keep_their_splits(tmp_path):
    images = [testing.image_bytes(seed=i) for i in range(4)]
    for i, name in enumerate(('data/train-00000-of-00001.parquet', 'data/validation-00000-of-00001.parquet')):
        tables.write_parquet(tmp_path / name, tables.media_table(images[2 * i:2 * i + 2]))
    tables.write_parquet(tmp_path / 'data/test-00000-of-00001.parquet', tables.media_table([images[0]], labels=[-1]))
    entries = _entries(_source(tmp_path, manifest=('data/train-00000-of-00001.parquet',
                                                   'data/validation-00000-of-00001.parquet')))
    assert [split for _, split in entries.values()] == ['train', 'train', 'eval', 'eval']


def test_a_saved_dataset(tmp_path):
    images = [testing.image_bytes(seed=i) for i in range(4)]
    for i, split in enumerate(('train', 'validation')):
        tables.write_arrow(tmp_path / split / 'data-00000-of-00001.arrow', tables.media_table(images[2 * i:2 * i + 2]))
        testing.write(tmp_path / split, 'state.json', '{}')
    testing.write(tmp_path, 'dataset_dict.json', '{"splits": ["train", "validation"]}')
    assert [value for value in _entries(_source(tmp_path)).values()] == [
        (('cat',), 'train'), (('dog',), 'train'), (('cat',), 'eval'), (('dog',), 'eval')]


def test_the_modality_chooses_among_columns_with_media_inside(tmp_path):
    table = tables.media_table([b'sound'] * 2, 'audio', 'Audio')
    table = table.append_column('path', pa.array(['elsewhere/1.mp3'] * 2))
    tables.write_parquet(tmp_path / 'train.parquet', table)
    listed = listing.list_media(_source(tmp_path, 'audio'))
    assert [entry.record for entry in listed.entries] == ['parquet:0:audio'] * 2
    with pytest.raises(ConfigError, match='holds media in 1 column, audio, and none is named image'):
        listing.list_media(_source(tmp_path, 'image'))


def test_tables_beside_media_files_are_not_read(tmp_path):
    testing.write(tmp_path, 'cat/1.png', b'x')
    tables.write_parquet(tmp_path / 'embeddings.parquet', pa.table({'x': [1.0]}))
    listed = listing.list_media(_source(tmp_path, eval_share=0.0))
    assert [entry.labels for entry in listed.entries] == [('cat',)]
    assert listed.remarks == ('embeddings.parquet are not read, since there are media files: name them in `manifest` '
                              'if they say the labels',)


def test_some_tables_that_name_a_split_and_others_that_do_not(tmp_path):
    for name in ('train-00000-of-00001', 'more'):
        tables.write_parquet(tmp_path / f'{name}.parquet', tables.media_table([b'x', b'y']))
    with pytest.raises(ConfigError, match='the name of more.parquet says no split, but that of train-00000-of-00001'):
        listing.list_media(_source(tmp_path))


def test_the_data_check_says_what_was_found(tmp_path):
    images = [testing.image_bytes(seed=i) for i in range(4)]
    tables.write_parquet(tmp_path / 'train.parquet', tables.media_table([*images[:3], b'no image']))
    tables.write_parquet(tmp_path / 'test.parquet', tables.media_table([images[3], images[0]]))
    result = check_media(_source(tmp_path), Checks(max_rejected_share=0.5), ImageInput(16, 16, (8, 8)), workers=1)
    assert result['examples'] == {'train': 3, 'eval': 2}
    assert result['rejected']['unsupported' if 'unsupported' in result['rejected'] else 'undecodable']['first'][0][0] \
        == 'train.parquet!00000003'
    assert result['leaks']['first'] == [['test.parquet!00000001', 'train.parquet!00000000']]
    assert 'media and labels are those in test.parquet and 1 other file (columns image, label)' in result['remarks']

"""Captions: those of a column beside the media, and the words of captions as labels."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.media_example_gen.beam_steps import make_example
from components.task_schema_gen.executor import task_schema
from media import listing
from model_code.data import Columns
from model_code.errors import ConfigError
from model_code.settings import ModelConfig
from model_code.tasks import Mixture
from pipeline import croissant
from pipeline.config import PipelineConfig
from tests import testing

CAPTIONS = Columns(text='caption')


def _listed(directory, modality='image', **data):
    source = testing.source('photos', modality, folder=str(directory), **data)
    return listing.list_media(source), source


ROWS = [('1.png', 'cat', ' A cat, "asleep".\n', 'train'), ('2.png', 'dog', 'Ein Hund läuft', 'test'),
        ('3.png', 'dog', ' ', 'test'), ('4.png', 'dog', 'bell \a', 'test')]


@pytest.mark.parametrize('ending', ['csv', 'jsonl', 'parquet'])
def test_captions_are_read_beside_the_media(tmp_path, ending):
    names = ('path', 'label', 'caption', 'split')
    if ending == 'csv':
        testing.write_manifest(tmp_path, ROWS, names, 'list.csv')
    elif ending == 'jsonl':
        testing.write(tmp_path, 'list.jsonl', ''.join(json.dumps(dict(zip(names, row, strict=True))) + '\n'
                                                      for row in ROWS))
    else:
        pq.write_table(pa.table(dict(zip(names, map(list, zip(*ROWS, strict=True)), strict=True))),
                       tmp_path / 'list.parquet')
    listed, source = _listed(tmp_path, manifest=f'list.{ending}', columns=CAPTIONS)
    assert [(entry.id, entry.text, entry.labels) for entry in listed.entries] == [
        ('1.png', 'A cat, "asleep".', ('cat',)), ('2.png', 'Ein Hund läuft', ('dog',))]
    assert sorted((rejected.path, rejected.reason) for rejected in listed.rejected) == [
        ('3.png', 'bad_row'), ('4.png', 'undecodable')]

    import tensorflow as tf
    example = tf.train.Example.FromString(make_example(listed.entries[1], {'image': b'...'}))
    assert example.features.feature['caption'].bytes_list.value == ['Ein Hund läuft'.encode()]
    assert 'caption' in [feature.name for feature in task_schema(source, ('cat', 'dog')).feature]


def test_a_caption_of_half_a_character_is_rejected(tmp_path):
    row = r'{"path": "1.png", "label": "cat", "caption": "\ud800 hi", "split": "train"}'
    testing.write(tmp_path, 'list.jsonl', row)
    with pytest.raises(ConfigError, match='1.png .undecodable.. Line 1 of list.jsonl: It is not UTF-8'):
        _listed(tmp_path, manifest='list.jsonl', columns=CAPTIONS)


def test_a_long_caption_of_a_table_is_rejected_rather_than_cut(tmp_path):
    pq.write_table(pa.table({'path': ['1.png', '2.png'], 'label': ['a', 'b'], 'caption': ['x' * 10_000, 'short']}),
                   tmp_path / 'list.parquet')
    listed, _ = _listed(tmp_path, manifest='list.parquet', columns=CAPTIONS)
    assert [entry.path for entry in listed.entries] == ['2.png']
    assert [rejected.reason for rejected in listed.rejected] == ['too_large']


@pytest.mark.parametrize('data, detail', [
    (dict(columns=CAPTIONS), 'as cat (train, A cat.), and as cat (train, A dog?) in line 3 of manifest.csv. Neither is '
                             'kept. If it has several captions, keep one.'),
    (dict(columns=Columns(label='caption'), label_kind='words'),
     'as a cat (train), and as a dog (train) in line 3 of manifest.csv. Neither is kept. If it has several captions, '
     'keep one, or write JSON lines with all of them in a list.')])
def test_two_rows_of_a_file_with_a_caption_each(tmp_path, data, detail):
    testing.write_manifest(tmp_path, [('1.png', 'cat', 'A cat.', 'train'), ('1.png', 'cat', 'A dog?', 'train'),
                                      ('2.png', 'cat', 'A third.', 'train')], ('path', 'label', 'caption', 'split'))
    listed, _ = _listed(tmp_path, manifest='manifest.csv', **data)
    assert [entry.path for entry in listed.entries] == ['2.png']
    assert listed.rejected[0].detail == f'It is named twice, in different ways: {detail}'


def test_a_manifest_without_the_column_is_an_error(tmp_path):
    testing.write_manifest(tmp_path, [('1.png', 'a')], ('path', 'label'))
    with pytest.raises(ConfigError, match='needs the columns .* caption, each once'):
        _listed(tmp_path, manifest='manifest.csv', columns=CAPTIONS)


def test_data_without_captions_have_examples_and_schemas_as_before(tmp_path):
    testing.write_manifest(tmp_path, [('1.png', 'a', 'not used')], ('path', 'label', 'caption'))
    listed, source = _listed(tmp_path, manifest='manifest.csv')
    assert listed.entries[0].text == ''
    assert b'caption' not in make_example(listed.entries[0], {'image': b'...'})
    assert 'caption' not in [feature.name for feature in task_schema(source, ('a',)).feature]


def test_an_export_as_croissant_keeps_the_captions(tmp_path):
    for name in ('1.png', '2.png'):
        testing.write(tmp_path, name, testing.image_bytes())
    testing.write_manifest(tmp_path, [('1.png', 'a', 'one', 'train'), ('2.png', 'b', 'two', 'test')],
                           ('path', 'label', 'caption', 'split'))
    task = testing.task('photos', 'image', folder=str(tmp_path), manifest='manifest.csv', columns=CAPTIONS,
                        batch_size=2, objective='captions')
    croissant.export(PipelineConfig('photos', Mixture((task,)), ModelConfig()))
    listed, _ = _listed(tmp_path, manifest='photos.croissant.json', columns=CAPTIONS)
    assert [(entry.path, entry.text) for entry in listed.entries] == [('1.png', 'one'), ('2.png', 'two')]


def test_archives_have_no_captions(tmp_path):
    with pytest.raises(ConfigError, match="data of format 'tar' have no such column"):
        testing.source('photos', 'image', folder=str(tmp_path), format='tar', columns=CAPTIONS)

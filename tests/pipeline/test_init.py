"""`polyvit init`: what it guesses of folders of many kinds, the config that it writes, what it prints."""

import dataclasses
import json
import pathlib
import shutil
import subprocess
import sys
import tarfile
import time

import pyarrow as pa
import pytest

from media import listing
from media.sandbox.tables import TableReader
from model_code.data import Columns, Data, Source
from pipeline import checks, cli, plan
from pipeline.config import load_config
from pipeline.init import command, look, tables
from pipeline.init import guess as guess_module
from pipeline.init.guess import Guesses, task_name
from pipeline.init.write import comment, one_line
from tests import terminals, testing
from tests.media import tables as media_tables

SHARED = pathlib.Path(__file__).resolve().parents[3] / 'shared' / 'data'


def _guesses(folder) -> Guesses:
    return Guesses(look.walk(str(folder)))


def _task(folder):
    """The only guess."""
    guesses = _guesses(folder)
    assert guesses.problems == []
    guess, = guesses.tasks
    return guess


def _init(tmp_path, capsys, folder, *options):
    """(exit code, standard output, errors, the config or None) of `polyvit init`."""
    path = tmp_path / 'made.py'
    code = cli.main(['init', str(folder), '-o', str(path), *options])
    out, err = capsys.readouterr()
    return code, out, err, load_config(path) if path.exists() else None


def _images(folder, *names, seed=0):
    for number, name in enumerate(names):
        testing.write(folder, name, testing.image_bytes(seed=seed + number))


def _class_folders(folder, classes=('cat', 'dog'), count=10, ending='png', content=None):
    for c, label in enumerate(classes):
        for i in range(count):
            testing.write(folder, f'{label}/{i}.{ending}', content or testing.image_bytes(seed=100 * c + i))


class TestTasks:
    def test_class_folders(self, tmp_path):
        _class_folders(tmp_path / 'My Pets')
        guess = _task(tmp_path / 'My Pets')
        assert (guess.name, guess.modality, guess.classes) == ('my_pets', 'image', ('cat', 'dog'))
        assert guess.data.manifest == () and sum(guess.counts.values()) == 20

    def test_folders_of_splits(self, tmp_path):
        testing.image_task(tmp_path / 'shapes')
        guess = _task(tmp_path / 'shapes')
        assert guess.counts == {'train': 8, 'eval': 4} and guess.classes == ('left', 'right')

    def test_a_folder_of_several_data_sets(self, tmp_path):
        testing.image_task(tmp_path / 'shapes')
        testing.audio_task(tmp_path / 'tones')
        testing.video_task(tmp_path / 'deep' / 'walks')
        _class_folders(tmp_path / 'pets')
        found = {guess.name: (guess.modality, guess.place) for guess in _guesses(tmp_path).tasks}
        assert found == {'shapes': ('image', 'shapes'), 'tones': ('audio', 'tones'), 'pets': ('image', 'pets'),
                         'walks': ('video', 'deep/walks')}

    def test_several_manifests_over_the_same_files(self, tmp_path):
        testing.tags_task(tmp_path / 'calls')
        first, second = _guesses(tmp_path / 'calls').tasks
        assert (first.name, first.data.manifest) == ('calls_manifest', ('manifest.csv',))
        assert first.data.label_kind == 'single'
        assert (second.name, second.data.label_kind) == ('calls_tags', 'multi')
        assert second.classes == ('even', 'high', 'low', 'odd')

    def test_manifests_that_are_parts_of_one(self, tmp_path):
        for part in ('2024', '2025'):
            rows = [(f'{part}/{i}.png', 'ab'[i % 2]) for i in range(8)]
            _images(tmp_path, *(path for path, _ in rows))
            testing.write_manifest(tmp_path, rows, ('path', 'label'), f'{part}.csv')
        guess = _task(tmp_path)
        assert guess.data.manifest == ('2024.csv', '2025.csv') and sum(guess.counts.values()) == 16
        assert any('a hash puts a fifth' in text for text in guess.evidence)

    @pytest.mark.parametrize('form', ['{}.csv', '{}/rows.csv', 'lists/{}.csv'])
    def test_manifests_whose_names_say_the_split(self, tmp_path, form):
        for part, count in (('train', 8), ('test', 4)):
            rows = [(f'{part}/{i}.png', 'ab'[i % 2]) for i in range(count)]
            _images(tmp_path, *(path for path, _ in rows))
            testing.write_manifest(tmp_path, rows, ('path', 'label'), form.format(part))
        guess = _task(tmp_path)
        assert guess.counts == {'train': 8, 'eval': 4}
        assert 'Names of manifests or folders say the split.' in guess.evidence

    def test_mixed_modalities_in_class_folders_become_a_task_each(self, tmp_path):
        _class_folders(tmp_path / 'm')
        _class_folders(tmp_path / 'm', ending='wav', content=testing.wav_bytes())
        guesses = _guesses(tmp_path / 'm').tasks
        assert [(guess.name, len(guess.entries)) for guess in guesses] == [('m_audio', 20), ('m_image', 20)]

    def test_folders_with_the_same_classes_may_be_splits(self, tmp_path):
        for fold in ('fold1', 'fold2'):
            _class_folders(tmp_path / fold)
        guesses = _guesses(tmp_path)
        assert len(guesses.tasks) == 2
        assert any('have the same classes' in text for guess in guesses.tasks for text in guess.unsure)

    def test_archives(self, tmp_path):
        for split, numbers in (('train', range(6)), ('test', range(6, 9))):
            with tarfile.open(tmp_path / f'{split}-000.tar', 'w') as tar:
                for i in numbers:
                    for name, content in ((f'{i:04}.png', testing.image_bytes(seed=i)),
                                          (f'{i:04}.json', json.dumps({'labels': ['ab'[i % 2], 'x']}).encode())):
                        path = testing.write(tmp_path / 'loose', name, content)
                        tar.add(path, name)
        shutil.rmtree(tmp_path / 'loose')
        guess = _task(tmp_path)
        assert (guess.data.format, guess.data.label_kind) == ('tar', 'multi')
        assert guess.counts == {'train': 6, 'eval': 3} and guess.classes == ('a', 'b', 'x')

    def test_published_layouts(self, tmp_path):
        _images(tmp_path, 'images/Abyssinian_1.jpg', 'images/pug_1.jpg', 'images/pug_2.jpg')
        testing.write(tmp_path, 'annotations/trainval.txt', 'Abyssinian_1 1 1 1\npug_1 2 2 1\n')
        testing.write(tmp_path, 'annotations/test.txt', 'pug_2 2 2 1\n')
        guess = _task(tmp_path)
        assert guess.data.format == 'pets' and guess.classes == ('Abyssinian', 'pug')

    def test_hugging_face_folders(self, tmp_path):
        for split, count in (('train', 8), ('test', 4)):
            rows = [(f'{i}.png', 'ab'[i % 2]) for i in range(count)]
            _images(tmp_path / split, *(path for path, _ in rows))
            testing.write_manifest(tmp_path / split, rows, ('file_name', 'label'), 'metadata.csv')
        guess = _task(tmp_path)
        assert (guess.data.manifest, guess.found_by) == ((), 'Hugging Face')
        assert guess.counts == {'train': 8, 'eval': 4} and guess.classes == ('a', 'b')

    @pytest.mark.parametrize('ending', ['csv', 'jsonl', 'parquet'])
    @pytest.mark.parametrize('column', ['text', 'caption'])
    def test_hugging_face_folders_with_captions(self, tmp_path, monkeypatch, ending, column):
        media_tables.read_in_this_process(monkeypatch)
        for split, count in (('train', 8), ('test', 4)):
            _images(tmp_path / split, *(f'{i}.png' for i in range(count)))
            media_tables.write_rows(tmp_path / split / f'metadata.{ending}', [
                {'file_name': f'{i}.png', column: f'a picture {i} of {split}'} for i in range(count)])
        guess = _task(tmp_path)
        assert (guess.found_by, guess.data.manifest, guess.counts) == ('Hugging Face', (), {'train': 8, 'eval': 4})
        assert (guess.data.label_kind, guess.data.columns.label) == ('words', column)
        assert {'a', 'picture', 'of', 'train'} < {*guess.classes}
        assert 'Names of manifests or folders say the split.' in guess.evidence

    @pytest.mark.parametrize('ending', ['csv', 'jsonl', 'parquet'])
    def test_metadata_above_the_folders_of_splits(self, tmp_path, monkeypatch, ending):
        media_tables.read_in_this_process(monkeypatch)
        names = [f'{split}/{i}.png' for split in ('train', 'test') for i in range(6)]
        _images(tmp_path / 'd', *names)
        media_tables.write_rows(tmp_path / 'd' / f'metadata.{ending}', [
            {'file_name': name, 'breed': 'ab'[i % 2], 'owner': f'{i // 2}'} for i, name in enumerate(names)])
        guess = _guesses(tmp_path).tasks[0]
        assert (guess.place, guess.data.columns.label) == ('d', 'breed')
        assert guess.counts == {'train': 6, 'eval': 6}
        assert 'Names of manifests or folders say the split.' in guess.evidence

    def test_class_folders_say_more_than_captions_in_metadata(self, tmp_path, capsys):
        for split in ('train', 'test'):
            _class_folders(tmp_path / 'd' / split, count=4)
            media_tables.write_rows(tmp_path / 'd' / split / 'metadata.jsonl', [
                {'file_name': f'{label}/{i}.png', 'text': f'a {label}, number {i} of {split}'}
                for label in ('cat', 'dog') for i in range(4)])
        guess = _task(tmp_path / 'd')
        assert (guess.data.format, guess.classes, guess.counts) == ('folders', ('cat', 'dog'), {'train': 8, 'eval': 8})

    def test_a_table_beside_the_media(self, tmp_path):
        _images(tmp_path, *(f'images/{i}.png' for i in range(8)))
        media_tables.write_parquet(tmp_path / 'all.parquet', pa.table({
            'path': [f'images/{i}.png' for i in range(8)], 'label': ['ab'[i % 2] for i in range(8)],
            'split': ['train', 'train', 'test', 'test'] * 2}))
        guess = _task(tmp_path)
        assert guess.data.manifest == ('all.parquet',) and guess.counts == {'train': 4, 'eval': 4}

    @pytest.mark.parametrize('ending', ['parquet', 'arrow'])
    def test_a_table_with_columns_of_other_names(self, tmp_path, monkeypatch, ending):
        media_tables.read_in_this_process(monkeypatch)
        monkeypatch.setattr(tables, 'HEAD_ROWS', 10)
        _images(tmp_path, *(f'images/{i}.png' for i in range(12)))
        write = {'parquet': media_tables.write_parquet, 'arrow': media_tables.write_arrow}[ending]
        write(tmp_path / f'all.{ending}', pa.table({
            'file': [f'images/{i}.png' for i in range(12)], 'species': [['a', 'b'][:1 + i % 2] for i in range(12)],
            'vector': [{'x': i} for i in range(12)]}))
        guess = _task(tmp_path)
        assert (guess.data.columns.path, guess.data.columns.label) == ('file', 'species')
        assert guess.data.label_kind == 'multi' and len(guess.entries) == 12

    def test_a_table_of_media_beside_other_media(self, tmp_path, monkeypatch):
        media_tables.read_in_this_process(monkeypatch)
        _images(tmp_path, 'logo.png')
        media_tables.write_parquet(tmp_path / 'all.parquet', media_tables.media_table(
            [testing.image_bytes(seed=i) for i in range(8)]))
        guess = _task(tmp_path)
        assert (guess.data.manifest, guess.classes, len(guess.entries)) == (('all.parquet',), ('cat', 'dog'), 8)

    def test_tables_with_media_in_them(self, tmp_path, capsys):
        for split, count in (('train', 8), ('test', 4)):
            sounds = [testing.wav_bytes(0.2 + i / 50) for i in range(count)]
            (tmp_path / 'd' / 'data').mkdir(parents=True, exist_ok=True)
            media_tables.write_parquet(
                tmp_path / 'd' / 'data' / f'{split}-00000-of-00001.parquet',
                media_tables.media_table(sounds, 'audio', 'Audio', labels=['ab'[i % 2] for i in range(count)]))
        code, out, _, config = _init(tmp_path, capsys, tmp_path / 'd')
        assert code == 0 and config.mixture['d'].modality == 'audio' and 'duration_s 0.25 (0.2 to 0.34)' in out

    def test_croissant_files(self, tmp_path, capsys):
        testing.image_task(tmp_path / 'shapes')
        assert _init(tmp_path, capsys, tmp_path / 'shapes')[0] == 0
        assert cli.main(['data', 'export', str(tmp_path / 'made.py'), '--croissant']) == 0
        guesses = _guesses(tmp_path / 'shapes')
        guess, = guesses.tasks
        assert guess.data.manifest == () and guess.counts == {'train': 8, 'eval': 4}, 'the data themselves go before'
        note, = guesses.problems
        assert note.startswith('shapes.croissant.json: it was written by `polyvit data export`')
        # One of another name is what says the labels.
        (tmp_path / 'shapes' / 'shapes.croissant.json').rename(tmp_path / 'shapes' / 'croissant.json')
        guess = _task(tmp_path / 'shapes')
        assert guess.data.manifest == ('croissant.json',)
        assert guess.counts == {'train': 8, 'eval': 4} and guess.classes == ('left', 'right')

    def test_an_export_is_used_where_nothing_else_says_the_labels(self, tmp_path, capsys):
        _images(tmp_path / 'd', *(f'{i}.png' for i in range(20)))
        testing.write_manifest(tmp_path / 'd', [(f'{i}.png', 'ab'[i % 2]) for i in range(20)],
                               columns=('path', 'label'))
        assert _init(tmp_path, capsys, tmp_path / 'd')[0] == 0
        assert cli.main(['data', 'export', str(tmp_path / 'made.py'), '--croissant']) == 0
        assert _guesses(tmp_path / 'd').tasks[0].data.manifest == ('manifest.csv',)
        (tmp_path / 'd' / 'manifest.csv').unlink()
        assert _task(tmp_path / 'd').data.manifest == ('d.croissant.json',)

    def test_many_data_sets(self, tmp_path, monkeypatch):
        monkeypatch.setattr(guess_module, '_MAX_TASKS', 2)
        for name in 'vwxyz':
            _class_folders(tmp_path / name)
        guesses = _guesses(tmp_path)
        assert [guess.place for guess in guesses.tasks] == ['v', 'w']
        assert guesses.problems == ['Not looked into, after 2 tasks: 3 folders with media, x, y, z. Call init for one '
                                    'of them.']
        monkeypatch.setattr(guess_module, '_SECONDS', -1.0)
        assert _guesses(tmp_path).tasks == []

    def test_nested_too_deeply(self, tmp_path):
        _images(tmp_path, '1.png')
        testing.write(tmp_path, 'croissant.json', '{"conformsTo": "http://mlcommons.org/croissant/1.1", "x": '
                      + '[' * 100_000)
        assert any('nested too deeply' in text for text in _guesses(tmp_path).problems)

    def test_names_of_tasks(self):
        names = [task_name(text) for text in ('Ünder wäter', '2024-data', '猫', "a'; import os", 'birds_label',
                                               'model_card')]
        assert names == ['under_water', 'task_2024_data', 'task', 'a_import_os', 'birds_labels', 'model_cards']


class TestManifests:
    def _write(self, folder, rows, columns, name='meta.csv'):
        _images(folder, *dict.fromkeys(row[0] for row in rows))
        testing.write_manifest(folder, rows, columns, name)

    def test_columns_of_other_names(self, tmp_path):
        rows = [(f'img/{i}.png', str(i), 'cat dog'.split()[i % 2], ('train', 'val')[i % 4 == 3]) for i in range(20)]
        self._write(tmp_path, rows, ('File Name', 'id', 'Category', 'subset'))
        guess = _task(tmp_path)
        columns = guess.data.columns
        assert (columns.path, columns.label, columns.split) == ('File Name', 'Category', 'subset')
        assert guess.counts == {'train': 15, 'eval': 5}

    def test_a_label_without_its_name_is_unsure(self, tmp_path):
        self._write(tmp_path, [(f'{i}.png', f'note {i}', 'xyz'[i % 3]) for i in range(20)], ('path', 'note', 'kind'))
        guess = _task(tmp_path)
        assert guess.data.columns.label == 'kind' and any('kind has the fewest values' in t for t in guess.unsure)

    def test_a_manifest_in_a_folder_of_its_own(self, tmp_path):
        _images(tmp_path, *(f'images/{i}.png' for i in range(8)))
        testing.write_manifest(tmp_path / 'meta', [(f'images/{i}.png', 'ab'[i % 2]) for i in range(8)],
                               ('path', 'label'), 'all.csv')
        guess = _task(tmp_path)
        assert guess.data.manifest == ('meta/all.csv',) and guess.data.folder == str(tmp_path)

    def test_several_questions(self, tmp_path):
        self._write(tmp_path, [(f'{i}.png', 'cut wash'.split()[i % 2], 'onion pan cup'.split()[i % 3])
                               for i in range(20)], ('path', 'verb', 'noun'))
        assert _task(tmp_path).data.label_groups == ('verb', 'noun')

    def test_segments_of_sounds(self, tmp_path):
        testing.write(tmp_path, 'night.wav', testing.wav_bytes(2.0))
        testing.write_manifest(tmp_path, [('night.wav', 'ab'[i % 2], i / 10, i / 10 + 0.1) for i in range(10)],
                               ('file', 'label', 'from', 'to'))
        guess = _task(tmp_path)
        assert (guess.data.columns.start, guess.data.columns.end) == ('from', 'to') and len(guess.entries) == 10

    def test_a_sound_with_many_segments_is_counted_once(self, tmp_path, capsys):
        self.test_segments_of_sounds(tmp_path / 'sounds')
        _, _, _, config = _init(tmp_path, capsys, tmp_path / 'sounds')
        assert checks.media_bytes(config) == (tmp_path / 'sounds' / 'night.wav').stat().st_size

    @pytest.mark.parametrize('text, separator', [
        (['a|b', 'b|c', 'a', 'c|a'], '|'), (['a; b', 'b', 'a; c', 'c'], ';'), (['rain, heavy', 'wind'], ''),
        (['a/b', 'b'], '')])
    def test_separators(self, tmp_path, text, separator):
        self._write(tmp_path, [(f'{i}.png', text[i % len(text)]) for i in range(12)], ('path', 'label'))
        guess = _task(tmp_path)
        assert guess.data.label_kind == ('multi' if separator else 'single')
        if separator:
            assert guess.data.label_separator == separator and set(guess.classes) <= set('abc')

    def test_json_lines_with_lists(self, tmp_path):
        _images(tmp_path, *(f'{i}.png' for i in range(6)))
        lines = [json.dumps({'path': f'{i}.png', 'labels': ['a', 'b'][:1 + i % 2]}) for i in range(6)]
        testing.write(tmp_path, 'all.jsonl', '\n'.join(lines))
        guess = _task(tmp_path)
        assert guess.data.label_kind == 'multi' and guess.classes == ('a', 'b')

    @pytest.mark.parametrize('ending', ['csv', 'jsonl', 'parquet'])
    @pytest.mark.parametrize('values', [(0, 1), (0.0, 1.0), (False, True)])
    def test_a_column_for_each_class(self, tmp_path, monkeypatch, ending, values):
        media_tables.read_in_this_process(monkeypatch)
        _images(tmp_path, *(f'{i}.png' for i in range(12)))
        media_tables.write_rows(tmp_path / f'all.{ending}', [
            {'path': f'{i}.png', **{name: values[i % 3 == k] for k, name in enumerate(('cat', 'dog', 'bird'))}}
            for i in range(12)])
        guesses = _guesses(tmp_path)
        problem, = guesses.problems
        assert not guesses.tasks and problem.startswith(f'all.{ending}: its columns cat, dog, bird say yes or no')
        if ending == 'csv' or not isinstance(values[1], float):  # a fraction of JSON is no label
            data = Data(str(tmp_path), f'all.{ending}', label_kind='groups', label_groups=('cat', 'dog', 'bird'))
            assert len(listing.list_media(Source('x', 'image', data)).entries) == 12, 'as the sentence says'

    def test_one_column_of_two_values_is_a_label(self, tmp_path):
        self._write(tmp_path, [(f'{i}.png', f'note {i}', i % 2) for i in range(12)], ('path', 'note', 'is_cat'))
        assert _task(tmp_path).data.columns.label == 'is_cat'

    def _speakers(self, folder, split):
        rows = [(f'{i}.png', 'ab'[i % 2], f's{i // 4}', split(i)) for i in range(40)]
        self._write(folder, rows, ('path', 'label', 'speaker_id', 'split' if split(0) else 'nothing'))
        return _task(folder)

    def test_groups_stay_in_one_split(self, tmp_path):
        guess = self._speakers(tmp_path / 'hashed', lambda i: '')
        assert guess.data.groups == 'speaker_id'
        splits = {}
        for entry in guess.entries:
            splits.setdefault(entry.group, set()).add(entry.split)
        assert len(splits) == 10 and all(len(found) == 1 for found in splits.values())
        whole = self._speakers(tmp_path / 'whole', lambda i: 'test' if i < 8 else 'train')
        assert whole.data.groups == 'speaker_id'

    def test_few_groups_that_a_hash_puts_into_one_split_are_only_named(self, tmp_path):
        self._write(tmp_path, [(f'{i}.png', 'ab'[i % 2], f's{i // 6}') for i in range(24)], ('path', 'label', 'user'))
        data = dataclasses.replace(_task(tmp_path).data, groups='user')
        splits = {entry.split for entry in listing.list_media(Source('x', 'image', data)).entries}
        assert splits == {'train'}  # or the names below would be others
        guess = _task(tmp_path)
        assert guess.data.groups == '' and any('would leave a split empty' in text for text in guess.unsure)

    def test_groups_that_given_splits_tear_are_only_named(self, tmp_path):
        guess = self._speakers(tmp_path, lambda i: ('train', 'test')[i // 2 % 2])
        assert guess.data.groups == '' and any("groups='speaker_id'" in text for text in guess.unsure)

    def test_rows_without_labels_are_counted(self, tmp_path):
        self._write(tmp_path, [(f'{i}.png', ('a|b', 'b', '')[i % 3]) for i in range(12)], ('path', 'labels'))
        assert any('4 of the 12 rows' in text and 'allow_unlabelled=True' in text for text in _task(tmp_path).unsure)

    def test_a_large_manifest_is_read_in_part(self, tmp_path, monkeypatch):
        monkeypatch.setattr(tables, 'HEAD_ROWS', 10)
        self._write(tmp_path, [(f'{i}.png', 'ab'[i % 2]) for i in range(30)], ('path', 'label'))
        table = tables.read(str(tmp_path), 'meta.csv', TableReader(str(tmp_path)))
        assert len(table.rows) == 10 and not table.whole
        monkeypatch.setattr('pipeline.init.guess._MAX_TABLE_BYTES', 10)
        guess = _task(tmp_path)
        assert guess.listed is None and len(guess.entries) == 10 and guess.classes == ('a', 'b')


REVIEWS = [(f'the film number {i} is {word}', word) for i in range(20) for word in ('good', 'bad')]


class TestTexts:
    def test_a_table_of_texts(self, tmp_path, capsys):
        testing.write_manifest(tmp_path / 'films', REVIEWS, ('Review', 'sentiment'), 'all.csv')
        code, out, _, config = _init(tmp_path, capsys, tmp_path / 'films')
        assert code == 0 and 'text_bytes' in out
        task, = config.mixture.tasks
        assert (task.modality, task.data.columns.text, task.data.columns.label) == ('text', 'Review', 'sentiment')
        entries = listing.list_media(task.source).entries
        assert sorted(entry.text for entry in entries) == sorted(text for text, _ in REVIEWS)
        assert checks.media_bytes(config) == sum(len(text) for text, _ in REVIEWS)
        assert 'media 1.0 kB' in out

    @pytest.mark.parametrize('names', [['all'], ['data/train-00000-of-00001', 'data/test-00000-of-00001']])
    def test_parquet_files_of_texts(self, tmp_path, monkeypatch, names):
        media_tables.read_in_this_process(monkeypatch)
        for name in names:
            media_tables.write_rows(tmp_path / f'{name}.parquet', [
                {'review': f'{text} in {name}', 'sentiment': label} for text, label in REVIEWS])
        guess = _task(tmp_path)
        columns = guess.data.columns
        assert (guess.modality, columns.text, columns.label) == ('text', 'review', 'sentiment')
        assert len(guess.entries) == 40 * len(names) and guess.classes == ('bad', 'good')
        assert set(guess.counts) == {'train', 'eval'}

    def test_a_column_called_text_needs_no_name(self, tmp_path):
        testing.write_manifest(tmp_path, REVIEWS, ('text', 'label'), 'train.csv')
        testing.write_manifest(tmp_path, REVIEWS[:10], ('text', 'label'), 'test.csv')
        guess = _task(tmp_path)
        assert (guess.modality, guess.data.columns) == ('text', Columns())
        assert guess.counts == {'train': 40, 'eval': 10}

    @pytest.mark.parametrize('value, remarks', [(lambda i: '', 0), (lambda i: 'ab'[i % 2], 1), (lambda i: f'v{i}', 0)])
    def test_a_column_called_split_that_names_none(self, tmp_path, value, remarks):
        rows = [(*row, value(i)) for i, row in enumerate(REVIEWS)]
        testing.write_manifest(tmp_path, rows, ('text', 'label', 'split'), 'all.csv')
        table = tables.read(str(tmp_path), 'all.csv', TableReader(str(tmp_path)))
        assert table is not None and not isinstance(meaning := tables.meaning(str(tmp_path), table), str)
        assert len([text for text in meaning.remarks if 'no names of splits' in text]) == remarks

    def test_a_large_table_is_read_in_part(self, tmp_path, monkeypatch):
        monkeypatch.setattr(tables, 'HEAD_ROWS', 10)
        monkeypatch.setattr('pipeline.init.guess._MAX_TABLE_BYTES', 10)
        testing.write_manifest(tmp_path, REVIEWS, ('text', 'label'), 'all.csv')
        guess = _task(tmp_path)
        assert guess.listed is None and [entry.text for entry in guess.entries] == [text for text, _ in REVIEWS[:10]]

    def test_notes_beside_images_are_no_task(self, tmp_path):
        _class_folders(tmp_path)
        testing.write_manifest(tmp_path / 'notes', REVIEWS, ('text', 'label'), 'notes.csv')
        guess = _task(tmp_path)
        assert (guess.modality, guess.classes) == ('image', ('cat', 'dog'))

    def test_texts_in_a_folder_beside_one_of_images(self, tmp_path):
        _class_folders(tmp_path / 'pets')
        testing.write_manifest(tmp_path / 'films', REVIEWS, ('text', 'label'), 'all.csv')
        assert {guess.name: guess.modality for guess in _guesses(tmp_path).tasks} == {'films': 'text', 'pets': 'image'}

    def test_descriptions_of_media_that_are_missing_are_no_task(self, tmp_path):
        rows = [(f'{i}.jpg', text, label) for i, (text, label) in enumerate(REVIEWS)]
        testing.write_manifest(tmp_path, rows, ('path', 'description', 'label'), 'all.csv')
        guesses = _guesses(tmp_path)
        assert not guesses.tasks and 'no column of path, description, label has the paths' in guesses.problems[0]

    def _captioned(self, folder, *more):
        rows = [(f'{i}.png', text, *(label for _ in more)) for i, (text, label) in enumerate(REVIEWS)]
        _images(folder, *(row[0] for row in rows))
        testing.write_manifest(folder, rows, ('path', 'caption', *more), 'all.csv')
        return _task(folder)

    def test_captions_without_labels_are_labels_of_words(self, tmp_path):
        guess = self._captioned(tmp_path)
        assert (guess.modality, guess.data.label_kind, guess.data.columns.label) == ('image', 'words', 'caption')
        assert {'film', 'good', 'bad'} <= {*guess.classes}

    def test_captions_beside_labels_are_named(self, tmp_path):
        guess = self._captioned(tmp_path, 'label')
        assert (guess.data.label_kind, guess.classes) == ('single', ('bad', 'good'))
        assert any("text='caption' among its Columns" in text for text in guess.evidence)

    @pytest.mark.parametrize('ending', ['csv', 'jsonl', 'parquet'])
    @pytest.mark.parametrize('more', [{}, {'label': 'cat'}])
    def test_several_captions_of_a_file(self, tmp_path, monkeypatch, ending, more):
        media_tables.read_in_this_process(monkeypatch)
        _images(tmp_path, *(f'{i}.png' for i in range(6)))
        rows = [{'path': f'{i}.png', **more, 'caption': f'the picture {i} in words {k}'} for i in range(6)
                for k in range(5)]
        media_tables.write_rows(tmp_path / f'all.{ending}', rows)
        guesses = _guesses(tmp_path)
        problem, = guesses.problems
        assert not guesses.tasks and problem.startswith(
            f'all.{ending}: most files in its column path are named several times, each time with another caption. ')
        (tmp_path / f'all.{ending}').unlink()
        media_tables.write_rows(tmp_path / 'all.jsonl', [  # what the sentence says
            {'path': f'{i}.png', 'caption': [row['caption'] for row in rows if row['path'] == f'{i}.png']}
            for i in range(6)])
        guess = _task(tmp_path)
        assert guess.data.label_kind == 'words' and {'picture', 'words', '4'} < {*guess.classes}
        assert 'A row may have several captions, in lists.' in guess.evidence

    def test_folders_of_classes_say_more_than_captions(self, tmp_path):
        for split in ('train', 'test'):
            _class_folders(tmp_path / split, count=4)
        rows = [(f'{split}/{label}/{i}.png', f'a small {label} number {i} {split}') for split in ('train', 'test')
                for label in ('cat', 'dog') for i in range(4)]
        testing.write_manifest(tmp_path, rows, ('path', 'caption'), 'captions.csv')
        guesses = _guesses(tmp_path)
        guess, = guesses.tasks
        assert (guess.classes, guess.counts) == (('cat', 'dog'), {'train': 8, 'eval': 8})
        assert 'captions.csv: the captions in its column caption are not used' in guesses.problems[0]

    def test_folders_of_texts_say_more_than_a_table_beside_them(self, tmp_path):
        _class_folders(tmp_path, ('good', 'bad'), ending='txt', content=b'a film')
        testing.write_manifest(tmp_path, REVIEWS, ('comment', 'category'), 'annotators.csv')
        guesses = _guesses(tmp_path)
        assert [guess.classes for guess in guesses.tasks] == [('bad', 'good')] and not guesses.tasks[0].data.manifest
        assert 'annotators.csv: the texts in its column comment are not used' in guesses.problems[0]

    def test_one_image_beside_a_table_hides_no_texts(self, tmp_path):
        _images(tmp_path, 'plot.png')
        testing.write_manifest(tmp_path, REVIEWS, ('text', 'label'), 'all.csv')
        assert [guess.modality for guess in _guesses(tmp_path).tasks] == ['text']

    def test_a_table_above_the_folder_of_another_task(self, tmp_path):
        _class_folders(tmp_path / 'pets')
        testing.write_manifest(tmp_path, REVIEWS, ('text', 'label'), 'all.csv')
        assert sorted(guess.modality for guess in _guesses(tmp_path).tasks) == ['image', 'text']

    @pytest.mark.parametrize('name, texts', [
        ('text', ['天气很好', '电影很差'] * 3), ('text', ['bonjour', 'hello'] * 10),
        ('comment', ['天气很好', '电影很差', '今天', '好'])])
    def test_texts_without_spaces(self, tmp_path, name, texts):
        rows = [(text, 'ab'[number % 2]) for number, text in enumerate(texts)]
        testing.write_manifest(tmp_path, rows, (name, 'label'), 'all.csv')
        assert _task(tmp_path).modality == 'text'

    def test_parts_of_other_columns_whose_names_say_the_split(self, tmp_path):
        testing.write_manifest(tmp_path, [(*row, '7') for row in REVIEWS], ('text', 'label', 'id'), 'train.csv')
        testing.write_manifest(tmp_path, [row[::-1] for row in REVIEWS[:10]], ('label', 'text'), 'test.csv')
        assert _task(tmp_path).counts == {'train': 40, 'eval': 10}

    def test_texts_in_a_table_with_a_column_of_paths(self, tmp_path):
        rows = [(f'news/{i}', text, label) for i, (text, label) in enumerate(REVIEWS)]
        testing.write_manifest(tmp_path, rows, ('path', 'text', 'label'), 'all.csv')
        guess = _task(tmp_path)
        assert guess.data.columns.text == 'text' and len(guess.entries) == len(rows)
        assert any('The column path may name media that are not there' in text for text in guess.unsure)

    def test_missing_media_behind_urls(self, tmp_path):
        rows = [(f'https://example.com/{i}.jpg?w=200', text, label) for i, (text, label) in enumerate(REVIEWS)]
        testing.write_manifest(tmp_path, rows, ('url', 'text', 'label'), 'all.csv')
        assert not _guesses(tmp_path).tasks

    def test_words_of_captions_are_those_of_the_split_by_groups(self, tmp_path):
        rows = [(f'{i}.png', f'the picture word{i} of it', f's{i // 2}') for i in range(40)]
        _images(tmp_path, *(row[0] for row in rows))
        testing.write_manifest(tmp_path, rows, ('path', 'caption', 'speaker_code'), 'all.csv')
        rows = [(path, text, number) for (path, text, _), number in zip(rows, range(40), strict=True)]
        guess = _guesses(tmp_path).tasks[0]
        assert guess.classes == tuple(sorted(listing.train_labels(guess.listed)))


class TestNothing:
    @pytest.mark.parametrize('files, sentence', [
        ([], 'has no images, sounds, videos or texts; its files are: none'),
        (['a.pdf', 'b.pdf'], 'its files are: 2 .pdf'),
        (['a.png', 'b.png'], '2 image files, but nothing says what is in them. Which labels do they have?'),
        (['cat/a.png', 'cat/b.png'], 'all its 2 image files are in one folder, cat. Which other classes are there?'),
        (['train/cat/a.png', 'test/cat/b.png'], 'Which other classes are there?'),
        (['a.zip', 'b.zip'], '2 .zip files are packed. Unpack them'),
        (['train/rows.csv', 'test/rows.csv'], 'Are they splits of one data set?'),
    ])
    def test_a_question_is_asked(self, tmp_path, capsys, files, sentence):
        folder = tmp_path / 'some'
        folder.mkdir()
        for name in files:
            content = testing.image_bytes() if name.endswith('.png') else 'x.png,cat\n'
            testing.write(folder, name, content)
            if name.endswith('.csv'):
                rows = [(f'{i}.png', 'ab'[i % 2]) for i in range(6)]
                _images((folder / name).parent, *(path for path, _ in rows))
                testing.write_manifest((folder / name).parent, rows, ('file_name', 'label'), 'rows.csv')
        code, out, err, config = _init(tmp_path, capsys, folder)
        assert (code, out, config) == (2, '', None)
        assert err.startswith('polyvit: ') and sentence in err and err.count('\n') == 1

    @pytest.mark.parametrize('folder, sentence', [
        ('/nowhere/at/all', 'There is no folder /nowhere/at/all.'), ('s3://bucket/x', 's3://bucket/x is a URL')])
    def test_no_folder(self, tmp_path, capsys, folder, sentence):
        assert cli.main(['init', folder]) == 2
        assert sentence in capsys.readouterr().err

    def test_columns_with_semicolons(self, tmp_path, capsys):
        _images(tmp_path / 'd', 'a.png')
        testing.write(tmp_path / 'd', 'm.csv', 'path;label\na.png;x\n')
        code, _, err, _ = _init(tmp_path, capsys, tmp_path / 'd')
        assert code == 2 and 'm.csv: its fields are not separated by commas.' in err


class TestConfig:
    def test_it_is_the_guess_and_can_be_planned_and_checked(self, tmp_path, capsys):
        testing.image_task(tmp_path / 'data' / 'shapes', per_class=20, eval_per_class=5)
        testing.tags_task(tmp_path / 'data' / 'calls')
        code, out, err, config = _init(tmp_path, capsys, tmp_path / 'data')
        assert code == 0 and config.name == 'data'
        assert [task.name for task in config.mixture.tasks] == ['calls_manifest', 'calls_tags', 'shapes']
        assert config.model.input('image').height == 32 and config.model.input('audio').frames == 32
        assert '3 tasks in ' in out and 'shapes: height 16, width 16' in out and 'Wrote ' in out
        assert 'shapes: 50 of 50 files (100%)' in err
        assert plan.make_plan(config).total_steps == sum(task.recipe.steps for task in config.mixture.tasks)
        assert cli.main(['data', 'check', str(tmp_path / 'made.py')]) == 0
        text = (tmp_path / 'made.py').read_text()
        assert "os.path.join(DATA, 'calls')" in text and max(map(len, text.splitlines())) <= 120

    def test_what_a_run_would_stop_for_is_said(self, tmp_path, capsys):
        testing.image_task(tmp_path / 'shapes', per_class=20)
        for split in ('train', 'eval'):
            testing.write(tmp_path / 'shapes', f'{split}/left/same.png', testing.image_bytes(seed=77))
        testing.write(tmp_path / 'shapes', 'train/left/broken.png', b'no picture')
        testing.write(tmp_path / 'shapes', 'eval/other/x.png', testing.image_bytes(seed=78))
        code, out, _, _ = _init(tmp_path, capsys, tmp_path / 'shapes')
        assert code == 0
        assert 'a run would stop: Task shapes: 1 class without a train example: other.' in out
        assert 'train/left/broken.png: unsupported' in out
        assert 'going by what was read, a run would stop: Task shapes: equal media are both in train and in eval' in out

    def test_rejections_by_name_count_as_files(self, tmp_path, capsys):
        _class_folders(tmp_path / 'd')
        for i in range(5):
            testing.write(tmp_path / 'd', f'cat/{i}.psd', b'x')
        code, out, _, _ = _init(tmp_path, capsys, tmp_path / 'd')
        assert code == 0 and 'read 20 of 25 files, 0 rejected; 5 more rejected by their names or rows' in out
        assert '5 of 25 files (20.0%) could not be read' in out

    def test_classes_of_eval_alone_are_counted(self, tmp_path, capsys):
        _class_folders(tmp_path / 'd' / 'eval')
        guess = _task(tmp_path / 'd')
        assert guess.counts == {'eval': 20} and guess.classes == () and guess.labels == ('cat', 'dog')

    def test_scenes_are_left_to_the_data_check(self, tmp_path, capsys):
        testing.video_task(tmp_path / 'walks')
        code, out, _, _ = _init(tmp_path, capsys, tmp_path / 'walks')
        assert code == 0 and 'init compares no backgrounds, but `polyvit data check` does' in ' '.join(out.split())

    def test_groups_in_names_are_suggested(self, tmp_path, capsys):
        for number in range(40):
            testing.write(tmp_path / 'd', f'{"ab"[number % 2]}/cam{number // 8}_{number}.png',
                          testing.image_bytes(seed=number))
        code, out, _, config = _init(tmp_path, capsys, tmp_path / 'd')
        assert code == 0 and config.mixture['d'].data.groups == ''
        assert 'not sure: The names look as if they named 5 groups (cam0, cam1, cam2, ...)' in out
        text = (tmp_path / 'made.py').read_text().replace('\n        # ', ' ')
        assert 'Not sure: The names look as if they named 5 groups' in text and 'set groups=r' in text

    def test_names_of_files_do_not_become_code(self, tmp_path, capsys, monkeypatch):
        monkeypatch.chdir(tmp_path)
        code = '__import__("os").mkdir("executed")'
        folder = tmp_path / f"q'; {code} #[a]"
        _class_folders(folder / f"a'''; {code} #", (f"x'); {code} #", f'y"""; {code}', 'z \u202e'))
        rows = [(f'{i}.png', (f"l'; {code}", 'm')[i % 2]) for i in range(12)]
        _images(folder / f'b"); {code} #', *(path for path, _ in rows))
        testing.write_manifest(folder / f'b"); {code} #', rows, ('path', f"la'bel #{code}"), "x'; y.csv")
        code, out, err, config = _init(tmp_path, capsys, folder)
        assert code == 0, err
        assert not (tmp_path / 'executed').exists() and len(config.mixture.tasks) == 2
        assert config.mixture.tasks[1].data.columns.label.startswith("la'bel #") and '\u202e' not in out

    @pytest.mark.parametrize('text', ['a\nb', 'a\rb', 'a\x0cb', 'a\u2028b', 'a\u202eb', 'a\udcffb', 'a\x85b'])
    def test_comments_stay_on_their_lines(self, text):
        lines = comment(f'{text} is a name', '  ')
        assert len(lines) == 1 and lines[0].startswith('  # a') and lines[0].isprintable()
        assert one_line('ä 猫') == 'ä 猫'

    def test_a_file_is_replaced_only_by_force(self, tmp_path, capsys):
        testing.image_task(tmp_path / 'shapes')
        (tmp_path / 'made.py').write_text('mine = True')
        assert cli.main(['init', str(tmp_path / 'shapes'), '-o', str(tmp_path / 'made.py')]) == 2
        assert 'exists already' in capsys.readouterr().err and (tmp_path / 'made.py').read_text() == 'mine = True'
        code, *_, config = _init(tmp_path, capsys, tmp_path / 'shapes', '--force')
        assert code == 0 and config.name == 'shapes'

    @pytest.mark.parametrize('output, sentence', [('made.txt', 'it must be the name of a Python file'),
                                                  ('nowhere/made.py', 'there is no folder')])
    def test_where_nothing_can_be_written(self, tmp_path, capsys, output, sentence):
        testing.image_task(tmp_path / 'shapes')
        (tmp_path / 'file').write_text('')
        assert cli.main(['init', str(tmp_path / 'shapes'), '-o', str(tmp_path / output)]) == 2
        assert sentence in capsys.readouterr().err

    def test_the_default_file_hides_no_module(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / 'photos').mkdir()
        assert [command._default_path(name) for name in ('photos', 'random', 'numpy')] == [
            'photos.py', 'random_config.py', 'numpy_config.py']

    def test_a_name_of_another_config_is_not_taken(self, tmp_path, capsys):
        testing.image_task(tmp_path / 'demo')
        assert _init(tmp_path, capsys, tmp_path / 'demo')[3].name == 'demo_data'

    def test_files_of_another_modality_than_their_ending_says(self, tmp_path, capsys):
        _class_folders(tmp_path / 'talk', ending='mp4', content=testing.sound_only_mp4_bytes())
        config = _init(tmp_path, capsys, tmp_path / 'talk')[3]
        assert config.mixture['talk'].modality == 'audio'
        assert 'Most files cannot be read as video, but as audio.' in (tmp_path / 'made.py').read_text()


class TestBounds:
    def test_a_huge_folder_is_looked_at_in_part(self, tmp_path, capsys, monkeypatch):
        _class_folders(tmp_path / 'many', [f'c{i}' for i in range(20)], count=10)
        monkeypatch.setattr(command.look.walk, '__defaults__', (60, 5, 10.0))
        code, out, _, config = _init(tmp_path, capsys, tmp_path / 'many')
        assert code == 0 and 'only a part was looked at' in out and 'too many files' in out
        row = next(line.split() for line in out.splitlines() if line.startswith('many  '))
        assert row[2:5] == ['48+', '12+', '20+']  # 60 files were seen, and all folders' names
        assert len(listing.list_media(config.mixture['many'].source).entries) == 200

    def test_the_walk_ends_in_time(self, tmp_path):
        _class_folders(tmp_path, [f'c{i}' for i in range(30)], count=2)
        begun = time.monotonic()
        seen = look.walk(str(tmp_path), max_seconds=0.0)
        assert not seen.whole and time.monotonic() - begun < 5 and len(seen.folders) < 30

    def test_what_the_system_shows_as_files_is_no_data(self, tmp_path, monkeypatch):
        for name in ('proc', 'pets'):
            _class_folders(tmp_path / name)
        monkeypatch.setattr(look, '_SYSTEM', frozenset({str(tmp_path / 'proc')}))
        assert 'proc' not in look.walk(str(tmp_path)).folders and 'pets' in look.walk(str(tmp_path)).folders

    def test_links_are_not_followed(self, tmp_path):
        _class_folders(tmp_path / 'data')
        (tmp_path / 'data' / 'loop').symlink_to(tmp_path / 'data')
        seen = look.walk(str(tmp_path / 'data'))
        assert seen.links == ['loop'] and set(seen.folders) == {'', 'cat', 'dog'}


def test_on_a_narrow_terminal(tmp_path):
    testing.image_task(tmp_path / 'shapes', per_class=10)
    seen = terminals.run([sys.executable, '-m', 'polyvit', 'init', 'shapes'], columns=80, cwd=tmp_path,
                         env={'PYTHONPATH': str(pathlib.Path(__file__).parents[2])})
    assert seen.exit_code == 0 and (tmp_path / 'shapes.py').exists()
    assert seen.widest() <= 80 and any('data check shapes.py' in line for line in seen.lines)


def test_help_imports_nothing_heavy():
    code = ("import sys; from pipeline import arguments; arguments.build_parser();"
            "print({'numpy', 'av', 'tensorflow', 'jinja2'} & sys.modules.keys())")
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout == 'set()\n'


@pytest.mark.skipif(not SHARED.is_dir(), reason='needs ../shared/data')
def test_real_data():
    guesses = _guesses(SHARED)
    assert guesses.problems == []
    assert {guess.name: (guess.modality, guess.data.label_kind, guess.counts, len(guess.classes))
            for guess in guesses.tasks} == {
        'cifar10': ('image', 'single', {'train': 10_000, 'eval': 2_000}, 10),
        'fsdd_digit': ('audio', 'single', {'train': 2_250, 'eval': 250}, 10),
        'fsdd_speaker': ('audio', 'single', {'train': 2_250, 'eval': 250}, 5),
        'fsdd_tags': ('audio', 'multi', {'train': 2_250, 'eval': 250}, 21),
        'mnist': ('image', 'single', {'train': 3_000, 'eval': 600}, 10),
        'surveillance': ('video', 'single', {'train': 192, 'eval': 48}, 2)}

"""`data check` says what `run` says: for data that names alone show to be wrong, both stop, with the same sentences."""

import json
import os
import zlib

import pytest

from components.task_validator import executor as task_validator
from media import checked_listing, checks, listing
from model_code.errors import ConfigError, PipelineStop
from pipeline import cli
from tests import testing
from tests.pipeline.test_data_check import CONFIG

LABELS = ('cat', 'dog')


def _folders(directory, splits, labels=LABELS):
    for path in (f'{split}/{label}/{k}.png' for split in splits for label in labels for k in range(3)):
        testing.write(directory, path, testing.image_bytes(seed=zlib.crc32(path.encode())))


def _hashed(directory, labels=LABELS, count=20):
    for i, label in enumerate(labels):
        for k in range(count):
            testing.write(directory, f'{label}/{k:02d}.png', testing.image_bytes(seed=100 * i + k))


def _manifest(directory, rows, **columns):
    _folders(directory / 'media', ('train', 'eval'))
    testing.write_manifest(directory, [(f'media/{path}', *rest) for path, *rest in rows], **columns)


TRAIN_AND_EVAL = [(f'{split}/{label}/{k}.png', label, split)
                  for split in ('train', 'eval') for label in LABELS for k in range(3)]
GROUPED = [(path, f'{verb}', noun, split) for (path, verb, split), noun in
           zip(TRAIN_AND_EVAL, ['pan', 'pot'] * 6, strict=True)]

# What is wrong -> how the data are made, the fields of the task, and what a run says about them.
STOPS = {
    'only train': (lambda d: _folders(d, ('train',)), {}, ['split eval: it is empty']),
    'only test': (lambda d: _folders(d, ('test',)), {}, ['split train: it is empty']),
    'only test, with classes': (lambda d: _folders(d, ('test',)), {'classes': LABELS}, ['split train: it is empty']),
    'nothing for eval': (_hashed, {'eval_share': 0.0}, ['split eval: it is empty', 'eval_share']),
    'everything for eval': (_hashed, {'eval_share': 1.0}, ['split train: it is empty']),
    'one class': (lambda d: _hashed(d, ('cat',)), {}, ['only the label cat', 'at least 2 labels']),
    'no class': (lambda d: _manifest(d, [(path, '', split) for path, _, split in TRAIN_AND_EVAL]),
                 {'manifest': 'manifest.csv', 'label_kind': 'multi', 'allow_unlabelled': True},
                 ['its train split has no label']),
    'no label in eval': (lambda d: _manifest(d, [(path, label if split == 'train' else '', split)
                                                 for path, label, split in TRAIN_AND_EVAL]),
                         {'manifest': 'manifest.csv', 'label_kind': 'multi', 'allow_unlabelled': True},
                         ['no example of its eval split has a label']),
    'a folder that is no class': (lambda d: _hashed(d, (*LABELS, 'bird')), {'classes': LABELS},
                                  ['Data(classes=...) does not name 1 label of its data: bird (20 examples)']),
    'a label that is no class': (
        lambda d: _manifest(d, [*TRAIN_AND_EVAL[:-1], (TRAIN_AND_EVAL[-1][0], 'bird', 'eval')]),
        {'manifest': 'manifest.csv', 'classes': LABELS},
        ['Data(classes=...) does not name 1 label of its data: bird (1 example)']),
    'a class without files': (_hashed, {'classes': (*LABELS, 'bird')}, ['without a train example: bird']),
    'a class in eval only': (lambda d: (_folders(d, ('train', 'eval')), _folders(d, ('eval',), ('fox',))), {},
                             ['without a train example: fox']),
    'num_classes': (_hashed, {'num_classes': 3},
                    ['has Data(num_classes=3), but its train split has 2 labels: cat, dog']),
    'a label of a group that is no class': (
        lambda d: _manifest(d, GROUPED, columns=('path', 'verb', 'noun', 'split')),
        {'manifest': 'manifest.csv', 'label_kind': 'groups', 'label_groups': ('verb', 'noun'),
         'classes': ('verb:cat', 'verb:dog', 'noun:pan')},
        ['Data(classes=...) does not name 1 label of its data: noun:pot']),
    'a class folder that is empty': (lambda d: (_hashed(d), (d / 'bird').mkdir()), {}, ['bird (it is empty)']),
    'a group in both splits': (
        lambda d: _manifest(d, TRAIN_AND_EVAL), {'manifest': 'manifest.csv', 'groups': r'(\d)\.png'},
        ['3 groups of examples that belong together']),
}


def _source(tmp_path, make, fields):
    make(tmp_path)
    return testing.task('shapes', 'image', folder=os.fspath(tmp_path), **fields)


@pytest.mark.parametrize('make, fields, parts', STOPS.values(), ids=STOPS)
def test_the_names_stop_a_run_and_the_check_says_the_same(tmp_path, make, fields, parts):
    task = _source(tmp_path, make, fields)
    with pytest.raises(ConfigError) as caught:
        checked_listing.list_checked(task.source, task.checks)  # a run's first second: nothing is read
    said = checks.check_media(task.source, task.checks, testing.IMAGE_SPEC, workers=1)
    assert not said['ok'] and str(caught.value) == ' '.join(said['stops'])
    assert [part for part in parts if part not in str(caught.value)] == []
    assert str(caught.value).count('Task shapes') == len(said['stops'])
    # TaskValidator, which judges what was read, has the same code.
    listed = listing.list_media(task.source)
    classes = task.data.classes or sorted(listing.train_labels(listed))
    with pytest.raises(PipelineStop) as stopped:
        task_validator.judge(task.source, task.checks, checked_listing.name_findings(listed), classes, [])
    assert str(stopped.value) == str(caught.value)


@pytest.mark.parametrize('make, fields', [
    (_hashed, {}), (_hashed, {'classes': LABELS}), (_hashed, {'num_classes': 2}),
    (lambda d: _manifest(d, TRAIN_AND_EVAL), {'manifest': 'manifest.csv'}),
    (lambda d: _manifest(d, [*TRAIN_AND_EVAL[:-1], (TRAIN_AND_EVAL[-1][0], '', 'eval')]),
     {'manifest': 'manifest.csv', 'label_kind': 'multi', 'allow_unlabelled': True}),
    (lambda d: _manifest(d, GROUPED, columns=('path', 'verb', 'noun', 'split')),
     {'manifest': 'manifest.csv', 'label_kind': 'groups', 'label_groups': ('verb', 'noun')})])
def test_good_data_pass_both(tmp_path, make, fields):
    task = _source(tmp_path, make, fields)
    checked = checked_listing.list_checked(task.source, task.checks)
    said = checks.check_media(task.source, task.checks, testing.IMAGE_SPEC, workers=1)
    assert said['ok'] and said['stops'] == [] and set(said['classes']) == set(checked.classes)


def _config(tmp_path) -> str:
    path = tmp_path / 'checked.py'
    path.write_text(CONFIG.format(data=str(tmp_path / 'media')))
    return str(path)


def test_both_commands_say_so_on_the_command_line(tmp_path, capsys, monkeypatch):
    _folders(tmp_path / 'media', ('train',))
    monkeypatch.chdir(tmp_path)
    assert cli.main(['data', 'check', _config(tmp_path), '--json']) == 1
    task, = json.loads(capsys.readouterr().out)['tasks']
    assert len(task['stops']) == 1
    assert cli.main(['run', _config(tmp_path), '--root', str(tmp_path / 'root')]) == 2
    assert task['stops'][0] in capsys.readouterr().err
    assert not (tmp_path / 'root').exists()


def test_what_cannot_be_listed_is_the_same_error_in_both(tmp_path, capsys):
    _folders(tmp_path / 'media', ('train', 'odd'))
    messages = []
    for command in (['data', 'check', _config(tmp_path)], ['run', _config(tmp_path), '--root', str(tmp_path / 'r')]):
        assert cli.main(command) == 2
        messages.append(capsys.readouterr().err)
    assert messages[0] == messages[1] and 'odd in ' in messages[0] and 'is beside train' in messages[0]


def test_a_class_whose_files_are_all_unreadable_stops_after_reading(tmp_path):
    _hashed(tmp_path)
    for k in range(20):
        testing.write(tmp_path, f'bird/{k}.png', b'no picture')
    task = testing.task('shapes', 'image', folder=os.fspath(tmp_path), max_rejected_share=1.0)
    checked_listing.list_checked(task.source, task.checks)
    said = checks.check_media(task.source, task.checks, testing.IMAGE_SPEC, workers=1)
    assert said['stops'] == ['Task shapes: 1 class without a train example: bird. Add examples, or remove the classes.']

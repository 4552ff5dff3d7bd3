"""No class vanishes without a word: class folders without media stop a run, files left out are counted by ending."""

import os

import pytest

from media import listing, verdict
from media.checked_listing import list_checked, name_findings
from media.findings import Findings, Tally
from media.listing import files
from model_code.errors import ConfigError
from model_code.tasks import Checks
from tests import testing

LENIENT = Checks(max_rejected_share=1.0, max_missing_share=1.0)


def _files(directory, *names):
    for name in names:
        testing.write(directory, name, b'x')


def _good(directory):
    """Two classes, enough of each for both splits."""
    _files(directory, *(f'{label}/{i}.png' for label in ('cat', 'dog') for i in range(20)))


def _source(directory, modality='image', **fields):
    return testing.source('pets', modality, **{**dict(folder=os.fspath(directory)), **fields})


def _findings(source) -> Findings:
    return name_findings(listing.list_media(source))


def _stopped(source) -> str:
    """The sentence about lost folders, by which a run stops in spite of lenient limits."""
    with pytest.raises(ConfigError) as caught:
        list_checked(source, LENIENT)
    assert 'would be lost' in str(caught.value)
    return str(caught.value)


def test_a_class_folder_of_an_ending_that_is_not_read_stops_the_run(tmp_path):
    _good(tmp_path)
    list_checked(_source(tmp_path), Checks())
    _files(tmp_path, *(f'bird/{i}.ppm' for i in range(3)))
    assert '1 folder would be lost: bird (no image file that is read in it, but 3 .ppm)' in _stopped(
        _source(tmp_path))
    assert {(r.path, r.reason) for r in listing.list_media(_source(tmp_path)).rejected} == {
        (f'bird/{i}.ppm', 'unsupported') for i in range(3)}
    _files(tmp_path, *(f'bird/{i}.jpe' for i in range(20)))
    list_checked(_source(tmp_path), LENIENT)
    with pytest.raises(ConfigError, match=r'3 of 63 files .*bird/0.ppm \(unsupported: Files that end in .ppm are not '
                                          r'read. Convert it to .jpg or .jpeg or .png\)'):
        list_checked(_source(tmp_path), Checks())


@pytest.mark.parametrize('names, what', [
    (('bird/1.xyz', 'bird/2.XYZ', 'bird/plain'), 'no image file that is read in it, but 1 without an ending, 2 .xyz'),
    (('bird/1.txt', 'bird/1.json'), 'no image file that is read in it, but 1 .json, 1 .txt'),
    (('bird/.1.png',), 'it is empty'),
    (('bird/a\nb.png',), 'but 1 .png'),
    (('bird/deep/1.png', 'bird/deep/more/2.png'), 'bird/deep (2 files below it, but a class folder has only files)'),
    (('cat/deep/1.png',), 'cat/deep (1 file below it'),
    ((' /1.png',), '1 rejected by name'),
    (('bird/clip.png/1.png',), 'bird/clip.png (It is a folder with a media file'),
])
def test_a_class_folder_without_media_stops_the_run(tmp_path, names, what):
    _good(tmp_path)
    _files(tmp_path, *names)
    assert what in _stopped(_source(tmp_path))
    assert what in verdict.stops('pets', LENIENT, _findings(_source(tmp_path)))[0]


def test_an_empty_class_folder_and_one_that_cannot_be_listed(tmp_path, monkeypatch):
    _good(tmp_path / 'data')
    (tmp_path / 'data/bird').mkdir()
    assert 'bird (it is empty)' in _stopped(_source(tmp_path / 'data'))
    (tmp_path / 'data/bird').rmdir()
    _files(tmp_path / 'elsewhere', '1.png')
    (tmp_path / 'data/bird').symlink_to(tmp_path / 'elsewhere')
    assert 'bird (bird is behind a link out of the data folder' in _stopped(_source(tmp_path / 'data'))
    (tmp_path / 'data/bird').unlink()

    scandir = os.scandir
    def denied(path):
        if os.fspath(path).rstrip('/').endswith('dog'):
            raise PermissionError(13, 'Permission denied')
        return scandir(path)
    monkeypatch.setattr(files.os, 'scandir', denied)
    assert 'dog (It cannot be listed: Permission denied)' in _stopped(_source(tmp_path / 'data'))


def test_folders_of_classes_in_splits(tmp_path):
    for split in ('train', 'test'):
        _good(tmp_path / split)
    _files(tmp_path, 'test/bird/1.png', 'readme.txt', 'notes/a.txt', 'train/1.json')
    (tmp_path / 'train/bird').mkdir()
    (tmp_path / 'val').mkdir()
    message = _stopped(_source(tmp_path))
    assert '2 folders would be lost: train/bird (it is empty); val (no class folder in it)' in message
    assert 'without a train example: bird' in message and 'notes' not in message


def test_what_systems_leave_behind_is_no_class(tmp_path):
    _good(tmp_path)
    _files(tmp_path, '__MACOSX/cat/._1.png', '@eaDir/cat/1.png', '.ipynb_checkpoints/1.png', 'cat/.DS_Store',
           'cat/Thumbs.db', 'cat/notes.txt', 'labels.csv', 'LICENSE', 'dog/1.xml')
    findings = _findings(_source(tmp_path))
    assert findings.left_out == {} and findings.lost_folders == Tally() and sum(findings.examples.values()) == 40
    assert verdict.remarks(Checks(), findings) == []


def test_what_is_left_out_is_counted_by_ending_and_named(tmp_path, caplog):
    _good(tmp_path)
    _files(tmp_path, *(f'cat/{i:02d}.xyz' for i in range(15)), 'dog/plain', 'dog/a.weird-ending', 'cover.mp3')
    findings = _findings(_source(tmp_path))
    assert findings.left_out == {'.xyz': Tally(15, [f'cat/{i:02d}.xyz' for i in range(10)]),
                                 '': Tally(2, ['dog/a.weird-ending', 'dog/plain']), '.mp3': Tally(1, ['cover.mp3'])}
    list_checked(_source(tmp_path), Checks())
    assert ('18 files left out by their names: 2 without an ending (dog/a.weird-ending, dog/plain), '
            '1 .mp3 (cover.mp3), 15 .xyz (cat/00.xyz, cat/01.xyz, cat/02.xyz, ...)') in caplog.text
    assert Findings.from_dict(findings.to_dict()).to_dict() == findings.to_dict()


def test_many_endings_are_bounded(tmp_path):
    _good(tmp_path)
    _files(tmp_path, *(f'cat/{i}.e{i}' for i in range(50)))
    left_out = _findings(_source(tmp_path)).left_out
    assert len(left_out) == 21 and left_out['other'].count == 30
    _files(tmp_path, *(f'bird/{i}.e{i}' for i in range(50)))
    assert '30 other' in _stopped(_source(tmp_path))


def test_a_folder_without_any_media_says_what_it_has(tmp_path):
    _files(tmp_path, 'cat/1.xyz', 'dog/2')
    with pytest.raises(ConfigError, match=r'has no image files \(none of its files ends in .*; it has 1 without an '
                                          r'ending, 1 .xyz\)'):
        listing.list_media(_source(tmp_path))


def test_a_link_to_a_folder_above_loses_nothing(tmp_path):
    _good(tmp_path)
    (tmp_path / 'cat/loop').symlink_to('..')
    assert _findings(_source(tmp_path)).lost_folders == Tally()


@pytest.mark.parametrize('rows', [
    '../1.png,bird,train\n', 'x.png,bird,fold 7\n', 'y.png,bird,train\ny.png,cat,train\n'])
def test_a_class_whose_rows_are_all_rejected_stops_the_run(tmp_path, rows):
    text = 'path,label,split\n' + ''.join(f'{label}{i}.png,{label},{split}\n' for label in ('cat', 'dog')
                                           for i, split in enumerate(('train', 'eval')))
    testing.write(tmp_path, 'm.csv', text)
    list_checked(_source(tmp_path, manifest='m.csv'), LENIENT)
    testing.write(tmp_path, 'm.csv', text + rows)
    with pytest.raises(ConfigError, match='1 class without a train example: bird'):
        list_checked(_source(tmp_path, manifest='m.csv'), LENIENT)


def test_a_published_class_whose_clips_are_all_missing_stops_the_run(tmp_path):
    testing.write(tmp_path, 'vggsound.csv', 'a,1,rain,train\nb,1,wind,train\nc,1,rain,test\nd,1,gone,train\n')
    _files(tmp_path, 'a.wav', 'b.wav', 'c.wav')
    with pytest.raises(ConfigError, match='1 class without a train example: gone'):
        list_checked(_source(tmp_path, 'audio', format='vggsound', manifest='vggsound.csv'), LENIENT)

"""`polyvit data scenes`: the file of scenes and the page of their pictures."""

import csv
import re

import pytest

from media import listing
from model_code.data import Columns
from pipeline import cli
from tests import testing
from tests.media.test_scenes import mp4_of_scene

CONFIG = '''
from polyvit import AudioInput, Columns, Data, Mixture, ModelConfig, PipelineConfig, Recipe, Task, VideoInput


def get_config():
    walks = Task('walks', 'video', data=Data({data!r}, manifest='manifest.csv'), recipe=Recipe(1, 1))
    tones = Task('tones', 'audio', data=Data({data!r}, manifest='tones.csv'), recipe=Recipe(1, 1))
    return PipelineConfig('scenes', Mixture((walks, tones)), ModelConfig(
        inputs=(AudioInput(32, 32, (16, 16)),
                VideoInput(4, 16, 16, patch=(2, 8, 8), frame_rate=8.0, short_side=72))))
'''


@pytest.fixture
def config(tmp_path):
    """Three scenes with two clips each, and one file that is no clip."""
    rows = [(f'<b>{scene}{clip}.mp4', 'ab'[clip], 'test' if (scene, clip) == (2, 1) else 'train')
            for scene in range(3) for clip in range(2)]
    for path, _, _ in rows:
        testing.write(tmp_path / 'media', path, mp4_of_scene(int(path[3:5]), int(path[3])))
    testing.write(tmp_path / 'media', 'bad.mp4', b'no clip')
    testing.write_manifest(tmp_path / 'media', [*rows, ('bad.mp4', 'a', 'train')])
    testing.write_manifest(tmp_path / 'media', [(f'mic{i % 6}_{i}.wav', 'ab'[i % 5 == 0], 'eval' if i < 9 else 'train')
                                                for i in range(36)], name='tones.csv')
    return testing.write(tmp_path, 'scenes.py', CONFIG.format(data=str(tmp_path / 'media')))


def test_the_file_is_what_groups_takes_and_the_page_shows_each_scene(tmp_path, config, capsys):
    path = tmp_path / 'found.csv'
    assert cli.main(['data', 'scenes', str(config), 'walks', '-o', str(path)]) == 0
    said = capsys.readouterr().out
    assert said.startswith('6 clips of 3 scenes, 3 of them with several clips; 1 of 1 eval clips share theirs with '
                           'train. 1 clip could not be read.\n')
    assert f'groups={str(path)!r}' in said and "drop them too, with columns=Columns(split='')" in said
    with open(path, newline='') as file:
        rows = list(csv.DictReader(file))
    assert [(row['path'], row['group'], row['label'], row['split']) for row in rows] == [
        (f'<b>{scene}{clip}.mp4', f'scene_{scene + 1}', 'ab'[clip], 'eval' if (scene, clip) == (2, 1) else 'train')
        for scene in range(3) for clip in range(2)]
    page = (tmp_path / 'found.html').read_text()
    assert page.count('<img src="data:image/') == 6 and '<script' not in page and '<b>' not in page
    assert re.findall(r'scene_\d', page) == ['scene_1', 'scene_2', 'scene_3']
    assert page.count('in both splits') == 1 and '&lt;b&gt;21.mp4' in page
    source = testing.source('walks', 'video', folder=str(tmp_path / 'media'), manifest='manifest.csv',
                            groups=str(path), columns=Columns(split=''))
    splits = {}
    for entry in listing.list_media(source).entries:
        splits.setdefault(entry.group, set()).add(entry.split)
    assert splits.keys() == {'scene_1', 'scene_2', 'scene_3'} and all(len(some) == 1 for some in splits.values())
    # What people have corrected is never written over.
    assert cli.main(['data', 'scenes', str(config), 'walks', '-o', str(path)]) == 2
    assert f'{path} exists already' in capsys.readouterr().err


@pytest.mark.parametrize('arguments, message', [
    (('tones', '-o', 'x.csv'), r"this task is of audio. But the names look as if they named 6 groups .*groups=r'"),
    (('steps', '-o', 'x.csv'), "no task named 'steps'.* Known: tones, walks"),
    (('walks', '-o', 'x.txt'), 'ends in .csv'),
    (('walks', '-o', 'nowhere/x.csv'), 'no folder nowhere'),
    (('walks',), '-o')])
def test_what_it_rejects_before_it_reads_any_clip(tmp_path, config, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert cli.main(['data', 'scenes', str(config), *arguments]) == 2
    said = capsys.readouterr()
    assert re.search(message, ' '.join(said.err.split())) and 'files/s' not in said.err
    assert not (tmp_path / 'x.csv').exists()

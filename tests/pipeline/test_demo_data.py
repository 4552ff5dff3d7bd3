"""The demo's media: complete, balanced, the same every time, and left as they are once they are complete."""

import collections
import csv
import hashlib
import json

import av
import numpy as np
import pytest
import soundfile
from PIL import Image

from model_code.errors import ConfigError
from pipeline import demo_data


@pytest.fixture(scope='module')
def demo(tmp_path_factory):
    directory = tmp_path_factory.mktemp('demo')
    counts = demo_data.make_demo_data(directory)
    return directory, counts


def _digest(directory):
    digest = hashlib.sha256()
    for path in sorted(p for p in directory.rglob('*') if p.is_file()):
        digest.update(str(path.relative_to(directory)).encode() + path.read_bytes())
    return digest.hexdigest()


def test_digits_are_class_folders_of_32_pixel_pngs(demo):
    directory, counts = demo
    assert counts == {'digits': 600, 'motion': 160, 'sounds': 160}
    for split, count in (('train', 500), ('eval', 100)):
        files = list((directory / 'digits' / split).glob('*/*.png'))
        assert len(files) == count
        assert {f.parent.name for f in files} == set(demo_data.CLASS_NAMES)
    with Image.open(files[0]) as image:
        assert (image.size, image.mode) == ((32, 32), 'L')
    train = {f.name for f in (directory / 'digits/train').glob('*/*.png')}
    assert not train & {f.name for f in (directory / 'digits/eval').glob('*/*.png')}


@pytest.mark.parametrize('task, labels', [('motion', demo_data.DIRECTIONS), ('sounds', demo_data.SOUND_CLASSES)])
def test_manifests_are_balanced_and_name_files(demo, task, labels):
    directory, _ = demo
    with open(directory / task / 'manifest.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert all((directory / task / row['path']).stat().st_size > 100 for row in rows)
    counts = collections.Counter((row['split'], row['label']) for row in rows)
    assert counts == {**{('train', c): 30 for c in labels}, **{('eval', c): 10 for c in labels}}


def test_clips_last_a_second_and_move_as_labelled(demo):
    directory, _ = demo
    with av.open(str(directory / 'motion/clips/train_003.mp4')) as container:  # 'right'
        frames = np.stack([f.to_ndarray(format='gray') for f in container.decode(video=0)]).astype(float)
        assert float(container.streams.video[0].average_rate) == 8
    assert frames.shape == (8, 32, 32)
    # The shift of columns that best explains each frame from the previous one. The clip moves to the right.
    profile = frames.mean(axis=1) - frames.mean()
    shifts = [max(range(-4, 5), key=lambda s: np.dot(np.roll(profile[i], s), profile[i + 1])) for i in range(7)]
    assert np.mean(shifts) > 1


def test_sounds_are_16_khz_mono_about_a_second(demo):
    directory, _ = demo
    wave, rate = soundfile.read(directory / 'sounds/wav/eval_000.wav')
    assert rate == 16000 and wave.ndim == 1 and 0.8 <= len(wave) / rate <= 1.1


def test_the_same_bytes_again_and_a_complete_folder_is_left_alone(demo, tmp_path):
    directory, _ = demo
    demo_data.make_demo_data(tmp_path)
    assert _digest(tmp_path) == _digest(directory)
    added = directory / 'digits/train/zero/mine.png'
    added.write_bytes(b'x')
    before = {p: p.stat().st_mtime_ns for p in directory.rglob('*')}
    assert demo_data.make_demo_data(directory)['digits'] == 600
    assert {p: p.stat().st_mtime_ns for p in directory.rglob('*')} == before
    added.unlink()


def test_a_folder_with_other_files_is_rejected(tmp_path):
    (tmp_path / '__init__.py').touch()
    with pytest.raises(ConfigError, match='has other files in it, such as __init__.py'):
        demo_data.make_demo_data(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ['__init__.py']


def test_an_incomplete_folder_is_renamed_and_made_anew(tmp_path):
    (tmp_path / 'sounds').mkdir()
    (tmp_path / 'sounds/half.wav').write_bytes(b'RIFF')
    demo_data.make_demo_data(tmp_path)
    assert json.loads((tmp_path / 'sounds/.complete.json').read_text())['files'] == 160
    assert not (tmp_path / 'sounds/half.wav').exists()
    assert [p.name for p in tmp_path.glob('sounds.incomplete-*/*')] == ['half.wav']
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith('.')) == []

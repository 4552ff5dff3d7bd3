"""Clips of one scene are those with the same background."""

import io
import os
import pathlib

import numpy as np
import pytest
from PIL import Image

from media import checks, listing, scenes
from media.entries import Entry
from model_code.errors import ConfigError
from model_code.modalities import VideoInput
from model_code.tasks import Checks
from tests import testing

_DATA = pathlib.Path(__file__).parents[2] / '../shared/data/surveillance'


def _background(seed: int) -> np.ndarray:
    """[72, 96, 3]: a room of coloured blocks."""
    blocks = np.random.default_rng(seed).integers(20, 236, (9, 12, 3)).astype(np.uint8)
    return blocks.repeat(8, axis=0).repeat(8, axis=1)


def _clip(background: np.ndarray, seed: int, gain: float = 1.0, quality: int = 80) -> list[bytes]:
    """Frames in which two people walk before a background, with noise, at a brightness of `gain`."""
    rng = np.random.default_rng(seed)
    frames = []
    for number in range(9):
        pixels = background * gain + rng.normal(0, 4, background.shape)
        for person in range(2):
            left = (11 * number + 37 * person + 5 * seed) % 80
            pixels[20 + 8 * person:64, left:left + 14] = rng.integers(0, 255, 3)
        out = io.BytesIO()
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(out, 'JPEG', quality=quality)
        frames.append(out.getvalue())
    return frames


def _find(clips: dict[str, list[bytes]]) -> list[set[str]]:
    found = scenes.Scenes()
    for path, frames in clips.items():
        found.add(Entry(path, ('x',), 'train'), scenes.views(frames))
    return [{entry.path for entry in scene} for scene in found.find()]


def test_clips_before_the_same_background_are_one_scene_whoever_walks_by():
    clips = {f'{scene}_{clip}': _clip(_background(scene), 10 * scene + clip, gain=(1.0, 0.7, 0.9)[clip % 3],
                                      quality=(90, 40)[clip % 2]) for clip in range(4) for scene in range(5)}
    assert _find(clips) == [{f'{scene}_{clip}' for clip in range(4)} for scene in range(5)]


def test_the_end_of_a_clip_and_the_beginning_of_the_next_are_one_scene():
    """The camera turns within the first and the last clip."""
    first, second = _clip(_background(1), 1), _clip(_background(2), 2)
    clips = {'a': first[:5] + second[:4], 'b': second[:5] + _clip(_background(3), 3)[:4], 'c': _clip(_background(4), 4)}
    assert _find(clips) == [{'a', 'b'}, {'c'}]


def test_a_thing_before_a_plain_background_makes_no_scene():
    backgrounds = [np.full((72, 96, 3), 40, np.uint8) for _ in range(2)]
    for background in backgrounds:
        background[30:50, 40:60] = np.random.default_rng(0).integers(0, 255, (5, 5, 3)).repeat(4, 0).repeat(4, 1)
    assert len(_find({str(i): _clip(background, i) for i, background in enumerate(backgrounds)})) == 2


def test_plain_and_black_clips_are_not_one_scene():
    assert len(_find({str(i): _clip(np.full((72, 96, 3), level, np.uint8), i)[:1] * 3
                      for i, level in enumerate((0, 0, 128, 255))})) == 4
    black = io.BytesIO()
    Image.new('RGB', (96, 72)).save(black, 'JPEG')
    assert len(_find({'a': [black.getvalue()], 'b': [black.getvalue()] * 20})) == 2


def test_blocks_of_clips_are_joined_as_one(monkeypatch):
    """Likeness goes on from clip to clip, also over the borders of blocks; the order of the clips does not matter."""
    views = {scene: scenes.views(_clip(_background(scene), scene)) for scene in range(4)}
    order = np.random.default_rng(0).permutation(np.repeat(np.arange(4), 8))
    found = scenes.Scenes()
    for number, scene in enumerate(order):
        found.add(Entry(f'{number:02d}', (str(scene),), 'train'), views[scene])
    whole = found.find()
    monkeypatch.setattr(scenes, '_BLOCK', 5)
    assert found.find() == whole
    assert len(whole) == 4 and all(len({entry.labels for entry in scene}) == 1 for scene in whole)


def test_links_are_followed_to_their_first_clip():
    leader = np.arange(8)
    scenes._join(leader, np.array([5, 3, 7]), np.array([3, 1, 6]))
    scenes._join(leader, np.array([6, 2]), np.array([5, 2]))
    assert leader.tolist() == [0, 1, 2, 1, 4, 1, 1, 1]


def test_segments_of_a_file_are_one_scene():
    found = scenes.Scenes()
    for number in range(3):
        found.add(Entry('long.mp4' if number < 2 else 'other.mp4', ('x',), 'train', number, number + 1.0),
                  scenes.views(_clip(_background(number), number)))
    assert [[entry.id for entry in scene] for scene in found.find()] == [
        ['long.mp4#t=0,1', 'long.mp4#t=1,2'], ['other.mp4#t=2,3']]


def test_there_is_a_limit(monkeypatch):
    monkeypatch.setattr(scenes, 'MAX_CLIPS', 1)
    views = scenes.views(_clip(_background(0), 0))
    found = scenes.Scenes()
    found.add(Entry('a', ('x',), 'train'), views)
    with pytest.raises(ConfigError, match='at most 1 clips'):
        found.add(Entry('b', ('x',), 'train'), views)


def mp4_of_scene(seed: int, scene: int) -> bytes:
    """A clip in which two people walk before the background of a scene."""
    import av
    out = io.BytesIO()
    with av.open(out, 'w', format='mp4') as container:
        stream = container.add_stream('mpeg4', rate=8)
        stream.width, stream.height, stream.pix_fmt = 96, 72, 'yuv420p'
        for frame in _clip(_background(scene), seed, quality=95):
            pixels = np.asarray(Image.open(io.BytesIO(frame)))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format='rgb24')))
        container.mux(stream.encode())
    return out.getvalue()


def test_a_check_says_how_many_clips_share_their_scene(tmp_path):
    rows = []
    for scene in range(3):
        for clip in range(3):
            path = f'{scene}{clip}.mp4'
            testing.write(tmp_path, path, mp4_of_scene(10 * scene + clip, scene))
            rows.append((path, 'ab'[clip % 2], 'test' if (scene, clip) in ((0, 0), (1, 2)) else 'train'))
    testing.write_manifest(tmp_path, rows)
    source = testing.source('walks', 'video', folder=os.fspath(tmp_path), manifest='manifest.csv')
    result = checks.check_media(source, Checks(), VideoInput(frame_rate=8.0, short_side=72), workers=1)
    remark, = (line for line in result['remarks'] if 'scenes' in line)
    assert remark.startswith('by their backgrounds, the clips are of 3 scenes, and 2 of 2 eval clips share theirs')
    assert 'polyvit data scenes CONFIG walks' in remark and result['ok']
    # Where the groups are known, there is nothing to look for: what is torn is a finding.
    known = testing.source('walks', 'video', folder=os.fspath(tmp_path), manifest='manifest.csv', groups=r'^(\d)\d')
    result = checks.check_media(known, Checks(), VideoInput(frame_rate=8.0, short_side=72), workers=1)
    assert not [line for line in result['remarks'] if 'by their backgrounds' in line]
    stop, = (line for line in result['stops'] if '2 groups of examples that belong together' in line)
    assert "columns=Columns(split='')" in stop
    # Split by scene there is nothing to say.
    testing.write_manifest(tmp_path, [(path, label, 'test' if path[0] == '0' else 'train') for path, label, _ in rows])
    result = checks.check_media(source, Checks(), VideoInput(frame_rate=8.0, short_side=72), workers=1)
    assert not [line for line in result['remarks'] if 'scenes' in line]


@pytest.mark.slow
@pytest.mark.skipif(not _DATA.is_dir(), reason='needs ../shared/data/surveillance')
def test_surveillance_clips():
    """The clips that people see to be of these cameras are found, and no scene has clips of two of them."""
    cameras = {'bus': 'fi051 fi052 fi053 fi054 fi055 nofi039 nofi040 nofi041 nofi042',
               'corridor': 'nofi062 nofi063 nofi064 nofi065 nofi066 nofi067 nofi068',
               'stairs': 'nofi069 nofi070 nofi071 nofi072 nofi073 nofi074 nofi075 nofi076',
               'square': 'nofi077 nofi078 nofi079 nofi080 nofi081 nofi082 nofi083',
               'street': 'fi115 fi116 fi117 fi118 fi119 fi120 nofi050 nofi051 nofi052',
               'cafe': 'fi026 fi027 fi028 fi029 fi030 nofi057 nofi058 nofi059 nofi060'}
    paths = {f'clips/{name}.mp4': camera for camera, names in cameras.items() for name in names.split()}
    source = testing.source('surveillance', 'video', folder=os.fspath(_DATA), manifest='manifest.csv')
    entries = [entry for entry in listing.list_media(source).entries if entry.path in paths]
    assert len(entries) == len(paths) == 49
    found = scenes.Scenes()
    for decoded, views in checks.read_all(source, VideoInput(frame_rate=8.0, short_side=72), (), entries, 0,
                                          lambda *_: None, lambda decoded: scenes.views(decoded.features['frames'])):
        found.add(decoded.entry, views)
    assert [{paths[entry.path] for entry in scene} for scene in found.find()] == [
        {camera} for camera in ('cafe', 'bus', 'street', 'corridor', 'stairs', 'square')]

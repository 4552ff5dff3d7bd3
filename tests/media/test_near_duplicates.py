"""Near duplicates: what is found, what is not, and that the parts give the same whatever the order."""

import io
import itertools
import pathlib
import random

import apache_beam as beam
import numpy as np
import pytest
import soundfile
import soxr
from PIL import Image, ImageEnhance

from components.media_example_gen import beam_steps, plan_files
from media import checks, listing, near_duplicates, verdict
from media.entries import Entry, Listing
from media.findings import Findings, difference_in_words
from media.fingerprints import audio, image, video
from media.sandbox.parent import Decoded
from media.shards import ShardPlan
from model_code.data import Data, Source
from model_code.tasks import Checks
from tests import testing


def _scene(seed: int, size=(160, 120)) -> Image.Image:
    """A picture with shapes and texture, as photographs have."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 255, (6, 8, 3), np.uint8)).resize(size, Image.Resampling.BICUBIC)
    middle = Image.fromarray(rng.integers(0, 255, (12, 16, 3), np.uint8)).resize(size, Image.Resampling.BICUBIC)
    for _ in range(12):  # shapes with sharp edges
        (left, top), (width, height) = rng.integers(0, (130, 90)), rng.integers((10, 8), (60, 40))
        middle.paste(tuple(rng.integers(0, 255, 3)), (left, top, left + width, top + height))
    return Image.blend(coarse, middle, 0.6)


def _reencoded(picture, quality=40):
    out = io.BytesIO()
    picture.save(out, 'JPEG', quality=quality)
    return Image.open(out)


def _cropped(picture, left, top, right, bottom):
    width, height = picture.size
    return picture.crop((int(left * width), int(top * height), int((1 - right) * width), int((1 - bottom) * height)))


CHANGES = {
    'quality': _reencoded, 'half': lambda picture: picture.resize((80, 60)),
    'larger': lambda picture: picture.resize((301, 250)), 'grey': lambda picture: picture.convert('L'),
    'brighter': lambda picture: ImageEnhance.Brightness(picture).enhance(1.15),
    'contrast': lambda picture: ImageEnhance.Contrast(picture).enhance(0.8),
    'middle': lambda picture: _cropped(picture, 0.04, 0.04, 0.04, 0.04),
    'corner': lambda picture: _cropped(picture, 0, 0, 0.08, 0.08)}


def _findings(prints, modality='image', labels=lambda i: ('a',), split=lambda i: 'train'):
    near = near_duplicates.InOneProcess(modality, len(prints))
    for i, fingerprint in enumerate(prints):
        near.add(Decoded(Entry(f'{i:03d}', labels(i), split(i)), digest=bytes([i % 256, i // 256]),
                         fingerprint=fingerprint))
    return near.findings()


def _image(picture):
    return image.look(picture)[1]


@pytest.mark.parametrize('change', CHANGES.values(), ids=CHANGES)
def test_changed_images_are_found_among_others(change):
    pictures = [_scene(seed) for seed in range(40)]
    findings = _findings([_image(picture) for picture in pictures] + [_image(change(picture)) for picture in pictures])
    found = {(int(one), int(other)) for _, one, other in findings.near_duplicates.first}
    assert all(other == one + 40 for one, other in found)
    assert findings.near_duplicates.count >= 36 and findings.near_leaks.count == 0


@pytest.mark.parametrize('count', [1, 2, 3])
def test_few_examples_in_a_file(count, monkeypatch):
    monkeypatch.setattr(near_duplicates, 'SHARD_ROWS', count)
    prints = [_image(change(_scene(1))) for change in CHANGES.values()]
    assert _findings(prints[:1]).near_duplicates.count == 0
    assert _findings(prints[:4]).near_duplicates.count == 6


def test_other_images_and_plain_ones_are_not():
    plain = [Image.new('RGB', (64, 64), (i, 9, 9)) for i in range(40)]
    findings = _findings([_image(_scene(seed)) for seed in range(100)] + [_image(picture) for picture in plain])
    assert findings.near_duplicates.count == 0
    assert _image(plain[0]) == b''


MNIST = pathlib.Path(__file__).resolve().parents[3] / 'shared' / 'data' / 'mnist' / 'images'


@pytest.mark.skipif(not MNIST.is_dir(), reason='needs ../shared/data/mnist')
def test_separately_written_digits_are_not():
    paths = sorted(MNIST.glob('train_[79]_*.png'))  # of one class each, so that many are alike
    prints = [_image(Image.open(path)) for path in paths]
    assert len(prints) >= 400 and all(prints)
    assert _findings(prints).near_duplicates.count == 0


def test_images_are_compared_alike_one_by_one_and_together():
    prints = [_image(change(_scene(seed))) for seed in range(4) for change in CHANGES.values()]
    pairs = [(one, other) for one in prints for other in prints]
    assert image.differences([]) == []
    together = image.differences(pairs)
    alone = [image.differences([pair])[0] for pair in pairs]
    assert [found is None for found in together] == [found is None for found in alone]
    assert sum(found is not None for found in together) > len(prints)
    np.testing.assert_allclose([found or 0 for found in together], [found or 0 for found in alone], atol=1e-4)


def test_splits_and_labels_of_a_pair():
    prints = [_image(_scene(1)), _image(_reencoded(_scene(1)))]
    findings = _findings(prints, labels=lambda i: ('ab'[i],), split=lambda i: ('train', 'eval')[i])
    (distance, eval_id, train_id), = findings.near_leaks.first
    assert (eval_id, train_id) == ('001', '000') and 0 <= distance < 1
    assert findings.near_contradictions.first == findings.near_leaks.first
    assert findings.near_duplicates.count == 0


def test_near_leaks_stop_a_run_unless_allowed():
    prints = [_image(_scene(1)), _image(_reencoded(_scene(1)))]
    findings = _findings(prints, split=lambda i: ('train', 'eval')[i])
    reason, = verdict.stops('pets', Checks(), findings)
    assert '001 ~ 000 (hardly different)' in reason and 'allow_near_leaks=True' in reason and '1 pair' in reason
    assert verdict.stops('pets', Checks(allow_near_leaks=True), findings) == []
    assert any('nearly equal media in train and in eval' in line for line in verdict.remarks(Checks(), findings))


def test_texts_name_the_first_ten_pairs_and_json_has_more():
    findings = Findings()
    for number in range(1_100):
        findings.add_near((f'{number:04}', 'eval', ('a',)), ('x', 'train', ('a',)), 0.5)
    findings = Findings.from_dict(findings.to_dict()).merge(Findings())
    assert findings.to_dict()['near_leaks']['count'] == 1_100
    assert [pair[1] for pair in findings.to_dict()['near_leaks']['first']] == [f'{n:04}' for n in range(1_000)]
    reason, = verdict.stops('pets', Checks(), findings)
    assert '(the first 10)' in reason and '0009 ~ x (slightly different)' in reason and '0010 ~ x' not in reason


@pytest.mark.parametrize('as_beam', [False, True])
def test_workers_find_the_same(as_beam, tmp_path):
    for seed in range(12):
        out = io.BytesIO()
        _scene(seed).save(out, 'PNG')
        testing.write(tmp_path, f'data/train/{"ab"[seed % 2]}/{seed}.png', out.getvalue())
        if seed < 5:
            _reencoded(_scene(seed)).save(out := io.BytesIO(), 'PNG')
            testing.write(tmp_path, f'data/eval/{"ab"[seed % 2]}/{seed}.png', out.getvalue())
    source = Source('pets', 'image', Data(str(tmp_path / 'data')))
    if as_beam:
        listed = listing.list_media(source)
        plan = ShardPlan('image')
        for entry, stat in listing.with_stats(source, listed.entries):
            plan.add(entry, stat.size)
        paths = plan_files.write(plan, str(tmp_path / 'examples'))
        with beam.Pipeline() as pipeline:
            beam_steps.read_media(pipeline, source, testing.IMAGE_SPEC, paths, len(listed.entries),
                                  str(tmp_path / 'examples'), str(tmp_path / 'rejected'))
        found = beam_steps.merge_parts(str(tmp_path / 'rejected'), [])[0].to_dict()
    else:
        found = checks.check_media(source, Checks(), testing.IMAGE_SPEC)
    first = found['near_leaks']['first']
    assert [sorted(pair[1:]) for pair in sorted(first, key=lambda pair: pair[1])] == [
        [f'eval/{"ab"[seed % 2]}/{seed}.png', f'train/{"ab"[seed % 2]}/{seed}.png'] for seed in (0, 2, 4, 1, 3)]
    assert found['near_leaks']['count'] == 5 and found['near_duplicates']['count'] == 0


def test_equal_media_are_reported_elsewhere():
    entries = [Entry(name, ('a',), 'train') for name in 'ab']
    decoded = [Decoded(entry, digest=b'1', fingerprint=_image(_scene(1))) for entry in entries]
    findings, _ = checks.gather(Listing(entries, []), iter(decoded), 'image')
    assert (findings.duplicates.count, findings.near_duplicates.count) == (1, 0)


def test_the_order_and_the_shards_do_not_matter(monkeypatch):
    prints = [_image(_scene(seed % 30)) if seed < 30 else _image(_reencoded(_scene(seed % 30), 30 + seed))
              for seed in range(60)]
    expected = _findings(prints).to_dict()
    assert expected['near_duplicates']['count'] == 30
    monkeypatch.setattr(near_duplicates, 'SHARD_ROWS', 7)
    monkeypatch.setattr(near_duplicates, 'GROUP_ROWS', 100)
    assert _findings(prints).to_dict() == expected
    order = list(range(60))
    random.Random(0).shuffle(order)
    near = near_duplicates.InOneProcess('image', 60)
    for i in order:
        near.add(Decoded(Entry(f'{i:03d}', ('a',), 'train'), digest=bytes([i, 0]), fingerprint=prints[i]))
    assert near.findings().to_dict() == expected


def test_of_many_similar_images_not_all_are_compared_and_that_is_said(monkeypatch):
    prints = [_image(_reencoded(_scene(1), 20 + i // 4)) for i in range(200)]
    every = _findings(prints)  # a few hundred are compared all with all
    assert every.near_duplicates.count == 200 * 199 / 2 and every.near_cut.count == 0
    assert not any('not all were compared' in line for line in verdict.remarks(Checks(), every))
    monkeypatch.setattr(near_duplicates, 'LEAST_COMPARISONS', 0)
    findings = _findings(prints)
    assert 100 < findings.near_duplicates.count <= 200 * near_duplicates.NEIGHBOURS * image.TABLES * 6
    assert findings.near_duplicates.count < every.near_duplicates.count and findings.near_cut.count > 0
    assert any('not all were compared' in line for line in verdict.remarks(Checks(), findings))


def test_the_search_says_how_far_it_is(monkeypatch):
    monkeypatch.setattr(near_duplicates, 'GROUP_ROWS', 3_000)
    near = near_duplicates.InOneProcess('image', 200)
    for i in range(200):
        near.add(Decoded(Entry(f'{i:03d}', ('a',), 'train'), digest=bytes([i]),
                         fingerprint=_image(_reencoded(_scene(1), 20 + i // 4))))
    said = []
    near.findings(lambda *values: said.append(values))
    groups, pairs = ([line for line in said if line[2] == noun] for noun in ('group', 'pair'))
    assert (groups[0], groups[-1]) == ((0, 2, 'group'), (2, 2, 'group')) and groups + pairs == said
    assert pairs[-1] == (200 * 199 / 2, 200 * 199 / 2, 'pair')
    assert [done for done, *_ in pairs] == sorted({done for done, *_ in pairs}) and len(pairs) > 10


# Sounds.

def _word(seed: int, seconds=0.6):
    """Syllables of a few gliding tones, and breath."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(16_000 * seconds)) / 16_000
    sound = rng.normal(0, 0.3, len(time)) * np.hanning(len(time))
    for _ in range(6):
        pitch = rng.uniform(250, 3_000) * (1 + rng.uniform(-0.3, 0.3) * time)
        sound += rng.uniform(0.3, 1) * np.sin(2 * np.pi * np.cumsum(pitch) / 16_000) * np.sin(
            np.pi * np.clip((time - rng.uniform(0, 0.3)) / rng.uniform(0.2, 0.5), 0, 1))
    return 0.15 * sound


def _pcm(sound):
    return np.clip(np.rint(32768 * sound), -32768, 32767).astype(np.int16)


def _coded(sound, kind, subtype):
    out = io.BytesIO()
    soundfile.write(out, sound, 16_000, format=kind, subtype=subtype)
    out.seek(0)
    return soundfile.read(out)[0]


SOUND_CHANGES = {
    'mp3': lambda sound: _coded(sound, 'MP3', 'MPEG_LAYER_III'), 'vorbis': lambda sound: _coded(sound, 'OGG', 'VORBIS'),
    'quieter': lambda sound: 0.3 * sound, 'padded': lambda sound: np.pad(sound, (3_000, 500)),
    'long silence before': lambda sound: np.pad(sound, (16_111, 0)),
    '8 kHz': lambda sound: soxr.resample(soxr.resample(sound, 16_000, 8_000), 8_000, 16_000),
    'trimmed': lambda sound: sound[400:-400],
    'noise': lambda sound: sound + np.random.default_rng(0).normal(0, 0.003, len(sound))}


@pytest.mark.parametrize('change', SOUND_CHANGES.values(), ids=SOUND_CHANGES)
def test_changed_sounds_are_found_among_others(change):
    words = [_word(seed) for seed in range(40)]
    prints = [audio.fingerprint(_pcm(word)) for word in words]
    findings = _findings(prints + [audio.fingerprint(_pcm(change(word))) for word in words], 'audio')
    assert all(int(other) == int(one) + 40 for _, one, other in findings.near_duplicates.first)
    assert 26 <= findings.near_duplicates.count <= 40


def test_the_words_for_a_copy_do_not_sound_like_those_for_another_sound():
    prints = [audio.fingerprint(_pcm(_word(seed))) for seed in range(10)]
    copies = [audio.fingerprint(_pcm(SOUND_CHANGES['mp3'](_word(seed)))) for seed in range(10)]
    equal, coded = audio.differences([(one, one) for one in prints]), audio.differences(
        list(zip(prints, copies, strict=True)))
    assert set(map(difference_in_words, equal)) == {'hardly'}
    assert difference_in_words(float(np.median([difference for difference in coded if difference]))) == 'slightly'
    assert audio.differences(list(itertools.pairwise(prints))) == [None] * 9
    assert [difference_in_words(difference) for difference in (0.5, 0.9, 1)] == ['slightly', 'noticeably', 'noticeably']


def test_silence_and_very_short_sounds_take_no_part():
    assert audio.fingerprint(np.zeros(16_000, np.int16)) == b''
    assert audio.fingerprint(_pcm(_word(0))[:2_000]) == b''


# Clips.

def _clip(seed: int, background: int = 0, seconds=2.0, rate=12.5, begin=0.0):
    """Thumbnails of a blob that wanders over a background that does not move."""
    rng = np.random.default_rng(seed)
    path = rng.uniform(0, 7, (8, 2))
    still = np.random.default_rng(1_000 + background).uniform(40, 160, (8, 8))
    y, x = np.mgrid[:8, :8]
    frames = []
    for now in np.arange(begin, begin + seconds, 1 / rate):
        at = [np.interp(now, np.arange(8) * 0.5, path[:, axis]) for axis in (0, 1)]
        frames.append(np.clip(still + 90 * np.exp(-((y - at[0]) ** 2 + (x - at[1]) ** 2) / 3), 0, 255).astype(np.uint8))
    return [frame.tobytes() for frame in frames]


def test_trimmed_clips_are_found_and_others_of_the_same_camera_are_not():
    whole = [video.fingerprint(_clip(seed), 12.5) for seed in range(30)]
    trimmed = [video.fingerprint(_clip(seed, begin=0.15, seconds=1.7, rate=15), 15) for seed in range(30)]
    findings = _findings(whole + trimmed, 'video')
    assert all(int(other) == int(one) + 30 for _, one, other in findings.near_duplicates.first)
    assert 24 <= findings.near_duplicates.count <= 30


def test_a_clip_that_stands_still_takes_no_part():
    assert video.fingerprint(_clip(1)[:1] * 25, 12.5) == b''
    assert video.fingerprint(_clip(1)[:5], 12.5) == b''

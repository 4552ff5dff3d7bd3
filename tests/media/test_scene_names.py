"""Names of files that may say which examples belong together."""

import itertools
import re

import pytest

from media import listing, scene_names
from media.entries import Entry
from tests import testing


def _entries(paths, label=lambda path: 'cat', members=False):
    return [Entry('shard.tar' if members else path, (label(path),), 'eval' if number % 5 == 0 else 'train',
                  member=path if members else '') for number, path in enumerate(paths)]


def _digit(path):
    return path.rpartition('/')[2][0]


_SPEAKERS = ('anna', 'bert', 'carl', 'dora', 'emil', 'fay')
_SPOKEN = [f'wav/{digit}_{speaker}_{take}.wav'
           for digit, speaker, take in itertools.product(range(4), _SPEAKERS, range(3))]


@pytest.mark.parametrize('paths, label, first, groups', [
    (_SPOKEN, _digit, 'anna', 6),
    ([path.replace('.wav', '').replace('_', '-') + '.v2.wav' for path in _SPOKEN], _digit, 'anna', 6),
    ([f'cam{camera:02d}_{number:04d}.mp4' for camera in range(7) for number in range(9)], lambda _: 'x', 'cam00', 7),
    ([f'{"ab"[clip % 2]}/scene-{scene}/clip{clip}.mp4' for scene in range(9) for clip in range(4)],
     lambda path: path[0], 'scene-0', 9),
    ([f'84/{1210 + chapter}/84-{1210 + chapter}-{n:04d}.flac' for chapter in range(6) for n in range(5)],
     lambda path: path[-6], '1210', 6)])
@pytest.mark.parametrize('members', [False, True])
def test_it_finds_the_word_or_folder_that_repeats(paths, label, first, groups, members):
    entries = _entries(paths, label, members)
    found = scene_names.suggest(entries)
    assert found.groups == groups and found.first[0] == first
    names = [f'{entry.path}!{entry.member}' if members else entry.path for entry in entries]
    by_group = {}
    for name, entry in zip(names, entries, strict=True):
        by_group.setdefault(re.search(found.pattern, name)[1], []).append(entry)
    assert len(by_group) == groups and set(found.first) <= by_group.keys(), 'the pattern finds the same groups'
    shared = sum(sum(entry.split == 'eval' for entry in group) for group in by_group.values()
                 if any(entry.split == 'train' for entry in group))
    assert (found.eval_examples, found.shared) == (sum(entry.split == 'eval' for entry in entries), shared)
    assert f"groups=r'{found.pattern}'" in found.remark()


@pytest.mark.parametrize('paths, label', [
    ([f'{c}/{n:03d}.jpg' for c in 'abcdef' for n in range(9)], lambda path: path[0]),  # a folder per class
    ([f'{c}_{n:03d}.jpg' for c in 'abcdef' for n in range(9)], lambda path: path[0]),  # the class in the name
    ([f'{c}/img_{n:03d}.jpg' for c in 'ab' for n in range(9)], lambda path: path[0]),  # the same word in all
    ([f'{n:08x}_a.jpg' for n in range(60)], lambda path: 'x'),  # a word per file
    ([f'{n}.jpg' for n in range(60)], lambda path: 'x'),
    ([f'{"ab"[n % 2]}_{n}.jpg' for n in range(60)], lambda path: 'x'),  # two groups are too few
    ([f'{c}/{n % 6}_{n}.jpg' for c in 'ab' for n in range(60)], lambda path: path[0]),  # a counter in each class
    ([f'{c}/{1 + n % 6:02d}_{n}.jpg' for c in 'ab' for n in range(60)], lambda path: path[0]),
    ([f'{c}/{c}_{n:03d}.jpg' for c in 'abcdef' for n in range(9)] + ['b/a_100.jpg', 'a/b_100.jpg'],
     lambda path: path[0]),  # labels, a few of which another contradicts
    ([f'c{n // 5}_{n}.jpg' for n in range(60)] + ['other.jpg'], lambda path: 'x')])  # not all names have it
def test_what_are_no_groups(paths, label):
    assert scene_names.suggest(_entries(paths, label)) is None


def test_no_examples_and_too_many_groups(monkeypatch):
    assert scene_names.suggest([]) is None
    monkeypatch.setattr(scene_names, '_MAX_GROUPS', 5)
    assert scene_names.suggest(_entries(_SPOKEN, _digit)) is None


def test_the_pattern_is_what_groups_takes(tmp_path):
    for path in _SPOKEN:
        testing.write(tmp_path, path, b'x')
    testing.write_manifest(tmp_path, [(path, _digit(path)) for path in _SPOKEN], columns=('path', 'label'))
    source = testing.source('digits', 'audio', folder=str(tmp_path), manifest='manifest.csv')
    found = scene_names.suggest(listing.list_media(source).entries)
    assert found.shared > 0, 'a split by the hash of the path tears the speakers'
    source = testing.source('digits', 'audio', folder=str(tmp_path), manifest='manifest.csv', groups=found.pattern,
                            eval_share=0.5)
    entries = listing.list_media(source).entries
    assert {entry.group for entry in entries} == set(_SPEAKERS) and len(entries) == len(_SPOKEN)
    assert scene_names.suggest(entries).shared == 0

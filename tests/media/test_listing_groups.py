"""Groups of examples that belong together: hashed splits keep them, given splits that tear them apart are a leak."""

import io
import json
import os
import tarfile

import pyarrow as pa
import pytest

from media import listing, verdict
from media.checked_listing import list_checked, name_findings
from model_code.errors import ConfigError
from model_code.tasks import Checks
from tests import testing
from tests.media import tables
from tests.media.tables import in_this_process  # noqa: F401


def _source(directory, **overrides):
    return testing.source('pets', 'image', **{**dict(folder=os.fspath(directory)), **overrides})


def _groups(source):
    return {entry.path: (entry.group, entry.split) for entry in listing.list_media(source).entries}


def test_a_hashed_split_keeps_the_groups_of_a_pattern_together(tmp_path):
    for scene in range(40):
        for i in range(3):
            testing.write(tmp_path, f'{"cat" if i else "dog"}/scene{scene:02d}_{i}.png', b'x')
    groups = _groups(_source(tmp_path, groups=r'(scene\d+)_'))
    by_group = {}
    for path, (group, split) in groups.items():
        assert group == path.partition('/')[2][:7]
        by_group.setdefault(group, set()).add(split)
    assert len(by_group) == 40 and all(len(splits) == 1 for splits in by_group.values())
    assert {split for splits in by_group.values() for split in splits} == {'train', 'eval'}
    # The whole match is the name if the pattern has no group.
    assert _groups(_source(tmp_path, groups=r'scene\d+')) == groups


def test_a_file_that_fits_no_group_is_rejected(tmp_path):
    testing.write(tmp_path, 'cat/scene1_1.png', b'x')
    testing.write(tmp_path, 'dog/other.png', b'x')
    listed = listing.list_media(_source(tmp_path, groups=r'(scene\d+)_'))
    rejected, = listed.rejected
    assert (rejected.path, rejected.reason) == ('dog/other.png', 'bad_row') and 'groups=' in rejected.detail


@pytest.mark.parametrize('manifest, text', [
    ('m.csv', 'path,label,speaker\na.png,cat,anna\nb.png,dog,anna\nc.png,dog,bert\nd.png,cat,\n'),
    ('m.jsonl', '{"path": "a.png", "label": "cat", "speaker": "anna"}\n{"path": "b.png", "label": "dog", '
                '"speaker": "anna"}\n{"path": "c.png", "label": "dog", "speaker": "bert"}\n'
                '{"path": "d.png", "label": "cat"}\n')])
def test_a_column_of_the_manifest_names_the_groups(tmp_path, manifest, text):
    (tmp_path / manifest).write_text(text)
    source = _source(tmp_path, manifest=manifest, groups='speaker')
    groups = _groups(source)
    assert {path: group for path, (group, _) in groups.items()} == {'a.png': 'anna', 'b.png': 'anna', 'c.png': 'bert'}
    assert groups['a.png'][1] == groups['b.png'][1] == listing.hashed_split('anna', 0.2)
    rejected, = listing.list_media(source).rejected
    assert rejected.path == 'd.png' and 'has no speaker' in rejected.detail
    before = listing.media_fingerprint(source)
    (tmp_path / manifest).write_text(text.replace('bert', 'carl'))
    assert listing.media_fingerprint(source) != before


def test_a_given_split_that_tears_a_group_apart_stops_a_run_by_names_alone(tmp_path):
    for path in ('train/cat/cam1_1.png', 'train/dog/cam2_1.png', 'test/cat/cam1_2.png', 'test/dog/cam3_1.png'):
        testing.write(tmp_path, path, b'x')
    source = _source(tmp_path, groups=r'(cam\d)_')
    findings = name_findings(listing.list_media(source))
    assert findings.torn_groups.count == 1
    assert findings.torn_groups.first == [['cam1', 'test/cat/cam1_2.png', 'train/cat/cam1_1.png']]
    with pytest.raises(ConfigError, match='Task pets: 1 group of examples that belong together is both in train'):
        list_checked(source, Checks())
    list_checked(source, Checks(allow_leaks=True))
    assert 'cam1' in ' '.join(verdict.remarks(Checks(), findings))
    assert name_findings(listing.list_media(_source(tmp_path))).torn_groups.count == 0


@pytest.mark.parametrize('groups, message', [
    ('speaker', 'no manifest of csv, jsonl, parquet, arrow, croissant has it'), ('(cam', 'no regular expression')])
def test_wrong_groups(tmp_path, groups, message):
    with pytest.raises(ConfigError, match=message):
        _source(tmp_path, groups=groups, format='folders')


def test_an_example_without_a_label_is_allowed_or_rejected_with_the_cure(tmp_path):
    (tmp_path / 'm.csv').write_text('path,labels\na.png,red|round\nb.png,\n')
    rejected, = listing.list_media(_source(tmp_path, manifest='m.csv', label_kind='multi')).rejected
    assert rejected.reason == 'bad_label' and 'allow_unlabelled=True' in rejected.detail
    listed = listing.list_media(_source(tmp_path, manifest='m.csv', label_kind='multi', allow_unlabelled=True))
    assert [entry.labels for entry in listed.entries] == [('red', 'round'), ()] and not listed.rejected
    with pytest.raises(ConfigError, match='allow_unlabelled is for'):
        _source(tmp_path, manifest='m.csv', allow_unlabelled=True)


def test_a_pattern_that_fits_no_path_is_named_as_it_was_written(tmp_path):
    for i in range(3):
        testing.write(tmp_path, f'cat/{i}.png', b'x')
    with pytest.raises(ConfigError) as caught:
        listing.list_media(_source(tmp_path, groups=r'^cam(\d+)_'))
    assert str(caught.value).startswith(r"Task pets: the pattern groups=r'^cam(\d+)_' fits none of 3 paths, such as "
                                        'cat/0.png.')


def _write_rows(directory, name, rows):
    """Writes rows, dicts, as a CSV, JSON-lines or Parquet manifest, or as an archive with a JSON file per row."""
    path = directory / name
    if name.endswith('.csv'):
        testing.write_manifest(directory, [tuple(row.values()) for row in rows], columns=tuple(rows[0]), name=name)
    elif name.endswith('.jsonl'):
        path.write_text(''.join(json.dumps(row) + '\n' for row in rows))
    elif name.endswith('.parquet'):
        tables.write_parquet(path, pa.Table.from_pylist(rows))
    else:
        with tarfile.open(path, 'w') as archive:
            for row in rows:
                for member, content in ((row['path'], b'x'), (row['path'][:-3] + 'json', json.dumps(row).encode())):
                    info = tarfile.TarInfo(member)
                    info.size = len(content)
                    archive.addfile(info, io.BytesIO(content))


@pytest.mark.parametrize('name', ['m.csv', 'm.jsonl', 'm.parquet', 'm.tar'])
def test_a_column_of_groups_that_is_not_there(tmp_path, name):
    testing.write(tmp_path, '1.png', b'x')
    _write_rows(tmp_path, name, [{'path': f'{i}.png', 'label': 'cat', 'speaker': 'anna'} for i in (1, 2)])
    read = {'format': 'tar'} if name == 'm.tar' else {'manifest': name}
    with pytest.raises(ConfigError) as caught:
        listing.list_media(_source(tmp_path, groups='speakr', **read))
    assert str(caught.value).endswith("has no column speakr, which groups='speakr' asks for; it has path, label, "
                                      'speaker. Did you mean speaker?')
    listed = listing.list_media(_source(tmp_path, groups='speaker', **read))
    assert {entry.group for entry in listed.entries} == {'anna'}


def test_one_row_with_the_group_is_enough_for_the_others_to_be_rejected(tmp_path):
    _write_rows(tmp_path, 'm.jsonl', [{'path': '1.png', 'label': 'cat'},
                                      {'path': '2.png', 'label': 'cat', 'speaker': 'anna'}])
    listed = listing.list_media(_source(tmp_path, manifest='m.jsonl', groups='speaker'))
    assert [entry.path for entry in listed.entries] == ['2.png']
    assert [(r.path, r.reason) for r in listed.rejected] == [('1.png', 'bad_row')]


# A file of groups.

def test_a_file_names_the_groups_of_folders_and_members_of_archives(tmp_path):
    for path in ('cat/1.png', 'cat/2.png', 'dog/3.png', 'dog/4.png'):
        testing.write(tmp_path / 'media', path, b'x')
    rows = 'path,label,group\ncat/1.png,cat,yard\ncat/2.png,cat,"lane, north"\ndog/3.png,dog,yard\n\n'
    testing.write(tmp_path, 'media/scenes.csv', rows + 'not/there.png,,yard\n')
    testing.write(tmp_path, 'elsewhere.csv', rows)
    for name in ('scenes.csv', os.fspath(tmp_path / 'elsewhere.csv')):
        source = _source(tmp_path / 'media', groups=name)
        groups = _groups(source)
        assert {path: group for path, (group, _) in groups.items()} == {
            'cat/1.png': 'yard', 'cat/2.png': 'lane, north', 'dog/3.png': 'yard'}
        assert groups['cat/1.png'][1] == groups['dog/3.png'][1] == listing.hashed_split('yard', 0.2)
        rejected, = listing.list_media(source).rejected
        assert (rejected.path, rejected.reason) == ('dog/4.png', 'bad_row') and f'{name} has no row' in rejected.detail
    before = listing.media_fingerprint(source)
    testing.write(tmp_path, 'elsewhere.csv', rows.replace('yard', 'lawn'))
    assert listing.media_fingerprint(source) != before


@pytest.mark.parametrize('text, message', [
    ('path,scene\na.png,x\n', 'needs the columns path and group, each once; its first line has: path, scene'),
    ('', 'its first line has: nothing'),
    ('path,group\na.png\n', 'line 2: It has 1 fields, but the first line has 2'),
    ('path,group\na.png,x\na.png,y\n', 'line 3: a.png is in another group in an earlier line'),
    ('path,group\na.png, \n', 'line 2: The group .* is not a name'),
    ('path,group\n../a.png,x\n', 'line 2: The path ../a.png may lead out'),
    ('path,group\n"a.png,x\n', 'is not valid CSV'),
    ('path,group\r\na.png,a\0b\r\n', 'line 2: ')])
def test_a_wrong_file_of_groups(tmp_path, text, message):
    testing.write(tmp_path, 'cat/1.png', b'x')
    testing.write(tmp_path, 'g.csv', text)
    with pytest.raises(ConfigError, match=f'Task pets: The file of groups g.csv in .*{message}'):
        listing.list_media(_source(tmp_path, groups='g.csv'))


def test_a_missing_file_of_groups(tmp_path):
    testing.write(tmp_path, 'cat/1.png', b'x')
    for name in ('g.csv', os.fspath(tmp_path / 'g.csv'), '../g.csv'):
        with pytest.raises(ConfigError, match='Task pets: .*g.csv in .* (does not exist|may lead out)'):
            listing.list_media(_source(tmp_path, groups=name))


def test_a_file_of_groups_comes_with_the_version_of_the_data(tmp_path):
    testing.write(tmp_path, 'cat/1.png', b'x')
    testing.write(tmp_path, 'groups-v2.csv', 'path,group\ncat/1.png,yard\n')
    source = _source(tmp_path, groups='groups-{data_version}.csv')
    assert source.data.has_version
    assert _groups(source.at_version('v2'))['cat/1.png'][0] == 'yard'
    with pytest.raises(ConfigError, match=r'groups-\{data_version\}.csv has a place for the version'):
        source.at_version('')
    assert not _source(tmp_path, groups=r'(\d{2})').data.has_version, 'the braces of a pattern are no place'


# Groups in archives, and of segments.

def test_groups_in_archives(tmp_path):
    members = {}
    for camera in range(6):
        for number in range(2):
            key = f'cam{camera}_{number}'
            members |= {f'{key}.png': b'x', f'{key}.json': f'{{"label": "cat", "site": "s{camera % 3}"}}'.encode()}
    with tarfile.open(tmp_path / 'shard.tar', 'w') as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    by_pattern = listing.list_media(_source(tmp_path, format='tar', groups=r'!(cam\d)_')).entries
    assert [entry.group for entry in by_pattern] == [f'cam{camera}' for camera in range(6) for _ in range(2)]
    assert all(entry.split == listing.hashed_split(entry.group, 0.2) for entry in by_pattern)
    by_key = listing.list_media(_source(tmp_path, format='tar', groups='site')).entries
    assert [entry.group for entry in by_key] == [f's{camera % 3}' for camera in range(6) for _ in range(2)]
    rows = ''.join(f'shard.tar!cam{camera}_{number}.png,g{camera % 2}\n' for camera in range(6) for number in range(2))
    testing.write(tmp_path, 'g.csv', 'path,group\n' + rows)
    by_file = listing.list_media(_source(tmp_path, format='tar', groups='g.csv')).entries
    assert [entry.group for entry in by_file] == [f'g{camera % 2}' for camera in range(6) for _ in range(2)]


def test_segments_of_a_recording_stay_together(tmp_path):
    rows = [(f'night{night}.wav', 'ab'[at % 2], at, at + 1) for night in range(30) for at in range(4)]
    testing.write_manifest(tmp_path, rows, columns=('path', 'label', 'start', 'end'))
    source = testing.source('calls', 'audio', folder=os.fspath(tmp_path), manifest='manifest.csv')
    splits = {}
    for entry in listing.list_media(source).entries:
        assert entry.group == entry.path
        splits.setdefault(entry.path, set()).add(entry.split)
    assert len(splits) == 30 and all(len(some) == 1 for some in splits.values())
    assert set.union(*splits.values()) == {'train', 'eval'}


def test_a_given_split_that_tears_a_recording_apart_is_a_leak(tmp_path):
    rows = [('a.wav', 'x', 0, 1, 'train'), ('a.wav', 'x', 1, 2, 'test'), ('b.wav', 'y', 0, 1, 'train'),
            ('b.wav', 'y', 1, '', 'train'), ('c.wav', 'y', '', '', 'test')]
    testing.write_manifest(tmp_path, rows, columns=('path', 'label', 'start', 'end', 'split'))
    source = testing.source('calls', 'audio', folder=os.fspath(tmp_path), manifest='manifest.csv')
    findings = name_findings(listing.list_media(source))
    assert findings.torn_groups.first == [['a.wav', 'a.wav#t=1,2', 'a.wav#t=0,1']]
    assert findings.groups == {'train': 2, 'eval': 1}
    with pytest.raises(ConfigError, match='1 group of examples that belong together is both in train and in eval'):
        list_checked(source, Checks())
    list_checked(source, Checks(allow_leaks=True))


def test_clips_of_one_recording_in_a_published_data_set_are_a_group(tmp_path):
    testing.write(tmp_path, 'train.csv', 'label,youtube_id,time_start,time_end,split\nrun,abc,10,20,train\n'
                                         'jump,def,0,10,train\n')
    testing.write(tmp_path, 'val.csv', 'label,youtube_id,time_start,time_end,split\nrun,abc,40,50,val\n')
    for path in ('abc_000010_000020.mp4', 'def_000000_000010.mp4', 'abc_000040_000050.mp4'):
        testing.write(tmp_path, path, b'x')
    source = testing.source('kinetics', 'video', folder=os.fspath(tmp_path), format='kinetics',
                            manifest=('train.csv', 'val.csv'))
    findings = name_findings(listing.list_media(source))
    assert findings.torn_groups.first == [['abc', 'abc_000040_000050.mp4', 'abc_000010_000020.mp4']]
    by_pattern = testing.source('kinetics', 'video', folder=os.fspath(tmp_path), format='kinetics',
                                manifest=('train.csv', 'val.csv'), groups=r'_(\d+)\.')
    assert {entry.group for entry in listing.list_media(by_pattern).entries} == {'000020', '000010', '000050'}


def test_an_eval_split_of_few_groups_has_a_remark(tmp_path):
    for camera in range(9):
        for number in range(2):
            testing.write(tmp_path, f'{"eval" if camera < 4 else "train"}/cat/cam{camera}_{number}.png', b'x')
    findings = name_findings(listing.list_media(_source(tmp_path, groups=r'(cam\d)_')))
    assert findings.groups == {'train': 5, 'eval': 4}
    assert [line for line in verdict.remarks(Checks(), findings) if line.startswith(
        'eval has examples of only 4 groups')]
    findings.groups['eval'] = 5
    assert not [line for line in verdict.remarks(Checks(), findings) if 'groups' in line]

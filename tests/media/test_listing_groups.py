"""Groups of examples that belong together: hashed splits keep them, given splits that tear them apart are a leak."""

import os

import pytest

from media import listing, verdict
from media.checked_listing import list_checked, name_findings
from model_code.errors import ConfigError
from model_code.tasks import Checks
from tests import testing


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
    ('speaker', 'no manifest of csv or jsonl has it'), ('(cam', 'no regular expression')])
def test_wrong_groups(tmp_path, groups, message):
    with pytest.raises(ConfigError, match=message):
        _source(tmp_path, groups=groups)


def test_a_manifest_without_the_column(tmp_path):
    (tmp_path / 'm.csv').write_text('path,label\na.png,cat\n')
    with pytest.raises(ConfigError, match='needs the columns path and label .*, speaker, each once'):
        listing.list_media(_source(tmp_path, manifest='m.csv', groups='speaker'))


def test_an_example_without_a_label_is_allowed_or_rejected_with_the_cure(tmp_path):
    (tmp_path / 'm.csv').write_text('path,labels\na.png,red|round\nb.png,\n')
    rejected, = listing.list_media(_source(tmp_path, manifest='m.csv', label_kind='multi')).rejected
    assert rejected.reason == 'bad_label' and 'allow_unlabelled=True' in rejected.detail
    listed = listing.list_media(_source(tmp_path, manifest='m.csv', label_kind='multi', allow_unlabelled=True))
    assert [entry.labels for entry in listed.entries] == [('red', 'round'), ()] and not listed.rejected
    with pytest.raises(ConfigError, match='allow_unlabelled is for'):
        _source(tmp_path, manifest='m.csv', allow_unlabelled=True)

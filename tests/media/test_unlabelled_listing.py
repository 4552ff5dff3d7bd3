"""Examples without a label: taken as of no class if the config allows that, otherwise rejected, with the cure."""

import io
import json
import os
import tarfile

import pytest

from media import listing
from media.checked_listing import name_findings
from model_code.errors import ConfigError
from tests import testing

AUDIOSET = '# Segments csv created\n# num_ytids=2\n# YTID, start_seconds, end_seconds, positive_labels\n'


def _tar(directory, **members):
    """train.tar with a.jpg, and what is beside it: ending -> content."""
    with tarfile.open(testing.write(directory, 'train.tar', b''), 'w') as archive:
        for ending, content in {'jpg': b'x', **members}.items():
            info = tarfile.TarInfo(f'a.{ending}')
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def _json(directory, **row):
    testing.write(directory, 'm.jsonl', json.dumps({'path': 'a.png', **row}))


# Ways of saying that an example has no label: how it is written, the fields of Data, and the modality.
CSV, JSON, TAR = {'manifest': 'm.csv'}, {'manifest': 'm.jsonl'}, {'format': 'tar'}
WAYS = {
    'csv, empty': (lambda d: testing.write(d, 'm.csv', 'path,labels\na.png,\n'), CSV),
    'csv, spaces': (lambda d: testing.write(d, 'm.csv', 'path,label\na.png,"  "\n'), CSV),
    'csv, separators': (lambda d: testing.write(d, 'm.csv', 'path,labels\na.png, | |\n'), CSV),
    'json, []': (lambda d: _json(d, labels=[]), JSON),
    'json, [""]': (lambda d: _json(d, labels=['', ' ']), JSON),
    'json, [null]': (lambda d: _json(d, labels=[None]), JSON),
    'json, null': (lambda d: _json(d, label=None), JSON),
    'json, ""': (lambda d: _json(d, label=''), JSON),
    'json, separators': (lambda d: _json(d, label='||'), JSON),
    'json, no key': (lambda d: _json(d), JSON),
    'tar, nothing beside': (lambda d: _tar(d), TAR),
    'tar, empty .cls': (lambda d: _tar(d, cls=b'\n'), TAR),
    'tar, .json without the key': (lambda d: _tar(d, json=b'{"split": "train"}'), TAR),
    'tar, .json with []': (lambda d: _tar(d, json=b'{"labels": []}'), TAR),
    'audioset': (lambda d: (testing.write(d, 'a.wav', b'x'), testing.write(
        d, 'eval_segments.csv', AUDIOSET + 'a, 0.000, 10.000, ""\n')),
        {'format': 'audioset', 'manifest': 'eval_segments.csv', 'modality': 'audio'}),
}


def _source(directory, modality='image', label_kind='multi', **fields):
    return testing.source('tags', modality, folder=os.fspath(directory), label_kind=label_kind, **fields)


@pytest.mark.parametrize('make, fields', WAYS.values(), ids=WAYS)
def test_it_is_of_no_class_if_that_is_allowed_and_else_rejected_with_the_cure(tmp_path, make, fields):
    make(tmp_path)
    listed = listing.list_media(_source(tmp_path, allow_unlabelled=True, **fields))
    entry, = listed.entries
    assert entry.labels == () and not listed.rejected
    findings = name_findings(listed)
    assert findings.unlabelled.first == [entry.id] and findings.classes == {}
    with pytest.raises(ConfigError, match=r'bad_label\).* no label.* If that means that no class is right, set '
                                          r'Data\(allow_unlabelled=True\)\.'):
        listing.list_media(_source(tmp_path, **fields))


@pytest.mark.parametrize('way', ['csv, empty', 'json, []', 'json, no key', 'tar, nothing beside'])
def test_a_task_of_one_label_has_no_such_cure(tmp_path, way):
    make, fields = WAYS[way]
    make(tmp_path)
    with pytest.raises(ConfigError, match=r'bad_label\).* no label') as caught:
        listing.list_media(_source(tmp_path, label_kind='single', **fields))
    assert 'allow_unlabelled' not in str(caught.value)


def test_other_faults_of_a_label_are_still_faults(tmp_path):
    testing.write(tmp_path, 'm.jsonl', '{"path": "a.png", "label": 0.5}\n{"path": "b.png", "label": "x\\u2028y"}\n'
                                       '{"path": "c.png", "label": "red"}')
    listed = listing.list_media(_source(tmp_path, allow_unlabelled=True, **JSON))
    assert [entry.path for entry in listed.entries] == ['c.png']
    assert [(r.path, r.reason) for r in listed.rejected] == [('a.png', 'bad_label'), ('b.png', 'bad_label')]

"""media.listing: layouts, splits, manifests, fingerprints, and a sentence for every mistake."""

import os
import pathlib
import re

import pytest

from media import listing
from media.entries import Entry
from media.rejections import REASONS
from model_code import data
from model_code.data import Columns
from model_code.errors import ConfigError
from tests import testing


def _task(directory, **overrides):
    return testing.source('pets', 'image', **{**dict(folder=os.fspath(directory)), **overrides})


def _files(directory, *names):
    for name in names:
        testing.write(directory, name, b'x')


def _error(task):
    with pytest.raises(ConfigError) as caught:
        listing.list_media(task)
    assert 'pets' in str(caught.value) and str(caught.value).endswith('.')
    return str(caught.value)


def _listed(task):
    return listing.list_media(task).entries


def _rejected(task):
    return [(line.path, line.reason) for line in listing.list_media(task).rejected]


def test_split_folders_and_other_files_beside_the_media(tmp_path):
    _files(tmp_path, 'train/cat/1.png', 'train/dog/2.JPG', 'test/cat/3.jpeg', 'val/dog/4.png', 'train/cat/odd.gif',
           'train/cat/.hidden.png', '.cache/cat/5.png', 'train/cat/notes.txt', 'README.md')
    listed = listing.list_media(_task(tmp_path))
    assert listed.rejected == [] and listed.entries == [
        Entry('test/cat/3.jpeg', ('cat',), 'eval'), Entry('train/cat/1.png', ('cat',), 'train'),
        Entry('train/cat/odd.gif', ('cat',), 'train'), Entry('train/dog/2.JPG', ('dog',), 'train'),
        Entry('val/dog/4.png', ('dog',), 'eval')]
    assert listing.classes_of(_task(tmp_path)) == ('cat', 'dog')
    assert listing.classes_of(_task(tmp_path, classes=('dog', 'cat'))) == ('dog', 'cat')


def test_the_hash_that_splits_class_folders_ignores_other_files(tmp_path):
    _files(tmp_path, *(f'{c}/{i}.png' for c in ('cat', 'train') for i in range(200)))
    before = {e.path: e.split for e in _listed(_task(tmp_path, eval_share=0.25))}
    share = sum(split == 'eval' for split in before.values()) / len(before)
    assert 0.18 < share < 0.32
    _files(tmp_path, 'cat/new.png')
    after = {e.path: e.split for e in _listed(_task(tmp_path, eval_share=0.25))}
    assert {path: after[path] for path in before} == before
    assert {e.labels for e in _listed(_task(tmp_path))} == {('cat',), ('train',)}
    assert {e.split for e in _listed(_task(tmp_path, eval_share=0.0))} == {'train'}


@pytest.mark.parametrize('names, misplaced', [
    (('cat/1.png', '2.png'), '2.png'),
    (('cat/1.png', 'cat/more/2.png'), 'cat/more/2.png'),
    (('train/cat/1.png', '2.png'), '2.png'),
    (('train/cat/1.png', 'train/2.png'), 'train/2.png'),
])
def test_files_that_do_not_fit_the_layout_are_rejected(tmp_path, names, misplaced):
    _files(tmp_path, *names)
    assert _rejected(_task(tmp_path)) == [(misplaced, 'bad_path')] and len(_listed(_task(tmp_path))) == 1


@pytest.mark.parametrize('names, message', [
    (('1.png', '2.png'), 'is in a class folder'),
    (('cat/readme.txt',), 'no image files'),
])
def test_wrong_layouts(tmp_path, names, message):
    _files(tmp_path, *names)
    assert message in _error(_task(tmp_path))


def test_a_missing_folder(tmp_path):
    assert 'there is no folder' in _error(_task(tmp_path / 'none'))
    assert 'has no data' in _error(_task(''))


def test_a_manifest_with_splits(tmp_path):
    testing.write_manifest(tmp_path, [
        ('b.png', 'dog', 'Test'), ('./a.png', ' cat ', 'train'), ('c.png', 'cat', 'validation')])
    assert _listed(_task(tmp_path, manifest='manifest.csv')) == [
        Entry('a.png', ('cat',), 'train'), Entry('b.png', ('dog',), 'eval'), Entry('c.png', ('cat',), 'eval')]


def test_a_manifest_without_splits_hashes_and_multi_label_splits_labels(tmp_path):
    (tmp_path / 'm.csv').write_bytes('\ufeffpath,labels\r\nx/1.png,red|round | red\r\n"x/2,3.png",red\r\n'.encode())
    entries = _listed(_task(tmp_path, manifest='m.csv', label_kind='multi'))
    assert [(e.path, e.labels) for e in entries] == [('x/1.png', ('red', 'round')), ('x/2,3.png', ('red',))]
    assert all(e.split == listing.hashed_split(e.path, 0.2) for e in entries)


@pytest.mark.parametrize('text, message', [
    ('path,colour\na.png,red\n', 'path and label'),
    ('file,label\na.png,red\n', 'path and label'),
    ('path,label,label\na.png,red,red\n', 'each once'),
    ('', 'nothing'),
    ('path,\na.png,x\n', 'path and label'),
    ('path,label\n', 'names none'),
    ('path,"label\n', 'not valid CSV'),
    ('path,label\n../a.png,cat\n', 'line 2 of m.csv (bad_path)'),
])
def test_wrong_manifests(tmp_path, text, message):
    (tmp_path / 'm.csv').write_text(text)
    assert message in _error(_task(tmp_path, manifest='m.csv'))


@pytest.mark.parametrize('row, path, reason, message', [
    ('../b.png,cat,train', 'line 3 of m.csv', 'bad_path', 'may lead out'),
    ('x/../../b.png,cat,train', 'line 3 of m.csv', 'bad_path', 'may lead out'),
    ('/etc/passwd,cat,train', 'line 3 of m.csv', 'bad_path', 'absolute'),
    ('~/b.png,cat,train', 'line 3 of m.csv', 'bad_path', 'absolute'),
    ('gs://bucket/b.png,cat,train', 'line 3 of m.csv', 'bad_path', 'URL'),
    ('x\\b.png,cat,train', 'line 3 of m.csv', 'bad_path', 'backslash'),
    ('b\x07.png,cat,train', 'line 3 of m.csv', 'bad_path', 'control character'),
    ('b\0.png,cat,train', 'line 3 of m.csv', 'bad_row', 'NUL'),
    ('b\udcff.png,cat,train', 'line 3 of m.csv', 'bad_path', r'b\xff.png is not UTF-8'),
    ('b.png,c\udcfft,train', 'b.png', 'bad_label', r'c\xfft is not UTF-8'),
    (',cat,train', 'line 3 of m.csv', 'bad_path', 'empty'),
    ('b.png,,train', 'b.png', 'bad_label', 'no label'),
    ('b.png,"cat\nb",train', 'b.png', 'bad_label', 'control character'),
    ('b.png,"x\u2028y",train', 'b.png', 'bad_label', 'control character'),
    ('b.png,' + 'x' * 1001 + ',train', 'b.png', 'bad_label', '1,001 characters'),
    ('b.png,' + 'x' * 10_000_000 + ',train', 'b.png', 'bad_label', 'more than 131,072 characters'),
    ('b.png,"' + 'x' * 10_000_000 + '",train', 'b.png', 'bad_label', 'more than 131,072 characters'),
    ('b' * 200_000 + '.png,cat,train', 'line 3 of m.csv', 'bad_row', 'more than 131,072 characters'),
    ('b' * 5000 + '.png,cat,train', 'line 3 of m.csv', 'bad_path', '5,004 characters'),
    ('b.png,cat,fold 7', 'b.png', 'bad_row', "split 'fold 7' is not one of train, "),
    ('b.png,cat', 'line 3 of m.csv', 'bad_row', '2 fields'),
    ('b.png,cat,train,more', 'line 3 of m.csv', 'bad_row', '4 fields'),
    ('b.png,"cat"x,train', 'line 3 of m.csv', 'bad_row', 'not valid CSV'),
    ('b.png,"cat,train', 'line 3 of m.csv', 'bad_row', 'not valid CSV'),
    ('a.png,cat,train', 'line 3 of m.csv', 'duplicate', 'is kept once'),
    ('a.png,,train', 'line 3 of m.csv', 'bad_label', 'no label'),
])
def test_one_bad_row_is_rejected_and_the_others_are_read(tmp_path, row, path, reason, message):
    text = f'path,label,split\na.png,cat,train\n{row}\nc.png,dog,eval\n'
    (tmp_path / 'm.csv').write_bytes(text.encode('utf-8', 'surrogateescape'))
    listed = listing.list_media(_task(tmp_path, manifest='m.csv'))
    assert [e.path for e in listed.entries] == ['a.png', 'c.png']
    assert [(line.path, line.reason) for line in listed.rejected] == [(path, reason)]
    assert message in listed.rejected[0].detail
    assert listed.rejected[0].detail.startswith('Line 3 of m.csv: ') == (path == 'b.png'), 'the line is named once'
    assert len(listed.rejected[0].detail) < 500


def test_a_manifest_that_is_missing_not_text_or_outside_the_folder(tmp_path):
    assert 'does not exist' in _error(_task(tmp_path, manifest='m.csv'))
    (tmp_path / 'm.csv').write_bytes('path,label\na.png,cat\n'.encode('utf-16'))
    assert 'not UTF-8 text' in _error(_task(tmp_path, manifest='m.csv'))
    assert 'may lead out' in _error(_task(tmp_path, manifest='../m.csv'))


def test_a_manifest_has_a_limit_and_a_pipe_is_not_opened(tmp_path, monkeypatch):
    monkeypatch.setattr(listing.manifests, 'MAX_BYTES', 1000)
    testing.write_manifest(tmp_path, [(f'{i}.png', 'cat', 'train') for i in range(100)])
    assert 'more than 1,000 bytes' in _error(_task(tmp_path, manifest='manifest.csv'))
    os.mkfifo(tmp_path / 'pipe.csv')
    assert 'pipe' in _error(_task(tmp_path, manifest='pipe.csv'))
    (tmp_path / 'folder.csv').mkdir()
    assert 'a folder' in _error(_task(tmp_path, manifest='folder.csv'))


def test_too_many_rejected_rows_or_examples(tmp_path, monkeypatch):
    monkeypatch.setattr(listing.collector, 'MAX_REJECTED', 10)
    testing.write_manifest(tmp_path, [('a.png', 'cat', 'train')] * 12)
    assert 'more than 10 rows' in _error(_task(tmp_path, manifest='manifest.csv'))
    monkeypatch.setattr(listing.files, 'MAX_FILES', 10)
    testing.write_manifest(tmp_path, [(f'{i}.png', 'cat', 'train') for i in range(12)])
    assert 'Split it into several tasks' in _error(_task(tmp_path, manifest='manifest.csv'))


def test_a_stray_quote_does_not_swallow_the_rows_after_it(tmp_path):
    rows = [f'{i:03d}.png,cat,train' for i in range(300)]
    rows[10] = '010.png,"cat,train'
    rows[200] = '200.png,"a cat\nof two lines",train'
    (tmp_path / 'm.csv').write_text('path,label,split\n' + '\r'.join(rows))
    listed = listing.list_media(_task(tmp_path, manifest='m.csv'))
    assert len(listed.entries) == 298
    assert [(line.path, line.reason) for line in listed.rejected] == [
        ('200.png', 'bad_label'), ('line 12 of m.csv', 'bad_row')]
    assert 'Line 202 of m.csv' in listed.rejected[0].detail


def test_rows_that_contradict_each_other_are_all_rejected(tmp_path):
    testing.write_manifest(tmp_path, [('a.png', 'cat', 'train'), ('b.png', 'cat', 'train'), ('a.png', 'dog', 'train'),
                                      ('a.png', 'cat', 'eval'), ('b.png', ' cat', 'TRAIN')])
    listed = listing.list_media(_task(tmp_path, manifest='manifest.csv'))
    assert [e.path for e in listed.entries] == ['b.png']
    assert [(line.path, line.reason) for line in listed.rejected] == [
        ('a.png', 'duplicate')] * 3 + [('line 6 of manifest.csv', 'duplicate')]
    assert any('as cat (train), and as dog (train) in line 4' in line.detail for line in listed.rejected)
    assert len(listed.entries) + len(listed.rejected) == 5  # one per row


def test_segments_and_extra_columns(tmp_path):
    columns = Columns(path='file', label='what', split='fold', start='from', end='to', extra=('site', 'mic'))
    testing.write_manifest(tmp_path, [
        ('a.wav', 'owl', 'train', '1.5', '3', 'wood', 'x|y'), ('a.wav', 'owl', 'train', '3', '4.25', '', ''),
        ('a.wav', 'owl', 'train', '', '', 'wood', ''), ('a.wav', 'owl', 'test', '7', '', 'wood', ''),
        ('b.wav', 'owl', 'train', '3', '3', '', ''), ('b.wav', 'owl', 'train', 'nan', '3', '', ''),
        ('b.wav', 'owl', 'train', '-1', '3', '', ''), ('b.wav', 'owl', 'train', '1', 'inf', '', ''),
        ('b.wav', 'owl', 'train', '1e999', '', '', ''), ('b.wav', 'owl', 'train', 'two', '', '', ''),
        ('b.wav', 'owl', 'train', '1', '2', 'x' * 1001, '')], ('file', 'what', 'fold', 'from', 'to', 'site', 'mic'))
    task = testing.source('calls', 'audio', folder=os.fspath(tmp_path), manifest='manifest.csv', columns=columns)
    listed = listing.list_media(task)
    assert [(e.id, e.start, e.end, e.extra) for e in listed.entries] == [
        ('a.wav', None, None, (('site', 'wood'),)), ('a.wav#t=1.5,3', 1.5, 3.0, (('site', 'wood'), ('mic', 'x|y'))),
        ('a.wav#t=3,4.25', 3.0, 4.25, ()), ('a.wav#t=7,', 7.0, None, (('site', 'wood'),))]
    assert [(line.path, line.reason) for line in listed.rejected] == [('b.wav', 'bad_row')] * 7
    columns = Columns(path='file', label='what', split='fold', start='from')
    image = _task(tmp_path, manifest='manifest.csv', columns=columns)
    assert {line.reason for line in listing.list_media(image).rejected} == {'duplicate'}  # images have no segments
    assert 'site' in _error(_task(tmp_path, manifest='manifest.csv', columns=Columns(extra=('site',))))


def test_a_label_column_that_the_config_names_must_be_in_the_manifest(tmp_path):
    (tmp_path / 'm.csv').write_text('path,label\na.png,red\n')
    assert 'needs the columns path and kind' in _error(_task(tmp_path, manifest='m.csv', columns=Columns(label='kind')))


def test_several_manifests_in_two_formats(tmp_path):
    testing.write_manifest(tmp_path, [('a.png', 'cat', 'train')])
    testing.write(tmp_path, 'more/test.jsonl', '{"path": "b.png", "label": "dog", "split": "test"}\n\n'
                                               '{"path": "a.png", "label": "cat", "split": "train"}')
    listed = listing.list_media(_task(tmp_path, manifest=('manifest.csv', 'more/test.jsonl')))
    assert [(e.path, e.split) for e in listed.entries] == [('a.png', 'train'), ('b.png', 'eval')]
    assert [line.path for line in listed.rejected] == ['line 3 of more/test.jsonl']


@pytest.mark.parametrize('line, labels', [
    ('{"path": "a.wav", "label": "owl"}', ('owl',)),
    ('{"path": "a.wav", "label": 3}', ('3',)),
    ('{"path": "a.wav", "labels": [true, "owl", false]}', ('true', 'owl', 'false')),
    ('{"path": "a.wav", "label": "owl|night"}', ('owl', 'night')),
    ('{"path": "a.wav", "labels": ["owl", " night ", "owl"], "other": {"a": [1]}}', ('owl', 'night')),
    ('\ufeff{"path": "a.wav", "label": "Eule \\u00e4"}', ('Eule ä',)),
])
def test_json_lines(tmp_path, line, labels):
    testing.write(tmp_path, 'm.jsonl', line + '\r\n')
    task = testing.source('calls', 'audio', folder=os.fspath(tmp_path), manifest='m.jsonl', label_kind='multi')
    assert [e.labels for e in listing.list_media(task).entries] == [labels]


@pytest.mark.parametrize('line, path, reason', [
    ('{"path": "b.wav"', 'line 2 of m.jsonl', 'bad_row'), ('[1, 2]', 'line 2 of m.jsonl', 'bad_row'),
    ('[' * 100_000, 'line 2 of m.jsonl', 'bad_row'), ('\0', 'line 2 of m.jsonl', 'bad_row'),
    ('{"path": 1, "label": "owl"}', 'line 2 of m.jsonl', 'bad_path'),
    ('{"label": "owl"}', 'line 2 of m.jsonl', 'bad_path'),
    ('{"path": "../b.wav", "label": "owl"}', 'line 2 of m.jsonl', 'bad_path'),
    ('{"path": "b\\u0000.wav", "label": "owl"}', 'line 2 of m.jsonl', 'bad_path'),
    ('{"path": "b\\ud800.wav", "label": "owl"}', 'line 2 of m.jsonl', 'bad_path'),
    ('{"path": "b.wav"}', 'b.wav', 'bad_label'), ('{"path": "b.wav", "label": null}', 'b.wav', 'bad_label'),
    ('{"path": "b.wav", "label": []}', 'b.wav', 'bad_label'),
    ('{"path": "b.wav", "label": 0.5}', 'b.wav', 'bad_label'),
    ('{"path": "b.wav", "label": {"a": 1}}', 'b.wav', 'bad_label'),
    ('{"path": "b.wav", "label": ["owl", "night"]}', 'b.wav', 'bad_label'),
    ('{"path": "b.wav", "label": "' + 'x' * 10_000_000 + '"}', 'b.wav', 'bad_label'),
    ('{"path": "b.wav", "label": "' + 'x' * 20_000_000 + '"}', 'line 2 of m.jsonl', 'bad_row'),
    ('{"path": "b.wav", "label": "owl", "start": NaN}', 'b.wav', 'bad_row'),
    ('{"path": "b.wav", "label": "owl", "start": true}', 'b.wav', 'bad_row'),
    ('{"path": "b.wav", "label": "owl", "start": [1]}', 'b.wav', 'bad_row'),
    ('{"path": "b.wav", "label": "owl", "start": 1' + '0' * 400 + '}', 'b.wav', 'bad_row'),
    ('{"path": "b.wav", "label": "owl", "start": 1' + '0' * 5000 + '}', 'line 2 of m.jsonl', 'bad_row'),
    ('{"path": "b.wav", "label": "owl", "start": 2, "end": 1}', 'b.wav', 'bad_row'),
    ('{"path": "b.wav", "label": "owl", "split": 1}', 'b.wav', 'bad_row'),
])
def test_a_bad_json_line_is_rejected_and_the_others_are_read(tmp_path, line, path, reason):
    good = '{"path": "%s.wav", "label": "owl"}'
    testing.write(tmp_path, 'm.jsonl', f'{good % "a"}\n{line}\n{good % "c"}')
    listed = listing.list_media(testing.source('calls', 'audio', folder=os.fspath(tmp_path), manifest='m.jsonl'))
    assert [e.path for e in listed.entries] == ['a.wav', 'c.wav']
    assert [(line.path, line.reason) for line in listed.rejected] == [(path, reason)]
    assert len(listed.rejected[0].detail) < 500


def test_names_that_are_not_utf8_and_folders_named_like_files(tmp_path):
    _files(tmp_path, 'cat/1.png', 'cat/clip.jpg/2.png', ' /4.png')
    for name in (b'cat/\xff.png', b'd\xfeg/3.png', b'cat/line\nbreak.png', b'cat/a\\b.png'):
        os.makedirs(os.path.dirname(os.path.join(os.fsencode(tmp_path), name)), exist_ok=True)
        open(os.path.join(os.fsencode(tmp_path), name), 'wb').close()
    assert [e.path for e in _listed(_task(tmp_path))] == ['cat/1.png']
    assert _rejected(_task(tmp_path)) == [
        (' /4.png', 'bad_label'), ('cat/\\xff.png', 'bad_path'), ('cat/a\\b.png', 'bad_path'),
        ('cat/clip.jpg', 'not_a_file'),
        ('cat/line\\nbreak.png', 'bad_path'), ('d\\xfeg/3.png', 'bad_path')]
    assert listing.media_fingerprint(_task(tmp_path))


def test_the_documentation_has_every_reason_and_split():
    text = (pathlib.Path(__file__).parents[2] / 'docs/your_data.md').read_text()
    assert sorted(re.findall(r'^\| `(\w+)` \| [^|]* \| [^|]* \|$', text, re.MULTILINE)) == sorted(REASONS)
    assert all(split in text for split in listing.SPLITS)
    assert {name for name in data.FORMATS if f'`{name}`' in text} >= data.MODALITIES_OF.keys()


def test_groups_of_labels_have_one_column_each(tmp_path):
    testing.write(tmp_path, 'm.csv', 'path,verb,noun\na.png,cut,onion\nb.png,cut,spring onion\nc.png,,onion\n')
    testing.write(tmp_path, 'm.jsonl', '{"path": "d.png", "verb": "peel", "noun": "onion"}\n{"path": "e.png"}\n'
                                       '{"path": "f.png", "verb": "cut", "noun": ["onion", "knife"]}')
    task = testing.source('meals', 'image', folder=os.fspath(tmp_path), manifest=('m.csv', 'm.jsonl'),
                          label_kind='groups', label_groups=('verb', 'noun'))
    listed = listing.list_media(task)
    assert [(e.path, e.labels) for e in listed.entries] == [
        ('a.png', ('verb:cut', 'noun:onion')), ('b.png', ('verb:cut', 'noun:spring onion')),
        ('d.png', ('verb:peel', 'noun:onion'))]
    assert [(line.path, line.reason) for line in listed.rejected] == [
        ('c.png', 'bad_label'), ('e.png', 'bad_label'), ('f.png', 'bad_label')]
    with pytest.raises(ConfigError, match='columns path and verb and tool'):
        listing.list_media(testing.source('meals', 'image', folder=os.fspath(tmp_path), manifest=('m.csv', 'm.jsonl'),
                                           label_kind='groups', label_groups=('verb', 'tool')))


def test_a_sound_may_come_from_a_video_file(tmp_path):
    _files(tmp_path, 'owl/1.wav', 'owl/2.mp4', 'owl/3.OPUS', 'owl/4.png')
    entries = _listed(testing.source('calls', 'audio', folder=os.fspath(tmp_path)))
    assert [e.path for e in entries] == ['owl/1.wav', 'owl/2.mp4', 'owl/3.OPUS']


def test_links_within_the_folder_are_followed_and_links_out_are_rejected(tmp_path):
    _files(tmp_path, 'data/cat/1.png', 'secret/2.png')
    data = tmp_path / 'data'
    (data / 'cat/same.png').symlink_to('1.png')
    assert [e.path for e in _listed(_task(data))] == ['cat/1.png', 'cat/same.png']
    (data / 'cat/out.png').symlink_to(tmp_path / 'secret/2.png')
    (data / 'dog').symlink_to(tmp_path / 'secret')
    assert _rejected(_task(data)) == [('cat/out.png', 'bad_path'), ('dog', 'bad_path')]
    testing.write_manifest(data, [('dog/2.png', 'dog', 'train'), ('cat/out.png', 'cat', 'train'),
                                  ('cat/1.png', 'cat', 'train')])
    listed = listing.list_media(_task(data, manifest='manifest.csv'))
    assert [e.path for e in listed.entries] == ['cat/1.png']
    assert [line.path for line in listed.rejected] == ['cat/out.png', 'dog/2.png']
    assert all('link out' in line.detail for line in listed.rejected)
    (data / 'manifest.csv').unlink()
    testing.write_manifest(tmp_path, [('cat/1.png', 'cat', 'train')])
    (data / 'manifest.csv').symlink_to(tmp_path / 'manifest.csv')
    assert 'link out' in _error(_task(data, manifest='manifest.csv'))


def test_a_link_to_a_folder_above_is_no_endless_loop(tmp_path):
    _files(tmp_path, 'cat/1.png', 'dog/2.png')
    (tmp_path / 'cat/loop').symlink_to('..')
    (tmp_path / 'cat/there').symlink_to('../dog')
    (tmp_path / 'dog/back').symlink_to('../cat')
    (tmp_path / 'dog/self.png').symlink_to('self.png')
    listed = listing.list_media(_task(tmp_path))
    assert {'cat/1.png', 'dog/2.png', 'dog/self.png'} == {e.path for e in listed.entries}  # the reader rejects self.png
    assert ('cat/loop', 'bad_path') in _rejected(_task(tmp_path))
    assert len(listed.rejected) < 20


def test_the_fingerprint_changes_with_every_change_and_only_then(tmp_path):
    _files(tmp_path, 'a.png', 'b.png')
    rows = [('a.png', 'cat', 'train'), ('b.png', 'dog', 'eval')]
    testing.write_manifest(tmp_path, rows)
    task = _task(tmp_path, manifest='manifest.csv')
    fingerprints = [listing.media_fingerprint(task)]
    assert listing.media_fingerprint(task) == fingerprints[0]
    testing.write_manifest(tmp_path, rows[::-1])
    assert listing.media_fingerprint(task) == fingerprints[0]  # the same rows in another order
    status = os.stat(tmp_path / 'a.png')

    testing.write(tmp_path, 'a.png', b'longer')
    fingerprints.append(listing.media_fingerprint(task))
    testing.write(tmp_path, 'a.png', b'sameln')
    os.utime(tmp_path / 'a.png', ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    fingerprints.append(listing.media_fingerprint(task))
    testing.write_manifest(tmp_path, [('a.png', 'dog', 'train'), rows[1]])
    fingerprints.append(listing.media_fingerprint(task))
    testing.write_manifest(tmp_path, [('a.png', 'dog', 'eval'), rows[1]])
    fingerprints.append(listing.media_fingerprint(task))
    (tmp_path / 'a.png').unlink()
    fingerprints.append(listing.media_fingerprint(task))
    assert len(set(fingerprints)) == len(fingerprints)


def test_an_empty_train_split_has_no_classes(tmp_path):
    _files(tmp_path, 'test/cat/1.png')
    with pytest.raises(ConfigError, match='train split is empty'):
        listing.classes_of(_task(tmp_path))


def test_real_media(shared_data):
    entries = _listed(_task(shared_data / 'cifar10'))
    assert len(entries) == 12_000 and sum(e.split == 'train' for e in entries) == 10_000
    tags = testing.source('tags', 'audio', folder=str(shared_data / 'fsdd'), manifest='tags.csv', label_kind='multi')
    assert {len(e.labels) for e in _listed(tags)} == {4}

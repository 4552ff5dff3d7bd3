"""Texts: what is stored and what is rejected, in files, rows and archives; the graph does the same."""

import io
import json
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from media import listing, open_entry, readers
from media.entries import Entry
from media.reading import Gathered
from media.rejections import Rejection
from media.sandbox.parent import Decoder
from model_code.data import Columns
from model_code.errors import ConfigError
from model_code.modalities import Limits, TextInput, get_modality
from tests import testing

MARK = b'\xef\xbb\xbf'
GOOD = {
    b'hello': b'hello', 'grüße, 日本 🙂'.encode(): 'grüße, 日本 🙂'.encode(), MARK + b' marked\r\n': b'marked',
    b'two\r\nlines\n': b'two\r\nlines', b'\x0b\x0c\ta\tb ': b'a\tb', 'x\ufeffy'.encode(): 'x\ufeffy'.encode(),
    'no-break\u00a0'.encode(): 'no-break\u00a0'.encode(), '\u3000\u200b'.encode(): '\u3000\u200b'.encode(),
    'C1 \x85\x9b'.encode(): 'C1 \x85\x9b'.encode(), '\U0010ffff'.encode(): '\U0010ffff'.encode(),
    MARK + MARK + b'q': MARK + b'q', b'<p>A page.</p>': b'<p>A page.</p>'}
BAD = {
    b' \n\t': ('empty', 'nothing but white space'), MARK: ('empty', 'nothing but white space'),
    b'caf\xe9': ('undecodable', 'not UTF-8: byte 4 '), b'\xff\xfeh\0i\0': ('undecodable', 'in UTF-16'),
    'hi'.encode('utf-32'): ('undecodable', 'in UTF-32'), b'\0\0\xfe\xff\0\0\0h': ('undecodable', 'in UTF-32'),
    b'ab\xc0\xaf': ('undecodable', 'byte 3 '), b'\xed\xa0\x80': ('undecodable', 'byte 1 '),
    b'cut \xe6\x97': ('undecodable', 'byte 5 '), b'\xf4\x90\x80\x80': ('undecodable', 'byte 1 '),
    b'a\0b': ('undecodable', 'an ASCII control character at byte 2'), b'ok\x1b[0m': ('undecodable', 'at byte 3'),
    b'\x7f': ('undecodable', 'at byte 1'), testing.image_bytes(): ('unsupported', 'It is a PNG image, not a text'),
    b'%PDF-1.7 and so on': ('unsupported', 'a PDF document'),
    b'version https://git-lfs.github.com/spec/v1': ('unsupported', 'git lfs pull')}


@pytest.mark.parametrize('content, stored', GOOD.items())
def test_a_text_is_stored_without_mark_and_surrounding_white_space(content, stored):
    assert readers.read('text', content, TextInput()) == {'text': stored, 'text_bytes': len(stored)}
    assert readers.read('text', stored, TextInput())['text'] == stored or stored.startswith(MARK)


@pytest.mark.parametrize('content, expected', BAD.items())
def test_what_is_no_text_is_rejected_with_its_place(content, expected):
    with pytest.raises(Rejection, match=expected[1]) as caught:
        readers.read('text', content, TextInput())
    assert caught.value.reason == expected[0]


def test_the_size_is_bounded_before_anything_is_read():
    with pytest.raises(Rejection, match='It has 11 bytes; at most 10 are allowed'):
        readers.read('text', b'hello world', TextInput(), Limits(bytes=10))


def test_the_graph_does_with_sent_texts_what_the_reader_does():
    import tensorflow as tf
    row = get_modality('text')
    contents, spec = [*GOOD, *BAD, b''], TextInput()
    problems, plan = row.sent_media.check(tf.constant(contents), spec, row.limits)
    stored = row.sent_media.as_stored(tf.constant(contents), plan, spec, {}).numpy()
    # Their text is one: what it is about, ingest alone looks at.
    passed = [b'%PDF-1.7 and so on', b'version https://git-lfs.github.com/spec/v1']
    assert [bool(problem) for problem in problems.numpy()] == [
        content in (*BAD, b'') and content not in passed for content in contents]
    assert dict(zip(contents, stored, strict=True)).items() >= GOOD.items()
    sentence, = {problem for content, problem in zip(contents, problems.numpy(), strict=True) if content == b'caf\xe9'}
    assert sentence == b'it is no UTF-8: send a text in UTF-8'
    long, _ = row.sent_media.check(tf.constant([b'hello world']), spec, Limits(bytes=10))
    assert long.numpy()[0] == b'it has 11 bytes; at most 10 are allowed: send a shorter text'


# Rows that have their texts themselves.

def _listed(directory, **data):
    source = testing.source('reviews', 'text', folder=str(directory), **data)
    return listing.list_media(source), source


def test_a_csv_has_the_texts_in_its_rows(tmp_path):
    testing.write(tmp_path, 'reviews.csv', 'text,label,split\n"Fine, ""very"" fine",good,train\n"two\nlines",bad,test\n'
                                           ' ,bad,test\n')
    listed, _ = _listed(tmp_path, manifest='reviews.csv')
    assert [(entry.id, entry.text, entry.labels, entry.split) for entry in listed.entries] == [
        ('reviews.csv!00000002', 'Fine, "very" fine', ('good',), 'train'),
        ('reviews.csv!00000003', 'two\nlines', ('bad',), 'eval')]
    assert [(rejected.path, rejected.reason) for rejected in listed.rejected] == [('line 5 of reviews.csv', 'empty')]


def test_json_lines_and_parquet_have_them_too(tmp_path):
    testing.write(tmp_path, 'reviews.jsonl', ''.join(json.dumps(row) + '\n' for row in (
        {'review': 'Fine.', 'label': 'good'}, {'review': 5, 'label': 'good'}, {'label': 'bad'})))
    columns = Columns(text='review')
    listed, _ = _listed(tmp_path, manifest='reviews.jsonl', columns=columns)
    assert [(entry.id, entry.text) for entry in listed.entries] == [('reviews.jsonl!00000001', 'Fine.')]
    assert [(r.path, r.reason) for r in listed.rejected] == [('line 2 of reviews.jsonl', 'bad_row'),
                                                             ('line 3 of reviews.jsonl', 'empty')]
    pq.write_table(pa.table({'review': ['Fine.', None, 'x' * 10_000], 'label': ['good', 'bad', 'bad']}),
                   tmp_path / 'reviews.parquet')
    listed, _ = _listed(tmp_path, manifest='reviews.parquet', columns=columns)
    assert [(entry.id, entry.text) for entry in listed.entries] == [('reviews.parquet!00000000', 'Fine.')]
    assert [(r.path, r.reason) for r in listed.rejected] == [('row 1 of reviews.parquet', 'empty'),
                                                             ('row 2 of reviews.parquet', 'too_large')]


def test_every_rejected_row_is_named_by_its_line_or_row(tmp_path):
    rows = [('Fine.', 'good', 'train'), ('no label', '', 'train'), ('odd split', 'good', 'fold 7'),
            ('odd\x01', 'good', 'train')]
    expected = [('bad_label', 1), ('bad_row', 2), ('undecodable', 3)]
    testing.write_manifest(tmp_path, rows, ('text', 'label', 'split'))
    columns = dict(zip(('text', 'label', 'split'), map(list, zip(*rows, strict=True)), strict=True))
    pq.write_table(pa.table(columns), tmp_path / 'm.parquet')
    testing.write(tmp_path, 'm.jsonl', ''.join(
        json.dumps(dict(zip(columns, row, strict=True))) + '\n' for row in rows))
    for name, kind, first in (('manifest.csv', 'line', 2), ('m.jsonl', 'line', 1), ('m.parquet', 'row', 0)):
        listed, source = _listed(tmp_path, manifest=name)
        gathered = Gathered()
        with Decoder(source.data.folder, 'text', TextInput(), Limits()) as decoder:
            for decoded in decoder.read(listed.entries):
                gathered.add(decoded)
        found = sorted([*listed.rejected, *gathered.rejected], key=lambda one: one.path)
        assert [(one.path, one.reason) for one in found] == [
            (f'{kind} {first + i} of {name}', reason) for reason, i in expected]
        assert not any(name in one.detail for one in found), 'the row is named once'


@pytest.mark.parametrize('name, content, message', [
    ('m.csv', b'txt,label,split\na,b,train\n', 'needs the columns text or path and label .*first line has: txt, label'),
    ('m.csv', b'text;label\na;b\n', 'needs the columns text or path and label .*first line has: text;label'),
    ('m.csv', b'', 'needs the columns text or path and label .*first line has: nothing'),
    ('m.jsonl', b'', 'a JSON object with text or path and label'),
    ('m.jsonl', b'{"txt": "a", "label": "b"}', 'It has no text under text or path'),
    ('m.parquet', {'txt': ['a'], 'label': ['b']}, 'needs the columns text or path, label, each once; it has txt')])
def test_a_manifest_without_texts_is_told_how_to_name_them(tmp_path, name, content, message):
    if isinstance(content, dict):
        pq.write_table(pa.table(content), tmp_path / name)
    else:
        testing.write(tmp_path, name, content)
    with pytest.raises(ConfigError, match=message) as caught:
        _listed(tmp_path, manifest=name)
    assert 'Name another column with texts: columns=Columns(text=...).' in str(caught.value)


def test_a_folder_of_hugging_face_needs_no_setting(tmp_path):
    (tmp_path / 'data').mkdir()
    for split, label in (('train', 0), ('test', 1)):
        pq.write_table(pa.table({'text': [f'of {split}'], 'label': [label]}),
                       tmp_path / 'data' / f'{split}-00000-of-00001.parquet')
    listed, _ = _listed(tmp_path)
    assert [(entry.text, entry.split) for entry in listed.entries] == [('of test', 'eval'), ('of train', 'train')]


def test_paths_of_text_files_stay_possible(tmp_path):
    testing.write(tmp_path, 'a/1.txt', 'Fine.')
    testing.write_manifest(tmp_path, [('a/1.txt', 'not it', 'good')], ('path', 'text', 'label'))
    listed, _ = _listed(tmp_path, manifest='manifest.csv')
    assert [(entry.path, entry.text) for entry in listed.entries] == [('a/1.txt', '')]
    with pytest.raises(ConfigError, match="columns.text is 'caption', but no manifest has this column"):
        _listed(tmp_path, columns=Columns(text='caption'))


def test_class_folders_take_text_files(tmp_path):
    for label in ('good', 'bad'):
        testing.write(tmp_path, f'{label}/1.txt', label)
        testing.write(tmp_path, f'{label}/2.pdf', label)
    listed, _ = _listed(tmp_path)
    assert [entry.path for entry in listed.entries] == ['bad/1.txt', 'good/1.txt']
    assert [(rejected.path, rejected.reason) for rejected in listed.rejected] == [
        ('bad/2.pdf', 'unsupported'), ('good/2.pdf', 'unsupported')]


def test_in_an_archive_the_text_is_not_taken_for_its_label(tmp_path):
    with tarfile.open(tmp_path / 'train.tar', 'w') as archive:
        for name, content in (('1.cls', b'good'), ('1.txt', b'Fine.'), ('2.txt', b'Poor.')):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    listed, source = _listed(tmp_path, format='tar')
    entry, = listed.entries
    assert entry.labels == ('good',)
    assert [rejected.reason for rejected in listed.rejected] == ['bad_label']
    with open_entry.open_entry(source.data.folder, entry, get_modality('text').limits) as file:
        assert file.read() == b'Fine.'


def test_the_child_reads_texts_of_rows_and_says_what_is_wrong_with_them(tmp_path):
    entries = [Entry('a.csv', ('x',), 'train', member=str(i), record='text', text=text)
               for i, text in enumerate(('Fine.', 'caf\udce9', ' spaced ', '\ud800 hi', '\udcc3\udca9'))]
    with Decoder(str(tmp_path), 'text', TextInput(), Limits()) as decoder:
        fine, wrong, spaced, *surrogates = decoder.read(entries)
    assert [(s.rejection.reason, s.rejection.detail[:26]) for s in surrogates] == [
        ('undecodable', 'It is not UTF-8: byte 1 be')] * 2
    assert fine.features == {'text': b'Fine.', 'text_bytes': 5} and spaced.features['text'] == b'spaced'
    assert (wrong.rejection.reason, wrong.rejection.detail[:26]) == ('undecodable', 'It is not UTF-8: byte 4 be')


def test_another_text_is_another_data_set_and_an_entry_survives_a_round_trip(tmp_path):
    def fingerprint(text):
        testing.write_manifest(tmp_path, [(text, 'good')], ('text', 'label'))
        listed, source = _listed(tmp_path, manifest='manifest.csv')
        assert Entry.from_row(json.loads(json.dumps(listed.entries[0].to_row()))) == listed.entries[0]
        return listing.media_fingerprint(source, listed, [(listed.entries[0], (1, 1))])

    assert fingerprint('Fine.') == fingerprint('Fine.') != fingerprint('Poor.')

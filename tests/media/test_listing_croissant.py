"""Croissant files as sources: those that MLCommons' reader accepts, and sentences for all that is not read."""

import copy
import hashlib
import json
import os
import tarfile

import pyarrow as pa
import pytest

from media import listing
from media.open_entry import open_entry
from model_code.data import Columns
from model_code.errors import ConfigError
from model_code.modalities import Limits
from pipeline.croissant import _CONTEXT as CONTEXT
from tests import testing
from tests.media import tables
from tests.media.tables import in_a_child, in_this_process  # noqa: F401

mlcroissant = pytest.importorskip('mlcroissant')


def _source(directory, modality: str = 'image', **overrides):
    return testing.source('pets', modality, **{**dict(folder=os.fspath(directory), manifest='croissant.json'),
                                               **overrides})


def _entries(source):
    return {entry.id: (entry.labels, entry.split) for entry in listing.list_media(source).entries}


def _write(directory, distribution, record_sets, validate: bool = True, **changes) -> dict:
    content = {'@context': CONTEXT, '@type': 'sc:Dataset', 'conformsTo': 'http://mlcommons.org/croissant/1.1',
               'name': 'x', 'description': 'x', 'license': 'x', 'url': 'https://example.com',
               'distribution': distribution, 'recordSet': record_sets, **changes}
    testing.write(directory, 'croissant.json', json.dumps(content))
    if validate:
        assert not mlcroissant.Dataset(os.path.join(directory, 'croissant.json')).metadata.ctx.issues.errors
    return content


def _field(name, data_type='sc:Text', record_set='images', regex='', separator='', references='', **where):
    source = {key: {'@id': value} for key, value in where.items() if key in ('fileSet', 'fileObject', 'field')}
    extract = {key: where[key] for key in ('column', 'fileProperty', 'jsonPath') if key in where}
    if extract:
        source['extract'] = extract
    if regex or separator:
        source['transform'] = {'regex': regex} if regex else {'separator': separator}
    field = {'@type': 'cr:Field', '@id': f'{record_set}/{name}', 'name': name, 'dataType': data_type, 'source': source}
    return field | ({'references': {'field': {'@id': references}}} if references else {})


def _record_set(*fields, name='images', **more):
    return {'@type': 'cr:RecordSet', '@id': name, 'name': name, 'field': list(fields), **more}


def _file_set(name='files', includes='*.png', **more):
    return {'@type': 'cr:FileSet', '@id': name, 'name': name, 'encodingFormat': 'image/png', 'includes': includes,
            **more}


def _file(directory, path, encoding='text/csv', **more):
    sha256 = hashlib.sha256((directory / path).read_bytes()).hexdigest()
    return {'@type': 'cr:FileObject', '@id': path, 'name': path, 'contentUrl': path, 'encodingFormat': encoding,
            'sha256': sha256, **more}


def _splits(*names_and_urls):
    return {'@type': 'cr:RecordSet', '@id': 'splits', 'name': 'splits', 'dataType': 'cr:Split',
            'key': {'@id': 'splits/name'},
            'field': [{'@type': 'cr:Field', '@id': 'splits/name', 'name': 'name', 'dataType': 'sc:Text'},
                      {'@type': 'cr:Field', '@id': 'splits/url', 'name': 'url', 'dataType': 'sc:URL'}],
            'data': [{'splits/name': name, 'splits/url': url} for name, url in names_and_urls]}


def _in_folders():
    return [_field('content', 'sc:ImageObject', fileSet='files', fileProperty='content'),
            _field('label', ['sc:Text', 'cr:Label'], fileSet='files', fileProperty='fullpath', regex='([^/]+)/[^/]+$'),
            _field('split', fileSet='files', fileProperty='fullpath', regex='^(fold[0-9])/', references='splits/name')]


def test_what_the_file_says_of_itself_is_known_and_bounded(tmp_path):
    testing.write(tmp_path, 'fold0/cat/1.png', testing.image_bytes())
    parts = ([_file_set()], [_splits(('fold0', 'cr:TrainingSplit')), _record_set(*_in_folders())])
    _write(tmp_path, *parts, license=['CC0', {'@type': 'CreativeWork', 'url': 'https://example.org/l'}])
    assert listing.list_media(_source(tmp_path)).about == {
        'name': 'x', 'license': 'CC0, https://example.org/l', 'url': 'https://example.com'}
    _write(tmp_path, *parts, validate=False, license='l' * 600, url=7, name={'@value': ' a\x1b '})
    assert listing.list_media(_source(tmp_path)).about == {'name': 'a\\x1b', 'license': 'l' * 500 + '...'}


def test_labels_and_splits_in_paths(tmp_path):
    for path in ('fold0/cat/1.png', 'fold0/dog/2.png', 'fold1/dog/3.png', 'fold1/dog/skip/4.png', 'other/5.txt'):
        testing.write(tmp_path, path, testing.image_bytes())
    _write(tmp_path, [_file_set(excludes='*/skip/*')],
           [_splits(('fold0', 'cr:TrainingSplit'), ('fold1', 'cr:ValidationSplit')), _record_set(*_in_folders())])
    assert _entries(_source(tmp_path)) == {'fold0/cat/1.png': (('cat',), 'train'),
                                           'fold0/dog/2.png': (('dog',), 'train'),
                                           'fold1/dog/3.png': (('dog',), 'eval')}
    with pytest.raises(ConfigError, match='record set images, has no column lable, .* Did you mean label?'):
        listing.list_media(_source(tmp_path, groups='lable'))
    # The same with keys and types as full names, as other JSON-LD writers have them.
    text = (tmp_path / 'croissant.json').read_text()
    for term in ('recordSet', 'field', 'fileSet', 'references', 'extract', 'fileProperty', 'transform', 'regex',
                 'source'):
        text = text.replace(f'"{term}":', f'"http://mlcommons.org/croissant/{term}":')
    testing.write(tmp_path, 'croissant.json', text.replace('"distribution":', '"https://schema.org/distribution":'))
    assert len(_entries(_source(tmp_path, format='croissant'))) == 3


def test_a_table_with_paths_and_an_enumeration(tmp_path):
    testing.write(tmp_path, 'labels.csv',
                  'path,class,fold,speaker\na.png,0,train,x\nsub/b.png,1,test,y\nc.png,2,test,z\n')
    classes = _record_set({'@type': 'cr:Field', '@id': 'classes/id', 'name': 'id', 'dataType': 'sc:Integer'},
                          {'@type': 'cr:Field', '@id': 'classes/name', 'name': 'name', 'dataType': 'sc:Text'},
                          name='classes', dataType='sc:Enumeration', key={'@id': 'classes/id'},
                          data=[{'classes/id': 0, 'classes/name': 'cat'},
                                {'classes/id': 1, 'classes/name': 'dog, big'}])
    column = dict(fileObject='labels.csv')
    _write(tmp_path, [_file(tmp_path, 'labels.csv')],
           [classes, _splits(('train', 'cr:TrainingSplit'), ('test', 'cr:TestSplit')), _record_set(
               _field('path', **column, column='path'),
               _field('kind', ['sc:Text', 'cr:Label'], **column, column='class', references='classes/id'),
               _field('part', **column, column='fold', references='splits/name'),
               _field('who', **column, column='speaker'))])
    source = _source(tmp_path, groups='who')
    assert _entries(source) == {'a.png': (('cat',), 'train'), 'sub/b.png': (('dog, big',), 'eval')}
    assert [entry.group for entry in listing.list_media(source).entries] == ['x', 'y']
    rejected, = listing.list_media(source).rejected
    assert (rejected.path, rejected.reason) == ('c.png', 'bad_label')


def test_a_file_elsewhere_has_its_tables_beside_it_and_its_media_in_the_data_folder(tmp_path):
    for path in ('media/train/a.png', 'media/test/b.png', 'about/a.png'):
        testing.write(tmp_path, path, testing.image_bytes())
    about = tmp_path / 'about'
    testing.write(about, 'labels.csv', 'path,label,split\ntrain/a.png,x,train\ntest/b.png,y,test\na.png,x,train\n')
    fields = [_field(name, fileObject='labels.csv', column=name) for name in ('path', 'label', 'split')]
    _write(about, [_file(about, 'labels.csv')], [_record_set(*fields)])
    source = _source(tmp_path / 'media', manifest=os.fspath(about / 'croissant.json'))
    assert sorted(_entries(source)) == ['a.png', 'test/b.png', 'train/a.png']  # that a.png is missing shows when read
    _write(about, [_file_set()], [_record_set(
        _field('content', 'sc:ImageObject', fileSet='files', fileProperty='content'),
        _field('label', fileSet='files', fileProperty='fullpath', regex='^([^/]+)/'))])
    assert _entries(source).keys() == {'train/a.png', 'test/b.png'}
    tables.write_parquet(about / 'm.parquet', pa.table({'picture': [b'x'], 'label': ['a']}))
    _write(about, [_file(about, 'm.parquet', 'application/x-parquet')], [_record_set(
        _field('picture', 'sc:ImageObject', fileObject='m.parquet', column='picture'),
        _field('label', fileObject='m.parquet', column='label'))])
    with pytest.raises(ConfigError, match='m.parquet in .*/about holds the media .* must be below the data folder'):
        listing.list_media(source)
    # A file below the data folder may be named by its whole path.
    inside = _source(tmp_path, manifest=os.fspath(about / 'croissant.json'))
    entry, = listing.list_media(inside).entries
    assert entry.path == 'about/m.parquet'


def test_files_and_a_table_are_joined(tmp_path):
    for name in ('x1', 'x2', 'x3'):
        testing.write(tmp_path, f'images/{name}.png', testing.image_bytes())
    testing.write(tmp_path, 'labels.jsonl', ''.join(json.dumps(row) + '\n' for row in (
        {'key': 'x1', 'tags': 'red;round'}, {'key': 'x2', 'tags': 'red'}, {'key': 'gone', 'tags': 'red'})))
    table = _record_set(_field('key', record_set='table', fileObject='labels.jsonl', column='key'),
                        _field('tags', ['sc:Text', 'cr:Label'], record_set='table', fileObject='labels.jsonl',
                               column='tags', separator=';'), name='table')
    images = _record_set(
        _field('hash', fileSet='files', fileProperty='filename', regex=r'(.*)\.png$', references='table/key'),
        _field('content', 'sc:ImageObject', fileSet='files', fileProperty='content'),
        _field('labels', ['sc:Text', 'cr:Label'], field='table/tags'))
    _write(tmp_path, [_file_set(), _file(tmp_path, 'labels.jsonl', 'application/jsonlines')], [table, images])
    source = _source(tmp_path, manifest='croissant.json#images', label_kind='multi')
    listed = listing.list_media(source)
    assert {entry.path: entry.labels for entry in listed.entries} == {
        'images/x1.png': ('red', 'round'), 'images/x2.png': ('red',)}
    rejected, = listed.rejected
    assert rejected.reason == 'missing' and 'no file gone' in rejected.detail


def test_media_in_a_table_and_in_an_archive(tmp_path):
    images = [testing.image_bytes(seed=i) for i in range(2)]
    tables.write_parquet(tmp_path / 'data/train-0.parquet', pa.table({'picture': images, 'label': ['a', 'b']}))
    files = _file_set('tables', 'data/*.parquet', encodingFormat='application/x-parquet')
    _write(tmp_path, [files], [_record_set(
        _field('picture', 'sc:ImageObject', fileSet='tables', column='picture'),
        _field('label', fileSet='tables', column='label'),
        _field('split', fileSet='tables', fileProperty='fullpath', regex='data/(train|test)-'))], validate=False)
    assert _entries(_source(tmp_path)) == {'data/train-0.parquet!00000000': (('a',), 'train'),
                                           'data/train-0.parquet!00000001': (('b',), 'train')}
    for i, image in enumerate(images):
        testing.write(tmp_path, f'in/{"cat" if i else "dog"}/{i}.png', image)
    with tarfile.open(tmp_path / 'a.tar', 'w') as archive:
        archive.add(tmp_path / 'in', 'in')
    _write(tmp_path, [_file(tmp_path, 'a.tar', 'application/x-tar'), _file_set(containedIn={'@id': 'a.tar'})],
           [_record_set(*_in_folders()[:2])])
    listed = listing.list_media(_source(tmp_path))
    assert {entry.id: entry.labels for entry in listed.entries} == {'a.tar!in/cat/1.png': ('cat',),
                                                                    'a.tar!in/dog/0.png': ('dog',)}
    with open_entry(os.fspath(tmp_path), listed.entries[0], Limits(bytes=1 << 20)) as file:
        assert file.read() == images[1]


def _valid(tmp_path) -> dict:
    testing.write(tmp_path, 'm.csv', 'path,label\na.png,cat\n')
    return _write(tmp_path, [_file(tmp_path, 'm.csv'), _file_set()], [_record_set(
        _field('path', fileObject='m.csv', column='path'), _field('label', fileObject='m.csv', column='label'))])


def _set(content, path, value):
    *parents, last = path
    for key in parents:
        content = content[key]
    content[last] = value


@pytest.mark.parametrize('path, value, message', [
    (('conformsTo',), 'http://mlcommons.org/croissant/0.8', 'does not conform to .*it says http://.*/0.8'),
    (('conformsTo',), None, 'it says nothing'),
    (('distribution', 0, 'contentUrl'), 'https://example.com/m.csv', 'Nothing is fetched: download it'),
    (('distribution', 0, 'contentUrl'), '../m.csv', 'may lead out of the data folder'),
    (('distribution', 0, 'contentUrl'), '/etc/passwd', 'absolute'),
    (('distribution', 0, 'contentUrl'), None, 'has no contentUrl'),
    (('distribution', 0, 'encodingFormat'), 'text/tab-separated-values', 'encodingFormat text/tab-separated-values'),
    (('distribution', 0, 'sha256'), '0' * 64, 'one of the two has changed'),
    (('recordSet', 0, 'field', 1, 'source', 'fileObject'), {'@id': 'files'}, 'is of no table|encodingFormat image/png|'
                                                                            'which file a row is of'),
    (('recordSet', 0, 'field', 1, 'source', 'fileObject'), {'@id': 'gone'}, 'gone, which is not in the distribution'),
    (('recordSet', 0, 'field', 1, 'source', 'extract'), {'jsonPath': '$.x'}, 'extracted by jsonPath'),
    (('recordSet', 0, 'field', 1, 'source', 'extract'), {}, 'neither a column nor a file property'),
    (('recordSet', 0, 'field', 1, 'source', 'extract'), {'fileProperty': 'lines'}, "file property 'lines'"),
    (('recordSet', 0, 'field', 1, 'source', 'transform'), {'replace': 'a/b'}, 'the transform replace'),
    (('recordSet', 0, 'field', 1, 'source', 'transform'), {'regex': '(.*)'}, 'a regex on a column'),
    (('recordSet', 0, 'field', 1, 'source', 'transform'), {'regex': 'x' * 2000}, 'more than 1,000 characters'),
    (('recordSet', 0, 'field', 1, 'source'), {'field': {'@id': 'images/label'}}, 'takes its values from itself'),
    (('recordSet', 0, 'field', 1, 'source'), {'field': {'@id': 'x/y'}}, 'x/y, which is no field'),
    (('recordSet', 0, 'field', 1, 'source'), [1], 'a source that is no object'),
    (('recordSet', 0, 'field', 1, 'source'), None, 'has no source'),
    (('recordSet', 0, 'field', 1, 'subField'), [{'@id': 'images/label/x'}], 'subFields, which are not read'),
    (('recordSet', 0, 'field', 1, '@id'), 'images/other', 'no record set has a field with labels'),
    (('recordSet', 0, 'field', 0, '@id'), 'images/other', 'does not say which file a row is of'),
    (('recordSet',), [], 'no record set has a field with labels'),
    (('distribution',), 'x', 'not in the distribution'),
])
def test_what_is_not_read_is_named(tmp_path, path, value, message):
    content = _valid(tmp_path)
    assert _entries(_source(tmp_path, eval_share=0.0)) == {'a.png': (('cat',), 'train')}
    changed = copy.deepcopy(content)
    _set(changed, path, value)
    testing.write(tmp_path, 'croissant.json', json.dumps(changed))
    with pytest.raises(ConfigError, match=message):
        listing.list_media(_source(tmp_path))


@pytest.mark.parametrize('text, message', [
    ('', 'cannot be read'), ('[1]', 'no JSON object'), ('{"path": "a.png"}\n{"path": "b.png"}\n', 'cannot be read'),
    ('[' * 100_000, 'cannot be read: it is nested too deeply'),
    ('{"x": ' * 50 + '1' + '}' * 50, 'nested too deeply, in more than 40 levels'),
    ('\xff\xfe', 'UTF-8|cannot')])
def test_files_that_are_no_croissant(tmp_path, text, message):
    testing.write(tmp_path, 'croissant.json', text)
    with pytest.raises(ConfigError, match=message):
        listing.list_media(_source(tmp_path))


def test_archives_that_cannot_be_read_in_place(tmp_path):
    testing.write(tmp_path, 'a.zip', b'PK')
    _write(tmp_path, [_file(tmp_path, 'a.zip', 'application/zip'), _file_set(containedIn={'@id': 'a.zip'})],
           [_record_set(*_in_folders()[:2])], validate=False)
    with pytest.raises(ConfigError, match='a.zip is an archive that cannot be read in place. Unpack it'):
        listing.list_media(_source(tmp_path))


def test_record_sets_that_could_both_be_meant(tmp_path):
    content = _valid(tmp_path)
    other = json.loads(json.dumps(content['recordSet'][0]).replace('images', 'more'))
    testing.write(tmp_path, 'croissant.json', json.dumps({**content, 'recordSet': [content['recordSet'][0], other]}))
    with pytest.raises(ConfigError, match="2 record sets have labels, images, more.*manifest='croissant.json#images'"):
        listing.list_media(_source(tmp_path))
    assert len(_entries(_source(tmp_path, manifest='croissant.json#more'))) == 1
    with pytest.raises(ConfigError, match='no record set none; it has images, more'):
        listing.list_media(_source(tmp_path, manifest='croissant.json#none'))
    assert len(_entries(_source(tmp_path, manifest='croissant.json#more', columns=Columns(label='label')))) == 1


@pytest.mark.usefixtures('in_a_child')
def test_an_expression_that_takes_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr('media.sandbox.tables._SECONDS', 2.0)
    testing.write(tmp_path, 'a' * 60 + '!/1.png', b'x')
    fields = _in_folders()[:2]
    fields[1]['source']['transform']['regex'] = '^((a+)+)+$'
    _write(tmp_path, [_file_set()], [_record_set(*fields)])
    with pytest.raises(ConfigError, match='cannot be used .too_slow'):
        listing.list_media(_source(tmp_path))

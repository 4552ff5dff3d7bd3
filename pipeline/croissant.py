"""`polyvit data export`: writes what a config's tasks are made of as Croissant files, for other tools and for sharing.

A task becomes two files: NAME.croissant.parquet has a row per example, NAME.croissant.json describes it and the media.
Their paths are relative to the task's data folder, where they belong. Source: the Croissant Format Specification 1.1.
"""

import collections
import contextlib
import datetime
import json
import mimetypes
import os
import posixpath
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.parquet as pq

from media import listing
from media.entries import TEXT, Entry
from media.listing import hugging_face
from media.listing.croissant import CONFORMS_TO, LOCATION
from model_code import file_io, words
from model_code.data import Source
from model_code.errors import ConfigError
from model_code.modalities import get_modality
from pipeline import checks

UNKNOWN = 'unknown'
_BATCH_ROWS = 10_000
# What the standard library's table lacks or says in several ways; the names that Croissant's tools know.
_TYPES = {'.parquet': 'application/x-parquet', '.tar': 'application/x-tar', '.jpg': 'image/jpeg', '.wav': 'audio/wav',
          '.flac': 'audio/flac', '.webp': 'image/webp', '.mkv': 'video/x-matroska'}
_CONTEXT = {
    '@language': 'en', '@vocab': 'https://schema.org/', 'arrayShape': 'cr:arrayShape', 'citeAs': 'cr:citeAs',
    'column': 'cr:column', 'conformsTo': 'dct:conformsTo', 'containedIn': 'cr:containedIn',
    'cr': 'http://mlcommons.org/croissant/', 'rai': 'http://mlcommons.org/croissant/RAI/',
    'data': {'@id': 'cr:data', '@type': '@json'}, 'dataType': {'@id': 'cr:dataType', '@type': '@vocab'},
    'dct': 'http://purl.org/dc/terms/', 'description': {'@container': '@language'},
    'equivalentProperty': 'cr:equivalentProperty', 'examples': {'@id': 'cr:examples', '@type': '@json'},
    'extract': 'cr:extract', 'field': 'cr:field', 'fileObject': 'cr:fileObject', 'fileProperty': 'cr:fileProperty',
    'fileSet': 'cr:fileSet', 'format': 'cr:format', 'includes': 'cr:includes', 'isArray': 'cr:isArray',
    'isLiveDataset': 'cr:isLiveDataset', 'jsonPath': 'cr:jsonPath', 'key': 'cr:key', 'md5': 'cr:md5',
    'name': {'@container': '@language'}, 'parentField': 'cr:parentField', 'path': 'cr:path',
    'recordSet': 'cr:recordSet', 'references': 'cr:references', 'regex': 'cr:regex', 'repeated': 'cr:repeated',
    'replace': 'cr:replace', 'samplingRate': 'cr:samplingRate', 'sc': 'https://schema.org/',
    'separator': 'cr:separator', 'source': 'cr:source', 'subField': 'cr:subField', 'transform': 'cr:transform'}


def export(config, folder: str = '', about: dict[str, str] | None = None) -> list[str]:
    """Writes the Croissant files of all tasks. Returns a line about each.

    folder: where to, in place of each task's data folder. about: license, url and creator, as far as they are known.
    Raises ConfigError if the media cannot be listed, or a file cannot be written.
    """
    checks.use_file_systems(config)
    about = {key: value for key, value in (about or {}).items() if value}
    lines = []
    for task in config.mixture.tasks:
        source = task.source
        to = folder or source.data.folder
        listed = listing.list_media(source)
        table = posixpath.join(to, f'{source.name}{hugging_face.EXPORTED}')
        path = posixpath.join(to, f'{source.name}.croissant.json')
        try:
            with file_io.replacing(table) as temporary:
                found = _write_table(source, listed.entries, temporary)
                content = _describe(source, found, os.path.basename(table), file_io.content_hash(temporary), about)
            file_io.write(path, json.dumps(content, indent=1, ensure_ascii=False) + '\n')
        except OSError as error:
            raise ConfigError(f'Task {source.name}: {to} cannot be written ({error.strerror or error}). Name another '
                              'folder with -o.') from error
        lines.append(f'{path}: {words.count(found.examples, "example")} of {source.name} ({table})')
        missing = [key for key in ('license', 'url', 'creator') if key not in about]
        if missing:
            lines.append(f'  says {UNKNOWN!r} of its {", ".join(missing)}: give --{" --".join(missing)}')
    return lines


class _Found:
    """What the examples of a task consist of. endings: of media files, and how many. containers: of other media."""

    def __init__(self):
        self.examples, self.endings, self.containers = 0, collections.Counter(), {}

    def add(self, entry: Entry):
        self.examples += 1
        if entry.member:
            self.containers[entry.path] = None
        else:
            self.endings[posixpath.splitext(entry.path)[1]] += 1


def _write_table(source: Source, entries: Iterable[Entry], path: str) -> _Found:
    """Writes a row per example, in the order of the listing. Holds a batch of them."""
    found, rows = _Found(), []
    schema = _schema(source)
    with contextlib.closing(pq.ParquetWriter(path, schema)) as writer:
        for entry in entries:
            if entry.record == TEXT:
                raise ConfigError(f'Task {source.name}: {entry.path} has its texts in its rows, of which an export has '
                                  'no place. Share that file itself, or write each text into a file of its own.')
            found.add(entry)
            rows.append(_row(source, entry))
            if len(rows) == _BATCH_ROWS:
                writer.write_table(pa.Table.from_pylist(rows, schema))
                rows.clear()
        writer.write_table(pa.Table.from_pylist(rows, schema))
    return found


def _schema(source: Source) -> pa.Schema:
    data, text = source.data, pa.string()
    columns = [('id', text), ('path', text), ('split', text)]
    if data.label_groups:
        columns += [(group, text) for group in data.label_groups]
    else:
        columns.append(('labels', pa.list_(text)) if data.kind.several else ('label', text))
    columns += [('group', text)] + [(name, text) for name in data.columns.extra]
    columns += [(data.columns.text, text)] if source.captioned else []
    if get_modality(source.modality).timed:
        columns += [('start', pa.float64()), ('end', pa.float64())]
    columns += [(name, pa.int64() if name in ('offset', 'length') else text) for name in LOCATION]
    twice = [name for name, count in collections.Counter(name for name, _ in columns).items() if count > 1]
    if twice:
        raise ConfigError(f'Task {source.name}: {twice[0]!r} is the name of a label group or of an extra column, and '
                          'of a column that an export has itself. Rename it.')
    return pa.schema(columns)


def _row(source: Source, entry: Entry) -> dict:
    data = source.data
    row = {'id': entry.id, 'path': entry.path, 'split': entry.split, 'group': entry.group or None, **dict(entry.extra)}
    if data.label_groups:
        row |= {group: label[len(group) + 1:] for group, label in zip(data.label_groups, entry.labels, strict=True)}
    elif data.kind.several:
        row['labels'] = list(entry.labels)
    else:
        row['label'] = entry.labels[0]
    if source.captioned:
        row[data.columns.text] = entry.text
    return row | {name: getattr(entry, name) for name in ('start', 'end', *LOCATION)}


def _describe(source: Source, found: _Found, table: str, sha256: str, about: dict[str, str]) -> dict:
    """The Croissant file of a task: a table of its examples, the media, their splits."""
    name = source.name
    media = f'{source.modality.capitalize()}Object'
    distribution: list[dict] = [_file_object('table', table, sha256)]
    if found.endings:
        distribution.append({'@type': 'cr:FileSet', '@id': 'media-files', 'name': 'media-files',
                             'description': 'The media that have a file of their own.',
                             'encodingFormat': sorted({_type(ending) for ending in found.endings}),
                             'includes': sorted(f'*{ending}' for ending in found.endings)})
    for i, path in enumerate(found.containers):
        distribution.append(_file_object(f'container-{i}', path, file_io.content_hash(
            posixpath.join(source.data.folder, path))))
    splits = {'@type': 'cr:RecordSet', '@id': 'splits', 'name': 'splits', 'dataType': 'cr:Split',
              'description': 'What the splits are for.', 'key': {'@id': 'splits/name'},
              'field': [{'@type': 'cr:Field', '@id': 'splits/name', 'name': 'name', 'dataType': 'sc:Text'},
                        {'@type': 'cr:Field', '@id': 'splits/url', 'name': 'url', 'dataType': 'sc:URL'}],
              'data': [{'splits/name': 'train', 'splits/url': 'cr:TrainingSplit'},
                       {'splits/name': 'eval', 'splits/url': 'cr:TestSplit'}]}
    kinds = {'offset': 'sc:Integer', 'length': 'sc:Integer', 'start': 'sc:Float', 'end': 'sc:Float'}
    labels = [*source.data.label_groups] or ['labels', 'label']
    fields = [_field(column, {'fileObject': {'@id': 'table'}, 'extract': {'column': column}},
                     ['sc:Text', 'cr:Label'] if column in labels else kinds.get(column, 'sc:Text'))
              for column in _schema(source).names]
    for field in fields:
        field['description'] = _MEANINGS.get(field['name'], 'A column of the source.')
        if field['name'] == 'labels':
            field |= {'isArray': True, 'arrayShape': '-1'}
    record_sets = [splits, {'@type': 'cr:RecordSet', '@id': 'examples', 'name': 'examples',
                            'description': 'An example per row.', 'key': {'@id': 'examples/id'}, 'field': fields}]
    if found.endings:
        record_sets.append({
            '@type': 'cr:RecordSet', '@id': 'media', 'name': 'media', 'key': {'@id': 'media/path'},
            'description': 'The media files. Their path is that of the examples.',
            'field': [_field('path', {'fileSet': {'@id': 'media-files'}, 'extract': {'fileProperty': 'fullpath'}},
                             'sc:Text', 'media'),
                      _field('content', {'fileSet': {'@id': 'media-files'}, 'extract': {'fileProperty': 'content'}},
                             f'sc:{media}', 'media')]})
    creator = about.get('creator', UNKNOWN)
    return {
        '@context': _CONTEXT, '@type': 'sc:Dataset', 'conformsTo': CONFORMS_TO, 'name': name,
        'description': f'{found.examples:,} labelled examples ({source.modality}) of the task {name}, as polyvit lists '
                       'them. Paths are relative to the folder of the media.',
        'license': about.get('license', UNKNOWN), 'url': about.get('url', UNKNOWN),
        'creator': {'@type': 'sc:Organization', 'name': creator},
        'datePublished': datetime.datetime.now(datetime.timezone.utc).date().isoformat(), 'version': '1.0.0',
        'distribution': distribution, 'recordSet': record_sets}


_MEANINGS = {
    'id': 'The name of the example, unique in this data set.', 'path': 'The file that holds the media.',
    'split': 'train or eval.', 'label': 'The class.', 'labels': 'The classes.',
    'group': 'What the example belongs to, such as a speaker or a scene.',
    'start': 'Where the example begins in its file, in seconds; none for the beginning.',
    'end': 'Where it ends, in seconds; none for the end of the file.',
    'offset': 'The first byte of the media in the file; the row in the row group, in a Parquet file.',
    'length': 'Bytes of the media; -1 for all up to the end of the file.',
    'member': 'The name in the archive, or the number of the record; empty for a file of its own.',
    'record': "The kind of record: cifar10, cifar100, 'parquet:<row group>:<column>'; empty for a media file."}


def _file_object(name: str, path: str, sha256: str) -> dict:
    return {'@type': 'cr:FileObject', '@id': name, 'name': posixpath.basename(path),
            'contentUrl': path, 'encodingFormat': _type(posixpath.splitext(path)[1]), 'sha256': sha256}


def _field(name: str, source: dict, data_type, record_set: str = 'examples') -> dict:
    return {'@type': 'cr:Field', '@id': f'{record_set}/{name}', 'name': name, 'dataType': data_type, 'source': source}


def _type(ending: str) -> str:
    ending = ending.lower()
    return _TYPES.get(ending) or mimetypes.guess_type(f'x{ending}')[0] or 'application/octet-stream'

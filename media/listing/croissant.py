"""Croissant files: JSON-LD that says which files a data set has, and where their labels and splits are.

What describes labelled media is read: columns of CSV, JSON lines and Parquet files, properties of files with
regular expressions, joins of the two, enumerations and splits that are written into the file. Whatever else a record
set uses is an error that names it. Nothing is fetched. All files are below the data folder; of a Croissant file
elsewhere, which the config must name, the tables are in its own folder. It can point nowhere else.

Source: Croissant Format Specification 1.1 (docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html).
"""

import contextlib
import dataclasses
import fnmatch
import functools
import json
import os
import posixpath
import re

from media import paths
from media.listing import columnar, files, manifests, tars
from media.listing.annotations import Annotations, GroupColumn, number_names, shown
from media.listing.collector import SPLITS, Collector
from media.listing.folders import media_endings
from media.listing.manifests import JsonRows
from media.rejections import Rejection
from media.sandbox.tables import TableReader
from model_code import file_io
from model_code.data import Columns
from model_code.errors import ConfigError
from model_code.urls import is_url

CONFORMS_TO = 'http://mlcommons.org/croissant/1.1'
_READ = (CONFORMS_TO, 'http://mlcommons.org/croissant/1.0')
_MAX_BYTES = 16 << 20
_MAX_DEPTH = 40
_MAX_PATTERN = 1_000  # characters of a pattern
_MAX_ABOUT, _MAX_TEXTS = 500, 10  # characters of a name, a license or an address; and so many of each
_NAMESPACES = re.compile(r'https?://(?:www\.)?(?:mlcommons\.org/croissant/|schema\.org/|purl\.org/dc/terms/|'
                         r'www\.wikidata\.org/entity/)')
_MEDIA_TYPES = ('ImageObject', 'AudioObject', 'VideoObject')
_SPLIT_TYPES = ('Split', 'Q3985153')  # of Wikidata: as version 1.0 says it
_SPLIT_URLS = {'TrainingSplit': 'train', 'ValidationSplit': 'eval', 'TestSplit': 'eval', 'Q3985153': 'train',
               'training_split': 'train', 'validation_split': 'eval', 'test_split': 'eval'}
_TABLES = {'text/csv': 'csv', 'application/jsonlines': 'jsonl', 'application/x-ndjson': 'jsonl',
           'application/jsonl': 'jsonl', 'application/x-parquet': 'parquet',
           'application/vnd.apache.parquet': 'parquet'}
_TABLE_ENDINGS = ('.csv', '.jsonl', '.ndjson', '.parquet')
# Columns in which `polyvit data export` says where the media of a row are.
LOCATION = ('offset', 'length', 'member', 'record')


def add_all(collector: Collector):
    """Adds the records of each Croissant file: of its record set with media and labels, or of the one after a '#'."""
    for manifest in collector.data.manifest:
        name, _, record_set = manifest.partition('#')
        root, name = _place(collector.data.folder, name)
        where = f'Task {collector.source.name}: the Croissant file {name} in {root or collector.data.folder}'
        content = _load(root or collector.data.folder, name, where)
        collector.about = _about(content) | collector.about
        described = _Described(content, posixpath.dirname(name), where, root)
        _Records(collector, described, described.record_set(collector, record_set)).add_all()


def _place(folder: str, name: str) -> tuple[str, str]:
    """(the folder of a Croissant file that is not below the data folder, or '', its path in there, or below that)."""
    name = os.path.expanduser(name)
    if not (is_url(name) or os.path.isabs(name)):
        return '', name
    if paths.is_inside(name, folder):
        return '', name[len(folder.rstrip('/')) + 1:]
    return posixpath.split(name)


def _load(root: str, name: str, where: str) -> dict:
    """The JSON object of a Croissant file, its keys and types without namespaces."""
    with files.open_text(root, name, _MAX_BYTES) as text:
        try:
            loaded = json.loads(text.read())
            if not isinstance(loaded, dict):
                raise ConfigError(f'{where} is no JSON object. (JSON lines end in .jsonl.)')
            context = loaded.pop('@context', None)
            prefixes = {key: value for key, value in context.items() if isinstance(value, str)} \
                if isinstance(context, dict) else {}
            content: dict = {_term(key, prefixes): _plain(value, prefixes) for key, value in loaded.items()}
        except (ValueError, RecursionError) as error:
            if isinstance(error, ConfigError):
                raise
            if isinstance(error, RecursionError):
                raise ConfigError(f'{where} cannot be read: it is nested too deeply.') from error
            raise ConfigError(f'{where} cannot be read: {paths.shown(str(error))}.') from error
    versions = [version for version in _many(content.get('conformsTo')) if isinstance(version, str)]
    if not any(version.rstrip('/') in _READ for version in versions):
        said = f'it says {shown(versions)}' if versions else 'it says nothing'
        raise ConfigError(f'{where} does not conform to {" or ".join(_READ)}: {said}. (JSON lines end in .jsonl.)')
    return content


def _plain(value, prefixes: dict[str, str], depth: int = 0):
    if depth > _MAX_DEPTH:
        raise ValueError(f'it is nested too deeply, in more than {_MAX_DEPTH} levels')
    if isinstance(value, list):
        return [_plain(item, prefixes, depth + 1) for item in value]
    if isinstance(value, dict):
        if set(value) == {'@value'}:
            return value['@value']
        return {_term(key, prefixes): item if key in ('data', 'cr:data', '@id') else _plain(item, prefixes, depth + 1)
                for key, item in value.items()}
    return value


def _term(key: str, prefixes: dict[str, str]) -> str:
    """A key without its namespace: 'recordSet' of 'cr:recordSet' and 'http://mlcommons.org/croissant/recordSet'."""
    prefix, colon, rest = key.partition(':')
    if colon and prefix in prefixes and not rest.startswith('//'):
        key = prefixes[prefix] + rest
    return _NAMESPACES.sub('', key, 1)


def _about(content: dict) -> dict[str, str]:
    """What a Croissant file says of its data set: name, license, url, as far as it does."""
    said = {}
    for key in ('name', 'license', 'url'):
        texts = [item if isinstance(item, str) else item.get('url') or _id(item) if isinstance(item, dict) else ''
                 for item in _many(content.get(key))]
        found = [paths.shown(text.strip(), _MAX_ABOUT) for text in texts if isinstance(text, str) and text.strip()]
        if found:
            said[key] = ', '.join(found[:_MAX_TEXTS])
    return said


def _types(node: dict, key: str) -> set[str]:
    """The types of a node, without namespaces."""
    found = [item.get('@id') if isinstance(item, dict) else item for item in _many(node.get(key))]
    return {re.split('[:/#]', text)[-1] for text in found if isinstance(text, str)}


def _many(value) -> list:
    return value if isinstance(value, list) else [] if value is None else [value]


def _id(node) -> str:
    """The id of a node, or of a reference to one."""
    if isinstance(node, str):
        return node
    name = node.get('@id') or node.get('name') if isinstance(node, dict) else None
    return name if isinstance(name, str) else ''


@dataclasses.dataclass(frozen=True)
class _Source:
    """Where the values of a field are: a column of tables, or a property of files; the transforms to be applied."""
    resource: str
    column: str = ''
    file_property: str = ''
    transforms: tuple[dict, ...] = ()


class _Described:
    """The resources, record sets and fields of a Croissant file, by their ids.

    folder: that of the file, below the data folder. root: that of a file elsewhere, in which its tables are; else ''.
    """

    def __init__(self, content: dict, folder: str, where: str, root: str):
        self.where, self.folder, self.root = where, folder, root
        self.resources = {_id(node): node for node in _many(content.get('distribution')) if isinstance(node, dict)}
        self.record_sets = {_id(node): node for node in _many(content.get('recordSet')) if isinstance(node, dict)}
        self.fields = {_id(field): field for node in self.record_sets.values() for field in _many(node.get('field'))
                       if isinstance(field, dict)}

    def error(self, text: str) -> ConfigError:
        return ConfigError(f'{self.where}: {text}')

    def record_set(self, collector: Collector, name: str) -> dict:
        """The record set of the task: the one of this name, or the only one that has labels."""
        if name:
            if name not in self.record_sets:
                raise self.error(f'it has no record set {paths.shown(name)}; it has {shown(list(self.record_sets))}.')
            return self.record_sets[name]
        labelled = {key: node for key, node in self.record_sets.items()
                    if node.get('data') is None and _Records(collector, self, node).has_labels}
        fitting = {key: node for key, node in labelled.items()
                   if f'{collector.source.modality.capitalize()}Object' in set().union(
                       *(_types(field, 'dataType') for field in _many(node.get('field'))))} or labelled
        if len(fitting) == 1:
            return next(iter(fitting.values()))
        if not fitting:
            raise self.error(f'no record set has a field with labels (of type cr:Label, or named label or labels); its '
                             f'fields are {shown(list(self.fields))}. Name one with columns=Columns(label=...).')
        raise self.error(f'{len(fitting)} record sets have labels, {shown(list(fitting))}. Name one after a #: '
                         f"manifest='croissant.json#{next(iter(fitting))}'.")

    def source(self, field: dict, seen: tuple[str, ...] = ()) -> _Source | None:
        """Where the values of a field are; None if nothing says so."""
        return self._source_of(field.get('source'), f'the field {paths.shown(_id(field))}', (*seen, _id(field)))

    def _source_of(self, node, who: str, seen: tuple[str, ...]) -> _Source | None:
        if node is None:
            return None
        if isinstance(node, str) or isinstance(node, dict) and set(node) == {'@id'}:
            node = {'field': {'@id': _id(node)}}
        if not isinstance(node, dict):
            raise self.error(f'{who} has a source that is no object.')
        if 'field' in node or 'recordSet' in node:
            target = _id(node.get('field'))
            if target not in self.fields:
                raise self.error(f'{who} takes its values from {paths.shown(target or "a record set")}, which is no '
                                 'field of this file.')
            if target in seen or len(seen) > 20:
                raise self.error(f'{who} takes its values from itself.')
            inner = self.source(self.fields[target], seen)
            return inner and dataclasses.replace(inner, transforms=(*inner.transforms, *self._transforms(node, who)))
        resource = _id(node.get('fileObject')) or _id(node.get('fileSet')) or _id(node.get('distribution'))
        if resource not in self.resources:
            raise self.error(f'{who} takes its values from {paths.shown(resource) or "nothing"}, which is not in the '
                             'distribution.')
        extract = node.get('extract')
        extract = extract if isinstance(extract, dict) else {}
        other = set(extract) - {'column', 'fileProperty', '@id', '@type'}
        if other:
            raise self.error(f'{who} is extracted by {shown(sorted(other))}; columns and file properties are read.')
        column, file_property = extract.get('column') or '', extract.get('fileProperty') or ''
        if file_property not in ('', 'content', 'fullpath', 'filepath', 'filename'):
            raise self.error(f'{who} is the file property {file_property!r}; content, fullpath and filename are read.')
        if not isinstance(column, str) or not (column or file_property):
            raise self.error(f'{who} says neither a column nor a file property in `extract`.')
        return _Source(resource, column, file_property, tuple(self._transforms(node, who)))

    def _transforms(self, node: dict, who: str) -> list[dict]:
        found = []
        for transform in _many(node.get('transform')):
            kinds = set(transform) - {'@id', '@type'} if isinstance(transform, dict) else set()
            if not kinds <= {'regex', 'separator'} or not kinds:
                raise self.error(f'{who} has the transform {shown(sorted(kinds)) or "of no kind"}; regex and separator '
                                 'are read.')
            if len(str(transform.get('regex', ''))) > _MAX_PATTERN:
                raise self.error(f'{who} has a regular expression of more than {_MAX_PATTERN:,} characters.')
            found.append(transform)
        return found

    def values(self, source: _Source, inner_paths: list[str], reader: TableReader) -> list[str | None]:
        """The property of each file that a field is, after its transforms; None where an expression matches nothing."""
        texts = [path.rpartition('/')[2] if source.file_property == 'filename' else path for path in inner_paths]
        patterns = [str(transform['regex']) for transform in source.transforms if 'regex' in transform]
        try:
            return reader.extract(patterns, texts) if patterns else list(texts)
        except Rejection as rejection:
            raise self.error(f'the regular expressions {shown(patterns)} cannot be used ({rejection.reason}): '
                             f'{rejection.detail}') from rejection

    def names_of(self, field: dict) -> dict[str, str]:
        """key -> name of the enumeration, or url of the split, that a field references; {} if it references none."""
        for reference in _many(field.get('references')):
            target = _id(reference.get('field') or reference) if isinstance(reference, dict) else _id(reference)
            for record_set in self.record_sets.values():
                names = [_id(one) for one in _many(record_set.get('field'))]
                if target not in names or not isinstance(record_set.get('data'), list):
                    continue
                is_split = bool(_types(record_set, 'dataType') & set(_SPLIT_TYPES))
                wanted = 'url' if is_split else 'name'
                value = next((name for name in names if name.split('/')[-1] == wanted), None)
                value = value or next((name for name in names if name != target), target)
                return {str(row[target]): str(row[value]) for row in record_set['data']
                        if isinstance(row, dict) and target in row and value in row}
        return {}

    def files(self, resource: str, collector: Collector, seen: tuple[str, ...] = ()) -> list[tuple[str, dict]]:
        """(path below the data folder, location of an Entry) of the files of a FileObject or FileSet."""
        node, who = self.resources[resource], f'{paths.shown(resource)} of its distribution'
        if resource in seen:
            raise self.error(f'{who} is contained in itself.')
        containers = [_id(item) for item in _many(node.get('containedIn'))]
        if any(isinstance(item, dict) and set(item) - {'@id'} for item in _many(node.get('containedIn'))):
            raise self.error(f'{who} is contained in a source with transforms, which is not read.')
        missing = [container for container in containers if container not in self.resources]
        if missing:
            raise self.error(f'{who} is contained in {shown(missing)}, which is not in the distribution.')
        if 'includes' not in node:
            if containers:
                url = str(node.get('contentUrl', ''))
                return [(path, place) for container in containers for path, place in self._inside(
                    container, collector, seen + (resource,)) if self.inner(path, place) == url]
            return [(self._local(node, who), {})]
        patterns = [re.compile(fnmatch.translate(self._pattern(text, who))) for text in _many(node['includes'])]
        excluded = [re.compile(fnmatch.translate(self._pattern(text, who))) for text in _many(node.get('excludes'))]
        inside = ([item for container in containers for item in self._inside(container, collector, (*seen, resource))]
                  if containers else self._below(self.folder, collector))
        return [(path, place) for path, place in inside
                if any(pattern.match(self.inner(path, place)) for pattern in patterns)
                and not any(pattern.match(self.inner(path, place)) for pattern in excluded)]

    def _pattern(self, text, who: str) -> str:
        if not isinstance(text, str) or len(text) > _MAX_PATTERN:
            raise self.error(f'{who} has a pattern that is no text of up to {_MAX_PATTERN:,} characters.')
        return text.removeprefix('./')

    def inner(self, path: str, place: dict) -> str:
        """The path within the folder of the Croissant file, or within an archive."""
        return place.get('member') or (posixpath.relpath(path, self.folder) if self.folder else path)

    def _inside(self, container: str, collector: Collector, seen) -> list[tuple[str, dict]]:
        """The files of a container: a folder, an archive, or a FileSet."""
        node, root = self.resources[container], collector.data.folder
        if 'includes' in node:
            return self.files(container, collector, seen)
        path = self._local(node, f'{paths.shown(container)} of its distribution')
        if path.lower().endswith('.tar'):
            found = []
            with files.open_file(root, path) as file:
                for member in tars.members(file):
                    if not member.rejection:
                        found.append((path, {'offset': member.offset, 'length': member.size, 'member': member.name}))
            return found
        if re.search(r'\.(zip|gz|tgz|bz2|xz|7z|rar|zst)$', path.lower()):
            raise self.error(f'{paths.shown(path)} is an archive that cannot be read in place. Unpack it, and write '
                             'the folder as its contentUrl; .tar files are read as they are.')
        return self._below(path, collector)

    def _below(self, folder: str, collector: Collector) -> list[tuple[str, dict]]:
        prefix = f'{folder}/' if folder not in ('', '.') else ''
        walked = files.walk(collector.data.folder, (*media_endings(collector.source.modality), *_TABLE_ENDINGS))
        return [(path, {}) for path in walked.files if path.startswith(prefix)]

    def _local(self, node: dict, who: str) -> str:
        """The path of a FileObject below the data folder. Raises ConfigError if it must be fetched first."""
        url = node.get('contentUrl')
        if not isinstance(url, str):
            raise self.error(f'{who} has no contentUrl.')
        if is_url(url) or url.startswith(('git+', 'file:', 'data:')):
            raise self.error(f'{who} is at {paths.shown(url)}. Nothing is fetched: download it into the data folder, '
                             'and write its path there as contentUrl.')
        try:
            if url.strip('./') == '':
                return self.folder or '.'
            return paths.safe_path(posixpath.join(self.folder, url))
        except Rejection as rejection:
            raise self.error(f'{who}: {rejection.detail}') from rejection


class _Records:
    """One record set of a Croissant file, as examples of a task."""

    def __init__(self, collector: Collector, described: _Described, node: dict):
        self._collector, self._described = collector, described
        self._fields = {_id(field).split('/')[-1]: field for field in _many(node.get('field'))
                        if isinstance(field, dict)}
        self._name = _id(node)
        data, names = collector.data, collector.data.columns
        if data.label_groups:
            self._labels = [name for name in data.label_groups if name in self._fields]
        else:
            typed = [name for name, field in self._fields.items() if 'Label' in _types(field, 'dataType')]
            named = [name for name in ([names.label] if names.label else ['label', 'labels']) if name in self._fields]
            self._labels = named[:1] or typed[:1] * (not names.label)

    @property
    def has_labels(self) -> bool:
        return bool(self._labels)

    def _source(self, name: str) -> _Source | None:
        return self._described.source(self._fields[name]) if name in self._fields else None

    def add_all(self):
        described = self._described
        if not self._labels:
            raise described.error(f'the record set {paths.shown(self._name)} has no field with labels (of type '
                                  f'cr:Label, or named label or labels); its fields are {shown(list(self._fields))}. '
                                  'Name one with columns=Columns(label=...).')
        nested = [name for name, field in self._fields.items() if field.get('subField') and name in self._labels]
        if nested:
            raise described.error(f'the field {nested[0]} has subFields, which are not read as labels.')
        sources = {name: self._source(name) for name in self._fields if not self._fields[name].get('subField')}
        label = sources[self._labels[0]]
        if label is None:
            raise described.error(f'the field {self._labels[0]} has no source.')
        split_name = self._split_name()
        with TableReader(self._table_root(label.resource) or self._collector.data.folder) as reader:
            (self._add_tables if label.column else self._add_files)(sources, label, split_name, reader)

    def _table_root(self, resource: str) -> str:
        """The folder of the tables of a resource: '' for the data folder, as for sets of files and what is in them."""
        node = self._described.resources[resource]
        return '' if 'includes' in node or 'containedIn' in node else self._described.root

    def _split_name(self) -> str:
        """The name of the field with the split; '' if there is none."""
        named = self._collector.data.columns.split
        if named in self._fields:
            return named
        for name, field in self._fields.items():
            if _types(field, 'dataType') & set(_SPLIT_TYPES) or any(
                    self._referenced_split(reference) for reference in _many(field.get('references'))):
                return name
        return ''

    def _referenced_split(self, reference) -> bool:
        target = _id(reference.get('field') or reference) if isinstance(reference, dict) else _id(reference)
        return any(_types(node, 'dataType') & set(_SPLIT_TYPES) and target in map(_id, _many(node.get('field')))
                   for node in self._described.record_sets.values())

    def _splits(self, name: str) -> dict[str, str]:
        """The values of the split field -> the name of a split, by the meaning that their enumeration gives them."""
        if not name:
            return {}
        urls = self._described.names_of(self._fields[name])
        meanings = {value: _SPLIT_URLS.get(re.split('[:/#]', url)[-1], '') for value, url in urls.items()}
        return {value: meaning for value, meaning in meanings.items() if meaning and value.lower() not in SPLITS}

    # Labels in properties of files.

    def _add_files(self, sources: dict, label: _Source, split_name: str, reader: TableReader):
        described, collector = self._described, self._collector
        others = [name for name, source in sources.items() if name in (*self._labels, split_name) and source
                  and source.resource != label.resource]
        if others:
            raise described.error(f'the fields {shown([*self._labels, *others])} are of different files, and no column '
                                  'joins them.')
        splits, class_names = self._splits(split_name), self._class_names(self._labels[0])
        rows = JsonRows(collector, Annotations(posixpath.basename(described.where), splits=splits,
                                               names={self._label_key(): class_names} if class_names else {}))
        found = described.files(label.resource, collector)
        inner = [described.inner(path, place) for path, place in found]
        data = collector.data
        fields = {self._label_key(i): name for i, name in enumerate(self._labels)}
        fields |= {data.columns.split or 'split': split_name} | {name: name for name in (
            *data.columns.extra, data.group_column)}
        group_column = GroupColumn(data.group_column)
        group_column.see(self._fields)
        group_column.check(f'{described.where}, record set {paths.shown(self._name)},')
        values = {key: described.values(sources[name], inner, reader) for key, name in fields.items()
                  if name and sources.get(name)}
        for i, (path, place) in enumerate(found):
            try:
                safe = paths.safe_path(path)
            except Rejection as rejection:
                collector.reject(rejection.at(path))
            else:
                rows.add('', {key: column[i] for key, column in values.items()}, safe, **place)

    def _label_key(self, number: int = 0) -> str:
        data = self._collector.data
        return data.label_groups[number] if data.label_groups else data.columns.label or 'label'

    def _class_names(self, name: str) -> dict[str, str]:
        where, names = self._described.where, self._described.names_of(self._fields[name])
        return dict(zip(names, number_names(where, list(names.values())).values(), strict=True))

    # Labels in columns of tables.

    def _add_tables(self, sources: dict, label: _Source, split_name: str, reader: TableReader):
        described, collector = self._described, self._collector
        data = collector.data
        plain = [name for name in (*self._labels, split_name, data.columns.start, data.columns.end, data.group_column,
                                   *data.columns.extra) if sources.get(name) is not None]
        by_file = sources.get(split_name) if split_name in plain and not sources[split_name].column else None
        for name in plain:
            source = sources[name]
            regex = [one for one in source.transforms if 'regex' in one]
            if source.resource != label.resource or not source.column and name != split_name:
                raise described.error(f'the field {name} is not a column of {label.resource}, as the labels are.')
            if source.column and regex:
                raise described.error(f'the field {name} has a regex on a column, which is not read.')
        path_name, find = self._media(sources, label, reader)
        separators = [one['separator'] for one in label.transforms if 'separator' in one]
        column = {name: sources[name].column for name in plain}
        columns = dataclasses.replace(
            data.columns, path=sources[path_name].column, label='' if data.label_groups else label.column,
            split=column.get(split_name, '') if by_file is None else '',
            start=column.get(data.columns.start, ''), end=column.get(data.columns.end, ''))
        changed = dataclasses.replace(data, columns=columns, groups=column.get(data.group_column, data.groups),
                                      label_separator=str(separators[0]) if separators else data.label_separator)
        location = [sources[name].column for name in LOCATION if sources.get(name)] if all(
            sources.get(name) and sources[name].column == name for name in LOCATION) else []
        names = {sources[name].column: self._class_names(name) for name in self._labels}
        with _data(collector, changed):
            for path, place in described.files(label.resource, collector):
                if place:
                    raise described.error(f'{paths.shown(path)} holds the table {place["member"]}. Unpack it.')
                format_name = self._check_table(label.resource, path)
                annotations = Annotations(
                    path, f'{described.folder}/' if described.folder and not find else '',
                    described.values(by_file, [described.inner(path, {})], reader)[0] if by_file else None,
                    names={name: one for name, one in names.items() if one}, splits=self._splits(split_name), find=find,
                    location=tuple(location), root=self._table_root(label.resource))
                if format_name == 'parquet':
                    columnar.add_file(collector, annotations, reader)
                else:
                    manifests.add_file(collector, annotations, format_name)

    def _media(self, sources: dict, label: _Source, reader: TableReader):
        """(the field that says the media of a row, a function that finds them by its value, or None if it is a path or
        the media themselves)."""
        described, collector = self._described, self._collector
        in_table = {name: source for name, source in sources.items()
                    if source and source.resource == label.resource and source.column}
        for name in in_table:
            if _types(self._fields[name], 'dataType') & set(_MEDIA_TYPES):
                return name, None
        # A column that a property of files references, or the other way round.
        for name, field in self._fields.items():
            for reference in _many(field.get('references')):
                target = described._source_of(reference, f'a reference of {paths.shown(name)}', (name,)) if isinstance(
                    reference, dict) and _id(reference.get('field') or reference) not in {
                        key for node in described.record_sets.values() if isinstance(node.get('data'), list)
                        for key in map(_id, _many(node.get('field')))} else None
                source = sources.get(name)
                pair = [one for one in (source, target) if one]
                column = next((one for one in pair if one.column and one.resource == label.resource), None)
                by_file = next((one for one in pair if one.file_property), None)
                if column and by_file:
                    key = next((other for other, one in in_table.items() if one.column == column.column), name)
                    if key not in in_table:
                        sources[key] = column
                    return key, functools.partial(_find, self._by_property(by_file, reader))
        for name in (collector.data.columns.path, Columns().path, 'file_name', 'filename', 'file'):
            if name in in_table:
                return name, None
        raise described.error(f'the record set {paths.shown(self._name)} does not say which file a row is of: no field '
                              'has media, the property of a file that it references, or the name path. Its fields are '
                              f'{shown(list(self._fields))}.')

    def _by_property(self, source: _Source, reader: TableReader) -> dict[str, tuple[str, dict]]:
        """The value of a property -> the file that has it; of several, the first by its path."""
        described = self._described
        found = sorted(described.files(source.resource, self._collector), key=lambda item: item[0], reverse=True)
        keys = described.values(source, [described.inner(path, place) for path, place in found], reader)
        return {key: item for key, item in zip(keys, found, strict=True) if key is not None}

    def _check_table(self, resource: str, path: str) -> str:
        """The format of a table. Raises ConfigError if it is none that is read, or not the file that is described."""
        node, described = self._described.resources[resource], self._described
        root = self._table_root(resource) or self._collector.data.folder
        formats = [_TABLES[one] for one in _many(node.get('encodingFormat')) if one in _TABLES]
        if not formats:
            raise described.error(f'{paths.shown(resource)} has the encodingFormat '
                                  f'{shown([str(one) for one in _many(node.get("encodingFormat"))])}; tables that are '
                                  f'read are {", ".join(_TABLES)}.')
        expected = node.get('sha256')
        if isinstance(expected, str) and 'includes' not in node:
            files.open_file(root, path).close()  # it must be a file below the root
            found = file_io.content_hash(posixpath.join(root, path))
            if found != expected.lower():
                raise described.error(f'{paths.shown(path)} has the sha256 {found}, but {paths.shown(expected, 64)} is '
                                      'described: one of the two has changed. Write the Croissant file anew.')
        return formats[0]


@contextlib.contextmanager
def _data(collector: Collector, data):
    """The collector with the columns that a Croissant file names."""
    before, collector.data = collector.data, data
    try:
        yield
    finally:
        collector.data = before


def _find(found: dict[str, tuple[str, dict]], text: str) -> tuple[str, dict]:
    """The file that a row names. Raises Rejection if there is none."""
    if text not in found:
        raise Rejection('missing', f'The Croissant file describes no file {paths.shown(text, 100)}.')
    return found[text]

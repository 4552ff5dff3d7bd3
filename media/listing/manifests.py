"""CSV and JSON-lines manifests, read row by row. A bad row is rejected; a bad manifest raises ConfigError."""

import collections
import csv
import json
import posixpath
from collections.abc import Callable, Mapping

from media import paths
from media.entries import TEXT, Entry
from media.listing import files
from media.listing.annotations import (
    Annotations,
    GroupColumn,
    UnnamedSplit,
    add_remark,
    caption_column,
    label_columns,
    named,
    no_label,
    other_text_column,
    path_column,
    shown,
    text_column,
    wanted_column,
)
from media.listing.collector import (
    SPLITS,
    Collector,
    clean_extra,
    clean_label,
    split_of,
)
from media.readers import text as text_reader
from media.rejections import Rejection
from model_code import label_groups, words
from model_code.errors import ConfigError

MAX_BYTES = 1 << 30
_MAX_LINE = 16 << 20  # characters
_MAX_ROW_LINES = 100  # of a CSV row with line breaks in quotes


# The endings of annotation files -> their format.
_FORMATS = {'.jsonl': 'jsonl', '.ndjson': 'jsonl', '.parquet': 'parquet', '.arrow': 'arrow', '.json': 'croissant'}
# Those of files whose rows are examples.
TABLES = ('.csv', *(ending for ending, format_name in _FORMATS.items() if format_name != 'croissant'))


def format_of(name: str) -> str:
    """The format of an annotation file, by its name."""
    name = name.partition('#')[0].lower()  # a record set of a Croissant file
    return next((format_name for ending, format_name in _FORMATS.items() if name.endswith(ending)), 'csv')


def add_file(collector: Collector, annotations: Annotations, format_name: str):
    """Adds the rows of an annotation file of format csv or jsonl."""
    (_add_jsonl if format_name == 'jsonl' else _add_csv)(collector, annotations)


def where_is(collector: Collector, name: str, root: str = '') -> str:
    return f'Task {collector.source.name}: the manifest {name} in {root or collector.data.folder}'


class Lines:
    """An iterator over the lines of a text file. `row` has the lines of the current row; `number` counts all lines."""

    def __init__(self, text):
        self._text, self._pushed_back, self.row, self.number = text, collections.deque(), [], 0

    def __iter__(self):
        return self

    def __next__(self) -> str:
        if len(self.row) >= _MAX_ROW_LINES:
            raise csv.Error('a quote is opened but not closed')
        line = self._pushed_back.popleft() if self._pushed_back else self._text.readline(_MAX_LINE)
        if not line:
            raise StopIteration
        if len(line) == _MAX_LINE and line[-1] != '\n':
            while (rest := self._text.readline(_MAX_LINE)) and rest[-1] != '\n' and len(rest) == _MAX_LINE:
                pass  # skips the rest of a line that is too long to keep
        self.row.append(line)
        self.number += 1
        return line

    def next_row(self):
        self.row.clear()

    def push_back(self):
        """Puts back all lines of the row except the first, so that a stray quote does not swallow the rows after it."""
        self.number -= len(self.row) - 1
        self._pushed_back.extendleft(reversed(self.row[1:]))
        del self.row[1:]


def csv_rows(text, on_error, **dialect):
    """Yields (line number, fields) of each CSV row that is not empty. Bad rows: on_error(line number, what, line)."""
    lines = Lines(text)
    reader = csv.reader(lines, strict=True, **dialect)
    while True:
        lines.next_row()
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            lines.push_back()
            on_error(lines.number, str(error), lines.row[0] if lines.row else '')
            continue
        if fields and len(lines.row[0]) < _MAX_LINE:
            yield lines.number - len(lines.row) + 1, fields
        elif fields:
            on_error(lines.number, f'the line has more than {_MAX_LINE:,} characters', lines.row[0])


# CSV.

def _add_csv(collector: Collector, annotations: Annotations):
    source, name = collector.source, annotations.name
    where = where_is(collector, name, annotations.root)
    with files.open_text(annotations.root or source.data.folder, name, MAX_BYTES) as text:
        header = _Header(collector, annotations, where)

        def on_error(line, what, content):
            if not header.columns:
                raise ConfigError(f'{where}: its first line is not valid CSV: {what}.')
            header.reject_line(f'line {line} of {name}', what, content)

        for line, fields in csv_rows(text, on_error):
            if not header.columns:
                header.read(fields)
            else:
                header.add(line, fields)
    if not header.columns:
        raise ConfigError(f'{where} needs the columns {header.wanted()}; its first line has: nothing.'
                          f'{other_text_column(collector)}')
    header.unnamed_split.check(where)


class _Header:
    """The first line of a CSV manifest: which column is which field of a row."""

    def __init__(self, collector: Collector, annotations: Annotations, where: str):
        self._collector, self._annotations, self._where = collector, annotations, where
        self.columns: list[str] = []  # until `read`
        self.unnamed_split = UnnamedSplit(())

    def wanted(self) -> str:
        data = self._collector.data
        label = data.columns.label or ('labels' if data.kind.several else 'label')
        labels = list(data.label_groups) or [label]
        return ' and '.join([wanted_column(self._collector), *labels]) + f' (and may have {data.columns.split})'

    def read(self, fields: list[str]):
        data, columns = self._collector.data, [name.strip() for name in fields]
        names, annotations = data.columns, self._annotations
        self._is_text = bool(text_column(self._collector, columns))
        path = text_column(self._collector, columns) or path_column(self._collector, annotations, self._where, columns)
        labels = label_columns(self._collector, columns)
        groups = [data.group_column] if data.group_column else []
        captions = caption_column(self._collector)
        if annotations.hugging_face and not labels:
            raise no_label(self._where, columns, annotations.hugging_face)
        group_column = GroupColumn(data.group_column)
        group_column.see(columns)
        group_column.check(self._where)
        more = (*captions, *names.extra, *groups)
        for needed in (path, *(labels or [names.label or 'label']), *more):
            if columns.count(needed) != 1:
                raise ConfigError(f'{self._where} needs the columns {self.wanted()}'
                                  f'{"".join(f", {name}" for name in more)}, each once; its first '
                                  f'line has: {shown(columns)}.{other_text_column(self._collector)}')

        def index(name: str) -> int | None:
            return columns.index(name) if name and name in columns else None

        self.columns, self._path = columns, columns.index(path)
        self._labels = [columns.index(name) for name in labels]
        self._split, self._start, self._end = index(names.split), index(names.start), index(names.end)
        self._extra = [(name, columns.index(name)) for name in names.extra]
        self._caption = columns.index(captions[0]) if captions else None
        self._group = columns.index(data.group_column) if groups else None
        self._label_names, self._groups = labels, bool(data.label_groups)
        # A column `labels` may hold several, so a row with several is rejected in a single-label task.
        self._may_be_several = labels == ['labels'] and not data.kind.several
        self._class_names = annotations.names.get(labels[0], {}) if len(labels) == 1 else {}
        if annotations.hugging_face:
            optional = [name for name in (names.split, names.start, names.end) if name in columns]
            add_remark(self._collector, annotations.name, [path, *labels, *optional, *captions, *names.extra, *groups],
                       columns)

        if self._split is None and names.split and not annotations.split:
            used = {path, *labels, names.start, names.end, *captions, *names.extra, *groups}
            self.unnamed_split = UnnamedSplit(name for name in columns if name and name not in used)

    def add(self, line: int, fields: list[str]):
        where = f'line {line} of {self._annotations.name}'
        collector, path = self._collector, ''
        try:
            if len(fields) != len(self.columns):
                raise Rejection('bad_row', f'It has {words.count(len(fields), "field")}, but the first line has '
                                           f'{len(self.columns):,}.')
            self.unnamed_split.see(lambda column: fields[self.columns.index(column)])
            path, location = (place_of_text(self._annotations, line, fields[self._path]) if self._is_text else
                              place_of(self._annotations, fields[self._path]))
            if self._caption is not None:
                location = {**location, **dict(text=caption(fields[self._caption]))}
            entry = make_entry(collector, path, self._labels_in(fields),
                               split_in(self._annotations, path, None if self._split is None else fields[self._split]),
                               None if self._start is None else fields[self._start],
                               None if self._end is None else fields[self._end],
                               [(name, fields[i]) for name, i in self._extra] if self._extra else (),
                               None if self._group is None else fields[self._group], **location)
        except Rejection as rejection:
            labels = labels_if_known(lambda: self._labels_in(fields)) if len(fields) == len(self.columns) else ()
            collector.reject(rejection.at('' if self._is_text else path), where, labels)
        else:
            collector.add(entry, where)

    def _labels_in(self, fields: list[str]) -> tuple[str, ...]:
        if self._groups:
            return grouped_labels(zip(self._label_names, (fields[i] for i in self._labels), strict=True),
                                  self._annotations.names)
        if self._may_be_several:
            labels = self._collector.label_list(fields[self._labels[0]].split(self._collector.data.label_separator))
        else:
            labels = self._collector.labels(fields[self._labels[0]])
        return named(labels, self._class_names) if self._class_names else labels

    def reject_line(self, where: str, what: str, line: str):
        """Rejects a line that is not valid CSV. If a field is too long, names its column, and the path of the row."""
        if 'field limit' not in what:
            self._collector.reject(Rejection('bad_row', f'It is not valid CSV: {what}.'), where)
            return
        fields = next(csv.reader([line[:100_000]]), [])
        path, column = '', len(fields) - 1
        if self._path < column and not self._is_text:
            try:
                path = path_of(self._annotations, fields[self._path])
            except Rejection:
                pass
        reason = 'bad_label' if column in self._labels else 'bad_row'
        name = self.columns[column] if column < len(self.columns) else f'field {column + 1}'
        detail = f'Its {name} has more than {csv.field_size_limit():,} characters.'
        self._collector.reject(Rejection(reason, detail, path), where)


def labels_if_known(read: Callable[[], tuple[str, ...]]) -> tuple[str, ...]:
    """The labels of a row that is rejected for something else; () if they are wrong as well."""
    try:
        return read()
    except Rejection:
        return ()


def place_of(annotations: Annotations, text: str) -> tuple[str, dict]:
    """(the path of a row's media, relative to the data folder; its location in an archive, or {}). Raises Rejection."""
    if not annotations.find:
        return path_of(annotations, text), {}
    path, location = annotations.find(text.strip())
    return paths.safe_path(path), location


def place_of_text(annotations: Annotations, number: int, text: str) -> tuple[str, dict]:
    """As `place_of`, of a row that has its media itself. number: of its line or row."""
    if not text.strip():
        raise Rejection('empty', 'Its text is empty.')
    # With zeros in front, rows that are sorted by id are in order.
    return annotations.name, dict(member=f'{number:08d}', record=TEXT, text=text)


def caption(text: str | None) -> str:
    """A caption, as it is stored. Raises Rejection if there is none, or it is no text."""
    if not text or not text.strip():
        raise Rejection('bad_row', 'It has no caption.')
    return text_reader.stored(text.encode('utf-8', 'surrogatepass')).decode()


def path_of(annotations: Annotations, text: str) -> str:
    """The path of a row's media, relative to the data folder. Raises Rejection (bad_path)."""
    path = text.strip()
    if annotations.folder and path and not path.startswith('/'):
        path = annotations.folder + path
    if annotations.hugging_face and '..' in path:  # ../images/1.jpg, beside the folder of the annotations
        path = posixpath.normpath(path)
    return paths.safe_path(path)


def split_in(annotations: Annotations, path: str, text: str | None) -> str | None:
    """The split of a row: what it says itself, else that of its annotation file, else of a Hugging Face folder."""
    if text and text.strip():
        return annotations.splits.get(text.strip(), text)
    if annotations.split or not annotations.hugging_face:
        return annotations.split
    folder = path.partition('/')[0].lower()
    return folder if folder in SPLITS else text


def grouped_labels(columns, names: Mapping[str, Mapping[str, str]] | None = None) -> tuple[str, ...]:
    """(group, text) pairs -> one label per group, with the group as a prefix: 'verb:cut', 'noun:onion'.

    names: of class numbers, by group. Raises Rejection (bad_label) if a group has no label.
    """
    labels = []
    for group, text in columns:
        label = clean_label(text)
        if not label:
            raise Rejection('bad_label', f'It has no label in {group}.')
        label, = named((label,), (names or {}).get(group, {}))
        labels.append(label_groups.grouped(group, label))
    return tuple(labels)


def make_entry(collector: Collector, path: str, labels, split, start, end, extra, group=None, **location) -> Entry:
    """The Entry of a row. split: None, or spaces, if the row names none. group: the value of the column that `groups`
    names, or None. location: offset, length and member in an archive; the text."""
    start, end = collector.segment(start, end)
    if extra:
        extra = [(name, clean_extra(name, value)) for name, value in extra]
    group = '' if group is None else clean_extra(collector.data.groups, str(group))
    return Entry(path, labels, split_of(split) if split and not split.isspace() else '', start, end, group=group,
                  extra=tuple(pair for pair in extra if pair[1]) if extra else (), **location)


# JSON lines.

def _add_jsonl(collector: Collector, annotations: Annotations):
    source, name = collector.source, annotations.name
    where = where_is(collector, name, annotations.root)
    rows = JsonRows(collector, annotations)
    with files.open_text(annotations.root or source.data.folder, name, MAX_BYTES) as text:
        lines = Lines(text)
        for line in lines:
            lines.next_row()
            if line.strip():
                rows.add_line(lines.number, line)
    rows.check(where)
    if not lines.number:
        raise ConfigError(f'{where} is empty. Each of its lines should be a JSON object with '
                          f'{wanted_column(collector)} and {source.data.columns.label or "label"}.'
                          f'{other_text_column(collector)}')


class JsonRows:
    """Rows as JSON objects: of JSON lines, or of a table whose values are read as such."""

    def __init__(self, collector: Collector, annotations: Annotations, path: str = ''):
        """path: the column with the paths; '' if the first row is to say that, in Hugging Face's folders."""
        self._collector, self._annotations = collector, annotations
        self.path = path or ('' if annotations.hugging_face else collector.data.columns.path)
        self._unnamed_split: UnnamedSplit | None = None  # until the first row
        self._text: str | None = None  # the column with the media themselves; None until the first row
        self._group_column = GroupColumn(collector.data.group_column)

    def add_line(self, number: int, line: str):
        """Adds the entry of a line."""
        where = f'line {number} of {self._annotations.name}'
        try:
            if len(line) >= _MAX_LINE:
                raise Rejection('bad_row', f'The line has more than {_MAX_LINE:,} characters.')
            row = json_object(line)
        except Rejection as rejection:
            self._collector.reject(rejection, where)
            return
        if self._text is None:
            self._text = text_column(self._collector, list(row))
        if not self.path:
            self.path = self._choose(list(row))
        if self._unnamed_split is None:
            self._unnamed_split = UnnamedSplit(self._unused(row))
        self._unnamed_split.see(row.get)
        self._group_column.see(row)
        if self._text:
            self.add_text(where, number, row, self._text)
        else:
            self.add(where, row)

    def check(self, where: str):
        """Raises ConfigError if the lines say the split or the group in another key. where: their file."""
        if self._unnamed_split:
            self._unnamed_split.check(where)
        self._group_column.check(where)

    def _unused(self, row: dict) -> list[str]:
        """The keys of a row that nothing is read from; [] if the split is said elsewhere, or by a hash."""
        data, names = self._collector.data, self._collector.data.columns
        if not names.split or names.split in row or self._annotations.split:
            return []
        used = {self.path, self._text, names.text, names.label, 'label', 'labels', *data.label_groups, names.start,
                names.end, *names.extra, data.group_column}
        return [key for key in row if key not in used]

    def _choose(self, columns: list[str]) -> str:
        collector, annotations = self._collector, self._annotations
        where, data = where_is(collector, annotations.name, annotations.root), collector.data
        path = self._text or path_column(collector, annotations, where, columns)
        labels = label_columns(collector, columns)
        if not labels and not data.allow_unlabelled:
            raise no_label(where, columns, hugging_face=True)
        used = [path, *labels, data.columns.split, data.columns.start, data.columns.end, *caption_column(collector),
                *data.columns.extra, data.group_column]
        add_remark(collector, annotations.name, [name for name in used if name in columns], columns)
        return path

    def add_text(self, where: str, number: int, row: dict, column: str):
        """Adds the entry of a row that has its media itself. number: of its line or row."""
        try:
            path, location = place_of_text(self._annotations, number, _text_or_none(row, column) or '')
        except Rejection as rejection:
            self.reject(rejection, where, row)
        else:
            self.add(where, row, path, **location)

    def add(self, where: str, row: dict, path: str | None = None, **location):
        """Adds the entry of a row. path, location: where its media are, if that is no column of paths."""
        collector, names = self._collector, self._collector.data.columns
        at = path or ''
        try:
            if path is None:
                text = row.get(self.path)
                if not isinstance(text, str):
                    raise Rejection('bad_path', f'It has no text under {wanted_column(collector, self.path)}.'
                                                f'{other_text_column(collector)}')
                path, found = place_of(self._annotations, text)
                at, location = path, {**location, **found}
            if collector.source.captioned:
                location = {**location, **dict(text=caption(_text_or_none(row, names.text)))}
            split = split_in(self._annotations, path, _text_or_none(row, names.split))
            entry = make_entry(collector, path, json_labels(collector, row, self._annotations.names), split,
                               row.get(names.start), row.get(names.end), json_extra(collector, row),
                               json_group(collector, row), **location)
        except Rejection as rejection:
            member = location.get('member')
            at = '' if location.get('record') == TEXT else f'{at}!{member}' if member and at else at
            self.reject(rejection.at(at), where, row)
        else:
            collector.add(entry, where)

    def reject(self, rejection: Rejection, where: str, row: dict):
        """Rejects a row."""
        labels = labels_if_known(lambda: json_labels(self._collector, row, self._annotations.names))
        self._collector.reject(rejection, where, labels)


def json_object(text: str) -> dict:
    """Parses a JSON object. Raises Rejection (bad_row) for anything else."""
    try:
        row = json.loads(text)
    except RecursionError as error:
        raise Rejection('bad_row', 'It is nested too deeply.') from error
    except ValueError as error:
        raise Rejection('bad_row', f'It is not JSON: {paths.shown(str(error))}.') from error
    if not isinstance(row, dict):
        raise Rejection('bad_row', 'It is not a JSON object.')
    return row


def json_labels(collector: Collector, row: dict,
                class_names: Mapping[str, Mapping[str, str]] | None = None) -> tuple[str, ...]:
    """The labels of a JSON object: a text, a whole number, true or false, or a list of these.

    class_names: Annotations.names.
    """
    names = collector.data.columns
    if collector.data.label_groups:
        return grouped_labels(((group, _label_text(row.get(group))) for group in collector.data.label_groups),
                              class_names)
    key = names.label or ('label' if 'label' in row else 'labels')
    value = row.get(key)
    labels = (collector.label_list([_label_text(item) for item in value]) if isinstance(value, list)
              else collector.labels(_label_text(value)))
    return named(labels, class_names.get(key, {})) if class_names else labels


def _label_text(value) -> str:
    if value is None:
        return ''
    if isinstance(value, bool):
        return json.dumps(value)  # as it is written there, and as a CSV file of the same rows would have it
    if not isinstance(value, (str, int)):
        raise Rejection('bad_label', f'The label {paths.shown(repr(value), 40)} is neither text nor a whole number.')
    return str(value)


def json_extra(collector: Collector, row: dict) -> list[tuple[str, str]]:
    """The extra columns of a JSON object. Values that are not text are written as JSON."""
    pairs = ((name, row.get(name)) for name in collector.data.columns.extra)
    return [(name, value if isinstance(value, str) else json.dumps(value)) for name, value in pairs
            if value is not None]


def json_group(collector: Collector, row: dict) -> str | None:
    """The value of the key that `groups` names, as text; None without one."""
    data = collector.data
    value = row.get(data.group_column) if data.group_column else None
    return None if value is None else _label_text(value)


def _text_or_none(row: dict, key: str) -> str | None:
    value = row.get(key) if key else None
    if value is not None and not isinstance(value, str):
        raise Rejection('bad_row', f'The {key} {paths.shown(repr(value), 40)} is not text.')
    return value

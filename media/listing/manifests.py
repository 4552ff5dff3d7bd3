"""CSV and JSON-lines manifests, read row by row. A bad row is rejected; a bad manifest raises ConfigError."""

import collections
import csv
import json
from collections.abc import Callable

from media.entries import Entry
from media.listing import files, paths
from media.listing.collector import (
    Collector,
    clean_extra,
    clean_label,
    split_of,
)
from media.rejections import Rejection
from model_code import label_groups, words
from model_code.errors import ConfigError

MAX_BYTES = 1 << 30
_MAX_LINE = 16 << 20  # characters
_MAX_ROW_LINES = 100  # of a CSV row with line breaks in quotes


def add_all(collector: Collector):
    """Adds the rows of each of the task's manifests."""
    for name in collector.data.manifest:
        format_name = collector.data.format or ('jsonl' if name.lower().endswith(('.jsonl', '.ndjson')) else 'csv')
        add = _add_jsonl if format_name == 'jsonl' else _add_csv
        add(collector, name)


def where_is(collector: Collector, name: str) -> str:
    return f'Task {collector.source.name}: the manifest {name} in {collector.data.folder}'


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

def _add_csv(collector: Collector, name: str):
    source, where = collector.source, where_is(collector, name)
    with files.open_text(source.data.folder, name, MAX_BYTES) as text:
        header = _Header(collector, where)

        def on_error(line, what, content):
            if not header.columns:
                raise ConfigError(f'{where}: its first line is not valid CSV: {what}.')
            header.reject_line(f'line {line} of {name}', what, content)

        for line, fields in csv_rows(text, on_error):
            if not header.columns:
                header.read(fields)
            else:
                header.add(f'line {line} of {name}', fields)
    if not header.columns:
        raise ConfigError(f'{where} needs the columns {header.wanted()}; its first line has: nothing.')


class _Header:
    """The first line of a CSV manifest: which column is which field of a row."""

    def __init__(self, collector: Collector, where: str):
        self._collector, self._where = collector, where
        self.columns: list[str] = []  # until `read`

    def wanted(self) -> str:
        data = self._collector.data
        label = data.columns.label or ('labels' if data.kind.several else 'label')
        labels = list(data.label_groups) or [label]
        return ' and '.join([data.columns.path, *labels]) + f' (and may have {data.columns.split})'

    def read(self, fields: list[str]):
        data, columns = self._collector.data, [name.strip() for name in fields]
        names = data.columns
        usual = ['labels', 'label'] if data.kind.several else ['label', 'labels']
        possible = [names.label] if names.label else usual
        labels = list(data.label_groups) or [column for column in possible if column in columns][:1]
        groups = [data.group_column] if data.group_column else []
        for needed in (names.path, *(labels or [names.label or 'label']), *names.extra, *groups):
            if columns.count(needed) != 1:
                shown = ', '.join(paths.shown(column, 40) for column in columns[:20] if column)
                raise ConfigError(f'{self._where} needs the columns {self.wanted()}'
                                  f'{"".join(f", {name}" for name in (*names.extra, *groups))}, each once; its first '
                                  f'line has: {shown or "nothing"}.')

        def index(name: str) -> int | None:
            return columns.index(name) if name and name in columns else None

        self.columns, self._path = columns, columns.index(names.path)
        self._labels = [columns.index(name) for name in labels]
        self._split, self._start, self._end = index(names.split), index(names.start), index(names.end)
        self._extra = [(name, columns.index(name)) for name in names.extra]
        self._group = columns.index(data.group_column) if groups else None
        self._label_names, self._groups = labels, bool(data.label_groups)
        # A column `labels` may hold several, so a row with several is rejected in a single-label task.
        self._may_be_several = labels == ['labels'] and not data.kind.several

    def add(self, where: str, fields: list[str]):
        collector, path = self._collector, ''
        try:
            if len(fields) != len(self.columns):
                raise Rejection('bad_row', f'It has {words.count(len(fields), "field")}, but the first line has '
                                           f'{len(self.columns):,}.')
            path = paths.safe_path(fields[self._path].strip())
            entry = make_entry(collector, path, self._labels_in(fields),
                               None if self._split is None else fields[self._split],
                               None if self._start is None else fields[self._start],
                               None if self._end is None else fields[self._end],
                               [(name, fields[i]) for name, i in self._extra] if self._extra else (),
                               None if self._group is None else fields[self._group])
        except Rejection as rejection:
            labels = labels_if_known(lambda: self._labels_in(fields)) if len(fields) == len(self.columns) else ()
            collector.reject(rejection.at(path), where, labels)
        else:
            collector.add(entry, where)

    def _labels_in(self, fields: list[str]) -> tuple[str, ...]:
        if self._groups:
            return grouped_labels(zip(self._label_names, (fields[i] for i in self._labels), strict=True))
        if self._may_be_several:
            return self._collector.label_list(fields[self._labels[0]].split(self._collector.data.label_separator))
        return self._collector.labels(fields[self._labels[0]])

    def reject_line(self, where: str, what: str, line: str):
        """Rejects a line that is not valid CSV. If a field is too long, names its column, and the path of the row."""
        if 'field limit' not in what:
            self._collector.reject(Rejection('bad_row', f'It is not valid CSV: {what}.'), where)
            return
        fields = next(csv.reader([line[:100_000]]), [])
        path, column = '', len(fields) - 1
        if self._path < column:
            try:
                path = paths.safe_path(fields[self._path].strip())
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


def grouped_labels(columns) -> tuple[str, ...]:
    """(group, text) pairs -> one label per group, with the group as a prefix: 'verb:cut', 'noun:onion'.

    Raises Rejection (bad_label) if a group has no label.
    """
    labels = []
    for group, text in columns:
        label = clean_label(text)
        if not label:
            raise Rejection('bad_label', f'It has no label in {group}.')
        labels.append(label_groups.grouped(group, label))
    return tuple(labels)


def make_entry(collector: Collector, path: str, labels, split, start, end, extra, group=None, **location) -> Entry:
    """The Entry of a row. split: None, or spaces, if the row names none. group: the value of the column that `groups`
    names, or None. location: offset, length and member in an archive."""
    start, end = collector.segment(start, end)
    if extra:
        extra = [(name, clean_extra(name, value)) for name, value in extra]
    group = '' if group is None else clean_extra(collector.data.groups, str(group))
    return Entry(path, labels, split_of(split) if split and not split.isspace() else '', start, end, group=group,
                  extra=tuple(pair for pair in extra if pair[1]) if extra else (), **location)


# JSON lines.

def _add_jsonl(collector: Collector, name: str):
    source = collector.source
    with files.open_text(source.data.folder, name, MAX_BYTES) as text:
        lines = Lines(text)
        for line in lines:
            lines.next_row()
            if line.strip():
                _add_json(collector, f'line {lines.number} of {name}', line)
    if not lines.number:
        raise ConfigError(f'{where_is(collector, name)} is empty. Each of its lines should be a JSON object with '
                          f'{source.data.columns.path} and {source.data.columns.label or "label"}.')


def _add_json(collector: Collector, where: str, line: str):
    names, path, row = collector.data.columns, '', {}
    try:
        if len(line) >= _MAX_LINE:
            raise Rejection('bad_row', f'The line has more than {_MAX_LINE:,} characters.')
        row = json_object(line)
        text = row.get(names.path)
        if not isinstance(text, str):
            raise Rejection('bad_path', f'It has no text under {names.path}.')
        path = paths.safe_path(text.strip())
        entry = make_entry(collector, path, json_labels(collector, row), _text_or_none(row, names.split),
                           row.get(names.start), row.get(names.end), json_extra(collector, row),
                           json_group(collector, row))
    except Rejection as rejection:
        collector.reject(rejection.at(path), where, labels_if_known(lambda: json_labels(collector, row)))
    else:
        collector.add(entry, where)


def json_object(text: str) -> dict:
    """Parses a JSON object. Raises Rejection (bad_row) for anything else."""
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Rejection('bad_row', f'It is not JSON: {paths.shown(str(error))}.') from error
    if not isinstance(row, dict):
        raise Rejection('bad_row', 'It is not a JSON object.')
    return row


def json_labels(collector: Collector, row: dict) -> tuple[str, ...]:
    """The labels of a JSON object: a text, a whole number, or a list of these."""
    names = collector.data.columns
    if collector.data.label_groups:
        return grouped_labels((group, _label_text(row.get(group))) for group in collector.data.label_groups)
    key = names.label or ('label' if 'label' in row else 'labels')
    value = row.get(key)
    if isinstance(value, list):
        return collector.label_list([_label_text(item) for item in value])
    return collector.labels(_label_text(value))


def _label_text(value) -> str:
    if value is None:
        return ''
    if isinstance(value, bool) or not isinstance(value, (str, int)):
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

"""Parquet and Arrow manifests, which may also hold the media themselves. A child process reads them (media.tables)."""

import dataclasses
import posixpath
import re

from media.listing.annotations import (
    FILE_NAME,
    Annotations,
    GroupColumn,
    add_remark,
    caption_column,
    label_columns,
    no_label,
    number_names,
    other_text_column,
    path_column,
    shown,
    text_column,
    wanted_column,
)
from media.listing.collector import Collector
from media.listing.manifests import JsonRows, where_is
from media.rejections import Rejection
from media.sandbox.tables import TableReader
from media.table_rows import MAX_TEXT
from model_code import words
from model_code.errors import ConfigError
from model_code.modalities import MODALITIES

# Types of columns by what their values may be (media.tables.describe).
_TEXTS, _LABELS = ('text', 'bytes'), ('text', 'bytes', 'scalar', 'list')


def add_file(collector: Collector, annotations: Annotations, reader: TableReader):
    """Adds the rows of a Parquet or Arrow file. Raises ConfigError if it cannot be read or lacks columns."""
    where = where_is(collector, annotations.name, annotations.root)
    try:
        _add_rows(collector, annotations, reader, where)
    except Rejection as rejection:
        raise ConfigError(f'{where} cannot be used ({rejection.reason}): {rejection.detail}') from rejection


def _add_rows(collector: Collector, annotations: Annotations, reader: TableReader, where: str):
    described = reader.describe(annotations.name)
    if not described['rows']:
        raise ConfigError(f'{where} has no rows.')
    columns = {name: (kind, type_) for name, kind, type_, _ in described['columns']}
    twice = [name for name in columns if sum(other[0] == name for other in described['columns']) > 1]
    data, names = collector.data, collector.data.columns
    text = text_column(collector, list(columns))
    media = '' if text else _media_column(collector, where, columns)
    if media and annotations.root:
        raise ConfigError(f'{where} holds the media themselves, so it must be below the data folder, '
                          f'{data.folder}.')
    path = '' if media else text or path_column(collector, annotations, where, list(columns))
    labels = label_columns(collector, list(columns))
    groups = [data.group_column] if data.group_column else []
    if not labels:
        raise no_label(where, list(columns), annotations.hugging_face)
    group_column = GroupColumn(data.group_column)
    group_column.see(columns)
    group_column.check(where)
    optional = [name for name in (names.split, names.start, names.end) if name in columns]
    captions = caption_column(collector)
    texts = [*([path] if path else []), *captions]
    wanted = list(dict.fromkeys([*texts, *labels, *optional, *names.extra, *groups, *annotations.location]))
    for name in wanted:
        if name not in columns or name in twice:
            needed = [wanted_column(collector) if other == path and path not in columns else other for other in wanted]
            raise ConfigError(f'{where} needs the columns {", ".join(needed)}, each once; it has '
                              f'{shown(list(columns))}.{other_text_column(collector)}')
        fitting = _TEXTS if name in texts or name == names.split else _LABELS
        if columns[name][0] not in fitting:
            raise ConfigError(f'{where}: the column {name} is {columns[name][1]}; it must be '
                              f'{"text" if fitting is _TEXTS else "text, numbers or lists of these"}.')
    if media or annotations.hugging_face:
        add_remark(collector, annotations.name, [media or path, *[name for name in wanted if name != path]],
                   list(columns))
    class_names = {name: number_names(where, class_names) for name, _, _, class_names in described['columns']
                   if name in labels and class_names}
    rows = JsonRows(collector, dataclasses.replace(annotations, names={**annotations.names, **class_names}),
                    path or names.path)
    number = 0
    whole = [text] if text else captions  # columns of which the beginning would not do
    for values, places in reader.rows(annotations.name, wanted, media):
        for i in range(len(places) if places is not None else len(values[0])):
            row = {name: column[i] for name, column in zip(wanted, values, strict=True)}
            row_name = f'row {number} of {annotations.name}'
            cut = [name for name in whole if len(row[name] or '') >= MAX_TEXT]
            if cut:
                rows.reject(Rejection('too_large', f'Its {cut[0]} has {MAX_TEXT:,} characters or more.'), row_name, row)
            elif text:
                rows.add_text(row_name, number, row, text)
            else:
                _add_row(rows, annotations, row_name, row, number, places[i] if places is not None else '')
            number += 1


def _add_row(rows: JsonRows, annotations: Annotations, where: str, row: dict, number: int, place):
    """place: where the media of the row are (ParquetTable.batches); '' if a column has their path."""
    if place == '' and annotations.location:
        try:
            rows.add(where, row, **_location(row, annotations.location))
        except Rejection as rejection:
            rows.reject(rejection, where, row)
    elif place == '':
        rows.add(where, row)
    elif isinstance(place, list):
        record, offset, length = place
        # With zeros in front, rows that are sorted by id are in order, and so are read in order.
        rows.add(where, row, annotations.name, record=record, offset=offset, length=length, member=f'{number:08d}')
    elif place is None:
        rows.reject(Rejection('empty', 'It has neither bytes nor a path.'), where, row)
    else:
        folder = posixpath.dirname(annotations.name)
        rows.add(where, {**row, rows.path: place if not folder or place.startswith('/') else f'{folder}/{place}'})


def _location(row: dict, columns: tuple[str, ...]) -> dict:
    """An Entry's offset, length, member and record, from these columns. Raises Rejection if they are none."""
    offset, length, member, record = (row.get(name) for name in columns)
    if not (isinstance(offset, int) and isinstance(length, int) and isinstance(member, str) and isinstance(record, str)
            and offset >= 0 and length >= -1 and re.fullmatch(r'|cifar100?|parquet:\d{1,9}:.{1,1000}', record)):
        raise Rejection('bad_row', f'Its {", ".join(columns)} are no place in a file.')
    return {'offset': offset, 'length': length, 'member': member, 'record': record}


def _media_column(collector: Collector, where: str, columns: dict[str, tuple[str, str]]) -> str:
    """The column that holds the media themselves; '' if there is only one with their paths.

    Raises ConfigError if there are several, and none has the name of the modality.
    """
    named = collector.data.columns.path
    modality = collector.source.modality
    if named in columns and columns[named][0] in ('media', 'bytes'):
        return named
    if named in columns and named != type(collector.data.columns)().path:
        return ''
    found = [name for name, (kind, _) in columns.items() if kind == 'media']
    others = [name for name in MODALITIES if name != modality]
    fitting = [name for name in found if name not in others and columns[name][1].lower() not in others]
    if not found and not any(name == named or name.endswith(FILE_NAME) for name in columns):
        found = fitting = [name for name, (kind, _) in columns.items() if kind == 'bytes']
    if modality in fitting:
        return modality
    if len(fitting) == 1:
        return fitting[0]
    if found:
        raise ConfigError(f'{where} holds media in {words.count(len(found), "column")}, {shown(found)}, and none is '
                          f'named {modality}. Name the one of the task: columns=Columns(path={found[0]!r}).')
    return ''

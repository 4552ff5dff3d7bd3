"""The file that `Data.groups` may name: a CSV file with the group of each media file."""

import csv
import os
import posixpath

from media import paths
from media.listing import files
from media.rejections import Rejection
from model_code.errors import ConfigError
from model_code.urls import is_url

_MAX_BYTES = 256 << 20  # it is held in memory


def read(folder: str, name: str) -> dict[str, str]:
    """Path, or `archive!member` -> group. Raises ConfigError for anything wrong, naming the line.

    folder: the data folder. name: the file, relative to the folder, absolute (may begin with `~`), or a URL. Its first
    line names the columns: path and group are needed, others are for people.
    """
    if is_url(name) or os.path.isabs(os.path.expanduser(name)):
        folder, name = posixpath.split(os.path.expanduser(name))
    where = f'The file of groups {name} in {folder}'
    groups: dict[str, str] = {}
    with files.open_text(folder, name, _MAX_BYTES) as text:
        rows = csv.reader(text, strict=True)
        try:
            columns = [column.strip() for column in next(rows, [])]
            if columns.count('path') != 1 or columns.count('group') != 1:
                shown = ', '.join(paths.shown(column, 40) for column in columns[:20]) or 'nothing'
                raise ConfigError(f'{where} needs the columns path and group, each once; its first line has: {shown}.')
            path_column, group_column = columns.index('path'), columns.index('group')
            for row in rows:
                if row:
                    path, group = _row(row, len(columns), path_column, group_column)
                    if groups.setdefault(path, group) != group:
                        raise Rejection('bad_row', f'{paths.shown(path)} is in another group in an earlier line.')
        except (csv.Error, Rejection) as error:
            detail = error.detail if isinstance(error, Rejection) else f'It is not valid CSV: {error}.'
            raise ConfigError(f'{where}, line {rows.line_num}: {detail}') from error
    return groups


def _row(row: list[str], columns: int, path_column: int, group_column: int) -> tuple[str, str]:
    """(path, group) of a row. Raises Rejection."""
    if len(row) != columns:
        raise Rejection('bad_row', f'It has {len(row):,} fields, but the first line has {columns:,}.')
    path, _, member = row[path_column].strip().partition('!')
    path, group = paths.safe_path(path), row[group_column].strip()
    if not group or len(group) > 1000 or paths.has_control(group) or not paths.is_utf8(group):
        raise Rejection('bad_row', f'The group {paths.shown(group, 40)!r} is not a name: it is empty, has over 1,000 '
                                   'characters or a control character, or is not UTF-8.')
    return (f'{path}!{member}' if member else path), group

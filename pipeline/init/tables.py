"""The first rows of a manifest, and what its columns seem to mean."""

import collections
import dataclasses
import json
import os
import re
import statistics

from media import paths
from media.listing import files, manifests
from media.listing.collector import SPLITS, splits_of_files
from media.rejections import Rejection
from media.sandbox.tables import TableReader
from model_code.data import OPTIONAL_MANIFEST, Columns, Data
from model_code.errors import ConfigError
from model_code.modalities import MODALITIES
from pipeline.init.look import join

HEAD_ROWS = 5_000
_HEAD_BYTES = 8 << 20
_MOST_COLUMNS = 200  # of a Parquet or Arrow file that are read; of text files the bytes are bounded
_LOOKED_UP = 60  # paths of a column that are looked for on the disk
_MOST_CLASSES = 2_000  # a column with more values is no label, unless it is called so

# Names of columns that usually mean this, the most usual first. They are compared without case and underscores.
_PATHS = ('path', 'filepath', 'filename', 'file', *MODALITIES, 'img', 'clip', 'media', 'name')
_LABELS = ('label', 'labels', 'class', 'category', 'target', 'classname', 'labelname', 'species', 'tags', 'tag', 'y',
           'emotion', 'genre', 'breed', 'action', 'event', 'sentiment', 'intent', 'topic')
# And where the media are texts. Beside other media such a number may be how sure a label is.
_TEXT_LABELS = ('polarity', 'rating', 'stars', 'score', 'classindex')
_USUAL_TEXT = {row.feature for row in MODALITIES.values() if row.in_rows}  # the column that is read if none is named
# Columns that name media; where nothing else does, the media may be missing.
_MISSING = {*_PATHS, *(f'{name}id' for name in MODALITIES)} - {*_USUAL_TEXT, 'name', 'textid'}
# Columns that hold texts: as the media themselves, or about media that another column names.
_TEXTS = ('text', 'sentence', 'review', 'reviewtext', 'comment', 'commenttext', 'message', 'tweet', 'post', 'utterance',
          'transcript', 'document', 'article', 'abstract', 'content', 'body', 'question', 'description', 'summary',
          'headline', 'title')
_CAPTIONS = ('caption', 'captions', 'description', 'text', 'sentence', 'alttext', 'alt', 'prompt')
_SPLITS = ('split', 'subset', 'partition', 'set', 'phase', 'fold', 'usage')
_STARTS = ('start', 'starttime', 'starts', 'begin', 'onset', 'from', 'startseconds')
_ENDS = ('end', 'endtime', 'ends', 'stop', 'offset', 'to', 'endseconds')
_GROUPS = ('speaker', 'speakerid', 'scene', 'sceneid', 'subject', 'subjectid', 'patient', 'patientid', 'session',
           'sessionid', 'user', 'userid', 'participant', 'person', 'camera', 'cameraid', 'location', 'site',
           'recording', 'recordingid', 'source', 'sourceid', 'videoid', 'clientid', 'group', 'identity',
           'individual', 'plant')
_QUESTIONS = (('verb', 'noun'),)
_SEPARATORS = ('|', ';', ',')
_LIST = '\n'  # between the items of a list of JSON: no label has a line break


@dataclasses.dataclass
class Table:
    """The head of a manifest: at most HEAD_ROWS rows, column -> text. whole: whether these are all of its rows."""
    name: str
    columns: list[str]
    rows: list[dict[str, str]]
    whole: bool
    lists: frozenset[str] = frozenset()

    def values(self, column: str) -> list[str]:
        return [row.get(column, '') for row in self.rows]


def read(root: str, name: str, reader: TableReader) -> Table | None:
    """The head of a table whose rows name media or hold texts; None if it may hold other media, or cannot be read.

    reader: of the same root.
    """
    table, format_name = Table(name, [], [], whole=True), manifests.format_of(name)
    try:
        if format_name in OPTIONAL_MANIFEST:
            table.whole = _add_columns(table, reader)
        else:
            with files.open_text(root, name, _HEAD_BYTES) as text:
                table.whole = (_add_csv if format_name == 'csv' else _add_jsonl)(table, text)
    except ConfigError:  # it ends at _HEAD_BYTES, unless it could not be opened
        table.whole = False
    except Rejection:
        return None
    return table if table.rows else None


def _add_columns(table: Table, reader: TableReader) -> bool:
    """As _add_csv, of a Parquet or Arrow file."""
    described = reader.describe(table.name)
    kinds = {name: kind for name, kind, _, _ in described['columns']}
    if {'media', 'bytes'} & {*kinds.values()} or len(kinds) < len(described['columns']):
        return True
    table.columns = [name for name, kind in kinds.items() if kind != 'other'][:_MOST_COLUMNS]
    table.lists = frozenset(name for name in table.columns if kinds[name] == 'list')
    for values, _ in reader.rows(table.name, table.columns, most=HEAD_ROWS) if table.columns else ():
        table.rows += [dict(zip(table.columns, map(_text, row), strict=True)) for row in zip(*values, strict=True)]
    del table.rows[HEAD_ROWS:]
    return len(table.rows) == described['rows']


def _add_csv(table: Table, text) -> bool:
    """Adds the rows, HEAD_ROWS at most. Whether these are all."""
    for _, fields in manifests.csv_rows(text, lambda *unused: None):
        if not table.columns:
            table.columns = list(dict.fromkeys(field.strip() for field in fields))
        elif len(table.rows) >= HEAD_ROWS:
            return False
        else:
            table.rows.append(dict(zip(table.columns, fields, strict=False)))
    return True


def _add_jsonl(table: Table, text) -> bool:
    columns, bad = {}, 0
    for line in text:
        if len(table.rows) >= HEAD_ROWS or bad > 100:
            return False
        try:
            row = manifests.json_object(line) if line.strip() else {}
        except Rejection:
            bad += 1
            continue
        columns.update(dict.fromkeys(row))
        table.columns = list(columns)
        table.lists |= {key for key, value in row.items() if isinstance(value, list)}
        table.rows += [{key: _text(value) for key, value in row.items()}] if row else []
    return True


def _text(value) -> str:
    if isinstance(value, list):
        return _LIST.join(map(_text, value))
    if isinstance(value, bool):
        return json.dumps(value)  # the name of the class
    return '' if value is None or isinstance(value, dict) else str(value)


@dataclasses.dataclass
class Meaning:
    """What a manifest's columns seem to mean.

    folder: what the paths are relative to, itself relative to the first folder. path: their column; '' if the media are
    texts, in the column `text`. found: how many of `looked_up` paths are files. labels: the columns with labels: one,
    or one for each question. separator: between two labels in it, '' if each row has one. text: a column with texts, of
    the rows or, if there is a path, about their media; '' for none. split, start, end: columns, '' for none. groups:
    columns that may say what belongs together. others: all other columns. sure: whether the label's column is called
    so. remarks: sentences.
    """
    table: Table
    folder: str
    path: str
    found: int
    looked_up: int
    labels: list[str]
    separator: str = ''
    text: str = ''
    split: str = ''
    start: str = ''
    end: str = ''
    groups: list[str] = dataclasses.field(default_factory=list)
    others: list[str] = dataclasses.field(default_factory=list)
    sure: bool = True
    remarks: list[str] = dataclasses.field(default_factory=list)

    @property
    def several(self) -> bool:
        """Whether an example may have several labels."""
        return bool(self.separator) or any(column in self.table.lists for column in self.labels)

    @property
    def only_captions(self) -> bool:
        """Whether nothing but captions says what is in the media."""
        return self.labels == [self.text]

    def columns(self, timed: bool) -> Columns:
        """The Columns of the task's Data. timed: whether the modality has segments."""
        names = {'label', 'labels'} & {*self.table.columns}
        label = '' if len(self.labels) > 1 or names == {self.labels[0]} else self.labels[0]
        usual = Columns()
        start, end = (self.start or usual.start, self.end or usual.end) if timed else (usual.start, usual.end)
        usual_text = self.text in _USUAL_TEXT and usual.path not in self.table.columns
        text = '' if self.path or usual_text else self.text
        return Columns(path=self.path or usual.path, label=label, split=self.split or usual.split, start=start, end=end,
                       text=text)

    def paths(self) -> list[str]:
        """Of the rows' files, relative to the first folder; none if the rows have texts."""
        return [] if not self.path else [_joined(self.folder, value) for value in self.table.values(self.path)]


def meaning(root: str, table: Table) -> Meaning | str:
    """What the columns mean; a sentence that says what is wrong if the table names no media or no label."""
    if len(table.columns) == 1 and re.search('[;\t]', table.columns[0]):
        return (f'{table.name}: its fields are not separated by commas. Write it with commas, or as JSON lines.')
    path = _path_column(root, table)
    texts = _text_columns(table, _CAPTIONS if path else _TEXTS)
    if path is None and (not texts or _names_media(table)):
        hint = '' if _names_media(table) else (' Texts themselves belong into a column `text`, or into one that '
                                               'Data(columns=Columns(text=...)) names.')
        return (f'{table.name}: no column of {_named(table.columns)} has the paths of files. Write a column `path`, '
                f'relative to the folder of the manifest.{hint}')
    column, folder, found, looked_up = path or ('', table.name.rpartition('/')[0], 0, 0)
    guess = Meaning(table, folder, column, found, looked_up, [], text=texts[0] if texts else '')
    left = [name for name in table.columns if name not in (column, guess.text)]
    missing = [name for name in left if _plain(name) in _MISSING] if not path else []
    if missing:
        guess.remarks.append(f'The column {paths.shown(missing[0], 40)} may name media that are not there. If so, the '
                             f'texts in {paths.shown(guess.text, 40)} are about them, and are no media themselves.')
    guess.split = _split_column(table, left, guess.remarks)
    left = [name for name in left if name != guess.split]
    guess.start, guess.end = (next((name for name in left if _plain(name) in names and _numbers(table, name)), '')
                              for names in (_STARTS, _ENDS))
    left = [name for name in left if name not in (guess.start, guess.end)]
    if path and guess.text and not guess.start and not guess.end and _captions_per_file(guess) > 1:
        return (f'{table.name}: most files in its column {paths.shown(column, 40)} are named several times, each time '
                f'with another {paths.shown(guess.text, 40)}. A file may have one row: keep one of its captions, or '
                'write JSON lines with all of them in a list, which gives the task the words of all '
                "(label_kind='words').")
    labelled = _find_labels(guess, left)
    flags = [name for name in left if _is_flag(table, name)]
    if not guess.sure and len(flags) > 1:
        return (f'{table.name}: its columns {_named(flags)} say yes or no (0 and 1, or true and false), as if each '
                'stood for a class. Write one column in their place: `label` with the class of each row, or `labels` '
                'with all its classes, joined by |. If each is a question of its own, a config may name them: '
                "Data(label_kind='groups', label_groups=(...)).")
    if not labelled and path and guess.text:
        guess.labels, guess.sure = [guess.text], True
    if not guess.labels:
        return (f'{table.name}: no column of {_named(left) or "it"} looks like a label. Write a column `label`.')
    left = [name for name in left if name not in guess.labels]
    guess.groups = [name for names in _GROUPS for name in left if _plain(name) == names and _repeats(table, name)]
    guess.others = [name for name in left if name not in guess.groups]
    return guess


def _plain(name: str) -> str:
    return re.sub('[ _-]', '', name).lower()


def _named(columns: list[str]) -> str:
    return ', '.join(paths.shown(name, 40) for name in columns[:12]) + (', ...' if len(columns) > 12 else '')


def _joined(folder: str, value: str) -> str:
    try:
        return join(folder, paths.safe_path(value.strip()))
    except Rejection:
        return ''


def _path_column(root: str, table: Table) -> tuple[str, str, int, int] | None:
    """(column, folder, files found, paths looked up) of the column whose values are most often files.

    They may be relative to the folder of the table, or to one above it.
    """
    parts = table.name.split('/')[:-1]
    folders = ['/'.join(parts[:count]) for count in range(len(parts), -1, -1)]
    best = None
    for column in sorted(table.columns, key=lambda name: _rank(_PATHS, name)):
        values = [value for value in table.values(column) if value]
        values = values[::max(1, len(values) // _LOOKED_UP)][:_LOOKED_UP]
        for folder in folders:
            names = [_joined(folder, value) for value in values]
            found = sum(bool(name) and os.path.isfile(os.path.join(root, name)) for name in names)
            if found and (best is None or found > best[2]):
                best = column, folder, found, len(values)
    return best


def _text_columns(table: Table, names: tuple[str, ...]) -> list[str]:
    """The columns of these names, the most usual first, whose values are texts.

    The usual one needs to have no numbers. Of the others most values are words or of another script, and most
    are different: else they may be labels.
    """
    def holds_texts(column: str) -> bool:
        values = [value.strip() for value in table.values(column) if value.strip()]
        if names is _TEXTS and column in _USUAL_TEXT:
            return bool(values) and not _numbers(table, column)
        return (4 * len(values) >= len(table.rows) and 2 * len(set(values)) > len(values)
                and 2 * sum(' ' in value or not value.isascii() for value in values) > len(values))
    return sorted((column for column in table.columns if _plain(column) in names and holds_texts(column)),
                  key=lambda column: _rank(names, column))


def _names_media(table: Table) -> bool:
    """Whether a column names files of images, sounds or videos, though they are not there."""
    endings = tuple(ending for row in MODALITIES.values() if not row.in_rows for ending in row.endings)
    return any(2 * sum(value.partition('?')[0].strip().lower().endswith(endings) for value in table.values(column))
               > len(table.rows) for column in table.columns)


def _rank(names: tuple[str, ...], column: str) -> int:
    plain = _plain(column)
    return names.index(plain) if plain in names else len(names)


def _split_column(table: Table, columns: list[str], remarks: list[str]) -> str:
    for column in sorted(columns, key=lambda name: _rank(_SPLITS, name)):
        if _rank(_SPLITS, column) == len(_SPLITS):
            break
        values = collections.Counter(value.strip().lower() for value in table.values(column))
        known = sum(count for value, count in values.items() if value in SPLITS)
        if known > 0.9 * len(table.rows):
            return column
        if len(values) <= 20 and any(values):
            remarks.append(f'The column {paths.shown(column, 40)} has {_named(list(values))}, which are no names of '
                           f'splits ({", ".join(SPLITS)}), so it is not used.')
    return ''


def _numbers(table: Table, column: str) -> bool:
    values = [value for value in table.values(column) if value.strip()]
    return bool(values) and all(re.fullmatch(r'\d+(\.\d*)?([eE][-+]?\d+)?', value.strip()) for value in values)


def _is_flag(table: Table, name: str) -> bool:
    values = {value.strip().lower().removesuffix('.0') for value in table.values(name)} - {''}
    return values in ({'0', '1'}, {'false', 'true'})


def _captions_per_file(guess: Meaning) -> float:
    """The median number of different captions of a file."""
    captions = collections.defaultdict(set)
    for row in guess.table.rows:
        captions[row.get(guess.path)].add(row.get(guess.text))
    return statistics.median(map(len, captions.values()))


def _repeats(table: Table, column: str) -> bool:
    """Whether every row has a value, and there are fewer values than rows, but more than one."""
    values = table.values(column)
    return all(value.strip() for value in values) and 1 < len(set(values)) <= 0.7 * len(values)


def _find_labels(guess: Meaning, columns: list[str]) -> bool:
    """Sets the columns with labels and the separator in them. Whether there is one."""
    table = guess.table
    for question in _QUESTIONS:
        named = [next((name for name in columns if _plain(name) == word), '') for word in question]
        if all(named):
            guess.labels = named
            return True
    names = _LABELS if guess.path else _LABELS + _TEXT_LABELS
    named = sorted((name for name in columns if _rank(names, name) < len(names)), key=lambda name: _rank(names, name))
    possible = named[:1]
    if not possible:
        guess.sure = False
        possible = [name for name in columns if 1 < len(set(table.values(name))) <= min(
            _MOST_CLASSES, len(table.rows) // 2) and not re.search(r'^(index|id)$|_id$', name.lower())]
        # What says who or where is seldom what is asked for.
        possible.sort(key=lambda name: (_plain(name) in _GROUPS, len(set(table.values(name)))))
    if not possible:
        return False
    guess.labels = possible[:1]
    guess.separator = _separator(table, possible[0])
    return True


def _separator(table: Table, column: str) -> str:
    """The text between two labels in a column; '' if each row has one.

    It is one if labels on its sides come again in other company: 'rain, heavy' is one label.
    """
    values = {value for value in table.values(column) if value}
    if column in table.lists:
        return ''
    for separator in _SEPARATORS:
        joined = [value for value in values if separator in value]
        company = collections.defaultdict(set)
        for value in values:
            for part in value.split(separator):
                company[part.strip()].add(value)
        parts = {part.strip() for value in joined for part in value.split(separator)}
        again = sum(len(company[part]) > 1 for part in parts)
        # A bar is hardly ever part of a label.
        if joined and again + (separator == Data.label_separator) > len(parts) / 2:
            return separator
    return ''


def unlabelled(guess: Meaning) -> int:
    """How many of the table's rows have no label."""
    return sum(not any(row.get(column, '').strip() for column in guess.labels) for row in guess.table.rows)


def parts_of_one(first: Meaning, second: Meaning) -> bool:
    """Whether two manifests are parts of one data set: the same columns, and none of the same files.

    If their names say that they are two splits, other columns may differ than those with a meaning.
    """
    def columns(one: Meaning):
        return one.path, one.text, one.labels, one.separator, one.split, one.start, one.end
    splits = splits_of_files((first.table.name, second.table.name))
    return (first.folder == second.folder and not set(first.paths()) & set(second.paths())
            and (first.table.columns == second.table.columns or bool(splits) and columns(first) == columns(second)))

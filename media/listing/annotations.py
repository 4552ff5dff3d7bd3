"""An annotation file: what is known of its rows beside their values, and which of its columns mean what."""

import dataclasses
import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from media import paths
from media.listing.collector import SPLITS, Collector, clean_label
from media.rejections import Rejection
from model_code.errors import ConfigError
from model_code.modalities import MODALITIES, get_modality

# How Hugging Face's folders name a column with paths; there may be a word before it: audio_file_name.
FILE_NAME = 'file_name'
_MAX_KEYS = 1_000  # of JSON objects, among which a misspelt one is looked for


@dataclasses.dataclass(frozen=True)
class Annotations:
    """An annotation file below the data folder, or in another one.

    name: its path. root: the other folder, or ''. folder: what its paths are relative to, with '/' at the end, or ''.
    split: that of rows which name none; None for the Collector to choose. hugging_face: whether its column of paths is
    named as in Hugging Face's folders. names: column -> number of a class, as text -> its name. splits: other words for
    splits -> their names. find: text of the path column -> (path, location of an Entry), if it is no path; raises
    Rejection. location: the columns of a table with an Entry's offset, length, member and record.
    """
    name: str
    folder: str = ''
    split: str | None = None
    hugging_face: bool = False
    names: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)
    splits: Mapping[str, str] = dataclasses.field(default_factory=dict)
    find: Callable[[str], tuple[str, dict]] | None = None
    location: tuple[str, ...] = ()
    root: str = ''


class UnnamedSplit:
    """Looks for the column that says the splits of a manifest, though no setting names it: each of its values is the
    name of a split, and there are both. A hash would mix them."""

    def __init__(self, columns: Iterable[str]):
        """columns: those that nothing is read from."""
        self._splits: dict[str, set[str]] = {column: set() for column in columns}

    def see(self, value_of: Callable[[str], object]):
        """Looks at a row. value_of: gives the value in a column."""
        for column in list(self._splits):  # after a row or two there is usually none left
            value = value_of(column)
            split = SPLITS.get(value.strip().lower()) if isinstance(value, str) else None
            if split:
                self._splits[column].add(split)
            else:
                del self._splits[column]

    def check(self, where: str):
        """Raises ConfigError if there is such a column. where: the manifest."""
        for column, splits in self._splits.items():
            if len(splits) > 1:
                name = paths.shown(column, 40)
                raise ConfigError(f'{where}: its column {name} has the names of splits, but nothing says that it means '
                                  f'them. Set columns=Columns(split={name!r}); or Columns(split="") to split by a '
                                  'hash.')


class GroupColumn:
    """Looks for the column that `groups` names, in a header or in rows that may each have other keys."""

    def __init__(self, name: str):
        """name: the column; '' if `groups` names none."""
        self._name, self._found, self._others = name, not name, {}

    def see(self, columns: Iterable[str]):
        """Looks at the columns of a header, or at the keys of a row."""
        if not self._found:
            self._found = self._name in columns
            if len(self._others) < _MAX_KEYS:
                self._others.update(dict.fromkeys(columns))

    def check(self, where: str):
        """Raises ConfigError if other columns were seen, but not this one. where: the annotation file."""
        if self._found or not self._others:
            return
        others = [name for name in self._others if name]
        near = difflib.get_close_matches(self._name, others, n=1)
        meant = f' Did you mean {paths.shown(near[0], 40)}?' if near else ''
        raise ConfigError(f'{where} has no column {self._name}, which groups={self._name!r} asks for; it has '
                          f'{shown(others)}.{meant}')


def path_column(collector: Collector, annotations: Annotations, where: str, columns: Sequence[str]) -> str:
    """The column with the paths of the media. Raises ConfigError if that cannot be told from the columns there are."""
    named = collector.data.columns.path
    if not annotations.hugging_face or named in columns:
        return named
    found = [name for name in columns if name == FILE_NAME or name.endswith(f'_{FILE_NAME}')]
    modality = collector.source.modality
    others = [f'{name}_{FILE_NAME}' for name in MODALITIES if name != modality]
    fitting = [name for name in found if name not in others]
    for name in (f'{modality}_{FILE_NAME}', FILE_NAME, *(fitting if len(fitting) == 1 else [])):
        if name in found:
            return name
    if found:
        raise ConfigError(f'{where}: no column is named {modality}_{FILE_NAME} or {FILE_NAME}; it has '
                          f'{shown(found)}. Name the one with the media: columns=Columns(path={found[0]!r}).')
    raise ConfigError(f'{where} needs a column {FILE_NAME} with the paths of the media; it has {shown(columns)}. Name '
                      "another with columns=Columns(path=...), or set format='folders' to ignore this file."
                      f'{other_text_column(collector)}')


def text_column(collector: Collector, columns: Sequence[str]) -> str:
    """The column with the media themselves, as texts; '' if the rows have paths."""
    names, row = collector.data.columns, get_modality(collector.source.modality)
    if not row.in_rows:
        return ''
    if names.text or names.path in columns:
        return names.text
    return row.feature if row.feature in columns else ''


def wanted_column(collector: Collector, path: str = '') -> str:
    """The column that has or names the media, in a message: 'path', or in a text task 'text or path'. path: that of the
    paths, if it is not the one of the config."""
    names, row = collector.data.columns, get_modality(collector.source.modality)
    path = path or names.path
    return (names.text or f'{row.feature} or {path}') if row.in_rows else path


def other_text_column(collector: Collector) -> str:
    """A sentence that says how a text task names its column of texts; '' if it does, or is no text task."""
    if collector.data.columns.text or not get_modality(collector.source.modality).in_rows:
        return ''
    return ' Name another column with texts: columns=Columns(text=...).'


def caption_column(collector: Collector) -> list[str]:
    """The column with the captions of the media, if there is one."""
    return [collector.data.columns.text] if collector.source.captioned else []


def label_columns(collector: Collector, columns: Sequence[str]) -> list[str]:
    """The columns with the labels: that of each label group, or one; [] if there is none."""
    data = collector.data
    if data.label_groups:
        return list(data.label_groups)
    usual = ['labels', 'label'] if data.kind.several else ['label', 'labels']
    return [name for name in ([data.columns.label] if data.columns.label else usual) if name in columns][:1]


def no_label(where: str, columns: Sequence[str], hugging_face: bool) -> ConfigError:
    """The error of an annotation file without a label column."""
    folders = ", or set format='folders' to take the labels from the names of folders" if hugging_face else ''
    return ConfigError(f'{where} has no column label or labels; it has {shown(columns)}. Name the one with the labels: '
                       f'columns=Columns(label=...){folders}.')


def add_remark(collector: Collector, name: str, used: Sequence[str], columns: Sequence[str]):
    """Says what is taken from an annotation file that no config has named, and what is not."""
    ignored = [column for column in columns if column not in used]
    rest = f'; not used: {shown(ignored)}' if ignored else ''
    columns_used = f'(columns {shown(used)}{rest})'.replace('{', '{{').replace('}', '}}')
    collector.remark(f'media and labels are those in {{}} {columns_used}', name)


def shown(columns: Sequence[str]) -> str:
    """The columns in a message; the first 20."""
    names = [paths.shown(column, 40) for column in columns if column]
    return ', '.join(names[:20]) + (', ...' if len(names) > 20 else '') or 'nothing'


def number_names(where: str, names: Sequence[str]) -> dict[str, str]:
    """Class names by their numbers, as text. Raises ConfigError if one cannot be a label."""
    try:
        return {str(i): clean_label(str(name)) for i, name in enumerate(names)}
    except Rejection as rejection:
        raise ConfigError(f'{where}: one of its class names cannot be used. {rejection.detail}') from rejection


def named(labels: tuple[str, ...], names: Mapping[str, str]) -> tuple[str, ...]:
    """The labels with the names of the classes in place of their numbers. Raises Rejection for other numbers."""
    if not names:
        return labels
    for label in labels:
        if label not in names and re.fullmatch(r'-?\d+', label):
            raise Rejection('bad_label', f'The label {label} is not the number of a class; the {len(names):,} classes '
                                         'have 0 and up. Test sets often come without labels: name the other files in '
                                         '`manifest`.')
    return tuple(dict.fromkeys(names.get(label, label) for label in labels))

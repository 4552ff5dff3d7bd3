"""Where a task's examples come from: Data and its parts, and Source, which a task's lane takes.

No TensorFlow here. media/listing finds the files, and media/readers reads them.
"""

import dataclasses
import os
import re
from typing import Literal, get_args

from model_code import label_groups, label_kinds, modalities
from model_code.errors import ConfigError, unknown
from model_code.fields import FilePath, check_fields, check_least
from model_code.modalities import Limits

# How a task's files and labels are found. Names from "kinetics" on stand for the layouts of published data sets.
Format = Literal['', 'folders', 'csv', 'jsonl', 'parquet', 'arrow', 'croissant', 'tar', 'kinetics', 'moments',
                 'audioset', 'vggsound', 'imagenet', 'pets', 'cifar10', 'cifar100']
FORMATS = get_args(Format)
# Formats whose files are found in the data folder if `manifest` names none.
OPTIONAL_MANIFEST = ('parquet', 'arrow')
# Formats whose examples have the columns that the annotations name, such as that of the groups.
WITH_COLUMNS = ('csv', 'jsonl', 'parquet', 'arrow', 'croissant', 'tar')
# Those of them whose rows may have texts and captions.
WITH_TEXTS = ('csv', 'jsonl', 'parquet', 'arrow', 'croissant')
# Formats that read annotation files, which `manifest` names.
WITH_MANIFEST = ('csv', 'jsonl', 'croissant', 'kinetics', 'moments', 'audioset', 'vggsound', 'pets')
# Formats that hold certain modalities only.
MODALITIES_OF = {'kinetics': ('video', 'audio'), 'moments': ('video', 'audio'), 'audioset': ('audio', 'video'),
                 'vggsound': ('audio', 'video'), 'imagenet': ('image',), 'pets': ('image',), 'cifar10': ('image',),
                 'cifar100': ('image',)}
# In a folder or manifest: where the version of the data belongs, which a run may be given.
VERSION_PLACE = '{data_version}'


@dataclasses.dataclass(frozen=True)
class Columns:
    """The names of a manifest's columns (CSV, Parquet, Arrow) or keys (JSON lines)."""
    path: str = 'path'
    """The media file, relative to the data folder. In Parquet and Arrow it may hold the media themselves."""
    label: str = ''
    """The column with the label or labels; '' takes 'label' or 'labels', whichever is there."""
    split: str = 'split'
    """The column with the split, train or eval. A manifest may lack it; '' ignores it."""
    start: str = 'start'
    """Where a segment of a longer sound or video begins, in seconds. Optional, like `split`."""
    end: str = 'end'
    """Where the segment ends, in seconds. Optional, like `split`."""
    extra: tuple[str, ...] = ()
    """Columns to keep in the examples as features of the same name, for evaluating slices of the data."""
    text: str = ''
    """In a text task, the column with the texts themselves, in place of paths; '' takes `text` if there is no column
    with paths. In other tasks, the column with the captions of the media, for Recipe(objective='captions')."""

    def __post_init__(self):
        check_fields(self, 'columns: ')
        reserved = modalities.example_features()
        for name in self.extra:
            if not re.fullmatch(r'[A-Za-z][A-Za-z0-9_]*', name) or name in reserved:
                raise ConfigError(f'columns: the extra column {name!r} becomes a feature of that name. Use letters, '
                                  f'digits and underscores, start with a letter, and avoid {", ".join(reserved)}.')
        named = [name for name in (self.path, self.text, self.label, self.split, self.start, self.end, *self.extra)
                 if name]
        for name in named:
            if named.count(name) > 1:
                raise ConfigError(f'columns: {name!r} is named twice; each column has one meaning.')
        if not self.path:
            raise ConfigError("columns: path is empty; name the column with the paths of the files.")


@dataclasses.dataclass(frozen=True)
class Data:
    """Where a task's examples come from, and what their labels are."""
    folder: FilePath = ''
    """The folder of the media: a path, or a URL that Beam's file systems open. '' is for a recipe that is only
    planned. {data_version} in it, or in a manifest, stands for the config's `data_version`."""
    manifest: tuple[str, ...] = ()
    """One or several annotation files, relative to `folder`; a Croissant file may be elsewhere. () means that the
    folder says itself what it is: metadata files and tables as Hugging Face names them, or else the class in the path:
    `<class>/<file>` or `<split>/<class>/<file>`."""
    format: Format = ''
    """How files and labels are found. '' goes by the manifest's ending, or by what is in the folder if there is no
    manifest; 'folders' are class folders, whatever else is in them."""
    columns: Columns = Columns()
    """The names of the manifest's columns or keys."""
    label_kind: str = 'single'
    """A name of `label_kinds.LABEL_KINDS`: 'single' is one label per example (a softmax), 'multi' several (a sigmoid
    per class), 'words' the words of a caption (as 'multi'), 'groups' one label in each of `label_groups` (a softmax per
    group)."""
    label_groups: tuple[str, ...] = ()
    """The questions asked about one example, such as ('verb', 'noun'), for label kind 'groups'. Labels are then
    written 'verb:cut' and 'noun:onion'."""
    allow_unlabelled: bool = False
    """Whether an example may have no label, for label kind 'multi': none of the classes is right. Otherwise it is
    rejected."""
    label_separator: str = '|'
    """The text between two labels in the manifest's labels column, for label kind 'multi'."""
    classes: tuple[str, ...] = ()
    """All labels, in any order. () takes the labels of the train split."""
    num_classes: int = 0
    """The number of classes, for a recipe planned without its data. 0 counts them in the data."""
    num_train_examples: int = 0
    """The number of train examples, for a recipe planned without its data. 0 counts them in the data."""
    limits: Limits = Limits()
    """How large a file may be."""
    eval_share: float = 0.2
    """The share of examples in eval if neither manifest nor folders name splits. A hash of the id decides, or of the
    group."""
    groups: str = ''
    """What belongs together and must not be in both splits, such as the clips of a scene or the sounds of a speaker: a
    manifest's column; or a regular expression over the path, whose first (group) is the name: r'^(cam\\d+)_'; or a CSV
    file with the columns path and group, relative to `folder`, absolute or a URL: 'scenes.csv'. '' leaves only the
    segments of one file together."""
    most_words: int = 1_000
    """For label kind 'words' without `classes`: how many words are labels, the most frequent ones of the train split.
    Others are left out."""

    def __post_init__(self):
        if isinstance(self.manifest, (str, os.PathLike)):  # one manifest is the usual case, so it needs no tuple
            object.__setattr__(self, 'manifest', (self.manifest,))

    def check(self, where: str, modality: str):
        """Raises ConfigError if a field is wrong for a task of this modality. where: such as 'Task digits: '."""
        check_fields(self, where)
        check_least(self, where, num_classes=0, num_train_examples=0, most_words=1)
        label_kinds.get_label_kind(self.label_kind, where)
        fitting = MODALITIES_OF.get(self.format, (modality,))
        if modality not in fitting:
            raise ConfigError(f'{where}format {self.format!r} holds {" or ".join(fitting)}, not {modality}.')
        if self.columns.text and self.format not in ('', *WITH_TEXTS):
            raise ConfigError(f'{where}columns.text is {self.columns.text!r}, but data of format {self.format!r} have '
                              f'no such column. Write a manifest ({", ".join(WITH_TEXTS)}), or leave `text` out.')
        if self.format and self.format not in OPTIONAL_MANIFEST and (
                bool(self.manifest) != (self.format in WITH_MANIFEST)):
            raise ConfigError(
                f'{where}format {self.format!r} reads annotation files; name them in `manifest`, relative to `folder`.'
                if not self.manifest else
                f'{where}format {self.format!r} takes no manifest; leave `manifest` out.')
        for path in (self.folder, *self.files):
            for place in re.findall(r'\{[^{}/]*\}', path):
                if place != VERSION_PLACE:
                    raise unknown('placeholder', place, (VERSION_PLACE,), f'{where}{path}: ')
        if not self.manifest and self.format not in ('', 'imagenet', *WITH_COLUMNS):
            self.check_columns(where)
        if '' in self.manifest:
            raise ConfigError(f'{where}the name of a manifest is empty. Name the file, or leave `manifest` out.')
        if len(set(self.manifest)) != len(self.manifest):
            raise ConfigError(f'{where}a manifest is named twice in {self.manifest}.')
        if self.groups:
            self._check_groups(where)
        if self.allow_unlabelled and not self.kind.several:
            raise ConfigError(f"{where}allow_unlabelled is for label_kind='multi', not {self.label_kind!r}.")
        if self.most_words != type(self)().most_words:
            if not self.kind.of_words:
                raise ConfigError(f"{where}most_words is for label_kind='words', not {self.label_kind!r}.")
            if self.classes:
                raise ConfigError(f'{where}most_words is {self.most_words}, but `classes` names the words. Leave one '
                                  'of them out.')
        if not self.label_separator:
            raise ConfigError(f'{where}label_separator is empty; give the text between two labels, such as "|".')
        if not 0 <= self.eval_share <= 1:
            raise ConfigError(f'{where}eval_share is {self.eval_share}; it must be from 0 to 1.')
        if len(set(self.classes)) != len(self.classes):
            raise ConfigError(f'{where}a class is named twice in {self.classes}.')
        if self.classes and self.num_classes not in (0, len(self.classes)):
            raise ConfigError(f'{where}Data(num_classes={self.num_classes}) contradicts its classes, of which there '
                              f'are {len(self.classes)}. Leave num_classes out.')
        if self.label_groups and not self.kind.grouped:
            raise ConfigError(f"{where}label_groups is {self.label_groups}, but label_kind is {self.label_kind!r}. Set "
                              "label_kind='groups', or leave label_groups out.")
        if self.kind.grouped:
            label_groups.check_names(where, self.label_groups)
        if self.classes:
            label_groups.class_ids(where, self.label_groups, self.classes)

    def _check_groups(self, where: str):
        """Raises ConfigError if `groups` is the name of a column that nothing can have, or a wrong pattern."""
        if self.group_pattern:
            try:
                re.compile(self.groups)
            except re.error as error:
                raise ConfigError(f'{where}groups {self.groups!r} is no regular expression: {error}.') from error
        elif self.group_column and self.format not in ('', *WITH_COLUMNS):
            raise self._no_group_column(where)

    def check_columns(self, where: str):
        """Raises ConfigError if a column is named (extra, texts, groups), for data that have no columns."""
        if self.columns.text:
            raise ConfigError(f'{where}columns.text is {self.columns.text!r}, but no manifest has this column. Name '
                              'one in `manifest`, or leave `text` out.')
        if self.columns.extra:
            raise ConfigError(f'{where}columns.extra is {self.columns.extra}, but no manifest has these columns. '
                              'Name one in `manifest`, or leave `extra` out.')
        if self.group_column:
            raise self._no_group_column(where)

    def _no_group_column(self, where: str) -> ConfigError:
        return ConfigError(f'{where}groups is {self.groups!r}, the name of a column, but no manifest of '
                           f'{", ".join(WITH_COLUMNS[:-1])} has it. Name one in `manifest`, or write a regular '
                           r"expression over the path, like groups=r'^(cam\d+)_', or name a CSV file with the columns "
                           'path and group.')

    @property
    def has_version(self) -> bool:
        """Whether the folder or a manifest has a place for the version of the data."""
        return any(VERSION_PLACE in path for path in (self.folder, *self.files))

    @property
    def files(self) -> tuple[str, ...]:
        """The files that the fields name: manifests and the file of groups."""
        return (*self.manifest, self.group_file) if self.group_file else self.manifest

    @property
    def group_file(self) -> str:
        """`groups` if it is the path of a CSV file with groups, else ''."""
        return self.groups if self.groups.lower().endswith('.csv') else ''

    @property
    def group_column(self) -> str:
        """`groups` if it is the name of a manifest's column, else ''."""
        return self.groups if re.fullmatch(r'[\w -]+', self.groups) else ''

    @property
    def group_pattern(self) -> str:
        """`groups` if it is a regular expression over the path, else ''."""
        return '' if self.group_file or self.group_column else self.groups

    @property
    def kind(self) -> label_kinds.LabelKind:
        """The row of label_kinds.LABEL_KINDS."""
        return label_kinds.get_label_kind(self.label_kind)


@dataclasses.dataclass(frozen=True)
class Source:
    """One task's name, modality and data: all that its lane depends on. Recipe and thresholds are no part of it."""
    name: str
    """The task's name."""
    modality: str
    """A name of `modalities.MODALITIES`."""
    data: Data
    """Where the examples come from."""

    def __post_init__(self):
        check_fields(self, f'Task {self.name}: ')
        modalities.get_modality(self.modality)
        self.data.check(f'Task {self.name}: ', self.modality)

    def at_version(self, version: str) -> 'Source':
        """The source with the version of its data in the places for it. Without such a place it stays as it is.

        Raises ConfigError if there is a place but no version, or if the version could lead out of its place.
        """
        if not self.data.has_version:
            return self
        place = next(path for path in (self.data.folder, *self.data.files) if VERSION_PLACE in path)
        if not version:
            raise ConfigError(f'Task {self.name}: {place} has a place for the version of the data, but none is given. '
                              'Give it: `data_version` of the config (--set data_version=...), or of the run.')
        if not re.fullmatch(r'[\w.=+-]+(/[\w.=+-]+)*', version, re.ASCII) or '..' in version:
            raise ConfigError(f'Task {self.name}: data_version is {version!r}; in {place} it must be a part of a path: '
                              'letters, digits and _ . = + - /, without "..".')
        folder, groups, *manifest = (path.replace(VERSION_PLACE, version) for path in
                                     (self.data.folder, self.data.groups, *self.data.manifest))
        return dataclasses.replace(self, data=dataclasses.replace(self.data, folder=folder, manifest=tuple(manifest),
                                                                  groups=groups))

    @property
    def captioned(self) -> bool:
        """Whether the examples have captions beside their media."""
        return bool(self.data.columns.text) and not modalities.get_modality(self.modality).in_rows

    def group_ids(self, labels) -> tuple[tuple[int, ...], ...]:
        """`label_groups.class_ids` of a vocabulary; () without label groups. Errors name the task."""
        return label_groups.class_ids(f'Task {self.name}: ', self.data.label_groups, labels)

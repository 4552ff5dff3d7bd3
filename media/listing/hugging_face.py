"""Folders as Hugging Face's datasets read and write them, without any setting.

imagefolder, audiofolder and videofolder: metadata.csv, .jsonl or .parquet at the top or in the folder of a split, with
a column file_name. push_to_hub and save_to_disk: data/train-00000-of-00002.parquet, train/data-00000-of-00001.arrow,
with the media inside. Class names: in the schema of a table, or in the YAML at the beginning of README.md. Source:
huggingface.co/docs/datasets (image_dataset, repository_structure), and its packaged_modules/folder_based_builder.
"""

import dataclasses
import os
import posixpath
import re

import yaml

from media.listing import files
from media.listing.annotations import Annotations, number_names, shown
from media.listing.collector import SPLITS, Collector, split_of_path
from media.listing.folders import media_endings
from model_code import remote_files
from model_code.errors import ConfigError
from model_code.urls import is_url

METADATA = ('metadata.csv', 'metadata.jsonl', 'metadata.parquet')
TABLES = ('.parquet', '.arrow')
# What `polyvit data export` writes beside a Croissant file. It is read by that file's name only.
EXPORTED = '.croissant.parquet'
_MAX_FOLDERS = 1_000  # below the data folder that are looked into
_MAX_README = 16 << 20  # bytes


def find(collector: Collector) -> list[Annotations]:
    """The annotation files that a data folder without a manifest has; [] if it is to be read as class folders.

    Tables count if there are no media files, or if the format asks for them. Raises ConfigError if there are several
    metadata files in a folder, or if some tables name a split and others do not.
    """
    root, format_name = collector.data.folder, collector.data.format
    folders = _folders(root)
    found = []
    if not format_name:
        for folder, names in folders.items():
            metadata = [name for name in METADATA if name in names]
            if len(metadata) > 1:
                raise ConfigError(f'{root}/{folder} has {" and ".join(metadata)}. Keep one, or name it in `manifest`.')
            found += [Annotations(folder + name, folder, split_of_path(folder + name), True) for name in metadata]
    if found:
        return _with_names(collector, found)
    endings = (f'.{format_name}',) if format_name else TABLES
    tables = sorted(folder + name for folder, names in folders.items() for name in names
                    if name.lower().endswith(endings) and not name.lower().endswith(EXPORTED))
    if format_name and not tables:
        raise ConfigError(f'{root} has no {endings[0]} file, neither itself nor in data or the folder of a split. Name '
                          'them in `manifest`.')
    if tables and not format_name and len(files.walk(root, media_endings(collector.source.modality)).files):
        collector.remark(f'{shown(tables)} are not read, since there are media files: name them in `manifest` if they '
                         'say the labels')
        return []
    found = [Annotations(name, '', split_of_path(name), True) for name in tables]
    without = [file.name for file in found if not file.split]
    if without and len(without) < len(found):
        raise ConfigError(f'{root}: the name of {without[0]} says no split, but that of '
                          f'{next(file.name for file in found if file.split)} does. Rename it, or name in `manifest` '
                          'those that belong to the task.')
    return _with_names(collector, found)


def _with_names(collector: Collector, annotations: list[Annotations]) -> list[Annotations]:
    names = _readme_names(collector) if annotations else {}
    return [dataclasses.replace(file, names=names) for file in annotations]


def _folders(root: str) -> dict[str, set[str]]:
    """Folder, as '' or 'data/' -> the names in it: of the data folder, of `data`, and of the folders of splits."""
    top = _names(root, '')
    inner = [f'{name}/' for name in top if name.lower() == 'data' or name.lower() in SPLITS][:_MAX_FOLDERS]
    folders = {'': top, **{folder: _names(root, folder) for folder in inner}}
    for folder in inner:
        if folder.lower() == 'data/':
            for name in sorted(folders[folder])[:_MAX_FOLDERS]:
                if name.lower() in SPLITS:
                    folders[f'{folder}{name}/'] = _names(root, f'{folder}{name}/')
    return folders


def _names(root: str, folder: str) -> set[str]:
    if is_url(root):
        return set(remote_files.list_folder(posixpath.join(root, folder)))
    try:
        return {name for name in os.listdir(f'{root}/{folder}') if not name.startswith('.')}
    except OSError:
        return set()  # a file, or a folder that the walk will reject


def _readme_names(collector: Collector) -> dict[str, dict[str, str]]:
    """Column -> number of a class -> its name, from dataset_info in the YAML at the beginning of README.md; or {}."""
    root = collector.data.folder
    if not files.exists(root, 'README.md'):
        return {}
    with files.open_text(root, 'README.md', _MAX_README) as text:
        content = text.read()
    match = re.match(r'---\r?\n(.*?)\r?\n---', content, re.DOTALL)
    try:
        card = yaml.load(match[1], _NoAliases) if match else None
        infos = card.get('dataset_info') if isinstance(card, dict) else None
        found = {}
        for info in infos if isinstance(infos, list) else [infos]:
            for feature in info.get('features') or [] if isinstance(info, dict) else []:
                names = _class_label(feature) if isinstance(feature, dict) else None
                if names:
                    found.setdefault(str(feature.get('name')), names)
    except (yaml.YAMLError, RecursionError, ValueError, TypeError, AttributeError):
        collector.remark('the YAML at the beginning of README.md cannot be read, so that numbers stay numbers')
        return {}
    return {column: number_names(f'README.md in {root}', names) for column, names in found.items()}


class _NoAliases(yaml.SafeLoader):
    """Safe, and without aliases, which let a short text stand for a huge value."""

    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError('aliases are not read')
        return super().compose_node(parent, index)


def _class_label(feature: dict) -> list[str] | None:
    """The names of `dtype: {class_label: {names: {'0': ...}}}`, also in a sequence or list; None without them."""
    for key in ('dtype', 'sequence', 'list'):
        value = feature.get(key)
        if isinstance(value, dict):
            label = value.get('class_label')
            names = label.get('names') if isinstance(label, dict) else None
            if isinstance(names, dict):
                by_number = {int(number): str(name) for number, name in names.items()}
                return [by_number[i] for i in range(len(by_number))] if set(by_number) == set(range(len(by_number))) \
                    else None
            return [str(name) for name in names] if isinstance(names, list) else _class_label(value)
    return None

"""Lists a task's media, with their labels and splits: from folders, manifests or archives. No TensorFlow, no TFX.

Only names and annotations are read here, no media. A fault of the layout or of a whole manifest raises ConfigError,
before anything starts. A fault of one row or name becomes a Rejection in Listing.rejected. A fault of a file (missing,
empty, corrupt) shows when the file is read. Nothing is left out silently.

Names need not fit into memory: what is beyond media.rows.MEMORY_ROWS is in temporary files. docs/beam.md has figures.
"""

import contextlib
import dataclasses
import hashlib
import os
from collections.abc import Iterable, Iterator

from media import paths
from media.entries import TEXT, Entry, Listing
from media.listing import (
    cifar,
    columnar,
    croissant,
    dataset_formats,
    files,
    folders,
    hugging_face,
    manifests,
    tars,
)
from media.listing.annotations import Annotations
from media.listing.collector import SPLITS, Collector, hashed_split, split_of_path, splits_of_files  # noqa: F401
from media.sandbox.tables import TableReader
from model_code.data import OPTIONAL_MANIFEST, Source
from model_code.errors import ConfigError
from model_code.urls import is_url

# A task's format -> the function that adds all its examples to a Collector. The others are formats of annotation files
# (_add_all).
_FORMATS = {
    'folders': folders.add_all,
    'tar': tars.add_all,
    'kinetics': dataset_formats.add_kinetics,
    'moments': dataset_formats.add_moments,
    'audioset': dataset_formats.add_audioset,
    'vggsound': dataset_formats.add_vggsound,
    'imagenet': dataset_formats.add_imagenet,
    'pets': dataset_formats.add_pets,
    'cifar10': cifar.add_all,
    'cifar100': cifar.add_all,
    'croissant': croissant.add_all,
}


def list_media(source: Source) -> Listing:
    """All that the task's data name: the entries, sorted by id, and the rows and files that are rejected.

    Raises ConfigError if the folder or a manifest is missing, a manifest lacks columns, the layout is wrong, or there
    is no entry.
    """
    if not source.data.folder:
        raise ConfigError(f'Task {source.name} has no data. Set `folder` of its data to the folder of its media.')
    if not is_url(source.data.folder) and not os.path.isdir(source.data.folder):
        raise ConfigError(f'Task {source.name}: there is no folder {source.data.folder}. Set `folder` of its data to '
                          'the folder of its media.')
    collector = Collector(source)
    try:
        by_rows = _add_all(collector)
    except ConfigError as error:
        if f'Task {source.name}' in str(error):
            raise
        raise ConfigError(f'Task {source.name}: {error}') from error
    except Exception as error:
        # A file can become unreadable. Each of Beam's file systems raises its own errors.
        if not isinstance(error, OSError) and not is_url(source.data.folder):
            raise
        raise ConfigError(
            f'Task {source.name}: {source.data.folder} cannot be read: {files.files_error(error)}.') from error
    if by_rows and not is_url(source.data.folder):
        listing = collector.listing(paths.Links(source.data.folder).check)
    else:
        listing = collector.listing()
    if not listing.entries:
        if collector.no_path_fits:
            raise ConfigError(f'Task {source.name}: {collector.no_path_fits}')
        first = ''.join(f' The first of {len(listing.rejected):,} rejected is {rejection.path} '
                        f'({rejection.reason}). {rejection.detail}' for rejection in listing.rejected[:1])
        where = ((f'the manifest {", ".join(source.data.manifest)} names none' if source.data.manifest else
                  'its annotation files name none') if by_rows else
                 f'none of its files ends in {", ".join(folders.media_endings(source.modality))}')
        if listing.left_out:
            where += '; it has ' + ', '.join(f'{tally.count:,} {ending or "without an ending"}'
                                             for ending, tally in sorted(listing.left_out.items()))
        raise ConfigError(f'Task {source.name}: {source.data.folder} has no {source.modality} files ({where}).{first}')
    return listing


def _add_all(collector: Collector) -> bool:
    """Adds all that the task's data name, by their format. Returns whether rows of annotation files name the media."""
    data = collector.data
    format_name = data.format
    if not format_name and data.manifest and all(manifests.format_of(name) == 'croissant' for name in data.manifest):
        format_name = 'croissant'
    if format_name in _FORMATS:
        _FORMATS[format_name](collector)
        return bool(data.manifest)
    splits = splits_of_files(data.manifest) if data.columns.split else {}
    annotations = ([Annotations(name, split=splits.get(name)) for name in data.manifest]
                   or hugging_face.find(collector))
    with TableReader(data.folder) as reader:
        for file in annotations:
            format_name = data.format or manifests.format_of(file.name)
            if format_name in OPTIONAL_MANIFEST:
                # train-00000-of-00002.parquet: a table with media inside has no other place for the split.
                if data.columns.split and not file.split:
                    with contextlib.suppress(ConfigError):  # a name of both splits, as of a file with a column for them
                        file = dataclasses.replace(file, split=split_of_path(file.name))
                columnar.add_file(collector, file, reader)
            else:
                manifests.add_file(collector, file, format_name)
    if not annotations:
        data.check_columns(f'Task {collector.source.name}: ')
        folders.add_all(collector)
    return bool(annotations)


def with_stats(source: Source, entries: Iterable[Entry]) -> Iterator[tuple[Entry, files.FileStat]]:
    """Each entry, with the size of its media and the modification time of its file; NO_FILE if there is no file."""
    remote = files.remote_stats(source.data.folder) if is_url(source.data.folder) else None
    path, stat = None, files.NO_FILE
    for entry in entries:
        if entry.path != path:  # the entries of an archive follow each other
            path = entry.path
            stat = (files.local_stat(f'{source.data.folder}/{path}') if remote is None
                    else remote.get(path, files.NO_FILE))
        size = len(entry.text.encode('utf-8', 'surrogatepass')) if entry.record == TEXT else entry.length
        yield entry, stat if size < 0 or stat == files.NO_FILE else stat._replace(size=size)


def media_bytes(source: Source, entries: Iterable[Entry]) -> int:
    """The size of the media of these entries, which are sorted, about. A file with several segments counts once."""
    total, before = 0, ''
    for entry, stat in with_stats(source, entries):
        if entry.member or entry.path != before:
            total += max(stat.size, 0)
        before = entry.path
    return total


def media_fingerprint(source: Source, listing: Listing | None = None,
                      stats: Iterable[tuple[Entry, files.FileStat]] | None = None) -> str:
    """A hash of all entries, the sizes and modification times of their files, and the rejections: 32 hex digits.

    It changes when a file is added, removed, edited, relabelled or moved to another split, even if a manifest stays the
    same. No media are read. listing, stats: list_media(source) and with_stats(source, listing.entries), if known.
    """
    listing = listing or list_media(source)
    digest = hashlib.sha256()
    for entry, stat in stats or with_stats(source, listing.entries):
        digest.update(repr((entry.path, entry.labels, entry.split, entry.start, entry.end, entry.offset, entry.length,
                            entry.member, entry.record, entry.group, entry.extra, tuple(stat),
                            *((entry.text,) if entry.text else ()))).encode())
    for rejection in listing.rejected:
        digest.update(repr((rejection.path, rejection.reason)).encode())
    return digest.hexdigest()[:32]


def classes_of(source: Source, listing: Listing | None = None) -> tuple[str, ...]:
    """The classes: source.data.classes, or else the sorted labels of the train split. listing: if it is known."""
    if source.data.classes:
        return source.data.classes
    classes = train_labels(listing or list_media(source))
    if not classes:
        raise ConfigError(f'Task {source.name}: its train split is empty, so it has no classes to learn. Put files '
                          f'into it, or set eval_share below {source.data.eval_share}.')
    return tuple(sorted(classes))


def train_labels(listing: Listing) -> set[str]:
    return {label for entry in listing.entries if entry.split == 'train' for label in entry.labels}

"""Class folders: `<class>/<file>` or `<split>/<class>/<file>`."""

import collections
import itertools

from media import paths
from media.entries import Entry
from media.findings import NAMED
from media.listing import files
from media.listing.collector import SPLITS, Collector
from media.rejections import Rejection
from model_code import words
from model_code.errors import ConfigError
from model_code.modalities import get_modality


def media_endings(modality: str) -> tuple[str, ...]:
    """The endings of files that may hold this modality."""
    row = get_modality(modality)
    return row.endings + row.other_endings


def walk_media(collector: Collector) -> files.Walk:
    """The media files below the task's data folder.

    Files that are left out by their ending are counted, and folders that cannot be listed are rejected and lost.
    """
    row = get_modality(collector.source.modality)
    unread = {ending: Rejection('unsupported', f'Files that end in {ending} are not read. Convert it to '
                                               f'{" or ".join(row.endings)}.') for ending in row.unread_endings}
    walked = files.walk(collector.data.folder, media_endings(row.name), unread)
    collector.left_out = walked.left_out
    for path, rejection in walked.rejected_folders.items():
        collector.reject(rejection.at(path))
        collector.lose(path, rejection.detail)
    return walked


def add_all(collector: Collector):
    """Adds every media file in a class folder. Others are rejected. A class folder without any is lost.

    Raises ConfigError if no file is in a class folder, or if a folder beside those of splits is of no split.
    """
    walked = walk_media(collector)
    for path, rejection in walked.rejected_files.items():
        collector.reject(rejection.at(path))
    # A class may be called "train" (the vehicle). A folder is a split only if it contains class folders.
    has_splits = any(path.count('/') >= 2 and _top(path).lower() in SPLITS for path in walked.files)
    depth = 2 if has_splits else 1  # of folders above a file
    _check_layout(collector, walked, depth)
    misfit = Rejection('bad_path', f'It does not fit the layout {"<split>/" if has_splits else ""}<class>/<file> of '
                                   'the other files. Move it, or write a manifest.')
    not_empty = set()  # class folders with a file that is kept, or with folders in them
    # In sorted order, the files below one folder follow each other.
    for parent, below in itertools.groupby(walked.files, lambda path: path.split('/')[:-1][:depth + 1]):
        folder, count = '/'.join(parent), 0
        for path in below:
            count += 1
            if len(parent) != depth:
                collector.reject(misfit.at(path))
                continue
            try:
                labels = collector.label_list(parent[-1:])
                split = SPLITS[parent[0].lower()] if has_splits else ''
                if collector.add(Entry(path, labels, split), ''):
                    not_empty.add(folder)
            except Rejection as rejection:
                collector.reject(rejection.at(path))
        if len(parent) > depth:
            not_empty.add(folder.rpartition('/')[0])
            collector.lose(folder, f'{words.count(count, "file")} below it, but a class folder has only files')
    _lose_empty(collector, walked, depth, not_empty)


def _top(path: str) -> str:
    return path.partition('/')[0]


def _check_layout(collector: Collector, walked: files.Walk, depth: int):
    """Raises ConfigError if the folders are not those of classes, or of splits and classes."""
    where = f'Task {collector.source.name}: '
    if len(walked.files) and not any(path.count('/') == depth for path in walked.files):
        raise ConfigError(f'{where}no file in {collector.data.folder} is in a class folder, for example '
                          f'{next(iter(walked.files))}. Expected <class>/<file> or <split>/<class>/<file>, or a '
                          'manifest.')
    tops = dict.fromkeys(_top(path) for path in walked.files if '/' in path)
    of_splits = [top for top in tops if top.lower() in SPLITS]
    others = [top for top in tops if top.lower() not in SPLITS]
    if depth == 2 and others:
        raise ConfigError(
            f'{where}{_named(others)} in {collector.data.folder} {"is" if len(others) == 1 else "are"} beside '
            f'{_named(of_splits)}, but of no split, so nothing says whether to learn from the files there. Rename '
            f'{"it" if len(others) == 1 else "them"} to one of {", ".join(SPLITS)}, or move '
            f'{"it" if len(others) == 1 else "them"} away.')
    if depth == 1 and len(of_splits) > 1 and not others:
        raise ConfigError(
            f'{where}{_named(of_splits)} in {collector.data.folder} are names of splits, but have no class folders in '
            'them. Expected <split>/<class>/<file>. If they are the classes, write a manifest.')


def _named(folders: list[str]) -> str:
    more = f' and {len(folders) - NAMED:,} more' if len(folders) > NAMED else ''
    return ', '.join(map(paths.shown, folders[:NAMED])) + more


def _lose_empty(collector: Collector, walked: files.Walk, depth: int, not_empty: set[str]):
    """Loses the folders of classes, and of splits, without a file that is kept."""
    rejected_in = collections.defaultdict(collections.Counter)  # folder -> ending -> files
    for path in walked.rejected_files:
        rejected_in[path.rpartition('/')[0]][files.ending_of(path)] += 1
    split_folders = {folder.rpartition('/')[0] for folder in walked.folders if folder.count('/') == 1}
    for folder, contents in walked.folders.items():
        if not folder or folder in not_empty or depth == 2 and _top(folder).lower() not in SPLITS:
            continue
        if folder.count('/') == depth - 1:
            collector.lose(folder, _emptiness(collector, contents, rejected_in[folder]))
        elif folder.count('/') == depth - 2 and folder not in split_folders:
            collector.lose(folder, 'no class folder in it')


def _emptiness(collector: Collector, contents: files.Contents, rejected: collections.Counter) -> str:
    """What is in a class folder without media. rejected: its rejected files by ending."""
    found = {**contents.others, **{ending: contents.others.get(ending, 0) + count for ending, count in
                                   rejected.most_common(NAMED)}}
    if contents.media:
        found['rejected by name'] = contents.media
    names = ', '.join(f'{count:,} {ending or "without an ending"}' for ending, count in sorted(found.items()))
    return f'no {collector.source.modality} file that is read in it, but {names}' if found else 'it is empty'

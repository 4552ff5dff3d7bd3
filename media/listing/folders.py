"""Class folders: `<class>/<file>` or `<split>/<class>/<file>`."""

from media.entries import Entry
from media.listing import files
from media.listing.collector import SPLITS, Collector
from media.rejections import Rejection
from model_code.errors import ConfigError
from model_code.modalities import get_modality


def media_endings(modality: str) -> tuple[str, ...]:
    """The endings of files that may hold this modality."""
    row = get_modality(modality)
    return row.endings + row.other_endings


def walk_media(collector: Collector) -> files.Walk:
    """The media files below the task's data folder. Folders that cannot be listed are rejected."""
    walked = files.walk(collector.data.folder, media_endings(collector.source.modality))
    for path, rejection in walked.rejected_folders.items():
        collector.reject(rejection.at(path))
    return walked


def add_all(collector: Collector):
    """Adds every media file in a class folder. Other media files are rejected.

    Raises ConfigError if no file is in a class folder.
    """
    source = collector.source
    walked = walk_media(collector)
    for path, rejection in walked.rejected_files.items():
        collector.reject(rejection.at(path))
    # A class may be called "train" (the vehicle). A folder is a split only if it contains class folders.
    has_splits = any(path.count('/') >= 2 and path.split('/', 1)[0].lower() in SPLITS for path in walked.files)
    layout = '<split>/<class>/<file>' if has_splits else '<class>/<file>'
    splits = f' Splits: {", ".join(SPLITS)}.' if has_splits else ''
    misplaced, first_misplaced = 0, ''
    for path in walked.files:
        parts = path.split('/')
        split = SPLITS.get(parts[0].lower()) if has_splits else None
        if not _fits(path, has_splits):
            misplaced, first_misplaced = misplaced + 1, first_misplaced or path
            continue
        try:
            labels = collector.label_list(parts[-2:-1])
            collector.add(Entry(path, labels, split or ''), '')
        except Rejection as rejection:
            collector.reject(rejection.at(path))
    if misplaced and misplaced == len(walked.files):
        raise ConfigError(f'Task {source.name}: no file in {source.data.folder} is in a class folder, for example '
                          f'{first_misplaced}. Expected <class>/<file> or <split>/<class>/<file>, or a manifest.')
    for path in walked.files if misplaced else ():
        if not _fits(path, has_splits):
            collector.reject(Rejection('bad_path', f'It does not fit the layout {layout} of the other files. Move it, '
                                                   f'or write a manifest.{splits}', path))


def _fits(path: str, has_splits: bool) -> bool:
    parts = path.split('/')
    return len(parts) == 3 and parts[0].lower() in SPLITS if has_splits else len(parts) == 2

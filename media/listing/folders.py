"""Class folders: `<class>/<file>` or `<split>/<class>/<file>`."""

from media.entries import Entry
from media.listing import files
from media.listing.collector import SPLITS, Collector, hashed_split
from media.rejections import Rejection
from model_code.errors import ConfigError
from model_code.modalities import get_modality


def media_endings(modality: str) -> tuple[str, ...]:
    """The name endings of files that may hold this modality."""
    row = get_modality(modality)
    return row.endings + row.other_endings


def walk_media(collector: Collector) -> files.Walk:
    """The media files below the task's data; folders that can't be looked into are rejected."""
    walked = files.walk(collector.data.folder, media_endings(collector.source.modality))
    for path, rejection in walked.rejected_folders.items():
        collector.reject(rejection.at(path))
    return walked


def add_all(collector: Collector):
    """Adds every media file that lies in a class folder; one that lies elsewhere is rejected.

    Raises ConfigError where no file lies in a class folder.
    """
    source = collector.source
    walked = walk_media(collector)
    for path, rejection in walked.rejected_files.items():
        collector.reject(rejection.at(path))
    # A class may be called "train" (the vehicle): a folder is a split when it has class folders in it.
    has_splits = any(p.count('/') >= 2 and p.split('/', 1)[0].lower() in SPLITS for p in walked.files)
    layout = '<split>/<class>/<file>' if has_splits else '<class>/<file>'
    splits = f' Splits: {", ".join(SPLITS)}.' if has_splits else ''
    misplaced = []
    for path in walked.files:
        parts = path.split('/')
        split = SPLITS.get(parts[0].lower()) if has_splits else None
        if len(parts) != (3 if has_splits else 2) or (has_splits and split is None):
            misplaced.append(path)
            continue
        try:
            labels = collector.label_list(parts[-2:-1])
            collector.add(Entry(path, labels, split or hashed_split(path, source.data.eval_share)), '')
        except Rejection as rejection:
            collector.reject(rejection.at(path))
    if misplaced and len(misplaced) == len(walked.files):
        raise ConfigError(f'Task {source.name}: {misplaced[0]} in {source.data.folder} is in no class folder, nor is '
                          'any other file. Expected <class>/<file> or <split>/<class>/<file>, or a manifest.')
    for path in misplaced:
        collector.reject(Rejection('bad_path', f'It does not fit the layout {layout} of the other files. Move it, or '
                                               f'write a manifest.{splits}', path))

"""Which files a task has, their labels and splits: from class folders or a CSV manifest. No TensorFlow, no TFX.

Only names are read here, no content. What is wrong with the layout as a whole is a ConfigError before anything starts;
what is wrong with one file (missing, empty, corrupt) is found when it is read, and ends in `rejected`.
"""

import csv
import dataclasses
import hashlib
import io
import json
import os
import posixpath
import re
import stat

from model_code.errors import ConfigError
from model_code.modalities import get_modality
from model_code.tasks import Task

# A split's name in a folder or manifest -> the split that the pipeline has.
SPLITS = {'train': 'train', 'eval': 'eval', 'test': 'eval', 'val': 'eval', 'validation': 'eval'}

# Endings of media that the readers may not take. In class folders such files are listed too, so that they end in
# `rejected` where someone sees them; a file of no media ending (notes.txt, Thumbs.db) is not the data's.
_OTHER_MEDIA = {
    'image': ('.jfif', '.gif', '.bmp', '.webp', '.tif', '.tiff', '.heic', '.avif'),
    'audio': ('.flac', '.mp3', '.ogg', '.opus', '.m4a', '.aac', '.wma', '.aif', '.aiff'),
    'video': ('.mov', '.m4v', '.avi', '.mkv', '.webm', '.mpg', '.mpeg', '.wmv', '.flv', '.3gp'),
}

_MAX_MANIFEST_BYTES = 1 << 30
_CONTROL = re.compile(r'[\x00-\x1f\x7f]')


@dataclasses.dataclass(frozen=True)
class Entry:
    """A media file: its path relative to the task's data with '/' (the example's id), labels, and 'train' or 'eval'."""
    path: str
    labels: tuple[str, ...]
    split: str


def list_media(task: Task) -> list[Entry]:
    """All files of the task, sorted by path.

    Raises ConfigError for a missing folder or manifest, a manifest without its columns or with a bad row, a layout that
    is neither `<class>/<file>` nor `<split>/<class>/<file>`, a path or symbolic link out of the data folder, no files.
    """
    if not task.data:
        raise ConfigError(f'Task {task.name} has no data: set its `data` to the folder that holds the media.')
    if not _is_remote(task.data) and not os.path.isdir(task.data):
        raise ConfigError(f'Task {task.name}: there is no folder {task.data}. Set `data` to the folder of its media.')
    entries = _from_manifest(task) if task.manifest else _from_folders(task)
    if not entries:
        where = f'the manifest {task.manifest[0]} names none' if task.manifest else (
            f'no file ends in {", ".join(get_modality(task.modality).extensions)} in a class folder')
        raise ConfigError(f'Task {task.name}: {task.data} has no {task.modality} files ({where}).')
    for entry in entries:
        _check_text(task, entry)
    _refuse_links_out(task, entries)
    return sorted(entries, key=lambda entry: entry.path)


def file_facts(task: Task, entries: list[Entry]) -> list[tuple[int, int]]:
    """(size in bytes, time of the last change in ns) of each entry's file; (-1, -1) where there is none."""
    if _is_remote(task.data):
        known = _remote_files(task.data)
        return [known.get(entry.path, (-1, -1)) for entry in entries]
    facts = []
    for entry in entries:
        try:
            status = os.stat(os.path.join(task.data, entry.path))
            facts.append((status.st_size, status.st_mtime_ns))
        except OSError:
            facts.append((-1, -1))
    return facts


def media_fingerprint(task: Task) -> str:
    """A hash over path, labels, split, size and time of change of every file: 32 hex digits. Reads no content.

    It changes when a file is added, removed, edited, relabelled or moved to another split, behind a manifest too.
    """
    entries = list_media(task)
    digest = hashlib.sha256()
    for entry, facts in zip(entries, file_facts(task, entries)):
        digest.update(json.dumps([entry.path, entry.labels, entry.split, *facts]).encode() + b'\n')
    return digest.hexdigest()[:32]


def classes_of(task: Task) -> tuple[str, ...]:
    """The label domain: task.classes, or the sorted labels of the train split."""
    if task.classes:
        return task.classes
    classes = {label for entry in list_media(task) if entry.split == 'train' for label in entry.labels}
    if not classes:
        raise ConfigError(f'Task {task.name}: its train split is empty, so it has no classes to learn. Put files into '
                          f'it, or set eval_share below {task.eval_share}.')
    return tuple(sorted(classes))


def hashed_split(path: str, eval_share: float) -> str:
    """The split of a file that nobody assigned: by a hash of its path, so the same at every run."""
    position = int.from_bytes(hashlib.sha256(path.encode()).digest()[:8], 'big') / 2 ** 64
    return 'eval' if position < eval_share else 'train'


def _check_text(task: Task, entry: Entry):
    """Paths become ids, labels become lines of a vocabulary file: both must be text, labels without line breaks."""
    try:
        for text in (entry.path, *entry.labels):
            text.encode()
    except UnicodeEncodeError:
        raise ConfigError(f'Task {task.name}: the name {entry.path!a} in {task.data} is not UTF-8. Rename the file.')
    for label in entry.labels:
        if _CONTROL.search(label):
            raise ConfigError(f'Task {task.name}: {entry.path} has the label {label!a}; a label may have no line '
                              'break or other control character.')


def _is_remote(path: str) -> bool:
    return '://' in path


# Class folders.

def _from_folders(task: Task) -> list[Entry]:
    endings = get_modality(task.modality).extensions + _OTHER_MEDIA.get(task.modality, ())
    paths = [p for p in _walk(task) if p.lower().endswith(endings)]
    # A class may be called "train" (the vehicle): a folder is a split when it has class folders in it.
    has_splits = any(len(parts) >= 3 and parts[0].lower() in SPLITS for parts in (p.split('/') for p in paths))
    entries = []
    for path in paths:
        parts = path.split('/')
        if has_splits:
            split = SPLITS.get(parts[0].lower())
            if len(parts) != 3 or split is None:
                raise ConfigError(
                    f'Task {task.name}: {path} in {task.data} does not fit the layout <split>/<class>/<file> of the '
                    f'other files. Move it, or write a manifest. Splits: {", ".join(SPLITS)}.')
            entries.append(Entry(path, (parts[1],), split))
        elif len(parts) == 2:
            entries.append(Entry(path, (parts[0],), hashed_split(path, task.eval_share)))
        else:
            raise ConfigError(f'Task {task.name}: {path} in {task.data} is in no class folder. Expected '
                              '<class>/<file> or <split>/<class>/<file>, or a manifest.')
    return entries


def _walk(task: Task) -> list[str]:
    """Relative paths of the files below the data folder, hidden ones left out, at most four names deep."""
    if _is_remote(task.data):
        return [p for p in _remote_files(task.data) if not any(part.startswith('.') for part in p.split('/'))]
    found = []

    def visit(folder, prefix, depth):
        with os.scandir(folder) as items:
            for item in items:
                if item.name.startswith('.'):
                    continue
                relative = prefix + item.name
                if item.is_dir():
                    if item.is_symlink():
                        _refuse_link_out(task, relative)
                    if depth < 4:
                        visit(item.path, relative + '/', depth + 1)
                else:
                    found.append(relative)

    try:
        visit(task.data, '', 1)
    except OSError as error:
        raise ConfigError(f'Task {task.name}: {error.filename} cannot be listed ({error.strerror}).') from error
    return found


# Manifests.

def _from_manifest(task: Task) -> list[Entry]:
    where = f'Task {task.name}: the manifest {task.manifest[0]} in {task.data}'
    if not _safe(task.manifest[0]):
        raise ConfigError(f'{where} is outside of the data folder. Give its path relative to the folder.')
    reader = csv.DictReader(io.StringIO(_read_manifest(task, where), newline=''), strict=True)
    try:
        columns = [(name or '').strip() for name in reader.fieldnames or ()]
        reader.fieldnames = columns
        label_column = _label_column(task, columns, where)
        entries, first_row = [], {}
        for row in reader:
            entry = _manifest_entry(task, row, label_column, f'{where}, line {reader.line_num}')
            if entry.path in first_row:
                raise ConfigError(f'{where}, line {reader.line_num}, names {entry.path} again (first on line '
                                  f'{first_row[entry.path]}). A file may be named once: its path is the example\'s id.')
            first_row[entry.path] = reader.line_num
            entries.append(entry)
    except csv.Error as error:
        raise ConfigError(f'{where}, line {reader.line_num}, is not valid CSV: {error}.') from error
    return entries


def _read_manifest(task: Task, where: str) -> str:
    path = posixpath.join(task.data, task.manifest[0])
    try:
        if _is_remote(path):
            from apache_beam.io.filesystems import FileSystems
            with FileSystems.open(path) as file:
                content = file.read(_MAX_MANIFEST_BYTES + 1)
        else:
            with open(path, 'rb') as file:
                content = file.read(_MAX_MANIFEST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f'{where} is not there or cannot be read ({error.strerror or error}).') from error
    if len(content) > _MAX_MANIFEST_BYTES:
        raise ConfigError(f'{where} is over {_MAX_MANIFEST_BYTES} bytes.')
    try:
        return content.decode('utf-8-sig')
    except UnicodeDecodeError as error:
        raise ConfigError(f'{where} is not UTF-8 text: {error}.') from error


def _label_column(task: Task, columns: list[str], where: str) -> str:
    wanted = ('labels', 'label') if task.multi_label else ('label', 'labels')
    label_column = next((name for name in wanted if name in columns), None)
    if 'path' not in columns or label_column is None:
        raise ConfigError(f'{where} needs the columns path and {wanted[0]} (and optionally split); its first line has: '
                          f'{", ".join(columns) or "nothing"}.')
    return label_column


def _manifest_entry(task: Task, row: dict, label_column: str, where: str) -> Entry:
    path = _safe((row['path'] or '').strip())
    if not path:
        raise ConfigError(f'{where}: the path {row["path"]!r} is empty or leads out of the data folder. Give a path '
                          'relative to the folder, without "..".')
    text = (row[label_column] or '').strip()
    if task.multi_label or label_column == 'labels':
        labels = tuple(dict.fromkeys(part.strip() for part in text.split(task.label_separator) if part.strip()))
    else:
        labels = (text,) if text else ()
    if not labels:
        raise ConfigError(f'{where}: {path} has no label in the column {label_column}.')
    if len(labels) > 1 and not task.multi_label:
        raise ConfigError(f'{where}: {path} has {len(labels)} labels, {" and ".join(labels)}, but the task has one '
                          'label a file. Set multi_label=True, or give one label.')
    if 'split' not in row:
        return Entry(path, labels, hashed_split(path, task.eval_share))
    split = SPLITS.get((row['split'] or '').strip().lower())
    if split is None:
        raise ConfigError(f'{where}: {path} has the split {row["split"]!r}; it must be one of {", ".join(SPLITS)}.')
    return Entry(path, labels, split)


# Paths that stay inside.

def _safe(path: str) -> str:
    """The path without '.' parts and doubled slashes; '' where it is empty, absolute, or has a '..' part."""
    if not path or '\0' in path or path.startswith(('/', '~')) or '..' in path.replace('\\', '/').split('/'):
        return ''
    normal = posixpath.normpath(path)
    return '' if normal == '.' or _is_remote(path) else normal


def _refuse_links_out(task: Task, entries: list[Entry]):
    """ConfigError for the first entry that a symbolic link takes out of the data folder."""
    if _is_remote(task.data):
        return
    checked = set()
    for entry in entries:
        folder = posixpath.dirname(entry.path)
        if folder not in checked:
            _refuse_link_out(task, folder)
            checked.add(folder)
        try:
            is_link = stat.S_ISLNK(os.lstat(os.path.join(task.data, entry.path)).st_mode)
        except OSError:
            continue  # The reader says what is wrong with it.
        if is_link:
            _refuse_link_out(task, entry.path)


def _refuse_link_out(task: Task, relative: str):
    root = os.path.realpath(task.data)
    target = os.path.realpath(os.path.join(task.data, relative))
    if target != root and os.path.commonpath([root, target]) != root:
        raise ConfigError(f'Task {task.name}: {relative} in {task.data} is a link out of that folder, to {target}. '
                          'Copy the file in, or make the folder that holds both the data folder.')


# File systems that are not local.

def _remote_files(root: str) -> dict[str, tuple[int, int]]:
    """Relative path -> (bytes, time of change in ns) of every file below a folder that Beam can list."""
    from apache_beam.io.filesystems import FileSystems
    root = root.rstrip('/') + '/'
    try:
        found = FileSystems.match([root + '**'])[0].metadata_list
    except Exception as error:  # Each of Beam's file systems raises its own.
        raise ConfigError(f'{root} cannot be listed: {error}') from error
    return {m.path[len(root):]: (m.size_in_bytes, int((m.last_updated_in_seconds or 0) * 1e9)) for m in found}

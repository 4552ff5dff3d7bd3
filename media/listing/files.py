"""Lists, stats and opens the files below a task's data folder, which may be local or behind a URL (remote_files)."""

import dataclasses
import io
import os
import posixpath
import stat
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import BinaryIO, NamedTuple

from media import paths
from media.findings import Tally
from media.rejections import Rejection
from media.rows import SortedRows
from model_code import remote_files
from model_code.errors import ConfigError
from model_code.urls import is_url

MAX_FILES = 20_000_000  # of one task; their names and entries take about 4 GB of temporary files
_MAX_DEPTH = 16  # folders below the data folder


class FileStat(NamedTuple):
    """size: in bytes. modified_ns: the modification time, in ns since 1970."""
    size: int
    modified_ns: int


NO_FILE = FileStat(-1, -1)


# Beside media there are descriptions of them, and what operating systems leave behind. They are no lost media.
_SIDE_ENDINGS = frozenset((
    '.txt', '.md', '.rst', '.json', '.jsonl', '.ndjson', '.csv', '.tsv', '.xml', '.yaml', '.yml', '.toml', '.html',
    '.pdf', '.log', '.ini', '.srt', '.vtt', '.lab', '.textgrid', '.md5', '.sha256', '.py', '.ipynb', '.sh'))
_SIDE_NAMES = frozenset(('thumbs.db', 'license', 'readme', 'copying', 'notice', 'icon\r'))
_SIDE_FOLDERS = frozenset(('__MACOSX', '@eaDir', '__pycache__', '$RECYCLE.BIN', 'System Volume Information',
                           'lost+found'))

_MAX_ENDINGS = 20  # that are told apart
OTHERS = 'other'  # in place of the others
_MAX_ENDING = 12  # characters
_MAX_REJECTED = 1_000_000  # files, by their names


@dataclasses.dataclass
class Contents:
    """What is in a folder itself: how many of its files are in Walk.files, and how many others there are by ending."""
    media: int = 0
    others: dict[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Walk:
    """What is below a folder. Hidden files and folders count nowhere.

    files: the sorted paths of those with one of the endings. rejected_files: path -> Rejection, also of links to a
    folder above, by which nothing is lost. rejected_folders: path -> Rejection of folders whose files are not known.
    left_out: ending -> Tally of the paths of other files, but for usual side files (notes.txt). The ending is '' for
    files without one, and OTHERS if there are too many.
    folders: the folders in the root and in those -> Contents. An object store has no empty folders.
    """
    files: SortedRows = dataclasses.field(default_factory=SortedRows)
    rejected_files: dict[str, Rejection] = dataclasses.field(default_factory=dict)
    rejected_folders: dict[str, Rejection] = dataclasses.field(default_factory=dict)
    left_out: dict[str, Tally] = dataclasses.field(default_factory=dict)
    folders: dict[str, Contents] = dataclasses.field(default_factory=dict)

    def add(self, path: str, is_media: bool, rejection: Rejection | None = None):
        """Adds a file where it belongs, and counts it in its folder. rejection: why it is rejected, if it is."""
        folder, _, name = path.rpartition('/')
        contents = self.folders.setdefault(folder, Contents()) if folder.count('/') < 2 else None
        if rejection:
            self.rejected_files[path] = rejection
            return
        if is_media:
            try:
                self.files.add(paths.safe_path(path))
            except Rejection as rejection:
                self.rejected_files[path] = rejection
            else:
                if contents:
                    contents.media += 1
            return
        if contents:
            ending = ending_of(name)
            key = _told_apart(ending, contents.others)
            contents.others[key] = contents.others.get(key, 0) + 1
        leave_out(self.left_out, path)


def leave_out(left_out: dict[str, Tally], path: str):
    """Counts a file that is not read in Walk.left_out, unless it is a usual side file."""
    name = path.rpartition('/')[2]
    ending = ending_of(name)
    if ending not in _SIDE_ENDINGS and name.lower() not in _SIDE_NAMES:
        left_out.setdefault(_told_apart(ending, left_out), Tally()).add(paths.shown(path))


def _told_apart(ending: str, known: Collection[str]) -> str:
    return ending if ending in known or len(known) < _MAX_ENDINGS else OTHERS


def ending_of(name: str) -> str:
    """The ending of a file's name, in lower case; '' if it has none."""
    _, dot, ending = name.rpartition('.')
    return f'.{ending.lower()}' if dot and ending.isalnum() and ending.isascii() and len(ending) <= _MAX_ENDING else ''


def walk(root: str, endings: tuple[str, ...], unread: Mapping[str, Rejection] = MappingProxyType({})) -> Walk:
    """What is below `root`: the files whose name has one of the (lower-case) endings, in any case, and what else is.

    unread: ending -> why files with it are rejected. Raises ConfigError if the root cannot be listed or has more than
    MAX_FILES files.
    """
    walked = Walk()
    for path in _remote_names(root) if is_url(root) else _local_names(root, endings, walked):
        name = path.rpartition('/')[2].lower()
        walked.add(path, name.endswith(endings), unread.get(ending_of(name)))
        if len(walked.files) > MAX_FILES or len(walked.rejected_files) > _MAX_REJECTED:
            raise ConfigError(f'{root} has more than {MAX_FILES:,} files, or {_MAX_REJECTED:,} that are rejected. '
                              'Split it into several tasks.')
    return walked


def _is_hidden(name: str) -> bool:
    return name.startswith('.') or name in _SIDE_FOLDERS


def _remote_names(root: str):
    for path in remote_stats(root):
        if not any(map(_is_hidden, path.split('/'))):
            yield path


def _local_names(root: str, endings: tuple[str, ...], walked: Walk):
    real_root = os.path.realpath(root)
    # Folders to list: the path, the real path, and the real paths of folders that were left by a link on the way here.
    folders: list[tuple[str, str, tuple[str, ...]]] = [('', real_root, ())]
    while folders:
        prefix, real, left = folders.pop()
        try:
            items = os.scandir(os.path.join(root, prefix))
        except OSError as error:
            if not prefix:
                raise ConfigError(f'{root} cannot be listed ({error.strerror}).') from error
            walked.rejected_folders[prefix[:-1]] = Rejection('unreadable', f'It cannot be listed: {error.strerror}.')
            continue
        if prefix and prefix.count('/') <= 2:
            walked.folders.setdefault(prefix[:-1], Contents())
        with items:
            for item in items:
                name = item.name
                if _is_hidden(name):
                    continue
                path, is_link, is_media = prefix + name, item.is_symlink(), name.lower().endswith(endings)
                is_folder = _is_folder(item)
                if is_folder and is_media:
                    walked.rejected_folders[path] = Rejection('not_a_file', "It is a folder with a media file's name.")
                    continue
                target = os.path.realpath(item.path) if is_link else f'{real}/{name}'
                rejection = paths.link_out(path, target) if is_link and not paths.is_inside(target, real_root) else None
                if not is_folder:
                    if rejection and is_media:
                        walked.rejected_files[path] = rejection
                    else:
                        yield path
                    continue
                if is_link and not rejection and any(paths.is_inside(folder, target) for folder in (*left, real)):
                    detail = f'It is a link to a folder that contains it, {paths.shown(target)}.'
                    walked.rejected_files[path] = Rejection('bad_path', detail)
                    continue
                if not rejection and path.count('/') >= _MAX_DEPTH:
                    rejection = Rejection('bad_path', f'It is more than {_MAX_DEPTH} folders deep.')
                if rejection:
                    walked.rejected_folders[path] = rejection
                else:
                    folders.append((path + '/', target, (*left, real) if is_link else left))


def _is_folder(item: os.DirEntry) -> bool:
    try:
        return item.is_dir()
    except OSError:
        return False  # a link to itself, which the reader rejects


def remote_stats(root: str) -> dict[str, FileStat]:
    """Relative path -> FileStat of every file below a folder behind a URL. ConfigError if it cannot be listed."""
    stats = {}
    try:
        for path, size, modified_ns in remote_files.list_files(root, _MAX_DEPTH):
            stats[path] = FileStat(size, modified_ns)
            if len(stats) > MAX_FILES:
                raise ConfigError(f'{root} has more than {MAX_FILES:,} files. Split it into several tasks.')
    except ConfigError:
        raise
    except Exception as error:  # each file system raises its own errors
        raise ConfigError(f'{root} cannot be listed: {files_error(error)}') from error
    return stats


def files_error(error: Exception) -> str:
    """The message of the operating system or of a remote file system, as part of a sentence."""
    return paths.shown(str(getattr(error, 'strerror', None) or error)).rstrip('.')


def local_stat(path: str) -> FileStat:
    """The size and modification time of a file; NO_FILE if there is none."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return NO_FILE
    return FileStat(status.st_size, status.st_mtime_ns)


def exists(root: str, path: str) -> bool:
    """Whether the file exists."""
    if is_url(root):
        return remote_files.exists(posixpath.join(root, path))
    return os.path.exists(os.path.join(root, path))


def open_file(root: str, path: str) -> BinaryIO:
    """Opens a file of the root, an annotation or an archive, to read bytes. Raises ConfigError if it cannot."""
    full = posixpath.join(root, path)
    try:
        path = paths.safe_path(path)
        if is_url(root):
            try:
                return remote_files.open_file(full)
            except FileNotFoundError:
                raise ConfigError(f'{path} in {root} does not exist.') from None
        paths.Links(root).check(path)
        if not stat.S_ISREG(os.stat(full).st_mode):  # a pipe would block
            raise ConfigError(f'{path} in {root} is a folder, a device or a pipe, not a file.')
        return open(full, 'rb')
    except Rejection as rejection:
        raise ConfigError(f'{paths.shown(path)} in {root} cannot be used: {rejection.detail}') from rejection
    except ConfigError:
        raise
    except Exception as error:  # each of Beam's file systems raises its own errors
        raise ConfigError(f'{path} in {root} does not exist or cannot be read ({files_error(error)}).') from error


class _Bounded(io.RawIOBase):
    """A binary file that raises ConfigError beyond `max_bytes`."""

    def __init__(self, file, max_bytes: int, where: str):
        self._file, self._left, self._max_bytes, self._where = file, max_bytes, max_bytes, where

    def readable(self):
        return True

    def readinto(self, buffer):
        data = self._file.read(min(len(buffer), 1 << 20))
        buffer[:len(data)] = data
        self._left -= len(data)
        if self._left < 0:
            raise ConfigError(f'{self._where} has more than {self._max_bytes:,} bytes. Split it into several files, '
                              'and name them all.')
        return len(data)

    def close(self):
        if not self.closed:
            self._file.close()
        super().close()


def open_text(root: str, path: str, max_bytes: int) -> io.TextIOWrapper:
    """Opens a text file of the root as a stream. Keeps line ends; bytes that are not UTF-8 become surrogates.

    Raises ConfigError if the file does not exist or is not text (by its first 4 kB). While it is read, raises
    ConfigError once there are more than `max_bytes` bytes.
    """
    where = f'{path} in {root}'
    buffered = io.BufferedReader(_Bounded(open_file(root, path), max_bytes, where), 1 << 16)
    start = buffered.peek(4096)[:4096]
    # A single NUL only makes a bad row. In UTF-16 every second byte may be one, and binary files have many.
    if start.startswith((b'\xff\xfe', b'\xfe\xff')) or start.count(0) > len(start) / 20:
        buffered.close()
        raise ConfigError(f'{where} is not UTF-8 text. Save it as UTF-8.')
    return io.TextIOWrapper(buffered, 'utf-8-sig', 'surrogateescape', newline='')

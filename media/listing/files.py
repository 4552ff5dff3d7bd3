"""Lists, stats and opens the files below a task's data folder, which may be local or behind a URL (remote_files)."""

import dataclasses
import io
import os
import posixpath
import stat
from typing import BinaryIO, NamedTuple

from media.listing import paths
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


@dataclasses.dataclass(frozen=True)
class Walk:
    """What is below a folder: the sorted paths of files, and the rejected files and folders, path -> Rejection."""
    files: SortedRows
    rejected_files: dict[str, Rejection]
    rejected_folders: dict[str, Rejection]


def walk(root: str, endings: tuple[str, ...]) -> Walk:
    """The files below `root` whose name has one of the (lower-case) endings, in any case. Hidden names are left out.

    Raises ConfigError if the root cannot be listed or has more than MAX_FILES files.
    """
    walked = Walk(SortedRows(), {}, {})
    for path in _remote_names(root, endings) if is_url(root) else _local_names(root, endings, walked):
        try:
            walked.files.add(paths.safe_path(path))
        except Rejection as rejection:
            walked.rejected_files[path] = rejection
        if len(walked.files) + len(walked.rejected_files) > MAX_FILES:
            raise ConfigError(f'{root} has more than {MAX_FILES:,} files. Split it into several tasks.')
    return walked


def _remote_names(root: str, endings: tuple[str, ...]):
    for path in remote_stats(root):
        parts = path.split('/')
        if parts[-1].lower().endswith(endings) and not any(part.startswith('.') for part in parts):
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
        with items:
            for item in items:
                name = item.name
                if name.startswith('.'):
                    continue
                path, is_link, is_media = prefix + name, item.is_symlink(), name.lower().endswith(endings)
                is_folder = _is_folder(item)
                if is_folder and is_media:
                    walked.rejected_files[path] = Rejection('not_a_file', "It is a folder with a media file's name.")
                    continue
                if not is_folder and not is_media:
                    continue
                target = os.path.realpath(item.path) if is_link else f'{real}/{name}'
                rejection = paths.link_out(path, target) if is_link and not paths.is_inside(target, real_root) else None
                if not is_folder:
                    if rejection:
                        walked.rejected_files[path] = rejection
                    else:
                        yield path
                    continue
                if is_link and not rejection and any(paths.is_inside(folder, target) for folder in (*left, real)):
                    detail = f'It is a link to a folder that contains it, {paths.shown(target)}.'
                    rejection = Rejection('bad_path', detail)
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

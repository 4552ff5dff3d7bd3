"""The files below a task's data folder, local or behind a URL (media.remote_files): listed, looked at and opened."""

import dataclasses
import io
import os
import posixpath
import stat
from typing import BinaryIO, NamedTuple

from media import remote_files
from media.listing import paths
from media.rejections import Rejection
from model_code.errors import ConfigError
from model_code.urls import is_url

MAX_FILES = 20_000_000  # of one task: about 6 GB of names and entries
_MAX_DEPTH = 16  # folders below the data folder


class FileStat(NamedTuple):
    """size: bytes. modified_ns: time of the last change, in ns since 1970."""
    size: int
    modified_ns: int


NO_FILE = FileStat(-1, -1)


@dataclasses.dataclass(frozen=True)
class Walk:
    """What lies below a folder: paths of files, sorted; files and folders that are rejected, path -> Rejection."""
    files: list[str]
    rejected_files: dict[str, Rejection]
    rejected_folders: dict[str, Rejection]


def walk(root: str, endings: tuple[str, ...]) -> Walk:
    """The files below `root` whose lower-case name has one of `endings`; hidden names are left out. One pass.

    Raises ConfigError where the root can't be listed or has more than MAX_FILES.
    """
    walked = Walk([], {}, {})
    for path in _remote_names(root, endings) if is_url(root) else _local_names(root, endings, walked):
        try:
            walked.files.append(paths.safe_path(path))
        except Rejection as rejection:
            walked.rejected_files[path] = rejection
        if len(walked.files) + len(walked.rejected_files) > MAX_FILES:
            raise ConfigError(f'{root} holds more than {MAX_FILES:,} files; split it over several tasks.')
    walked.files.sort()
    return walked


def _remote_names(root: str, endings: tuple[str, ...]):
    for path in remote_stats(root):
        parts = path.split('/')
        if parts[-1].lower().endswith(endings) and not any(part.startswith('.') for part in parts):
            yield path


def _local_names(root: str, endings: tuple[str, ...], walked: Walk):
    real_root = os.path.realpath(root)
    # A folder to look into: its path, where it really is, and the real folders in which links to here were followed.
    folders: list[tuple[str, str, tuple[str, ...]]] = [('', real_root, ())]
    while folders:
        prefix, real, followed = folders.pop()
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
                rejection = None
                if is_link and not paths.is_inside(target, real_root):
                    rejection = paths.link_out(path, target)
                elif is_folder and is_link and any(paths.is_inside(f, target) for f in (*followed, real)):
                    rejection = Rejection('bad_path', f'It is a link to a folder that it is in, {paths.shown(target)}.')
                elif is_folder and path.count('/') >= _MAX_DEPTH:
                    rejection = Rejection('bad_path', f'It is more than {_MAX_DEPTH} folders deep.')
                if rejection:
                    (walked.rejected_folders if is_folder else walked.rejected_files)[path] = rejection
                elif is_folder:
                    folders.append((path + '/', target, (*followed, real) if is_link else followed))
                else:
                    yield path


def _is_folder(item: os.DirEntry) -> bool:
    try:
        return item.is_dir()
    except OSError:
        return False  # a link to itself: the reader says what it is


def remote_stats(root: str) -> dict[str, FileStat]:
    """Relative path -> FileStat of every file below a folder behind a URL. ConfigError where it can't be listed."""
    stats = {}
    try:
        for path, size, modified_ns in remote_files.list_files(root, _MAX_DEPTH):
            stats[path] = FileStat(size, modified_ns)
            if len(stats) > MAX_FILES:
                raise ConfigError(f'{root} holds more than {MAX_FILES:,} files; split it over several tasks.')
    except ConfigError:
        raise
    except Exception as error:  # each of Beam's file systems raises its own
        raise ConfigError(f'{root} cannot be listed: {files_error(error)}') from error
    return stats


def files_error(error: Exception) -> str:
    """What the operating system or a file system of Beam's says, as part of a sentence."""
    return paths.shown(str(getattr(error, 'strerror', None) or error)).rstrip('.')


def local_stat(path: str) -> FileStat:
    """A file's size and time of change; NO_FILE where there is none."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return NO_FILE
    return FileStat(status.st_size, status.st_mtime_ns)


def exists(root: str, path: str) -> bool:
    """Whether there is such a file."""
    if is_url(root):
        return remote_files.exists(posixpath.join(root, path))
    return os.path.exists(os.path.join(root, path))


def open_file(root: str, path: str) -> BinaryIO:
    """A file of the root, an annotation or an archive, to read in binary. ConfigError where that can't be."""
    full = posixpath.join(root, path)
    try:
        path = paths.safe_path(path)
        if is_url(root):
            if not remote_files.exists(full):
                raise ConfigError(f'{path} in {root} is not there.')
            return remote_files.open_file(full)
        paths.Links(root).check(path)
        if not stat.S_ISREG(os.stat(full).st_mode):  # a pipe would block
            raise ConfigError(f'{path} in {root} is a folder, a device or a pipe, not a file.')
        return open(full, 'rb')
    except Rejection as rejection:
        raise ConfigError(f'{paths.shown(path)} in {root} cannot be taken: {rejection.detail}') from rejection
    except ConfigError:
        raise
    except Exception as error:  # each of Beam's file systems raises its own
        raise ConfigError(f'{path} in {root} is not there or cannot be read ({files_error(error)}).') from error


class _Bounded(io.RawIOBase):
    """A binary file, at most `most` bytes of it."""

    def __init__(self, file, most: int, where: str):
        self._file, self._left, self._most, self._where = file, most, most, where

    def readable(self):
        return True

    def readinto(self, buffer):
        data = self._file.read(min(len(buffer), 1 << 20))
        buffer[:len(data)] = data
        self._left -= len(data)
        if self._left < 0:
            raise ConfigError(f'{self._where} is over {self._most:,} bytes. Split it into several, and name them all.')
        return len(data)

    def close(self):
        if not self.closed:
            self._file.close()
        super().close()


def open_text(root: str, path: str, most: int) -> io.TextIOWrapper:
    """A text file of the root, streamed; line ends as they are, bytes that are not UTF-8 as surrogates.

    ConfigError where it is not there, is no text (by its first 4 kB), or, while it is read, over `most` bytes.
    """
    where = f'{path} in {root}'
    buffered = io.BufferedReader(_Bounded(open_file(root, path), most, where), 1 << 16)
    start = buffered.peek(4096)[:4096]
    # One NUL is a bad row's. UTF-16 has one in two bytes, and what is no text many.
    if start.startswith((b'\xff\xfe', b'\xfe\xff')) or start.count(0) > len(start) / 20:
        buffered.close()
        raise ConfigError(f'{where} is not text in UTF-8. Save it so.')
    return io.TextIOWrapper(buffered, 'utf-8-sig', 'surrogateescape', newline='')

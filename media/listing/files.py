"""Names and files below a task's data folder, local or behind a URL (media.remote_files). Nothing outside of it."""

import dataclasses
import io
import os
import posixpath
import re
import stat
from typing import NamedTuple

from media import remote_files
from media.rejections import Rejection
from media.remote_files import is_remote
from model_code.errors import ConfigError

MAX_FILES = 20_000_000  # of one task: about 6 GB of names and entries
_MAX_DEPTH = 16  # folders below the data folder
_MAX_PATH = 4096  # characters

_CONTROL = re.compile('[\x00-\x1f\x7f-\x9f\u2028\u2029]')
_SURROGATE = re.compile('[\ud800-\udfff]')
# A path of plain parts, as nearly all are: no need to look closer.
_PART = '[^./\\\\~:\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff][^/\\\\:\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]*'
_PLAIN = re.compile(f'{_PART}(?:/{_PART})*')


def has_control(text: str) -> bool:
    """Whether there is a line break or another character that is no text in it."""
    return _CONTROL.search(text) is not None


def is_utf8(text: str) -> bool:
    """False where bytes that are not UTF-8 were kept as surrogates, as Python does in file names."""
    return _SURROGATE.search(text) is None


def shown(text: str, most: int = 200) -> str:
    """Text for a message: bytes that are not UTF-8 and control characters as \\x.., cut after `most` characters."""
    escaped = _SURROGATE.sub(_escaped, text[:most])
    escaped = _CONTROL.sub(lambda c: c.group().encode('unicode_escape').decode(), escaped)
    return escaped[:most] + '...' * (len(escaped) > most or len(text) > most)


def _escaped(surrogate: re.Match) -> str:
    code = ord(surrogate.group())
    return f'\\x{code - 0xdc00:02x}' if 0xdc80 <= code <= 0xdcff else f'\\u{code:04x}'


def safe_path(path: str) -> str:
    """The path without '.' parts and doubled slashes; Rejection (bad_path) where it may lead out, or is no name."""
    if len(path) <= _MAX_PATH and _PLAIN.fullmatch(path):
        return path
    if len(path) > _MAX_PATH:
        raise Rejection('bad_path', f'The path is {len(path):,} characters long; at most {_MAX_PATH:,} are taken.')
    if not is_utf8(path):
        raise Rejection('bad_path', f'The name {shown(path)} is not UTF-8. Rename the file.')
    if has_control(path):
        raise Rejection('bad_path', f'The name {shown(path)} has a line break or another control character in it.')
    if is_remote(path):
        raise Rejection('bad_path', f'{shown(path)} is a URL; give a path relative to the data folder.')
    if '\\' in path:
        raise Rejection('bad_path', f"The path {shown(path)} has a backslash; write '/' between folders.")
    if path.startswith(('/', '~')):
        raise Rejection('bad_path', f'The path {shown(path)} is absolute; give it relative to the data folder.')
    if '..' in path.split('/'):
        raise Rejection('bad_path', f'The path {shown(path)} leads out of the data folder, or may ("..").')
    normal = posixpath.normpath(path) if path else '.'
    if normal == '.':
        raise Rejection('bad_path', 'The path is empty.')
    return normal


# Symbolic links.

class Links:
    """Finds paths that a symbolic link takes out of a local root. A folder is looked at once."""

    def __init__(self, root: str):
        self._root, self._real, self._folders = root, os.path.realpath(root), {}

    def check(self, path: str):
        """Rejection (bad_path) where the file or a folder of its path is a link out of the root. Opens nothing."""
        folder = path.rpartition('/')[0]
        if folder not in self._folders:
            self._folders[folder] = self._outside(folder)
        target = self._folders[folder]
        if target is None:
            try:
                if stat.S_ISLNK(os.lstat(f'{self._root}/{path}').st_mode):
                    target = self._outside(path)
            except (OSError, ValueError):
                return  # not there: the reader says so
        if target is not None:
            raise link_out(path, target)

    def _outside(self, path: str) -> str | None:
        target = os.path.realpath(os.path.join(self._root, path))
        return None if is_inside(target, self._real) else target


def is_inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip('/') + '/')


def link_out(path: str, target: str) -> Rejection:
    return Rejection('bad_path', f'{shown(path)} is behind a link out of the data folder, to {shown(target)}. Copy the '
                                 'file in, or make the folder that holds both the data folder.')


# Listing.

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
    for path in _remote_names(root, endings) if is_remote(root) else _local_names(root, endings, walked):
        try:
            walked.files.append(safe_path(path))
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
    folders = [('', real_root, ())]
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
                if is_link and not is_inside(target, real_root):
                    rejection = link_out(path, target)
                elif is_folder and is_link and any(is_inside(f, target) for f in (*followed, real)):
                    rejection = Rejection('bad_path', f'It is a link to a folder that it is in, {shown(target)}.')
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
    return shown(str(getattr(error, 'strerror', None) or error)).rstrip('.')


def local_stat(path: str) -> FileStat:
    """A file's size and time of change; NO_FILE where there is none."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return NO_FILE
    return FileStat(status.st_size, status.st_mtime_ns)


# Opening.

def exists(root: str, path: str) -> bool:
    """Whether there is such a file."""
    if is_remote(root):
        return remote_files.exists(posixpath.join(root, path))
    return os.path.exists(os.path.join(root, path))


def open_file(root: str, path: str) -> io.BufferedIOBase:
    """A file of the root, an annotation or an archive, to read in binary. ConfigError where that can't be."""
    full = posixpath.join(root, path)
    try:
        path = safe_path(path)
        if is_remote(root):
            if not remote_files.exists(full):
                raise ConfigError(f'{path} in {root} is not there.')
            return remote_files.open_file(full)
        Links(root).check(path)
        if not stat.S_ISREG(os.stat(full).st_mode):  # a pipe would block
            raise ConfigError(f'{path} in {root} is a folder, a device or a pipe, not a file.')
        return open(full, 'rb')
    except Rejection as rejection:
        raise ConfigError(f'{shown(path)} in {root} cannot be taken: {rejection.detail}') from rejection
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

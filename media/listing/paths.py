"""Names of files: which are taken, how a message shows them. Nothing outside of the data folder is."""

import os
import posixpath
import re
import stat

from media.rejections import Rejection
from model_code.urls import is_url

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
    return f'{escaped[:most]}...' if max(len(escaped), len(text)) > most else escaped


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
    if is_url(path):
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

"""Names of files: which are allowed, and how messages show them. Nothing outside the data folder is allowed."""

import os
import posixpath
import re
import stat

from media.rejections import Rejection
from model_code.printable import printable
from model_code.urls import is_url

_MAX_PATH = 4096  # characters

_CONTROL = re.compile('[\x00-\x1f\x7f-\x9f\u2028\u2029]')
_SURROGATE = re.compile('[\ud800-\udfff]')
# Nearly all paths consist of plain parts, and need no closer look.
_PART = '[^./\\\\~:\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff][^/\\\\:\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]*'
_PLAIN = re.compile(f'{_PART}(?:/{_PART})*')


def has_control(text: str) -> bool:
    """Whether the text has a line break or another control character."""
    return _CONTROL.search(text) is not None


def is_utf8(text: str) -> bool:
    """Whether the text is free of surrogates, in which Python keeps bytes of file names that are not UTF-8."""
    return _SURROGATE.search(text) is None


def shown(text: str, max_length: int = 200) -> str:
    """Text for a message, cut after `max_length` characters; control characters and bytes not UTF-8 as \\x.."""
    escaped = printable(text[:max_length], keep='')
    return f'{escaped[:max_length]}...' if max(len(escaped), len(text)) > max_length else escaped


def safe_path(path: str) -> str:
    """The path without '.' parts and double slashes. Raises Rejection (bad_path) if it may lead out or is no path."""
    if len(path) <= _MAX_PATH and _PLAIN.fullmatch(path):
        return path
    if len(path) > _MAX_PATH:
        raise Rejection('bad_path', f'The path is {len(path):,} characters long; at most {_MAX_PATH:,} are '
                                    'allowed.')
    if not is_utf8(path):
        raise Rejection('bad_path', f'The name {shown(path)} is not UTF-8. Rename the file.')
    if has_control(path):
        raise Rejection('bad_path', f'The name {shown(path)} has a line break or another control character.')
    if is_url(path):
        raise Rejection('bad_path', f'{shown(path)} is a URL. Give a path relative to the data folder.')
    if '\\' in path:
        raise Rejection('bad_path', f"The path {shown(path)} has a backslash. Write '/' between folders.")
    if path.startswith(('/', '~')):
        raise Rejection('bad_path', f'The path {shown(path)} is absolute. Give it relative to the data folder.')
    if '..' in path.split('/'):
        raise Rejection('bad_path', f'The path {shown(path)} may lead out of the data folder ("..").')
    normal = posixpath.normpath(path) if path else '.'
    if normal == '.':
        raise Rejection('bad_path', 'The path is empty.')
    return normal


class Links:
    """Finds paths that lead out of a local root by a symbolic link. Looks at each folder only once."""

    def __init__(self, root: str):
        self._root, self._real, self._folders = root, os.path.realpath(root), {}

    def check(self, path: str):
        """Raises Rejection (bad_path) if the file or a folder in its path is a link out of the root. Opens nothing."""
        folder = path.rpartition('/')[0]
        if folder not in self._folders:
            self._folders[folder] = self._outside(folder)
        target = self._folders[folder]
        if target is None:
            try:
                if stat.S_ISLNK(os.lstat(f'{self._root}/{path}').st_mode):
                    target = self._outside(path)
            except (OSError, ValueError):
                return  # no such file: the reader says so
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

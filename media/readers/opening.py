"""Opens a media file, or a range of its bytes, local or behind a URL. Never waits for a pipe."""

import errno
import io
import os
import stat
from typing import BinaryIO

from media.rejections import Rejection, too_large
from model_code import remote_files, words
from model_code.errors import StoreError
from model_code.modalities import Limits
from model_code.ranges import RangeFile
from model_code.urls import is_url

_SMALL = 1 << 18  # bytes; up to here it is cheaper to read all than to buffer the file


def open_media(path, limits: Limits, offset: int = 0, length: int = -1) -> BinaryIO:
    """A seekable binary file of the `length` bytes of `path` from `offset` on; length -1: up to the end.

    Raises Rejection: missing, not_a_file, unreadable, empty, truncated (the range ends after the file), too_large (the
    range has more than limits.bytes, unless that is 0).
    """
    path = os.fspath(path)
    file, size = _open_remote(path) if isinstance(path, str) and is_url(path) else _open_local(path)
    try:
        if length < 0:
            length = max(0, size - offset)
        if offset < 0 or offset + length > size:
            raise Rejection('truncated', f'It should have {words.count(length, "byte")} from byte {offset:,} on, but '
                                         f'the file has {size:,}.')
        if not length:
            raise Rejection('empty', 'The file has no bytes.')
        if limits.bytes and length > limits.bytes:
            raise too_large('bytes', length, limits.bytes)
        if length <= _SMALL:
            with file:
                file.seek(offset)
                return io.BytesIO(_read_all(file, length))
        return io.BufferedReader(_Range(file, offset, length)) if length < size else _buffered(file)
    except OSError as error:
        file.close()
        raise Rejection('unreadable', error.strerror or str(error)) from error
    except BaseException:
        file.close()
        raise


def _open_local(path):
    try:
        # Without blocking: to open a named pipe waits for its writer.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:  # ValueError: not a possible name.
        raise Rejection('missing', 'There is no such file.') from error
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.ENODEV):
            raise Rejection('not_a_file', 'It is a socket or a device, not a file.') from error
        raise Rejection('unreadable', error.strerror or str(error)) from error
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        os.close(handle)
        raise Rejection('not_a_file', 'It is a folder, a device or a pipe, not a file.')
    return io.FileIO(handle), status.st_size


def _open_remote(path: str):
    try:
        file = remote_files.open_file(path)
    except FileNotFoundError as error:
        raise Rejection('missing', 'There is no such file.') from error
    except StoreError as error:
        raise Rejection('unreadable', str(error)) from error
    except Exception as error:  # Each file system has its own errors. A missing file must not end the run.
        raise Rejection('unreadable', f'{type(error).__name__}: {error}') from error
    try:
        return file, file.seek(0, os.SEEK_END) or file.tell()
    except Exception as error:
        file.close()
        raise Rejection('unreadable', f'{type(error).__name__}: {error}') from error


def _read_all(file, length: int) -> bytes:
    content = file.read(length) or b''
    while len(content) < length:
        more = file.read(length - len(content))
        if not more:
            raise Rejection('truncated', 'The file became shorter while it was read.')
        content += more
    return content


def _buffered(file) -> BinaryIO:
    file.seek(0)
    return io.BufferedReader(file) if isinstance(file, io.RawIOBase) else file


class _Range(RangeFile):
    """The `length` bytes of a file from `offset` on, as a file. Closing it closes the whole."""

    def __init__(self, file, offset: int, length: int):
        self._file, self._offset = file, offset
        super().__init__(length, self._read)

    def _read(self, start: int, end: int) -> bytes:
        self._file.seek(self._offset + start)
        return self._file.read(end - start)

    def close(self):
        self._file.close()
        super().close()

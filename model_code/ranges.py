"""Bytes that are read by their place, such as an object of a store or a part of a file, as a file."""

import errno
import io
import os
from collections.abc import Callable


class RangeFile(io.RawIOBase):
    """A file of `size` bytes to be read and sought.

    read_range(start, end): the bytes from `start` on, up to but without `end`; fewer, or none, if there are no more.
    """

    def __init__(self, size: int, read_range: Callable[[int, int], bytes]):
        self._size, self._read_range, self._position = size, read_range, 0

    def readable(self):
        return True

    def seekable(self):
        return True

    def tell(self):
        return self._position

    def seek(self, position, whence=os.SEEK_SET):
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if base + position < 0:
            raise OSError(errno.EINVAL, 'Negative seek position')
        self._position = base + position
        return self._position

    def readinto(self, buffer):
        content = self._next(len(buffer))
        buffer[:len(content)] = content
        return len(content)

    def readall(self):  # else read() would ask for 8 KiB at a time
        blocks = []
        while block := self._next(self._size):
            blocks.append(block)
        return b''.join(blocks)

    def _next(self, count: int) -> bytes:
        """At most `count` bytes from the position on, which moves behind them."""
        end = min(self._position + count, self._size)
        content = self._read_range(self._position, end) if end > self._position else b''
        self._position += len(content)
        return content

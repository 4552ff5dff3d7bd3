"""Standard output and error of a command: what is no plain character, or cannot be encoded, is escaped."""

import io
import os
import sys
import typing

from model_code.printable import printable


class _Printed(io.TextIOWrapper):
    def write(self, text: str) -> int:
        super().write(printable(text))
        return len(text)


def protect():
    """From now on what is printed has no control characters. Sequences for the terminal are written to `raw`."""
    sys.stdout, sys.stderr = map(_protected, (sys.stdout, sys.stderr))


def _protected(stream):
    if stream is None:  # it is closed
        return None
    return _Printed(stream.buffer, encoding=stream.encoding, errors='backslashreplace',
                    line_buffering=stream.line_buffering)


def raw(stream: typing.TextIO) -> typing.TextIO:
    """The stream that takes control characters, for what this program itself draws."""
    if not isinstance(stream, _Printed):
        return stream
    stream.flush()
    return typing.cast(typing.TextIO, sys.__stdout__ if stream is sys.stdout else sys.__stderr__)


def end():
    """Writes what is left for standard output, or drops it if that fails, as Python would at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

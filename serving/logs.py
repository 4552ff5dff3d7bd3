"""What the server writes for the people who run it: one line per incident, and an access log on request.

Clients cause incidents at will, so their lines are limited: a bad one must not fill a disk.
"""

import contextlib
import ctypes
import datetime
import importlib
import json
import logging
import logging.handlers
import os
import subprocess
import sys
import time
import warnings

from model_code.errors import ConfigError
from serving import limited_lines

_LIBRARIES = ('aiohttp', 'asyncio', 'concurrent.futures', 'grpc', 'py.warnings')  # roots of their loggers
_MAX_LINE = 500  # characters of a line
_MAX_PATH = 200  # characters of a path in the access log
_WINDOW = 60.0  # seconds
_LAST_SECONDS = 1.0  # for the process that filters, to write what is left


class OneLine(logging.Filter):
    """Lets `lines` records a minute through, each on one line and without its traceback. Counts the others.

    The first line of the next minute says how many were left out.
    """

    def __init__(self, lines: int, clock=time.monotonic):
        super().__init__()
        self._lines = lines
        self._clock = clock
        self._began = clock()
        self._written = self._left_out = 0

    def filter(self, record: logging.LogRecord) -> bool:
        now = self._clock()
        if now - self._began >= _WINDOW:
            self._began, self._written = now, 0
        if self._written >= self._lines:
            self._left_out += 1
            return False
        self._written += 1
        text = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            text += f': {type(record.exc_info[1]).__name__}: {record.exc_info[1]}'
        if self._left_out:
            text = f'{text} ({self._left_out:,} more lines were left out)'
            self._left_out = 0
        # What clients send must not move the terminal's cursor, nor look like a line of its own.
        text = ''.join(c if c.isprintable() else ' ' for c in text)
        record.msg, record.args = ' '.join(text.split())[:_MAX_LINE], ()
        record.exc_info = record.exc_text = record.stack_info = None
        return True


@contextlib.contextmanager
def one_line_per_incident(lines: int):
    """Within the block what the libraries and the server log goes to standard error, at most `lines` a minute.

    warnings.warn is among it.
    """
    handler = logging.StreamHandler()
    handler.addFilter(OneLine(lines))
    handler.setFormatter(logging.Formatter('%(asctime)s %(levelname)s %(message)s'))
    roots = [logging.getLogger(name) for name in (*_LIBRARIES, 'polyvit')]
    before = [(root.handlers, root.propagate) for root in roots]
    for root in roots:
        root.handlers, root.propagate = [handler], False
    silence_protobuf()
    shown = warnings.showwarning
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        warnings.showwarning = shown
        for root, (handlers, propagate) in zip(roots, before, strict=True):
            root.handlers, root.propagate = handlers, propagate


@contextlib.contextmanager
def limited_standard_error(lines: int):
    """Within the block at most `lines` lines a minute of what C libraries write to standard error come through.

    libjpeg writes one for each damaged file. Another process lets them through, so that the last words of a server that
    crashes are not lost. What Python writes to sys.stderr is not limited.
    """
    sys.stderr.flush()
    real, before = os.dup(2), sys.stderr
    filtering = subprocess.Popen([sys.executable, '-I', limited_lines.__file__, str(lines)], stdin=subprocess.PIPE,
                                 stdout=subprocess.DEVNULL, stderr=real)
    assert filtering.stdin is not None
    os.dup2(filtering.stdin.fileno(), 2)
    filtering.stdin.close()
    try:
        with open(real, 'w', buffering=1, encoding='utf-8', errors='backslashreplace', closefd=False) as direct:
            with contextlib.redirect_stderr(direct if before is sys.__stderr__ else before):
                yield
    finally:
        os.dup2(real, 2)
        os.close(real)
        with contextlib.suppress(subprocess.TimeoutExpired):
            filtering.wait(_LAST_SECONDS)


def silence_protobuf():
    """Lets protobuf 3 write no line of its own for each message that is damaged; later versions write none."""
    with contextlib.suppress(ImportError, OSError, AttributeError):
        message = importlib.import_module('google.protobuf.pyext._message')
        ctypes.CDLL(message.__file__)['_ZN6google8protobuf13SetLogHandlerEPFvNS0_8LogLevelEPKciRKSsE'](None)


class AccessLog:
    """One JSON object per request and line, in a file, or on standard output for '-'. Thread-safe.

    Programs that rotate logs may rename the file; the next line then begins a new one. Raises ConfigError if it cannot
    be written.
    """

    def __init__(self, path: str):
        try:
            handler = (logging.StreamHandler(sys.stdout) if path == '-' else
                       logging.handlers.WatchedFileHandler(path, encoding='utf-8'))
        except OSError as error:
            raise ConfigError(f'The access log {path} cannot be written: {error.strerror}. Give another --access-log '
                              "FILE, or '-' for standard output.") from None
        handler.handleError = lambda record: None  # a full disk must not fail requests, nor fill standard error
        self._handler = handler

    def write(self, protocol: str, address: str | None, method: str, path: str, status: int | str, seconds: float,
              reply_bytes: int):
        """protocol: 'REST' or 'gRPC'. status: of HTTP, or the name of gRPC's."""
        moment = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec='milliseconds')
        line = json.dumps({'time': moment, 'protocol': protocol, 'address': address, 'method': method,
                           'path': path[:_MAX_PATH], 'status': status, 'ms': round(1000 * seconds, 2),
                           'reply_bytes': reply_bytes})
        self._handler.handle(logging.LogRecord('access', logging.INFO, '', 0, line, (), None))

    def close(self):
        if not isinstance(self._handler, logging.handlers.WatchedFileHandler):
            self._handler.flush()
            return
        self._handler.close()

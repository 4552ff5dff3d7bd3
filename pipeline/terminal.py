"""The terminal of a run: its own lines on the screen, all other output of the process in a log file."""

import contextlib
import logging
import os
import pathlib
import sys
import threading
import time

from rich.console import Console
from rich.text import Text

from model_code import words
from model_code.logger import logger


class Screen:
    """Prints each component's name when it starts, its time when it finishes, and messages in between.

    On a terminal the running component has a spinner and its time so far. Elsewhere a line says that it is still
    running, whenever nothing was printed for QUIET_SECONDS. Several threads may call it.
    """
    QUIET_SECONDS = 30

    def __init__(self, file, total: int = 0):
        self._console = Console(file=file, width=None if file.isatty() else 120, highlight=False, markup=False,
                                soft_wrap=True, emoji=False)
        self._total, self._count, self._file = total, 0, file
        self._lock = threading.RLock()
        self._status = None
        self._open_line = False
        self._running, self._started, self._last_print = '', 0.0, 0.0
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._heartbeat, daemon=True)
        self._thread.start()

    def set_total(self, total: int):
        """From now on components are numbered, from 1 to `total`."""
        self._total, self._count = total, 0

    def print(self, text: str = ''):
        with self._lock:
            self._close_line()
            self._console.print(text)
            self._last_print = time.monotonic()

    def start(self, node: str):
        with self._lock:
            self._count += 1
            self._running = self._title(node)
            self._started = self._last_print = time.monotonic()
            if self._console.is_terminal:
                self._status = self._console.status(Text(self._running))  # a plain string would be read as markup
                self._status.start()
            else:
                self._console.print(self._running, end='')
                self._open_line = True
                self._file.flush()

    def finish(self, result: str):
        with self._lock:
            self._stop_spinner()
            title, self._running = self._running, ''
            self._console.print(result if self._open_line else f'{title}{result}')
            self._open_line = False
            self._file.flush()

    def close(self):
        self._closed.set()
        self._thread.join()
        with self._lock:
            self._stop_spinner()
            self._close_line()

    def _title(self, node: str) -> str:
        if not self._total:
            return f'{"":8}{node:<40}'
        component, _, task = node.partition('_')
        return f'[{self._count:>2}/{self._total}] {component:<16}{task:<24}'

    def _stop_spinner(self):
        if self._status:
            self._status.stop()
            self._status = None

    def _close_line(self):
        if self._open_line:
            self._console.print()
            self._open_line = False

    def _heartbeat(self):
        while not self._closed.wait(1):
            with self._lock:
                if not self._running:
                    continue
                seconds = time.monotonic() - self._started
                if self._status:
                    self._status.update(Text(f'{self._running}{words.duration(seconds)}'))
                elif time.monotonic() - self._last_print >= self.QUIET_SECONDS:
                    self.print(f'        still running, {words.duration(seconds)}')


class _ScreenHandler(logging.Handler):
    """Prints log records, indented below their component. Paths under the current directory are shortened."""

    def __init__(self, screen: Screen):
        super().__init__(logging.INFO)
        self._screen = screen

    def emit(self, record):
        for line in record.getMessage().replace(os.getcwd() + os.sep, '').splitlines():
            self._screen.print(f'        {line}')


@contextlib.contextmanager
def messages_on(screen: Screen):
    """Prints the messages of model_code.logger to the screen."""
    handler = _ScreenHandler(screen)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


@contextlib.contextmanager
def quiet(log_path: pathlib.Path):
    """Redirects standard output and error to a log file; yields a file that writes to the real standard output.

    It redirects file descriptors 1 and 2, not only sys.stdout and sys.stderr, because the C++ code of TensorFlow, gRPC
    and absl writes to the descriptors.
    """
    log_path.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    # A new Python stream, because sys.stdout may be replaced by a test, or be block-buffered.
    stream = open(log_path, 'a', buffering=1, errors='replace')
    streams = sys.stdout, sys.stderr
    sys.stdout = sys.stderr = stream
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter('%(asctime)s %(levelname).1s %(name)s: %(message)s'))
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    screen_file = os.fdopen(os.dup(saved[0]), 'w', errors='replace')
    try:
        yield screen_file
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        sys.stdout, sys.stderr = streams
        for descriptor, copy in zip((1, 2), saved, strict=True):
            os.dup2(copy, descriptor)
            os.close(copy)
        screen_file.close()

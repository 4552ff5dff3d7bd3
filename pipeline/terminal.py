"""The terminal of a run: its own lines on the screen, all other output of the process in a log file."""

import contextlib
import io
import logging
import os
import pathlib
import sys
import threading
import time
from collections.abc import Sequence
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from model_code import words
from model_code.logger import logger
from model_code.printable import printable
from pipeline import layout, printed
from pipeline.estimate import Estimate

INDENT = ' ' * 8
TEXT_COLUMNS = 54  # of the longest usual text beside the bar: the bar keeps its length


class Progress(Protocol):
    """What the bar of a run shows: how many steps are done, the share from 0 to 1, and what is left in words."""
    @property
    def done(self) -> int: ...

    def share(self) -> float: ...

    def left(self) -> str: ...


class Screen:
    """Prints each component's name when it starts, its time when it finishes, and its messages below its name.

    On a terminal the running component and its messages are drawn again and again, above one bar for the whole run;
    when it finishes they are printed for good. Elsewhere only whole lines are written, and one says that a component
    is still running whenever nothing was printed for QUIET_SECONDS. Several threads may call it.
    """
    QUIET_SECONDS = 30

    def __init__(self, file):
        self._file = file
        # In a notebook, rich would display a block of HTML for every line instead of writing to the file.
        self._console = Console(file=file, force_terminal=file.isatty(), force_jupyter=False, highlight=False,
                                markup=False, soft_wrap=True, emoji=False)
        self._redraws = file.isatty() and not self._console.is_dumb_terminal
        self._begun = time.monotonic()
        self._total, self._count = 0, 0
        self._estimate: Estimate | None = None
        self._shown: Progress | None = None  # what the bar shows: the estimate, or the progress of steps on a cluster
        self._lock = threading.RLock()
        self._live: Live | None = None
        self._title = ''  # of the running component
        self._messages: list[str] = []  # of the running component, not yet printed
        self._running: Sequence[tuple[str, float]] = ()  # steps of a cluster, of which several run at once
        self._progress = ''  # the newest report of the running component's progress, not yet printed
        self._open_line = False
        self._started, self._last_print = 0.0, 0.0
        self._fit()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._heartbeat, daemon=True)
        self._thread.start()

    @property
    def columns(self) -> int | None:
        """The width of the terminal; None if it is none."""
        return layout.columns(self._file)

    def expect(self, nodes: list[str], last_seconds: dict[str, float], begun: float):
        """From now on components are numbered, and the bar has an estimate of the rest (see Estimate).

        begun: when the run began (time.monotonic); the time that the bar shows is counted from then.
        """
        with self._lock:
            self._total, self._count, self._begun = len(nodes), 0, begun
            self._estimate = self._shown = Estimate(nodes, last_seconds)

    def follow(self, progress: Progress, total: int, begun: float):
        """From now on it shows steps of which several run at once: `running` and `step` in place of start and finish.

        progress: what the bar shows. begun: when the run began (time.monotonic).
        """
        with self._lock:
            self._total, self._count, self._begun, self._shown = total, 0, begun, progress

    def running(self, steps: Sequence[tuple[str, float]]):
        """The steps that run now, each with its start (time.monotonic), in place of those before."""
        with self._lock:
            self._running = steps
            if self._redraws:
                self._start_live()

    def step(self, node: str, result: str):
        """A step has finished, with this result."""
        with self._lock:
            self._count += 1
            self._console.print(printable(f'{self._title_of(node)}{result}'))
            self._last_print = time.monotonic()

    def print(self, text: str = ''):
        """Prints lines: below the running component if there is one. On a terminal they are broken between words."""
        text = printable(text)
        with self._lock:
            if self._title and self._redraws:
                self._messages.append(text)
                self._draw()
                return
            self._end_live()
            self._close_line()
            self._write(text)

    def print_whole(self, text: str):
        """Prints lines that are never broken, such as a command that is to be copied."""
        with self._lock:
            self._end_live()
            self._close_line()
            self._console.print(printable(text))

    def progress(self, text: str, done: int, total: int, seconds_left: float | None):
        """The running component's report of its progress, in place of the one before."""
        with self._lock:
            if self._estimate:
                self._estimate.progress(done, total, seconds_left)
            self._progress = printable(text)
            if self._redraws:
                self._draw()
            elif not self._title or time.monotonic() - self._last_print >= self.QUIET_SECONDS:
                self._print_progress()

    def start(self, node: str):
        with self._lock:
            self._count += 1
            self._title = self._title_of(node)
            self._started = self._last_print = time.monotonic()
            if self._estimate:
                self._estimate.started(node)
            if self._redraws:
                self._start_live()
            else:
                self._console.print(self._title.rstrip(), end='')
                self._open_line = True
                self._file.flush()

    def finish(self, result: str, cached: bool = False):
        """The running component, if there is one, came to this result."""
        with self._lock:
            if not self._title:
                return
            if self._estimate:
                self._estimate.finished(cached)
            self._flush(printable(result))

    def close(self):
        self._closed.set()
        self._thread.join()
        with self._lock:
            if self._title:
                self._flush('')
            self._end_live()
            self._close_line()

    def _flush(self, result: str):
        """Prints the running component's line and its messages. Nothing is running after that."""
        title, self._title = self._title, ''
        if self._redraws:
            self._console.print(f'{title}{result}'.rstrip())
            self._print_messages()
            self._print_progress()
            return
        if self._progress:
            self._print_progress()
        self._console.print((title[len(title.rstrip()):] if self._open_line else title) + result)
        self._open_line = False
        self._file.flush()

    def _print_messages(self):
        for text in self._messages:
            self._write(text)
        self._messages = []

    def _print_progress(self):
        text, self._progress = self._progress, ''
        if text:
            self._close_line()
            self._write(text)

    def _write(self, text: str):
        for line in text.split('\n'):
            for part in layout.wrap(line, self.columns):
                self._console.print(part)
        self._last_print = time.monotonic()

    def _title_of(self, node: str) -> str:
        if not self._total:
            return f'{INDENT}{node:<40}'
        return f'[{self._count:>2}/{self._total}] {self._name_of(node)}'

    def _name_of(self, node: str) -> str:
        component, _, task = node.partition('_')
        return f'{component:<16}{layout.cut(task, 23 if self._redraws else None):<24}'

    def _close_line(self):
        if self._open_line:
            self._console.print()
            self._open_line = False

    def _start_live(self):
        if not self._live:
            # Redirecting would take standard output and error from the log: all that the libraries write, and Beam's
            # tracebacks, would be on the screen.
            self._live = Live(console=self._console, auto_refresh=False, transient=True, redirect_stdout=False,
                              redirect_stderr=False, get_renderable=self._renderable)
            self._live.start()
            self._console.show_cursor(True)  # a process that is killed could not bring it back
        self._draw()

    def _end_live(self):
        if self._live:
            self._live.stop()
            self._live = None

    def _draw(self):
        if not self._live:
            return
        try:
            self._live.refresh()
        except Exception:  # a run is worth more than its screen, which goes on with whole lines
            logging.getLogger(__name__).exception('The screen cannot be drawn')
            self._redraws = False
            with contextlib.suppress(Exception):
                self._end_live()
            self._live = None
            if self._title:
                self._write(self._title.rstrip())
            self._print_messages()

    def _renderable(self):
        """What is drawn again: the running component, the newest of its messages that fit, and the bar."""
        columns, rows = self._console.size
        lines = []
        if self._title:
            seconds = words.duration(int(time.monotonic() - self._started))
            lines = [f'{self._title}{seconds}']
            messages = [line[i:i + columns] for text in [*self._messages, *([self._progress] if self._progress else [])]
                        for line in layout.wrap(text, columns) for i in range(0, max(1, len(line)), columns)]
            lines += messages[-max(1, rows - 4):]
        elif self._running:
            now = time.monotonic()
            lines = [f'{INDENT}{self._name_of(node)}{words.duration(int(now - started))}'
                     for node, started in self._running][:max(1, rows - 3)]
        drawn = [Text(line, no_wrap=True, overflow='crop') for line in lines]
        # The terminal echoes Ctrl-C at the end of the last line. If that wrapped, a line would be left undrawn.
        return Group(*drawn, *([self._bar(self._shown, columns - len('^C^C'))] if self._shown else []))

    def _bar(self, shown: Progress, columns: int) -> Table:
        minutes, seconds = divmod(int(time.monotonic() - self._begun), 60)
        hours, minutes = divmod(minutes, 60)
        clock = f'{hours}:{minutes:02}:{seconds:02}' if hours else f'{minutes}:{seconds:02}'
        text = f'{shown.done} of {self._total}, {clock}, {shown.left()}'
        row = Table.grid(padding=(0, 1))
        width = max(4, min(40, columns - max(TEXT_COLUMNS, len(text)) - 1))
        row.width = min(columns, width + 1 + len(text))
        row.add_row(ProgressBar(1.0, shown.share(), width=width), Text(text, no_wrap=True))
        return row

    def _fit(self):
        """Rich asks standard input, output and error for the size, which are not the terminal that is written to.

        A terminal that nobody has given a size, as of `script` or of a container, says that it is 0 by 0.
        """
        if self._redraws:
            with contextlib.suppress(OSError):
                columns, rows = os.get_terminal_size(self._file.fileno())
                self._console.size = columns or 80, rows or 24

    def _heartbeat(self):
        while not self._closed.wait(0.25 if self._redraws else 1):
            with self._lock:
                if self._live:
                    self._fit()
                    self._draw()
                elif (self._title or self._running) and time.monotonic() - self._last_print >= self.QUIET_SECONDS:
                    self.print(f'{INDENT}still running{self._how_long()}')

    def _how_long(self) -> str:
        now = time.monotonic()
        if self._title:
            return f', {words.duration(now - self._started)}'
        steps = [f'{node.replace("_", " ", 1)} ({words.duration(now - started)})' for node, started in self._running]
        return f': {", ".join(steps)}'


def working(text: str) -> contextlib.AbstractContextManager:
    """While it is open, a terminal shows this line on standard error. Elsewhere nothing is shown."""
    console = Console(file=printed.raw(sys.stderr), highlight=False, markup=False, emoji=False)
    return console.status(printable(text))


class _ScreenHandler(logging.Handler):
    """Shows log records, indented below their component. Paths under the current directory are shortened.

    A record with an attribute `progress` is a report of progress (model_code.progress): it replaces the one before.
    """

    def __init__(self, screen: Screen):
        super().__init__(logging.INFO)
        self._screen = screen

    def emit(self, record):
        text = record.getMessage().replace(os.getcwd() + os.sep, '')
        progress = getattr(record, 'progress', None)
        if progress:
            self._screen.progress(f'{INDENT}{text}', *progress)
            return
        for line in text.splitlines():
            self._screen.print(f'{INDENT}{line}')


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


class LogFormatter(logging.Formatter):
    """One line per event: time, level, logger, message. TFX logs whole protobufs, of which the first line is kept.

    Tracebacks and the project's own messages stay whole. dumps: whether all stays whole. hint: what keeps the rest.
    """

    def __init__(self, dumps: bool = False, hint: str = '; --verbose keeps them'):
        super().__init__('%(asctime)s %(levelname).1s %(name)s: %(message)s')
        self._dumps, self._hint = dumps, hint

    def format(self, record):
        text = printable(super().format(record))
        if self._dumps or record.exc_info or record.name == logger.name or 'Traceback (most recent' in text:
            return text
        first, *rest = text.rstrip().splitlines()
        return f'{first.rstrip()} [{words.count(len(rest), "more line")}{self._hint}]' if rest else first


class _LossyFile(io.TextIOWrapper):
    """Text for what may go away or be full, a closed terminal or a disk: then it is lost, and the run goes on."""

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self):
        with contextlib.suppress(OSError):
            super().flush()

    def close(self):
        with contextlib.suppress(OSError):
            super().close()


@contextlib.contextmanager
def quiet(log_path: pathlib.Path, dumps: bool = False):
    """Redirects standard output and error to a log file; yields a file that writes to the real standard output.

    dumps: whether the log keeps all lines of messages that have several (LogFormatter).

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
    stream = _LossyFile(open(log_path, 'ab'), encoding='utf-8', errors='backslashreplace', line_buffering=True)
    streams = sys.stdout, sys.stderr
    sys.stdout = sys.stderr = stream
    handler = logging.StreamHandler(stream)
    handler.setFormatter(LogFormatter(dumps))
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    screen_file = _LossyFile(open(os.dup(saved[0]), 'wb'), errors='backslashreplace')
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

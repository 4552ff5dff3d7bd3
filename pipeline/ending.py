"""How Ctrl-C (SIGINT), SIGTERM or a closed terminal (SIGHUP) ends a command.

It ends in time, with a sentence, and with an exit code of its own.

What runs gets a moment to end by itself, training time to save, and a job on other machines is cancelled. Then a thread
ends the process, whatever the main thread is doing, which is safe because files appear whole or not at all. A second
signal ends it at once.
"""

import contextlib
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn

from model_code import interruption
from model_code.printable import printable
from pipeline import printed, summary

GRACE_SECONDS = 2.0
SAVE_SECONDS = 8.0  # while training runs, which saves after its call of steps, or a job elsewhere is to be cancelled
_TELL_SECONDS = 1.0  # a terminal may be stopped, and then printing waits


def _tell(number: signal.Signals):
    print_line(sentence(number, 'before it was done.'))


_teller: Callable[[signal.Signals], None] = _tell
_typed = ''
_only_one = threading.Lock()


@contextlib.contextmanager
def in_time(words: Sequence[str]) -> Iterator[None]:
    """A block in which a signal ends this process within ten seconds. words: the command line after `polyvit`."""
    global _typed
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _typed = summary.command(*words)
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    # Python's handlers wait until the main thread is back from C. These bytes do not.
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(reader,), daemon=True).start()
    try:
        with interruption.handled(), telling(_tell):
            yield
    finally:
        signal.set_wakeup_fd(-1)
        writer.close()
        _typed = ''


@contextlib.contextmanager
def telling(tell: Callable[[signal.Signals], None]) -> Iterator[None]:
    """A block in which `tell` says that a signal ended it. It may be called in another thread.

    Where the block was interrupted, the process ends; in a program that is no command, KeyboardInterrupt or SystemExit
    comes out of the block.
    """
    global _teller
    before, _teller = _teller, tell
    try:
        yield
    except BaseException:
        number = interruption.requested()
        if number:  # whatever the exception is: Beam makes a RuntimeError of a KeyboardInterrupt
            _end(number)
        raise
    finally:
        _teller = before


def sentence(number: signal.Signals, where: str) -> str:
    """Such as 'Interrupted by Ctrl-C', and `where` it was."""
    return f'{"Interrupted by Ctrl-C" if number == signal.SIGINT else f"Ended by {number.name}"} {where}'


def print_line(text: str):
    """Prints a sentence and the command to go on with."""
    print_alone(f'{text} To go on:\n  {_typed}' if _typed else text)


def print_alone(text: str):
    """Prints a sentence in place of a progress line that a terminal may have there."""
    erase = '\r\x1b[K' if sys.stderr.isatty() else ''
    print(f'{erase}polyvit: {printable(text)}', file=printed.raw(sys.stderr), flush=True)


def _watch(signals: socket.socket):
    """Ends the process when it had its time after the first signal, or at the second. Returns when nobody writes."""
    number = _next_signal(signals)
    if number is None:
        return
    takes_longer = interruption.saving() or interruption.works_elsewhere()
    deadline = time.monotonic() + (SAVE_SECONDS if takes_longer else GRACE_SECONDS)
    threading.Thread(target=interruption.cancel_elsewhere, daemon=True).start()
    while (left := deadline - time.monotonic()) > 0:
        if select.select([signals], [], [], left)[0] and _next_signal(signals):
            break
    threading.Thread(target=_end, args=(number,), daemon=True).start()
    time.sleep(_TELL_SECONDS)
    leave(number)


def _next_signal(signals: socket.socket) -> signal.Signals | None:
    while data := signals.recv(1):
        if data[0] in interruption.SIGNALS:
            return signal.Signals(data[0])
    return None


def _end(number: signal.Signals):
    if _typed:
        _only_one.acquire()  # never released: whoever comes second waits here for the end of the process
        try:
            _teller(number)
        finally:
            leave(number)
    _teller(number)
    if number == signal.SIGINT:
        raise KeyboardInterrupt from None
    raise SystemExit(128 + number) from None


def leave(number: signal.Signals) -> NoReturn:
    """Ends this process and those that it started. It waits for no thread: Beam's do not notice an interruption."""
    import psutil
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            child.kill()
    os._exit(128 + number)

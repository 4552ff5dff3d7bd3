"""Ctrl-C (SIGINT), SIGTERM and SIGHUP: they end what runs, but training saves first.

Inside `handled` any of them raises KeyboardInterrupt in the main thread, wherever that is. Inside `postponed` the
first signal does not: that code asks `requested` now and then, saves, and ends by itself. A second signal raises
KeyboardInterrupt there too. Inside `cancelling`, what runs on other machines is cancelled before the process ends.

Python allows handlers in the main thread only. A local run has its components there; in other threads these blocks do
nothing, and signals do what they do in any Python program.
"""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

# SIGHUP comes when the terminal is closed or the connection to it is lost.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _State:
    """requested: the first signal since the handlers were installed. kept: what `kept` returns. cancel: what ends the
    work on other machines, None if there is none. cancelled: what `cancel` returned.
    """

    def __init__(self, handled: bool = False):
        self.handled, self.postponed = handled, False
        self.requested: signal.Signals | None = None
        self.kept: Callable[[], str] = str
        self.cancel: Callable[[], str] | None = None
        self.cancelled = ''
        self.cancelling = threading.Lock()


_state = _State()


def requested() -> signal.Signals | None:
    """The signal that asks this process to end; None while there was none."""
    return _state.requested


def saving() -> bool:
    """Whether the main thread is in `postponed`, and so will save before it ends."""
    return _state.postponed


def kept() -> str:
    """What is saved of the work in `postponed`, as a clause; '' if no such work runs or was interrupted."""
    return _state.kept()


@contextlib.contextmanager
def handled() -> Iterator[None]:
    """A block in which the signals are handled. Inside another such block it does nothing."""
    global _state
    if _state.handled or threading.current_thread() is not threading.main_thread():
        yield
        return
    _state = _State(handled=True)
    # A shell starts background jobs with SIGINT ignored, and nohup with SIGHUP; they must stay so.
    previous = {number: signal.signal(number, _handle) for number in SIGNALS
                if signal.getsignal(number) is not signal.SIG_IGN}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        _state = _State()


@contextlib.contextmanager
def postponed(kept: Callable[[], str]) -> Iterator[None]:
    """A block that saves and ends by itself once `requested` names a signal. kept: returns what is saved, as a clause.

    It handles the signals if nobody does yet, as on a cluster. The clause is available after the block if that was
    interrupted.
    """
    with handled():
        _state.kept = kept
        _state.postponed = _state.handled
        try:
            yield
        finally:
            _state.postponed = False
            if not _state.requested:
                _state.kept = str


@contextlib.contextmanager
def cancelling(cancel: Callable[[], str]) -> Iterator[None]:
    """A block that waits for work on other machines. If a signal or Ctrl-C ends it, `cancel` is called, once.

    cancel: ends that work within seconds, and returns a sentence that says whether it did.
    """
    _state.cancel = cancel
    try:
        yield
    except Exception:
        raise
    except BaseException:
        cancel_elsewhere()
        raise
    finally:
        _state.cancel = None


def works_elsewhere() -> bool:
    """Whether there is work on other machines to cancel."""
    return _state.cancel is not None


def cancel_elsewhere() -> str:
    """Cancels the work on other machines, if there is any. Returns the sentence of the first call; others wait for it.
    """
    with _state.cancelling:
        cancel, _state.cancel = _state.cancel, None
        if cancel:
            _state.cancelled = cancel()
        return _state.cancelled


def _handle(number: int, _):
    first = _state.requested is None
    _state.requested = _state.requested or signal.Signals(number)
    if not (first and _state.postponed):
        raise KeyboardInterrupt

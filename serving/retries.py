"""Asks a server again after what may pass: a lost connection, or too much to do. What is wrong stays wrong."""

import random
import time
import typing
from collections.abc import Callable

from serving.failures import Overloaded, PredictionFailed

_FIRST_WAIT, _LONGEST_WAIT = 0.2, 5.0  # seconds; each is twice the one before, give or take a half
_CONNECTIONS = 4  # attempts to connect: where nothing listens, a person soon wants to know

T = typing.TypeVar('T')


class Again(Exception):
    """An attempt that failed, and may succeed later. error: to raise if none does. after_s: what the server asks."""

    def __init__(self, error: PredictionFailed, after_s: float = 0.0):
        super().__init__(error)
        self.error, self.after_s = error, after_s


def retried(attempt: Callable[[float], T], seconds: float) -> T:
    """What `attempt(seconds left)` returns, called again when it raises Again, as long as there is time.

    Waits grow, and are random, so that clients who failed together do not come back together. Raises Again.error.
    """
    end, wait, lost = time.monotonic() + seconds, _FIRST_WAIT, 0
    while True:
        try:
            return attempt(max(0.001, end - time.monotonic()))
        except Again as again:
            lost = 0 if isinstance(again.error, Overloaded) else lost + 1  # who is overloaded is there
            pause = max(again.after_s, wait * random.uniform(0.5, 1.5))
            if lost == _CONNECTIONS or time.monotonic() + pause >= end:
                raise again.error from None
        time.sleep(pause)
        wait = min(2 * wait, _LONGEST_WAIT)

"""How far something is, how fast it goes and how long it still takes, said every few seconds."""

import threading
import time
from collections.abc import Callable

from model_code import words


class Progress:
    """Counts what is done, and says it when it was last said `every_s` seconds ago. Several threads may call it.

    total: how many there are. unit: what they are, 'files'. say: is given the text, '300 of 1,000 files (30%), 60.0
    files/s, 12 seconds left'. done: how many were done before.
    """

    def __init__(self, total: int, unit: str, say: Callable[[str], None], every_s: float = 5.0, done: int = 0,
                 clock: Callable[[], float] = time.monotonic):
        self.total, self.done = total, done
        self._unit, self._say, self._every_s, self._clock = unit, say, every_s, clock
        self._timed_count, self._timed_seconds = 0, 0.0
        self._previous = self._said = clock()
        self._said_done = -1
        self._lock = threading.RLock()

    def add(self, count: int, timed: bool = True) -> float:
        """`count` more are done. Returns the seconds since the last call; timed: they count in the rate."""
        with self._lock:
            now = self._clock()
            seconds, self._previous = now - self._previous, now
            self.done += count
            if timed:
                self._timed_count += count
                self._timed_seconds += seconds
            if now - self._said >= self._every_s:
                self._say_now(now)
            return seconds

    def pause(self):
        """What was done since the last call is no part of this: its time counts in no rate."""
        with self._lock:
            self._previous = self._clock()

    def finish(self):
        """Says where it ended, where that was not said."""
        with self._lock:
            if self._said_done != self.done:
                self._say_now(self._clock())

    @property
    def rate(self) -> float | None:
        """How many are done in a second; None before anything was timed."""
        return self._timed_count / max(1e-9, self._timed_seconds) if self._timed_count else None

    def _say_now(self, now: float):
        self._said, self._said_done = now, self.done
        text = f'{self.done:,} of {self.total:,} {self._unit} ({100 * self.done // max(1, self.total)}%)'
        if self.rate:
            text += f', {self.rate:,.1f} {self._unit}/s' if self.rate >= 1 else f', {self.rate:.2g} {self._unit}/s'
            if self.done < self.total:
                text += f', {words.duration((self.total - self.done) / self.rate)} left'
        self._say(text)

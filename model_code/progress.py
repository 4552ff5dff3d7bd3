"""Reports every few seconds how much is done, how fast, and how long the rest will take."""

import threading
import time
from collections.abc import Callable

from model_code import words


class Progress:
    """Counts what is done, and reports it if the last report is `every_s` seconds ago. Several threads may call it.

    total: how many items there are. noun: what one of them is, such as 'file'. report: called with a text such as
    '300 of 1,000 files (30%), 60.0 files/s, 12 seconds left'. done: how many items were done before.
    """

    def __init__(self, total: int, noun: str, report: Callable[[str], None], every_s: float = 5.0, done: int = 0,
                 clock: Callable[[], float] = time.monotonic):
        self.total, self.done = total, done
        self._noun, self._report = noun, report
        self._every_s, self._clock = every_s, clock
        self._timed_count, self._timed_seconds = 0, 0.0
        self._previous = self._reported_at = clock()
        self._reported = -1, -1
        self._lock = threading.RLock()

    def add(self, count: int, timed: bool = True) -> float:
        """`count` more items are done. Returns the seconds since the last call. timed: whether the rate counts them."""
        with self._lock:
            now = self._clock()
            seconds, self._previous = now - self._previous, now
            self.done += count
            if timed:
                self._timed_count += count
                self._timed_seconds += seconds
            if now - self._reported_at >= self._every_s:
                self._report_now(now)
            return seconds

    def pause(self):
        """The time since the last call was spent on something else, and does not count for the rate."""
        with self._lock:
            self._previous = self._clock()

    def finish(self):
        """Reports the end, if the last report did not."""
        with self._lock:
            if self._reported != (self.done, self.total):
                self._report_now(self._clock())

    @property
    def rate(self) -> float | None:
        """Items per second; None before anything was timed."""
        return self._timed_count / max(1e-9, self._timed_seconds) if self._timed_count else None

    @property
    def seconds_left(self) -> float | None:
        """By the rate; None before anything was timed."""
        return max(0, self.total - self.done) / self.rate if self.rate else None

    @property
    def extra(self) -> dict:
        """What a log record of a report carries beside the text (`extra` of logging; see model_code.logger)."""
        return {'progress': (self.done, self.total, self.seconds_left)}

    def _report_now(self, now: float):
        self._reported_at, self._reported = now, (self.done, self.total)
        text = f'{self.done:,} of {words.count(self.total, self._noun)} ({100 * self.done // max(1, self.total)}%)'
        if self.rate:
            text += f', {self.rate:{",.1f" if self.rate >= 1 else ".2g"}} {self._noun}s/s'
            if self.seconds_left:
                text += f', {words.duration(self.seconds_left)} left'
        self._report(text)

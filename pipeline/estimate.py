"""How much of a run is done, and how long the rest will take: from the seconds of the last run, or from this one's.

What a component will take is known if it ran before under this root, or if the same component ran for another task,
in an earlier run or in this one; a component that reports its own progress is known from then on. Of others nothing is
known, and then there is no estimate. Where this run is slower or faster than the last, so will its rest be.
"""

import statistics
import time
from collections.abc import Callable, Sequence

from model_code import words

PACE_SECONDS = 20.0  # less tells nothing of how fast the machine is


class Estimate:
    """The estimate of one run. Not safe for threads.

    nodes: the ids of all components. last_seconds: id -> the seconds that a component took when it last ran.
    """

    def __init__(self, nodes: Sequence[str], last_seconds: dict[str, float],
                 clock: Callable[[], float] = time.monotonic):
        self._waiting, self._clock = dict.fromkeys(nodes), clock
        self._last, self._seconds = last_seconds, dict(last_seconds)
        self._total, self._node, self._started = len(nodes), '', 0.0
        self._left, self._left_at, self._share = None, 0.0, 0.0
        # Only what was known from the start can be the measure of the bar; later it would jump back.
        self._measure = {node: self._expected(node) for node in nodes}
        self._all_known = all(seconds is not None for seconds in self._measure.values())
        self._shown = 0.0
        self._any_cached = False
        self._took, self._should_have = 0.0, 0.0  # the seconds of what has run, in this run and by the last one

    def started(self, node: str):
        self._node, self._started = node, self._clock()
        self._left, self._share = None, 0.0
        self._waiting.pop(node, None)

    def progress(self, done: int, total: int, seconds_left: float | None):
        """The running component's own report."""
        self._share = done / max(1, total)
        self._left, self._left_at = seconds_left, self._clock()

    def finished(self, cached: bool):
        if not cached:
            took = self._clock() - self._started
            if self._node in self._last:
                self._took, self._should_have = self._took + took, self._should_have + self._last[self._node]
            self._seconds[self._node] = took
        self._any_cached = self._any_cached or cached
        self._node = ''

    @property
    def done(self) -> int:
        """How many components have finished."""
        return self._total - len(self._waiting) - bool(self._node)

    def share(self) -> float:
        """The share of the run that is done, from 0 to 1; it never falls."""
        if self._all_known:
            waiting = sum(self._measure[node] or 0.0 for node in self._waiting)
            left = waiting + (self._running_left() or 0.0) / self._pace()
            total = sum(seconds or 0.0 for seconds in self._measure.values())
            share = 1.0 - left / total if total else 0.0
        else:
            share = (self.done + (self._share if self._node else 0.0)) / max(1, self._total)
        self._shown = min(1.0, max(self._shown, share))
        return self._shown

    def left(self) -> str:
        """What is left, in words; it says so if that is not known."""
        if not self._waiting and not self._node:
            return 'done'
        running = self._running_left()
        waiting = [self._expected(node) for node in self._waiting]
        if running is not None and None not in waiting:
            # A component that the cache has takes no time, and which it has is only known when their turn comes.
            at_most = 'up to' if self._any_cached or not self.done else 'about'
            return f'{at_most} {rough(self._pace() * sum(waiting) + running)} left'
        if running is not None and self._left is not None:
            return f'{rough(running)} left of this one, then {len(waiting)} more'
        return 'time left not known yet'

    def _running_left(self) -> float | None:
        """The seconds that the running component still needs, 0 once they have passed; None if nothing is known."""
        if not self._node:
            return 0.0
        if self._left is not None:
            return max(0.0, self._left - (self._clock() - self._left_at))
        expected = self._expected(self._node)
        return None if expected is None else max(0.0, self._pace() * expected - (self._clock() - self._started))

    def _pace(self) -> float:
        """How many times as long as the last time the components took that have run: the machine may be busier now."""
        return max(0.1, self._took / self._should_have) if self._should_have >= PACE_SECONDS else 1.0

    def _expected(self, node: str) -> float | None:
        """The seconds of a component by its last run, or by those of the same component of other tasks."""
        if node in self._seconds:
            return self._seconds[node]
        kind = node.partition('_')[0]
        others = [seconds for other, seconds in self._seconds.items() if other.partition('_')[0] == kind]
        return statistics.mean(others) if others else None


def rough(seconds: float) -> str:
    """A duration no more exact than an estimate is: in steps of 5 seconds, 10 seconds, minutes or ten minutes."""
    for below, step in ((60, 5), (600, 10), (7200, 60), (float('inf'), 600)):
        if seconds < below:
            return words.duration(max(step, step * round(seconds / step)))
    raise ValueError(f'{seconds} is no duration')

"""Measures time, processor time and memory of this process and of those that it starts, such as Beam's workers."""

import contextlib
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator

import psutil

from components.costs import Cost

_SAMPLE_SECONDS = 0.5  # a peak between two looks is seen in this process alone


class Meter:
    """What has been taken since it was made. Use `running`."""

    def __init__(self):
        self._begin, self._cpu, self._highest = time.monotonic(), _cpu_seconds(), _highest_memory()
        self._peak = 0.0
        self.look()

    def look(self):
        """Looks at the memory now."""
        self._peak = max(self._peak, sum(_of_all(lambda process: process.memory_info().rss)))

    def cost(self, component: str) -> Cost:
        self.look()
        highest = _highest_memory()
        if highest > self._highest:  # the most that this process ever had, and it had that since the start
            self._peak = max(self._peak, highest)
        return Cost(component, round(time.monotonic() - self._begin, 2),
                    round(max(0.0, _cpu_seconds() - self._cpu), 2), int(self._peak))


@contextlib.contextmanager
def running() -> Iterator[Meter]:
    """A context in which a thread looks at the memory again and again."""
    meter, done = Meter(), threading.Event()

    def watch():
        while not done.wait(_SAMPLE_SECONDS):
            meter.look()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield meter
    finally:
        done.set()
        thread.join()


def _cpu_seconds() -> float:
    """Of this process, those that it started, and those of them that have ended."""
    return sum(_of_all(lambda process: sum(process.cpu_times()[:4])))  # user, system, and both of ended children


def _of_all(value: Callable[[psutil.Process], float]) -> list[float]:
    """A value of this process and of each below it, without those that end meanwhile."""
    found = []
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        with contextlib.suppress(psutil.Error):
            found.append(value(process))
    return found


def _highest_memory() -> int:
    """The most resident memory in bytes that this process ever had."""
    with contextlib.suppress(OSError):  # Linux's ru_maxrss begins with that of the process that started this one
        with open('/proc/self/status', encoding='ascii') as status:
            for line in status:
                if line.startswith('VmHWM:'):
                    return 1024 * int(line.split()[1])
    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return highest if sys.platform == 'darwin' else 1024 * highest

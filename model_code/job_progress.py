"""The progress of work that is done in other processes, which count what they have done in a metric of their own."""

import contextlib
from collections.abc import Callable, Iterator

from model_code.progress import Progress

NAMESPACE = 'polyvit'  # of the counters in which workers count what is done

_progress: Progress | None = None


@contextlib.contextmanager
def expected(total: int, noun: str, log: Callable[[str, dict], None]) -> Iterator[None]:
    """A block in which workers elsewhere do `total` items. `report` then logs how many are done.

    noun: what an item is, such as 'file'. log: called with a text ('300 of 1,000 files (30%), ...') and the `extra` of
    a log record.
    """
    global _progress
    progress = Progress(total, noun, lambda text: log(text, progress.extra))
    _progress = progress
    try:
        yield
    finally:
        _progress = None


def is_expected() -> bool:
    return _progress is not None


def report(done: int):
    """So many items are done now, by the workers' own count."""
    if _progress and done > _progress.done:
        _progress.add(min(done, _progress.total) - _progress.done)

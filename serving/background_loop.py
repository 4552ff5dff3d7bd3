"""An event loop in a thread of its own, on which code that knows no asyncio runs coroutines.

The caller may itself be in an event loop, as in a notebook, and there may be several callers at once.
"""

import asyncio
import functools
import threading
import typing
from collections.abc import Coroutine

T = typing.TypeVar('T')


def run(coroutine: Coroutine[typing.Any, typing.Any, T]) -> T:
    """What the coroutine returns, or raises. It is cancelled if the caller is interrupted."""
    future = asyncio.run_coroutine_threadsafe(coroutine, _loop())
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


def start(coroutine: Coroutine[typing.Any, typing.Any, typing.Any]):
    """Lets a coroutine run, and waits for nothing: a finalizer may be called in the loop's own thread."""
    asyncio.run_coroutine_threadsafe(coroutine, _loop())


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name='serving-client', daemon=True).start()
    return loop

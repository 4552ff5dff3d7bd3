"""What other threads have made for an event loop, which is woken once for all that comes at the same time.

asyncio.wrap_future wakes it for each: with batches, which end many requests at once, that took a seventh of the time of
the REST front end.
"""

import asyncio
import collections
import concurrent.futures
import contextlib
import functools
import typing
import weakref

Result = typing.TypeVar('Result')


async def result(future: 'concurrent.futures.Future[Result]', within_s: float | None = None) -> Result:
    """The result of a future that another thread completes, or its exception. Who is cancelled here cancels it, too.

    within_s: seconds after which it is cancelled, and TimeoutError raised.
    """
    loop = asyncio.get_running_loop()
    mailbox = _mailboxes.get(loop)
    if mailbox is None:
        mailbox = _mailboxes[loop] = _Mailbox(loop)
    awaited = loop.create_future()
    future.add_done_callback(functools.partial(mailbox.put, awaited))
    timer = None if within_s is None else loop.call_later(within_s, _give_up, awaited)
    try:
        return await awaited
    except (asyncio.CancelledError, asyncio.TimeoutError):
        future.cancel()
        raise
    finally:
        if timer is not None:
            timer.cancel()
        # An error's traceback leads to this frame, and the futures to the error: all that the waiting frames hold would
        # stay until the next garbage collection.
        del awaited, future


def _give_up(awaited: asyncio.Future):
    if not awaited.done():
        awaited.set_exception(asyncio.TimeoutError())


class _Mailbox:
    """Of one loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop):
        self._loop = weakref.ref(loop)
        self._letters: collections.deque[tuple[asyncio.Future, concurrent.futures.Future]] = collections.deque()
        self._woken = False

    def put(self, awaited: asyncio.Future, done: concurrent.futures.Future):
        """From any thread. A letter that comes while the loop empties the box is taken, or wakes it again."""
        self._letters.append((awaited, done))
        loop = self._loop()
        if not self._woken and loop is not None:
            self._woken = True
            with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody waits
                loop.call_soon_threadsafe(self._empty)

    def _empty(self):
        self._woken = False  # first: who puts a letter after the last look wakes the loop again
        while self._letters:
            awaited, done = self._letters.popleft()
            if awaited.done() or done.cancelled():
                awaited.cancel()
            elif error := done.exception():
                awaited.set_exception(error)
            else:
                awaited.set_result(done.result())


_mailboxes: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Mailbox] = weakref.WeakKeyDictionary()

"""Bounds on what gRPC clients send, how long they take for it, and the log of their requests.

gRPC's core bounds a message and the number of connections and requests. It waits without end for a message that a
client began, so each method is taken as one with a stream of requests, of which the first is read: to clients that is
the same, and the time of reading is this module's.
"""

import asyncio
import concurrent.futures
import contextlib
import math
import time
import typing
from collections.abc import Awaitable, Callable

import grpc
from google.protobuf.message import Message

from model_code.logger import logger
from serving import grpc_sizes, metrics
from serving.errors import ServingError, invalid
from serving.limits import Limits, exceeded, overloaded
from serving.logs import AccessLog

_TICK = 0.25  # seconds between two looks at the requests that are being read
_PATIENCE = 1.0  # seconds to read a request while so many are read that all together may be too large
_MESSAGES_AROUND = 1000  # of a request that has as many values as it may: its names, shapes and types
_SMALL_BYTES = 2**17  # of a request that the event loop may answer
_MOMENT = 0.05  # seconds between the end of what a client sends and the news, which ends this task, that it gave up
_KEEPALIVE_MS = 60_000  # between two questions whether a silent client is still there


class Method(typing.NamedTuple):
    """How a method is answered. The functions are given the request, and the time.monotonic() of its deadline.

    request: a class of messages. answer: runs in a thread of the guard's pool. in_loop: the same in the event loop, for
    requests that `is_small` takes. Both raise ServingError. is_prediction: whether it takes one of max_requests places.
    """
    request: typing.Any
    answer: Callable[[typing.Any, float], Message]
    in_loop: Callable[[typing.Any, float], Awaitable[Message]] | None = None
    is_small: Callable[[typing.Any], bool] = lambda request: True
    is_prediction: bool = True


def quick(request, answer: Callable[[typing.Any, float], Message]) -> Method:
    """A method that takes no time, so that it waits for no prediction."""
    async def in_loop(given, until: float):
        return answer(given, until)
    return Method(request, answer, in_loop, is_prediction=False)


def options(limits: Limits) -> list[tuple[str, int]]:
    """The settings of gRPC's core. Its own bounds on pings and on metadata stay: 2 strikes, 8 KiB."""
    return [('grpc.so_reuseport', 0),
            # No compression: gRPC's core looks at a message's size once it is decompressed, a thousand times as large.
            ('grpc.compression_enabled_algorithms_bitset', 1),
            ('grpc.max_receive_message_length', limits.max_body_bytes),
            ('grpc.max_concurrent_streams', limits.max_connections),  # of each connection
            ('grpc.max_allowed_incoming_connections', limits.max_connections),
            ('grpc.max_connection_idle_ms', round(1000 * limits.idle_timeout_s)),
            ('grpc.server_handshake_timeout_ms', round(1000 * limits.header_timeout_s)),
            ('grpc.keepalive_time_ms', _KEEPALIVE_MS)]


class Guard:
    """Makes the handlers of methods. It belongs to the event loop that runs when it is made."""

    def __init__(self, limits: Limits, access_log: AccessLog | None = None):
        self._limits = limits
        self._access_log = access_log
        self._reading: dict[asyncio.Task, float] = {}  # since when
        self._late: set[asyncio.Task] = set()  # those of them that are told to end
        self._held = 0  # bytes of requests
        self.predictions = 0  # in progress, also of clients that gave up, as long as a thread works for them
        self._pool = concurrent.futures.ThreadPoolExecutor(limits.max_requests, 'grpc')
        self._watching = asyncio.get_running_loop().create_task(self._watch())

    def close(self):
        """Once the server has stopped. A graph that runs cannot be interrupted, so its thread goes on."""
        self._watching.cancel()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def handler(self, path: str, method: Method) -> grpc.RpcMethodHandler:
        async def answer(_, context):
            return await self._answer(path, method, context)
        return grpc.stream_unary_rpc_method_handler(answer)

    async def _answer(self, path: str, method: Method, context) -> bytes:
        began, code, size = time.monotonic(), 'CANCELLED', 0
        try:
            try:
                reply = await self._reply(method, context)
                code, size = 'OK', len(reply)
                return reply
            except Exception as error:
                if isinstance(error, ServingError):
                    code, message = error.code, error.message
                else:
                    code, message = 'INTERNAL', f'{type(error).__name__}: {error}'
                    logger.warning('gRPC %s failed: %s', path, message)
                # Its traceback leads to this call, and others may have the error. The call would stay until the next
                # garbage collection, and gRPC's core refuses the calls of a connection that has too many. For the same
                # reason this is no context.abort, which raises an error that it keeps.
                error.__traceback__ = None
            context.set_code(getattr(grpc.StatusCode, code, grpc.StatusCode.UNKNOWN))
            context.set_details(message)
            return b''
        finally:
            if self._access_log:
                self._access_log.write('gRPC', context.peer(), 'POST', path, code, time.monotonic() - began, size)

    async def _reply(self, method: Method, context) -> bytes:
        content = await self._read(context)  # takes no place: a client may be slow
        remaining = context.time_remaining()
        until = time.monotonic() + min(self._limits.timeout_s, math.inf if remaining is None else remaining)
        if self._held + len(content) > self._limits.max_buffered_bytes:
            raise overloaded(f'{self._held:,} bytes of requests are in memory', 'max_buffered_bytes')
        if method.is_prediction and self.predictions >= self._limits.max_requests:
            raise overloaded(f'{self.predictions} requests are in progress', 'max_requests')
        request = _small(method, content) if method.in_loop is not None else None
        self._held += len(content)
        self.predictions += method.is_prediction

        def release(future=None):
            self._held -= len(content)
            self.predictions -= method.is_prediction
            if future is not None and not future.cancelled():
                future.exception()  # taken, for a client that gave up

        if method.in_loop is not None and request is not None:
            try:
                return (await method.in_loop(request, until)).SerializeToString()
            finally:
                release()
        future = asyncio.get_running_loop().run_in_executor(self._pool, self._work, method, content, until)
        future.add_done_callback(release)
        try:
            return await asyncio.shield(future)
        finally:
            del future  # to which an error's traceback leads: see mailbox.result

    def _work(self, method: Method, content: bytes, until: float) -> bytes:
        """Answers a request in a thread."""
        most = self._limits.max_elements + _MESSAGES_AROUND
        with _parsing():
            values = grpc_sizes.count_values(content, method.request.DESCRIPTOR, most)
            if values > most:
                raise exceeded('Values in the request, at least', values, 'max_elements', self._limits.max_elements,
                               'Send media as encoded bytes, or in several requests.')
            request = method.request.FromString(content)
        return method.answer(request, until).SerializeToString()

    async def _read(self, context) -> bytes:
        task = asyncio.current_task()
        assert task is not None
        self._reading[task] = time.monotonic()
        try:
            content = await context.read()
        except asyncio.CancelledError:
            if task not in self._late:  # the client gave up
                raise
            raise ServingError('CANCELLED', 'The request did not come in time (--body-timeout-s)') from None
        finally:
            self._reading.pop(task)
            self._late.discard(task)
            del task  # which keeps its error, whose traceback leads to this frame: see mailbox.result
        if not isinstance(content, bytes):  # grpc.aio.EOF
            await asyncio.sleep(_MOMENT)
            raise invalid('The call ended without a request')
        return content

    async def _watch(self):
        """Ends the requests that are read for too long: sooner, if those that are read might fill the memory."""
        at_once = max(1, self._limits.max_buffered_bytes // self._limits.max_body_bytes)
        while True:
            await asyncio.sleep(_TICK)
            reading = sorted(self._reading.items(), key=lambda item: item[1])
            now = time.monotonic()
            for number, (task, since) in enumerate(reading):
                crowded = len(reading) - number > at_once
                if task not in self._late and now - since > (
                        min(_PATIENCE, self._limits.body_timeout_s) if crowded else self._limits.body_timeout_s):
                    metrics.refused('body_timeout_s')
                    self._late.add(task)
                    task.cancel()


def _small(method: Method, content: bytes):
    """The request, if the event loop may answer it; else None."""
    if len(content) > _SMALL_BYTES:
        return None
    with _parsing():
        request = method.request.FromString(content)  # a few megabytes at most
    return request if method.is_small(request) else None


@contextlib.contextmanager
def _parsing():
    """What no message is fails with INVALID_ARGUMENT."""
    try:
        yield
    except ServingError:
        raise
    except Exception as error:
        raise invalid(f'The request cannot be parsed: {error}') from None

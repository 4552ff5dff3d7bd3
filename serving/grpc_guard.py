"""Bounds on what gRPC clients send, how long they take for it, and the log of their requests.

gRPC's core bounds a message and the number of connections and requests. It waits without end for a message that a
client began, in one of the server's threads. So here each method is taken as one with a stream of requests, of which
the first is read: to clients that is the same, and the time of reading is this module's.
"""

import threading
import time
from collections.abc import Callable

import grpc

from model_code.logger import logger
from serving import grpc_sizes, metrics
from serving.errors import ServingError
from serving.limits import Limits, exceeded, overloaded
from serving.logs import AccessLog

_TICK = 0.25  # seconds between two looks at the requests that are being read
_PATIENCE = 1.0  # seconds to read a request while so many are read that all together may be too large
_MESSAGES_AROUND = 1000  # of a request that has as many values as it may: its names, shapes and types
_KEEPALIVE_MS = 60_000  # between two questions whether a silent client is still there


def options(limits: Limits) -> list[tuple[str, int]]:
    """The settings of gRPC's core. Its own bounds on pings and on metadata stay: 2 strikes, 8 KiB."""
    return [('grpc.so_reuseport', 0),
            ('grpc.max_receive_message_length', limits.max_body_bytes),
            ('grpc.max_concurrent_streams', limits.max_requests),
            ('grpc.max_allowed_incoming_connections', limits.max_connections),
            ('grpc.max_connection_idle_ms', round(1000 * limits.idle_timeout_s)),
            ('grpc.server_handshake_timeout_ms', round(1000 * limits.header_timeout_s)),
            ('grpc.keepalive_time_ms', _KEEPALIVE_MS)]


class Guard(grpc.ServerInterceptor):
    """Goes to grpc.server(interceptors=...). `close` ends its thread."""

    def __init__(self, limits: Limits, access_log: AccessLog | None = None):
        self._limits = limits
        self._access_log = access_log
        self._lock = threading.Lock()
        self._reading: dict[grpc.ServicerContext, float] = {}  # since when
        self._held = 0  # bytes of requests
        self._ended = threading.Event()
        threading.Thread(target=self._watch, name='serving-grpc-guard', daemon=True).start()

    def close(self):
        self._ended.set()

    def intercept_service(self, continuation, handler_call_details):
        handler = continuation(handler_call_details)
        if handler is None or handler.unary_unary is None:
            return handler

        def answer(requests, context):
            return self._answer(handler, handler_call_details.method, requests, context)
        return grpc.stream_unary_rpc_method_handler(answer, None, handler.response_serializer)

    def _answer(self, handler, method: str, requests, context):
        began, response = time.monotonic(), None
        try:
            content = self._read(requests, context)
            try:
                request = self._parsed(handler.request_deserializer, content, context)
                response = handler.unary_unary(request, context)
            finally:
                with self._lock:
                    self._held -= len(content)
            return response
        except Exception as error:
            if context.code() is None and context.is_active():  # neither aborted nor given up by the client
                logger.warning('gRPC %s failed: %s: %s', method, type(error).__name__, error)
                context.abort(grpc.StatusCode.INTERNAL, f'{type(error).__name__}: {error}')
            raise
        finally:
            if self._access_log:
                code = context.code() or (grpc.StatusCode.OK if response is not None else grpc.StatusCode.CANCELLED)
                self._access_log.write('gRPC', context.peer(), 'POST', method, code.name, time.monotonic() - began,
                                       response.ByteSize() if response is not None else 0)

    def _read(self, requests, context) -> bytes:
        """The bytes of the request, which count as held."""
        with self._lock:
            self._reading[context] = time.monotonic()
        try:
            content = next(requests, None)
        finally:
            with self._lock:
                self._reading.pop(context, None)
        if content is None:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, 'The call ended without a request')
            raise AssertionError('abort raises')
        with self._lock:
            full = self._held + len(content) > self._limits.max_buffered_bytes
            self._held += 0 if full else len(content)
        if full:
            error = overloaded(f'{self._held:,} bytes of requests are in memory', 'max_buffered_bytes')
            context.abort(grpc.StatusCode.UNAVAILABLE, error.message)
        return content

    def _parsed(self, parse: Callable, content: bytes, context):
        """The message, unless it would take far more memory than its bytes."""
        try:
            most = self._limits.max_elements + _MESSAGES_AROUND
            values = grpc_sizes.count_values(content, parse(b'').DESCRIPTOR, most)
            if values > most:
                raise exceeded('Values in the request, at least', values, 'max_elements', self._limits.max_elements,
                               'Send media as encoded bytes, or in several requests.')
            return parse(content)
        except ServingError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, error.message)
        except Exception as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, f'The request cannot be parsed: {error}')

    def _watch(self):
        """Ends the requests that are read for too long: sooner, if those that are read might fill the memory."""
        at_once = max(1, self._limits.max_buffered_bytes // self._limits.max_body_bytes)
        while not self._ended.wait(_TICK):
            with self._lock:
                reading = sorted(self._reading.items(), key=lambda item: item[1])
            now = time.monotonic()
            for number, (context, since) in enumerate(reading):
                crowded = len(reading) - number > at_once
                if now - since > (min(_PATIENCE, self._limits.body_timeout_s) if crowded else
                                  self._limits.body_timeout_s):
                    metrics.refused('body_timeout_s')
                    context.cancel()

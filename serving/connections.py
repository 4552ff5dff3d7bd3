"""The REST server's connections: aiohttp's, with a cap on their number, and a time limit for each thing a client does.

A connection is new, idle (its last request is answered), in `headers` (some of a request has come), or busy: from the
end of the headers until the reply is sent, with `body` and `sending` within. What a client may take for each is in
serving.limits. aiohttp itself has a limit only for idle connections.
"""

import asyncio
import json
import math
from collections.abc import Awaitable, Callable

from aiohttp import streams, web

from model_code.logger import logger
from serving import metrics
from serving.limits import Limits, flag

_MAX_HEADERS = 64
_LINGER_SECONDS = 5.0  # in which the rest of a refused body is read, so that the client gets to the reply
_ABORT_SECONDS = 10.0  # in which a client takes what was sent before the connection is closed


class Stalled(asyncio.TimeoutError):
    """The body of a request did not go on."""


class Stopping(asyncio.TimeoutError):
    """The server stops before the body of a request is there."""


def _last_words(status: str, message: str, headers: str = '') -> bytes:
    body = json.dumps({'error': message})
    return (f'HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{headers}'
            f'Connection: close\r\n\r\n{body}').encode('ascii')


def of(request: web.BaseRequest) -> 'Connection':
    """The connection on which a request came."""
    assert isinstance(request.protocol, Connection)
    return request.protocol


class Server(web.Server):
    """Makes the protocol of each connection, and knows them all. handler: answers a request."""

    def __init__(self, handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], limits: Limits):
        super().__init__(handler)
        self.limits = limits
        self._open: set[Connection] = set()
        # Those that are not busy, with the moment since when; the one that has waited longest is first.
        self._waiting: dict[Connection, float] = {}

    def __call__(self) -> 'Connection':
        # This module's time for idle connections is the shorter one.
        return Connection(self, loop=asyncio.get_running_loop(), access_log=None, auto_decompress=False,
                          keepalive_timeout=2 * self.limits.idle_timeout_s, max_headers=_MAX_HEADERS,
                          lingering_time=_LINGER_SECONDS)

    def admit(self, connection: 'Connection') -> bool:
        """Counts a new connection. The one that has waited longest makes room for it; returns False if all are busy."""
        if len(self._open) >= self.limits.max_connections:
            metrics.refused('max_connections')
            if not self._waiting:
                return False
            next(iter(self._waiting)).drop()
        self._open.add(connection)
        return True

    def forget(self, connection: 'Connection'):
        self._open.discard(connection)
        self._waiting.pop(connection, None)

    def waits(self, connection: 'Connection', waiting: bool):
        self._waiting.pop(connection, None)
        if waiting and connection in self._open:
            self._waiting[connection] = asyncio.get_running_loop().time()

    def stop_reading(self):
        """Who reads a body gets Stopping."""
        for connection in self._open:
            connection.interrupt()

    def stop_waiting(self, seconds: float = 0.0) -> int:
        """Closes the connections that have not been busy for so many seconds. Returns how many others are not busy."""
        until = asyncio.get_running_loop().time() - seconds
        for connection, since in list(self._waiting.items()):
            if since <= until:
                connection.drop()
        return len(self._waiting)


class Connection(web.RequestHandler):
    """One connection. The handler of requests calls busy, reading, sending and done, in this order."""

    def __init__(self, server: Server, **options):
        super().__init__(server, **options)
        self._server = server
        self._limits = server.limits
        self._refused = False
        self._state = ''
        self._timer: asyncio.TimerHandle | None = None
        self._ends = math.inf  # loop.time() at which the time for the present state is over
        self._body: streams.StreamReader | None = None
        self._until = 0.0  # loop.time() at which the body must be there
        self._unsent = 0  # bytes of a reply that waited when last looked at

    def connection_made(self, transport: asyncio.BaseTransport):
        if not self._server.admit(self):
            assert isinstance(transport, asyncio.Transport)
            self._refused = True
            transport.write(_last_words(
                '503 Service Unavailable', f'The server is overloaded: {self._limits.max_connections:,} connections '
                f'are busy ({flag("max_connections")}). Try again later', 'Retry-After: 1\r\n'))
            transport.close()
            return
        super().connection_made(transport)
        self._enter('new', self._limits.header_timeout_s)

    def connection_lost(self, exc):
        self._server.forget(self)
        if self._timer is not None:
            self._timer.cancel()
        self._state = 'lost'
        self._body = None  # whoever reads it learns of the loss from aiohttp
        if not self._refused:
            super().connection_lost(exc)

    def data_received(self, data: bytes):
        if self._refused:
            return
        if self._state in ('new', 'idle'):
            self._enter('headers', self._limits.header_timeout_s)
        elif self._state == 'body':
            self._end_in(max(0.0, min(self._limits.body_timeout_s, self._until - self._loop.time())))
        super().data_received(data)

    def eof_received(self):
        if not self._refused:
            return super().eof_received()

    def busy(self):
        """The headers are there."""
        self._enter('busy')

    def reading(self, body: streams.StreamReader, seconds: float):
        """The body is being read, for which there are so many seconds. After them, its reader gets a TimeoutError.

        If no byte comes for a while, it gets Stalled.
        """
        self._body = body
        self._until = self._loop.time() + seconds
        self._enter('body', min(seconds, self._limits.body_timeout_s))

    def read(self):
        """The body is there."""
        self._body = None
        self._enter('busy')

    def sending(self):
        """The reply is being sent."""
        self._unsent = 0
        self._enter('sending', self._limits.body_timeout_s)

    def done(self):
        """The reply is sent."""
        self._enter('idle', self._limits.idle_timeout_s)

    def interrupt(self):
        if self._body is not None:
            self._body.set_exception(Stopping())

    def drop(self):
        """Closes the connection, whatever waits to be sent."""
        self._server.forget(self)
        transport = self.transport
        self.force_close()
        if transport is not None:
            transport.abort()

    def handle_error(self, request, status=500, exc=None, message=None):
        """The reply to what is not HTTP, or to a failure of the server itself. Logged on one line."""
        text = (message or str(exc or '')).strip().split('\n')[0]
        text = f'{type(exc).__name__}: {text}' if exc else text or 'unknown error'
        logger.warning('Request from %s answered with %d: %s', request.remote, status, text)
        if request.writer.output_size > 0:
            raise ConnectionError('A part of the reply is already sent.')
        response = web.json_response({'error': text if status < 500 else 'The server failed. Its log says why.'},
                                     status=status)
        response.force_close()
        return response

    def log_exception(self, *args, exc_info=None, **_):
        logger.warning('Connection closed: %s', f'{type(exc_info).__name__}: {exc_info}' if exc_info else args[0])

    def _enter(self, state: str, seconds: float = math.inf):
        if self._state == 'lost' or self._refused:
            return
        self._state = state
        self._server.waits(self, state in ('new', 'idle', 'headers'))
        self._end_in(seconds)

    def _end_in(self, seconds: float):
        """Sets the time for the present state. A request has six of them: a timer for each would cost more than this.

        So a timer that rings too early stays, and looks for itself.
        """
        self._ends = self._loop.time() + seconds
        if self._timer is None or self._ends < self._timer.when():
            self._set_timer()

    def _set_timer(self):
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if self._ends == math.inf else self._loop.call_at(self._ends, self._ring)

    def _ring(self):
        self._timer = None
        if self._loop.time() < self._ends:
            self._set_timer()
        else:
            self._expire()

    def _expire(self):
        """The time for the present state is over."""
        transport = self.transport
        if transport is None:
            return
        if self._state == 'sending':
            unsent = transport.get_write_buffer_size()
            if self._unsent and unsent >= self._unsent:
                self._give_up('body_timeout_s')
            else:  # the client goes on reading
                self._unsent = unsent
                self._end_in(self._limits.body_timeout_s)
        elif self._state == 'body' and self._body is not None:
            late = self._loop.time() >= self._until
            metrics.refused('timeout_s' if late else 'body_timeout_s')
            self._body.set_exception(asyncio.TimeoutError() if late else Stalled())
        elif self._state == 'headers':
            self._give_up('header_timeout_s', _last_words(
                '408 Request Timeout', f'The headers took longer than {self._limits.header_timeout_s:g} s '
                                       f'({flag("header_timeout_s")})'))
        else:
            self._give_up('idle_timeout_s' if self._state == 'idle' else 'header_timeout_s')

    def _give_up(self, bound: str, words: bytes = b''):
        metrics.refused(bound)
        transport = self.transport
        if words and transport is not None and not transport.get_write_buffer_size():
            transport.write(words)
            self._loop.call_later(_ABORT_SECONDS, transport.abort)
            self._server.forget(self)
            self.force_close()
        else:
            self.drop()

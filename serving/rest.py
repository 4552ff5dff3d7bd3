"""The REST front on aiohttp: URLs, bodies and their limits, deadlines. `serving.api` makes the answers."""

import asyncio
import concurrent.futures
import dataclasses
import json
import re
import time
import urllib.parse
import zlib

from aiohttp import web

from serving import api, json_tensors
from serving.errors import ServingError, invalid
from serving.version_directories import MAX_VERSION

_WHICH = r'(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?'
_PREDICTION = re.compile(rf'/v1/models/(?P<name>[^/:]+){_WHICH}:(?P<method>classify|regress|predict)', re.IGNORECASE)
_STATUS = re.compile(rf'/v1/models(?:/(?P<name>[^/:]+))?{_WHICH}(?P<metadata>/metadata)?', re.IGNORECASE)
_CORS = {'Access-Control-Allow-Origin': '*', 'Access-Control-Allow-Methods': 'POST, GET',
         'Access-Control-Allow-Headers': 'Content-Type'}


@dataclasses.dataclass(frozen=True)
class Limits:
    """What one request, and all of them together, may take.

    max_body_bytes: a body, before and after gzip. max_buffered_bytes: all bodies being held. max_requests: predictions
    under way, queued ones included. workers: those that run at the same time. timeout_s: a request's whole time, the
    reading of its body included. max_json_depth: nested lists and objects.
    """
    max_body_bytes: int = 32 * 2**20
    max_buffered_bytes: int = 128 * 2**20
    max_requests: int = 64
    workers: int = 2
    timeout_s: float = 30.0
    max_json_depth: int = 64


class RestFront:
    """The handler of every URL. Lives in one event loop; the models run in `pool`."""

    def __init__(self, models: api.Models, limits: Limits, pool: concurrent.futures.Executor, cors: bool = False):
        self._models = models
        self._limits = limits
        self._pool = pool
        self._headers = _CORS if cors else {}
        self._cors = cors
        self._requests = 0
        self._buffered = 0

    def runner(self, shutdown_timeout: float) -> web.AppRunner:
        app = web.Application()
        app.router.add_route('*', '/{path:.*}', self._answer)
        # Bodies are inflated here, where their size after it is bounded.
        return web.AppRunner(app, access_log=None, auto_decompress=False, shutdown_timeout=shutdown_timeout,
                             handle_signals=False)

    async def _answer(self, request: web.Request) -> web.Response:
        path = request.raw_path.split('?', 1)[0]
        if not re.match('/v1/', path, re.IGNORECASE):
            return web.Response(status=404, content_type='text/html',
                                text='<html><head><title>404 Not Found</title></head><body>Not Found</body></html>')
        try:
            if request.method == 'OPTIONS':
                # As the stock server: a preflight is answered by its Origin alone.
                good = re.match('https?://', request.headers.get('Origin', ''))
                return web.Response(status=200 if good else 400, headers=self._headers)
            body = await self._dispatch(request, path)
            status = 200
        except ServingError as error:
            body, status = json_tensors.error_json(error.message), error.http_status
        return web.Response(body=body, status=status, content_type='application/json', headers=self._headers)

    async def _dispatch(self, request: web.Request, path: str) -> bytes:
        malformed = invalid(f'Malformed request: {request.method} {path}')
        if request.method == 'POST' and (match := _PREDICTION.fullmatch(path)):
            version = _version(match['version'])
            if match['method'] not in ('classify', 'regress', 'predict'):  # the method's case does matter
                raise malformed
            return await self._predict(request, _decode(match['name']), version, _decode(match['label']),
                                       match['method'])
        if request.method == 'GET' and (match := _STATUS.fullmatch(path)):
            version = _version(match['version'])
            if not match['name']:
                raise invalid('Missing model name in request.')
            name = urllib.parse.unquote(match['name'])
            if match['metadata'] is None:
                reply = api.status(self._models, name, version)  # which looks at no label, as the stock server's
            elif match['metadata'] == '/metadata':
                reply = api.metadata(self._models, name, version, _decode(match['label']))
            else:
                raise malformed
            return json.dumps(reply).encode()
        raise malformed

    async def _predict(self, request, name, version, label, method) -> bytes:
        if self._requests >= self._limits.max_requests:
            raise api.overloaded(f'{self._requests} requests are under way')
        deadline = time.monotonic() + self._limits.timeout_s
        self._requests += 1
        held = 0

        def hold(size: int):
            nonlocal held
            if self._buffered + size > self._limits.max_buffered_bytes:
                raise api.overloaded(f'{self._buffered} bytes of requests are under way')
            held += size
            self._buffered += size

        def release(_=None):
            self._requests -= 1
            self._buffered -= held

        future = None
        try:
            body = await asyncio.wait_for(self._read(request, hold), self._limits.timeout_s)
            loop = asyncio.get_running_loop()
            future = loop.run_in_executor(self._pool, self._work, body, name, version, label, deadline, method)
            future.add_done_callback(release)  # a request past its deadline still takes its place until its thread ends
            return await asyncio.wait_for(asyncio.shield(future), deadline - time.monotonic())
        except asyncio.TimeoutError:
            if future is not None:
                future.add_done_callback(_retrieve)
            raise ServingError('DEADLINE_EXCEEDED',
                               f'The request took longer than {self._limits.timeout_s:g} s') from None
        finally:
            if future is None:
                release()

    def _work(self, body: bytes, name, version, label, deadline: float, method: str) -> bytes:
        """In a worker's thread: everything that takes time."""
        if time.monotonic() > deadline:
            raise ServingError('DEADLINE_EXCEEDED', 'The request waited past its deadline')
        depth = self._limits.max_json_depth
        try:
            if method == 'predict':
                return api.predict(self._models, body, name, version, label, deadline, depth)
            return api.classify_or_regress(self._models, body, name, version, label, deadline, depth, method)
        except ServingError:
            raise
        except Exception as error:
            raise ServingError('INTERNAL', f'{type(error).__name__}: {error}') from error

    async def _read(self, request: web.Request, hold) -> bytes:
        """The request's body, inflated if it is gzip, at most the limit. hold(size): accounts for that much memory."""
        limit = self._limits.max_body_bytes
        if (request.content_length or 0) > limit:
            raise _too_large(limit)
        gzip = 'gzip' in request.headers.get('Content-Encoding', '').lower()
        inflate = zlib.decompressobj(31) if gzip else None
        pieces, raw, size = [], 0, 0
        async for piece in request.content.iter_any():
            raw += len(piece)
            if raw > limit:
                raise _too_large(limit)
            if inflate is not None:
                try:
                    piece = inflate.decompress(piece, limit - size + 1)
                except zlib.error:
                    return b''  # the stock server sees an empty document
                if inflate.unconsumed_tail:
                    raise _too_large(limit)
            size += len(piece)
            if size > limit:
                raise _too_large(limit)
            hold(len(piece))
            pieces.append(piece)
        if inflate is not None and not inflate.eof:
            return b''
        return b''.join(pieces)


def _retrieve(future):
    """Takes the exception of a future that nobody awaits any more, so that asyncio does not complain."""
    if not future.cancelled():
        future.exception()


def _too_large(limit: int) -> ServingError:
    return ServingError('INVALID_ARGUMENT', f'The request body is larger than {limit} bytes', http_status=413)


def _version(text: str | None) -> int | None:
    if text is None:
        return None
    if len(text) > 19 or int(text) > MAX_VERSION:
        raise ServingError('INVALID_ARGUMENT', '')  # the stock server answers this one with an empty body
    return int(text)


def _decode(text: str | None) -> str | None:
    return None if text is None else urllib.parse.unquote(text)

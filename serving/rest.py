"""The REST front end, on aiohttp: URLs, bodies and their limits, deadlines. `serving.api` makes the answers."""

import asyncio
import concurrent.futures
import dataclasses
import json
import re
import time
import urllib.parse
import zlib

from aiohttp import web

from serving import api, json_tensors, metrics
from serving.errors import ServingError, invalid
from serving.limits import Limits, exceeded, overloaded
from serving.version_directories import MAX_VERSION

_VERSION_OR_LABEL = r'(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?'
_PREDICTION = re.compile(rf'/v1/models/(?P<name>[^/:]+){_VERSION_OR_LABEL}:(?P<method>classify|regress|predict)',
                         re.IGNORECASE)
_STATUS = re.compile(rf'/v1/models(?:/(?P<name>[^/:]+))?{_VERSION_OR_LABEL}(?P<metadata>/metadata)?', re.IGNORECASE)
_READY = re.compile(r'/v2/models/(?P<name>[^/]+)(?:/versions/(?P<version>[0-9]+))?/ready')
_CORS = {'Access-Control-Allow-Origin': '*', 'Access-Control-Allow-Methods': 'POST, GET',
         'Access-Control-Allow-Headers': 'Content-Type'}


@dataclasses.dataclass(frozen=True)
class _Call:
    """What a URL asks for. method: 'predict', 'classify' or 'regress', or '' for a GET."""
    name: str
    version: int | None
    label: str | None
    method: str = ''
    metadata: bool = False


def _parse(method: str, path: str) -> '_Call | ServingError':
    """What a request asks for, or the error that answers it."""
    match = (_PREDICTION if method == 'POST' else _STATUS).fullmatch(path) if method in ('POST', 'GET') else None
    if match is None:
        return invalid(f'Malformed request: {method} {path}')
    try:
        version = _version(match['version'])
    except ServingError as error:
        return error
    name, label = _decode(match['name']) or '', _decode(match['label'])
    groups = match.groupdict()
    # The words after the name are case-sensitive, unlike those before it.
    if method == 'POST' and groups['method'] in ('classify', 'regress', 'predict'):
        return _Call(name, version, label, method=groups['method'])
    if method == 'GET' and groups['metadata'] in (None, '/metadata'):
        return _Call(name, version, label, metadata=groups['metadata'] is not None)
    return invalid(f'Malformed request: {method} {path}')


class RestFront:
    """Handles every URL. It lives in one event loop; the models run in `pool`."""

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
        # `_read` decompresses bodies, and limits their decompressed size.
        return web.AppRunner(app, access_log=None, auto_decompress=False, shutdown_timeout=shutdown_timeout,
                             handle_signals=False)

    async def _answer(self, request: web.Request) -> web.Response:
        path = request.raw_path  # with the query, as TensorFlow Serving takes it
        if re.match('/v1/', path, re.IGNORECASE):
            return await self._answer_v1(request, path)
        path = path.split('?', 1)[0]
        if request.method == 'GET' and path == metrics.PATH:
            return web.Response(body=metrics.page(), content_type=metrics.CONTENT_TYPE)
        if path.startswith('/v2/'):
            return self._answer_v2(request.method, path)
        return web.Response(status=404, content_type='text/html',
                            text='<html><head><title>404 Not Found</title></head><body>Not Found</body></html>')

    async def _answer_v1(self, request: web.Request, path: str) -> web.Response:
        """TensorFlow Serving's API, on its one prefix."""
        if request.method == 'OPTIONS':
            # As in TensorFlow Serving, only the Origin of a preflight matters.
            allowed = re.match('https?://', request.headers.get('Origin', ''))
            return web.Response(status=200 if allowed else 400, headers=self._headers)
        began = time.monotonic()
        call = _parse(request.method, path)
        code, status = 'OK', 200
        try:
            body = await self._dispatch(request, call)
        except ServingError as error:
            body, code, status = json_tensors.error_json(error.message), error.code, error.http_status
        if not isinstance(call, ServingError) or call.message:  # as TensorFlow Serving, none for a version out of range
            name, method = ('', '') if isinstance(call, ServingError) else (call.name, call.method)
            metrics.request(self._models.metric_name(name), method, 'REST', code, time.monotonic() - began)
        return web.Response(body=body, status=status, content_type='application/json', headers=self._headers)

    def _answer_v2(self, method: str, path: str) -> web.Response:
        """Live and ready, where KServe and Kubernetes look for them."""
        match = _READY.fullmatch(path)
        if path == '/v2/health/live' and method == 'GET':
            return web.json_response({'live': True})
        if path == '/v2/health/ready' and method == 'GET':
            ready = self._models.ready()
            return web.json_response({'ready': ready}, status=200 if ready else 503)
        if match and method == 'GET':
            name = urllib.parse.unquote(match['name'])
            ready = self._models.ready(name, int(match['version'][:20]) if match['version'] else None)
            status = 200 if ready else 503 if name in self._models else 404
            return web.json_response({'name': name, 'ready': ready}, status=status)
        return web.json_response(
            {'error': f'There is no {method} {path}. Of /v2 this server has GET /v2/health/live, /v2/health/ready and '
                      '/v2/models/NAME/ready. Predictions are POST /v1/models/NAME:predict.'}, status=404)

    async def _dispatch(self, request: web.Request, call: '_Call | ServingError') -> bytes:
        if isinstance(call, ServingError):
            raise call
        if call.method:
            return await self._predict(request, call.name, call.version, call.label, call.method)
        if not call.name:
            raise invalid('Missing model name in request.')
        if call.metadata:
            reply = api.metadata(self._models, call.name, call.version, call.label)
        else:
            reply = api.status(self._models, call.name, call.version)  # ignores labels, as TensorFlow Serving does
        return json.dumps(reply).encode()

    async def _predict(self, request, name, version, label, method) -> bytes:
        if self._requests >= self._limits.max_requests:
            raise overloaded(f'{self._requests} requests are in progress', 'max_requests')
        deadline = time.monotonic() + self._limits.timeout_s
        self._requests += 1
        held = 0

        def hold(size: int):
            nonlocal held
            if self._buffered + size > self._limits.max_buffered_bytes:
                raise overloaded(f'{self._buffered:,} bytes of requests are in memory', 'max_buffered_bytes')
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
            future.add_done_callback(release)  # a request past its deadline counts until its thread ends
            return await asyncio.wait_for(asyncio.shield(future), deadline - time.monotonic())
        except asyncio.TimeoutError:
            if future is not None:
                future.add_done_callback(_take_exception)
            raise ServingError('DEADLINE_EXCEEDED',
                               f'The request took longer than {self._limits.timeout_s:g} s') from None
        finally:
            if future is None:
                release()

    def _work(self, body: bytes, name, version, label, deadline: float, method: str) -> bytes:
        """Answers a request. Runs in a worker's thread, because it takes time."""
        if time.monotonic() > deadline:
            raise ServingError('DEADLINE_EXCEEDED', 'The deadline passed while the request waited')
        try:
            if method == 'predict':
                return api.predict(self._models, body, name, version, label, deadline, self._limits)
            return api.classify_or_regress(self._models, body, name, version, label, deadline, self._limits,
                                           method)
        except ServingError:
            raise
        except Exception as error:
            raise ServingError('INTERNAL', f'{type(error).__name__}: {error}') from error

    async def _read(self, request: web.Request, hold) -> bytes:
        """The request's body, decompressed if it is gzip. hold(size): called for each piece that is kept in memory.

        Raises ServingError with HTTP status 413 if the body is too large.
        """
        limit = self._limits.max_body_bytes

        def check(size: int):
            if size > limit:
                raise exceeded('Bytes of the request body', size, 'max_body_bytes', limit,
                               'Send fewer instances at once.', http_status=413)

        check(request.content_length or 0)
        gzip = 'gzip' in request.headers.get('Content-Encoding', '').lower()
        decompressor = zlib.decompressobj(31) if gzip else None
        pieces, raw, size = [], 0, 0
        async for piece in request.content.iter_any():
            raw += len(piece)
            check(raw)
            if decompressor is not None:
                try:
                    piece = decompressor.decompress(piece, limit - size + 1)
                except zlib.error:
                    return b''  # TensorFlow Serving sees an empty document, too
            size += len(piece)
            check(size)
            hold(len(piece))
            pieces.append(piece)
        if decompressor is not None and not decompressor.eof:
            return b''
        return b''.join(pieces)


def _take_exception(future):
    """Takes the exception of a future that nobody awaits any more; else asyncio logs it as never retrieved."""
    if not future.cancelled():
        future.exception()


def _version(text: str | None) -> int | None:
    if text is None:
        return None
    if len(text) > 19 or int(text) > MAX_VERSION:
        raise ServingError('INVALID_ARGUMENT', '')  # TensorFlow Serving's body is empty here
    return int(text)


def _decode(text: str | None) -> str | None:
    return None if text is None else urllib.parse.unquote(text)

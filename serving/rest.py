"""The REST front end, on aiohttp: URLs, deadlines, places. `serving.api` makes the answers.

serving.connections and serving.bodies bound what clients send, and the time that they take.
"""

import asyncio
import concurrent.futures
import dataclasses
import json
import re
import time
import urllib.parse

import aiohttp
from aiohttp import web

from serving import api, bodies, connections, json_tensors, metrics, page
from serving.errors import ServingError, invalid
from serving.limits import Limits, overloaded
from serving.logs import AccessLog
from serving.version_directories import MAX_VERSION

_VERSION_OR_LABEL = r'(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?'
_PREDICTION = re.compile(rf'/v1/models/(?P<name>[^/:]+){_VERSION_OR_LABEL}:(?P<method>classify|regress|predict)',
                         re.IGNORECASE)
_STATUS = re.compile(rf'/v1/models(?:/(?P<name>[^/:]+))?{_VERSION_OR_LABEL}(?P<metadata>/metadata)?', re.IGNORECASE)
_READY = re.compile(r'/v2/models/(?P<name>[^/]+)(?:/versions/(?P<version>[0-9]+))?/ready')
_CORS = {'Access-Control-Allow-Origin': '*', 'Access-Control-Allow-Methods': 'POST, GET',
         'Access-Control-Allow-Headers': 'Content-Type'}

_SHUTDOWN_SECONDS = 1.0  # for connections that are still busy after the server has waited for them
_RECENTLY = 0.5  # seconds that a client may take between two requests without being cut off when the server stops
_DRAIN_STEP = 0.02  # seconds between two looks at whether all requests are answered


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

    def __init__(self, models: api.Models, limits: Limits, pool: concurrent.futures.Executor, cors: bool = False,
                 access_log: AccessLog | None = None, has_page: bool = False):
        self._models = models
        self._limits = limits
        self._pool = pool
        self._headers = _CORS if cors else {}
        self._access_log = access_log
        self._has_page = has_page
        self._bodies = bodies.Bodies(limits)
        self._requests = 0
        self._answering = 0  # requests, predictions or not, whose reply is not sent yet
        self.draining = False
        self.server = connections.Server(self._handle, limits)

    def runner(self) -> web.ServerRunner:
        return web.ServerRunner(self.server, shutdown_timeout=_SHUTDOWN_SECONDS)

    async def drain(self, seconds: float) -> int:
        """Refuses predictions from now on, waits for those in progress, and closes the connections of the others.

        A client whose connection was busy a moment ago may be sending its next request: it is told with that one's
        reply. Returns how many are still in progress after so many seconds.
        """
        self.draining = True
        began = time.monotonic()
        self.server.stop_reading()
        while self.server.stop_waiting(_RECENTLY) and time.monotonic() < began + min(_RECENTLY, seconds):
            await asyncio.sleep(_DRAIN_STEP)
        self.server.stop_waiting()
        while (self._requests or self._answering) and time.monotonic() < began + seconds:
            await asyncio.sleep(_DRAIN_STEP)
        return max(self._requests, self._answering)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers a request, and sees its reply sent: a client may read it slowly."""
        connection, began = connections.of(request), time.monotonic()
        connection.busy()
        self._answering += 1
        try:
            response = await self._answer(request)
            if response.status in (429, 503):
                response.headers['Retry-After'] = '1'
            if self.draining:
                response.force_close()
            connection.sending()
            await response.prepare(request)
            await response.write_eof()
        except (ConnectionError, aiohttp.ClientConnectionError):  # the client is gone
            response = web.Response(status=499)
            response.force_close()
        finally:
            self._answering -= 1
            connection.done()
        if self._access_log:
            self._access_log.write('REST', request.remote, request.method, request.raw_path, response.status,
                                   time.monotonic() - began, response.body_length)
        return response

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        path = request.raw_path  # with the query, as TensorFlow Serving takes it
        if re.match('/v1/', path, re.IGNORECASE):
            return await self._answer_v1(request, path)
        path = path.split('?', 1)[0]
        if request.method == 'GET' and path == metrics.PATH:
            return web.Response(body=metrics.page(), content_type=metrics.CONTENT_TYPE)
        if path.startswith('/v2/'):
            return self._answer_v2(request.method, path)
        if self._has_page and request.method == 'GET' and (found := page.answer(path, self._models, self._limits)):
            return found
        return web.Response(status=404, content_type='text/html',
                            text='<html><head><title>404 Not Found</title></head><body>Not Found</body></html>')

    async def _answer_v1(self, request: web.BaseRequest, path: str) -> web.Response:
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
            ready = self._models.ready() and not self.draining
            return web.json_response({'ready': ready}, status=200 if ready else 503)
        if match and method == 'GET':
            name = urllib.parse.unquote(match['name'])
            ready = self._models.ready(name, int(match['version'][:20]) if match['version'] else None)
            status = 200 if ready else 503 if name in self._models else 404
            return web.json_response({'name': name, 'ready': ready}, status=status)
        return web.json_response(
            {'error': f'There is no {method} {path}. Of /v2 this server has GET /v2/health/live, /v2/health/ready and '
                      '/v2/models/NAME/ready. Predictions are POST /v1/models/NAME:predict.'}, status=404)

    async def _dispatch(self, request: web.BaseRequest, call: '_Call | ServingError') -> bytes:
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
        deadline = time.monotonic() + self._limits.timeout_s
        self._check_load()
        body = await self._bodies.read(request, deadline)  # takes no place: a client may be slow
        try:
            self._check_load()
        except ServingError:
            self._bodies.release(body)
            raise
        self._requests += 1

        def release(_):
            self._requests -= 1
            self._bodies.release(body)

        if method == 'predict' and api.is_small(body):
            future = asyncio.ensure_future(self._predict_in_loop(body, name, version, label, deadline))
        else:
            future = asyncio.get_running_loop().run_in_executor(
                self._pool, self._work, body, name, version, label, deadline, method)
        future.add_done_callback(release)  # a request past its deadline counts until its graph ends
        try:
            return await asyncio.wait_for(asyncio.shield(future), deadline - time.monotonic())
        except asyncio.TimeoutError:
            future.add_done_callback(_take_exception)
            raise bodies.timed_out(self._limits) from None
        except ServingError as error:
            raise error.with_traceback(None) from None
        finally:
            del future  # whose error leads back to it, so that the body would stay until the next garbage collection

    async def _predict_in_loop(self, body: bytes, name, version, label, deadline: float) -> bytes:
        try:
            return await api.predict_in_loop(self._models, body, name, version, label, deadline, self._limits)
        except ServingError:
            raise
        except Exception as error:
            raise ServingError('INTERNAL', f'{type(error).__name__}: {error}') from error

    def _check_load(self):
        if self.draining:
            raise bodies.stopping()
        if self._requests >= self._limits.max_requests:
            raise overloaded(f'{self._requests} requests are in progress', 'max_requests')

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

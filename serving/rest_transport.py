"""Requests to a model over TensorFlow Serving's REST API, on connections that are kept."""

import asyncio
import base64
import email.utils
import http
import json
import os
import time
import weakref

import aiohttp
import numpy as np

from model_code import words
from serving import background_loop
from serving.addresses import Address, is_local
from serving.errors import HTTP_STATUS, ServingError
from serving.failures import DeadlineExceeded, Denied, Overloaded, PredictionFailed, Unavailable
from serving.retries import Again, retried
from serving.transport import Metadata, Version

_MAX_REPLY_BYTES = 64 * 2**20
_CONNECT_SECONDS = 10.0
_STATUSES = {status.value for status in http.HTTPStatus}
_CODES = {status: code for code, status in reversed(HTTP_STATUS.items())}


class RestTransport:
    """address: the model, which may be set anew. timeout: seconds for a request with its retries.

    token: for a proxy. Thread-safe.
    """

    def __init__(self, address: Address, timeout: float, token: str = ''):
        self.address, self._timeout = address, timeout
        self._headers = {'Content-Type': 'application/json', **({'Authorization': f'Bearer {token}'} if token else {})}
        self._session = background_loop.run(_session(not is_local(address.root)))
        self._finalizer = weakref.finalize(self, _close, self._session)

    def __str__(self):
        return f'The server at {self.address.url}'

    def close(self):
        if self._finalizer.detach():
            background_loop.run(self._session.close())

    def versions(self, seconds: float) -> list[Version]:
        try:
            reply = self._attempt('', None, min(seconds, self._timeout))
        except Again as again:
            raise again.error from None
        try:
            return [Version(int(one['version']), one['state'], one['status'].get('error_message', ''))
                    for one in reply['model_version_status']]
        except (KeyError, TypeError, ValueError, AttributeError):
            raise self._no_serving_api() from None

    def metadata(self) -> Metadata:
        reply = self._request('/metadata')
        try:
            signatures = reply['metadata']['signature_def']['signature_def']
            return Metadata(int(reply['model_spec']['version']), {
                name: (sorted(signature.get('inputs', {})), sorted(signature['outputs']))
                for name, signature in signatures.items()})
        except (KeyError, TypeError, ValueError, AttributeError):
            raise self._no_serving_api() from None

    def predict(self, signature: str, feature: str, media: list, outputs: list[str]) -> dict[str, np.ndarray]:
        """The outputs of a signature. media: N strings, or N lists of as many strings. outputs: all of its names."""
        del feature  # the name of an only input may be left out
        reply = self._request(':predict', body(signature, media))
        predictions = reply.get('predictions') or [] if isinstance(reply, dict) else []
        if len(predictions) != len(media):
            raise ServingError('INTERNAL', f'the reply does not have {words.count(len(media), "prediction")}')
        try:
            # TensorFlow Serving leaves out the name of an only output.
            columns = {outputs[0]: predictions} if len(outputs) == 1 else {
                name: [prediction[name] for prediction in predictions] for name in outputs}
            return {name: _as_array(column) for name, column in columns.items()}
        except (KeyError, TypeError, ValueError):
            raise ServingError('INTERNAL', f'the reply lacks outputs of the signature {signature}') from None

    def _request(self, path: str, content: bytes | None = None):
        return retried(lambda seconds: self._attempt(path, content, seconds), self._timeout)

    def _attempt(self, path: str, content: bytes | None, seconds: float):
        """The JSON reply to a GET, or to a POST if there is a body.

        Raises ServingError with the server's message, Again for what may pass, PredictionFailed if there is no answer.
        """
        try:
            status, headers, text = background_loop.run(self._ask(path, content, seconds))
        except asyncio.TimeoutError:
            raise DeadlineExceeded(f'{self} did not answer within {self._timeout:g} s. Give it a longer '
                                   'timeout.') from None
        except aiohttp.ClientError as error:
            raise self._lost(error) from None
        if status != 200:
            raise self._refusal(status, headers, text)
        try:
            return json.loads(text)
        except ValueError:
            raise self._no_serving_api() from None

    async def _ask(self, path: str, content: bytes | None, seconds: float):
        """(status, headers, body) of the reply. A server that sends byte after byte has no more time than any other."""
        timeout = aiohttp.ClientTimeout(seconds, connect=min(seconds, _CONNECT_SECONDS))
        async with self._session.request(
                'GET' if content is None else 'POST', self.address.url + path, data=content,
                headers=self._headers, allow_redirects=False, timeout=timeout) as reply:
            text = bytearray()
            async for block in reply.content.iter_any():
                text += block
                if len(text) > _MAX_REPLY_BYTES:
                    raise PredictionFailed(f'{self} sent a reply of more than {_MAX_REPLY_BYTES:,} bytes. Give fewer '
                                           'files at once, or another URL.')
            return reply.status, reply.headers, bytes(text)

    def _refusal(self, status: int, headers, text: bytes) -> Exception:
        try:
            message = json.loads(text)['error']
        except (ValueError, KeyError, TypeError):
            message = http.HTTPStatus(status).phrase if status in _STATUSES else 'no reason is given'
        message = f'{message} (HTTP {status})'
        if status in (429, 503):
            return Again(Overloaded(f'{self} is overloaded: {message}'), _retry_after(headers))
        if status in (401, 403):
            return Denied(f'{self} denies the access: {message}. Put the token that it asks for '
                          'into the environment as POLYVIT_TOKEN.')
        return ServingError(_CODES.get(status, 'UNKNOWN'), message, status)

    def _lost(self, error: aiohttp.ClientError) -> Exception:
        if isinstance(error, aiohttp.ClientResponseError):  # what came is not HTTP
            return self._no_serving_api()
        failure = Unavailable(
            f'{self} cannot be reached: {reason(error)}. Start a server with `polyvit serve DIR`, wait if it is '
            'starting (--wait, Client.wait), give the URL of another, or use none (--model DIR, polyvit.load).')
        # A name that nobody knows, or a certificate that is not trusted, will be no other in a second.
        lasting = isinstance(error, (aiohttp.ClientConnectorDNSError, aiohttp.ClientSSLError, aiohttp.InvalidURL))
        return failure if lasting else Again(failure)

    def _no_serving_api(self) -> PredictionFailed:
        return PredictionFailed(f"{self} does not answer as TensorFlow Serving's REST API does. Give another URL.")


def body(signature: str, media: list) -> bytes:
    """The JSON of a predict request."""
    instances = [_base64(one) if isinstance(one, bytes) else list(map(_base64, one)) for one in media]
    return json.dumps({'signature_name': signature, 'instances': instances}).encode()


def _base64(content: bytes) -> dict[str, str]:
    return {'b64': base64.b64encode(content).decode('ascii')}


def _as_array(values: list) -> np.ndarray:
    array = np.array(values)
    return array.astype(np.float32) if array.dtype.kind == 'f' else array.astype(object)


async def _session(trust_env: bool) -> aiohttp.ClientSession:
    """trust_env: whether the environment's proxies are used."""
    return aiohttp.ClientSession(trust_env=trust_env, connector=aiohttp.TCPConnector(limit=0))


def _close(session: aiohttp.ClientSession):
    background_loop.start(session.close())


def reason(error: aiohttp.ClientError) -> str:
    """Why there is no connection, as the end of a sentence."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return 'no machine has this name'
    if isinstance(error, aiohttp.ClientResponseError):
        return 'what its server sends is no HTTP'
    if isinstance(error, OSError) and error.errno and error.errno > 0:
        return os.strerror(error.errno)
    return (str(error) or type(error).__name__).rstrip('.')


def _retry_after(headers) -> float:
    """The seconds that the server asks to wait, which it gives as a number or as a date; 0 if it does not."""
    value = headers.get('Retry-After', '')
    try:
        if value.strip().isdigit():
            return float(value)
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return 0.0

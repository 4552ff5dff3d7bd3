"""Reads the bodies of REST requests: bounded in size and time, decompressed, and counted while they are in memory."""

import asyncio
import io
import time
import zlib

from aiohttp import web

from serving import connections
from serving.errors import ServingError, invalid
from serving.limits import Limits, exceeded, flag, overloaded


class Bodies:
    """The bodies in memory. It lives in one event loop."""

    def __init__(self, limits: Limits):
        self._limits = limits
        self._held = 0

    async def read(self, request: web.BaseRequest, deadline: float) -> bytes:
        """The request's body, decompressed if it is gzip. It counts until `release`. deadline: a time.monotonic().

        Raises ServingError: with HTTP status 413 if the body is too large, 408 if it does not go on, 503 if all bodies
        take too much memory, and DEADLINE_EXCEEDED. Raises ConnectionError if the client is gone.
        """
        self._check_size(request.content_length or 0)
        if request.headers.get('Expect', '').lower() == '100-continue':
            await request.writer.write(b'HTTP/1.1 100 Continue\r\n\r\n')
            request.writer.output_size = 0  # as aiohttp does it: the reply is still to come
        connection = connections.of(request)
        connection.reading(request.content, max(0.0, deadline - time.monotonic()))
        pieces = io.BytesIO()  # grows in place, and gives its bytes away without a copy
        body = b''
        try:
            if await self._read_pieces(request, pieces):
                body = pieces.getvalue()
        except connections.Stalled:
            seconds = self._limits.body_timeout_s
            raise ServingError('DEADLINE_EXCEEDED', f'No byte of the request body came for {seconds:g} s '
                                                    f'({flag("body_timeout_s")})', http_status=408) from None
        except connections.Stopping:
            raise stopping() from None
        except asyncio.TimeoutError:
            raise timed_out(self._limits) from None
        except web.RequestPayloadError as error:
            raise invalid(f'The request body cannot be read: {error}') from None
        finally:
            connection.read()
            self._held -= pieces.tell() - len(body)
        return body

    def release(self, body: bytes):
        self._held -= len(body)

    async def _read_pieces(self, request: web.BaseRequest, pieces: io.BytesIO) -> bool:
        """Adds the pieces of the body, each of them counted. Returns False if they are not what their encoding says."""
        gzip = 'gzip' in request.headers.get('Content-Encoding', '').lower()
        decompressor = zlib.decompressobj(31) if gzip else None
        raw = size = 0
        async for piece in request.content.iter_any():
            raw += len(piece)
            self._check_size(raw)
            if decompressor is not None:
                try:
                    piece = decompressor.decompress(piece, self._limits.max_body_bytes - size + 1)
                except zlib.error:
                    return False
            size += len(piece)
            self._check_size(size)
            if self._held + len(piece) > self._limits.max_buffered_bytes:
                raise overloaded(f'{self._held:,} bytes of requests are in memory', 'max_buffered_bytes')
            self._held += len(piece)
            pieces.write(piece)
        return decompressor is None or decompressor.eof  # TensorFlow Serving sees an empty document otherwise

    def _check_size(self, size: int):
        limit = self._limits.max_body_bytes
        if size > limit:
            raise exceeded('Bytes of the request body', size, 'max_body_bytes', limit, 'Send fewer instances at once.',
                           http_status=413)


def stopping() -> ServingError:
    return ServingError('UNAVAILABLE', 'The server is shutting down. Ask another one, or try again later')


def timed_out(limits: Limits) -> ServingError:
    return ServingError('DEADLINE_EXCEEDED', 
                        f'The request took longer than {limits.timeout_s:g} s ({flag("timeout_s")})')

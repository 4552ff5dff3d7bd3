"""Hostile requests, made from a seed: for the tests of the bounds, and for benchmarks/serving_bounds.py.

Each is made from one that is right by a few mutations: of its bytes, of its JSON, of its headers, or of its tensors.
"""

import base64
import gzip
import io
import json
import random
import socket
import struct
import zlib

from PIL import Image

SIGNATURES = {'image': 'shade', 'audio': 'volume', 'frames': 'film'}  # of tests.serving.models.Brightness


def png(width: int, height: int, said: tuple[int, int] | None = None) -> bytes:
    """A black PNG of 1 bit per pixel: about a thousandth of that. said: the size in its header, if it lies."""
    def chunk(kind, data):
        return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
    packer = zlib.compressobj(9)
    line = bytes(1 + (width + 7) // 8)
    data = b''.join(packer.compress(line) for _ in range(height)) + packer.flush()
    return (b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', *(said or (width, height)), 1, 0, 0, 0, 0))
            + chunk(b'IDAT', data) + chunk(b'IEND', b''))


def wav(seconds: float) -> bytes:
    samples = bytes(2 * round(seconds * 16_000))
    return struct.pack('<4sI4s4sIHHIIHH4sI', b'RIFF', 36 + len(samples), b'WAVE', b'fmt ', 16, 1, 1, 16_000, 32_000, 2,
                       16, b'data', len(samples)) + samples


def jpeg(width: int, height: int) -> bytes:
    stream = io.BytesIO()
    Image.linear_gradient('L').convert('RGB').resize((width, height)).save(stream, 'JPEG')
    return stream.getvalue()


class Fuzz:
    """Hostile requests for a model, by its name and its signatures: feature -> signature."""

    def __init__(self, seed: int, model: str, signatures: dict[str, str] = SIGNATURES):
        self._random = random.Random(seed)
        self._model = model
        self._signatures = signatures
        self._media = {'image': [png(8, 8), jpeg(40, 30), png(64, 64, (30_000, 30_000)), png(4000, 4000)],
                       'audio': [wav(0.2), wav(30.0), wav(0.2)[:50]],
                       'frames': [jpeg(24, 16), png(8, 8)]}

    def http(self) -> bytes:
        """The bytes of a REST request, with headers."""
        body = self._body()
        headers = {'Host': 'x', 'Content-Length': str(len(body)), 'Connection': 'close'}
        if self._random.random() < 0.2:
            body = gzip.compress(body)
            headers |= {'Content-Encoding': 'gzip', 'Content-Length': str(len(body))}
        if self._random.random() < 0.1:
            headers[self._random.choice(list(headers) + ['Expect', 'Transfer-Encoding', 'X'])] = self._random.choice(
                ['', '-1', '0', '99999999999', 'chunked', '100-continue', 'gzip', 'a' * 10_000, '\xff', '9'])
        path = self._random.choice(['/v1/models/{}:predict'] * 8 + ['/v1/models/{}:classify', '/v1/models/{}/metadata',
                                                                    '/v1/models/{}/versions/99:predict', '/%00', '*'])
        method = 'POST' if self._random.random() < 0.9 else self._random.choice(['GET', 'PUT', 'OPTIONS', 'A' * 100])
        head = f'{method} {path.format(self._model)} HTTP/1.1\r\n' + ''.join(
            f'{name}: {value}\r\n' for name, value in headers.items()) + '\r\n'
        return self._damaged(head.encode('latin-1'), 0.05) + self._damaged(body, 0.2)

    def grpc(self) -> bytes:
        """The bytes of a PredictRequest."""
        from tensorflow_serving.apis import predict_pb2
        request = predict_pb2.PredictRequest()
        request.model_spec.name = self._model
        feature = self._random.choice(list(self._signatures))
        request.model_spec.signature_name = self._signatures[feature]
        tensor = request.inputs[feature]
        tensor.dtype = self._random.choice([7] * 8 + [1, 9, 99])
        for size in self._random.choice([[1], [2], [300_000], [1, 2], [10**9, 10**9], [-1], [0], [2, 100_000], []]):
            tensor.tensor_shape.dim.add(size=size)
        tensor.string_val.extend(self._random.choices(self._media[feature], k=self._random.randint(0, 3)))
        return self._damaged(request.SerializeToString(), 0.2)

    def _body(self) -> bytes:
        feature = self._random.choice(list(self._signatures))
        content = [{'b64': base64.b64encode(one).decode()}
                   for one in self._random.choices(self._media[feature], k=self._random.randint(1, 3))]
        instances = [content] if feature == 'frames' else content
        document = {'signature_name': self._signatures[feature], 'instances': instances}
        kind = self._random.randrange(12)
        if kind == 0:
            document['instances'] = instances * self._random.choice([100, 1_000])
        elif kind == 1:
            return b'{"instances": ' + b'[' * self._random.randint(1, 100_000)
        elif kind == 2:
            return b'{"instances": [' + b'1.5,' * self._random.randint(1, 1_000_000) + b'1]}'
        elif kind == 3:
            return b'{"instances": [' + b'{},' * self._random.randint(1, 500_000) + b'1]}'
        elif kind == 4:
            document['instances'] = self._random.choice([None, 1e400, {}, [], '\ud800', [[[]]], True, {'b64': 5}])
        elif kind == 5:
            document = {'signature_name': 'model_card', 'instances': [''] * self._random.choice([1, 3_000, 300_000])}
        elif kind == 6:
            return b'"' + b'\\u0041' * self._random.randint(1, 200_000)
        return json.dumps(document).encode()

    def _damaged(self, content: bytes, share: float) -> bytes:
        if self._random.random() >= share or not content:
            return content
        changed = bytearray(content)
        for _ in range(self._random.randint(1, 8)):
            changed[self._random.randrange(len(changed))] = self._random.randrange(256)
        return bytes(changed[:self._random.randint(1, len(changed))]) if self._random.random() < 0.3 else bytes(changed)


def send(host: str, port: int, content: bytes, patience: float) -> bytes:
    """Sends the bytes of a request, and no more. Returns what comes back within `patience` seconds."""
    received = b''
    try:
        with socket.create_connection((host, port), timeout=patience) as client:
            client.sendall(content)
            while piece := client.recv(1 << 16):
                received += piece
    except (TimeoutError, ConnectionError):
        pass
    return received

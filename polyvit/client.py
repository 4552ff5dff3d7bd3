"""Clients of a served model: `Client`, `AsyncClient`, and the errors that they raise. docs/clients.md shows their use.

Importing this module imports neither TensorFlow nor TFX. `Client(grpc=True)` imports TensorFlow: the messages of gRPC
are in tensorflow-serving-api, whose modules need it.
"""

import asyncio
import typing

import numpy as np

from serving.failures import (
    BadInput,
    DeadlineExceeded,
    Denied,
    NotFound,
    Overloaded,
    PredictionFailed,
    Unavailable,
)
from serving.remote_model import RemoteModel as Client

if typing.TYPE_CHECKING:
    from serving.predictor import Files

__all__ = ['AsyncClient', 'BadInput', 'Client', 'DeadlineExceeded', 'Denied', 'NotFound', 'Overloaded',
           'PredictionFailed', 'Unavailable']


class AsyncClient:
    """As Client, for code that uses asyncio: decoding and the request are in a thread, and the loop goes on.

        async with AsyncClient('http://127.0.0.1:8501') as client:
            first, second = await asyncio.gather(client.predict('digits', a), client.predict('digits', b))

    Whoever stops waiting for an answer leaves the thread to end by itself, at the latest after the timeout.
    """

    def __init__(self, url: str | None = None, model_name: str = 'polyvit', timeout: float = 60.0, grpc: bool = False):
        self._client = Client(url, model_name, timeout, grpc)

    async def predict(self, task: str, files: 'Files', top: int = 5) -> list[dict]:
        return await asyncio.to_thread(self._client.predict, task, files, top)

    async def embed(self, name: str, files: 'Files') -> np.ndarray:
        return await asyncio.to_thread(self._client.embed, name, files)

    async def card(self) -> dict:
        """The model card; {} if the model has none."""
        return await asyncio.to_thread(lambda: self._client.card)

    async def close(self):
        await asyncio.to_thread(self._client.close)

    async def __aenter__(self) -> 'AsyncClient':
        return self

    async def __aexit__(self, *_):
        await self.close()

"""A model behind TensorFlow Serving's REST or gRPC API."""

import dataclasses
import functools
import json
import os
import time
from collections.abc import Callable

import numpy as np

from model_code import signature_names, words
from model_code.errors import ConfigError
from serving.addresses import GRPC_URL, REST_URL, Address
from serving.errors import ServingError
from serving.failures import DeadlineExceeded, NotFound, Overloaded, PredictionFailed, Unavailable
from serving.predictor import Predictor
from serving.rest_transport import RestTransport
from serving.transport import Metadata, Transport

_WAIT_STEP = 0.25  # seconds between two questions whether a model is ready


class RemoteModel(Predictor):
    """A model that a server has loaded. Several threads may ask it; connections are kept and shared.

        with Client('http://127.0.0.1:8501', timeout=10.0) as client:
            client.predict('digits', 'photo.png')     # [{'path', 'labels', 'scores'}]

    url: a server's root, or a model's URL (.../v1/models/NAME[/versions/V]); by default a server of this machine.
    model_name: if the URL names no model. timeout: seconds for each request, with its retries, and to fetch a file from
    a URL. grpc: by gRPC, which costs the import of TensorFlow. Lost connections, 429 and 503 are asked again.
    A token for a proxy is taken from the environment, POLYVIT_TOKEN.

    Raises ConfigError for what is no URL.
    """

    def __init__(self, url: str | None = None, model_name: str = 'polyvit', timeout: float = 60.0, grpc: bool = False):
        if not timeout > 0:
            raise ConfigError(f'timeout is {timeout:g}; it must be more than 0 seconds.')
        default = GRPC_URL if grpc else REST_URL
        address = Address.parse(url or default, model_name, default)
        self.timeout = timeout
        token = os.environ.get('POLYVIT_TOKEN', '')
        self._transport: Transport
        if grpc:
            from serving.grpc_transport import GrpcTransport
            self._transport = GrpcTransport(address, timeout, token)
        else:
            self._transport = RestTransport(address, timeout, token)

    def __str__(self):
        return str(self._transport)

    @property
    def url(self) -> str:
        return self._transport.address.url

    def close(self):
        self._transport.close()

    def wait(self, seconds: float, say: Callable[[str], None] = lambda text: None):
        """Returns once the server has a model ready. say: called with what it waits for, when that changes.

        Raises PredictionFailed if it has none after `seconds`, or cannot load what it has.
        """
        deadline = time.monotonic() + seconds
        told = ''
        while problem := self._not_ready(max(_WAIT_STEP, deadline - time.monotonic())):
            if time.monotonic() >= deadline:
                raise Unavailable(f'{self} {problem}, after a wait of {words.duration(seconds)}.')
            if problem != told:
                say(f'{self} {problem}. Waiting for it, at most {words.duration(seconds)}.')
                told = problem
            time.sleep(_WAIT_STEP)

    def _not_ready(self, seconds: float) -> str:
        """Why no model answers yet, as the end of a sentence; '' if one does. Raises PredictionFailed if none will."""
        try:
            states = {version.state: version for version in self._transport.versions(seconds)}
        except (Unavailable, DeadlineExceeded):
            return 'does not answer'
        except Overloaded:
            return 'is overloaded'
        except ServingError as error:
            return f'has no model ready: {error.message}'
        if 'AVAILABLE' in states:
            return ''
        if states.keys() == {'END'} and states['END'].error:
            raise PredictionFailed(f'{self} cannot load version {states["END"].number}: {states["END"].error}')
        loading = states.get('LOADING')
        return f'is loading version {loading.number}' if loading else 'has no version ready'

    def pin(self) -> str:
        address = self._transport.address
        if address.version is None:
            self._transport.address = dataclasses.replace(address, version=self._metadata.version)
        return self.url

    @functools.cached_property
    def _metadata(self) -> Metadata:
        try:
            return self._transport.metadata()
        except ServingError as error:
            problem = self._not_ready(self.timeout)
            if problem.startswith('is loading'):
                raise Unavailable(f'{self} {problem}. Wait for it (--wait, Client.wait).') from None
            message = (f'{self} has no model ready: {error.message}. Open this URL for the status of the model, or '
                       'give another URL or model name.')
            raise (NotFound if error.http_status == 404 else PredictionFailed)(message) from None

    @functools.cached_property
    def signature_inputs(self) -> dict[str, list[str]]:
        return {name: inputs for name, (inputs, _) in self._metadata.signatures.items() if not name.startswith('__')}

    @functools.cached_property
    def card(self) -> dict:
        """From the signature `model_card` ([N] strings in, [N] JSON texts out)."""
        name = signature_names.MODEL_CARD
        if name not in self.signature_inputs:
            return {}
        try:
            inputs, outputs = self._metadata.signatures[name]
            return json.loads(self._transport.predict(name, inputs[0], [b''], outputs)[outputs[0]][0])
        except (ServingError, ValueError, TypeError, IndexError) as error:
            raise PredictionFailed(f'{self} gave no model card: {error}') from None

    def run(self, signature: str, feature: str, media) -> dict[str, np.ndarray]:
        return self._transport.predict(signature, feature, padded(media), self._metadata.signatures[signature][1])


def padded(media) -> list:
    """Media as a server takes them: lists of frames are as long as the longest, filled up with empty strings."""
    longest = max((len(one) for one in media if isinstance(one, list)), default=0)
    return [one if isinstance(one, bytes) else one + [b''] * (longest - len(one)) for one in media]

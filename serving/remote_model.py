"""A model behind TensorFlow Serving's REST API."""

import base64
import functools
import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable

import numpy as np

from model_code import signature_names, words
from model_code.errors import ConfigError
from serving.api import DEFAULT_URL
from serving.errors import ServingError
from serving.predictor import PredictionFailed, Predictor

_MAX_REPLY_BYTES = 64 * 2**20
_WAIT_STEP = 0.25  # seconds between two questions whether a model is ready


class Unreachable(PredictionFailed):
    """There is no server at this address, or not yet."""


class RemoteModel(Predictor):
    """A model that a server has loaded.

    url: a server's root, or a model's URL (.../v1/models/NAME[/versions/V]). model_name: if the URL names no model.
    timeout: seconds for each request. Raises ConfigError for what is no URL.
    """

    def __init__(self, url: str, model_name: str = 'polyvit', timeout: float = 60.0):
        parts = urllib.parse.urlsplit(url if '://' in url else f'http://{url}')
        if parts.scheme not in ('http', 'https') or not parts.hostname:
            raise ConfigError(f'{url} is not the URL of a server. Give one like {DEFAULT_URL}.')
        path = parts.path.rstrip('/')
        if not re.search('/v1/models/[^/:]+', path):
            path += f'/v1/models/{urllib.parse.quote(model_name, safe="")}'
        self.url = f'{parts.scheme}://{parts.netloc}{path}'
        self._timeout = timeout
        # A proxy from the environment cannot reach this machine's own addresses.
        local = parts.hostname in ('127.0.0.1', 'localhost', '::1')
        self._opener = urllib.request.build_opener(*([urllib.request.ProxyHandler({})] if local else []))

    def __str__(self):
        return f'The server at {self.url}'

    def wait(self, seconds: float, say: Callable[[str], None] = lambda text: None):
        """Returns once the server has a model ready. say: called with what it waits for, when that changes.

        Raises PredictionFailed if it has none after `seconds`, or cannot load what it has.
        """
        deadline = time.monotonic() + seconds
        told = ''
        while problem := self._not_ready():
            if time.monotonic() >= deadline:
                raise PredictionFailed(f'{self} {problem}, after a wait of {words.duration(seconds)}.')
            if problem != told:
                say(f'{self} {problem}. Waiting for it, at most {words.duration(seconds)}.')
                told = problem
            time.sleep(_WAIT_STEP)

    def _not_ready(self) -> str:
        """Why no model answers yet, as the end of a sentence; '' if one does. Raises PredictionFailed if none will."""
        try:
            versions = self._request('')['model_version_status']
            states = {version['state']: version for version in versions}
        except Unreachable:
            return 'does not answer'
        except ServingError as error:
            return f'has no model ready: {error.message}'
        except (KeyError, TypeError):
            raise self._no_serving_api() from None
        if 'AVAILABLE' in states:
            return ''
        if states.keys() == {'END'} and states['END']['status']['error_message']:
            raise PredictionFailed(f'{self} cannot load version {states["END"]["version"]}: '
                                   f'{states["END"]["status"]["error_message"]}')
        loading = states.get('LOADING')
        return f'is loading version {loading["version"]}' if loading else 'has no version ready'

    def pin(self) -> str:
        if not re.search('/versions/[0-9]+$', self.url):
            self.url += f'/versions/{self._metadata["model_spec"]["version"]}'
        return self.url

    @functools.cached_property
    def _metadata(self) -> dict:
        try:
            return self._request('/metadata')
        except ServingError as error:
            problem = self._not_ready()
            if problem.startswith('is loading'):
                raise PredictionFailed(f'{self} {problem}. Give --wait to wait for it.') from None
            raise PredictionFailed(f'{self} has no model ready: {error.message}. Open this URL for the status of the '
                                   'model, or give another --url or --model-name.') from None

    @functools.cached_property
    def _signatures(self) -> dict[str, dict]:
        """Signature name -> the names of its inputs and outputs."""
        try:
            signatures = self._metadata['metadata']['signature_def']['signature_def']
            return {name: {'inputs': sorted(signature.get('inputs', {})), 'outputs': sorted(signature['outputs'])}
                    for name, signature in signatures.items() if not name.startswith('__')}
        except (KeyError, TypeError, AttributeError):
            raise self._no_serving_api() from None

    @functools.cached_property
    def signature_inputs(self) -> dict[str, list[str]]:
        return {name: signature['inputs'] for name, signature in self._signatures.items()}

    @functools.cached_property
    def card(self) -> dict:
        """From the signature `model_card` ([N] strings in, [N] JSON texts out)."""
        if signature_names.MODEL_CARD not in self.signature_inputs:
            return {}
        try:
            return json.loads(self._predictions(signature_names.MODEL_CARD, [''])[0])
        except (ServingError, ValueError, TypeError) as error:
            raise PredictionFailed(f'{self} gave no model card: {error}') from None

    def run(self, signature: str, feature: str, media) -> dict[str, np.ndarray]:
        longest = max((len(one) for one in media if isinstance(one, list)), default=0)
        predictions = self._predictions(signature, [
            _base64(one) if isinstance(one, bytes) else [_base64(frame) for frame in one + [b''] * (longest - len(one))]
            for one in media])
        outputs = self._signatures[signature]['outputs']
        try:
            # TensorFlow Serving leaves out the name of an only output.
            columns = {outputs[0]: predictions} if len(outputs) == 1 else {
                name: [prediction[name] for prediction in predictions] for name in outputs}
            return {name: _as_array(column) for name, column in columns.items()}
        except (KeyError, TypeError, ValueError):
            raise ServingError('INTERNAL', f'the reply lacks outputs of the signature {signature}') from None

    def _predictions(self, signature: str, instances: list) -> list:
        """The answer to a predict request, one item for each instance."""
        reply = self._request(':predict', json.dumps({'signature_name': signature, 'instances': instances}).encode())
        if not isinstance(reply, dict) or len(predictions := reply.get('predictions') or []) != len(instances):
            raise ServingError('INTERNAL', f'the reply does not have {words.count(len(instances), "prediction")}')
        return predictions

    def _request(self, path: str, body: bytes | None = None):
        """The JSON reply to a GET, or to a POST if there is a body. Raises ServingError with the server's message."""
        request = urllib.request.Request(self.url + path, body, {'Content-Type': 'application/json'})
        try:
            with self._opener.open(request, timeout=self._timeout) as response:
                return json.loads(response.read(_MAX_REPLY_BYTES))
        except urllib.error.HTTPError as error:
            with error:
                text = error.read(_MAX_REPLY_BYTES).decode('utf-8', 'replace')
            try:
                message = json.loads(text)['error']
            except (ValueError, KeyError, TypeError):
                message = error.reason
            raise ServingError('UNKNOWN', f'{message} (HTTP {error.code})', http_status=error.code) from None
        except ValueError:
            raise self._no_serving_api() from None
        except TimeoutError:
            raise PredictionFailed(f'{self} did not answer within {self._timeout:g} s.') from None
        except OSError as error:
            reason = getattr(error, 'reason', error)
            kind = Unreachable if isinstance(reason, ConnectionError) else PredictionFailed
            raise kind(
                f'{self} cannot be reached: {getattr(reason, "strerror", None) or reason}. Start a server with '
                '`polyvit serve DIR`, give --wait if it is starting, the --url of another, or --model DIR to use '
                'no server.') from None

    def _no_serving_api(self) -> PredictionFailed:
        return PredictionFailed(f"{self} does not answer as TensorFlow Serving's REST API does. Give another --url.")


def _base64(content: bytes) -> dict[str, str]:
    return {'b64': base64.b64encode(content).decode('ascii')}


def _as_array(values: list) -> np.ndarray:
    array = np.array(values)
    return array.astype(np.float32) if array.dtype.kind == 'f' else array.astype(object)

"""Gets labels and scores for files, from a server or from a model directory.

Files are read by the readers of ingest: a video becomes JPEG frames and a sound 16 kHz mono WAV, exactly as in
training. TensorFlow is needed only for a model directory.
"""

import base64
import json
import os
import pathlib
import re
import sys
import typing
import urllib.error
import urllib.parse
import urllib.request

from model_code import modalities, model_directory, serialization
from model_code.errors import ConfigError, PipelineStop, unknown
from serving import version_directories
from serving.errors import ServingError
from serving.saved_model import task_names

DEFAULT_URL = 'http://127.0.0.1:8501'
CARD_SIGNATURE = 'model_card'
_MAX_REPLY_BYTES = 64 * 2**20


class PredictionFailed(PipelineStop):
    """The server or model gave no answer; the message says why. Exit code 1."""


def predict(task: str, files: typing.Sequence[str | os.PathLike], url: str | None = None,
            model_dir: str | os.PathLike | None = None, top: int = 5, timeout: float = 60.0,
            model_name: str = 'polyvit') -> list[dict]:
    """{'path', 'labels', 'scores'} for each file: at most `top` labels, best first (a model gives at most 5).

    url: a server's root, or a model's URL (.../v1/models/NAME[/versions/V]); by default the local server's root.
    model_dir: a version directory, or the folder that holds the version directories; used in place of a server.
    timeout: seconds for each request.

    Raises ConfigError for a task that the model does not have, and for a file that cannot be read or is of another
    modality. Raises PredictionFailed if the server cannot be reached or answers with an error.
    """
    if top < 1:
        raise ConfigError(f'--top is {top}; it must be at least 1.')
    for path in files:
        if not os.path.exists(path):
            raise ConfigError(f'There is no file {path}. Give the path of a file that the task can read.')
    if model_dir is not None:
        model = _LocalModel(model_dir, timeout)
    else:
        model = _RemoteModel(url or DEFAULT_URL, model_name, timeout)
    try:
        inputs = model.signature_inputs()
        modality = _modality_of(task, inputs)
        spec = _input_spec(model.card(inputs), modality)
        results = []
        for path in files:
            media = _read(task, modality, path, spec)
            try:
                reply = model.run(task, modality.feature, media)
            except ServingError as error:
                raise PredictionFailed(f'{model} gave no prediction for {path}: {error}') from None
            results.append({'path': os.fspath(path), 'labels': reply['labels'][:top], 'scores': reply['scores'][:top]})
        return results
    finally:
        model.close()


def _modality_of(task: str, inputs: dict[str, list[str]]) -> modalities.Modality:
    """The task's modality, told by the name of its signature's input. inputs: signature name -> its input names."""
    by_feature = {modality.feature: modality for modality in modalities.MODALITIES.values()}
    tasks = {name: by_feature[inputs[name][0]] for name in task_names(inputs)
             if len(inputs[name]) == 1 and inputs[name][0] in by_feature}
    if task in tasks:
        return tasks[task]
    if not tasks:
        known, names = ', '.join(modalities.MODALITIES), ', '.join(sorted(inputs)) or 'none'
        raise ConfigError(f'The model has no task of a known modality ({known}). Its signatures: {names}. Give a model '
                          'that `polyvit run` exported.')
    raise unknown('task', task, tasks)


def _input_spec(card: dict, modality: modalities.Modality):
    """The input settings that the model was trained with, from its card; the defaults if the card has none."""
    settings = card.get('inputs', {}).get(modality.name)
    return serialization.from_dict(modality.input_class, settings) if settings else modality.input_class()


def _read(task: str, modality: modalities.Modality, path, spec) -> bytes | list[bytes]:
    from media import readers
    from media.rejections import Rejection
    suffix = pathlib.Path(path).suffix.lower()
    takes = f'Task {task} takes files of modality {modality.name} ({", ".join(modality.endings)}).'
    for other in modalities.MODALITIES.values():
        # The ending counts, too: a reader would take an image for a video of one frame.
        if suffix in other.endings and suffix not in modality.endings:
            raise ConfigError(f'{path} is of modality {other.name}. {takes}')
    try:
        return readers.read(modality.name, os.fspath(path), spec)[modality.feature]
    except Rejection as rejection:
        detail = rejection.detail.rstrip('.')
        raise ConfigError(f'{path} cannot be read: {detail} ({rejection.reason}). {takes}') from None


class _RemoteModel:
    """A model behind TensorFlow Serving's REST API."""

    def __init__(self, url: str, model_name: str, timeout: float):
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

    def close(self):
        pass

    def signature_inputs(self) -> dict[str, list[str]]:
        """Signature name -> the names of its inputs."""
        try:
            reply = self._request('/metadata')
        except ServingError as error:
            raise PredictionFailed(f'{self} has no model ready: {error.message}. Open this URL for the status of the '
                                   'model, or give another --url or --model-name.') from None
        try:
            signatures = reply['metadata']['signature_def']['signature_def']
            return {name: sorted(signature.get('inputs', {})) for name, signature in signatures.items()
                    if not name.startswith('__')}
        except (KeyError, TypeError, AttributeError):
            raise self._no_serving_api() from None

    def card(self, inputs: dict[str, list[str]]) -> dict:
        """The model card, from the signature `model_card` ([N] strings in, [N] JSON texts out); {} if it has none."""
        if CARD_SIGNATURE not in inputs:
            return {}
        try:
            return json.loads(self._prediction({'signature_name': CARD_SIGNATURE, 'instances': ['']}))
        except (ServingError, ValueError, TypeError) as error:
            raise PredictionFailed(f'{self} gave no model card: {error}') from None

    def run(self, task: str, _feature: str, media) -> dict:
        """The labels and scores of one file."""
        def encode(content: bytes):
            return {'b64': base64.b64encode(content).decode('ascii')}
        instance = [encode(frame) for frame in media] if isinstance(media, list) else encode(media)
        reply = self._prediction({'signature_name': task, 'instances': [instance]})
        if not isinstance(reply, dict) or not {'labels', 'scores'} <= reply.keys():
            raise ServingError('INTERNAL', 'the reply has no labels and scores')
        return reply

    def _prediction(self, request: dict):
        """The answer to a predict request with one instance."""
        reply = self._request(':predict', json.dumps(request).encode())
        try:
            return reply['predictions'][0]
        except (KeyError, IndexError, TypeError):
            raise ServingError('INTERNAL', 'the reply has no predictions') from None

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
            raise PredictionFailed(
                f'{self} cannot be reached: {getattr(reason, "strerror", None) or reason}. Start a server with '
                '`polyvit serve DIR`, give the --url of another, or give --model DIR to use no server.') from None

    def _no_serving_api(self) -> PredictionFailed:
        return PredictionFailed(f"{self} does not answer as TensorFlow Serving's REST API does. Give another --url.")


class _LocalModel:
    """A model that this process loads from its version directory."""

    def __init__(self, directory: str | os.PathLike, timeout: float):
        self.directory = find_model(directory)
        self._timeout = timeout
        os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')  # errors come as exceptions
        from serving.saved_model import SavedModel
        try:
            self._model = SavedModel(self.directory, warm_up=False)
        except ServingError as error:
            raise PredictionFailed(f'{self} cannot be loaded: {error.message}') from None

    def __str__(self):
        return f'The model in {self.directory}'

    def close(self):
        self._model.close()

    def signature_inputs(self) -> dict[str, list[str]]:
        return {name: list(signature.inputs) for name, signature in self._model.signatures.items()}

    def card(self, _inputs) -> dict:
        try:
            return model_directory.read_card(self.directory)
        except ValueError:
            raise PredictionFailed(f'The model card {model_directory.card_path(self.directory)} is not valid JSON. '
                                   'The version is damaged; push it again.') from None

    def run(self, task: str, feature: str, media) -> dict:
        import numpy as np

        from serving.json_tensors import float_tokens
        reply = self._model.run(task, {feature: np.array([media], object)}, self._timeout)
        if not {'labels', 'scores'} <= reply.keys():
            raise ServingError('INTERNAL', 'the reply has no labels and scores')
        return {'labels': [label.decode('utf-8', 'replace') for label in reply['labels'][0]],
                'scores': [float(token) for token in float_tokens(reply['scores'][0])]}  # as a server prints them


def find_model(directory: str | os.PathLike) -> str:
    """`directory` itself if it holds a SavedModel, else the newest version in it."""
    directory = os.fspath(directory)
    if model_directory.has_model(directory):
        return directory
    models = version_directories.list_models(directory)
    if not models:
        raise ConfigError(f'There is no model in {directory}. Give a version directory (with saved_model.pb), or the '
                          'folder of version directories that `polyvit run` pushes to.')
    return models[max(models)]


def print_predictions(results: list[dict], as_json: bool = False, stream: typing.TextIO | None = None):
    """Prints the results of `predict` as text, one label per line, or as one JSON list."""
    stream = stream or sys.stdout
    if as_json:
        print(json.dumps(results, indent=1, ensure_ascii=False), file=stream)
        return
    for result in results:
        print(result['path'], file=stream)
        for label, score in zip(result['labels'], result['scores'], strict=True):
            print(f'  {score:6.3f}  {label}', file=stream)


def predict_command(parsed) -> int:
    """`polyvit predict`. parsed: has task, files, url, model, model_name, top and json. Returns the exit code."""
    results = predict(parsed.task, parsed.files, parsed.url, parsed.model, parsed.top, model_name=parsed.model_name)
    print_predictions(results, parsed.json)
    return 0

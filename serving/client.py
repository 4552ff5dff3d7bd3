"""A file on disk -> a request -> labels and scores: from a server's URL, or from a model directory without one.

The file is read by ingest's own readers, so a video arrives as JPEG frames and a sound as 16 kHz mono WAV, exactly as
in training. TensorFlow is needed only for a model directory.
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
_LARGEST_REPLY = 64 * 2**20


class PredictionFailed(PipelineStop):
    """The server or model did not give an answer; the message says why. Exit code 1."""


def predict(task: str, files: typing.Sequence[str | os.PathLike], url: str | None = None,
            model_dir: str | os.PathLike | None = None, top: int = 5, timeout: float = 60.0,
            model_name: str = 'polyvit') -> list[dict]:
    """{'path', 'labels', 'scores'} for each file, best label first, at most `top` (a model answers at most 5).

    url: a server's root, or the model's own URL (.../v1/models/NAME[/versions/V]); by default the local server's.
    model_dir: a version directory or the folder of them, used in place of a server. timeout: seconds a request.

    Raises ConfigError for a task that the model does not have and for files that cannot be read or are of another
    modality; PredictionFailed where the server cannot be reached or refuses.
    """
    if top < 1:
        raise ConfigError(f'--top is {top}; it must be at least 1.')
    for path in files:
        if not os.path.exists(path):
            raise ConfigError(f'There is no file {path}. Give the path of an image, video or sound.')
    if model_dir is not None:
        source = _Directory(model_dir, timeout)
    else:
        source = _Server(url or DEFAULT_URL, model_name, timeout)
    try:
        inputs = source.signature_inputs()
        modality = _modality(task, inputs)
        spec = _input_spec(source.card(inputs), modality)
        results = []
        for path in files:
            media = _read(task, modality, path, spec)
            try:
                reply = source.run(task, modality.feature, media)
            except ServingError as error:
                raise PredictionFailed(f'{source} gave no prediction for {path}: {error}') from None
            results.append({'path': os.fspath(path), 'labels': reply['labels'][:top], 'scores': reply['scores'][:top]})
        return results
    finally:
        source.close()


def _modality(task: str, inputs: dict[str, list[str]]) -> modalities.Modality:
    """The task's modality, which its signature's input name tells."""
    by_feature = {m.feature: m for m in modalities.MODALITIES.values()}
    tasks = {name: by_feature[inputs[name][0]] for name in task_names(inputs)
             if len(inputs[name]) == 1 and inputs[name][0] in by_feature}
    if task in tasks:
        return tasks[task]
    if not tasks:
        raise ConfigError(f'The model has no task of images, videos or sounds; its signatures are '
                          f'{", ".join(sorted(inputs)) or "none"}. Give a model that `polyvit run` exported.')
    raise unknown('task', task, tasks)


def _input_spec(card: dict, modality: modalities.Modality):
    """The modality's input settings that the model was trained with, which its card tells; else the defaults."""
    settings = card.get('inputs', {}).get(modality.name)
    return serialization.from_dict(modality.input_class, settings) if settings else modality.input_class()


def _read(task: str, modality: modalities.Modality, path, spec) -> bytes | list[bytes]:
    from media import readers
    from media.rejections import Rejection
    suffix = pathlib.Path(path).suffix.lower()
    takes = f'Task {task} takes a file of modality {modality.name} ({", ".join(modality.endings)}).'
    for other in modalities.MODALITIES.values():
        # By name too: an image would pass for a video of one frame.
        if suffix in other.endings and suffix not in modality.endings:
            raise ConfigError(f'{path} is a file of modality {other.name}. {takes}')
    try:
        return readers.read(modality.name, os.fspath(path), spec)[modality.feature]
    except Rejection as rejection:
        detail = rejection.detail.rstrip('.')
        raise ConfigError(f'{path} cannot be read: {detail} ({rejection.reason}). {takes}') from None


class _Server:
    """A model behind TensorFlow Serving's REST interface."""

    def __init__(self, url: str, model_name: str, timeout: float):
        parts = urllib.parse.urlsplit(url if '://' in url else f'http://{url}')
        if parts.scheme not in ('http', 'https') or not parts.hostname:
            raise ConfigError(f'{url} is not the URL of a server. Give one as {DEFAULT_URL}.')
        path = parts.path.rstrip('/')
        if not re.search('/v1/models/[^/:]+', path):
            path += f'/v1/models/{urllib.parse.quote(model_name, safe="")}'
        self.url = f'{parts.scheme}://{parts.netloc}{path}'
        self._timeout = timeout
        # A proxy of the environment cannot reach this machine's own addresses.
        local = parts.hostname in ('127.0.0.1', 'localhost', '::1')
        self._opener = urllib.request.build_opener(*([urllib.request.ProxyHandler({})] if local else []))

    def __str__(self):
        return f'The server at {self.url}'

    def close(self):
        pass

    def signature_inputs(self) -> dict[str, list[str]]:
        """Signature name -> its inputs' names."""
        try:
            reply = self._ask('/metadata')
        except ServingError as error:
            raise PredictionFailed(f'{self} has no such model ready: {error.message}. See its status there, or give '
                                   'another --url or --model-name.') from None
        try:
            signatures = reply['metadata']['signature_def']['signature_def']
            return {name: sorted(s.get('inputs', {})) for name, s in signatures.items() if not name.startswith('__')}
        except (KeyError, TypeError, AttributeError):
            raise PredictionFailed(f"{self} does not answer as TensorFlow Serving's REST interface does.") from None

    def card(self, inputs: dict[str, list[str]]) -> dict:
        """The model's card, by its signature `model_card` ([N] strings in, [N] JSON texts out), where it has one."""
        if CARD_SIGNATURE not in inputs:
            return {}
        try:
            return json.loads(self._predictions({'signature_name': CARD_SIGNATURE, 'instances': ['']}))
        except (ServingError, ValueError, TypeError) as error:
            raise PredictionFailed(f'{self} gave no model card: {error}') from None

    def run(self, task: str, _: str, media) -> dict:
        """One file's labels and scores."""
        def encode(content: bytes):
            return {'b64': base64.b64encode(content).decode('ascii')}
        instance = [encode(frame) for frame in media] if isinstance(media, list) else encode(media)
        reply = self._predictions({'signature_name': task, 'instances': [instance]})
        if not isinstance(reply, dict) or not {'labels', 'scores'} <= reply.keys():
            raise ServingError('INTERNAL', 'the reply has no labels and scores')
        return reply

    def _predictions(self, request: dict):
        reply = self._ask(':predict', json.dumps(request).encode())
        try:
            return reply['predictions'][0]
        except (KeyError, IndexError, TypeError):
            raise ServingError('INTERNAL', 'the reply has no predictions') from None

    def _ask(self, path: str, body: bytes | None = None):
        """The JSON of one GET, or POST where there is a body. ServingError with the server's own words for an error."""
        request = urllib.request.Request(self.url + path, body, {'Content-Type': 'application/json'})
        try:
            with self._opener.open(request, timeout=self._timeout) as response:
                return json.loads(response.read(_LARGEST_REPLY))
        except urllib.error.HTTPError as error:
            with error:
                text = error.read(_LARGEST_REPLY).decode('utf-8', 'replace')
            try:
                message = json.loads(text)['error']
            except (ValueError, KeyError, TypeError):
                message = error.reason
            raise ServingError('UNKNOWN', f'{message} (HTTP {error.code})', http_status=error.code) from None
        except ValueError:
            raise PredictionFailed(f"{self} does not answer as TensorFlow Serving's REST interface does.") from None
        except TimeoutError:
            raise PredictionFailed(f'{self} did not answer within {self._timeout:g} s.') from None
        except OSError as error:
            reason = getattr(error, 'reason', error)
            raise PredictionFailed(
                f'{self} cannot be reached: {getattr(reason, "strerror", None) or reason}. Start one with '
                '`polyvit serve DIR`, give its --url, or give --model DIR to do without.') from None


class _Directory:
    """A model loaded here from its version directory."""

    def __init__(self, directory: str | os.PathLike, timeout: float):
        self.directory = find_model(directory)
        self._timeout = timeout
        os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')  # what matters comes as an exception
        from serving.saved_model import SavedModel
        try:
            self._model = SavedModel(self.directory, warm_up=False)
        except ServingError as error:
            raise PredictionFailed(f'{self} does not load: {error.message}') from None

    def __str__(self):
        return f'The model in {self.directory}'

    def close(self):
        self._model.close()

    def signature_inputs(self) -> dict[str, list[str]]:
        return {name: list(signature.inputs) for name, signature in self._model.signatures.items()}

    def card(self, _) -> dict:
        try:
            return model_directory.read_card(self.directory)
        except ValueError:
            raise PredictionFailed(f'The model card {model_directory.card_path(self.directory)} is not JSON. Its '
                                   'version is damaged; push anew.') from None

    def run(self, task: str, feature: str, media) -> dict:
        import numpy as np

        from serving.json_tensors import float_tokens
        reply = self._model.run(task, {feature: np.array([media], object)}, self._timeout)
        if not {'labels', 'scores'} <= reply.keys():
            raise ServingError('INTERNAL', 'its signature has no labels and scores')
        return {'labels': [label.decode('utf-8', 'replace') for label in reply['labels'][0]],
                'scores': [float(token) for token in float_tokens(reply['scores'][0])]}  # as a server prints them


def find_model(directory: str | os.PathLike) -> str:
    """The directory itself where it is a SavedModel, else the newest version in it."""
    directory = os.fspath(directory)
    if model_directory.has_model(directory):
        return directory
    models = version_directories.list_models(directory)
    if not models:
        raise ConfigError(f'There is no model in {directory}. Give a version directory (with saved_model.pb), or the '
                          'folder of version directories that `polyvit run` pushes to.')
    return models[max(models)]


def print_predictions(results: list[dict], as_json: bool = False, stream: typing.TextIO | None = None):
    """The results of `predict` as text, a line a label, or as one JSON list."""
    stream = stream or sys.stdout
    if as_json:
        print(json.dumps(results, indent=1, ensure_ascii=False), file=stream)
        return
    for result in results:
        print(result['path'], file=stream)
        for label, score in zip(result['labels'], result['scores'], strict=True):
            print(f'  {score:6.3f}  {label}', file=stream)


def predict_command(parsed) -> int:
    """`polyvit predict`: parsed has task, files, url, model, model_name, top, json."""
    results = predict(parsed.task, parsed.files, parsed.url, parsed.model, parsed.top, model_name=parsed.model_name)
    print_predictions(results, parsed.json)
    return 0

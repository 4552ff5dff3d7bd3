"""A model that this process loads from its version directory. TensorFlow is imported only when one is loaded."""

import contextlib
import functools
import os
import typing

import numpy as np

from model_code import file_io, model_directory
from model_code.errors import ConfigError
from model_code.urls import is_url
from serving import served, version_directories
from serving.errors import ServingError
from serving.failures import PredictionFailed
from serving.predictor import Predictor


class LocalModel(Predictor):
    """Loads a model once, and answers many times:

        with LocalModel('runs/demo/serving/polyvit') as model:
            model.predict('digits', ['photo.png'])   # [{'path', 'labels', 'scores'}]
            model.embed('digits', ['photo.png'])     # [1, width]

    directory: a version directory, or the folder of them, whose newest version is taken; also behind a URL.
    `directory` and `card` say which model it is. Raises ConfigError if there is no model, PredictionFailed if it cannot
    be loaded.
    """

    def __init__(self, directory: str | os.PathLike):
        self.directory = find_model(directory)
        os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')  # errors come as exceptions
        from serving.saved_model import SavedModel
        try:
            with fetched(self.directory) as local:
                self._model = SavedModel(local, warm_up=False)
        except ServingError as error:
            raise PredictionFailed(f'{self} cannot be loaded: {error.message}') from None

    def __str__(self):
        return f'The model in {self.directory}'

    def close(self):
        self._model.close()

    def pin(self) -> str:
        return self.directory if is_url(self.directory) else os.path.realpath(self.directory)

    @functools.cached_property
    def signature_inputs(self) -> dict[str, list[str]]:
        return {name: list(signature.inputs) for name, signature in self._model.signatures.items()}

    @functools.cached_property
    def card(self) -> dict:
        return read_card(self.directory)

    def run(self, signature: str, feature: str, media) -> dict[str, np.ndarray]:
        reply = self._model.run(signature, {feature: _as_array(media)})
        return {name: _text(value) if value.dtype == object else value for name, value in reply.items()}


def read_card(version_dir: str) -> dict:
    """The model card of a version, {} if it has none. Raises PredictionFailed if it is damaged."""
    try:
        return model_directory.read_card(version_dir)
    except ValueError:
        raise PredictionFailed(f'The model card {model_directory.card_path(version_dir)} is not valid JSON. The '
                               'version is damaged; push it again.') from None


def find_model(directory: str | os.PathLike) -> str:
    """`directory` itself if it holds a SavedModel, else the newest version in it."""
    directory = os.fspath(directory)
    file_io.check_no_pattern(directory, 'Rename the folder, or copy it elsewhere.')
    if model_directory.has_model(directory):
        return directory
    models = version_directories.list_models(directory)
    if not models:
        raise ConfigError(f'There is no model in {directory}. Give a version directory (with saved_model.pb), or the '
                          'folder of version directories that `polyvit run` pushes to.')
    return models[max(models)]


@contextlib.contextmanager
def fetched(version_dir: str) -> typing.Iterator[str]:
    """A context that gives a version directory on this machine: a copy of one behind a URL, which must be whole.

    Raises PredictionFailed if it is not what was pushed.
    """
    with file_io.local_copy(version_dir) as local:
        if is_url(version_dir) and not served.is_whole(local):
            raise PredictionFailed(f'{version_dir} is not what was pushed: its files do not have the digest in its '
                                   'card. Remove it, and push it again, or give the directory of another version.')
        yield local


def _as_array(media) -> np.ndarray:
    """[N], or for lists of frames [N, the most frames], padded with empty strings."""
    if isinstance(media[0], bytes):
        return np.array(media, object)
    padded = np.full((len(media), max(map(len, media))), b'', object)
    for row, frames in zip(padded, media, strict=True):
        row[:len(frames)] = frames
    return padded


def _text(strings: np.ndarray) -> np.ndarray:
    decoded = [value.decode('utf-8', 'replace') for value in strings.ravel().tolist()]
    return np.array(decoded, object).reshape(strings.shape)

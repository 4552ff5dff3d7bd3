"""What every model that answers for files can do, be it loaded in this process or behind a server."""

import abc
import os
import pathlib
import typing
from collections.abc import Iterator, Sequence

import numpy as np

from model_code import modalities, serialization, signature_names
from model_code.errors import ConfigError, PipelineStop, unknown
from serving.errors import ServingError
from serving.json_tensors import float_tokens
from serving.saved_model import task_names

# Files of one call of the model. More would make it little faster, and take memory.
BATCH_FILES, BATCH_BYTES = 16, 8 << 20

Files = str | os.PathLike | Sequence[str | os.PathLike]


class PredictionFailed(PipelineStop):
    """The server or model gave no answer; the message says why. Exit code 1."""


class Predictor(abc.ABC):
    """A model that answers for files. Also a context manager, which closes it.

    Files are read by the readers of ingest: a video becomes JPEG frames and a sound 16 kHz mono WAV, exactly as in
    training. The methods raise ConfigError for a task that the model does not have, and for a file that cannot be read
    or is of another modality; PredictionFailed if the model gives no answer.
    """

    @property
    @abc.abstractmethod
    def signature_inputs(self) -> dict[str, list[str]]:
        """Signature name -> the names of its inputs."""

    @property
    @abc.abstractmethod
    def card(self) -> dict:
        """The model card; {} if the model has none."""

    @abc.abstractmethod
    def run(self, signature: str, feature: str, media: Sequence[bytes | list[bytes]]) -> dict[str, np.ndarray]:
        """The outputs of a signature for N encoded media, as readers give them: name -> [N, ...]. Strings are str.

        feature: the name of the signature's input. Raises ServingError, and PredictionFailed if there is no server.
        """

    def close(self):  # noqa: B027  a server needs no closing
        """Frees what the model holds."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @abc.abstractmethod
    def pin(self) -> str:
        """From now on asks only the version that it is asking now. Says which that is."""

    def predict(self, task: str, files: Files, top: int = 5) -> list[dict]:
        """{'path', 'labels', 'scores'} for each file: at most `top` labels, best first (a model gives at most 5).

        files: one path, or several.
        """
        if top < 1:
            raise ConfigError(f'top is {top}; it must be at least 1.')
        results = []
        for paths, reply in self._replies(task, task, files):
            if not {'labels', 'scores'} <= reply.keys():
                raise PredictionFailed(f'{self} gave no prediction for {paths[0]}: the reply has no labels and scores.')
            for path, labels, scores in zip(paths, reply['labels'], reply['scores'], strict=True):
                results.append({'path': path, 'labels': labels.tolist()[:top],
                                'scores': [float(token) for token in float_tokens(scores)[:top]]})
        return results

    def embed(self, name: str, files: Files) -> np.ndarray:
        """[files, width] float32: the representation of each file, without a head. name: of a task or modality."""
        modality = modalities.MODALITIES.get(name) or self.modality(name)
        signature = self.embedding_signature(modality)
        parts = [reply['embedding'] for _, reply in self._replies(name, signature, files, modality)]
        return np.concatenate(parts) if parts else np.empty((0, 0), np.float32)

    def predict_folder(self, task: str, folder: str | os.PathLike, output: str | os.PathLike,
                       embedding: bool = False, **more):
        """Writes a row for every file in the folder: serving.batch.predict_folder, which has the arguments."""
        from serving import batch
        return batch.predict_folder(self, task, folder, output, embedding, **more)

    def modality(self, task: str) -> modalities.Modality:
        """The task's modality, told by the name of its signature's input."""
        inputs = self.signature_inputs
        by_feature = {modality.feature: modality for modality in modalities.MODALITIES.values()}
        tasks = {name: by_feature[inputs[name][0]] for name in task_names(inputs)
                 if len(inputs[name]) == 1 and inputs[name][0] in by_feature}
        if task in tasks:
            return tasks[task]
        if not tasks:
            known, names = ', '.join(modalities.MODALITIES), ', '.join(sorted(inputs)) or 'none'
            raise ConfigError(f'The model has no task of a known modality ({known}). Its signatures: {names}. Give a '
                              'model that `polyvit run` exported.')
        raise unknown('task', task, tasks)

    def embedding_signature(self, modality: modalities.Modality) -> str:
        """The name of the signature that gives the representation. Raises ConfigError if the model has none."""
        signature = signature_names.embedding(modality.name)
        if signature not in self.signature_inputs:
            raise ConfigError(f'{self} has no signature {signature}. Its signatures: '
                              f'{", ".join(sorted(self.signature_inputs))}.')
        return signature

    def input_spec(self, modality: modalities.Modality) -> typing.Any:
        """The input settings that the model was trained with, from its card; the defaults if the card has none."""
        settings = self.card.get('inputs', {}).get(modality.name)
        return serialization.from_dict(modality.input_class, settings) if settings else modality.input_class()

    def _replies(self, task: str, signature: str, files: Files,
                 modality: modalities.Modality | None = None) -> Iterator[tuple[list[str], dict[str, np.ndarray]]]:
        """(paths, the model's reply) of one batch of files after the other. task: for messages."""
        files = [files] if isinstance(files, (str, os.PathLike)) else files
        for path in files:
            if not os.path.exists(path):
                raise ConfigError(f'There is no file {path}. Give the path of a file that the task can read.')
        modality = modality or self.modality(task)
        spec = self.input_spec(modality)
        paths, media, size = [], [], 0
        for path in files:
            paths.append(os.fspath(path))
            media.append(_read(task, modality, path, spec))
            size += encoded_bytes(media[-1])
            if len(paths) == BATCH_FILES or size >= BATCH_BYTES:
                yield paths, self._reply(signature, modality.feature, paths, media)
                paths, media, size = [], [], 0
        if paths:
            yield paths, self._reply(signature, modality.feature, paths, media)

    def _reply(self, signature: str, feature: str, paths: list[str], media: list) -> dict[str, np.ndarray]:
        try:
            return self.run(signature, feature, media)
        except ServingError as error:
            if len(paths) == 1:
                raise PredictionFailed(f'{self} gave no prediction for {paths[0]}: {error}') from None
        # One file spoils the batch, or the batch takes too long.
        replies = [self._reply(signature, feature, [path], [one]) for path, one in zip(paths, media, strict=True)]
        return {name: np.concatenate([reply[name] for reply in replies]) for name in replies[0]}


def encoded_bytes(media: bytes | list[bytes]) -> int:
    """The size of the encoded media of one example."""
    return len(media) if isinstance(media, bytes) else sum(map(len, media))


def _read(task: str, modality: modalities.Modality, path, spec) -> bytes | list[bytes]:
    from media import readers
    from media.rejections import Rejection
    suffix = pathlib.Path(path).suffix.lower()
    who = f'Task {task} takes' if task != modality.name else 'It takes'
    others = ' and others' if modality.other_endings else ''
    takes = f'{who} files of modality {modality.name} ({", ".join(modality.endings)}{others}).'
    for other in modalities.MODALITIES.values():
        # The ending counts, too: a reader would take an image for a video of one frame.
        if suffix in other.endings and suffix not in modality.endings:
            raise ConfigError(f'{path} is of modality {other.name}. {takes}')
    try:
        return readers.read(modality.name, os.fspath(path), spec)[modality.feature]
    except Rejection as rejection:
        raise ConfigError(f'{path} cannot be read ({rejection.reason}). {rejection.detail} {takes}') from None

"""What every model that answers for files can do, be it loaded in this process or behind a server."""

import abc
import os
import typing
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from media.listing import manifests
from model_code import modalities, serialization, signature_names
from model_code.errors import ConfigError, unknown
from model_code.urls import is_url
from serving import sources
from serving.errors import ServingError
from serving.failures import BadInput, NotFound, PredictionFailed, failure
from serving.json_tensors import float_tokens
from serving.limits import Limits
from serving.saved_model import task_names
from serving.sources import Source

# Files of one call of the model. More would make it little faster, and take memory.
BATCH_FILES, BATCH_BYTES = 16, 8 << 20
_LABELS = 5  # that the signature of a task gives at most

Files = Source | Iterable[Source]


class Predictor(abc.ABC):
    """A model that answers for files. Also a context manager, which closes it.

    Files are read by the readers of ingest: a video becomes JPEG frames and a sound 16 kHz mono WAV, exactly as in
    training. A file is a path, a URL (http, https, s3, gs, ...), bytes, or an open binary file.

    The methods raise NotFound for a task that the model does not have, and BadInput for a file that cannot be read, is
    of another modality or over the bounds (both are ConfigErrors); another PredictionFailed if there is no answer.
    """

    timeout = 60.0  # seconds to fetch a file from a URL

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
        """{'path', 'labels', 'scores'} for each file: at most `top` labels, best first.

        files: one, or several. More than 5 labels need a model card that names the classes.
        """
        results = []
        for result in self.answers(task, _checked(files), top):
            if isinstance(result, BadInput):
                raise result
            results.append(result)
        return results

    def answers(self, task: str, files: Iterable[Source | BadInput], top: int = 5,
                batch: int = BATCH_FILES) -> Iterator[dict | BadInput]:
        """As `predict`, one after the other; for a file without a prediction a BadInput, with its `path`.

        files: what is a BadInput already is handed on. batch: files of one request.
        """
        for name, value in (('top', top), ('batch', batch)):
            if value < 1:
                raise ConfigError(f'{name} is {value}; it must be at least 1.')
        modality = self.modality(task)
        signature, classes = self._signature_for(task, top)
        for answer in self._answers(task, signature, modality, files, batch):
            if isinstance(answer, BadInput):
                yield answer
                continue
            path, row = answer
            if not row.keys() >= ({'scores'} if classes else {'labels', 'scores'}):
                raise PredictionFailed(f'{self} gave no prediction for {path}: the reply has no labels and scores.')
            labels, scores = _best(classes, row['scores'], top) if classes else (row['labels'].tolist(), row['scores'])
            yield {'path': path, 'labels': labels[:top],
                   'scores': [float(token) for token in float_tokens(scores)[:top]]}

    def embed(self, name: str, files: Files) -> np.ndarray:
        """[files, width] float32: the representation of each file, without a head. name: of a task or modality."""
        modality = modalities.MODALITIES.get(name) or self.modality(name)
        signature = self.embedding_signature(modality)
        rows = []
        for answer in self._answers(name, signature, modality, _checked(files), BATCH_FILES):
            if isinstance(answer, BadInput):
                raise answer
            rows.append(answer[1]['embedding'])
        return np.stack(rows) if rows else np.empty((0, 0), np.float32)

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
            raise NotFound(f'The model has no task of a known modality ({known}). Its signatures: {names}. Give a '
                           'model that `polyvit run` exported.')
        raise NotFound(str(unknown('task', task, tasks)))

    def embedding_signature(self, modality: modalities.Modality) -> str:
        """The name of the signature that gives the representation. Raises ConfigError if the model has none."""
        signature = signature_names.embedding(modality.name)
        if signature not in self.signature_inputs:
            raise NotFound(f'{self} has no signature {signature}. Its signatures: '
                           f'{", ".join(sorted(self.signature_inputs))}.')
        return signature

    def input_spec(self, modality: modalities.Modality) -> typing.Any:
        """The input settings that the model was trained with, from its card; the defaults if the card has none."""
        settings = self.card.get('inputs', {}).get(modality.name)
        return serialization.from_dict(modality.input_class, settings) if settings else modality.input_class()

    def media(self, task: str, modality: modalities.Modality, source: Source) -> bytes | list[bytes]:
        """What is sent for a file: its encoded media, as the reader gives them. task: for messages. Raises BadInput."""
        return _read(task, modality, source, self.input_spec(modality), self.timeout)

    def _signature_for(self, task: str, top: int) -> tuple[str, list[str]]:
        """(the signature that gives the best `top` labels, the classes of its scores; [] if it gives labels itself)."""
        if top <= _LABELS:
            return task, []
        card = next((card for card in self.card.get('tasks', ()) if card['name'] == task), {})
        if card.get('label_groups'):  # the signature of the task has one label of each group, and no others compare
            return task, []
        classes, signature = card.get('classes', []), signature_names.scores(task)
        if not classes or signature not in self.signature_inputs:
            raise NotFound(f'{self} has no signature {signature}, or no card that names the classes of task {task}, so '
                           f'it gives at most {_LABELS} labels.')
        return (signature, classes) if len(classes) > _LABELS else (task, [])

    def _answers(self, task: str, signature: str, modality: modalities.Modality, files: Iterable[Source | BadInput],
                 batch: int) -> Iterator[tuple[str, dict[str, np.ndarray]] | BadInput]:
        """(path, its row of the outputs), or a BadInput, for each file in order."""
        waiting, media, size = [], [], 0
        for source in files:
            try:
                if isinstance(source, BadInput):
                    raise source
                media.append(self.media(task, modality, source))
                waiting.append(sources.name_of(source))
                size += encoded_bytes(media[-1])
            except BadInput as error:
                waiting.append(error)
            if len(media) == batch or size >= BATCH_BYTES or not media:  # without media, an error waits for nothing
                yield from self._answered(signature, modality.feature, waiting, media)
                waiting, media, size = [], [], 0
        yield from self._answered(signature, modality.feature, waiting, media)

    def _answered(self, signature: str, feature: str, waiting: list[str | BadInput],
                  media: list) -> Iterator[tuple[str, dict[str, np.ndarray]] | BadInput]:
        paths = [path for path in waiting if isinstance(path, str)]
        rows = iter(self._rows(signature, feature, paths, media) if paths else ())
        for path in waiting:
            row = path if isinstance(path, BadInput) else next(rows)
            yield row if isinstance(row, BadInput) else (str(path), row)

    def _rows(self, signature: str, feature: str, paths: list[str],
              media: list) -> list[dict[str, np.ndarray] | BadInput]:
        """The row of each file. Raises PredictionFailed if it is not a file that is at fault."""
        try:
            reply = self.run(signature, feature, media)
            return [{name: column[i] for name, column in reply.items()} for i in range(len(media))]
        except ServingError as error:
            if len(paths) == 1:
                failed = failure(f'{self} gave no prediction for {paths[0]}: {error}', error, paths[0])
                if isinstance(failed, BadInput):
                    return [failed]
                raise failed from None
        # One file spoils the batch, or the batch takes too long.
        return [row for path, one in zip(paths, media, strict=True)
                for row in self._rows(signature, feature, [path], [one])]


def encoded_bytes(media: bytes | list[bytes]) -> int:
    """The size of the encoded media of one example."""
    return len(media) if isinstance(media, bytes) else sum(map(len, media))


def _best(classes: list[str], scores: np.ndarray, top: int) -> tuple[list[str], np.ndarray]:
    """The labels and scores of the best; of equal scores that of the first class comes first, as in the graph."""
    order = np.argsort(-scores, kind='stable')[:top]
    return [classes[i] for i in order], scores[order]


def _checked(files: Files) -> list[Source]:
    """The files, of which those with a path of this machine are there: that is known before any is read."""
    one = isinstance(files, (str, os.PathLike, bytes)) or hasattr(files, 'read')
    listed = typing.cast(list[Source], [files] if one else list(typing.cast(Iterable[Source], files)))
    for source in listed:
        _check_exists(source)
    return listed


def _check_exists(source: Source):
    if isinstance(source, (str, os.PathLike)) and not is_url(os.fspath(source)) and not os.path.exists(source):
        raise BadInput(f'There is no file {source}. Give the path of a file that the task can read.', os.fspath(source))


def _read(task: str, modality: modalities.Modality, source: Source, spec, seconds: float) -> bytes | list[bytes]:
    from media import readers
    from media.rejections import Rejection
    _check_exists(source)
    name, ending = sources.name_of(source), sources.ending_of(source)
    who = f'Task {task} takes' if task != modality.name else 'It takes'
    others = ' and others' if modality.other_endings else ''
    takes = f'{who} files of modality {modality.name} ({", ".join(modality.endings)}{others}).'
    for other in modalities.MODALITIES.values():
        # The ending counts, too: a reader would take an image for a video of one frame.
        if ending in other.endings and ending not in modality.endings:
            raise BadInput(f'{name} is of modality {other.name}. {takes}', name)
    if modality.in_rows and ending in manifests.TABLES and ending not in modality.endings:
        raise BadInput(f'{name} is a table, and would be read as one {modality.name}. Give a file for each '
                       f'{modality.name}, or from Python the bytes of each; if it is one, send it by standard input '
                       f'(-). {takes}', name)
    limits = Limits().of_media(modality.name)
    try:
        with sources.opened(source, limits, seconds) as file:
            return readers.read(modality.name, file, spec, limits)[modality.feature]
    except Rejection as rejection:
        raise BadInput(f'{name} cannot be read ({rejection.reason}). {rejection.detail} {takes}', name) from None

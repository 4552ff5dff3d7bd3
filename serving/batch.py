"""Scores, or embeddings, of all files of a task's modality in a folder, written to one file. `polyvit predict -o`.

Several processes decode (media.sandbox) while the model answers for the files before. Nothing grows with the number of
files but the list of their names.

Rows are kept in parts (serving.parts) until all are there; then the output appears, whole. What is interrupted goes on
with the files that have no row yet, if task, folder and model are the same. A file that changed is read again.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Iterator

import numpy as np

from media import parallel
from media.entries import Entry
from media.listing import files
from media.rejections import Rejection
from media.sandbox.parent import Decoded, Decoder
from model_code import label_groups, modalities, signature_names, words
from model_code.errors import ConfigError
from model_code.urls import is_url
from serving import parts, tables
from serving.errors import ServingError
from serving.failures import PredictionFailed
from serving.predictor import BATCH_BYTES, BATCH_FILES, Predictor, encoded_bytes

# HTTP statuses by which a model says that it is the file that is wrong: not readable, and too large for a request.
_BAD_REQUEST, _TOO_LARGE = 400, 413


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What `predict_folder` wrote. rows: one per file. rejected: reason -> the rows with an error."""
    output: str
    rows: int
    rejected: dict[str, int]


def predict_folder(model: Predictor, task: str, folder: str | os.PathLike, output: str | os.PathLike,
                   embedding: bool = False, progress: Callable[[str, int, int], None] = lambda *unused: None,
                   say: Callable[[str], None] = lambda text: None) -> Outcome:
    """Writes a row for every file in `folder`, and in the folders in it, whose ending is one of the task's modality.

    output: a .csv, .jsonl or .parquet file, which must not exist. embedding: the representation in place of scores.
    progress: called with the task's name, the number of files done and that of all to do now. say: called with remarks.

    Raises ConfigError if the arguments are wrong or what is there is of another model; PredictionFailed if the model
    does not answer. Rows up to then are kept.
    """
    folder, output = os.fspath(folder), os.fspath(output)
    check_output(folder, output)
    modality = model.modality(task)
    layout = _layout(model, task, modality, embedding)
    walked = files.walk(folder, modality.endings + modality.other_endings)
    if not walked.files and not walked.rejected_files:
        endings = ', '.join(modality.endings + modality.other_endings)
        raise ConfigError(f'There is no file of modality {modality.name} in {folder}. It has none of the endings '
                          f'{endings}.')
    stats = {path: files.local_stat(os.path.join(folder, path)) for path in walked.files}
    job = {'task': task, 'folder': os.path.realpath(folder), 'model': model.pin(), 'card': _digest(model.card),
           'columns': [*layout.own_columns, *layout.class_columns]}
    with parts.open_parts(output, job) as kept:
        known = kept.known()
        to_do = [path for path in walked.files if known.get(path) != stats[path]]
        if known:
            changed = sum(path in known for path in to_do)
            say(f'{output} was interrupted: {words.count(len(walked.files) - len(to_do), "file")} of '
                f'{len(walked.files):,} already have a row. Going on.'
                + (f' {words.count(changed, "file")} changed since then, and will be read again.' if changed else ''))
        signature = model.embedding_signature(modality) if embedding else signature_names.scores(task)
        progress(task, 0, len(to_do))
        try:
            for done, row in enumerate(_rows(model, signature, modality, folder, to_do), start=1):
                kept.add(row, stats[row.path])
                progress(task, done, len(to_do))
        except PredictionFailed as error:
            raise PredictionFailed(f'{error} The rows so far are kept; run it again to go on.') from None
        kept.flush()
        say(f'Writing {output}')
        rejected = {**walked.rejected_files, **walked.rejected_folders}
        width = len(layout.classes) or kept.width()
        return Outcome(output, *tables.write(output, layout, kept.rows(stats), width, rejected))


def check_output(folder: str, output: str):
    """Raises ConfigError unless `folder` can be read, and `output` is new and of a known format."""
    if is_url(folder) or not os.path.isdir(folder):
        raise ConfigError(f'{folder} is not a folder on this machine. -o takes one folder, and writes a row for each '
                          'file in it.')
    tables.check_path(output)


def _layout(model: Predictor, task: str, modality: modalities.Modality, embedding: bool) -> tables.Layout:
    if embedding:
        model.embedding_signature(modality)
        return tables.Layout()
    signature = signature_names.scores(task)
    card = next((card for card in model.card.get('tasks', ()) if card['name'] == task), {})
    if signature not in model.signature_inputs or not card.get('classes'):
        raise ConfigError(f'{model} has no signature {signature}, or no card that names the classes of task {task}. '
                          'Give a model that `polyvit run` exported.')
    groups = tuple(card.get('label_groups', ()))
    ids = label_groups.class_ids(f'Task {task}: ', groups, card['classes'])
    return tables.Layout(tuple(card['classes']), dict(zip(groups, ids, strict=True)))


def _digest(card: dict) -> str:
    return hashlib.sha256(json.dumps(card, sort_keys=True).encode()).hexdigest()


def _rows(model: Predictor, signature: str, modality: modalities.Modality, folder: str,
          paths: list[str]) -> Iterator[parts.Row]:
    """A row for each file, in order."""
    limits = modalities.Limits().for_modality(modality.name)
    spec = model.input_spec(modality)
    entries = [Entry(path, (), '') for path in paths]
    # Chunks of about as many bytes for each modality: 8 images, or one video.
    chunk_entries = max(1, modality.shard_entries // 128)
    batch, accepted, size = [], 0, 0
    for chunk in parallel.read_chunks(lambda: Decoder(folder, modality.name, spec, limits),
                                      lambda decoder, chunk: list(decoder.read(chunk)), entries, chunk_entries):
        for decoded in chunk:
            batch.append(decoded)
            if decoded.features:
                accepted += 1
                size += encoded_bytes(decoded.features[modality.feature])
            if accepted == BATCH_FILES or size >= BATCH_BYTES:
                yield from _answered(model, signature, modality.feature, batch)
                batch, accepted, size = [], 0, 0
    yield from _answered(model, signature, modality.feature, batch)


def _answered(model: Predictor, signature: str, feature: str, batch: list[Decoded]) -> Iterator[parts.Row]:
    media = [decoded.features[feature] for decoded in batch if decoded.features]
    answers = iter(_answers(model, signature, feature, media) if media else ())
    for decoded in batch:
        answer = decoded.rejection or next(answers)
        if isinstance(answer, Rejection):
            yield parts.Row(decoded.entry.path, None, str(answer))
        else:
            yield parts.Row(decoded.entry.path, answer, None)


def _answers(model: Predictor, signature: str, feature: str, media: list) -> list[np.ndarray | Rejection]:
    """The signature's only output for each of the media, or a Rejection for what the model does not take."""
    try:
        reply = model.run(signature, feature, media)
        output, = reply.values()
        return list(np.asarray(output, np.float32))
    except ServingError as error:
        if len(media) > 1:  # one of them spoils the batch, or all together take too long
            half = len(media) // 2
            return [answer for some in (media[:half], media[half:])
                    for answer in _answers(model, signature, feature, some)]
        if error.http_status == _BAD_REQUEST:
            return [Rejection('undecodable', 'TensorFlow, which decodes it in the model, cannot.')]
        if error.http_status == _TOO_LARGE:
            return [Rejection('too_large', 'It is too large for one request to the server. Use --model.')]
        raise PredictionFailed(f'{model} does not answer: {error}.') from None

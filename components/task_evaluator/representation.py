"""Measures a model's frozen representation on a task: linear probe and few-shot classification (model_code.probes).

The task need not be one that the model was trained on: its modality is enough. Embeddings come from the signature
<modality>_embedding, of raw examples as MediaExampleGen writes them. What is made is `probe` in evaluation.json
(evaluation_files). At most Probe.max_examples examples of each split are embedded and in memory, with width x 4 bytes
each; beyond that they are a sample (probes.sample).
"""

import math
import os
import sys
import time
import typing
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from components.task_evaluator import summary
from model_code import bootstrap, file_io, modalities, probes, signature_names
from model_code.data import Source
from model_code.errors import PipelineStop
from model_code.outcome_metrics import OutcomeMetric
from model_code.probe import Probe

_BATCH_SIZE = 64  # examples that the model gets at once, as in the evaluation
_LABELS_BATCH = 256  # examples whose labels are read at once


class Embedded(typing.NamedTuple):
    """Examples of a split, in the order of their ids. total: how many the split has."""
    ids: list[bytes]
    groups: list[str]
    labels: list[tuple[int, ...]]
    embeddings: np.ndarray
    total: int


def measure(model_dir: str, source: Source, classes: Sequence[str], split_dirs: dict[str, str], probe: Probe) -> dict:
    """What evaluation.json has as `probe`.

    model_dir: of the SavedModel. classes: the task's labels. split_dirs: 'train' and 'eval' -> the folder of its
    examples.

    Raises PipelineStop if the model has no representation of the modality.
    """
    begin = time.monotonic()
    embed = _Embedder(model_dir, source.modality)
    train, asked = (_embedded(split_dirs[split], source, classes, probe.max_examples, embed)
                    for split in ('train', 'eval'))
    metric = _metrics(source, classes)[source.data.kind.primary_metric]

    def value(labels: probes.Labels, scores: np.ndarray) -> float:
        return metric.value(_label_arrays(source, classes, labels), scores)

    measured = {'metric': metric.name, 'classes': len(classes), 'width': train.embeddings.shape[-1],
                'train_examples': len(train.ids), 'train_total': train.total,
                'eval_examples': len(asked.ids), 'eval_total': asked.total, 'linear': None, 'few_shot': []}
    if _enough(source, train) and asked.ids:
        if probe.linear:
            fitted = _linear(source, classes, train, asked)
            measured['linear'] = {**_with_interval(metric, _label_arrays(source, classes, asked.labels), fitted.scores,
                                                   asked), 'strength': fitted.strength}
        measured['few_shot'] = [_few_shot(count, probe.seeds, train, asked, len(classes), value)
                                for count in probe.shots]
    return measured | {'seconds': round(time.monotonic() - begin, 3)}


class ProbeScores(typing.NamedTuple):
    """What a linear probe says of the examples of the eval split. scores: [N, classes], in the order of ids.

    train_examples: how many it learned from.
    """
    ids: list[str]
    scores: np.ndarray
    train_examples: int


def probe_scores(model_dir: str, source: Source, classes: Sequence[str], split_dirs: dict[str, str],
                 max_examples: int) -> ProbeScores | None:
    """A linear probe of the frozen representation, asked about the whole eval split; None if there is too little to
    learn from. As `measure`, but max_examples limits only what it learns from.
    """
    embed = _Embedder(model_dir, source.modality)
    train = _embedded(split_dirs['train'], source, classes, max_examples, embed)
    if not _enough(source, train):
        return None
    asked = _embedded(split_dirs['eval'], source, classes, sys.maxsize, embed)
    scores = _linear(source, classes, train, asked).scores
    return ProbeScores([_text(one) for one in asked.ids], scores, len(train.ids))


def _enough(source: Source, train: Embedded) -> bool:
    """Whether there is anything to tell apart."""
    return len({of for of in train.labels if of}) > 1 or source.data.kind.several and len(train.ids) > 1


def _linear(source: Source, classes: Sequence[str], train: Embedded, asked: Embedded) -> probes.Linear:
    groups: probes.Groups = ()
    if not source.data.kind.several:
        groups = source.group_ids(classes) or (tuple(range(len(classes))),)
    loss = _metrics(source, classes)[summary.LOSS]
    return probes.linear(train.embeddings, train.labels, asked.embeddings, len(classes), groups,
                         lambda labels, scores: loss.value(_label_arrays(source, classes, labels), scores))


def _metrics(source: Source, classes: Sequence[str]) -> dict[str, OutcomeMetric]:
    return {metric.name: metric for metric in source.data.kind.functions.metrics_of_outcomes(
        source.data.label_groups, len(classes))}


def _with_interval(metric: OutcomeMetric, labels: np.ndarray, scores: np.ndarray, asked: Embedded) -> dict:
    """{'value', 'low', 'high'}, with the interval that the metrics of the model itself have."""
    prepared = metric.prepare(labels, scores)
    value, clusters = prepared.value(), bootstrap.clusters([_text(one) for one in asked.ids], asked.groups)
    limits = bootstrap.interval(value, bootstrap.resampled(prepared, clusters), clusters.count, metric.bounds)
    low, high = limits or (None, None)
    return {'value': value if math.isfinite(value) else None, 'low': low, 'high': high}


def _few_shot(count: int, seeds: int, train: Embedded, asked: Embedded, classes: int,
              value: Callable[[probes.Labels, np.ndarray], float]) -> dict:
    values, fewer, labelled = [], 0, sum(map(bool, train.labels))
    for seed in range(seeds):
        places = probes.shots(train.ids, train.labels, classes, count, seed)
        labels = [train.labels[place] for place in places]
        fewer = sum(sum(class_id in of for of in labels) < count for class_id in range(classes))
        values.append(value(asked.labels, probes.few_shot(
            train.embeddings[places], labels, asked.embeddings, classes)) if len(places) > 1 else math.nan)
        if len(places) == labelled:  # another draw would be the same, and no interval could be had of it
            break
    known = [one for one in values if math.isfinite(one)]
    mean = float(np.mean(known)) if known else None
    low = high = None
    if mean is not None and len(known) > 1:
        half = bootstrap.student_t(0.975, len(known) - 1) * float(np.std(known, ddof=1)) / math.sqrt(len(known))
        low, high = max(0.0, mean - half), min(1.0, mean + half)
    return {'shots': count, 'value': mean, 'low': low, 'high': high, 'values': known, 'classes_with_fewer': fewer}


class _Embedder:
    """A loaded model's representation of one modality."""

    def __init__(self, model_dir: str, modality: str):
        self._row = modalities.get_modality(modality)
        self._model = tf.saved_model.load(model_dir)  # its variables live as long as it does
        name = signature_names.embedding(modality)
        if name not in self._model.signatures:
            raise PipelineStop(f'The model in {model_dir} has no signature {name}, so it has no representation of '
                               f'modality {modality}. Its signatures: {", ".join(sorted(self._model.signatures))}.')
        self._function = self._model.signatures[name]
        (self._argument, _), = self._function.structured_input_signature[1].items()

    def __call__(self, records: list[bytes]) -> np.ndarray:
        """Serialized tf.Examples [n] -> [n, width] float32."""
        media = [tf.train.Example.FromString(record).features.feature[self._row.feature].bytes_list.value
                 for record in records]
        given = (tf.ragged.constant([list(frames) for frames in media], dtype=tf.string).to_tensor()
                 if self._row.repeated else tf.constant([one[0] for one in media]))
        output, = self._function(**{self._argument: given}).values()
        return output.numpy()


def _embedded(split_dir: str, source: Source, classes: Sequence[str], most: int, embed: _Embedder) -> Embedded:
    """Reads the split twice: its labels, and then the media of the examples that are wanted."""
    place = {label.encode(): number for number, label in enumerate(classes)}
    files = sorted(os.path.join(split_dir, name) for name in file_io.list_folder(split_dir))
    total = 0

    def examples():
        nonlocal total
        for _, example_id, _, labels in _labelled(files, place):
            total += 1
            yield example_id, labels

    wanted = probes.sample(examples(), len(classes), most)
    rows, waiting = [], []
    for record, *row in _labelled(files, place):
        if row[0] in wanted:
            waiting.append((record, row))
            if len(waiting) == _BATCH_SIZE:
                rows += _with_embeddings(waiting, embed)
                waiting = []
    rows += _with_embeddings(waiting, embed)
    rows.sort(key=lambda row: row[0])  # so that the order of the files does not matter
    ids, groups, labels, embeddings = map(list, zip(*rows, strict=True)) if rows else ([], [], [], [])
    return Embedded(ids, groups, labels, np.stack(embeddings) if rows else np.zeros((0, 0), np.float32), total)


def _with_embeddings(waiting: list, embed: _Embedder) -> list[tuple]:
    embeddings = embed([record for record, _ in waiting]) if waiting else ()
    return [(*row, embedding) for (_, row), embedding in zip(waiting, embeddings, strict=True)]


def _labelled(files: list[str], place: dict[bytes, int]) -> Iterator[tuple[bytes, bytes, str, tuple[int, ...]]]:
    """Yields (record, id, group, the ids of its labels that are known), without decoding media."""
    features = {name: tf.io.RaggedFeature(tf.string) for name in ('id', 'group', 'label')}
    records = tf.data.TFRecordDataset(files, 'GZIP').batch(_LABELS_BATCH) if files else ()
    for batch in records:
        parsed = {name: values.to_list() for name, values in tf.io.parse_example(batch, features).items()}
        for record, example_id, group, labels in zip(batch.numpy(), parsed['id'], parsed['group'], parsed['label'],
                                                     strict=True):
            yield record, example_id[0], _text(b''.join(group[:1])), tuple(
                place[label] for label in labels if label in place)


def _label_arrays(source: Source, classes: Sequence[str], labels: probes.Labels) -> np.ndarray:
    """The labels in the form that the metrics of the task's kind take."""
    functions = source.data.kind.functions
    places = np.full((len(labels), max([1, *map(len, labels)])), -1, np.int64)
    for row, ids in enumerate(labels):
        places[row, :len(ids)] = ids
    label = functions.transform(tf.constant(places), len(classes))
    return functions.eval_label(label, source.group_ids(classes)).numpy()


def _text(encoded: bytes) -> str:
    return encoded.decode('utf-8', 'surrogateescape')

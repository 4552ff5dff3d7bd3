"""Stores what the models say about each example: a branch of the pipeline of TFMA, which predicts once.

Workers write parts, each whole or not at all, and the pipeline's last step lists them. A part that is not listed, of a
worker that was killed or whose work was repeated, is never read.
"""

import json
import os
import uuid

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma
from apache_beam.transforms import window
from apache_beam.utils.windowed_value import WindowedValue
from tensorflow_model_analysis.utils import util

from components.task_evaluator.evaluation_files import PARTS
from model_code import file_io, modalities, outcomes
from model_code.data import Source
from model_code.label_groups import class_ids
from model_code.outcomes import Outcomes, texts

_LIST = 'parts.json'


def extractor(source: Source, classes: dict[str, tuple[str, ...]], directory: str):
    """A TFMA extractor for batches, to come after the predictions: writes parts, and passes on what TFMA measures.

    That is labels, scores and the values to slice by, without the media. Both models are measured by the labels and in
    the order of the candidate: TFMA knows label groups by their number only, which in another model is another group.

    classes: model name -> its classes, in the order of its scores; 'candidate', and 'baseline' if there is one that can
    be compared class by class. Another baseline is measured by its own labels.
    """
    return tfma.extractors.Extractor('WriteOutcomes', _Branch(source, classes, os.path.join(directory, PARTS)))


def collect(source: Source, classes: dict[str, tuple[str, ...]], directory: str) -> Outcomes:
    """All outcomes, once the pipeline has ended."""
    folder = os.path.join(directory, PARTS)
    names = file_io.read_json(os.path.join(folder, _LIST))
    if names:
        return outcomes.read_parts([os.path.join(folder, name) for name in names])
    return outcomes.no_outcomes(len(classes['candidate']), source.data.kind.multi_hot, 'baseline' in classes,
                                features(source))


def features(source: Source) -> dict[str, type]:
    """What is kept of an example: its sizes (pixels, seconds), and the values of the task's extra columns."""
    sizes = modalities.get_modality(source.modality).sizes
    return dict.fromkeys(sizes, float) | dict.fromkeys(source.data.columns.extra, str)


class _Branch(beam.PTransform):
    """Extracts -> the same extracts. See `extractor`."""

    def __init__(self, source: Source, classes: dict[str, tuple[str, ...]], folder: str):
        super().__init__()
        self._source, self._classes = source, classes
        self._writer, self._path = _Write(features(source), classes, folder), os.path.join(folder, _LIST)

    def expand(self, extracts):
        compared = extracts | 'Compared' >> beam.Map(_compared, self._source, self._classes)
        (compared | 'Parts' >> beam.ParDo(self._writer) | 'All' >> beam.combiners.ToList()
         | 'List' >> beam.Map(_write_list, self._path))
        return compared


def _compared(extracts: dict, source: Source, classes: dict[str, tuple[str, ...]]) -> dict:
    """The extracts without media, with the baseline's scores and labels as the candidate has them."""
    there = extracts[tfma.FEATURES_KEY]
    kept = {name: extracts[name] for name in (tfma.LABELS_KEY, tfma.PREDICTIONS_KEY, tfma.EXAMPLE_WEIGHTS_KEY)
            if name in extracts}
    kept[tfma.FEATURES_KEY] = {name: there[name] for name in ('id', 'group', *features(source)) if name in there}
    if 'baseline' in classes:
        labels, scores = kept[tfma.LABELS_KEY], kept[tfma.PREDICTIONS_KEY]
        kept[tfma.LABELS_KEY] = labels | {'baseline': labels['candidate']}
        kept[tfma.PREDICTIONS_KEY] = scores | {'baseline': outcomes.in_order(
            np.asarray(scores['baseline']), classes['baseline'], classes['candidate'],
            _one_of_each(source, classes['candidate']))}
    return kept


def _one_of_each(source: Source, classes: tuple[str, ...]) -> tuple[tuple[int, ...], ...]:
    """The places of the classes of which an example has just one: all, those of each label group, or () for 'multi'."""
    if source.data.kind.grouped:
        return class_ids('', source.data.label_groups, classes)
    return () if source.data.kind.several else (tuple(range(len(classes))),)


def _write_list(names: list[str], path: str):
    file_io.write(path, json.dumps(sorted(names)))


class _Write(beam.DoFn):
    """Batches of extracts -> the names of the parts in which they are. Holds outcomes.PART_BYTES."""

    def __init__(self, kept: dict[str, type], classes: dict[str, tuple[str, ...]], folder: str):
        self._kept, self._classes, self._folder = kept, classes, folder
        self._batches: list[Outcomes] = []

    def start_bundle(self):
        self._batches = []

    def process(self, extracts):
        self._batches.append(self._outcomes(extracts))
        if sum(batch.scores.nbytes for batch in self._batches) >= outcomes.PART_BYTES:
            yield self._write()

    def finish_bundle(self):
        if self._batches:
            yield WindowedValue(self._write(), window.GlobalWindow().max_timestamp(), [window.GlobalWindow()])

    def _write(self) -> str:
        name = f'{uuid.uuid4().hex}.npz'
        outcomes.write(os.path.join(self._folder, name), outcomes.concatenated(self._batches))
        self._batches = []
        return name

    def _outcomes(self, extracts) -> Outcomes:
        # Arrays or ragged tensors of many kinds, depending on what is missing in the batch: TFMA knows them all.
        rows = [{name: np.ravel(value) for name, value in row.items()}
                for row in util.split_extracts(extracts[tfma.FEATURES_KEY])]
        columns = {name: texts([_text(row.get(name)) for row in rows]) if kind is str
                   else np.array([_number(row.get(name)) for row in rows]) for name, kind in self._kept.items()}
        scores = self._of(extracts[tfma.PREDICTIONS_KEY], 'candidate')
        baseline = self._of(extracts[tfma.PREDICTIONS_KEY], 'baseline') if 'baseline' in self._classes else None
        labels = self._of(extracts[tfma.LABELS_KEY], 'candidate')
        labels = labels.astype(np.int64).ravel() if np.issubdtype(labels.dtype, np.integer) else labels
        return Outcomes(texts([_text(row['id']) for row in rows]), texts([_text(row.get('group')) for row in rows]),
                        labels, scores.astype(np.float32), baseline, columns)

    def _of(self, values, model: str) -> np.ndarray:
        """TFMA takes away the name of a model that is the only one."""
        return np.asarray(values[model] if isinstance(values, dict) else values)


def _text(value) -> str:
    return value[0].decode('utf-8', 'surrogateescape') if value is not None and len(value) else ''


def _number(value) -> float:
    return float(value[0]) if value is not None and len(value) else np.nan

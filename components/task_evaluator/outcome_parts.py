"""Stores what the models say about each example, and measures it: the end of the pipeline of TFMA, which predicts once.

Workers write parts, each whole or not at all, and the pipeline's last step lists them. A part that is not listed, of a
worker that was killed or whose work was repeated, is never read.
"""

import json
import os
import typing
import uuid

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma
from apache_beam.transforms import window
from apache_beam.utils.windowed_value import WindowedValue
from tensorflow_model_analysis.utils import util

from components.task_evaluator import metrics
from components.task_evaluator.evaluation_files import PARTS
from model_code import file_io, modalities, outcomes
from model_code.data import Source
from model_code.label_groups import class_ids
from model_code.outcomes import Outcomes, texts

_LIST = 'parts.json'


class Part(typing.NamedTuple):
    """A part of the outcomes. name: of its file. accumulators: what TFMA's metrics add up of it."""
    name: str
    accumulators: metrics.Accumulators


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


def _one_of_each(source: Source, classes: tuple[str, ...]) -> tuple[tuple[int, ...], ...]:
    """The places of the classes of which an example has just one: all, those of each label group, or () for 'multi'."""
    if source.data.kind.grouped:
        return class_ids('', source.data.label_groups, classes)
    return () if source.data.kind.several else (tuple(range(len(classes))),)


def write_list(names: list[str], directory: str):
    """Says which parts there are."""
    file_io.write(os.path.join(directory, PARTS, _LIST), json.dumps(sorted(names)))


class Write(beam.DoFn):
    """Batches of TFMA's extracts -> Part. Holds outcomes.PART_BYTES of scores.

    Both models are measured by the labels and in the order of the candidate: TFMA knows label groups by their number
    only, which in another model is another group.

    classes: model name -> its classes, in the order of its scores; 'candidate', and 'baseline' if there is one that can
    be compared class by class. Another baseline is measured by its own labels, and has no outcomes.
    combiners: of metrics.combiners. directory: of the evaluation.
    """

    def __init__(self, source: Source, classes: dict[str, tuple[str, ...]], combiners: list[beam.CombineFn],
                 has_baseline: bool, directory: str):
        self._source, self._classes, self._has_baseline = source, classes, has_baseline
        self._combiners, self._folder = combiners, os.path.join(directory, PARTS)
        self._kept = features(source)
        self._batches: list[Outcomes] = []
        self._other: list[tuple[np.ndarray, np.ndarray]] = []

    def start_bundle(self):
        self._batches, self._other = [], []

    def process(self, extracts):
        self._batches.append(self._outcomes(extracts))
        if self._has_baseline and 'baseline' not in self._classes:
            self._other.append((_ids(extracts[tfma.LABELS_KEY]['baseline']),
                                np.asarray(extracts[tfma.PREDICTIONS_KEY]['baseline'])))
        if sum(batch.scores.nbytes for batch in self._batches) >= outcomes.PART_BYTES:
            yield self._write()

    def finish_bundle(self):
        if self._batches:
            yield WindowedValue(self._write(), window.GlobalWindow().max_timestamp(), [window.GlobalWindow()])

    def _write(self) -> Part:
        name, found = f'{uuid.uuid4().hex}.npz', outcomes.concatenated(self._batches)
        outcomes.write(os.path.join(self._folder, name), found)
        accumulators = metrics.of_part(self._combiners, self._said(found), {
            column: found.features[column] for column in self._source.data.columns.extra})
        self._batches, self._other = [], []
        return Part(name, accumulators)

    def _said(self, found: Outcomes) -> metrics.Said:
        """TFMA takes away the name of a model that is the only one."""
        if not self._has_baseline:
            return {'': (found.labels, found.scores)}
        labels, scores = found.labels, found.baseline_scores
        if scores is None:
            labels, scores = (np.concatenate(each) for each in zip(*self._other, strict=True))
        return {'candidate': (found.labels, found.scores), 'baseline': (labels, scores)}

    def _outcomes(self, extracts) -> Outcomes:
        # Arrays or ragged tensors of many kinds, depending on what is missing in the batch: TFMA knows them all.
        there = extracts[tfma.FEATURES_KEY]
        rows = [{name: np.ravel(value) for name, value in row.items()} for row in util.split_extracts(
            {name: there[name] for name in ('id', 'group', *self._kept) if name in there})]
        columns = {name: texts([_text(row.get(name)) for row in rows]) if kind is str
                   else np.array([_number(row.get(name)) for row in rows]) for name, kind in self._kept.items()}
        said, labels = extracts[tfma.PREDICTIONS_KEY], extracts[tfma.LABELS_KEY]
        baseline = None
        if 'baseline' in self._classes:
            baseline = outcomes.in_order(np.asarray(said['baseline']), self._classes['baseline'],
                                         self._classes['candidate'],
                                         _one_of_each(self._source, self._classes['candidate']))
        scores, labels = (said['candidate'], labels['candidate']) if self._has_baseline else (said, labels)
        return Outcomes(texts([_text(row['id']) for row in rows]), texts([_text(row.get('group')) for row in rows]),
                        _ids(labels), np.asarray(scores).astype(np.float32), baseline, columns)


def _ids(labels) -> np.ndarray:
    """[N] int64, or as it is where the labels are no ids."""
    labels = np.asarray(labels)
    return labels.astype(np.int64).ravel() if np.issubdtype(labels.dtype, np.integer) else labels


def _text(value) -> str:
    return value[0].decode('utf-8', 'surrogateescape') if value is not None and len(value) else ''


def _number(value) -> float:
    return float(value[0]) if value is not None and len(value) else np.nan

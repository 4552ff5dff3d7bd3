"""Suspect labels (model_code.suspect_labels) of the eval split: a branch of the pipeline of TFMA, which predicts once.

The branch takes only ids, labels and scores. The few examples that are listed are read afterwards, for their media. Two
files of the evaluation's artifact:

suspects.json: {'examples': how many were looked at, 'count': how many have a suspect label, 'untrusted': [classes on
  which the model is not heard], 'first': [{'id', 'label', 'other', 'label_probability', 'other_probability'}]}, at most
  NAMED, the most suspect first. label is what is given, other what the model says: 'cat', or 'not cat' for label kind
  'multi'.
suspects.tfrecord.gz: the examples of `first`, in no order.
"""

import functools
import json
import os

import apache_beam as beam
import numpy as np
import tensorflow as tf
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.metrics import metric_types, metric_util

from components.suspect_files import SUSPECT_EXAMPLES, SUSPECTS
from model_code import file_io, suspect_labels
from model_code.data import Source
from model_code.label_kinds import get_label_kind
from model_code.suspect_labels import Questions, Shares

NAMED = 20


def extractor(source: Source, classes: tuple[str, ...], config, model_name: str, directory: str):
    """A TFMA extractor, to be the last one: passes on what it gets, and writes suspects.json into the directory.

    classes: those of the model, in the order of its scores. config: the EvalConfig. model_name: the candidate's in the
    extracts, '' if there is no other model.
    """
    return tfma.extractors.Extractor('FindSuspectLabels', _Branch(source, classes, config, model_name, directory))


class _Branch(beam.PTransform):
    """Extracts -> the same extracts. See `extractor`."""

    def __init__(self, source: Source, classes: tuple[str, ...], config, model_name: str, directory: str):
        super().__init__()
        self._options = 2 * len(classes)
        self._row = functools.partial(_row, config=config, model_name=model_name)
        self._ask = functools.partial(_ask, kind=source.data.label_kind)
        self._write = functools.partial(_write, classes=classes, path=os.path.join(directory, SUSPECTS))

    def expand(self, extracts):
        rows = extracts | 'Rows' >> beam.Map(self._row)
        least = beam.pvalue.AsSingleton(
            rows | 'SelfConfidence' >> beam.Map(_self_confidence, self._ask)
            | 'Thresholds' >> beam.CombineGlobally(_Sum(self._options)))
        trust = beam.pvalue.AsSingleton(
            rows | 'Agreement' >> beam.Map(_agreement, self._ask, least)
            | 'Trust' >> beam.CombineGlobally(_Sum(self._options)))
        suspects = rows | 'Suspects' >> beam.FlatMap(_suspects, self._ask, least, trust)
        found = [suspects | 'First' >> beam.combiners.Top.Smallest(NAMED),
                 suspects | 'Count' >> beam.combiners.Count.Globally(),
                 rows | 'Examples' >> beam.combiners.Count.Globally()]
        (extracts.pipeline | 'Once' >> beam.Create([None])
         | 'Write' >> beam.Map(self._write, *map(beam.pvalue.AsSingleton, found), trust))
        return extracts


def _row(extracts, config, model_name: str) -> tuple[str, np.ndarray, np.ndarray]:
    """(id, label, scores) of an example. Kept by the runner for three steps: 8 bytes per class."""
    label, scores, _ = next(metric_util.to_label_prediction_example_weight(
        metric_types.StandardMetricInputs(extracts), eval_config=config, model_name=model_name, flatten=False))
    example_id = np.ravel(extracts[tfma.FEATURES_KEY]['id'])[0].decode('utf-8', 'surrogateescape')
    return example_id, np.ravel(label), np.ravel(scores).astype(np.float32)


def _ask(row, kind: str) -> list[Questions]:
    return get_label_kind(kind).functions.questions(*row[1:])


def _self_confidence(row, ask) -> list[tuple[np.ndarray, np.ndarray]]:
    return [questions.given_options() for questions in ask(row)]


def _agreement(row, ask, self_confidence: Shares) -> list[tuple[np.ndarray, np.ndarray]]:
    least = suspect_labels.thresholds(self_confidence)
    return [suspect_labels.agreement(questions, least) for questions in ask(row)]


def _suspects(row, ask, self_confidence: Shares, agreement: Shares):
    """Yields (Suspect as a tuple, id) of the most suspect label of an example, if it has any."""
    least, trust = suspect_labels.thresholds(self_confidence), suspect_labels.trusted(agreement)
    found = [suspect for questions in ask(row) if (suspect := suspect_labels.suspect(questions, least, trust))]
    if found:
        yield tuple(min(found)), row[0]


class _Sum(beam.CombineFn):
    """Adds up lists of (options, values) to Shares."""

    def __init__(self, options: int):
        self._options = options

    def create_accumulator(self):
        return Shares.of(self._options)

    def add_input(self, accumulator, element):
        for options, values in element:
            accumulator.add(options, values)
        return accumulator

    def merge_accumulators(self, accumulators):
        return functools.reduce(Shares.merge, accumulators, Shares.of(self._options))

    def extract_output(self, accumulator):
        return accumulator


def _write(_, first: list, count: int, examples: int, agreement: Shares, classes: tuple[str, ...], path: str):
    names = [*classes, *(f'not {name}' for name in classes)]
    trust = suspect_labels.trusted(agreement)
    listed = [{'id': example_id, 'label': names[suspect.label], 'other': names[suspect.other],
               'label_probability': suspect.label_probability, 'other_probability': suspect.other_probability}
              for suspect, example_id in ((suspect_labels.Suspect(*row), example_id) for row, example_id in first)]
    file_io.write(path, json.dumps({
        'examples': examples, 'count': count, 'first': listed,
        'untrusted': [name for name, trusted in zip(names, trust, strict=True) if not trusted]}, indent=1))


def write_examples(split_dir: str, directory: str):
    """Copies the examples that the suspects.json in `directory` lists from the files of a split."""
    listed = file_io.read_json(os.path.join(directory, SUSPECTS))
    ids = {row['id'].encode('utf-8', 'surrogateescape') for row in listed['first']} if listed else set()
    if not ids:
        return
    with file_io.replacing(os.path.join(directory, SUSPECT_EXAMPLES)) as temporary:
        with tf.io.TFRecordWriter(temporary, 'GZIP') as writer:
            files = sorted(os.path.join(split_dir, name) for name in file_io.list_folder(split_dir))
            for record in tf.data.TFRecordDataset(files, 'GZIP').as_numpy_iterator():
                if not ids:
                    break
                example_id = tf.train.Example.FromString(record).features.feature['id'].bytes_list.value[:1]
                if example_id and example_id[0] in ids:
                    ids.remove(example_id[0])
                    writer.write(record)

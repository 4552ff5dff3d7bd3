"""The files of an evaluation, beside those of TFMA, and what is in evaluation.json, with null for what is no number.

evaluation.json: {'version', 'task', 'label_kind', 'primary_metric', 'examples', 'groups': how many clusters they are,
  'clustered': whether a cluster has several examples, 'resamples', 'seconds': what it took to compute the file,
  'slices': [{'feature', 'value', 'examples', 'groups', 'too_small', 'metrics': {name: {'value', 'low', 'high',
    'baseline', 'baseline_low', 'baseline_high', 'change', 'change_low', 'change_high'}}}]: the first is all examples,
    with '' for feature and value; baseline and change (candidate - baseline) are null without a baseline, limits where
    there is no interval,
  and what model_code/evaluation_details.py says: 'classes', 'confusion', 'reliability', 'curves', 'mistakes', 'hits'}.
resamples.npz: '<slice number>/<metric>/candidate' and '.../baseline' -> [resamples] float64, of the primary metric.
  Both are of the same resamples.
outcomes.npz: what the models said about each example (model_code/outcomes.py).
shown.tfrecord.gz: the examples of mistakes and hits, with their media, in no order.

evaluation.json is written last.
"""

import os

import numpy as np

from components.evaluation_names import EVALUATION, OUTCOMES, RESAMPLES, SHOWN, SUSPECT_EXAMPLES, SUSPECTS
from model_code import file_io, outcomes

VERSION = 1
PARTS = 'outcome_parts'  # a folder that is there only while TFMA runs


def read_evaluation(directory: str) -> dict | None:
    """The content of evaluation.json; None if there is none."""
    return file_io.read_json(os.path.join(directory, EVALUATION))


def read_resamples(directory: str, slice_number: int, metric: str) -> tuple[np.ndarray, np.ndarray | None]:
    """A metric of candidate and baseline in each resample, [resamples]; None without a baseline.

    Raises KeyError for a slice or a metric that is not there.
    """
    with outcomes.open_npz(os.path.join(directory, RESAMPLES)) as arrays:
        candidate, baseline = (f'{slice_number}/{metric}/{model}' for model in ('candidate', 'baseline'))
        return arrays[candidate], arrays[baseline] if baseline in arrays.files else None


def read_outcomes(directory: str) -> outcomes.Outcomes:
    """The outcomes of the examples, in the order of their ids."""
    return outcomes.read(os.path.join(directory, OUTCOMES))


def remove_all(directory: str):
    """Removes what an evaluation that was killed has left, so that nothing of it is taken for that of another."""
    for name in (EVALUATION, RESAMPLES, OUTCOMES, SHOWN, SUSPECTS, SUSPECT_EXAMPLES):
        file_io.remove(os.path.join(directory, name))
    file_io.remove_folder(os.path.join(directory, PARTS))

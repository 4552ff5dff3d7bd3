"""The files of an evaluation, beside those of TFMA, and what is in evaluation.json, with null for what is no number.

evaluation.json: {'version', 'task', 'label_kind', 'primary_metric', 'examples', 'groups': how many clusters they are,
  'clustered': whether a cluster has several examples, 'resamples', 'seconds': what it took to compute the file,
  'slices': [{'feature', 'value', 'examples', 'groups', 'too_small', 'metrics': {name: {'value', 'low', 'high',
    'baseline', 'baseline_low', 'baseline_high', 'change', 'change_low', 'change_high'}}}]: the first is all examples,
    with '' for feature and value; baseline and change (candidate - baseline) are null without a baseline, limits where
    there is no interval,
  what model_code/evaluation_details.py says: 'classes', 'confusion', 'reliability', 'curves', 'mistakes', 'hits',
  and, if the config asks for it, what representation.py measures of the frozen representation:
  'probe': {'metric': the primary metric, 'classes', 'width', 'train_examples': that were learned from, 'train_total':
    that the split has, 'eval_examples', 'eval_total', 'seconds', 'linear': {'value', 'low', 'high', 'strength': the
    inverse strength of the penalty} or null, 'few_shot': [{'shots', 'value': the mean over the draws, 'low', 'high':
    its 95% interval by Student's t, 'values', 'classes_with_fewer': how many classes have fewer examples}]}}.
resamples.npz: '<slice number>/<metric>/candidate' and '.../baseline' -> [resamples] float64, of the primary metric.
  Both are of the same resamples.
outcomes.npz: what the models said about each example (model_code/outcomes.py).
shown.tfrecord.gz: the examples of mistakes and hits, with their media, in no order.

evaluation.json is written last. The names are in components/evaluation_names.py.
"""

import os

from components.evaluation_names import OUTCOMES
from model_code import outcomes

VERSION = 1
PARTS = 'outcome_parts'  # a folder that is there only while TFMA runs


def read_outcomes(directory: str) -> outcomes.Outcomes:
    """The outcomes of the examples, in the order of their ids."""
    return outcomes.read(os.path.join(directory, OUTCOMES))

"""Reads the results of TaskEvaluator and of the serving check."""

import dataclasses
import math
import os

import numpy as np
import tensorflow as tf
import tensorflow_model_analysis as tfma
from google.protobuf import json_format

from components import evaluation_reading
from components.blessing_gate.judgement import Evaluation, Slice
from model_code import file_io
from model_code.errors import damaged
from model_code.tasks import Task


def read_evaluation(task: Task, evaluation_dir: str) -> Evaluation:
    """What TaskEvaluator measured of a task: TFMA's metrics, and its own evaluation.json and resamples.npz.

    Raises FileNotFoundError if the evaluation has not ended, PipelineStop if a file of it is damaged.
    """
    found = evaluation_reading.read_evaluation(evaluation_dir)
    try:
        metrics, baseline_metrics = read_metrics(evaluation_dir)
        if not metrics and found['slices'][0]['examples']:  # TFMA takes a file without a record for no metrics
            raise ValueError('it has no metrics')
    except (tf.errors.DataLossError, json_format.ParseError, ValueError) as error:
        raise damaged(evaluation_dir, error, evaluation_dir) from error
    resamples = evaluation_reading.read_resamples(evaluation_dir)
    slices = [_slice(number, part, task.primary_metric, resamples) for number, part in enumerate(found['slices'])]
    whole, before = slices[0], (baseline_metrics or {}).get(task.primary_metric, math.nan)
    if whole.baseline is None and whole.value is not None and math.isfinite(before):
        # The card of a version that others pushed names no classes: TFMA measured it, and there are no resamples of it.
        slices[0] = dataclasses.replace(whole, baseline=before, change=whole.value - before)
    unseen = [row['label'] for row in found['classes'] if not row['examples']]
    return Evaluation(task, metrics, baseline_metrics, found['clustered'], slices, unseen)


def _slice(number: int, part: dict, metric: str, resamples: dict[str, np.ndarray]) -> Slice:
    numbers = {'value': None, 'low': None, 'high': None, 'baseline': None, 'change': None, 'change_low': None,
               'change_high': None} | part['metrics'].get(metric, {})
    return Slice(part['feature'], part['value'], part['examples'], part['groups'], part['too_small'],
                 **{name: numbers[name] for name in ('value', 'low', 'high', 'baseline', 'change', 'change_low',
                                                     'change_high')},
                 resamples=resamples.get(f'{number}/{metric}/candidate'),
                 baseline_resamples=resamples.get(f'{number}/{metric}/baseline'))


def read_metrics(evaluation_dir: str) -> tuple[dict[str, float], dict[str, float] | None]:
    """The metrics (name -> value) of the candidate and of the baseline over all examples; None without a baseline.

    An evaluation without examples has no metrics: {}.
    """
    config = tfma.load_eval_result(evaluation_dir).config
    if len(config.model_specs) < 2:
        return _overall(evaluation_dir, None), None
    return _overall(evaluation_dir, 'candidate'), _overall(evaluation_dir, 'baseline')


def _overall(evaluation_dir: str, model_name: str | None) -> dict[str, float]:
    for slice_key, outputs in tfma.load_eval_result(evaluation_dir, model_name=model_name).slicing_metrics:
        if slice_key == ():
            # The model has one output, and the metrics no sub key (no class, no top k), so both keys are ''.
            return {name: float(value.get('doubleValue', math.nan)) for name, value in outputs[''][''].items()
                    if not name.endswith('_diff')}
    return {}


def read_reasons(infra_blessing_dir: str) -> list[str]:
    """The sentences in the serving check's reasons.json; [] if there is no such file."""
    verdict = file_io.read_result(os.path.join(infra_blessing_dir, 'reasons.json'))
    return verdict['reasons'] if verdict else []

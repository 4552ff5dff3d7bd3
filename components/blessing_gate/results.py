"""Reads the results of TFMA and of the serving check."""

import math
import os

import tensorflow_model_analysis as tfma

from model_code import file_io


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
    verdict = file_io.read_json(os.path.join(infra_blessing_dir, 'reasons.json'))
    return verdict['reasons'] if verdict else []

"""Reads what TFMA and the serving check wrote."""

import math
import os

import tensorflow_model_analysis as tfma

from model_code import file_io


def read_metrics(evaluation_dir: str) -> tuple[dict[str, float], dict[str, float] | None]:
    """The candidate's and the baseline's metrics, name -> value, over all examples; None where there is no baseline.

    An evaluation of no example has no metric: {}.
    """
    config = tfma.load_eval_result(evaluation_dir).config
    if len(config.model_specs) < 2:
        return _overall(evaluation_dir, None), None
    return _overall(evaluation_dir, 'candidate'), _overall(evaluation_dir, 'baseline')


def _overall(evaluation_dir: str, model_name: str | None) -> dict[str, float]:
    for slice_key, outputs in tfma.load_eval_result(evaluation_dir, model_name=model_name).slicing_metrics:
        if slice_key == ():
            # One output and no sub key (no class, no top k): both keys are ''.
            return {name: float(value.get('doubleValue', math.nan)) for name, value in outputs[''][''].items()
                    if not name.endswith('_diff')}
    return {}


def read_validation(evaluation_dir: str) -> bool:
    """Whether the metrics held all thresholds."""
    return tfma.load_validation_result(evaluation_dir).validation_ok


def read_reasons(infra_blessing_dir: str) -> list[str]:
    """The sentences in the serving check's reasons.json; [] where there is no such file."""
    written = file_io.read_json(os.path.join(infra_blessing_dir, 'reasons.json'))
    return written['reasons'] if written else []

"""Reads an evaluation without TaskEvaluator's code, on which the cache keys of those who read it would depend.

task_evaluator/evaluation_files.py says what is in the files.
"""

import os

import numpy as np

from components.evaluation_names import EVALUATION, RESAMPLES
from model_code import file_io, npz


def read_evaluation(directory: str) -> dict:
    """The content of evaluation.json. Raises FileNotFoundError without it: the file is written last.

    This and `read_resamples` raise PipelineStop if the file is damaged.
    """
    found = file_io.read_result(os.path.join(directory, EVALUATION))
    if found is None:
        raise FileNotFoundError(f'{directory} has no {EVALUATION}, so its evaluation has not ended.')
    return found


def read_resamples(directory: str) -> dict[str, np.ndarray]:
    """The arrays of resamples.npz."""
    return npz.read(os.path.join(directory, RESAMPLES))

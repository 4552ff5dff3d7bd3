"""A file in an evaluation: why there is no comparison although a model is being served. TaskEvaluator writes it."""

import json
import os

from model_code import file_io

_FILE = 'baseline.json'


def write_problem(evaluation_dir: str, problem: str):
    """Writes why the model being served could not be measured, a clause; nothing for ''."""
    if problem:
        file_io.write(os.path.join(evaluation_dir, _FILE), json.dumps({'problem': problem}))


def read_problem(evaluation_dir: str) -> str:
    """The inverse of `write_problem`."""
    return (file_io.read_result(os.path.join(evaluation_dir, _FILE)) or {'problem': ''})['problem']

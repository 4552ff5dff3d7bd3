"""Evaluates undisturbed, then again into one output: killed at each of POINTS, and in the end to the end.

`python -m tests.components.killed_evaluation FOLDER` prints a line of JSON for each attempt: {"point", "signal",
"left": [files that it left], "read": whether that is read as an evaluation}; then one with "differences": what the last
attempt did not make as the undisturbed one. Attempts run in forked children, because importing TFX takes longer.
"""

import contextlib
import json
import os
import pathlib
import signal
import sys

os.environ.setdefault('TF_USE_LEGACY_KERAS', '1')
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')

import numpy as np
from tfx.types import standard_artifacts

from components import evaluation_names, evaluation_reading
from components.blessing_gate import results
from components.task_evaluator import executor
from model_code import file_io, npz
from model_code.serialization import to_json
from tests import testing
from tests.artifacts import classes as classes_artifact
from tests.components import scoring_model as sm

# (a file, whether it is whole when the process is killed): the parts of outcomes, and what is computed from them.
POINTS = (('.npz', False), ('parts.json', True), (evaluation_names.OUTCOMES, True), (evaluation_names.SUSPECTS, True),
          (evaluation_names.RESAMPLES, False), (evaluation_names.EVALUATION, False))


def write_inputs(folder: pathlib.Path):
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 6, 120)
    given = np.eye(6)[ids] + rng.random((120, 6))
    sm.write_examples(folder / 'examples', [[sm.CLASSES[i]] for i in ids], given)
    sm.export(folder / 'candidate', {'digits': np.eye(6)}, (sm.SINGLE,))
    sm.export(folder / 'baseline', {'digits': np.eye(6)[::-1]}, (testing.changed(sm.SINGLE, classes=sm.CLASSES[::-1]),))
    classes_artifact(folder / 'classes', sm.CLASSES)


def kill_at(name: str, whole: bool):
    """Makes this process kill itself when it writes a file whose path ends so, just before or after it appears."""
    replacing = file_io.replacing

    @contextlib.contextmanager
    def deadly(path, *arguments):
        with replacing(path, *arguments) as temporary:
            yield temporary
            if path.endswith(name) and not whole:
                os.kill(os.getpid(), signal.SIGKILL)
        if path.endswith(name):
            os.kill(os.getpid(), signal.SIGKILL)

    file_io.replacing = deadly


def evaluate(folder: pathlib.Path, output: str):
    made = {}
    for name, kind in (('examples', standard_artifacts.Examples), ('candidate', standard_artifacts.Model),
                       ('baseline', standard_artifacts.Model), (output, standard_artifacts.ModelEvaluation)):
        made[name] = kind()
        made[name].uri = str(folder / name)
    made['examples'].split_names = '["eval"]'
    executor.Executor().Do(
        {'examples': [made['examples']], 'model': [made['candidate']], 'baseline_model': [made['baseline']],
         'classes': [classes_artifact(folder / 'classes', sm.CLASSES)]},
        {'evaluation': [made[output]]}, {'source': to_json(sm.SINGLE.source), 'code_version': ''})


def in_a_child(function, *arguments) -> int:
    """The signal that ended it, 0 for none. Ends this program if the function fails."""
    child = os.fork()
    if not child:
        code = 1
        try:
            function(*arguments)
            code = 0
        except BaseException:
            import traceback
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise SystemExit(f'{function.__name__} failed.')
    return os.WTERMSIG(status)


def attempt(folder: pathlib.Path, name: str, whole: bool):
    kill_at(name, whole)
    evaluate(folder, 'again')


def is_read(directory: str) -> bool:
    try:
        evaluation_reading.read_evaluation(directory)
    except FileNotFoundError:
        return False
    return True


def content(directory: str) -> dict:
    """What was evaluated, without times and paths, as text, in which NaN equals NaN."""
    evaluation = evaluation_reading.read_evaluation(directory)
    arrays = {f'{name}/{key}': array.tolist() for name in (evaluation_names.OUTCOMES, evaluation_names.RESAMPLES)
              for key, array in npz.read(os.path.join(directory, name)).items()}
    values = arrays | {'files': file_io.list_files(directory), 'metrics': results.read_metrics(directory),
                       'suspects': file_io.read_json(os.path.join(directory, evaluation_names.SUSPECTS)),
                       **{key: value for key, value in evaluation.items() if key != 'seconds'}}
    return {name: repr(value) for name, value in values.items()}


def main(folder: pathlib.Path):
    assert in_a_child(write_inputs, folder) == 0
    assert in_a_child(evaluate, folder, 'whole') == 0
    again = str(folder / 'again')
    for name, whole in POINTS:
        ended_by = in_a_child(attempt, folder, name, whole)
        print(json.dumps({'point': name, 'signal': ended_by, 'left': file_io.list_files(again),
                          'read': is_read(again)}), flush=True)
    assert in_a_child(evaluate, folder, 'again') == 0
    expected, found = content(str(folder / 'whole')), content(again)
    print(json.dumps({'compared': len(expected), 'differences': sorted(
        name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))}))


if __name__ == '__main__':
    main(pathlib.Path(sys.argv[1]))

"""Runs in MLflow, where MLFLOW_TRACKING_URI asks for it: parameters, metrics, the decision and the report of each.

It happens after the end of a run, in a process of its own that gets SECONDS: whatever a server does or does not do, the
run is what it is. Without the variable nothing is imported and no process is started.
"""

import dataclasses
import itertools
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Iterator

from components.evaluation_names import EVALUATION, probe_metrics
from model_code import file_io, isolated
from model_code.logger import logger
from model_code.printable import printable
from pipeline import differences, layout, run_record

URI = 'MLFLOW_TRACKING_URI'
SECONDS = 20.0  # in all; the import of MLflow takes 3 to 8
# MLflow retries for minutes, and tells its makers what is used. Users may set these themselves.
_DEFAULTS = {'MLFLOW_HTTP_REQUEST_MAX_RETRIES': '0', 'MLFLOW_HTTP_REQUEST_TIMEOUT': '5',
             'MLFLOW_DISABLE_TELEMETRY': 'true'}
_PARAMS, _METRICS = 100, 1000  # that a request of MLflow's takes
_LONGEST = 500  # characters of a parameter's value: what older servers take
_NAME = re.compile(r'[^\w\-. :/]')  # what MLflow's names may not have


def track(config, record: run_record.Record, seconds: float = SECONDS) -> str:
    """Sends a run that came to its report. Returns a sentence if that failed, otherwise ''."""
    if not os.environ.get(URI):
        return ''
    try:
        told = subprocess.run(isolated.python('-m', 'pipeline.tracking'), input=json.dumps(of_run(config, record)),
                              env=_DEFAULTS | os.environ, capture_output=True, encoding='utf-8',
                              errors='replace', timeout=seconds)
        if not told.returncode:
            return ''
        logger.warning('MLflow: %s', told.stderr)
        why = (told.stderr.strip().splitlines() or [f'exit code {told.returncode}'])[-1]
    except subprocess.TimeoutExpired:
        why = f'it took more than {seconds:g} seconds'
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = f'{type(error).__name__}: {error}'
    return (f'The run is not in MLflow, or not all of it ({URI}): {layout.cut(printable(why), 300)}. '
            'The run itself is as valid without.')


def of_run(config, record: run_record.Record) -> dict:
    """What is sent, as JSON: experiment, run_name, params, tags, metrics [[name, value, step]], files."""
    outputs = {name: of.outputs for name, of in record.components.items()}
    decision_dir = outputs['BlessingGate']['blessing'][0]
    history = file_io.read_json(os.path.join(outputs['CoTrainer']['model_run'][0], 'history.json')) or {}
    decision = record.decision or {}
    params: dict[str, object] = {}
    for name, value in json.loads(json.dumps(dataclasses.asdict(config))).items():
        differences.flatten(name, value, params)
    metrics = [*_training(history), *_gate(decision)]
    for name, of in outputs.items():
        if name.startswith('TaskEvaluator_'):
            metrics += _evaluation(file_io.read_json(os.path.join(of['evaluation'][0], EVALUATION)))
    return {
        'experiment': os.environ.get('MLFLOW_EXPERIMENT_NAME') or config.name,
        'run_name': record.id,
        'params': {_NAME.sub('_', name): str(value)[:_LONGEST] for name, value in params.items()},
        'tags': {'polyvit.accepted': str(bool(decision.get('blessed') and not decision.get('forced'))).lower(),
                 'polyvit.forced': (decision.get('forced') or '')[:_LONGEST], 'polyvit.version': record.version,
                 'polyvit.reasons': ' '.join(decision.get('reasons', []))[:_LONGEST],
                 'polyvit.run_key': record.run_key},
        'metrics': [[_NAME.sub('_', name), value, step] for name, value, step in metrics
                    if value is not None and math.isfinite(value)],
        'files': [os.path.join(decision_dir, 'decision.json'), record.report]}


def _training(history: dict) -> Iterator[tuple[str, float | None, int]]:
    for step in history.get('steps', []):
        yield f'train/{step["task"]}/loss', step['loss'], step['step']
        yield 'train/learning_rate', step['learning_rate'], step['step']
    for record in history.get('evaluations', []):
        yield from ((f'during_training/{name}', value, record['step']) for name, value in record['values'].items())


def _gate(decision: dict) -> Iterator[tuple[str, float | None, int]]:
    for task in decision.get('tasks', []):
        yield from ((f'{task["name"]}/{name}', value, 0) for name, value in task['metrics'].items())


def _evaluation(evaluation: dict | None) -> Iterator[tuple[str, float | None, int]]:
    """The ends of the intervals, and the metrics that only the evaluation has. evaluation: evaluation.json, if any."""
    if not evaluation:
        return
    for name, values in (evaluation['slices'][0]['metrics'] | probe_metrics(evaluation)).items():
        for key, suffix in (('value', ''), ('low', '/low'), ('high', '/high')):
            yield f'{evaluation["task"]}/{name}{suffix}', values.get(key), 0


def _send(run: dict):
    """Writes a run to MLflow. Called in a process of its own."""
    import mlflow
    from mlflow.entities import Metric, Param, RunTag
    client = mlflow.MlflowClient()
    found = client.get_experiment_by_name(run['experiment'])
    experiment = found.experiment_id if found else client.create_experiment(run['experiment'])
    made = client.create_run(experiment, run_name=run['run_name']).info
    client.log_batch(made.run_id, tags=[RunTag(name, text) for name, text in run['tags'].items() if text])
    params = [Param(name, text) for name, text in run['params'].items()]
    metrics = [Metric(name, value, made.start_time, step) for name, value, step in run['metrics']]
    for some in _batches(params, _PARAMS):
        client.log_batch(made.run_id, params=some)
    for some in _batches(metrics, _METRICS):
        client.log_batch(made.run_id, metrics=some)
    for path in run['files']:
        client.log_artifact(made.run_id, path)
    client.set_terminated(made.run_id)


def _batches(items: list, size: int) -> Iterator[list]:
    rest = iter(items)
    return iter(lambda: list(itertools.islice(rest, size)), [])


if __name__ == '__main__':
    _send(json.load(sys.stdin))

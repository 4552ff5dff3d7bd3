"""A run in MLflow: what is sent, to a server that answers, hangs or is not there; and nothing without the variable."""

import dataclasses
import http.server
import json
import socket
import subprocess
import sys
import threading

import pytest

from model_code import file_io
from pipeline import run_record, tracking
from pipeline.config import load_config


class Server(http.server.ThreadingHTTPServer):
    """Answers as MLflow's REST API does, and keeps what it was sent."""

    def __init__(self):
        super().__init__(('127.0.0.1', 0), Handler)
        self.sent = []
        self.files = {}

    @property
    def url(self):
        return f'http://127.0.0.1:{self.server_port}'

    def logged(self, kind):
        return [item for path, body in self.sent if path.endswith('/log-batch') for item in body.get(kind, [])]


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if '/runs/get' in self.path:
            self._answer(200, {'run': self._run()})
        else:  # the experiment
            self._answer(404, {'error_code': 'RESOURCE_DOES_NOT_EXIST', 'message': 'none'})

    def do_PUT(self):
        self.server.files[self.path.rpartition('/')[2]] = self._body()
        self._answer(200, {})

    def do_POST(self):
        body = json.loads(self._body())
        self.server.sent.append((self.path, body))
        self._answer(200, {'experiment_id': '1', 'run': self._run(), 'run_info': self._run()['info']})

    def _run(self):
        return {'data': {}, 'info': {
            'run_id': 'r', 'run_uuid': 'r', 'experiment_id': '1', 'status': 'RUNNING', 'start_time': 1,
            'artifact_uri': f'mlflow-artifacts://127.0.0.1:{self.server.server_port}/1/r/artifacts'}}

    def _body(self):
        return self.rfile.read(int(self.headers.get('Content-Length') or 0))

    def _answer(self, status, content):
        text = json.dumps(content).encode()
        self.send_response(status)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


@pytest.fixture
def record(tmp_path):
    decision = {'blessed': False, 'reasons': ['It is worse.'], 'tasks': [
        {'name': 'digits', 'metrics': {'accuracy': 0.75, 'loss': None}}]}
    for name, content in {
            'gate/decision.json': decision, 'report.html': '<html>', 'evaluation/evaluation.json': {
                'task': 'digits', 'slices': [{'metrics': {'accuracy': {'value': 0.75, 'low': 0.5, 'high': 0.9}}}],
                'probe': {'metric': 'accuracy', 'linear': None, 'few_shot': [
                    {'shots': 5, 'value': 0.6, 'low': 0.4, 'high': 0.7}]}},
            'run/history.json': {'steps': [{'step': 3, 'task': 'digits', 'loss': 1.5, 'learning_rate': 0.1}],
                                 'evaluations': [{'step': 3, 'values': {'eval/digits/loss': 2.5}}]}}.items():
        file_io.write(str(tmp_path / name), json.dumps(content))
    nodes = {name: run_record.NodeRecord(False, 1.0, {output: [str(tmp_path / folder)]}) for name, output, folder in (
        ('BlessingGate', 'blessing', 'gate'), ('CoTrainer', 'model_run', 'run'),
        ('TaskEvaluator_digits', 'evaluation', 'evaluation'))}
    return run_record.Record(id='20261126-1', config='demo', log='l', decision=decision, components=nodes,
                             report=str(tmp_path / 'report.html'), version='7')


@pytest.fixture
def config():
    return load_config('demo')


def test_a_run_has_parameters_metrics_with_intervals_and_the_decision(config, record, monkeypatch):
    monkeypatch.setenv('MLFLOW_EXPERIMENT_NAME', '')
    run = tracking.of_run(dataclasses.replace(config, limits='l' * 900), record)
    assert (run['experiment'], run['run_name']) == (config.name, '20261126-1')
    assert run['params']['training.seed'] == '0' and run['params']['tasks.digits.modality'] == 'image'
    assert run['params']['limits'] == 'l' * 500
    assert run['tags']['polyvit.accepted'] == 'false' and run['tags']['polyvit.reasons'] == 'It is worse.'
    assert ['digits/accuracy', 0.75, 0] in run['metrics'] and ['digits/accuracy/low', 0.5, 0] in run['metrics']
    assert ['digits/5_shot_accuracy', 0.6, 0] in run['metrics']
    assert ['train/digits/loss', 1.5, 3] in run['metrics']
    assert ['during_training/eval/digits/loss', 2.5, 3] in run['metrics']
    assert not any(name == 'digits/loss' for name, _, _ in run['metrics']), 'it has no value'


def test_a_forced_model_was_not_accepted(config, record):
    forced = dataclasses.replace(record, decision=record.decision | {'blessed': True, 'forced': 'Urgent.'})
    tags = tracking.of_run(config, forced)['tags']
    assert (tags['polyvit.accepted'], tags['polyvit.forced']) == ('false', 'Urgent.')


def test_a_server_gets_it_all(config, record, monkeypatch):
    with Server() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv(tracking.URI, server.url)
        assert tracking.track(config, record, seconds=120) == ''
        server.shutdown()
    assert {p['key']: p['value'] for p in server.logged('params')}['training.seed'] == '0'
    assert {m['key']: m['value'] for m in server.logged('metrics')}['digits/accuracy/high'] == 0.9
    assert set(server.files) == {'decision.json', 'report.html'}
    path, body = server.sent[-1]
    assert path.endswith('/runs/update') and body['status'] == 'FINISHED'


def test_a_server_that_is_not_there_is_one_sentence(config, record, monkeypatch):
    with socket.socket() as closed:
        closed.bind(('127.0.0.1', 0))
        monkeypatch.setenv(tracking.URI, f'http://127.0.0.1:{closed.getsockname()[1]}')
        said = tracking.track(config, record, seconds=120)
    assert said.startswith('The run is not in MLflow') and 'refused' in said and '\n' not in said


def test_a_server_that_never_answers_is_given_up(config, record, monkeypatch):
    with socket.socket() as silent:
        silent.bind(('127.0.0.1', 0))
        silent.listen()
        monkeypatch.setenv(tracking.URI, f'http://127.0.0.1:{silent.getsockname()[1]}')
        assert 'it took more than 0.5 seconds' in tracking.track(config, record, seconds=0.5)


def test_without_the_variable_nothing_is_imported_or_started(config, record, monkeypatch):
    monkeypatch.delenv(tracking.URI, raising=False)
    with monkeypatch.context() as patched:
        patched.setattr(tracking.subprocess, 'run', lambda *a, **k: pytest.fail('a process was started'))
        assert tracking.track(config, record) == ''
    done = subprocess.run([sys.executable, '-c', 'import sys, pipeline.local_runner; print("mlflow" in sys.modules)'],
                          capture_output=True, text=True, check=True)
    assert done.stdout.strip() == 'False'

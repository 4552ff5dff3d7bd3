"""The embedded server over real HTTP: errors, changes of version, limits, a clean stop."""

import concurrent.futures
import gzip
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
import weakref

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from model_code.errors import ConfigError
from serving import foreground, rest
from serving import server as server_module
from serving.errors import ServingError
from serving.limits import Limits
from serving.saved_model import SavedModel
from serving.server import ModelServer
from serving.versions import ModelVersions, Policy
from tests.serving import models


@pytest.fixture(scope='session')
def half_plus_two(tmp_path_factory):
    """A version directory to copy: y = x / 2 + 2."""
    directory = tmp_path_factory.mktemp('half_plus_two') / '123'
    models.save_affine(directory)
    return directory


@pytest.fixture(scope='session')
def plus_three(tmp_path_factory):
    """A newer version to copy: y = x / 2 + 3, and a signature `slow` that takes tens of seconds."""
    directory = tmp_path_factory.mktemp('plus_three') / '1'
    models.save_affine(directory, offset=3.0, spin=200_000_000)
    return directory


def push(source, base, version):
    """Does what a push does: copies under a temporary name, then renames."""
    base.mkdir(exist_ok=True)
    shutil.copytree(source, base / f'.{version}')
    os.rename(base / f'.{version}', base / str(version))


@pytest.fixture(scope='session')
def fixtures_server(tmp_path_factory, half_plus_two):
    """One server of two models, `default` and `half_plus_two`."""
    base = tmp_path_factory.mktemp('fixtures') / 'base'
    push(half_plus_two, base, 123)
    served = [ModelVersions(name, str(base), SavedModel) for name in ('default', 'half_plus_two')]
    with ModelServer(models=served, port=0, limits=Limits(timeout_s=10)) as server:
        yield server


def ask(server, method, path, body=None, headers=None):
    """(status, headers, body) of one request."""
    connection = http.client.HTTPConnection(server.host, server.port, timeout=60)
    try:
        connection.request(method, path, body if isinstance(body, (bytes, type(None))) else body.encode(),
                           headers or {})
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def predict(server, body, name='polyvit'):
    status, _, reply = ask(server, 'POST', f'/v1/models/{name}:predict', body)
    return status, json.loads(reply)


def test_the_graph_decides_on_the_rank_of_an_input(tmp_path):
    class Declared(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, 'x')])
        def half(self, x):
            return {'y': x / 2}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, 'x')])
        def vector(self, x):
            return {'y': tf.linalg.matvec(tf.eye(2), x)}

    module = Declared()
    tf.saved_model.save(module, str(tmp_path / '1'), signatures={'half': module.half, 'vector': module.vector})
    model = SavedModel(str(tmp_path / '1'))
    try:
        assert model.signatures['half'].inputs['x'].shape == (None,)
        assert model.run('half', {'x': np.ones([2, 3], np.float32)})['y'].tolist() == [[.5, .5, .5]] * 2
        with pytest.raises(ServingError, match='node PartitionedCall') as error:
            model.run('vector', {'x': np.array(1.0, np.float32)})
        assert error.value.code == 'INVALID_ARGUMENT'
    finally:
        model.close()


def test_a_single_string_keeps_its_zero_bytes(tmp_path):
    class Echo(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([], tf.string, 's')])
        def echo(self, s):
            return {'s_bytes': s}

    module = Echo()
    tf.saved_model.save(module, str(tmp_path / '1'), signatures={'serving_default': module.echo})
    with ModelServer(tmp_path, port=0) as server:
        status, reply = predict(server, '{"inputs": {"b64": "AGEAAA=="}}')
        assert (status, reply) == (200, {'outputs': {'b64': 'AGEAAA=='}})


def test_malformed_urls(fixtures_server):
    for method, path in (('GET', '/v1/foo'), ('PUT', '/v1/models/default:predict'), ('GET', '/v1/models/a/b'),
                         ('POST', '/v1/models/default'), ('POST', '/v1/models/default:explode')):
        status, headers, body = ask(fixtures_server, method, path, b'')
        assert (status, json.loads(body)) == (400, {'error': f'Malformed request: {method} {path}'})
        assert headers['Content-Type'] == 'application/json'


@pytest.mark.parametrize('path, status, text', [
    ('/v1/models/m/metadata', 404, 'Servable not found for request: Latest(m)'),
    ('/v1/models/default/versions/9/metadata', 404, 'Servable not found for request: Specific(default, 9)'),
    ('/v1/models/m', 404, 'Could not find any versions of model m'),
    ('/v1/models/m/versions/3', 404, 'Could not find version 3 of model m'),
])
def test_unknown_models_and_versions(fixtures_server, path, status, text):
    answer, _, body = ask(fixtures_server, 'GET', path)
    assert (answer, json.loads(body)) == (status, {'error': text})


def test_bad_json_is_reported_before_a_missing_model(fixtures_server):
    status, reply = predict(fixtures_server, '{', name='nobody')
    assert status == 400
    assert reply['error'].startswith('JSON Parse error: ')


def test_metadata(fixtures_server):
    status, _, body = ask(fixtures_server, 'GET', '/v1/models/half_plus_two/metadata')
    reply = json.loads(body)
    assert status == 200
    assert reply['model_spec'] == {'name': 'half_plus_two', 'signature_name': '', 'version': '123'}
    signature = reply['metadata']['signature_def']['signature_def']['regress_x_to_y']
    assert signature.keys() == {'inputs', 'outputs', 'method_name'}
    assert signature['inputs']['inputs'] == {
        'name': 'regress_x_to_y_inputs:0', 'dtype': 'DT_STRING',
        'tensor_shape': {'dim': [{'size': '-1', 'name': ''}], 'unknown_rank': False}}
    assert signature['method_name'] == 'tensorflow/serving/predict'


def test_an_error_in_the_graph_fails_the_request(fixtures_server):
    status, reply = predict(fixtures_server, '{"instances": [1.0, 2e6]}', name='default')
    assert status == 400
    assert reply['error'].startswith('assertion failed: [x is too big]')


def test_classify_needs_a_classification_signature(fixtures_server):
    status, _, body = ask(fixtures_server, 'POST', '/v1/models/default:classify', '{"examples": [{"x": 1.0}]}')
    assert status == 400
    assert "serialized tf.Examples in the classification signature" in json.loads(body)['error']


def test_the_context_supplies_features_that_an_example_lacks(fixtures_server):
    body = '{"signature_name": "regress_x_to_y", "context": {"x": 10.0}, "examples": [{}, {"x": 20.0}]}'
    status, _, reply = ask(fixtures_server, 'POST', '/v1/models/default:regress', body)
    assert (status, json.loads(reply)) == (200, {'results': [7.0, 12.0]})


def test_the_deadline(plus_three):
    with ModelServer(plus_three.parent, port=0, limits=Limits(timeout_s=1)) as server:
        began = time.monotonic()
        status, reply = predict(server, '{"signature_name": "slow", "instances": [1.0]}')
        assert status == 504
        assert reply['error']
        assert time.monotonic() - began < 5
        # The graph was cancelled, so its worker takes other requests.
        assert predict(server, '{"instances": [2.0]}') == (200, {'predictions': [4.0]})


def test_overloaded(plus_three):
    body = '{"signature_name": "slow", "instances": [1.0]}'
    with ModelServer(plus_three.parent, port=0, limits=Limits(timeout_s=3, max_requests=2)) as server:
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            slow = [pool.submit(predict, server, body) for _ in range(2)]
            time.sleep(1)
            status, reply = predict(server, body)
            assert status == 503
            assert reply['error'].startswith('The server is overloaded: 2 requests are in progress')
            assert [f.result()[0] for f in slow] == [504, 504]


def test_bodies_are_bounded(half_plus_two):
    with ModelServer(half_plus_two.parent, port=0, limits=Limits(max_body_bytes=10_000)) as server:
        fits = b'{"instances": [1.0]' + b' ' * 9_000 + b'}'
        assert predict(server, fits) == (200, {'predictions': [2.5]})
        packed = {'Content-Encoding': 'gzip'}
        status, _, body = ask(server, 'POST', '/v1/models/polyvit:predict', gzip.compress(fits), packed)
        assert (status, json.loads(body)) == (200, {'predictions': [2.5]})
        # A megabyte of spaces compresses to a thousandth.
        for body, headers in ((gzip.compress(b' ' * 2**20), packed), (b' ' * 10_001, {}),
                              (iter([b' ' * 6_000] * 2), {'Transfer-Encoding': 'chunked'})):
            connection = http.client.HTTPConnection('127.0.0.1', server.port, timeout=20)
            connection.request('POST', '/v1/models/polyvit:predict', body, headers,
                               encode_chunked='Transfer-Encoding' in headers)
            response = connection.getresponse()
            assert response.status == 413
            assert 'at most 10,000 (--max-body-bytes)' in json.loads(response.read())['error']
            connection.close()
        cut = gzip.compress(fits)[:-10]
        status, _, body = ask(server, 'POST', '/v1/models/polyvit:predict', cut, packed)
        assert (status, json.loads(body)) == (400, {'error': 'JSON Parse error: The document is empty'})
        nested = '{"instances": ' + '[' * 1000 + ']' * 1000 + '}'
        status, reply = predict(server, nested)
        assert status == 400
        assert 'nested deeper than 64 levels' in reply['error']


def until(condition, seconds=20):
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, f'The condition is still false after {seconds} s.'
        time.sleep(0.02)


def states(server, name='polyvit'):
    return {v.number: v.state for v in server.models.status(name)}


def test_a_new_version_takes_over_and_no_request_fails(tmp_path, half_plus_two, plus_three):
    base = tmp_path / 'models'
    push(half_plus_two, base, 7)
    with ModelServer(base, port=0, poll_seconds=0.1) as server:
        replies, stop = [], threading.Event()

        def keep_asking():
            while not stop.is_set():
                replies.append(predict(server, '{"instances": [2.0]}'))

        asking = [threading.Thread(target=keep_asking) for _ in range(3)]
        for thread in asking:
            thread.start()
        until(lambda: len(replies) > 10)
        push(plus_three, base, 12)
        until(lambda: states(server) == {12: 'AVAILABLE', 7: 'END'})
        before = len(replies)
        until(lambda: len(replies) > before + 10)
        stop.set()
        for thread in asking:
            thread.join()
        assert {status for status, _ in replies} == {200}
        values = [reply['predictions'][0] for _, reply in replies]
        assert set(values) == {3.0, 4.0}
        assert values[0] == 3.0 and values[-1] == 4.0
        # Removing the newest rolls back.
        shutil.rmtree(base / '12')
        until(lambda: states(server)[7] == 'AVAILABLE')
        assert predict(server, '{"instances": [2.0]}') == (200, {'predictions': [3.0]})


def test_a_version_that_is_dropped_or_cannot_be_loaded_leaves_memory(tmp_path, half_plus_two, plus_three):
    graphs = weakref.WeakSet()

    class Watched(SavedModel):
        def _read_signatures(self, *arguments):
            graphs.add(self._graph)
            super()._read_signatures(*arguments)

    base = tmp_path / 'models'
    push(half_plus_two, base, 1)
    with ModelServer(models=[ModelVersions('polyvit', str(base), Watched)], port=0, poll_seconds=0.1) as server:
        for version in (2, 3):
            assert predict(server, '{"instances": [2.0]}')[0] == 200
            assert predict(server, '{"instances": [1e7]}')[0] == 400
            push(plus_three, base, version)
            until(lambda version=version: states(server)[version - 1] == 'END')
        until(lambda: len(graphs) == 1)
        push(half_plus_two, base, 4)
        push(plus_three, tmp_path, 5)
        write_warmup(tmp_path / '5', 1e7)
        os.rename(tmp_path / '5', base / '5')  # which fails once it is loaded
        until(lambda: states(server).get(5) == 'END' and states(server).get(4) == 'AVAILABLE')
        until(lambda: len(graphs) == 1)


def test_requests_keep_the_version_that_they_began_with(tmp_path):
    closed = []

    class Fake:
        def __init__(self, path):
            self.number = int(os.path.basename(path))

        def close(self):
            closed.append(self.number)

    (tmp_path / '1').mkdir()
    versions = ModelVersions('m', str(tmp_path), Fake)
    versions.poll()
    with versions.acquire() as (number, model):
        (tmp_path / '2').mkdir()
        versions.poll()
        assert (number, model.number, closed) == (1, 1, [])
        assert [(v.number, v.state) for v in versions.status()] == [(2, 'AVAILABLE'), (1, 'UNLOADING')]
        with versions.acquire() as (newest, _):
            assert newest == 2
        with pytest.raises(ServingError, match=r'Specific\(m, 1\)'):
            with versions.acquire(1):
                pass
    assert closed == [1]
    assert [(v.number, v.state) for v in versions.status()] == [(2, 'AVAILABLE'), (1, 'END')]


def test_version_names_and_policies(tmp_path):
    class Fake:
        def __init__(self, path):
            self.path = path

        def close(self):
            pass

    for name in ('1', '2', '3', '010', '.5', '6.copying', 'seven', '-8', str(2**63), '9' * 25):
        (tmp_path / name).mkdir()
    (tmp_path / '11').write_text('a file')

    def available(policy):
        versions = ModelVersions('m', str(tmp_path), Fake, policy)
        versions.poll()
        return [v.number for v in versions.status() if v.state == 'AVAILABLE']
    assert available(Policy()) == [10]
    assert available(Policy(latest=2)) == [10, 3]
    assert available(Policy(specific=(1, 3, 99))) == [3, 1]
    assert available(Policy(every=True)) == [10, 3, 2, 1]


def test_a_corrupt_version_replaces_nothing(tmp_path, half_plus_two, plus_three):
    base = tmp_path / 'models'
    push(half_plus_two, base, 1)
    with ModelServer(base, port=0, poll_seconds=0.1) as server:
        (base / '2').mkdir()
        (base / '2' / 'saved_model.pb').write_bytes(b'not a model')
        until(lambda: states(server).get(2) == 'END')
        assert predict(server, '{"instances": [2.0]}') == (200, {'predictions': [3.0]})
        reply = json.loads(ask(server, 'GET', '/v1/models/polyvit')[2])['model_version_status']
        assert [(v['version'], v['state']) for v in reply] == [('2', 'END'), ('1', 'AVAILABLE')]
        assert reply[0]['status']['error_code'] != 'OK'
        assert 'saved_model' in reply[0]['status']['error_message'].lower()
        # It is tried again only when its files change: once the copy is complete, it is served.
        shutil.copytree(plus_three, base / '2', dirs_exist_ok=True)
        until(lambda: states(server) == {2: 'AVAILABLE', 1: 'END'})
        assert predict(server, '{"instances": [2.0]}') == (200, {'predictions': [4.0]})


def test_a_corrupt_newest_version_at_start_leaves_the_older_one(tmp_path, half_plus_two):
    push(half_plus_two, tmp_path, 1)
    push(half_plus_two, tmp_path, 2)
    data = next((tmp_path / '2' / 'variables').glob('variables.data*'))
    data.write_bytes(data.read_bytes()[:2])
    with ModelServer(tmp_path, port=0) as server:
        assert states(server) == {2: 'END', 1: 'AVAILABLE'}


def write_warmup(version, x):
    log = prediction_log_pb2.PredictionLog()
    request = log.predict_log.request
    request.model_spec.signature_name = 'serving_default'
    request.inputs['x'].CopyFrom(tf.make_tensor_proto(np.array([x], np.float32)))
    os.makedirs(version / 'assets.extra')
    with tf.io.TFRecordWriter(str(version / 'assets.extra' / 'tf_serving_warmup_requests')) as writer:
        writer.write(log.SerializeToString())


def test_warm_up_requests_are_replayed(tmp_path, half_plus_two):
    for version, x in ((1, 1.0), (2, 1e7)):
        push(half_plus_two, tmp_path, version)
        write_warmup(tmp_path / str(version), x)
    with ModelServer(tmp_path, port=0) as server:
        assert states(server) == {2: 'END', 1: 'AVAILABLE'}
        assert re.match(r'Warm-up record 0 of .*/2/assets.extra/tf_serving_warmup_requests failed: .*x is too big',
                        server.models.status('polyvit')[0].error.message)


def test_an_empty_directory_answers_404_until_a_version_appears(tmp_path, half_plus_two):
    with ModelServer(tmp_path, port=0, poll_seconds=0.1) as server:
        assert ask(server, 'GET', '/v1/models/polyvit/metadata')[0] == 404
        assert 'has no version to serve yet' in foreground.ready_text(server, 'polyvit')
        push(half_plus_two, tmp_path, 1)
        until(lambda: ask(server, 'GET', '/v1/models/polyvit/metadata')[0] == 200)


def test_memory_is_given_back_once_its_users_are_gone_though_a_version_is_being_loaded(tmp_path, monkeypatch):
    loading, ended, given_back = threading.Event(), threading.Event(), []
    resident = [100 << 20]

    def give_back():
        given_back.append(resident[0])
        if len(given_back) == 3:  # until then a request holds what is in use
            resident[0] = 100 << 20

    monkeypatch.setattr(server_module, 'give_back_free_memory', give_back)
    monkeypatch.setattr(server_module, '_resident_bytes', lambda: resident[0])
    monkeypatch.setattr(server_module, '_LOOK_SECONDS', 0.01)
    with ModelServer(tmp_path, port=0, poll_seconds=0.01) as server:
        try:
            monkeypatch.setattr(next(iter(server.models)), 'poll', lambda: (loading.set(), ended.wait()))
            assert loading.wait(20)
            assert not given_back
            resident[0] = 1000 << 20
            until(lambda: resident[0] == 100 << 20)
        finally:
            ended.set()


def test_a_taken_port_is_a_sentence(tmp_path):
    with socket.create_server(('127.0.0.1', 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f'cannot listen on port {port} of 127.0.0.1'):
            ModelServer(tmp_path, port=port).start()
        with pytest.raises(ConfigError, match=f'cannot listen on gRPC port {port}'):
            ModelServer(tmp_path, port=0, grpc_port=port).start()
    for ports in ({'port': 99_999}, {'port': -1}, {'port': 0, 'grpc_port': 70_000}):
        with pytest.raises(ConfigError, match='There is no port -?[0-9,]+. Ports are from 1 to 65535'):
            ModelServer(tmp_path, **ports).start()


def test_model_config(tmp_path, half_plus_two):
    push(half_plus_two, tmp_path / 'base', 3)
    config = tmp_path / 'models.config'
    text = '''model_config_list { config {
      name: "half" base_path: "BASE" model_platform: "tensorflow"
      model_version_policy { specific { versions: 3 } } version_labels { key: "stable" value: 3 } } }'''
    config.write_text(text.replace('BASE', str(tmp_path / 'base')))
    with ModelServer(models=foreground.read_model_config(config), port=0) as server:
        status, _, body = ask(server, 'POST', '/v1/models/half/labels/stable:predict', '{"instances": [2.0]}')
        assert (status, json.loads(body)) == (200, {'predictions': [3.0]})
    config.write_text(text)
    with pytest.raises(ConfigError, match='There is no directory BASE'):
        foreground.read_model_config(config)
    for content, message in (('nonsense', 'is not a valid ModelServerConfig'), ('', 'has no model'),
                             ('model_config_list { config { name: "x" } }', 'without name or base_path')):
        config.write_text(content)
        with pytest.raises(ConfigError, match=message):
            foreground.read_model_config(config)
    with pytest.raises(ConfigError, match='There is no directory'):
        foreground.serve(str(tmp_path / 'nowhere'), port=0)


def test_stop_refuses_new_work_at_once_and_waits_for_a_graph_no_longer_than_its_time(plus_three):
    body = '{"signature_name": "slow", "instances": [1.0]}'
    server = ModelServer(plus_three.parent, port=0, grpc_port=0,
                         limits=Limits(timeout_s=10, shutdown_timeout_s=2)).start()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        slow = pool.submit(ask, server, 'POST', '/v1/models/polyvit:predict', body)
        until(lambda: server._front._requests == 1)
        stopping = pool.submit(server.stop)
        until(lambda: server.models.stopping and server._front.draining)
        assert not server.models.ready()
        status, headers, reply = ask(server, 'POST', '/v1/models/polyvit:predict', '{"instances": [1.0]}')
        assert (status, headers['Connection'], headers['Retry-After']) == (503, 'close', '1')
        assert 'shutting down' in json.loads(reply)['error']
        began = time.monotonic()
        stopping.result()
        assert time.monotonic() - began < 8
        assert server.unfinished == '1 request'
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            slow.result()


def test_stop_cuts_no_client_off_that_asked_a_moment_ago(plus_three, monkeypatch):
    monkeypatch.setattr(rest, '_RECENTLY', 600.0)
    server = ModelServer(plus_three.parent, port=0).start()
    client = http.client.HTTPConnection(server.host, server.port)

    def asked():
        client.request('POST', '/v1/models/polyvit:predict', '{"instances": [1.0]}')
        response = client.getresponse()
        response.read()
        return response.status, response.headers['Connection']
    assert asked() == (200, None)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        stopping = pool.submit(server.stop)
        until(lambda: server._front.draining)
        assert asked() == (503, 'close')
        stopping.result()  # no other connection is open, so it waits for none
    assert server.unfinished == ''
    client.close()


def test_stop_does_not_wait_for_a_version_that_is_being_loaded(tmp_path, plus_three):
    shutil.copytree(plus_three, tmp_path / '1')
    loading, go_on = threading.Event(), threading.Event()

    def load(directory):
        if directory.endswith('2'):
            loading.set()
            go_on.wait(60)
        return SavedModel(directory)
    server = ModelServer(models=[ModelVersions('m', str(tmp_path), load)], port=0, poll_seconds=0.05,
                         limits=Limits(shutdown_timeout_s=50)).start()
    shutil.copytree(plus_three, tmp_path / '2')
    try:
        assert loading.wait(30)
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < 25
        assert server.unfinished == 'a version that is being loaded'
    finally:
        go_on.set()


def _serve_in_a_process(directory, **limits):
    code = ('import sys; from serving.foreground import serve; from serving.limits import Limits; '
            f'serve(sys.argv[1], model_name="half", port=0, grpc_port=None, limits=Limits(**{limits}))')
    return subprocess.Popen([sys.executable, '-c', code, str(directory)], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, env={**os.environ, 'PYTHONPATH': os.getcwd()})


def test_serve_until_a_signal(tmp_path, half_plus_two):
    push(half_plus_two, tmp_path, 1)
    process = _serve_in_a_process(tmp_path)
    try:
        assert process.stdout.readline() == f'Loading version 1 of model half from {tmp_path}\n'
        line = process.stdout.readline()
        match = re.match(r'Model half, version 1, is served at (http://127.0.0.1:\d+/v1/models/half)\. '
                         r'Tasks: classify_x_to_y, regress_x_to_y, serving_default\.', line)
        assert match, line + process.stderr.read()
        url = urllib.parse.urlsplit(match[1])
        connection = http.client.HTTPConnection(url.hostname, url.port, timeout=20)
        connection.request('GET', url.path)
        assert connection.getresponse().status == 200
        connection.close()
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 0, errors
        assert 'Traceback' not in errors
    finally:
        process.kill()
        process.wait()


def _ask_for_something_slow(process) -> http.client.HTTPConnection:
    process.stdout.readline()
    url = urllib.parse.urlsplit(re.search(r'http://\S+(?=\.)', process.stdout.readline())[0])
    slow = http.client.HTTPConnection(url.hostname, url.port, timeout=20)
    slow.request('POST', f'{url.path}:predict', '{"signature_name": "slow", "instances": [1.0]}')
    after = http.client.HTTPConnection(url.hostname, url.port, timeout=20)
    after.request('GET', url.path)  # once this is answered, the other is being worked on
    assert after.getresponse().status == 200
    return slow


def test_a_second_signal_ends_a_server_that_waits_for_a_request(tmp_path, plus_three):
    push(plus_three, tmp_path, 1)
    process = _serve_in_a_process(tmp_path)
    try:
        _ask_for_something_slow(process)
        process.send_signal(signal.SIGTERM)
        while 'Stopping.' not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    finally:
        process.kill()
        process.communicate()


def test_a_graph_that_does_not_end_does_not_hold_a_server_that_is_told_to_stop(tmp_path, plus_three):
    push(plus_three, tmp_path, 1)
    process = _serve_in_a_process(tmp_path, shutdown_timeout_s=1.0)
    try:
        _ask_for_something_slow(process)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=20)
        assert process.returncode == 0
        assert 'Stopping. Requests in progress finish first.\nStopped without ' in errors
        assert 'Traceback' not in errors
    finally:
        process.kill()
        process.wait()

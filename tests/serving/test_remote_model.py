"""polyvit.client: what is asked again and what is not, errors of one family, both protocols, threads and asyncio."""

import asyncio
import concurrent.futures
import gc
import json
import subprocess
import sys
import time
import types

import grpc
import numpy as np
import pytest

from model_code.errors import ConfigError
from polyvit import client
from serving import background_loop, retries
from serving.server import ModelServer
from tests import http_servers, testing
from tests.serving import models

CARD = json.dumps({'tasks': [{'name': 'shade', 'classes': ['low', 'high']}], 'intended_use': 'tests'})
METADATA = {'model_spec': {'name': 'polyvit', 'version': '4'}, 'metadata': {'signature_def': {'signature_def': {
    'shade': {'inputs': {'image': {}}, 'outputs': {'labels': {}, 'scores': {}}},
    'shade_scores': {'inputs': {'image': {}}, 'outputs': {'scores': {}}}}}}}
ANSWER = {'predictions': [{'labels': ['low', 'high'], 'scores': [0.75, 0.25]}]}


@pytest.fixture(scope='module')
def server(tmp_path_factory):
    base = tmp_path_factory.mktemp('brightness')
    models.save_brightness(base / '4', card=CARD)
    with ModelServer(base, port=0, grpc_port=0) as running:
        yield running


@pytest.fixture
def waits(monkeypatch):
    """The seconds that a client waited between attempts; they pass at once."""
    waited, ahead = [], [0.0]

    def sleep(seconds):
        waited.append(seconds)
        ahead[0] += seconds
    monkeypatch.setattr(retries, 'time', types.SimpleNamespace(
        sleep=sleep, monotonic=lambda: time.monotonic() + ahead[0]))
    return waited


def _serving(predictions):
    """A server whose answers to predictions are made, in order, by functions of the handler; the last one stays."""
    def answer(handler):
        if handler.path.startswith('/silent'):
            return _silent(handler)
        if handler.path.endswith('/metadata'):
            return handler.reply(200, json.dumps(METADATA).encode())
        step = predictions.pop(0) if len(predictions) > 1 else predictions[0]
        return step(handler)
    return http_servers.serving(answer)


def _status(status, error='busy', **headers):
    return lambda handler: handler.reply(status, json.dumps({'error': error}).encode(), **headers)


def _hung_up(handler):
    handler.close_connection = True


def _good(handler):
    handler.reply(200, json.dumps(ANSWER).encode())


def _posts(running):
    return sum(method == 'POST' for method, _ in running.seen)


def test_what_may_pass_is_asked_again(waits):
    with _serving([_status(503, Retry_After='3'), _status(429), _hung_up, _hung_up, _good]) as running, \
            client.Client(running.url) as asked:
        assert asked.predict('shade', testing.image_bytes())[0]['labels'] == ['low', 'high']
        assert _posts(running) == 5 and len(waits) == 4
        assert waits[0] == 3.0 and 0.2 <= waits[1] <= 0.6 and 0.4 <= waits[2] <= 1.2 and 0.8 <= waits[3] <= 2.4


def test_a_date_says_when_to_come_back(waits):
    date = time.strftime('%a, %d %b %Y %H:%M:%S GMT', time.gmtime(time.time() + 20))
    with _serving([_status(503, Retry_After=date), _status(503, Retry_After='soon'), _good]) as running, \
            client.Client(running.url) as asked:
        asked.predict('shade', testing.image_bytes())
        assert 15 < waits[0] <= 20 and waits[1] < 1


@pytest.mark.parametrize('status, kind', [(400, client.BadInput), (413, client.BadInput), (404, client.NotFound),
                                          (401, client.Denied), (403, client.Denied), (504, client.DeadlineExceeded),
                                          (500, client.PredictionFailed)])
def test_what_is_wrong_is_not_asked_again(status, kind, waits, tmp_path):
    path = testing.write(tmp_path, 'a.png', testing.image_bytes())
    with _serving([_status(status, 'Not so.')]) as running, client.Client(running.url) as asked:
        with pytest.raises(kind, match=rf'Not so\. \(HTTP {status}\)') as caught:
            asked.predict('shade', path)
        assert _posts(running) == 1 and waits == [] and type(caught.value) is kind
        if kind is client.BadInput:
            assert caught.value.path == str(path)


def test_an_overloaded_server_is_given_up_in_time(waits):
    with _serving([_status(503, 'Too much', Retry_After='2')]) as running, \
            client.Client(running.url, timeout=9) as asked:
        with pytest.raises(client.Overloaded, match=r'is overloaded: Too much \(HTTP 503\)'):
            asked.predict('shade', testing.image_bytes())
        assert 3 <= len(waits) <= 4 and sum(waits) < 9
        waits.clear()
    with _serving([_status(503, Retry_After='3600')]) as running, client.Client(running.url) as asked:
        with pytest.raises(client.Overloaded):
            asked.predict('shade', testing.image_bytes())
        assert waits == []  # an hour is more than there is


def test_where_nothing_listens_is_soon_known(waits):
    with client.Client('http://127.0.0.1:1') as asked, pytest.raises(client.Unavailable, match='Connection refused'):
        asked.predict('shade', testing.image_bytes())
    assert len(waits) == 3 and sum(waits) < 3
    waits.clear()
    with client.Client('http://nobody.invalid') as asked, pytest.raises(client.Unavailable, match='has this name'):
        asked.predict('shade', testing.image_bytes())
    assert waits == []


def _silent(handler):
    time.sleep(3)


def _drip(handler):
    handler.send_response(200)
    handler.send_header('Content-Length', '1000')
    handler.end_headers()
    for _ in range(60):
        handler.wfile.write(b' ')
        handler.wfile.flush()
        time.sleep(0.05)


@pytest.mark.parametrize('slow', [_silent, _drip])
def test_the_timeout_is_that_of_the_whole_request(slow):
    with _serving([slow]) as running, client.Client(running.url, timeout=0.5) as asked:
        with pytest.raises(client.DeadlineExceeded, match=r'did not answer within 0\.5 s\. Give it a longer timeout'):
            asked.predict('shade', testing.image_bytes())
        assert _posts(running) == 1


def test_waiting_for_a_server_that_never_answers_ends():
    with _serving([_good]) as running, client.Client(running.url, timeout=60.0) as asked:
        asked._transport.address = asked._transport.address.parse(running.url + '/silent', 'polyvit')
        said = []
        began = time.monotonic()
        with pytest.raises(client.Unavailable, match='does not answer, after a wait of 0.5 seconds'):
            asked.wait(0.5, said.append)
        assert len(said) <= 1 and time.monotonic() - began < 30


@pytest.mark.parametrize('content', [b'<html>', b'[]', b'{"metadata": 3}'])
def test_another_kind_of_server(content):
    with http_servers.serving(lambda handler: handler.reply(200, content)) as running, \
            client.Client(running.url) as asked:
        with pytest.raises(client.PredictionFailed, match="does not answer as TensorFlow Serving's REST API does"):
            asked.predict('shade', testing.image_bytes())


def test_what_is_not_http_is_no_server(server):
    with client.Client(f'http://127.0.0.1:{server.grpc_port}') as asked:
        with pytest.raises(client.PredictionFailed, match="does not answer as TensorFlow Serving's REST API does"):
            asked.predict('shade', testing.image_bytes())


def test_an_endless_reply_is_cut(monkeypatch):
    monkeypatch.setattr('serving.rest_transport._MAX_REPLY_BYTES', 1000)
    with _serving([lambda handler: handler.reply(200, b' ' * 2000)]) as running, client.Client(running.url) as asked:
        with pytest.raises(client.PredictionFailed, match='sent a reply of more than 1,000 bytes'):
            asked.predict('shade', testing.image_bytes())


def test_connections_are_kept_and_threads_share_a_client():
    with _serving([_good]) as running, client.Client(running.url) as asked:
        for _ in range(5):
            asked.predict('shade', testing.image_bytes())
        assert running.connections == 1 and _posts(running) == 5
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            results = list(pool.map(lambda _: asked.predict('shade', testing.image_bytes()), range(20)))
        assert len(results) == 20 and all(result == results[0] for result in results) and running.connections <= 5


def test_the_proxy_of_the_environment_is_used_for_other_machines(monkeypatch):
    def answer(handler):
        handler.reply(200, json.dumps(METADATA if handler.path.endswith('/metadata') else ANSWER).encode())
    with http_servers.serving(answer) as proxy:
        monkeypatch.setenv('HTTP_PROXY', proxy.url)
        with client.Client('http://far.invalid') as asked:
            assert asked.predict('shade', testing.image_bytes())[0]['labels'] == ['low', 'high']
        assert [path for _, path in proxy.seen] == [f'http://far.invalid/v1/models/polyvit{end}'
                                                    for end in ('/metadata', ':predict')]
        with _serving([_good]) as running, client.Client(running.url) as asked:
            asked.predict('shade', testing.image_bytes())
        assert len(proxy.seen) == 2


def test_a_token_of_the_environment_is_sent(monkeypatch):
    monkeypatch.setenv('POLYVIT_TOKEN', 'abc')
    sent = []

    def keep(handler):
        sent.append(handler.headers['Authorization'])
        _good(handler)
    with _serving([keep]) as running, client.Client(running.url) as asked:
        asked.predict('shade', testing.image_bytes())
    assert sent == ['Bearer abc']


def test_a_client_that_is_forgotten_holds_nothing_up():
    """Its finalizer may run in the thread that has its connections."""
    async def collect():
        gc.collect()
    forgotten = client.Client('http://127.0.0.1:1')
    forgotten.circle = forgotten
    session = forgotten._transport._session
    del forgotten
    background_loop.run(asyncio.wait_for(collect(), 30))
    end = time.monotonic() + 30
    while not session.closed and time.monotonic() < end:
        time.sleep(0.01)
    assert session.closed


@pytest.mark.parametrize('task, source', [('shade', testing.image_bytes()), ('volume', testing.wav_bytes()),
                                          ('film', testing.mp4_bytes())])
def test_both_protocols_answer_alike(task, source, server):
    with client.Client(server.url) as rest, client.Client(f'127.0.0.1:{server.grpc_port}', grpc=True) as by_grpc:
        assert rest.predict(task, [source] * 3) == by_grpc.predict(task, [source] * 3)
        assert rest.card == by_grpc.card == json.loads(CARD) and rest.signature_inputs == by_grpc.signature_inputs
        assert np.array_equal(rest.embed('image', testing.image_bytes()), by_grpc.embed('image', testing.image_bytes()))
        by_grpc.wait(5.0)
        assert by_grpc.pin() == f'http://127.0.0.1:{server.grpc_port}/v1/models/polyvit/versions/4'
        assert by_grpc.predict(task, source) == rest.predict(task, source)


@pytest.mark.parametrize('grpc_too', [False, True])
def test_what_is_not_there(grpc_too, server):
    url = f'127.0.0.1:{server.grpc_port}' if grpc_too else server.url
    with client.Client(url, grpc=grpc_too) as asked:
        with pytest.raises(client.NotFound, match="There is no task named 'shades'. Did you mean shade") as caught:
            asked.predict('shades', testing.image_bytes())
        assert isinstance(caught.value, ConfigError)  # exit code 2
    for names in ({'url': f'{url}/v1/models/polyvit/versions/9'}, {'url': url, 'model_name': 'other'}):
        with client.Client(**names, grpc=grpc_too) as asked:
            with pytest.raises(client.NotFound, match='has no model ready: Servable not found for request'):
                asked.predict('shade', testing.image_bytes())


class _Failing(grpc.GenericRpcHandler):
    """Every call ends with the next of the codes."""

    def __init__(self, codes):
        self.codes, self.calls = codes, 0

    def service(self, _):
        def abort(request, context):
            self.calls += 1
            code, text = self.codes.pop(0) if len(self.codes) > 1 else self.codes[0]
            context.abort(getattr(grpc.StatusCode, code), text)
        return grpc.unary_unary_rpc_method_handler(abort)


@pytest.mark.parametrize('code, text, kind, calls', [
    ('UNAVAILABLE', 'gone', client.Unavailable, 4),
    ('UNAUTHENTICATED', 'who?', client.Denied, 1),
    ('NOT_FOUND', 'Servable not found', client.NotFound, 1),
    ('INTERNAL', 'a fault', client.PredictionFailed, 1),
])
def test_errors_over_grpc(code, text, kind, calls, waits):
    handler = _Failing([(code, text)])
    running = grpc.server(concurrent.futures.ThreadPoolExecutor(2), [handler])
    port = running.add_insecure_port('127.0.0.1:0')
    running.start()
    try:
        with client.Client(f'127.0.0.1:{port}', grpc=True) as asked:
            with pytest.raises(kind, match=text.replace('?', r'\?')) as caught:
                _ = asked.signature_inputs
        # A server that gives no metadata is asked for its state, once.
        assert type(caught.value) is kind and handler.calls in (calls, calls + 1)
    finally:
        running.stop(None)


def test_overload_over_grpc_is_asked_again(waits):
    handler = _Failing([('RESOURCE_EXHAUSTED', 'too much'), ('UNAVAILABLE', 'The server is overloaded: so'),
                        ('UNAUTHENTICATED', 'who?')])
    running = grpc.server(concurrent.futures.ThreadPoolExecutor(2), [handler])
    port = running.add_insecure_port('127.0.0.1:0')
    running.start()
    try:
        with client.Client(f'127.0.0.1:{port}', grpc=True) as asked, pytest.raises(client.Denied):
            _ = asked.signature_inputs
        assert handler.calls == 3 and len(waits) == 2
    finally:
        running.stop(None)


def test_no_grpc_server(server, waits):
    with client.Client('127.0.0.1:1', grpc=True) as asked, pytest.raises(client.Unavailable, match='refused'):
        asked.predict('shade', testing.image_bytes())
    with client.Client(server.url, grpc=True) as asked, \
            pytest.raises(client.PredictionFailed, match='not answer by gRPC'):
        asked.predict('shade', testing.image_bytes())


def test_asyncio(server):
    async def both():
        async with client.AsyncClient(server.url) as asked:
            one, other, rows, card = await asyncio.gather(
                asked.predict('shade', testing.image_bytes()), asked.predict('volume', testing.wav_bytes(), top=1),
                asked.embed('shade', testing.image_bytes()), asked.card())
            with pytest.raises(client.BadInput, match=r'4 bytes cannot be read \(unsupported\)'):
                await asked.predict('shade', b'%PDF')
            return one, other, rows, card
    one, other, rows, card = asyncio.run(both())
    with client.Client(server.url) as asked:
        assert one == asked.predict('shade', testing.image_bytes()) and len(other[0]['labels']) == 1
    assert rows.shape == (1, 2) and card['intended_use'] == 'tests'


def test_the_client_is_light():
    loaded = subprocess.run([sys.executable, '-c', 'import sys, polyvit.client; print(*sys.modules)'],
                            capture_output=True, text=True, check=True).stdout.split()
    assert 'serving.remote_model' in loaded
    assert not {'tensorflow', 'tfx', 'apache_beam', 'grpc', 'tensorflow_serving'} & set(loaded)


@pytest.mark.parametrize('url', ['ftp://x', 'http://', 'http://a:b', 'http://[::1', 'http://a:0'])
def test_no_url(url):
    with pytest.raises(ConfigError, match='is not the URL of a server. Give one like http://127.0.0.1:8501'):
        client.Client(url)
    with pytest.raises(ConfigError, match='timeout is 0; it must be more than 0 seconds'):
        client.Client(timeout=0)

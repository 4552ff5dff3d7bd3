"""nginx, with the configuration of serving/proxy, before the embedded server: what passes and what does not.

The table of what was asked and answered is printed (pytest -s).
"""

import gzip
import http.client
import json
import os
import socket
import ssl
import subprocess
import sys
import time

import pytest

from serving.server import ModelServer
from tests.serving import models, proxy
from tests.serving.proxy import TOKEN

pytestmark = proxy.needs_nginx

PREDICT = '/v1/models/half:predict'
BODY = b'{"instances": [2.0]}'
# Time-outs that a test can wait for.
CHANGES = {'client_header_timeout 10s': 'client_header_timeout 1s', 'client_body_timeout 10s': 'client_body_timeout 1s'}


@pytest.fixture(scope='module')
def server(tmp_path_factory):
    base = tmp_path_factory.mktemp('served')
    models.save_affine(base / '1')
    with ModelServer(base, model_name='half', port=0, grpc_port=0) as running:
        yield running


@pytest.fixture(scope='module')
def front(tmp_path_factory, server):
    with proxy.running(tmp_path_factory.mktemp('nginx'), server.port, CHANGES) as running:
        yield running


def ask(front, method='POST', path=PREDICT, body=BODY, token=TOKEN, **headers):
    """(status, reply as JSON, headers)."""
    connection = http.client.HTTPSConnection('127.0.0.1', front.port, timeout=30, context=front.tls)
    if token:
        headers['Authorization'] = f'Bearer {token}'
    try:
        connection.request(method, path, body, headers)
        reply = connection.getresponse()
        content = reply.read()
        return reply.status, json.loads(content) if content else None, dict(reply.getheaders())
    finally:
        connection.close()


def last_logged(front, count):
    """The last entries of the log, once it has those of all requests; it is written after the answers."""
    before = None
    while before != (text := front.log.read_text()) or not text.endswith('\n'):
        before = text
        time.sleep(0.3)
    return [json.loads(line) for line in text.splitlines()[-count:]]


def _deep(levels, around='{"instances": %s}'):
    return (around % ('[' * levels + ']' * levels)).encode()


CASES = [
    # what is asked, status, words of the answer
    ('a prediction', {}, 200, 'predictions'),
    ('status', dict(method='GET', path='/v1/models/half', body=None), 200, 'model_version_status'),
    ('metadata', dict(method='GET', path='/v1/models/half/versions/1/metadata', body=None), 200, 'metadata'),
    ('an error of the server', dict(body=b'{'), 400, 'JSON Parse error'),
    ('a model that is not there', dict(path='/v1/models/other:predict'), 404, 'Servable not found'),
    ('no token', dict(token=''), 401, 'Send a valid token'),
    ('wrong token', dict(token='0' * 64), 401, 'Send a valid token'),
    ('half a token', dict(token=TOKEN[:32]), 401, 'Send a valid token'),
    ('a token and more', dict(token=TOKEN + '0'), 401, 'Send a valid token'),
    ('a token of another scheme', dict(token='', Authorization=f'Basic {TOKEN}'), 401, 'Send a valid token'),
    ('no token, 33 MB', dict(token='', body=b' ' * 33 * 2**20), 413, 'more than 32 MB'),
    ('a body of 33 MB', dict(body=b' ' * 33 * 2**20), 413, 'more than 32 MB'),
    ('33 MB of unknown length', dict(body=iter([b' ' * 2**20] * 33)), 413, 'more than 32 MB'),
    ('a body of unknown length', dict(body=iter([BODY[:5], BODY[5:]])), 200, 'predictions'),
    ('31 MB in one string', dict(body=b'{"instances": [{"b64": "%s"}]}' % (b'A' * 31 * 2**20)), 400, 'instances'),
    ('64 levels', dict(body=_deep(63, '{"ignored": %s, "instances": [2.0]}')), 200, 'predictions'),
    ('65 levels', dict(body=_deep(64)), 400, 'more than 64 levels deep'),
    ('a million levels', dict(body=b'[' * 1_000_000), 400, 'more than 64 levels deep'),
    ('deep behind a string with brackets', dict(body=_deep(64, r'{"a": "]]]]\"]]\\", "instances": %s}')), 400,
     'more than 64 levels deep'),
    ('brackets within a string', dict(body=b'{"signature_name": "%s", "instances": [2.0]}' % (b'[' * 99)), 400,
     'Serving signature name'),
    ('200,000 lists', dict(body=b'{"instances": [%s[]]}' % (b'[],' * 200_000)), 400, 'more than 20000 lists'),
    ('a compressed body', {'body': gzip.compress(BODY), 'Content-Encoding': 'gzip'}, 415, 'without Content-Encoding'),
    ('metrics', dict(method='GET', path='/monitoring/prometheus/metrics', body=None), 404, 'nothing here'),
    ('metrics by a detour', dict(method='GET', path='/v1/models/../../monitoring/prometheus/metrics', body=None), 404,
     'nothing here'),
    ('metrics by an encoded detour', dict(method='GET', path='/v1/models/%2e%2e/%2e%2e/monitoring/prometheus/metrics',
                                          body=None), 404, 'nothing here'),
    ('a path that ends below /v1', dict(method='GET', path='/monitoring/prometheus/metrics/../../../v1/models/half',
                                        body=None), 404, 'nothing here'),
    ('the page', dict(method='GET', path='/', body=None), 404, 'nothing here'),
    ('outside /v1', dict(method='GET', path='/v3/models/half', body=None), 404, 'nothing here'),
    ('the probe of the proxy itself', dict(method='GET', path='/token', body=None), 404, 'nothing here'),
    ('ready', dict(method='GET', path='/v2/models/half/ready', body=None), 200, ''),
    ('ready without a token', dict(method='GET', path='/v2/health/ready', body=None, token=''), 401, 'valid token'),
    ('DELETE', dict(method='DELETE', path='/v1/models/half', body=None), 405, 'Send GET or POST'),
    ('headers of 40 KB', {'X-Long': 'a' * 40_000}, 400, None),
]


@pytest.mark.parametrize('name, request_, status, words', CASES, ids=[case[0] for case in CASES])
def test_what_is_answered(front, name, request_, status, words):
    if words is None:  # by nginx itself, in HTML
        with pytest.raises(json.JSONDecodeError):
            ask(front, **request_)
        answered = last_logged(front, 1)[0]['status']
    else:
        answered, reply, _ = ask(front, **request_)
        assert words in json.dumps(reply)
    print(f'\n| {name} | {answered} |')
    assert answered == status


@pytest.mark.parametrize('token, said', [(TOKEN, 'ready'), (TOKEN[::-1], 'Send a valid token')])
def test_the_client_passes_with_its_token(front, token, said):
    code = ('import sys; from serving.remote_model import RemoteModel\n'
            'with RemoteModel(sys.argv[1], "half") as model: model.wait(20); print("ready")')
    environment = {**os.environ, 'POLYVIT_TOKEN': token, 'SSL_CERT_FILE': str(front.log.parent / 'tls.crt')}
    done = subprocess.run([sys.executable, '-c', code, f'https://127.0.0.1:{front.port}'], env=environment,
                          capture_output=True, text=True, timeout=60)
    assert said in done.stdout + done.stderr


def test_slow_headers_and_slow_bodies_end(front):
    for sent in (b'POST /v1/models/half:predict HTTP/1.1\r\nHost: a\r\nX-Slow: ',
                 b'POST /v1/models/half:predict HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\nAuthorization: Bearer '
                 + TOKEN.encode() + b'\r\n\r\n{"inst', b''):
        with socket.create_connection(('127.0.0.1', front.port), 30) as plain, front.tls.wrap_socket(
                plain, server_hostname='127.0.0.1') as stream:
            stream.sendall(sent)
            try:
                answer = stream.recv(1000)
            except OSError:
                answer = b''
            assert answer == b'', 'closed without an answer'


@pytest.mark.filterwarnings('ignore:.*TLSv1_1:DeprecationWarning')
def test_it_speaks_tls_alone_and_names_no_version_of_itself(front):
    connection = http.client.HTTPConnection('127.0.0.1', front.port, timeout=30)
    connection.request('GET', '/v1/models/half')
    assert connection.getresponse().status == 400
    connection.close()
    old = ssl.create_default_context(cafile=None)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(OSError), socket.create_connection(('127.0.0.1', front.port), 30) as plain:
        old.wrap_socket(plain)
    assert ask(front, token='')[2]['Server'] == 'nginx'


def test_grpc_is_closed(front):
    import grpc
    from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc
    credentials = grpc.ssl_channel_credentials((front.log.parent / 'tls.crt').read_bytes())
    with grpc.secure_channel(f'127.0.0.1:{front.port}', credentials) as channel:
        request = get_model_status_pb2.GetModelStatusRequest()
        with pytest.raises(grpc.RpcError) as error:
            model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(
                request, timeout=20, metadata=[('authorization', f'Bearer {TOKEN}')])
    assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED  # what gRPC makes of 404


def test_the_log_names_clients_and_no_tokens(front):
    ask(front, token='beef' * 16)
    ask(front, path=f'{PREDICT}?secret=1', token='0' * 64)
    logged = [(line['client'], line['path'], line['status']) for line in last_logged(front, 2)]
    assert logged == [('other', PREDICT, 200), ('', PREDICT, 401)]
    text = front.log.read_text()
    assert TOKEN not in text and 'beef' * 16 not in text and 'secret' not in text


def test_who_asks_too_fast_is_told_to_wait_and_others_are_not(tmp_path, server):
    changes = {'zone=client_rate:1m rate=50r/s': 'zone=client_rate:1m rate=1r/m', 'zone=client_rate burst=100':
               'zone=client_rate burst=4', 'zone=stranger_rate:10m rate=5r/s': 'zone=stranger_rate:10m rate=1r/m'}
    with proxy.running(tmp_path, server.port, changes) as front:
        answers = [ask(front) for _ in range(8)]
        assert [status for status, _, _ in answers] == [200] * 5 + [429] * 3
        assert answers[-1][1] == {'error': 'Too many requests. Try again later'}
        assert answers[-1][2]['Retry-After'] == '1'
        assert ask(front, token='beef' * 16)[0] == 200
        assert [ask(front, token='')[0] for _ in range(14)] == [401] * 11 + [429] * 3


def test_one_client_has_a_bounded_number_of_requests_in_progress(tmp_path, server):
    changes = {'limit_conn client_requests 8': 'limit_conn client_requests 2'}
    with proxy.running(tmp_path, server.port, changes) as front:
        opened = []
        try:
            for _ in range(2):
                stream = front.tls.wrap_socket(socket.create_connection(('127.0.0.1', front.port), 30),
                                               server_hostname='127.0.0.1')
                opened.append(stream)
                stream.sendall(f'POST {PREDICT} HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\nExpect: 100-continue\r\n'
                               f'Authorization: Bearer {TOKEN}\r\n\r\n'.encode())
                assert b'100 Continue' in stream.recv(1000)  # the proxy reads its body
            assert ask(front)[0] == 429
            assert ask(front, token='beef' * 16)[0] == 200
        finally:
            for stream in opened:
                stream.close()


def test_a_server_that_is_down_is_said_in_json(tmp_path):
    with socket.socket() as closed:
        closed.bind(('127.0.0.1', 0))
        port = closed.getsockname()[1]
    with proxy.running(tmp_path, port, {}) as front:
        status, reply, headers = ask(front)
        assert status == 503 and 'does not answer' in reply['error'] and headers['Retry-After'] == '1'


def test_no_process_is_left(tmp_path, server):
    with proxy.running(tmp_path, server.port, {}) as front:
        pid = int((tmp_path / 'nginx.pid').read_text())
        assert ask(front)[0] == 200
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)

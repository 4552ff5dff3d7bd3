"""A few hundred hostile requests, by both protocols: the server answers each, goes on, and takes little memory."""

import base64
import json
import os
import re
import signal
import subprocess
import sys

import grpc
import pytest

from tests.serving import fuzzing, models

REQUESTS = 40  # of each protocol; benchmarks/serving_bounds.py sends them for minutes
MORE_MEMORY = 1.5  # times that of normal requests


def memory_peak(pid: int) -> int:
    """The most bytes that the process ever held."""
    with open(f'/proc/{pid}/status', encoding='ascii') as file:
        return 1024 * int(re.search(r'VmHWM:\s+(\d+) kB', file.read())[1])


@pytest.fixture
def server(tmp_path):
    """(process, REST port, gRPC port, file of its standard error) of a server of its own."""
    models.save_brightness(tmp_path / 'models' / '1', card='x' * 8_000)
    code = ('import sys; from serving.foreground import serve; from serving.limits import Limits; '
            'serve(sys.argv[1], "m", 0, 0, limits=Limits(header_timeout_s=2, body_timeout_s=2, max_log_lines=20))')
    with open(tmp_path / 'errors', 'w+') as errors:
        process = subprocess.Popen([sys.executable, '-c', code, str(tmp_path / 'models')], stdout=subprocess.PIPE,
                                   stderr=errors, text=True, env={**os.environ, 'PYTHONPATH': os.getcwd()})
        try:
            process.stdout.readline()
            rest, rpc = re.search(r':(\d+)/v1.* \(gRPC 127.0.0.1:(\d+)\)', process.stdout.readline()).groups()
            yield process, int(rest), int(rpc), errors
        finally:
            process.kill()
            process.communicate()


def post(port: int, document: dict) -> bytes:
    body = json.dumps(document).encode()
    return fuzzing.send('127.0.0.1', port, b'POST /v1/models/m:predict HTTP/1.1\r\nHost: x\r\nConnection: close\r\n'
                        b'Content-Length: %d\r\n\r\n%s' % (len(body), body), 30)


@pytest.mark.slow
def test_hostile_requests(server):
    process, rest, rpc, errors = server
    picture = {'b64': base64.b64encode(fuzzing.jpeg(4000, 3000)).decode()}
    normal = {'signature_name': 'shade', 'instances': [picture] * 4}
    for _ in range(4):
        assert post(rest, normal).startswith(b'HTTP/1.1 200')
    before = memory_peak(process.pid)
    fuzz = fuzzing.Fuzz(7, 'm')
    statuses = []
    with grpc.insecure_channel(f'127.0.0.1:{rpc}') as channel:
        call = channel.unary_unary('/tensorflow.serving.PredictionService/Predict')
        for _ in range(REQUESTS):
            reply = fuzzing.send('127.0.0.1', rest, fuzz.http(), 20)
            statuses.append(int(reply[9:12]) if reply else 0)
            with pytest.raises(grpc.RpcError):
                call(fuzz.grpc(), timeout=20)
                raise grpc.RpcError('A request that happens to be right is none that should fail.')
    assert process.poll() is None
    assert statuses.count(0) < REQUESTS / 10  # requests that were cut short, so that nothing can answer them
    assert sum(400 <= status < 500 for status in statuses) > REQUESTS / 2
    assert 500 not in statuses
    assert post(rest, normal).startswith(b'HTTP/1.1 200')
    assert memory_peak(process.pid) < MORE_MEMORY * before
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    errors.seek(0)
    lines = [line for line in errors.read().splitlines() if 'external/local_xla' not in line]  # of an import
    assert len(lines) <= 25
    assert not [line for line in lines if 'Traceback' in line or line.startswith('  ')]

"""Slow, silent and too many clients of the gRPC server. No model is needed: each gets an error, or waits for one."""

import contextlib
import json
import socket
import threading
import time

import grpc
import pytest
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from serving.limits import Limits
from serving.logs import AccessLog
from serving.server import ModelServer

LATE = 20  # seconds in which everything here happens even on a slow machine
PREDICT = '/tensorflow.serving.PredictionService/Predict'


@contextlib.contextmanager
def serving(tmp_path, access_log=None, **limits):
    with ModelServer(tmp_path, port=0, grpc_port=0, poll_seconds=60, limits=Limits(**limits),
                     access_log=access_log) as server:
        with grpc.insecure_channel(f'127.0.0.1:{server.grpc_port}') as channel:
            yield server, channel


def code_of(call) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as error:
        call()
    return error.value.code()


def predict(channel, **fields):
    request = predict_pb2.PredictRequest(**fields)
    request.model_spec.name = 'nobody'
    return prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, timeout=LATE)


def test_requests_whose_message_never_comes_end(tmp_path):
    with serving(tmp_path, max_requests=8, max_body_bytes=1 << 20, max_buffered_bytes=2 << 20,
                 body_timeout_s=60) as (server, channel):
        stop = threading.Event()

        def nothing():
            stop.wait(LATE)
            yield from ()

        begin = channel.stream_unary(PREDICT)
        waiting = [begin.future(nothing()) for _ in range(8)]
        deadline = time.monotonic() + LATE
        while sum(call.done() for call in waiting) < 6:  # only as many may go on as fit into the memory
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert {call.code() for call in waiting if call.done()} == {grpc.StatusCode.CANCELLED}
        assert code_of(lambda: predict(channel)) == grpc.StatusCode.NOT_FOUND
        stop.set()


def test_a_message_that_is_none_and_one_that_is_too_large(tmp_path):
    with serving(tmp_path, max_body_bytes=1000) as (server, channel):
        send = channel.unary_unary(PREDICT)
        assert code_of(lambda: send(b'\xff' * 10, timeout=LATE)) == grpc.StatusCode.INVALID_ARGUMENT
        assert code_of(lambda: send(bytes(2000), timeout=LATE)) == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert code_of(lambda: channel.stream_unary(PREDICT)(iter([]), timeout=LATE)
                       ) == grpc.StatusCode.INVALID_ARGUMENT
        assert code_of(lambda: predict(channel)) == grpc.StatusCode.NOT_FOUND


def test_silent_connections_are_closed_and_their_number_is_bounded(tmp_path):
    with serving(tmp_path, max_connections=4, header_timeout_s=1.0) as (server, channel):
        silent = [socket.create_connection(('127.0.0.1', server.grpc_port), timeout=LATE) for _ in range(10)]
        for client in silent:
            with contextlib.suppress(ConnectionResetError):
                while client.recv(1000):  # the server's settings come first
                    pass
        assert code_of(lambda: predict(channel)) == grpc.StatusCode.NOT_FOUND


def test_the_access_log_has_a_line_for_each_request(tmp_path):
    path = tmp_path / 'access.jsonl'
    log = AccessLog(str(path))
    (tmp_path / 'models').mkdir()
    with serving(tmp_path / 'models', access_log=log) as (server, channel):
        code_of(lambda: predict(channel))
        with socket.create_connection((server.host, server.port), timeout=LATE) as client:
            client.sendall(b'GET /v1/models/nobody HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
            while client.recv(1000):
                pass
    log.close()
    lines = {line['protocol']: line for line in map(json.loads, path.read_text().splitlines())}
    assert (lines['gRPC']['path'], lines['gRPC']['status']) == (PREDICT, 'NOT_FOUND')
    rest = lines['REST']
    assert (rest['method'], rest['path'], rest['status'], rest['address']) == (
        'GET', '/v1/models/nobody', 404, '127.0.0.1')
    assert rest['reply_bytes'] > 20 and rest['ms'] >= 0

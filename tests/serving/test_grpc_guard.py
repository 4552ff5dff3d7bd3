"""Slow, silent and too many clients of the gRPC server. No model is needed: each gets an error, or waits for one."""

import collections
import concurrent.futures
import contextlib
import gc
import json
import socket
import threading
import time

import grpc
import pytest
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving import grpc_sizes
from serving.limits import Limits
from serving.logs import AccessLog
from serving.server import ModelServer
from tests.serving import models

LATE = 20  # seconds in which everything here happens even on a slow machine
PREDICT = '/tensorflow.serving.PredictionService/Predict'


@contextlib.contextmanager
def serving(tmp_path, access_log=None, **limits):
    with ModelServer(tmp_path, port=0, grpc_port=0, poll_seconds=60, limits=Limits(**limits),
                     access_log=access_log) as server:
        with grpc.insecure_channel(f'127.0.0.1:{server.grpc_port}') as channel:
            yield server, channel


@contextlib.contextmanager
def calls_without_a_message(channel):
    """A function () -> a call whose message does not come until the block ends."""
    stop = threading.Event()

    def nothing():
        stop.wait(LATE)
        yield from ()

    begin = channel.stream_unary(PREDICT)
    try:
        yield lambda: begin.future(nothing())
    finally:
        stop.set()


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
                 body_timeout_s=60) as (_, channel), calls_without_a_message(channel) as begin:
        waiting = [begin() for _ in range(8)]
        deadline = time.monotonic() + LATE
        while sum(call.done() for call in waiting) < 6:  # only as many may go on as fit into the memory
            assert time.monotonic() < deadline
            time.sleep(0.05)
        ended = [call for call in waiting if call.done()]
        assert {call.code() for call in ended} == {grpc.StatusCode.CANCELLED}
        assert all('--body-timeout-s' in str(call.details()) for call in ended)
        # Their clients may hear of it a moment before the server counts them as ended.
        while code_of(lambda: predict(channel)) == grpc.StatusCode.RESOURCE_EXHAUSTED:
            assert time.monotonic() < deadline
        assert code_of(lambda: predict(channel)) == grpc.StatusCode.NOT_FOUND


def test_errors_leave_no_calls_behind(tmp_path):
    """gRPC's core refuses the calls of a connection that keeps too many."""
    status = get_model_status_pb2.GetModelStatusRequest()
    status.model_spec.name = 'nobody'
    with serving(tmp_path, max_connections=4) as (server, channel):
        calls = {'in the event loop': lambda: predict(channel),
                 'in a thread': lambda: model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(
                     status, timeout=LATE)}
        gc.collect()
        gc.disable()
        try:
            for name, call in calls.items():
                assert {code_of(call) for _ in range(50)} == {grpc.StatusCode.NOT_FOUND}, name
        finally:
            gc.enable()


def test_errors_of_the_graph_leave_no_calls_behind(tmp_path):
    """They come from another thread, whose frames have them, too."""
    models.save_affine(tmp_path / '1', spin=200_000)  # half a second
    request = predict_pb2.PredictRequest(inputs={'x': tf.make_tensor_proto([1.0])})
    request.model_spec.name, request.model_spec.signature_name = 'polyvit', 'slow'
    with serving(tmp_path, max_connections=4, timeout_s=0.02) as (server, channel):
        ask = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict
        gc.collect()
        gc.disable()
        try:
            assert {code_of(lambda: ask(request, timeout=LATE)) for _ in range(20)} == {
                grpc.StatusCode.DEADLINE_EXCEEDED}
        finally:
            gc.enable()


def test_places_are_for_predictions(tmp_path):
    """While they are taken, another prediction is refused; health, status and metadata are answered."""
    models.save_affine(tmp_path / '1', spin=2_000_000)  # seconds
    slow = predict_pb2.PredictRequest(inputs={'x': tf.make_tensor_proto([1.0])})
    slow.model_spec.name, slow.model_spec.signature_name = 'polyvit', 'slow'
    status = get_model_status_pb2.GetModelStatusRequest()
    status.model_spec.name = 'polyvit'
    with serving(tmp_path, max_requests=1) as (server, channel):
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        running = stub.Predict.future(slow, timeout=LATE)
        deadline = time.monotonic() + LATE
        while not server._grpc_front._guard.predictions:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        with pytest.raises(grpc.RpcError) as error:
            stub.Predict(slow, timeout=LATE)
        assert error.value.code() == grpc.StatusCode.UNAVAILABLE and '--max-requests' in str(error.value.details())
        answer = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(status, timeout=LATE)
        assert len(answer.model_version_status) == 1
        assert health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=LATE).status == 1
        running.cancel()


def test_compressed_messages_are_refused(tmp_path):
    """gRPC's core would look at their size when they are decompressed."""
    with serving(tmp_path) as (_, channel):
        send = channel.unary_unary(PREDICT)
        assert code_of(lambda: send(bytes(1 << 20), timeout=LATE, compression=grpc.Compression.Gzip)
                       ) == grpc.StatusCode.UNIMPLEMENTED


def test_calls_that_clients_give_up_leave_none_behind(tmp_path):
    with serving(tmp_path, max_connections=4) as (_, channel), calls_without_a_message(channel) as begin:
        gc.collect()
        gc.disable()
        try:
            for _ in range(20):
                calls = [begin() for _ in range(2)]
                time.sleep(0.02)
                for call in calls:
                    call.cancel()
                assert code_of(lambda: predict(channel)) == grpc.StatusCode.NOT_FOUND
        finally:
            gc.enable()


def test_a_message_that_is_none_and_one_that_is_too_large(tmp_path):
    with serving(tmp_path, max_body_bytes=1000) as (server, channel):
        send = channel.unary_unary(PREDICT)
        assert code_of(lambda: send(b'\xff' * 10, timeout=LATE)) == grpc.StatusCode.INVALID_ARGUMENT
        assert code_of(lambda: send(bytes(2000), timeout=LATE)) == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert code_of(lambda: channel.stream_unary(PREDICT)(iter([]), timeout=LATE)
                       ) == grpc.StatusCode.INVALID_ARGUMENT
        assert code_of(lambda: predict(channel)) == grpc.StatusCode.NOT_FOUND


MANY = 600_000


@pytest.mark.parametrize('fields', [
    {'tensor_shape': tensor_shape_pb2.TensorShapeProto(dim=[tensor_shape_pb2.TensorShapeProto.Dim()] * MANY)},
    {'string_val': [b''] * MANY}, {'int64_val': [1] * MANY}], ids=lambda fields: next(iter(fields)))
def test_a_message_that_is_small_and_large_once_parsed_is_refused(tmp_path, fields):
    tensor = tensor_pb2.TensorProto(**fields)
    with serving(tmp_path) as (_, channel):
        with pytest.raises(grpc.RpcError) as error:
            predict(channel, inputs={'x': tensor})
        assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert 'This server takes at most 500,000 (--max-elements)' in str(error.value.details())


def test_the_values_of_a_message_are_counted_as_they_are_parsed():
    request = predict_pb2.PredictRequest(output_filter=['a', 'b'])
    request.model_spec.name = 'm'
    request.inputs['x'].CopyFrom(tf.make_tensor_proto([b'1', b'2', b'3']))
    request.inputs['y'].CopyFrom(tensor_pb2.TensorProto(dtype=9, int64_val=[1, 300, -1], float_val=[1.0] * 4))
    content = request.SerializeToString()
    # model_spec and name; two filters; x: entry, key, value, dtype, shape, dim, size, 3 strings; y: entry, key, value,
    # dtype, and a field of numbers twice, with 3 and 4 of them
    assert grpc_sizes.count_values(content, request.DESCRIPTOR, 1000) == 2 + 2 + 10 + 4 + 2 + 3 + 4
    assert grpc_sizes.count_values(content, request.DESCRIPTOR, 5) == 6
    assert grpc_sizes.count_values(b'', request.DESCRIPTOR, 5) == 0
    for end in range(1, len(content)):  # no cut loops, or fails in another way
        with contextlib.suppress(ValueError):
            grpc_sizes.count_values(content[:end], request.DESCRIPTOR, 1000)
    for wrong in (b'\xff' * 20, b'\x0b', b'\x0a\x05\x0a\x09aaa', b'\x0a\xff\xff\xff\xff\x0f'):
        with pytest.raises(ValueError):
            grpc_sizes.count_values(wrong, request.DESCRIPTOR, 1000)


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


def test_the_access_log_tells_who_gave_up_while_sending_from_who_sent_nothing(tmp_path):
    path = tmp_path / 'access.jsonl'
    log = AccessLog(str(path))
    (tmp_path / 'models').mkdir()
    with serving(tmp_path / 'models', access_log=log) as (_, channel):
        with calls_without_a_message(channel) as begin:
            calls = [begin() for _ in range(20)]
            time.sleep(0.5)  # they are being read
            for call in calls:
                call.cancel()
        ended = channel.stream_unary(PREDICT)
        assert code_of(lambda: ended(iter(()), timeout=LATE)) == grpc.StatusCode.INVALID_ARGUMENT
    log.close()
    codes = [json.loads(line)['status'] for line in path.read_text(encoding='utf-8').splitlines()]
    assert collections.Counter(codes) == {'CANCELLED': 20, 'INVALID_ARGUMENT': 1}


def test_two_servers_of_a_process_write_no_lines(tmp_path, caplog):
    """gRPC wakes the event loops of both when it has news for one."""
    with serving(tmp_path) as (_, one), serving(tmp_path) as (_, other):
        def ask(channel):
            assert {code_of(lambda: predict(channel)) for _ in range(200)} == {grpc.StatusCode.NOT_FOUND}

        with concurrent.futures.ThreadPoolExecutor() as pool:
            for asked in [pool.submit(ask, channel) for channel in (one, other) * 2]:
                asked.result()
    assert not [record.getMessage() for record in caplog.records if record.name == 'asyncio']


def test_what_is_no_message_holds_no_memory(tmp_path):
    with serving(tmp_path, max_body_bytes=1000, max_buffered_bytes=1000) as (_, channel):
        send = channel.unary_unary(PREDICT)
        for _ in range(10):
            assert code_of(lambda: send(b'\xff' * 500, timeout=LATE)) == grpc.StatusCode.INVALID_ARGUMENT
        assert code_of(lambda: predict(channel)) == grpc.StatusCode.NOT_FOUND

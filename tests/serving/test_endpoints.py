"""What the embedded server has beside TensorFlow Serving's API: health, readiness, metrics, and what gRPC refuses."""

import json

import grpc
import numpy as np
import pytest
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import model_management_pb2, model_service_pb2_grpc, prediction_service_pb2_grpc

from model_code.errors import ConfigError
from pipeline import cli
from serving import foreground, grpc_front
from serving.saved_model import SavedModel
from serving.server import ModelServer
from serving.versions import ModelVersions
from tests.serving import conformance, grpc_conformance, models


@pytest.fixture(scope='module')
def base(tmp_path_factory):
    base = tmp_path_factory.mktemp('half_plus_two')
    models.save_affine(base / '7')
    return base


@pytest.fixture(scope='module')
def server(base):
    with ModelServer(base, model_name='half', port=0, grpc_port=0) as server:
        yield server


@pytest.fixture(scope='module')
def waiting(base, tmp_path_factory):
    """A server of two models, one of which has no version yet."""
    served = [ModelVersions('half', str(base), SavedModel),
              ModelVersions('none', str(tmp_path_factory.mktemp('none')), SavedModel)]
    with ModelServer(models=served, port=0, grpc_port=0) as server:
        yield server


def get(server, path, method='GET', body=None):
    status, headers, body = conformance.Target(server.url).ask(method, path, body)
    return status, json.loads(body) if headers['Content-Type'].startswith('application/json') else body.decode()


def health(server, service=''):
    with grpc.insecure_channel(f'127.0.0.1:{server.grpc_port}') as channel:
        request = health_pb2.HealthCheckRequest(service=service)
        return health_pb2.HealthCheckResponse.ServingStatus.Name(
            health_pb2_grpc.HealthStub(channel).Check(request, 30).status)


def test_health_of_a_server_whose_models_serve(server):
    assert get(server, '/v2/health/live') == (200, {'live': True})
    assert get(server, '/v2/health/ready?verbose=1') == (200, {'ready': True})
    assert get(server, '/v2/models/half/ready') == (200, {'name': 'half', 'ready': True})
    assert get(server, '/v2/models/half/versions/7/ready') == (200, {'name': 'half', 'ready': True})
    assert get(server, '/v2/models/half/versions/8/ready') == (503, {'name': 'half', 'ready': False})
    assert get(server, '/v2/models/h%61lf/ready')[0] == 200
    assert get(server, '/v2/models/nobody/ready') == (404, {'name': 'nobody', 'ready': False})
    assert {health(server, name) for name in ('', 'ModelService', 'PredictionService')} == {'SERVING'}
    with pytest.raises(grpc.RpcError) as error:
        health(server, 'nobody')
    assert error.value.code() == grpc.StatusCode.NOT_FOUND


def test_health_of_a_server_with_a_model_that_has_no_version(waiting):
    assert get(waiting, '/v2/health/live') == (200, {'live': True})
    assert get(waiting, '/v2/health/ready') == (503, {'ready': False})
    assert get(waiting, '/v2/models/half/ready')[0] == 200
    assert get(waiting, '/v2/models/none/ready') == (503, {'name': 'none', 'ready': False})
    assert health(waiting) == 'NOT_SERVING'


@pytest.mark.parametrize('method, path', [
    ('POST', '/v2/models/half/infer'), ('GET', '/v2/models/half'), ('POST', '/v2/health/live'), ('GET', '/v2/')])
def test_there_is_no_more_of_v2(server, method, path):
    status, reply = get(server, path, method, b'{}' if method == 'POST' else None)
    assert status == 404
    assert reply['error'].startswith(f'There is no {method} {path}.')
    assert 'POST /v1/models/NAME:predict' in reply['error']


def test_a_new_configuration_is_refused_in_words(server):
    with grpc.insecure_channel(f'127.0.0.1:{server.grpc_port}') as channel:
        stub = model_service_pb2_grpc.ModelServiceStub(channel)
        with grpc_conformance.fails('UNIMPLEMENTED', 'takes no new configuration', '--model-config'):
            stub.HandleReloadConfigRequest(model_management_pb2.ReloadConfigRequest(), 30)


def test_requests_are_counted_by_model_and_by_signature(base, server):
    def page():
        status, text = get(server, '/monitoring/prometheus/metrics')
        assert status == 200
        return dict(line.rsplit(' ', 1) for line in text.splitlines() if not line.startswith('#'))

    def ask_all():
        get(server, '/v1/models/half:predict', 'POST', b'{"instances": [1.0, 2.0, 3.0]}')
        get(server, '/v1/models/half:predict', 'POST', b'{"signature_name": "nope", "instances": [1.0]}')
        get(server, '/v1/models/half:predict', 'POST', b'{"instances": [1e7]}')  # the graph refuses it
        get(server, '/v1/models/half:classify', 'POST',
            b'{"signature_name": "classify_x_to_y", "examples": [{"x": 1.0}]}')
        get(server, '/v1/models/half/metadata')
        get(server, '/v1/models/nobody:predict', 'POST', b'{"instances": [1.0]}')
        get(server, '/v1/nonsense')
        with grpc.insecure_channel(f'127.0.0.1:{server.grpc_port}') as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            stub.Predict(grpc_conformance.predict_request('half', x=np.float32([1, 2])), 30)
            with grpc_conformance.fails('NOT_FOUND'):
                stub.Predict(grpc_conformance.predict_request('nobody', x=np.float32([1])), 30)

    before = page()
    ask_all()
    after = page()
    prefix = ':tensorflow:serving:'
    latency = prefix + 'request_latency_count{model_name="half",'
    expected = {
        prefix + 'request_count{model_name="half",status="OK"}': 4,
        prefix + 'request_count{model_name="half",status="INVALID_ARGUMENT"}': 2,
        prefix + 'request_count{model_name="nobody",status="NOT_FOUND"}': 2,
        prefix + 'request_count{model_name="",status="INVALID_ARGUMENT"}': 1,
        latency + 'API="predict",entrypoint="REST"}': 1, latency + 'API="classify",entrypoint="REST"}': 1,
        latency + 'API="",entrypoint="REST"}': 1, latency + 'API="Predict",entrypoint="GRPC"}': 1,
        prefix + 'runtime_latency_count{model_name="half",API="Predict",runtime="TF1"}': 2,
        prefix + 'runtime_latency_count{model_name="half",API="Classify",runtime="TF1"}': 1,
        prefix + 'request_example_count_total{model="half"}': 1,
        'polyvit_signature_requests_total{model_name="half",signature="serving_default",status="OK"}': 2,
        'polyvit_signature_requests_total{model_name="half",signature="serving_default",status="INVALID_ARGUMENT"}': 1,
        'polyvit_signature_examples_sum{model_name="half",signature="serving_default"}': 5,
        'polyvit_signature_examples_sum{model_name="half",signature="classify_x_to_y"}': 1,
        'polyvit_signature_batch_size_sum{signature="serving_default"}': 6,  # of the one that failed, too
        'polyvit_signature_batch_size_sum{signature="classify_x_to_y"}': 1,
    }
    grown = {name: float(after[name]) - float(before.get(name, 0)) for name in expected}
    assert grown == expected
    assert not any('signature="nope"' in name for name in after)
    version = f'model_path="{base}/7"'
    assert after[f':tensorflow:cc:saved_model:load_attempt_count{{{version},status="success"}}'] >= '1'
    assert float(after[f':tensorflow:cc:saved_model:load_latency{{{version}}}']) > 1000  # microseconds


def test_the_values_of_a_tensor_must_have_its_shape(server):
    with grpc.insecure_channel(f'127.0.0.1:{server.grpc_port}') as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        request = grpc_conformance.predict_request('half', x=np.float32([1, 2]))
        for content in (b'123', b'1234', b'123412341234'):
            request.inputs['x'].tensor_content = content
            with grpc_conformance.fails('INVALID_ARGUMENT', 'Input x is not a tensor'):
                stub.Predict(request, 30)


def test_the_flag_for_pages_of_other_origins(base, monkeypatch):
    given = []

    def record(*_, cors, **__):
        given.append(cors)
        raise ConfigError('enough')

    monkeypatch.setattr(foreground, 'ModelServer', record)
    for flags in ([], ['--cors']):
        assert cli.main(['serve', str(base), *flags]) == 2
    assert given == [False, True]


def test_a_browser_is_told_what_it_may_only_with_the_flag(base, server):
    path, origin = '/v1/models/half', {'Origin': 'https://elsewhere.example'}
    with ModelServer(base, model_name='half', port=0, cors=True) as open_server:
        for one, allowed in ((open_server, '*'), (server, None)):
            status, headers, _ = conformance.Target(one.url).ask('GET', path, headers=origin)
            assert (status, headers['Access-Control-Allow-Origin']) == (200, allowed)
            assert conformance.Target(one.url).ask('OPTIONS', path, headers=origin)[0] == 200


def test_values_of_every_type_are_where_clients_read_them():
    def filled(value):
        proto = tensor_pb2.TensorProto()
        grpc_front._fill_tensor(proto, value)
        return proto

    for dtype, field in ((np.float32, 'float_val'), (np.float64, 'double_val'), (np.int64, 'int64_val'),
                         (np.int32, 'int_val'), (np.uint8, 'int_val'), (np.int8, 'int_val'), (np.uint32, 'uint32_val'),
                         (np.uint64, 'uint64_val'), (np.bool_, 'bool_val')):
        values = np.arange(140_000).reshape(2, 70_000).astype(dtype)
        proto = filled(values)
        assert len(getattr(proto, field)) == values.size
        np.testing.assert_array_equal(tf.make_ndarray(proto), values)
        assert tf.make_ndarray(proto).dtype == dtype
    strings = np.array([[b'a\0', b''], [b'\xff', b'b']], object)
    assert list(filled(strings).string_val) == strings.ravel().tolist()
    half = np.float16([[0.5, 2]])
    np.testing.assert_array_equal(tf.make_ndarray(filled(half)), half)


def test_a_server_that_is_told_to_stop_is_not_ready(base):
    with ModelServer(base, model_name='half', port=0) as server:
        front = server._front
        assert front is not None
        front.draining = True
        assert get(server, '/v2/health/ready') == (503, {'ready': False})
        assert get(server, '/v2/health/live')[0] == 200

"""The gRPC part of the conformance suite: CHECKS, which ask a server of the models of conformance_models.py."""

import contextlib

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

SECONDS = 30


class Stubs:
    def __init__(self, channel):
        self.prediction = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        self.model = model_service_pb2_grpc.ModelServiceStub(channel)


@contextlib.contextmanager
def stubs(address: str):
    with grpc.insecure_channel(address) as channel:
        yield Stubs(channel)


@contextlib.contextmanager
def fails(code: str, *texts: str):
    """The call within the block fails with this status code, and a message with these texts."""
    try:
        yield
    except grpc.RpcError as error:
        assert error.code().name == code, error
        for text in texts:
            assert text in error.details(), error.details()
    else:
        raise AssertionError(f'The call succeeded. It must fail with {code}.')


def predict_request(name='half_plus_two', signature_name='', **inputs) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = name
    request.model_spec.signature_name = signature_name
    for key, value in inputs.items():
        request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
    return request


def fill_examples(request_input, *values: float, context: dict | None = None):
    """Writes tf.Examples with a feature x; context: features of all of them."""
    kind = request_input.example_list if context is None else request_input.example_list_with_context
    for name, value in (context or {}).items():
        kind.context.features.feature[name].float_list.value.append(value)
    for value in values:
        kind.examples.add().features.feature['x'].float_list.value.append(value)


def x(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def check_predict(address: str):
    with stubs(address) as server:
        response = server.prediction.Predict(predict_request(x=x(1, 2)), SECONDS)
        assert list(response.outputs['y'].float_val) == [2.5, 3.0]  # where clients read them
        assert tf.make_ndarray(response.outputs['y']).tolist() == [2.5, 3.0]
        spec = response.model_spec
        assert (spec.name, spec.version.value, spec.signature_name) == ('half_plus_two', 123, 'serving_default')
        strings = np.array([[b'a\0', b'\xff']], object)
        response = server.prediction.Predict(predict_request('echo-default.STRING', default=strings), SECONDS)
        assert tf.make_ndarray(response.outputs['default']).tolist() == strings.tolist()
        response = server.prediction.Predict(predict_request('echo-default.INT32', default=np.int32(7)), SECONDS)
        assert list(response.outputs['default'].int_val) == [7]
        assert not response.outputs['default'].tensor_shape.dim


def check_versions_and_labels(address: str):
    with stubs(address) as server:
        request = predict_request('saved_model_half_plus_two_2_versions', x=x(1))
        for choice in ('version', 'label'):
            if choice == 'version':
                request.model_spec.version.value = 123
            else:
                request.model_spec.version_label = 'Version_Label'
            assert server.prediction.Predict(request, SECONDS).model_spec.version.value == 123
        request.model_spec.version_label = 'nope'
        with fails('INVALID_ARGUMENT', 'Unrecognized servable version label: nope'):
            server.prediction.Predict(request, SECONDS)
        request.model_spec.version.value = 99
        with fails('NOT_FOUND', 'Servable not found for request: Specific(saved_model_half_plus_two_2_versions, 99)'):
            server.prediction.Predict(request, SECONDS)
        with fails('NOT_FOUND', 'Servable not found for request: Latest(nobody)'):
            server.prediction.Predict(predict_request('nobody', x=x(1)), SECONDS)


def check_predict_errors(address: str):
    with stubs(address) as server:
        with fails('FAILED_PRECONDITION', 'Serving signature key "nope" not found.'):
            server.prediction.Predict(predict_request(signature_name='nope', x=x(1)), SECONDS)
        with fails('INVALID_ARGUMENT', 'input size does not match signature', 'Sent extra: {extra}'):
            server.prediction.Predict(predict_request(x=x(1), extra=x(1)), SECONDS)
        for wrong in (np.int32([1]), np.float64([1]), np.array([b'a'], object)):
            with fails('INVALID_ARGUMENT', 'float'):
                server.prediction.Predict(predict_request(x=wrong), SECONDS)
        with fails('INVALID_ARGUMENT'):
            server.prediction.Predict(predict_pb2.PredictRequest(), SECONDS)
        request = predict_request(x=x(1))
        request.output_filter.append('nope')
        with fails('INVALID_ARGUMENT', 'output tensor alias not found in signature: nope'):
            server.prediction.Predict(request, SECONDS)
        request.output_filter[:] = ['y', 'y']
        with fails('INVALID_ARGUMENT', 'duplicate output tensor alias: y'):
            server.prediction.Predict(request, SECONDS)
        request.output_filter[:] = ['y']
        assert list(server.prediction.Predict(request, SECONDS).outputs) == ['y']


def check_classify(address: str):
    with stubs(address) as server:
        request = classification_pb2.ClassificationRequest()
        request.model_spec.name = 'half_plus_two'
        request.model_spec.signature_name = 'classify_x_to_y'
        fill_examples(request.input, 10.0, 20.0)
        response = server.prediction.Classify(request, SECONDS)
        assert [[(one.label, one.score) for one in row.classes] for row in response.result.classifications] == [
            [('', 7.0)], [('', 12.0)]]
        assert response.model_spec.version.value == 123
        fill_examples(request.input, context={'x': 4.0})
        request.input.example_list_with_context.examples.add()
        response = server.prediction.Classify(request, SECONDS)
        assert response.result.classifications[0].classes[0].score == 4.0
        request.input.Clear()
        with fails('INVALID_ARGUMENT', 'Input is empty'):
            server.prediction.Classify(request, SECONDS)
        request.model_spec.signature_name = 'nope'
        fill_examples(request.input, 1.0)
        with fails('INVALID_ARGUMENT', 'No signature was found with the name: nope'):
            server.prediction.Classify(request, SECONDS)


def check_regress(address: str):
    with stubs(address) as server:
        request = regression_pb2.RegressionRequest()
        request.model_spec.name = 'half_plus_two'
        request.model_spec.signature_name = 'regress_x_to_y'
        fill_examples(request.input, 80.0, 2.0)
        response = server.prediction.Regress(request, SECONDS)
        assert [one.value for one in response.result.regressions] == [42.0, 3.0]
        request.model_spec.name = 'nobody'
        with fails('NOT_FOUND'):
            server.prediction.Regress(request, SECONDS)


def check_multi_inference(address: str):
    def task(method: str, signature_name: str, name: str = 'half_plus_two'):
        one = inference_pb2.InferenceTask(method_name=f'tensorflow/serving/{method}')
        one.model_spec.name, one.model_spec.signature_name = name, signature_name
        return one

    def request(*tasks) -> inference_pb2.MultiInferenceRequest:
        one = inference_pb2.MultiInferenceRequest(tasks=tasks)
        fill_examples(one.input, 10.0)
        return one

    classify, regress = task('classify', 'classify_x_to_y'), task('regress', 'regress_x_to_y')
    with stubs(address) as server:
        results = server.prediction.MultiInference(request(classify, regress), SECONDS).results
        assert [one.WhichOneof('result') for one in results] == ['classification_result', 'regression_result']
        assert results[0].classification_result.classifications[0].classes[0].score == 7.0
        assert results[1].regression_result.regressions[0].value == 7.0
        assert [one.model_spec.signature_name for one in results] == ['classify_x_to_y', 'regress_x_to_y']
        with fails('INVALID_ARGUMENT', 'Duplicate evaluation of signature: classify_x_to_y'):
            server.prediction.MultiInference(request(classify, classify), SECONDS)
        with fails('INVALID_ARGUMENT', 'must access the same model name'):
            server.prediction.MultiInference(request(classify, task('regress', 'regress_x_to_y', 'default')), SECONDS)
        with fails('UNIMPLEMENTED', 'Unsupported signature method_name: tensorflow/serving/predict'):
            server.prediction.MultiInference(request(task('predict', 'serving_default')), SECONDS)
        with fails('INVALID_ARGUMENT'):
            server.prediction.MultiInference(request(), SECONDS)


def check_metadata(address: str):
    with stubs(address) as server:
        request = get_model_metadata_pb2.GetModelMetadataRequest()
        request.model_spec.name = 'half_plus_two'
        with fails('INVALID_ARGUMENT', 'must specify at least one metadata_field'):
            server.prediction.GetModelMetadata(request, SECONDS)
        request.metadata_field.append('weights')
        with fails('INVALID_ARGUMENT', 'is not supported'):
            server.prediction.GetModelMetadata(request, SECONDS)
        request.metadata_field[:] = ['signature_def']
        response = server.prediction.GetModelMetadata(request, SECONDS)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        assert response.metadata['signature_def'].Unpack(signatures)
        assert {'serving_default', 'classify_x_to_y', 'regress_x_to_y'} <= set(signatures.signature_def)
        assert response.model_spec.version.value == 123
        with fails('INVALID_ARGUMENT', 'Missing ModelSpec'):
            server.prediction.GetModelMetadata(get_model_metadata_pb2.GetModelMetadataRequest(), SECONDS)


def check_status(address: str):
    with stubs(address) as server:
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = 'half_plus_two'
        reply = server.model.GetModelStatus(request, SECONDS)
        assert [(one.version, one.state, one.status.error_message) for one in reply.model_version_status] == [
            (123, get_model_status_pb2.ModelVersionStatus.AVAILABLE, '')]
        request.model_spec.version.value = 9
        with fails('NOT_FOUND', 'Could not find version 9 of model half_plus_two'):
            server.model.GetModelStatus(request, SECONDS)
        with fails('INVALID_ARGUMENT', 'Missing ModelSpec'):
            server.model.GetModelStatus(get_model_status_pb2.GetModelStatusRequest(), SECONDS)


CHECKS = {run.__name__.removeprefix('check_'): run for run in (
    check_predict, check_versions_and_labels, check_predict_errors, check_classify, check_regress,
    check_multi_inference, check_metadata, check_status)}

"""The gRPC front end: PredictionService's Predict and GetModelMetadata, ModelService's GetModelStatus."""

import concurrent.futures
import contextlib
import math
import time

import grpc
import numpy as np

from serving import api, bounds
from serving.errors import ServingError, invalid
from serving.limits import Limits, exceeded


def start(models: api.Models, host: str, port: int, limits: Limits) -> tuple[grpc.Server, int]:
    """Starts a server. Returns it and its port (port 0 picks a free one). Raises RuntimeError if the port is taken."""
    from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc
    server = grpc.server(
        concurrent.futures.ThreadPoolExecutor(limits.workers, 'grpc'), maximum_concurrent_rpcs=limits.max_requests,
        options=[('grpc.max_receive_message_length', limits.max_body_bytes), ('grpc.so_reuseport', 0)])
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        _prediction_service(prediction_service_pb2_grpc.PredictionServiceServicer, models, limits), server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(
        _model_service(model_service_pb2_grpc.ModelServiceServicer, models), server)
    bound = server.add_insecure_port(f'[{host}]:{port}' if ':' in host else f'{host}:{port}')
    if not bound:
        raise RuntimeError(f'port {port} of {host} is taken')
    server.start()
    return server, bound


@contextlib.contextmanager
def _errors_as_status(context):
    """A ServingError within the block ends the call with its code and message."""
    try:
        yield
    except ServingError as error:
        context.abort(getattr(grpc.StatusCode, error.code, grpc.StatusCode.UNKNOWN), error.message)


def _model_spec(spec) -> tuple[str, int | None, str | None]:
    """The name, version number and version label in a ModelSpec; at most one of the latter two is given."""
    choice = spec.WhichOneof('version_choice')
    return (spec.name, spec.version.value if choice == 'version' else None,
            spec.version_label if choice == 'version_label' else None)


def _prediction_service(base, models: api.Models, limits: Limits):
    import tensorflow as tf
    from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2

    class PredictionService(base):

        def Predict(self, request, context):
            with _errors_as_status(context):
                deadline = time.monotonic() + min(context.time_remaining() or limits.timeout_s, limits.timeout_s)
                name, version, label = _model_spec(request.model_spec)
                with models.acquire(name, version, label) as (number, model):
                    signature = model.signature(request.model_spec.signature_name)
                    inputs = _arrays(request.inputs, limits)
                    outputs = bounds.run(model, signature.name, inputs, deadline, limits, list(request.output_filter))
                response = predict_pb2.PredictResponse()
                response.model_spec.name = name
                response.model_spec.version.value = number
                response.model_spec.signature_name = signature.name
                for key, value in outputs.items():
                    response.outputs[key].CopyFrom(tf.make_tensor_proto(value))
                return response

        def GetModelMetadata(self, request, context):
            with _errors_as_status(context):
                if list(request.metadata_field) != ['signature_def']:
                    raise invalid('GetModelMetadata: metadata_field must be signature_def. '
                                  f'Got: {list(request.metadata_field)}')
                name, version, label = _model_spec(request.model_spec)
                with models.acquire(name, version, label) as (number, model):
                    signatures = get_model_metadata_pb2.SignatureDefMap()
                    for key, proto in model.signature_defs.items():
                        signatures.signature_def[key].CopyFrom(proto)
                response = get_model_metadata_pb2.GetModelMetadataResponse()
                response.model_spec.name = name
                response.model_spec.version.value = number
                response.metadata['signature_def'].Pack(signatures)
                return response

    return PredictionService()


def _model_service(base, models: api.Models):
    from tensorflow_serving.apis import get_model_status_pb2

    class ModelService(base):

        def GetModelStatus(self, request, context):
            with _errors_as_status(context):
                name, version, _ = _model_spec(request.model_spec)
                response = get_model_status_pb2.GetModelStatusResponse()
                for snapshot in models.status(name, version):
                    status = response.model_version_status.add()
                    status.version = snapshot.number
                    status.state = get_model_status_pb2.ModelVersionStatus.State.Value(snapshot.state)
                    code = snapshot.error.code if snapshot.error else 'OK'
                    status.status.error_code = type(status.status).DESCRIPTOR.fields_by_name[
                        'error_code'].enum_type.values_by_name[code].number
                    status.status.error_message = snapshot.error.message if snapshot.error else ''
                return response

    return ModelService()


def _arrays(tensors, limits: Limits) -> dict[str, np.ndarray]:
    """TensorProtos by name as arrays. Their sizes are checked first: one value may stand for an array of any shape."""
    shapes, size = {}, 0
    for name, tensor in tensors.items():
        shapes[name] = sizes = [dim.size for dim in tensor.tensor_shape.dim]
        if tensor.tensor_shape.unknown_rank or min(sizes, default=0) < 0:
            raise invalid(f'Input {name} has no complete shape')
        size += _size(tensor, math.prod(sizes))
    bounds.check_shapes(shapes, limits)
    if size > limits.max_body_bytes:
        raise exceeded('Bytes in the tensors of the request', size, 'max_body_bytes', limits.max_body_bytes,
                       'Send fewer instances at once.')
    return {name: _array(name, tensor) for name, tensor in tensors.items()}


def _size(tensor, count: int) -> int:
    """Bytes of the values of a TensorProto that has `count` of them, once the last one is repeated up to there."""
    import tensorflow as tf
    try:
        return count * tf.dtypes.as_dtype(tensor.dtype).size if tensor.dtype != tf.string.as_datatype_enum else (
            sum(map(len, tensor.string_val))
            + max(0, count - len(tensor.string_val)) * len(tensor.string_val[-1] if tensor.string_val else b''))
    except TypeError:  # no type of TensorFlow's; the conversion says so
        return 0


def _array(name: str, tensor) -> np.ndarray:
    import tensorflow as tf
    try:
        return tf.make_ndarray(tensor)
    except (TypeError, ValueError) as error:
        raise invalid(f'Input {name} is not a tensor: {error}') from None

"""The gRPC front end: PredictionService, ModelService and the health service, as TensorFlow Serving answers them."""

import concurrent.futures
import contextlib
import math
import time

import grpc
import numpy as np

from model_code import signature_names
from serving import api, bounds, grpc_guard, metrics
from serving.errors import ServingError, invalid
from serving.json_tensors import MAX_RANK
from serving.limits import Limits, exceeded

HEALTH_SERVICES = ('', 'ModelService', 'PredictionService')
"""The names that the health service knows: the server's, and TensorFlow Serving's two."""

_CLASSIFY, _REGRESS = 'tensorflow/serving/classify', 'tensorflow/serving/regress'  # a MultiInference task's methods
_PYTHON_VALUES = 2**16  # of an array, as Python objects at once: each takes several times its size in the array
# The field of a TensorProto that holds the values of a type. Clients read them by these names.
_FIELDS = {np.dtype(np.float32): 'float_val', np.dtype(np.float64): 'double_val', np.dtype(np.int64): 'int64_val',
           np.dtype(np.bool_): 'bool_val', np.dtype(np.uint32): 'uint32_val', np.dtype(np.uint64): 'uint64_val',
           np.dtype(object): 'string_val',
           **{np.dtype(small): 'int_val' for small in (np.int8, np.int16, np.int32, np.uint8, np.uint16)}}


def start(models: api.Models, host: str, port: int, limits: Limits,
          guard: grpc_guard.Guard) -> tuple[grpc.Server, int]:
    """Starts a server. Returns it and its port (port 0 picks a free one). Raises RuntimeError if the port is taken."""
    from grpc_health.v1 import health_pb2_grpc
    from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc
    server = grpc.server(
        concurrent.futures.ThreadPoolExecutor(limits.max_requests, 'grpc'), maximum_concurrent_rpcs=limits.max_requests,
        interceptors=[guard], options=grpc_guard.options(limits))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        _prediction_service(prediction_service_pb2_grpc.PredictionServiceServicer, models, limits), server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(
        _model_service(model_service_pb2_grpc.ModelServiceServicer, models), server)
    health_pb2_grpc.add_HealthServicer_to_server(_health_service(health_pb2_grpc.HealthServicer, models), server)
    bound = server.add_insecure_port(f'[{host}]:{port}' if ':' in host else f'{host}:{port}')
    if not bound:
        raise RuntimeError(f'port {port} of {host} is taken')
    server.start()
    return server, bound


@contextlib.contextmanager
def _errors_as_status(context):
    """A ServingError within the block ends the call with its code and message; any other exception with INTERNAL."""
    try:
        yield
    except ServingError as error:
        failure = error
    except Exception as error:
        failure = ServingError('INTERNAL', f'{type(error).__name__}: {error}')
    else:
        return
    context.abort(getattr(grpc.StatusCode, failure.code, grpc.StatusCode.UNKNOWN), failure.message)


@contextlib.contextmanager
def _counted(models: api.Models, name: str, method: str):
    """Counts and times a request, as TensorFlow Serving does, which leaves out MultiInference, metadata and status."""
    def count(code: str, seconds: float):
        metrics.request(models.metric_name(name), method, 'GRPC', code, seconds)
    with api.timed(count):
        yield


def _model_spec(request) -> tuple[str, int | None, str | None]:
    """The name, version number and version label in a request's ModelSpec; at most one of the latter two is given."""
    if not request.HasField('model_spec'):
        raise invalid('Missing ModelSpec')
    spec = request.model_spec
    if not spec.name:
        raise invalid('ModelSpec has no name specified.')
    choice = spec.WhichOneof('version_choice')
    return (spec.name, spec.version.value if choice == 'version' else None,
            spec.version_label if choice == 'version_label' else None)


def _fill_spec(spec, name: str, number: int, signature_name: str = ''):
    """Writes the ModelSpec of a response."""
    spec.name = name
    spec.version.value = number
    spec.signature_name = signature_name


def _prediction_service(base, models: api.Models, limits: Limits):
    from tensorflow_serving.apis import (
        classification_pb2,
        get_model_metadata_pb2,
        inference_pb2,
        predict_pb2,
        regression_pb2,
    )

    def deadline(context) -> float:
        remaining = context.time_remaining()
        return time.monotonic() + min(limits.timeout_s if remaining is None else remaining, limits.timeout_s)

    def of_examples(request, context, method: str, run, response, fill):
        """Answers Classify or Regress: `run` asks the model, and `fill` puts what it said into the response."""
        with _errors_as_status(context), _counted(models, request.model_spec.name, method):
            name, version, label = _model_spec(request)
            signature_name = request.model_spec.signature_name
            with models.acquire(name, version, label) as (number, model):
                found = run(model, name, signature_name, _examples(request.input), deadline(context), limits)
            _fill_spec(response.model_spec, name, number, signature_name or signature_names.DEFAULT)
            fill(response.result, found)
            return response

    class PredictionService(base):

        def Predict(self, request, context):
            with _errors_as_status(context), _counted(models, request.model_spec.name, 'Predict'):
                name, version, label = _model_spec(request)
                with models.acquire(name, version, label) as (number, model):
                    signature_name = request.model_spec.signature_name or signature_names.DEFAULT
                    if signature_name not in model.signatures:
                        raise ServingError('FAILED_PRECONDITION',
                                           f'Serving signature key "{signature_name}" not found.')
                    declared = {key: one.dtype for key, one in model.signatures[signature_name].inputs.items()}
                    inputs = _arrays(request.inputs, declared, limits)
                    outputs = api.run(model, name, signature_name, inputs, deadline(context), limits, _filter(request))
                response = predict_pb2.PredictResponse()
                _fill_spec(response.model_spec, name, number, signature_name)
                for key, value in outputs.items():
                    response.outputs[key].CopyFrom(_proto(value))
                return response

        def Classify(self, request, context):
            return of_examples(request, context, 'Classify', api.classify,
                               classification_pb2.ClassificationResponse(), _fill_classifications)

        def Regress(self, request, context):
            return of_examples(request, context, 'Regress', api.regress, regression_pb2.RegressionResponse(),
                               _fill_regressions)

        def MultiInference(self, request, context):
            with _errors_as_status(context):
                name, version, label = _one_model(request.tasks)
                examples, until = _examples(request.input), deadline(context)
                response = inference_pb2.MultiInferenceResponse()
                with models.acquire(name, version, label) as (number, model):
                    for task in request.tasks:
                        signature_name = task.model_spec.signature_name
                        result = response.results.add()
                        _fill_spec(result.model_spec, name, number, signature_name or signature_names.DEFAULT)
                        if task.method_name == _CLASSIFY:
                            _fill_classifications(result.classification_result,
                                                  api.classify(model, name, signature_name, examples, until, limits))
                        else:
                            _fill_regressions(result.regression_result,
                                              api.regress(model, name, signature_name, examples, until, limits))
                return response

        def GetModelMetadata(self, request, context):
            with _errors_as_status(context):
                name, version, label = _model_spec(request)
                if not request.metadata_field:
                    raise invalid('GetModelMetadataRequest must specify at least one metadata_field')
                for field in request.metadata_field:
                    if field != 'signature_def':
                        raise invalid(f'Metadata field {field} is not supported')
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
                name, version, _ = _model_spec(request)
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

        def HandleReloadConfigRequest(self, request, context):
            context.abort(grpc.StatusCode.UNIMPLEMENTED,
                          'This server takes no new configuration while it runs. Push a version to the folder of a '
                          'model, or start it again with another --model-config')

    return ModelService()


def _health_service(base, models: api.Models):
    from grpc_health.v1 import health_pb2

    class HealthService(base):
        """SERVING once every model has a version that serves. Watch is left out: it would hold a request's place."""

        def Check(self, request, context):
            if request.service not in HEALTH_SERVICES:
                context.abort(grpc.StatusCode.NOT_FOUND, f'There is no service {request.service!r}. The services are '
                                                         "'', 'ModelService' and 'PredictionService'")
            status = health_pb2.HealthCheckResponse
            return health_pb2.HealthCheckResponse(status=status.SERVING if models.ready() else status.NOT_SERVING)

    return HealthService()


def _one_model(tasks) -> tuple[str, int | None, str | None]:
    """The model of all tasks of a MultiInference request, which is checked before anything runs."""
    if not tasks:
        raise invalid('Inference request must contain at least one task.')
    seen = set()
    for task in tasks:
        if not task.model_spec.name:
            raise invalid('Found ModelSpec with an empty model name.')
        if task.model_spec.name != tasks[0].model_spec.name:
            raise invalid('All ModelSpecs in a MultiInferenceRequest must access the same model name.')
        signature_name = task.model_spec.signature_name or signature_names.DEFAULT
        if signature_name in seen:
            raise invalid(f'Duplicate evaluation of signature: {signature_name}')
        seen.add(signature_name)
        if task.method_name not in (_CLASSIFY, _REGRESS):
            raise ServingError('UNIMPLEMENTED', f'Unsupported signature method_name: {task.method_name}')
    return _model_spec(tasks[0])


def _examples(request_input) -> list[bytes]:
    """The serialized tf.Examples of an Input, each after its context, if there is one."""
    kind = request_input.WhichOneof('kind')
    if kind == 'example_list':
        return [example.SerializeToString() for example in request_input.example_list.examples]
    if kind == 'example_list_with_context':
        # Protos merge when their bytes are joined. The later one wins, so an example's feature beats the context's.
        context = request_input.example_list_with_context.context.SerializeToString()
        return [context + example.SerializeToString() for example in request_input.example_list_with_context.examples]
    raise invalid('Input is empty.')


def _fill_classifications(result, pairs: list):
    for row in pairs:
        classes = result.classifications.add().classes
        for label, score in row:
            classes.add(label=label, score=score)


def _fill_regressions(result, values: np.ndarray):
    for value in values.tolist():
        result.regressions.add(value=value)


def _filter(request) -> list[str]:
    """The names of the outputs that a Predict request asks for."""
    names: dict[str, None] = {}
    for name in request.output_filter:
        if name in names:
            raise invalid(f'duplicate output tensor alias: {name}')
        names[name] = None
    return list(names)


def _arrays(tensors, declared: dict[str, str], limits: Limits) -> dict[str, np.ndarray]:
    """TensorProtos by name as arrays. Their sizes are checked first: one value may stand for an array of any shape.

    declared: the type, such as 'DT_FLOAT', of each input of the signature.
    """
    shapes, size = {}, 0
    for name, tensor in tensors.items():
        shapes[name] = sizes = [dim.size for dim in tensor.tensor_shape.dim]
        if tensor.tensor_shape.unknown_rank or min(sizes, default=0) < 0:
            raise invalid(f'Input {name} has no complete shape')
        if len(sizes) > MAX_RANK:  # the product of very many sizes would take minutes
            raise invalid(f'Input {name} has {len(sizes):,} dimensions. This server takes at most {MAX_RANK}')
        if name in declared:
            _check_type(name, tensor.dtype, declared[name])
        size += _size(tensor, math.prod(sizes))
    bounds.check_shapes(shapes, limits)
    if size > limits.max_body_bytes:
        raise exceeded('Bytes in the tensors of the request', size, 'max_body_bytes', limits.max_body_bytes,
                       'Send fewer instances at once.')
    # What the signature does not have is refused by its name, so its values are not read.
    return {name: _array(name, tensor) if name in declared else np.empty(0) for name, tensor in tensors.items()}


def _check_type(name: str, number: int, declared: str):
    from tensorflow.core.framework import types_pb2
    given = types_pb2.DataType.Name(number) if number in types_pb2.DataType.values() else f'type {number}'
    if given != declared:
        raise invalid(f'Input {name} is expected to be {_type_text(declared)} but {_type_text(given)} is provided')


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


def _type_text(dtype: str) -> str:
    return dtype.removeprefix('DT_').lower()


def _proto(value: np.ndarray):
    """An array as a TensorProto whose values are in the field of their type, where TensorFlow Serving puts them."""
    import tensorflow as tf
    from tensorflow.core.framework import tensor_pb2
    if value.dtype not in _FIELDS:
        return tf.make_tensor_proto(value)
    proto = tensor_pb2.TensorProto(dtype=tf.as_dtype(value.dtype).as_datatype_enum)
    for size in value.shape:
        proto.tensor_shape.dim.add(size=size)
    flat, field = value.ravel(), getattr(proto, _FIELDS[value.dtype])
    for start in range(0, flat.size, _PYTHON_VALUES):
        field.extend(flat[start:start + _PYTHON_VALUES].tolist())
    return proto

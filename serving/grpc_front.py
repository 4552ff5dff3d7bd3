"""The gRPC front end: PredictionService, ModelService and the health service, as TensorFlow Serving answers them.

It lives in the event loop of the REST front end. serving.grpc_guard reads the requests and calls what is here.
"""

import contextlib
import math
import time
import typing

import grpc
import numpy as np
import tensorflow as tf
from grpc_health.v1 import health_pb2
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)

from model_code import signature_names
from serving import api, bounds, grpc_guard, metrics
from serving.errors import ServingError, invalid
from serving.grpc_guard import Method, quick
from serving.json_tensors import MAX_RANK
from serving.limits import Limits, exceeded
from serving.logs import AccessLog

HEALTH_SERVICES = ('', 'ModelService', 'PredictionService')
"""The names that the health service knows: the server's, and TensorFlow Serving's two."""

_CLASSIFY, _REGRESS = 'tensorflow/serving/classify', 'tensorflow/serving/regress'  # a MultiInference task's methods
_PYTHON_VALUES = 2**16  # of an array, as Python objects at once: each takes several times its size in the array
_SMALL_ELEMENTS = 64  # of the tensors of a request that the event loop reads itself; each may be a medium
_TYPES = dict(types_pb2.DataType.items())  # 'DT_FLOAT' -> its number
# The number of a type, and the field of a TensorProto that holds its values. Clients read them by these names.
_FIELDS = {dtype: (tf.dtypes.as_dtype(dtype).as_datatype_enum, field) for dtype, field in {
    np.dtype(np.float32): 'float_val', np.dtype(np.float64): 'double_val', np.dtype(np.int64): 'int64_val',
    np.dtype(np.bool_): 'bool_val', np.dtype(np.uint32): 'uint32_val', np.dtype(np.uint64): 'uint64_val',
    np.dtype(object): 'string_val',
    **{np.dtype(small): 'int_val' for small in (np.int8, np.int16, np.int32, np.uint8, np.uint16)}}.items()}


class GrpcFront:
    """Answers gRPC. It lives in one event loop, in which its methods are called."""

    def __init__(self, models: api.Models, limits: Limits, access_log: AccessLog | None = None):
        self._guard = grpc_guard.Guard(limits, access_log)
        # What is read, too, has a bound; that on predictions is the guard's.
        self._server = grpc.aio.server(options=grpc_guard.options(limits),
                                       maximum_concurrent_rpcs=limits.max_connections)
        services = {'tensorflow.serving.PredictionService': _prediction_service(models, limits),
                    'tensorflow.serving.ModelService': _model_service(models),
                    'grpc.health.v1.Health': _health_service(models)}
        self._server.add_generic_rpc_handlers([
            grpc.method_handlers_generic_handler(service, {
                name: self._guard.handler(f'/{service}/{name}', method) for name, method in methods.items()})
            for service, methods in services.items()])

    async def start(self, host: str, port: int) -> int:
        """Returns the port (port 0 picks a free one). Raises RuntimeError if it is taken."""
        try:
            bound = self._server.add_insecure_port(f'[{host}]:{port}' if ':' in host else f'{host}:{port}')
        except RuntimeError as error:
            raise RuntimeError(str(error).split(';', 1)[0]) from None  # without what gRPC's own variables may tell
        if not bound:
            raise RuntimeError(f'port {port} of {host} is taken')
        await self._server.start()
        return bound

    async def stop(self, seconds: float) -> int:
        """Refuses requests from now on, and waits for those in progress, so long at most. Returns how many go on."""
        await self._server.stop(seconds)
        self._guard.close()
        return self._guard.predictions


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


def _prediction_service(models: api.Models, limits: Limits) -> dict[str, Method]:
    def inputs_of(request, model) -> tuple[str, dict[str, np.ndarray]]:
        """The name of a predict request's signature, and its inputs."""
        signature_name = request.model_spec.signature_name or signature_names.DEFAULT
        if signature_name not in model.signatures:
            raise ServingError('FAILED_PRECONDITION', f'Serving signature key "{signature_name}" not found.')
        declared = {key: one.dtype for key, one in model.signatures[signature_name].inputs.items()}
        return signature_name, _arrays(request.inputs, declared, limits)

    def predicted(name: str, number: int, signature_name: str, outputs: dict[str, np.ndarray]):
        response = predict_pb2.PredictResponse()
        _fill_spec(response.model_spec, name, number, signature_name)
        for key, value in outputs.items():
            _fill_tensor(response.outputs[key], value)
        return response

    def predict(request, until: float):
        with _counted(models, request.model_spec.name, 'Predict'):
            name, version, label = _model_spec(request)
            with models.acquire(name, version, label) as (number, model):
                signature_name, inputs = inputs_of(request, model)
                outputs = api.run(model, name, signature_name, inputs, until, limits, _filter(request))
            return predicted(name, number, signature_name, outputs)

    async def predict_in_loop(request, until: float):
        with _counted(models, request.model_spec.name, 'Predict'):
            name, version, label = _model_spec(request)
            with models.acquire(name, version, label) as (number, model):
                signature_name, inputs = inputs_of(request, model)
                outputs = await api.run_in_loop(model, name, signature_name, inputs, until, limits, _filter(request),
                                                until - time.monotonic())
            return predicted(name, number, signature_name, outputs)

    def of_examples(request, until: float, method: str, run, response, fill):
        """Answers Classify or Regress: `run` asks the model, and `fill` puts what it said into the response."""
        with _counted(models, request.model_spec.name, method):
            name, version, label = _model_spec(request)
            signature_name = request.model_spec.signature_name
            with models.acquire(name, version, label) as (number, model):
                found = run(model, name, signature_name, _examples(request.input), until, limits)
            _fill_spec(response.model_spec, name, number, signature_name or signature_names.DEFAULT)
            fill(response.result, found)
            return response

    def classify(request, until: float):
        return of_examples(request, until, 'Classify', api.classify, classification_pb2.ClassificationResponse(),
                           _fill_classifications)

    def regress(request, until: float):
        return of_examples(request, until, 'Regress', api.regress, regression_pb2.RegressionResponse(),
                           _fill_regressions)

    def multi_inference(request, until: float):
        name, version, label = _one_model(request.tasks)
        examples = _examples(request.input)
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

    def metadata(request, until: float):
        del until
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

    return {'Predict': Method(predict_pb2.PredictRequest, predict, predict_in_loop, _is_small),
            'Classify': Method(classification_pb2.ClassificationRequest, classify),
            'Regress': Method(regression_pb2.RegressionRequest, regress),
            'MultiInference': Method(inference_pb2.MultiInferenceRequest, multi_inference),
            'GetModelMetadata': quick(get_model_metadata_pb2.GetModelMetadataRequest, metadata)}


def _is_small(request) -> bool:
    """Whether a predict request has so few values that the event loop may look at each."""
    if len(request.inputs) > _SMALL_ELEMENTS:
        return False
    elements = 0
    for tensor in request.inputs.values():
        if len(tensor.tensor_shape.dim) > MAX_RANK:
            return False
        count = math.prod(dim.size for dim in tensor.tensor_shape.dim)
        if 0 < len(tensor.string_val) < count:  # the last one stands for others: that many bytes are no bound
            return False
        elements += count
    return elements <= _SMALL_ELEMENTS


def _model_service(models: api.Models) -> dict[str, Method]:
    def status(request, until: float):
        del until
        name, version, _ = _model_spec(request)
        response = get_model_status_pb2.GetModelStatusResponse()
        for snapshot in models.status(name, version):
            one = response.model_version_status.add()
            one.version = snapshot.number
            one.state = get_model_status_pb2.ModelVersionStatus.State.Value(snapshot.state)
            code = snapshot.error.code if snapshot.error else 'OK'
            one.status.error_code = type(one.status).DESCRIPTOR.fields_by_name[
                'error_code'].enum_type.values_by_name[code].number
            one.status.error_message = snapshot.error.message if snapshot.error else ''
        return response

    def reload(request, until: float) -> typing.NoReturn:
        raise ServingError('UNIMPLEMENTED', 'This server takes no new configuration while it runs. Push a version to '
                                            'the folder of a model, or start it again with another --model-config')

    return {'GetModelStatus': quick(get_model_status_pb2.GetModelStatusRequest, status),
            'HandleReloadConfigRequest': quick(model_management_pb2.ReloadConfigRequest, reload)}


def _health_service(models: api.Models) -> dict[str, Method]:
    """SERVING once every model has a version that serves. Watch is left out: it would hold a request's place."""
    def check(request, until: float):
        del until
        if request.service not in HEALTH_SERVICES:
            raise ServingError('NOT_FOUND', f"There is no service {request.service!r}. The services are '', "
                                            "'ModelService' and 'PredictionService'")
        status = health_pb2.HealthCheckResponse
        return health_pb2.HealthCheckResponse(status=status.SERVING if models.ready() else status.NOT_SERVING)

    return {'Check': quick(health_pb2.HealthCheckRequest, check)}


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
    return {name: _array(name, tensor, shapes[name]) if name in declared else np.empty(0)
            for name, tensor in tensors.items()}


def _check_type(name: str, number: int, declared: str):
    if _TYPES.get(declared) != number:
        given = next((text for text, value in _TYPES.items() if value == number), f'type {number}')
        raise invalid(f'Input {name} is expected to be {_type_text(declared)} but {_type_text(given)} is provided')


def _size(tensor, count: int) -> int:
    """Bytes of the values of a TensorProto that has `count` of them, once the last one is repeated up to there."""
    if tensor.dtype == types_pb2.DT_STRING:
        values = tensor.string_val
        return sum(map(len, values)) + max(0, count - len(values)) * len(values[-1] if values else b'')
    try:
        return count * tf.dtypes.as_dtype(tensor.dtype).size
    except TypeError:  # no type of TensorFlow's; the conversion says so
        return 0


def _array(name: str, tensor, shape: list[int]) -> np.ndarray:
    if tensor.dtype == types_pb2.DT_STRING and len(tensor.string_val) == math.prod(shape):
        return np.array(list(tensor.string_val), object).reshape(shape)  # for one string in a third of the time
    try:
        return tf.make_ndarray(tensor)
    except (TypeError, ValueError) as error:
        raise invalid(f'Input {name} is not a tensor: {error}') from None


def _type_text(dtype: str) -> str:
    return dtype.removeprefix('DT_').lower()


def _fill_tensor(proto, value: np.ndarray):
    """Writes an array into a TensorProto. Its values go into the field of their type, as TensorFlow Serving has it."""
    if value.dtype not in _FIELDS:
        proto.CopyFrom(tf.make_tensor_proto(value))
        return
    proto.dtype, name = _FIELDS[value.dtype]
    for size in value.shape:
        proto.tensor_shape.dim.add(size=size)
    flat, field = value.ravel(), getattr(proto, name)
    for start in range(0, flat.size, _PYTHON_VALUES):
        field.extend(flat[start:start + _PYTHON_VALUES].tolist())

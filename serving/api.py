"""The served models, by name, and the answers to REST requests. The gRPC front end uses only the models."""

import asyncio
import contextlib
import threading
import time
import typing

import numpy as np

from model_code import signature_names
from serving import bounds, json_parser, json_tensors, metrics, saved_model
from serving.errors import ServingError, invalid
from serving.limits import Limits
from serving.versions import ModelVersions, no_status, not_found, unknown_label

_SMALL_BYTES, _SMALL_QUOTES = 2**17, 64
_MAX_PARSED = 2


class Models:
    """The models of a server, by name."""

    def __init__(self, models: list[ModelVersions]):
        self._models = {model.name: model for model in models}
        self.stopping = False  # then no model is ready for a new request
        # A parsed document takes many times the memory of its text, so only so many are there at once.
        self.parsing = threading.BoundedSemaphore(_MAX_PARSED)

    def __iter__(self):
        return iter(self._models.values())

    def __contains__(self, name: str) -> bool:
        return name in self._models

    @contextlib.contextmanager
    def acquire(self, name: str, version: int | None = None, label: str | None = None):
        """(version number, SavedModel), kept loaded within the block.

        Raises ServingError, worded as TensorFlow Serving words it, for a model, version or label that is not served.
        """
        if name not in self._models:
            raise unknown_label(label) if label is not None else not_found(name, version)
        with self._models[name].acquire(version, label) as acquired:
            yield acquired

    def metric_name(self, name: str) -> str:
        """What stands for a model in the metrics: its name, unless clients ask for too many that are not served."""
        return name if name in self._models else metrics.bounded_name(name)

    def ready(self, name: str | None = None, version: int | None = None) -> bool:
        """Whether a model, or each of them, has a version that serves, and the server is not about to stop."""
        if self.stopping:
            return False
        for one in [name] if name is not None else self._models:
            try:
                snapshots = self.status(one, version)
            except ServingError:
                return False
            if not any(snapshot.state == 'AVAILABLE' for snapshot in snapshots):
                return False
        return True

    def status(self, name: str, version: int | None = None):
        if name not in self._models:
            raise no_status(name, version)
        return self._models[name].status(version)


def predict(models: Models, body: bytes, name: str, version: int | None, label: str | None, deadline: float,
            limits: Limits) -> bytes:
    """The body of a REST predict request -> the body of the reply.

    deadline: the time.monotonic() at which the graph is cancelled.
    """
    with contextlib.ExitStack() as stack:
        with models.parsing:
            document = json_parser.parse_json(body, limits.max_json_depth, limits.max_elements)
            signature_name = json_tensors.signature_name(document)
            _, model = stack.enter_context(models.acquire(name, version, label))
            form, signature, inputs = _inputs(model, signature_name, document)
            del document
        outputs = run(model, name, signature, inputs, deadline, limits)
    return json_tensors.predictions_json(outputs, form)


async def predict_in_loop(models: Models, body: bytes, name: str, version: int | None, label: str | None,
                          deadline: float, limits: Limits) -> bytes:
    """As `predict`, in an event loop, which has other requests while the graph runs. For bodies that `is_small` takes.

    A thread for each request would double the time that the server itself takes.
    """
    document = json_parser.parse_json(body, limits.max_json_depth, limits.max_elements)
    signature_name = json_tensors.signature_name(document)
    with models.acquire(name, version, label) as (_, model):
        form, signature, inputs = _inputs(model, signature_name, document)
        outputs = await run_in_loop(model, name, signature, inputs, deadline, limits)
    return json_tensors.predictions_json(outputs, form)


def is_small(body: bytes) -> bool:
    """Whether a body takes a millisecond or so to read: few strings, each of which may be media, and few numbers."""
    return len(body) <= _SMALL_BYTES and body.count(b'"') <= _SMALL_QUOTES


def _inputs(model, signature_name: str, document: dict) -> tuple[str, str, dict[str, np.ndarray]]:
    """The form of a predict request, the name of its signature, and its inputs."""
    signature = model.signature(signature_name)
    form, inputs = json_tensors.predict_inputs(
        document, {name: tensor.dtype for name, tensor in signature.inputs.items()})
    return form, signature.name, inputs


def _size(inputs: dict[str, np.ndarray]) -> int:
    """The number of examples."""
    return next((len(value) for _, value in sorted(inputs.items()) if value.ndim), 1)


def run(model, model_name: str, signature_name: str, inputs: dict, deadline: float, limits: Limits,
        outputs: typing.Sequence[str] = ()) -> dict:
    """model.run for a predict request: bounded, counted and timed."""
    with _measured(model_name, 'Predict', signature_name, _size(inputs)):
        return bounds.run(model, signature_name, inputs, deadline, limits, outputs)


async def run_in_loop(model, model_name: str, signature_name: str, inputs: dict, deadline: float, limits: Limits,
                      outputs: typing.Sequence[str] = (), wait_s: float | None = None) -> dict:
    """As `run`, in an event loop. wait_s: as for bounds.run_in_loop."""
    with _measured(model_name, 'Predict', signature_name, _size(inputs)):
        return await bounds.run_in_loop(model, signature_name, inputs, deadline, limits, outputs, wait_s)


@contextlib.contextmanager
def timed(count: typing.Callable[[str, float], None]):
    """Tells `count` how the block ended (OK, or the code of its error) and how many seconds it took."""
    began, code = time.monotonic(), 'INTERNAL'
    try:
        yield
        code = 'OK'
    except ServingError as error:
        code = error.code
        raise
    except asyncio.CancelledError:  # the client gave up
        code = 'CANCELLED'
        raise
    finally:
        count(code, time.monotonic() - began)


@contextlib.contextmanager
def _measured(model_name: str, method: str, signature_name: str, size: int):
    """Counts and times a run of a signature, which is the block. size: the number of its examples."""
    def count(code: str, seconds: float):
        metrics.signature(model_name, signature_name, code, seconds, size)
        if code == 'OK':
            metrics.graph_run(model_name, method, seconds)
    with timed(count):
        yield


def classify(model, model_name: str, signature_name: str, examples: list[bytes], deadline: float,
             limits: Limits) -> list:
    """Serialized tf.Examples -> (label, score) pairs for each: bounded, counted and timed."""
    return _run_examples(model, 'Classify', model_name, signature_name, examples, deadline, limits)


def regress(model, model_name: str, signature_name: str, examples: list[bytes], deadline: float,
            limits: Limits) -> np.ndarray:
    """Serialized tf.Examples -> float32 [n]: bounded, counted and timed."""
    return _run_examples(model, 'Regress', model_name, signature_name, examples, deadline, limits)


def _run_examples(model, method: str, model_name: str, signature_name: str, examples, deadline: float, limits: Limits):
    signature_name = signature_name or signature_names.DEFAULT
    if signature_name not in model.signatures:
        raise invalid(f'No signature was found with the name: {signature_name}')
    if not examples:
        raise invalid('Input is empty.')
    metrics.examples(model_name, len(examples))
    with _measured(model_name, method, signature_name, len(examples)):
        bounds.check_examples(examples, limits, deadline)
        run_method = model.classify if method == 'Classify' else model.regress
        return run_method(signature_name, examples, deadline - time.monotonic())


def classify_or_regress(models: Models, body: bytes, name: str, version: int | None, label: str | None,
                        deadline: float, limits: Limits, method: str) -> bytes:
    """The body of a REST classify or regress request -> the body of the reply. method: 'classify' or 'regress'."""
    with models.parsing:
        document = json_parser.parse_json(body, limits.max_json_depth, limits.max_elements)
        signature_name = json_tensors.signature_name(document)
        context, examples = json_tensors.classify_examples(document)
        bounds.check_shapes({'examples': [len(examples)]}, limits)  # before each is made a proto
        # Protos merge when their bytes are joined. The later one wins, so an example's feature beats the context's.
        prefix = saved_model.serialize_example(context) if context else b''
        serialized = [prefix + saved_model.serialize_example(example) for example in examples]
        del document, context, examples
    with models.acquire(name, version, label) as (_, model):
        if method == 'classify':
            return json_tensors.classifications_json(
                classify(model, name, signature_name, serialized, deadline, limits))
        return json_tensors.regressions_json(regress(model, name, signature_name, serialized, deadline, limits))


def status(models: Models, name: str, version: int | None) -> dict:
    """The reply to GET /v1/models/NAME[/versions/V]."""
    return {'model_version_status': [
        {'version': str(snapshot.number), 'state': snapshot.state,
         'status': {'error_code': snapshot.error.code if snapshot.error else 'OK',
                    'error_message': snapshot.error.message if snapshot.error else ''}}
        for snapshot in models.status(name, version)]}


def metadata(models: Models, name: str, version: int | None, label: str | None) -> dict:
    """The reply to GET .../metadata: the inputs and outputs of every signature."""
    with models.acquire(name, version, label) as (number, model):
        signatures = {name: _to_dict(proto) for name, proto in model.signature_defs.items()}
    for signature in signatures.values():
        signature.pop('defaults', None)  # newer releases of TensorFlow Serving leave it out
    return {'model_spec': {'name': name, 'signature_name': '', 'version': str(number)},
            'metadata': {'signature_def': {'signature_def': signatures}}}


def _to_dict(proto) -> dict:
    from google.protobuf import json_format
    try:
        return json_format.MessageToDict(proto, preserving_proto_field_name=True,
                                         including_default_value_fields=True)  # pyright: ignore[reportCallIssue]
    except TypeError:  # protobuf 5 and later have another name for it
        return json_format.MessageToDict(proto, preserving_proto_field_name=True,
                                         always_print_fields_with_no_presence=True)

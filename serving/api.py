"""The served models, by name, and the answers to REST requests. The gRPC front end uses only the models."""

import contextlib
import time

from serving import bounds, json_tensors, saved_model
from serving.limits import Limits
from serving.versions import ModelVersions, no_status, not_found, unknown_label

DEFAULT_URL = 'http://127.0.0.1:8501'  # of a server on this machine


class Models:
    """The models of a server, by name."""

    def __init__(self, models: list[ModelVersions]):
        self._models = {model.name: model for model in models}

    def __iter__(self):
        return iter(self._models.values())

    @contextlib.contextmanager
    def acquire(self, name: str, version: int | None = None, label: str | None = None):
        """(version number, SavedModel), kept loaded within the block.

        Raises ServingError, worded as TensorFlow Serving words it, for a model, version or label that is not served.
        """
        if name not in self._models:
            raise unknown_label(label) if label is not None else not_found(name, version)
        with self._models[name].acquire(version, label) as acquired:
            yield acquired

    def status(self, name: str, version: int | None = None):
        if name not in self._models:
            raise no_status(name, version)
        return self._models[name].status(version)


def predict(models: Models, body: bytes, name: str, version: int | None, label: str | None, deadline: float,
            limits: Limits) -> bytes:
    """The body of a REST predict request -> the body of the reply.

    deadline: the time.monotonic() at which the graph is cancelled.
    """
    document = json_tensors.parse_json(body, limits.max_json_depth, limits.max_elements)
    signature_name = json_tensors.signature_name(document)
    with models.acquire(name, version, label) as (_, model):
        signature = model.signature(signature_name)
        form, inputs = json_tensors.predict_inputs(
            document, {name: tensor.dtype for name, tensor in signature.inputs.items()})
        outputs = bounds.run(model, signature_name, inputs, deadline, limits)
    return json_tensors.predictions_json(outputs, form)


def classify_or_regress(models: Models, body: bytes, name: str, version: int | None, label: str | None,
                        deadline: float, limits: Limits, method: str) -> bytes:
    """The body of a REST classify or regress request -> the body of the reply. method: 'classify' or 'regress'."""
    document = json_tensors.parse_json(body, limits.max_json_depth, limits.max_elements)
    signature_name = json_tensors.signature_name(document)
    context, examples = json_tensors.classify_examples(document)
    with models.acquire(name, version, label) as (_, model):
        # Protos merge when their bytes are joined. The later one wins, so an example's feature beats the context's.
        prefix = saved_model.serialize_example(context) if context else b''
        serialized = [prefix + saved_model.serialize_example(example) for example in examples]
        bounds.check_examples(serialized, limits, deadline)
        remaining = deadline - time.monotonic()
        if method == 'classify':
            return json_tensors.classifications_json(model.classify(signature_name, serialized, remaining))
        return json_tensors.regressions_json(model.regress(signature_name, serialized, remaining))


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

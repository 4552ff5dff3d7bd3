"""Requests to a model over TensorFlow Serving's gRPC API, on one channel.

The messages come from tensorflow-serving-api, whose modules import all of TensorFlow: the first client that uses gRPC
in a process pays for that, and nobody else.
"""

import functools
import os
import time
import typing
import urllib.parse

import grpc
import numpy as np

from serving.addresses import Address, is_local
from serving.errors import HTTP_STATUS, ServingError
from serving.failures import DeadlineExceeded, Denied, Overloaded, PredictionFailed, Unavailable
from serving.retries import Again, retried
from serving.transport import Metadata, Version

_MAX_REPLY_BYTES = 64 * 2**20
_PORT = 8500
_STATES = {0: 'UNKNOWN', 10: 'START', 20: 'LOADING', 30: 'AVAILABLE', 40: 'UNLOADING', 50: 'END'}


class GrpcTransport:
    """address: the model, which may be set anew; https:// is TLS. timeout: seconds for a request with its retries.
    token: for a proxy. Thread-safe.
    """

    def __init__(self, address: Address, timeout: float, token: str = ''):
        os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')  # errors come as exceptions
        from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc
        self.address, self._timeout = address, timeout
        self._headers = (('authorization', f'Bearer {token}'),) if token else ()
        parts = urllib.parse.urlsplit(address.root)
        self._target = f'{parts.netloc.rpartition("@")[2]}{"" if parts.port else f":{_PORT}"}'
        options = [('grpc.max_receive_message_length', _MAX_REPLY_BYTES), ('grpc.enable_retries', 0),
                   ('grpc.enable_http_proxy', 0 if is_local(address.root) else 1),
                   # A server that starts is found at once: attempts come at the pace of serving.retries.
                   ('grpc.initial_reconnect_backoff_ms', 100), ('grpc.max_reconnect_backoff_ms', 1000)]
        self._channel = (grpc.secure_channel(self._target, grpc.ssl_channel_credentials(), options)
                         if parts.scheme == 'https' else grpc.insecure_channel(self._target, options))
        self._predictions: typing.Any = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._models: typing.Any = model_service_pb2_grpc.ModelServiceStub(self._channel)

    def __str__(self):
        return f'The gRPC server at {self._target}'

    def close(self):
        self._channel.close()

    def versions(self, seconds: float) -> list[Version]:
        from tensorflow_serving.apis import get_model_status_pb2
        request = get_model_status_pb2.GetModelStatusRequest()
        self._fill(request.model_spec)
        try:
            reply = self._attempt(self._models.GetModelStatus, request, min(seconds, self._timeout))
        except Again as again:
            raise again.error from None
        return [Version(one.version, _STATES.get(one.state, 'UNKNOWN'), one.status.error_message)
                for one in reply.model_version_status]

    def metadata(self) -> Metadata:
        from tensorflow_serving.apis import get_model_metadata_pb2
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=['signature_def'])
        self._fill(request.model_spec)
        reply = self._request(self._predictions.GetModelMetadata, request)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        if not reply.metadata['signature_def'].Unpack(signatures):
            raise ServingError('INTERNAL', 'the reply has no signatures')
        return Metadata(reply.model_spec.version.value, {
            name: (sorted(one.inputs), sorted(one.outputs)) for name, one in signatures.signature_def.items()})

    def predict(self, signature: str, feature: str, media: list, outputs: list[str]) -> dict[str, np.ndarray]:
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2
        request = predict_pb2.PredictRequest()
        self._fill(request.model_spec)
        request.model_spec.signature_name = signature
        request.inputs[feature].CopyFrom(tf.make_tensor_proto(np.array(media, object), tf.string))
        reply = self._request(self._predictions.Predict, request)
        if missing := [name for name in outputs if name not in reply.outputs]:
            raise ServingError('INTERNAL', f'the reply lacks {missing[0]}, an output of the signature {signature}')
        arrays = {name: tf.make_ndarray(reply.outputs[name]) for name in outputs}
        if any(array.shape[:1] != (len(media),) for array in arrays.values()):
            raise ServingError('INTERNAL', f'the reply does not have {len(media):,} predictions')
        return {name: np.vectorize(_text, otypes=[object])(array) if array.dtype == object else array
                for name, array in arrays.items()}

    def _fill(self, spec):
        spec.name = self.address.model
        if self.address.version is not None:
            spec.version.value = self.address.version

    def _request(self, method, request):
        return retried(functools.partial(self._attempt, method, request), self._timeout)

    def _attempt(self, method, request, seconds: float):
        end = time.monotonic() + seconds
        try:
            return method(request, timeout=seconds, metadata=self._headers)
        except grpc.RpcError as error:
            call = typing.cast(grpc.Call, error)
            raise self._failure(call.code().name, call.details() or '', end - time.monotonic()) from None

    def _failure(self, code: str, details: str, seconds_left: float) -> Exception:
        """seconds_left: below 0 it is this client who did not wait for longer."""
        if code == 'DEADLINE_EXCEEDED' and seconds_left <= 0.01:
            return DeadlineExceeded(f'{self} did not answer within {self._timeout:g} s. Give it a longer timeout.')
        if code == 'RESOURCE_EXHAUSTED' and 'larger than max' in details:  # gRPC's own words
            return ServingError(code, details, HTTP_STATUS['INVALID_ARGUMENT'])
        if code == 'RESOURCE_EXHAUSTED' or code == 'UNAVAILABLE' and 'overloaded' in details:
            return Again(Overloaded(f'{self} is overloaded: {details}'))
        if 'http1' in details.lower() or code in ('UNIMPLEMENTED', 'UNKNOWN') and 'http' in details.lower():
            return PredictionFailed(f'{self} does not answer by gRPC. Give the URL of its gRPC port, such as '
                                    'HOST:8500.')
        if code in ('UNAVAILABLE', 'CANCELLED'):  # a server that stops cancels what has just come
            return Again(Unavailable(f'{self} cannot be reached: {details}. Start a server with `polyvit serve DIR`, '
                                     'wait if it is starting (--wait, Client.wait), or give the URL of another, such '
                                     'as HOST:8500.'))
        if code in ('UNAUTHENTICATED', 'PERMISSION_DENIED'):
            return Denied(f'{self} denies the access: {details}. Put the token that it asks for into the '
                          'environment as POLYVIT_TOKEN.')
        return ServingError(code, details)


def _text(value: bytes) -> str:
    return value.decode('utf-8', 'replace')

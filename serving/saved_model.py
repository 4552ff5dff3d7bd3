"""A SavedModel, loaded and run as TensorFlow Serving does it: a graph in a session, fed and fetched by the tensor names
of its signatures. TensorFlow is imported only when a model is loaded."""

import concurrent.futures
import contextlib
import ctypes
import dataclasses
import functools
import gc
import logging
import time
import typing

import numpy as np

from model_code import modalities, model_directory, signature_names
from serving import batching, metrics
from serving.errors import ServingError, invalid

_MAX_WARMUP_RECORDS = 1000  # as in TensorFlow Serving
_PADDED = {modality.feature for modality in modalities.MODALITIES.values() if modality.repeated}


@dataclasses.dataclass(frozen=True)
class Tensor:
    """An input or output of a signature: its name in the graph, its type ('DT_STRING'), its shape (None: unknown)."""
    graph_name: str
    dtype: str
    shape: tuple[int | None, ...] | None


@dataclasses.dataclass(frozen=True)
class Signature:
    name: str
    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]


class SavedModel:
    """A loaded version: `signatures` by name, their protos in `signature_defs`, and `run`.

    Several threads may call `run`, `submit`, `classify` and `regress`. The graph runs in the thread that calls, or in
    those of `scheduler`, if there is one. Raises ServingError if the model cannot be loaded or a warm-up request fails.
    """

    def __init__(self, directory: str, warm_up: bool = True):
        import tensorflow as tf
        self.directory = directory
        self.scheduler: batching.Scheduler | None = None
        self._queues: dict[tuple, batching.Queue] = {}
        self._graph: typing.Any = tf.Graph()
        self._session: typing.Any = tf.compat.v1.Session(graph=self._graph, config=_config())
        began = time.monotonic()
        try:
            # TensorFlow deprecates this loader, but the recommended one does not run graphs as a server does.
            with self._graph.as_default(), _no_warnings():
                feeds = _feeds(directory)
                meta_graph = tf.compat.v1.saved_model.loader.load(self._session, ['serve'], directory, input_map=feeds)
            self._read_signatures(meta_graph.signature_def, {name: feed.name for name, feed in feeds.items()})
            metrics.loaded(directory, time.monotonic() - began, True)
        except Exception as error:
            metrics.loaded(directory, time.monotonic() - began, False)
            self.close()
            if isinstance(error, ServingError):
                raise
            raise from_tensorflow(error) from error
        try:
            if warm_up:
                self.replay_warm_up()
        except Exception as error:
            self.close()
            if isinstance(error, ServingError):
                raise
            raise from_tensorflow(error) from error

    def _read_signatures(self, signature_defs, feeds: dict[str, str]):
        """feeds: the name of an input in the graph -> the name of the tensor that is fed in its place."""
        self.signature_defs = {name: signature_defs[name] for name in sorted(signature_defs)}
        self.signatures = {
            name: Signature(name, {key: dataclasses.replace(one, graph_name=feeds.get(one.graph_name, one.graph_name))
                                   for key, one in _tensors(proto.inputs).items()}, _tensors(proto.outputs))
            for name, proto in self.signature_defs.items() if not name.startswith('__')}

    def close(self):
        """Ends the session and gives its memory back. The model cannot be used any more."""
        self._queues.clear()
        self._session.close()
        self._session = self._graph = None
        # A graph's Python objects refer to each other in circles, and keep the graph itself: the collector would come
        # to them after many more versions. What is freed is in pieces, which the C library would keep.
        gc.collect()
        give_back_free_memory()

    def signature(self, name: str = '') -> Signature:
        """The signature of this name; '' stands for serving_default."""
        name = name or signature_names.DEFAULT
        if name not in self.signatures:
            raise invalid(f'Serving signature name: "{name}" not found in signature def')
        return self.signatures[name]

    def run(self, signature_name: str, inputs: dict[str, np.ndarray], timeout_s: float | None = None,
            outputs: typing.Sequence[str] = (), weight: int = 0) -> dict[str, np.ndarray]:
        """Runs a signature: tensors by input name -> tensors by output name.

        outputs: names of the outputs to compute; all if there are none. After `timeout_s` seconds the graph is
        cancelled, with the error DEADLINE_EXCEEDED. weight: as for batching.Scheduler.submit.
        """
        if self.scheduler is None:
            signature = self._checked(signature_name, inputs, outputs)
            return self._run_graph(signature, tuple(outputs), inputs, timeout_s)
        future = self.submit(signature_name, inputs, timeout_s, outputs, weight)
        try:
            return future.result(timeout_s)
        except concurrent.futures.TimeoutError:
            future.cancel()
            raise ServingError('DEADLINE_EXCEEDED', 'The deadline passed while the graph ran') from None

    def submit(self, signature_name: str, inputs: batching.Tensors, timeout_s: float | None = None,
               outputs: typing.Sequence[str] = (), weight: int = 0) -> 'concurrent.futures.Future[batching.Tensors]':
        """As `run`, with the outputs to come. Only with a scheduler."""
        assert self.scheduler is not None
        signature = self._checked(signature_name, inputs, outputs)
        names = () if set(outputs) == signature.outputs.keys() else tuple(outputs)
        return self.scheduler.submit(self._queue(signature, names), inputs, timeout_s, weight)

    def _checked(self, signature_name: str, inputs: dict[str, np.ndarray], outputs: typing.Sequence[str]) -> Signature:
        """The signature, if it has these inputs and outputs."""
        signature = self.signature(signature_name)
        if inputs.keys() != signature.inputs.keys():
            raise invalid(
                f'input size does not match signature: {len(inputs)}!={len(signature.inputs)} len({_names(inputs)}) != '
                f'len({_names(signature.inputs)}). Sent extra: {_names(inputs.keys() - signature.inputs.keys())}. '
                f'Missing but required: {_names(signature.inputs.keys() - inputs.keys())}.')
        for name in outputs:
            if name not in signature.outputs:
                raise invalid(f'output tensor alias not found in signature: {name} Outputs expected to be in the set '
                              f'{_names(signature.outputs)}.')
        return signature

    def _queue(self, signature: Signature, outputs: tuple[str, ...]) -> batching.Queue:
        """The queue for all outputs of a signature. Who wants some of them gets a run of its own, in TensorFlow Serving
        too."""
        key = (signature.name, outputs)
        queue = self._queues.get(key)
        if queue is None:
            assert self.scheduler is not None
            queue = self.scheduler.queue(
                functools.partial(self._run_graph, signature, outputs),
                together=not outputs and _has_batches(signature), pad=not _PADDED.isdisjoint(signature.inputs))
            if not outputs:  # clients choose the others
                queue = self._queues.setdefault(key, queue)
        return queue

    def _run_graph(self, signature: Signature, outputs: tuple[str, ...], inputs: dict[str, np.ndarray],
                   timeout_s: float | None) -> dict[str, np.ndarray]:
        """A run of the graph. outputs, timeout_s: as for `run`."""
        import tensorflow as tf
        metrics.signature_batch(signature.name, max((len(value) for value in inputs.values() if value.ndim), default=1))
        wanted = {name: signature.outputs[name].graph_name for name in outputs or signature.outputs}
        feed = {signature.inputs[name].graph_name: value for name, value in inputs.items()}
        options = None
        if timeout_s is not None:
            if timeout_s <= 0:
                raise ServingError('DEADLINE_EXCEEDED', 'The deadline passed while the request waited')
            options = tf.compat.v1.RunOptions(timeout_in_ms=max(1, int(timeout_s * 1000)))
        try:
            values = self._session.run(wanted, feed, options=options)
        except Exception as error:
            raise from_tensorflow(error) from error
        return {name: _as_array(value) for name, value in values.items()}

    def regress(self, signature_name: str, examples: list[bytes], timeout_s: float | None = None) -> np.ndarray:
        """Serialized tf.Examples -> one float32 value for each, from the signature's output `outputs`."""
        signature = self.signature(signature_name)
        self._check_examples_signature(signature, 'regression', ('outputs',))
        values = self._run_examples(signature, examples, timeout_s)['outputs']
        if values.size != len(examples):
            raise invalid(f'Expected output batch size to be {len(examples)}. Got: {values.size}')
        return values.reshape(-1).astype(np.float32)

    def classify(self, signature_name: str, examples: list[bytes],
                 timeout_s: float | None = None) -> list[list[tuple[bytes, float]]]:
        """Serialized tf.Examples -> (label, score) pairs for each, from the outputs `classes`, `scores` or both."""
        signature = self.signature(signature_name)
        self._check_examples_signature(signature, 'classification', ('classes', 'scores'))
        result = self._run_examples(signature, examples, timeout_s)
        columns = {}
        for name in ('classes', 'scores'):
            if name in result:
                if result[name].ndim == 0 or len(result[name]) != len(examples):
                    raise invalid(f'Expected {name} output batch size of {len(examples)}. '
                                  f'Got: {list(result[name].shape)}')
                columns[name] = result[name].reshape(len(examples), -1)
        sizes = {column.shape[1] for column in columns.values()}
        if len(sizes) > 1:
            raise invalid(f'Tensors class and score should match in shape but got {sorted(sizes)}')
        count = sizes.pop()
        labels = columns.get('classes', np.full((len(examples), count), b'', object))
        scores = columns.get('scores', np.zeros((len(examples), count), np.float32))
        return [[(label, float(score)) for label, score in zip(*row, strict=True)]
                for row in zip(labels, scores, strict=True)]

    def _check_examples_signature(self, signature: Signature, kind: str, outputs: tuple[str, ...]):
        if list(signature.inputs) != ['inputs'] or signature.inputs['inputs'].dtype != 'DT_STRING':
            raise invalid(f"Expected one input Tensor named 'inputs' of serialized tf.Examples in the {kind} signature "
                          f'"{signature.name}". It has: {_names(signature.inputs)}')
        if not set(outputs) & signature.outputs.keys():
            raise invalid(f"Expected {kind} signature \"{signature.name}\" outputs to contain "
                          f"{' or '.join(map(repr, outputs))}. It has: {_names(signature.outputs)}")

    def _run_examples(self, signature: Signature, examples: list[bytes], timeout_s) -> dict[str, np.ndarray]:
        return self.run(signature.name, {'inputs': np.array(examples, object)}, timeout_s)

    def replay_warm_up(self):
        """Runs the version's warm-up requests, if there are any: a TFRecord file of PredictionLog protos."""
        import tensorflow as tf
        path = model_directory.warmup_path(self.directory)
        if not tf.io.gfile.exists(path):
            return
        from tensorflow_serving.apis import prediction_log_pb2
        began, number, code = time.monotonic(), 0, 'OK'
        try:
            # Of the ways to read records this one starts no runtime of its own, and is done before others begin.
            with _no_warnings():
                records = tf.compat.v1.io.tf_record_iterator(path)
            for number, record in enumerate(records, start=1):
                if number > _MAX_WARMUP_RECORDS:
                    raise invalid(f'Number of warmup records exceeds the maximum ({_MAX_WARMUP_RECORDS}) in {path}')
                try:
                    self._replay(prediction_log_pb2.PredictionLog.FromString(record))
                except ServingError as error:
                    code = error.code
                    raise ServingError(error.code, f'Warm-up record {number - 1} of {path} failed: {error.message}'
                                       ) from error
        finally:
            metrics.warmed_up(self.directory, code, time.monotonic() - began, number)

    def _replay(self, log):
        """Runs the request of a PredictionLog."""
        import tensorflow as tf
        log_type = log.WhichOneof('log_type')
        if log_type == 'predict_log':
            request = log.predict_log.request
            self.run(request.model_spec.signature_name,
                     {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()})
        elif log_type in ('classify_log', 'regress_log'):
            request = getattr(log, log_type).request
            examples = [example.SerializeToString() for example in request.input.example_list.examples]
            method = self.classify if log_type == 'classify_log' else self.regress
            method(request.model_spec.signature_name, examples)
        else:
            raise ServingError('UNIMPLEMENTED', f'Unsupported log_type for warmup: {log_type}')


def give_back_free_memory():
    """Returns the C library's free memory to the system, where it can (glibc)."""
    trim = getattr(ctypes.CDLL(None), 'malloc_trim', None)
    if trim is not None:
        trim(0)


def _config():
    """How sessions run graphs. What a signature does not need is left out before it is placed and optimised.

    Else each signature's first run works through the graph of all: a model of six tasks took 1.6 times as long to warm
    up. Later runs are as fast either way.

    Nor is the graph around the signatures' functions optimised, which say themselves whether they are (see
    model_code.graph_functions). That would be done for the part of a dataset in `T_safe`, too, and doubles its warm-up.

    Threads without work sleep at once. Those that look for some a while longer took a tenth of the processor time of a
    busy server of two cores, which the requests of others needed; one request alone is answered as soon either way.
    """
    import tensorflow as tf
    options = tf.compat.v1.GraphOptions(place_pruned_graph=True)
    options.rewrite_options.disable_meta_optimizer = True
    return tf.compat.v1.ConfigProto(graph_options=options, experimental=tf.compat.v1.ConfigProto.Experimental(
        disable_thread_spinning=True))


def _has_batches(signature: Signature) -> bool:
    """Whether examples are the first axis of all inputs and outputs, so that requests may share a run.

    The model card is one string for one request.
    """
    tensors = (*signature.inputs.values(), *signature.outputs.values())
    return signature.name != signature_names.MODEL_CARD and all(
        tensor.shape and tensor.shape[0] is None for tensor in tensors)


def _feeds(directory: str) -> dict[str, typing.Any]:
    """The name of each input of a signature -> a placeholder of unknown shape to load the graph with in its place.

    TensorFlow's Python session refuses values of another rank than an input declares. A server asks only the graph,
    which may take them.
    """
    import tensorflow as tf
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2
    try:
        with tf.io.gfile.GFile(model_directory.graph_path(directory), 'rb') as file:
            meta_graphs = saved_model_pb2.SavedModel.FromString(file.read()).meta_graphs
    except (tf.errors.OpError, DecodeError):
        return {}  # loading it fails with the right error, or it is in the form of text
    meta_graph = next((one for one in meta_graphs if 'serve' in one.meta_info_def.tags), None)
    if meta_graph is None:
        return {}
    placeholders = {f'{node.name}:0' for node in meta_graph.graph_def.node if node.op == 'Placeholder'}
    inputs = {info.name: info.dtype for proto in meta_graph.signature_def.values() for info in proto.inputs.values()}
    return {name: tf.compat.v1.placeholder(tf.as_dtype(dtype), None, f'fed/{name[:-2]}')
            for name, dtype in inputs.items() if name in placeholders}


def _as_array(value) -> np.ndarray:
    """A value from the session as an array. A single string must not become numpy's type for bytes.

    That one drops zero bytes at the end.
    """
    return np.array(value, object) if isinstance(value, bytes) else np.asarray(value)


def task_names(signatures: typing.Iterable[str]) -> list[str]:
    """The tasks among signature names: each T that has a T_scores. All names if no T has one, in a foreign model."""
    names = {name for name in signatures if not name.startswith('__')}
    return sorted(name for name in names if signature_names.scores(name) in names) or sorted(names)


@contextlib.contextmanager
def _no_warnings():
    import tensorflow as tf
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def serialize_example(example: dict) -> bytes:
    """{feature: (kind, values)}, as from json_tensors.classify_examples -> a serialized tf.Example."""
    import tensorflow as tf
    proto = tf.train.Example()
    for name, (kind, values) in example.items():
        feature = proto.features.feature[name]
        if kind:
            getattr(feature, f'{kind}_list').value.extend(values)
    return proto.SerializeToString()


def from_tensorflow(error: Exception) -> ServingError:
    """An exception from TensorFlow as a ServingError with the same code."""
    import tensorflow as tf
    if isinstance(error, tf.errors.OpError):
        code = _code_names().get(error.error_code, 'UNKNOWN')
        # TensorFlow's Python layer puts this heading before the graph's own message.
        return ServingError(code, (error.message or str(error)).removeprefix('Graph execution error:\n\n'))
    if isinstance(error, UnicodeDecodeError):  # the graph's message quotes bytes that are no text
        return invalid(error.object.decode('utf-8', 'replace'))
    if isinstance(error, (ValueError, TypeError)):  # from a session, for an input of wrong shape or type
        return invalid(str(error))
    if isinstance(error, OSError):
        return ServingError('NOT_FOUND', str(error))
    return ServingError('INTERNAL', f'{type(error).__name__}: {error}')


def _code_names() -> dict[int, str]:
    import tensorflow as tf
    return {getattr(tf.errors, name): name for name in dir(tf.errors)
            if name.isupper() and isinstance(getattr(tf.errors, name), int)}


def _names(names) -> str:
    return '{' + ','.join(sorted(names)) + '}'


def _tensors(infos) -> dict[str, Tensor]:
    from tensorflow.core.framework import types_pb2
    tensors = {}
    for name in sorted(infos):
        info = infos[name]
        shape = None
        if not info.tensor_shape.unknown_rank:
            shape = tuple(None if d.size < 0 else d.size for d in info.tensor_shape.dim)
        tensors[name] = Tensor(info.name, types_pb2.DataType.Name(info.dtype), shape)
    return tensors

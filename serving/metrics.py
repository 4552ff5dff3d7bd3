"""What a server counts and times, and the page on which Prometheus reads it: `GET /monitoring/prometheus/metrics`.

The metrics named `:tensorflow:...` have the names, labels and buckets of TensorFlow Serving's, so one dashboard reads
both servers; those named `polyvit_...` are this server's own. Code that does the work calls one function per event:

    metrics.request(model_name, 'predict', 'REST', code, seconds)   a front end, once for each request
    metrics.graph_run(model_name, 'Predict', seconds)               a front end, around model.run
    metrics.signature(model_name, name, code, seconds, examples)    the same, once it knows the signature
    metrics.signature_batch(name, size)                             who runs the graph
    metrics.examples(model_name, count)                             tf.Examples in a classify or regress request
    metrics.refused('max_body_bytes')                               whoever refuses: the field of limits.Limits
    metrics.loaded(path, seconds, ok), metrics.warmed_up(path, code, seconds, records)   whoever loads a version
    metrics.batch_input(size), metrics.batch_queued(seconds), metrics.batch_run(size, padded_size)   the batches

Codes are names of gRPC status codes ('OK', 'NOT_FOUND'). Every call takes one lock for a few additions, and is safe
from any thread. The counts are the process's: two servers in one process share them, as in TensorFlow Serving.

prometheus-client cannot print this page: it forbids neither colons nor braces, but adds `_total`, `_created` and HELP
lines, and prints bucket limits with all digits, where TensorFlow Serving prints six.
"""

import bisect
import math
import threading

PATH = '/monitoring/prometheus/metrics'
CONTENT_TYPE = 'text/plain'
OTHER = '(other)'  # the value of every label of the series beyond _MAX_SERIES, and of the names beyond _MAX_NAMES

_MAX_SERIES = 1000  # per metric: labels hold what clients and file systems choose
_MAX_NAMES = 100  # names of models that are not served, which clients may invent
_MAX_LABEL = 200  # characters of a label's value


class Counter:
    """A metric with a whole number for each combination of its labels' values."""

    kind = 'counter'

    def __init__(self, name: str, *labels: str):
        self.name = name
        self._labels = labels
        self._series: dict[tuple, list] = {}
        self._lock = threading.Lock()
        _METRICS.append(self)

    def add(self, *values: str, by: int = 1):
        """Adds `by` to the series with these values of the labels."""
        with self._lock:
            self._cell(values)[0] += by

    def value(self, *values: str) -> int:
        """What was counted with these values of the labels; of a histogram, the number of observations."""
        with self._lock:
            return self._count(self._series.get(values) or self._new_cell())

    def lines(self) -> list[str]:
        """The lines of the page."""
        with self._lock:
            series = [(values, list(cell)) for values, cell in sorted(self._series.items())]
        return [f'# TYPE {self.name} {self.kind}',
                *(line for values, cell in series for line in self._series_lines(self._pairs(values), cell))]

    def _new_cell(self) -> list:
        return [0]

    def _count(self, cell: list) -> int:
        return cell[0]

    def _cell(self, values: tuple) -> list:
        cell = self._series.get(values)
        if cell is None:
            assert len(values) == len(self._labels), f'{self.name} has the labels {self._labels}'
            # No two series may be printed alike, so values are made printable before they count as equal.
            values = tuple(value[:_MAX_LABEL].encode('utf-8', 'replace').decode() for value in values)
            if values not in self._series and len(self._series) >= _MAX_SERIES:
                values = (OTHER,) * len(values)
            cell = self._series.setdefault(values, self._new_cell())
        return cell

    def _pairs(self, values: tuple) -> list[str]:
        return [f'{name}="{_escape(value)}"' for name, value in zip(self._labels, values, strict=True)]

    def _series_lines(self, pairs: list[str], cell: list) -> list[str]:
        return [f'{self.name}{{{",".join(pairs)}}} {cell[0]}']


class Histogram(Counter):
    """A metric with counts in buckets, and a sum, for each combination of its labels' values.

    limits: the upper limits of the buckets but the last, which has none. As in TensorFlow Serving, a value that equals
    a limit is in the next bucket. exact_sum: prints all digits of the sum; TensorFlow Serving prints six.
    """

    kind = 'histogram'

    def __init__(self, name: str, limits: list[float], *labels: str, exact_sum: bool = False):
        super().__init__(name, *labels)
        self._sum_format = '' if exact_sum else 'g'
        self._limits = limits
        self._texts = [f'{limit:g}' for limit in limits] + ['+Inf']

    def observe(self, value: float, *values: str):
        """Counts `value` in the series with these values of the labels."""
        bucket = bisect.bisect_right(self._limits, value)
        with self._lock:
            cell = self._cell(values)
            cell[bucket] += 1
            cell[-1] += value

    def _new_cell(self) -> list:
        """The counts of the buckets, then the sum."""
        return [0] * (len(self._limits) + 1) + [0.0]

    def _count(self, cell: list) -> int:
        return sum(cell[:-1])

    def _series_lines(self, pairs: list[str], cell: list) -> list[str]:
        lines, count = [], 0
        for text, in_bucket in zip(self._texts, cell, strict=False):
            count += in_bucket
            bucket_pairs = ','.join([*pairs, f'le="{text}"'])
            lines.append(f'{self.name}_bucket{{{bucket_pairs}}} {count}')
        joined = ','.join(pairs)
        return [*lines, f'{self.name}_sum{{{joined}}} {cell[-1]:{self._sum_format}}',
                f'{self.name}_count{{{joined}}} {count}']


def _escape(value: str) -> str:
    return value.replace('\\', r'\\').replace('"', r'\"').replace('\n', r'\n')


def _powers(scale: float, growth: float, count: int) -> list[float]:
    """scale * growth ** i for i in 0, 1, ..., count - 1."""
    return [scale * growth ** i for i in range(count)]


_METRICS: list[Counter] = []
_SERVING = ':tensorflow:serving:'
_BATCHING = _SERVING + 'batching_session:'
_LATENCIES = _powers(10, 1.8, 33)  # microseconds, to about 20 minutes
_SIZES = _powers(1, 2, 14)

_REQUEST_COUNT = Counter(_SERVING + 'request_count', 'model_name', 'status')
_REQUEST_LATENCY = Histogram(_SERVING + 'request_latency', _LATENCIES, 'model_name', 'API', 'entrypoint')
_RUNTIME_LATENCY = Histogram(_SERVING + 'runtime_latency', _LATENCIES, 'model_name', 'API', 'runtime')
_EXAMPLE_COUNTS = Histogram(_SERVING + 'request_example_counts', _powers(1, 2, 15), 'model')
_EXAMPLE_TOTAL = Counter(_SERVING + 'request_example_count_total', 'model')
_WARMUP_LATENCY = Histogram(_SERVING + 'model_warmup_latency', _LATENCIES, 'model_path', 'status')
_WARMUP_RECORDS = Counter(_SERVING + 'model_warmup_records_read', 'model_path', 'status')
Counter(_SERVING + 'request_log_count', 'model_name', 'status_code')  # requests are logged to files by neither server
_QUEUING_LATENCY = Histogram(_BATCHING + 'queuing_latency', _powers(100, 1.2, 52), 'thread_pool_name')
_WRAPPED_RUNS = Counter(_BATCHING + 'wrapped_run_count')
_PADDING = Histogram(_BATCHING + 'padding_size', _SIZES, 'execution_batch_size')
_INPUT_SIZES = Histogram(_BATCHING + 'input_batch_size', _SIZES)
_PROCESSED_SIZES = Histogram(_BATCHING + 'processed_batch_size', _SIZES)
_LOAD_ATTEMPTS = Counter(':tensorflow:cc:saved_model:load_attempt_count', 'model_path', 'status')
_LOAD_LATENCY = Counter(':tensorflow:cc:saved_model:load_latency', 'model_path')

# Of our own, by signature. Seconds, as Prometheus recommends.
_SIGNATURE_REQUESTS = Counter('polyvit_signature_requests_total', 'model_name', 'signature', 'status')
_SIGNATURE_SECONDS = Histogram('polyvit_signature_seconds', _powers(0.001, 2, 16), 'model_name', 'signature',
                               exact_sum=True)
_SIGNATURE_EXAMPLES = Histogram('polyvit_signature_examples', _SIZES, 'model_name', 'signature', exact_sum=True)
_SIGNATURE_BATCHES = Histogram('polyvit_signature_batch_size', _SIZES, 'signature', exact_sum=True)
_REFUSALS = Counter('polyvit_refusals_total', 'bound')

_strange_names: set[str] = set()
_strange_lock = threading.Lock()


def request(model_name: str, method: str, protocol: str, code: str, seconds: float):
    """A request was answered. method: 'predict', '' for REST's GET, 'Predict' for gRPC. protocol: 'REST' or 'GRPC'.

    model_name: as the client gave it; see `bounded_name`.
    """
    _REQUEST_COUNT.add(model_name, code)
    if code == 'OK':
        _REQUEST_LATENCY.observe(_microseconds(seconds), model_name, method, protocol)


def bounded_name(model_name: str) -> str:
    """The label for a model that is not served: its name for the first names that clients ask for, then OTHER."""
    with _strange_lock:
        if model_name in _strange_names or len(_strange_names) < _MAX_NAMES:
            _strange_names.add(model_name)
            return model_name
    return OTHER


def graph_run(model_name: str, method: str, seconds: float):
    """A graph ran, for a request. method: 'Predict', 'Classify' or 'Regress'. seconds: with the wait for its batch."""
    _RUNTIME_LATENCY.observe(_microseconds(seconds), model_name, method, 'TF1')


def examples(model_name: str, count: int):
    """A classify or regress request had `count` tf.Examples."""
    _EXAMPLE_COUNTS.observe(count, model_name)
    _EXAMPLE_TOTAL.add(model_name, by=count)


def signature(model_name: str, name: str, code: str, seconds: float, examples: int):
    """A request to a signature ended. examples: its first dimension. Only for signatures that the model has."""
    _SIGNATURE_REQUESTS.add(model_name, name, code)
    if code == 'OK':
        _SIGNATURE_SECONDS.observe(seconds, model_name, name)
        _SIGNATURE_EXAMPLES.observe(examples, model_name, name)


def signature_batch(name: str, size: int):
    """A signature ran once, for `size` examples, which may be those of several requests and of padding."""
    _SIGNATURE_BATCHES.observe(size, name)


def refused(bound: str):
    """A request or connection was refused because of a bound: the name of the field of limits.Limits."""
    _REFUSALS.add(bound)


def loaded(path: str, seconds: float, ok: bool):
    """A SavedModel was loaded, or could not be. seconds: without its warm-up."""
    _LOAD_ATTEMPTS.add(path, 'success' if ok else 'fail')
    if ok:
        _LOAD_LATENCY.add(path, by=_microseconds(seconds))


def warmed_up(path: str, code: str, seconds: float, records: int):
    """The warm-up requests of a SavedModel were replayed; `code` is not 'OK' if one failed."""
    _WARMUP_LATENCY.observe(_microseconds(seconds), path, code)
    _WARMUP_RECORDS.add(path, code, by=records)


def batch_input(size: int):
    """A request of `size` examples came to the scheduler of batches."""
    _INPUT_SIZES.observe(size)


def batch_queued(seconds: float, pool: str = 'batch'):
    """A request waited for its batch. pool: the name of the threads that run batches."""
    _QUEUING_LATENCY.observe(_microseconds(seconds), pool)


def batch_run(size: int, padded_size: int):
    """A batch of `size` examples, padded to `padded_size`, ran."""
    _WRAPPED_RUNS.add()
    _PADDING.observe(padded_size - size, str(padded_size))
    _PROCESSED_SIZES.observe(padded_size)


def _microseconds(seconds: float) -> int:
    return math.floor(seconds * 1e6)


def page() -> bytes:
    """The page, in TensorFlow Serving's format: `# TYPE` lines but no HELP, braces even around no label."""
    lines = [line for metric in sorted(_METRICS, key=lambda metric: metric.name) for line in metric.lines()]
    return ('\n'.join(lines) + '\n').encode()

"""Shares runs of a graph among requests: small ones are joined to batches, large ones are cut into pieces.

A lone request runs at once. Requests of one queue (one signature of a loaded model) that arrive while a batch of it
runs wait for each other, but not longer than the settings say.

Fair: pieces of large requests take turns with each other and with small requests. While small ones come, one thread
takes no pieces. No TensorFlow here: a queue is given a function that runs a batch.
"""

import collections
import concurrent.futures
import contextlib
import re
import threading
import time
import typing

import numpy as np

from serving import metrics
from serving.batching_settings import Settings
from serving.errors import ServingError

_QUEUE_FULL = 'The batch scheduling queue to which this task was submitted is full'
_TOO_LATE = 'The deadline passed while the request waited'
_SMALL_RECENTLY_S = 1.0  # for so long after a small request one thread takes no pieces of large ones
_WAITS_FOR_MEMORY_S = 0.05  # the longest that a heavy request waits before others stop to begin

Tensors = dict[str, np.ndarray]


class Run(typing.Protocol):
    """Runs a batch: its inputs by name -> its outputs by name. Raises ServingError."""

    def __call__(self, inputs: Tensors, timeout_s: float | None) -> Tensors:
        """timeout_s: seconds until the run is cancelled."""
        ...


class _Request:
    """A request in a queue: `rows` examples, of which those from `next_row` on have not begun to run."""

    def __init__(self, inputs: Tensors, rows: int, together: bool, deadline: float | None, weight: int):
        self.inputs, self.rows, self.together, self.deadline, self.weight = inputs, rows, together, deadline, weight
        self.future: concurrent.futures.Future[Tensors] = concurrent.futures.Future()
        self.arrived = time.monotonic()
        self.next_row = self.finished_rows = 0
        self.parts: dict[int, Tensors] = {}  # the outputs of its pieces, by their first row

    @property
    def left(self) -> int:
        return self.rows - self.next_row

    def dropped(self, now: float) -> bool:
        """Whether nobody waits for the rest any more."""
        if self.future.done():
            return True
        if self.deadline is not None and now > self.deadline:
            self.fail(ServingError('DEADLINE_EXCEEDED', _TOO_LATE))
            return True
        return False

    def fail(self, error: Exception):
        with contextlib.suppress(concurrent.futures.InvalidStateError):  # it was cancelled, or failed already
            self.future.set_exception(error)

    def finish(self, first: int, outputs: Tensors, rows: int):
        """Takes the outputs of `rows` examples. The last piece completes the request."""
        self.parts[first] = outputs
        self.finished_rows += rows
        if self.finished_rows == self.rows:
            parts = [self.parts[start] for start in sorted(self.parts)]
            result = parts[0] if len(parts) == 1 else {
                name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
            with contextlib.suppress(concurrent.futures.InvalidStateError):
                self.future.set_result(result)


class _Piece(typing.NamedTuple):
    """The rows from `first` to before `last` of a request."""
    request: _Request
    first: int
    last: int

    @property
    def rows(self) -> int:
        return self.last - self.first

    def inputs(self) -> Tensors:
        if self.rows == self.request.rows:
            return self.request.inputs
        return {name: value[self.first:self.last] for name, value in self.request.inputs.items()}


class Queue:
    """The requests of one signature. Only the scheduler looks into it, under its lock."""

    def __init__(self, run: Run, together: bool, pad: bool):
        self.run, self.together, self.pad = run, together, pad
        self.small: collections.deque[_Request] = collections.deque()  # each fits in one batch
        self.large: collections.deque[_Request] = collections.deque()
        self.running = 0  # batches of small requests

    @property
    def waiting_rows(self) -> int:
        return sum(request.left for request in self.small) + sum(request.left for request in self.large)


class Scheduler:
    """Runs batches in threads of its own. The methods are thread-safe.

    settings: None runs each request by itself, and whole. threads: how many, if the settings leave it open. max_weight:
    the most that the weights of all requests that run at the same time may add up to.
    """

    def __init__(self, settings: Settings | None = Settings(), threads: int = 2, max_weight: int = 256 * 2**20):
        self.settings = settings or Settings()
        self._together = settings is not None
        self._max_weight = max_weight
        self._ready = threading.Condition()
        self._queues: collections.deque[Queue] = collections.deque()  # those with requests, in the order of their turns
        self._pieces_running = self._weight = 0  # of what runs
        self._pieces_turn = False
        self._last_small = 0.0
        self._closed = False
        self._threads = [threading.Thread(target=self._work, name=f'batch-{i}', daemon=True)
                         for i in range(self.settings.num_batch_threads or threads)]
        for thread in self._threads:
            thread.start()

    def queue(self, run: Run, together: bool, pad: bool = False) -> Queue:
        """A queue for requests that `run` answers. together: whether they may share runs and be cut.

        pad: whether inputs of other lengths are padded, whatever the settings say.
        """
        return Queue(run, together and self._together, pad or self.settings.pad_variable_length_inputs)

    def submit(self, queue: Queue, inputs: Tensors, timeout_s: float | None = None,
               weight: int = 0) -> 'concurrent.futures.Future[Tensors]':
        """Queues a request. The result is its outputs, or a ServingError; cancelling it takes it from the queue.

        timeout_s: seconds until it fails with DEADLINE_EXCEEDED, or its run is cancelled. weight: what counts towards
        max_weight. Raises UNAVAILABLE if the queue is full.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        shapes = [value.shape for value in inputs.values()]
        together = queue.together and all(shapes) and len({shape[0] for shape in shapes}) == 1 and shapes[0][0] > 0
        request = _Request(inputs, shapes[0][0] if together else 1, together, deadline, weight)
        small = request.rows <= self.settings.max_batch_size
        with self._ready:
            if self._closed:
                raise ServingError('UNAVAILABLE', 'The server is shutting down')
            if together:
                self._check_room(queue, request.rows)
                metrics.batch_input(request.rows)
            if small:
                self._last_small = request.arrived
            if not (queue.small or queue.large):
                self._queues.append(queue)
            (queue.small if small else queue.large).append(request)
            self._ready.notify()
        return request.future

    def _check_room(self, queue: Queue, rows: int):
        capacity = self.settings.max_enqueued_batches * self.settings.max_batch_size
        room = capacity - queue.waiting_rows
        if rows > room:
            raise ServingError('UNAVAILABLE', f'{_QUEUE_FULL}; task size is {rows} but scheduling capacity is only '
                                              f'{room}')

    def close(self):
        """Ends the threads once their runs end. Requests in queues fail with UNAVAILABLE."""
        with self._ready:
            self._closed = True
            for queue in self._queues:
                for request in (*queue.small, *queue.large):
                    request.fail(ServingError('UNAVAILABLE', 'The server is shutting down'))
            self._queues.clear()
            self._ready.notify_all()

    def _work(self):
        while True:
            with self._ready:
                taken = self._take()
                while taken is None:
                    if self._closed:
                        return
                    self._ready.wait(self._patience())
                    taken = self._take()
            queue, pieces, small = taken
            try:
                self._run_batch(queue, pieces)
            finally:
                with self._ready:
                    self._weight -= sum(piece.request.weight for piece in pieces)
                    if small:
                        queue.running -= 1
                    else:
                        self._pieces_running -= 1
                    self._ready.notify_all()
            del taken, queue, pieces  # else an idle thread would keep the last batch in memory, and its model

    # ---- Choosing a batch, under the lock ----------------------------------------------------------------------------

    def _take(self) -> tuple[Queue, list[_Piece], bool] | None:
        """The next batch to run, and whether it is one of small requests; None if there is none now."""
        now = time.monotonic()
        for queue in list(self._queues):
            for requests in (queue.small, queue.large):
                while requests and requests[0].dropped(now):
                    requests.popleft()
        self._queues = collections.deque(queue for queue in self._queues if queue.small or queue.large)
        if any(now - requests[0].arrived > _WAITS_FOR_MEMORY_S and not self._has_room(requests[0])
               for queue in self._queues for requests in (queue.small, queue.large) if requests):
            return None  # a heavy request has its turn once what runs has ended; light ones could go on for ever
        takes = [self._take_piece, self._take_small] if self._pieces_turn else [self._take_small, self._take_piece]
        return takes[0](now) or takes[1](now)

    def _take_small(self, now: float) -> tuple[Queue, list[_Piece], bool] | None:
        for queue in list(self._queues):
            if not queue.small or self._waits(queue, now) or not self._has_room(queue.small[0]):
                continue
            pieces = self._join(queue, now)
            self._weight += sum(piece.request.weight for piece in pieces)
            queue.running += 1
            self._pieces_turn = True
            self._end_turn(queue)
            return queue, pieces, True
        return None

    def _take_piece(self, now: float) -> tuple[Queue, list[_Piece], bool] | None:
        threads = len(self._threads)
        free = threads - 1 if threads > 1 and now - self._last_small < _SMALL_RECENTLY_S else threads
        if self._pieces_running >= free:
            return None
        for queue in list(self._queues):
            while queue.large and queue.large[0].dropped(now):
                queue.large.popleft()
            if not queue.large or not self._has_room(queue.large[0]):
                continue
            request = queue.large.popleft()
            self._weight += request.weight
            first = request.next_row
            if first == 0:
                metrics.batch_queued(now - request.arrived)
            request.next_row = min(request.rows, first + self.settings.max_batch_size)
            if request.left:
                queue.large.append(request)
            self._pieces_running += 1
            self._pieces_turn = False
            self._end_turn(queue)
            return queue, [_Piece(request, first, request.next_row)], False
        return None

    def _has_room(self, request: _Request) -> bool:
        return self._weight == 0 or self._weight + request.weight <= self._max_weight

    def _end_turn(self, queue: Queue):
        self._queues.remove(queue)
        if queue.small or queue.large:
            self._queues.append(queue)

    def _waits(self, queue: Queue, now: float) -> bool:
        """Whether the small requests of a queue wait for others to come."""
        first = queue.small[0]
        return (first.together and queue.running > 0 and now < first.arrived + self.settings.batch_timeout_s
                and sum(request.rows for request in queue.small) < self.settings.max_batch_size)

    def _patience(self) -> float | None:
        """Seconds until the first request has waited long enough; None if none waits for that."""
        ends = [queue.small[0].arrived + self.settings.batch_timeout_s for queue in self._queues
                if queue.small and queue.running]
        # Late is better than early: a thread that wakes too early finds nothing to do.
        return max(0.0, min(ends) - time.monotonic()) + 1e-4 if ends else None

    def _join(self, queue: Queue, now: float) -> list[_Piece]:
        """Takes small requests from the queue that fit together in a batch: the first, and what fits of those after."""
        chosen: list[_Request] = [queue.small.popleft()]
        room, weight = self.settings.max_batch_size - chosen[0].rows, self._max_weight - self._weight - chosen[0].weight
        kept: collections.deque[_Request] = collections.deque()
        while queue.small and room > 0:
            request = queue.small.popleft()
            if request.dropped(now):
                continue
            if (chosen[0].together and request.together and request.rows <= room and request.weight <= weight
                    and _fit(chosen[0], request, queue.pad)):
                chosen.append(request)
                room -= request.rows
                weight -= request.weight
            else:
                kept.append(request)
        queue.small.extendleft(reversed(kept))
        for request in chosen:
            request.next_row = request.rows
            metrics.batch_queued(now - request.arrived)
        return [_Piece(request, 0, request.rows) for request in chosen]

    # ---- Running it --------------------------------------------------------------------------------------------------

    def _run_batch(self, queue: Queue, pieces: list[_Piece]):
        try:
            self._run_together(queue, pieces)
        except Exception as error:
            if len(pieces) == 1:
                pieces[0].request.fail(error)
                return
            for piece in pieces:  # one of them failed the run, or its outputs cannot be told apart
                try:
                    self._run_together(queue, [piece])
                except Exception as own_error:
                    piece.request.fail(own_error)

    def _run_together(self, queue: Queue, pieces: list[_Piece]):
        """Runs pieces as one batch and hands out its outputs. A single piece that is a whole request is not padded."""
        now = time.monotonic()
        deadlines = [piece.request.deadline for piece in pieces if piece.request.deadline is not None]
        timeout_s = max(deadlines) - now if len(deadlines) == len(pieces) else None
        if timeout_s is not None and timeout_s <= 0:
            raise ServingError('DEADLINE_EXCEEDED', _TOO_LATE)
        request = pieces[0].request
        if not request.together:
            request.finish(0, queue.run(request.inputs, timeout_s), 1)
            return
        rows = sum(piece.rows for piece in pieces)
        size = self.settings.padded_size(rows)
        whole = len(pieces) == 1 and size == rows == request.rows
        try:
            outputs = queue.run(_joined([piece.inputs() for piece in pieces], size - rows), timeout_s)
        except ServingError as error:
            if whole or len(pieces) > 1:
                raise
            raise _with_place_in_request(error, size, pieces[0]) from error
        if not whole and not all(value.ndim and len(value) == size for value in outputs.values()):
            raise ServingError('INVALID_ARGUMENT', 'Batched output tensor has 0th dimension does not match the sum of '
                                                   'the 0th dimension sizes of the input tensors')
        metrics.batch_run(rows, size)
        start = 0
        for piece in pieces:
            part = outputs if whole else {name: value[start:start + piece.rows] for name, value in outputs.items()}
            piece.request.finish(piece.first, part, piece.rows)
            start += piece.rows


def _with_place_in_request(error: ServingError, size: int, piece: _Piece) -> ServingError:
    """The error of a run of `size` examples, where it names one by its place ("item 3 of 8"), with that in the request.

    The run was a piece of the request, or filled up.
    """
    message = re.sub(rf'\b(item|Input) ([1-9][0-9]*) of {size}\b',
                     lambda match: f'{match[1]} {int(match[2]) + piece.first} of {piece.request.rows}', error.message)
    return ServingError(error.code, message, error.http_status)


def _fit(one: _Request, other: _Request, pad: bool) -> bool:
    """Whether the inputs of two requests can be joined: equal types and shapes but for the first axis."""
    return all(value.dtype == other.inputs[name].dtype and value.ndim == other.inputs[name].ndim
               and (pad or value.shape[1:] == other.inputs[name].shape[1:]) for name, value in one.inputs.items())


def _joined(parts: list[Tensors], fill: int) -> Tensors:
    """The inputs of several requests along the first axis, and `fill` copies of the first row after them."""
    if len(parts) == 1 and not fill:
        return parts[0]
    joined = {}
    for name in parts[0]:
        values = [part[name] for part in parts]
        if len({value.shape[1:] for value in values}) > 1:
            values = _equal_lengths(values)
        joined[name] = np.concatenate(values + [np.repeat(values[0][:1], fill, axis=0)])
    return joined


def _equal_lengths(values: list[np.ndarray]) -> list[np.ndarray]:
    """Pads the axes after the first to the longest of each, with zeros or empty strings."""
    longest = np.max([value.shape[1:] for value in values], axis=0)
    padded = []
    for value in values:
        # Zero in an object array is no string.
        full = np.full((len(value), *longest), b'' if value.dtype == object else 0, value.dtype)
        full[tuple(slice(size) for size in value.shape)] = value
        padded.append(full)
    return padded

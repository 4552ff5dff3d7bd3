"""The scheduler of batches, with functions in place of graphs: what shares a run, in which order, what errors do."""

import concurrent.futures
import re
import threading

import numpy as np
import pytest

from model_code.errors import ConfigError
from serving.batching import Scheduler
from serving.batching_settings import Settings, read_settings
from serving.errors import ServingError, invalid

DEFAULTS = Settings()


class Graph:
    """Answers y = 2 x, and keeps the batches that it ran. While it is held, a run waits until `go` is called.

    A negative x fails the run. A run begins when `begun` is released.
    """

    def __init__(self, held=False):
        self.batches = []
        self.begun = threading.Semaphore(0)
        self._go = threading.Semaphore(0)
        self._held = held

    def __call__(self, inputs, timeout_s):
        x = inputs['x']
        self.batches.append(x.copy())
        self.begun.release()
        if self._held:
            assert self._go.acquire(timeout=20)
        if x.dtype != object and (x < 0).any():
            raise invalid(f'item {int(np.argmax(x < 0)) + 1} of {len(x)}: negative')
        return {'y': x * 2}

    def go(self, runs=1):
        self._go.release(runs)

    def free(self):
        self._held = False
        self.go(100)

    @property
    def sizes(self):
        return [len(batch) for batch in self.batches]


@pytest.fixture
def make():
    """A function that makes a scheduler with one thread, unless told otherwise, and closes it at the end."""
    made = []

    def scheduler(settings, threads=1, **options):
        made.append(Scheduler(settings, threads, **options))
        return made[-1]
    yield scheduler
    for one in made:
        one.close()


def of(*values):
    return {'x': np.array(values, np.float32)}


def answer(future):
    return future.result(20)['y'].tolist()


def held_queue(make, settings=DEFAULTS, threads=1, pad=False, **options):
    """(scheduler, graph, queue) with one request in each of the scheduler's threads."""
    scheduler, graph = make(settings, threads, **options), Graph(held=True)
    queue = scheduler.queue(graph, True, pad)
    for _ in range(threads):
        scheduler.submit(queue, of(0))
        assert graph.begun.acquire(timeout=20)
    graph.batches.clear()
    return scheduler, graph, queue


def test_a_lone_request_runs_at_once(make):
    scheduler, graph = make(Settings(batch_timeout_s=1000)), Graph()
    queue = scheduler.queue(graph, True)
    assert answer(scheduler.submit(queue, of(1, 2))) == [2, 4]
    assert answer(scheduler.submit(queue, of(3))) == [6]
    assert graph.sizes == [2, 1]


def test_what_waits_shares_a_run(make):
    scheduler, graph, queue = held_queue(make)
    futures = [scheduler.submit(queue, of(*values)) for values in ((1,), (2, 3), (4,))]
    graph.free()
    assert [answer(future) for future in futures] == [[2], [4, 6], [8]]
    assert graph.sizes == [4]


def test_a_request_waits_for_others_only_while_a_batch_of_its_signature_runs(make):
    scheduler, graph, queue = held_queue(make, Settings(batch_timeout_s=1000), threads=1)
    two = make(Settings(batch_timeout_s=1000), threads=2)
    queue = two.queue(graph, True)
    first = two.submit(queue, of(1))
    assert graph.begun.acquire(timeout=20)
    second = two.submit(queue, of(2))
    assert not graph.begun.acquire(timeout=0.2)  # a thread is free, but it waits
    other = Graph()
    assert answer(two.submit(two.queue(other, True), of(5))) == [10]  # another signature's does not
    third = two.submit(queue, of(3))
    graph.free()
    assert [answer(future) for future in (first, second, third)] == [[2], [4], [6]]
    assert graph.sizes == [1, 2]


def test_the_wait_is_bounded(make):
    scheduler, graph = make(Settings(batch_timeout_s=0.05), threads=2), Graph(held=True)
    queue = scheduler.queue(graph, True)
    first = scheduler.submit(queue, of(1))
    assert graph.begun.acquire(timeout=20)
    second = scheduler.submit(queue, of(2))
    assert graph.begun.acquire(timeout=20)  # though the first still runs
    graph.free()
    assert answer(first) + answer(second) == [2, 4]


def test_batches_are_not_larger_than_allowed_and_are_filled_up(make):
    settings = Settings(max_batch_size=8, allowed_batch_sizes=(2, 4, 8))
    scheduler, graph, queue = held_queue(make, settings)
    futures = [scheduler.submit(queue, of(*range(size))) for size in (3, 4, 2, 1)]
    graph.free()
    assert [len(answer(future)) for future in futures] == [3, 4, 2, 1]
    assert graph.sizes == [8, 2]
    assert graph.batches[0].tolist() == [0, 1, 2, 0, 1, 2, 3, 0]  # what still fits goes first
    alone = scheduler.submit(queue, of(7, 8, 9))
    assert answer(alone) == [14, 16, 18] and graph.batches[-1].tolist() == [7, 8, 9, 7]


def test_a_bad_item_fails_only_its_own_request(make):
    scheduler, graph, queue = held_queue(make)
    futures = [scheduler.submit(queue, of(*values)) for values in ((1,), (2, -3), (4,))]
    graph.free()
    assert answer(futures[0]) == [2] and answer(futures[2]) == [8]
    with pytest.raises(ServingError, match=': item 2 of 2: negative$'):
        futures[1].result(20)
    assert graph.sizes == [4, 1, 2, 1]


def test_outputs_without_the_axis_of_examples_are_never_shared(make):
    scheduler, held = make(Settings()), Graph(held=True)
    scheduler.submit(scheduler.queue(held, True), of(0))
    assert held.begun.acquire(timeout=20)
    queue = scheduler.queue(lambda inputs, timeout_s: {'y': np.array([inputs['x'].sum()])}, True)
    futures = [scheduler.submit(queue, of(*values)) for values in ((1, 2), (3, 4))]
    held.free()
    assert [answer(future) for future in futures] == [[3], [7]]


def test_large_requests_are_cut_and_take_turns(make):
    scheduler, graph, queue = held_queue(make, Settings(max_batch_size=4))
    large = [scheduler.submit(queue, of(*range(start, start + 10))) for start in (100, 200)]
    small = scheduler.submit(queue, of(1))
    graph.free()
    assert answer(small) == [2]
    assert [answer(future) for future in large] == [[2 * v for v in range(start, start + 10)] for start in (100, 200)]
    assert [int(batch[0]) for batch in graph.batches][:3] in ([100, 1, 200], [1, 100, 200])
    assert graph.sizes.count(4) == 4 and max(graph.sizes) == 4


def test_an_error_in_a_piece_names_the_place_in_the_request(make):
    scheduler, graph = make(Settings(max_batch_size=4, allowed_batch_sizes=(4,))), Graph()
    queue = scheduler.queue(graph, True)
    for values, place in (((*range(9), -1), '10 of 10'), ((1, -1), '2 of 2')):  # cut, and filled up
        with pytest.raises(ServingError, match=f': item {place}: negative$'):
            scheduler.submit(queue, of(*values)).result(20)


def test_one_thread_takes_no_pieces_while_small_requests_come(make):
    scheduler, graph, quick = make(Settings(max_batch_size=2), threads=2), Graph(held=True), Graph()
    assert answer(scheduler.submit(scheduler.queue(quick, True), of(1))) == [2]
    queue = scheduler.queue(graph, True)
    large = [scheduler.submit(queue, of(*range(6))) for _ in range(2)]
    assert graph.begun.acquire(timeout=20)
    assert not graph.begun.acquire(timeout=0.2)  # a thread is free
    assert answer(scheduler.submit(scheduler.queue(quick, True), of(1))) == [2]
    graph.free()
    assert [len(answer(future)) for future in large] == [6, 6]


def test_a_full_queue_refuses(make):
    scheduler, graph, queue = held_queue(make, Settings(max_batch_size=4, max_enqueued_batches=2))
    scheduler.submit(queue, of(*range(6)))
    with pytest.raises(ServingError, match='The batch scheduling queue to which this task was submitted is full; task '
                                           'size is 3 but scheduling capacity is only 2') as error:
        scheduler.submit(queue, of(1, 2, 3))
    assert (error.value.code, error.value.http_status) == ('UNAVAILABLE', 503)
    scheduler.submit(queue, of(1, 2))
    graph.free()


def test_a_deadline_takes_a_request_from_the_queue(make):
    scheduler, graph, queue = held_queue(make, Settings(max_batch_size=4))
    late = scheduler.submit(queue, of(1, 2, 3, 4, 5), 0.01)
    cancelled = scheduler.submit(queue, of(6, 7, 8, 9, 10))
    cancelled.cancel()
    threading.Event().wait(0.05)
    graph.free()
    with pytest.raises(ServingError, match='The deadline passed while the request waited') as error:
        late.result(20)
    assert error.value.code == 'DEADLINE_EXCEEDED'
    assert answer(scheduler.submit(queue, of(11))) == [22]
    assert graph.sizes == [1]


def test_a_deadline_between_pieces_cancels_the_rest(make):
    scheduler, graph = make(Settings(max_batch_size=2)), Graph(held=True)
    future = scheduler.submit(scheduler.queue(graph, True), of(*range(8)), 0.2)
    assert graph.begun.acquire(timeout=20)
    threading.Event().wait(0.25)
    graph.free()
    with pytest.raises(ServingError, match='deadline'):
        future.result(20)
    assert graph.sizes == [2]


def test_other_lengths_share_a_run_only_if_they_may_be_padded(make):
    clips = [{'x': np.array(frames, object)} for frames in ([[b'a', b'b']], [[b'c']], [[b'd', b'e', b'f']])]

    def join(inputs, timeout_s):
        batches.append(inputs['x'].tolist())
        return {'y': np.array([b''.join(row) for row in inputs['x']], object)}

    for pad, runs in ((True, [[[b'a', b'b', b''], [b'c', b'', b''], [b'd', b'e', b'f']]]),
                      (False, [[[b'a', b'b']], [[b'c']], [[b'd', b'e', b'f']]])):
        batches = []
        scheduler, graph, _ = held_queue(make)
        queue = scheduler.queue(join, True, pad)
        futures = [scheduler.submit(queue, clip) for clip in clips]
        graph.free()
        assert [answer(future) for future in futures] == [[b'ab'], [b'c'], [b'def']]
        assert batches == runs


def test_numbers_are_padded_with_zeros(make):
    scheduler, graph, queue = held_queue(make, Settings(pad_variable_length_inputs=True))
    futures = [scheduler.submit(queue, {'x': np.ones((1, n), np.float32)}) for n in (1, 2)]
    graph.free()
    assert [answer(future) for future in futures] == [[[2, 0]], [[2, 2]]]


def test_weights_bound_what_shares_a_run(make):
    scheduler, graph, queue = held_queue(make, max_weight=10)
    futures = [scheduler.submit(queue, of(i), weight=weight) for i, weight in enumerate((6, 5, 4, 20))]
    graph.free()
    assert [answer(future) for future in futures] == [[0], [2], [4], [6]]
    assert [batch.tolist() for batch in graph.batches] == [[0, 2], [1], [3]]


def test_weights_bound_what_runs_at_the_same_time(make):
    scheduler, graph = make(Settings(), threads=3, max_weight=10), Graph(held=True)
    queues = [scheduler.queue(graph, True) for _ in range(4)]
    light = scheduler.submit(queues[0], of(1), weight=4)
    assert graph.begun.acquire(timeout=20)
    heavy = scheduler.submit(queues[1], of(2), weight=20)
    assert not graph.begun.acquire(timeout=0.2)
    later = scheduler.submit(queues[2], of(3), weight=1)
    assert not graph.begun.acquire(timeout=0.2)  # else light requests could keep a heavy one waiting for ever
    graph.go()
    assert answer(light) == [2]
    assert graph.begun.acquire(timeout=20)
    assert not graph.begun.acquire(timeout=0.2)  # the heavy one runs alone
    graph.go()
    assert answer(heavy) == [4]
    graph.free()
    assert answer(later) == [6]
    assert [batch.tolist() for batch in graph.batches] == [[1], [2], [3]]


@pytest.mark.parametrize('settings, together, inputs', [
    (None, True, of(1, 2)), (Settings(), False, of(1, 2)), (Settings(), True, {'x': np.float32(3)}),
    (Settings(), True, {'x': np.zeros((0,), np.float32)})])
def test_what_never_shares_a_run(make, settings, together, inputs):
    scheduler, held, graph = make(settings), Graph(held=True), Graph()
    scheduler.submit(scheduler.queue(held, True), of(0))
    assert held.begun.acquire(timeout=20)
    queue = scheduler.queue(graph, together)
    inputs = {name: np.asarray(value) for name, value in inputs.items()}
    futures = [scheduler.submit(queue, inputs) for _ in range(3)]
    held.free()
    assert [answer(future) for future in futures] == [(2 * inputs['x']).tolist()] * 3
    assert [batch.shape for batch in graph.batches] == [inputs['x'].shape] * 3


def test_without_batches_a_large_request_runs_whole(make):
    scheduler, graph = make(None), Graph()
    answer(scheduler.submit(scheduler.queue(graph, True), of(*range(100))))
    assert graph.sizes == [100]


def test_many_clients_get_their_own_answers(make):
    scheduler, graph = make(Settings(max_batch_size=4, allowed_batch_sizes=(1, 2, 4)), threads=3), Graph()
    queue = scheduler.queue(graph, True)

    def ask(seed):
        rng = np.random.default_rng(seed)
        for _ in range(50):
            values = rng.integers(-1 if seed == 0 else 0, 100, rng.integers(1, 12)).astype(np.float32)
            future = scheduler.submit(queue, {'x': values}, 20)
            if (values < 0).any():
                with pytest.raises(ServingError, match=rf': item (\d+) of {len(values)}: ') as error:
                    future.result(20)
                # If there are several, their pieces run at the same time, and any of them may fail first.
                place = re.search(r'item (\d+) of', str(error.value))
                assert place and values[int(place[1]) - 1] < 0
            else:
                np.testing.assert_array_equal(future.result(20)['y'], values * 2)
        return True

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(8)))
    assert max(graph.sizes) <= 4


def test_closing_fails_what_waits(make):
    scheduler, graph, queue = held_queue(make)
    waiting = scheduler.submit(queue, of(1))
    scheduler.close()
    graph.free()
    with pytest.raises(ServingError, match='shutting down'):
        waiting.result(20)
    with pytest.raises(ServingError, match='shutting down'):
        scheduler.submit(queue, of(1))


def test_a_batching_file(tmp_path):
    path = tmp_path / 'batching.txt'
    path.write_text('''max_batch_size { value: 64 }
batch_timeout_micros { value: 5000 }
max_enqueued_batches { value: 100 }  # a comment
num_batch_threads { value: 4 }
allowed_batch_sizes: 8
allowed_batch_sizes: 64
pad_variable_length_inputs: true
thread_pool_name { value: "pool" }
''')
    assert read_settings(path) == Settings(64, 0.005, 100, 4, (8, 64), True)
    path.write_text('')
    assert read_settings(path) == Settings()


@pytest.mark.parametrize('text, message', [
    ('max_batch_size: 32', r'not a valid BatchingParameters: 1:\d+'), ('batch_size { value: 3 }', 'no field named'),
    ('max_batch_size { value: 0 }', 'max_batch_size is 0; it must be at least 1'),
    ('batch_timeout_micros { value: -1 }', 'batch_timeout_s is -1e-06; it must not be negative'),
    ('max_batch_size { value: 8 } allowed_batch_sizes: [2, 4]', r'\[2, 4\]; it must rise, and end with .*, 8'),
    ('max_batch_size { value: 8 } allowed_batch_sizes: [4, 2, 8]', 'it must rise')])
def test_a_wrong_batching_file(tmp_path, text, message):
    (tmp_path / 'batching.txt').write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_settings(tmp_path / 'batching.txt')


def test_a_missing_batching_file(tmp_path):
    with pytest.raises(ConfigError, match='cannot be read'):
        read_settings(tmp_path / 'none.txt')

"""What devices need of a training: static shapes, XLA, mixed precision, replicas, several workers, no retracing."""

import contextlib
import dataclasses
import functools
import glob
import itertools
import json
import math
import os
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from model_code import file_io, hardware, input_pipeline, loop, polyvit, snapshots, strategy, training
from model_code.errors import PipelineStop
from model_code.settings import TrainingConfig
from model_code.tasks import Mixture
from tests import testing
from tests.model_code import device_runs, tiny_training

pytestmark = pytest.mark.slow

ONE = TrainingConfig(strategy='one_device')
ONE_BLOCK = dataclasses.replace(tiny_training.MODEL, layers=1)


# XLA

# Tasks that cover all label kinds, and all that is drawn at random.
KINDS = (testing.task('one_label', 'image', 1, 4, label_smoothing=0.1),
         testing.task('deep', 'image', 1, 4, stochastic_depth=0.5),
         testing.task('several', 'audio', 1, 4, label_kind='multi', pooling='gap', head_hidden=(8,)),
         testing.task('mixed', 'audio', 1, 4, mixup_alpha=0.3, token_share=0.5),
         testing.task('groups', 'video', 1, 2, label_kind='groups', label_groups=('verb', 'noun'), zero_init_head=True,
                      token_share=0.5))
CLASSES = 5
GROUPS = {'groups': ((0, 3), (1, 2, 4))}


def make_model(tasks=KINDS, config=tiny_training.MODEL):
    tf_keras.utils.set_random_seed(0)
    return polyvit.PolyViT(Mixture(tasks), {t.name: CLASSES for t in tasks}, config, GROUPS)


def batch_for(task, number=0):
    rng = np.random.default_rng(number)
    shape = tiny_training.MODEL.input(task.modality).shape
    inputs = rng.normal(size=(task.recipe.batch_size, *shape)).astype(np.float32)
    if task.recipe.mixup_alpha:
        labels = rng.dirichlet(np.ones(CLASSES), task.recipe.batch_size).astype(np.float32)
    elif task.data.kind.multi_hot:
        labels = np.tile(np.float32([1, 1, 0, 0, 0]), [task.recipe.batch_size, 1])
    else:
        labels = np.arange(task.recipe.batch_size) % CLASSES
    return tf.constant(inputs), tf.constant(labels)


def make_steps(model, config, scale=None):
    """(TrainSteps on one device, its optimiser)."""
    placed = strategy.make_strategy(ONE)
    optimizer = training.make_optimizer(config)
    optimizer.build(list(model.trainable_variables))
    return training.TrainSteps(placed, model, optimizer, config, scale), optimizer


def run_step(step, batch, number=0, rate=0.1):
    return [float(x) for x in step(batch, tf.constant(number), tf.constant(rate))]


def run_loop(tasks, data, directory, config=tiny_training.CONFIG, schedule='weighted', model=tiny_training.MODEL):
    """loop.train on one device -> (history, the weights)."""
    placed = strategy.make_strategy(ONE)
    with placed.scope(), strategy.precision(config):
        model = make_model(tasks, model)
    history = loop.train(placed, model, Mixture(tasks, schedule), data, config, str(directory))
    return history, values(model.trainable_variables)


def values(variables):
    return [v.numpy() for v in variables]


def test_a_step_of_every_kind_of_task_is_the_same_under_xla():
    """Steps of single tasks, then an accumulated step. There is no dropout: XLA draws in another order."""
    results = {}
    kinds = tuple(testing.changed(t, stochastic_depth=0.0, token_share=1.0) for t in KINDS)
    for jit in (False, True):
        model = make_model(kinds, device_runs.SAME_MODEL)
        steps, _ = make_steps(model, dataclasses.replace(tiny_training.CONFIG, jit=jit))
        together = steps.accumulated(kinds[1:4]), {t.name: batch_for(t) for t in kinds[1:4]}
        steps_and_batches = *((steps.single(t), batch_for(t)) for t in kinds), together
        results[jit] = [(run_step(training.traced(step), batch, number), values(model.trainable_variables))
                      for number, (step, batch) in enumerate(steps_and_batches)]
    names = [*(t.name for t in kinds), 'accumulated']
    for name, plain, compiled in zip(names, results[False], results[True], strict=True):
        np.testing.assert_allclose(compiled[0], plain[0], rtol=1e-5, err_msg=name)
        for a, b in zip(compiled[1], plain[1], strict=True):
            np.testing.assert_allclose(a, b, atol=2e-6, err_msg=name)


@pytest.mark.parametrize('task', [
    testing.changed(KINDS[1], token_share=0.5),
    testing.task('rows', 'audio', 1, 4, token_share=0.5)], ids=lambda task: task.modality)
def test_a_step_with_all_that_is_drawn_compiles_under_xla_and_depends_on_its_number(task):
    model = make_model((task,))
    steps, _ = make_steps(model, dataclasses.replace(tiny_training.CONFIG, jit=True))
    step, batch = training.traced(steps.single(task)), batch_for(task)
    losses = [run_step(step, batch, number, rate=0.0) for number in (3, 3, 4)]
    assert np.isfinite(losses).all() and losses[0] == losses[1] and losses[0] != losses[2]


def unknown_shapes(function) -> list[str]:
    """The operations of a concrete function, and of those it calls, with an output of unknown shape."""
    graph = function.graph.as_graph_def(add_shapes=True)
    nodes = itertools.chain(graph.node, *(f.node_def for f in graph.library.function))
    return [f'{node.op} {node.name}' for node in nodes for shape in node.attr['_output_shapes'].list.shape
            if shape.unknown_rank or any(dim.size < 0 for dim in shape.dim)]


def test_shapes_are_static_from_the_files_to_the_update(folder):
    """A TPU needs this: every operation of a step has a shape that is known when it is traced."""
    model = make_model()
    steps, _ = make_steps(model, tiny_training.CONFIG)
    for task in KINDS:
        step = training.traced(steps.single(task))
        traced = step.get_concrete_function(batch_for(task), tf.constant(0), tf.constant(0.1))
        assert not unknown_shapes(traced), task.name

    placed = strategy.make_strategy(ONE)
    for task in tiny_training.TASKS:
        files = tiny_training.files_of(folder, task)
        make = functools.partial(input_pipeline.train_dataset, task, 2, tiny_training.MODEL, files)
        for dataset in (make(), placed.distribute_datasets_from_function(
                lambda context, make=make: make(context=context))):
            inputs, labels = dataset.element_spec
            assert inputs.shape == (task.recipe.batch_size, *tiny_training.MODEL.input(task.modality).shape)
            assert labels.shape.is_fully_defined()


# Mixed precision

def test_mixed_precision_trains_like_float32(folder, monkeypatch):
    # With the usual scale, the first float16 steps overflow and do not count.
    monkeypatch.setattr(training, 'LossScale', functools.partial(training.LossScale, 2.0 ** 6))
    losses = {}
    tasks = tuple(testing.changed(t, steps=8) for t in tiny_training.TASKS[::2])
    for precision in ('float32', 'bfloat16', 'float16'):
        config = dataclasses.replace(tiny_training.CONFIG, precision=precision, warmup_steps=4)
        history, weights = tiny_training.train(folder, precision, config, tasks, model_config=ONE_BLOCK)
        assert {w.dtype for w in weights} == {np.dtype(np.float32)}
        losses[precision] = np.array([s['loss'] for s in history['steps']])
    assert not (losses['bfloat16'] == losses['float32']).all() and not (losses['float16'] == losses['float32']).all()
    # bfloat16 has 8 significant bits, float16 has 11. The losses are about 0.7.
    np.testing.assert_allclose(losses['bfloat16'], losses['float32'], atol=0.1)
    np.testing.assert_allclose(losses['float16'], losses['float32'], atol=0.02)


def test_an_overflowing_step_changes_nothing_and_halves_the_loss_scale():
    config = dataclasses.replace(tiny_training.CONFIG, precision='float16')
    with strategy.precision(config):
        model = make_model(KINDS[:1])
    scale = training.LossScale(initial=2.0 ** 24, patience=2)
    steps, optimizer = make_steps(model, config, scale)
    step, batch = training.traced(steps.single(KINDS[0])), batch_for(KINDS[0])

    def state():
        variables = {v.ref(): v for v in (*model.variables, *optimizer.variables)}
        return [v.numpy() for v in variables.values() if v.ref() != optimizer.learning_rate.ref()]

    def scale_state():
        return float(scale.value), int(scale.good_steps)

    run_step(step, (batch[0] * 0, batch[1]), 0)  # makes the optimiser's slots differ from zero
    scale.value.assign(2.0 ** 24)
    scale.good_steps.assign(1)
    before = state()
    loss, norm = run_step(step, batch, 1)
    assert math.isfinite(loss) and not math.isfinite(norm)
    for a, b in zip(state(), before, strict=True):
        np.testing.assert_array_equal(a, b)
    assert scale_state() == (2.0 ** 23, 0)

    scale.value.assign(2.0 ** 4)
    states = []
    for number in range(2, 6):
        assert math.isfinite(run_step(step, batch, number)[1])
        states.append(scale_state())
    assert states == [(2.0 ** 4, 1), (2.0 ** 5, 0), (2.0 ** 5, 1), (2.0 ** 6, 0)]
    assert any((a != b).any() for a, b in zip(state(), before, strict=True))


def test_a_resumed_training_continues_with_the_saved_loss_scale(tmp_path, monkeypatch):
    """An interrupted float16 training ends with the weights and the scale of an uninterrupted one."""
    monkeypatch.setattr(training, 'LossScale', functools.partial(training.LossScale, 2.0 ** 24, 3))
    task = testing.changed(KINDS[0], steps=16)
    config = dataclasses.replace(tiny_training.CONFIG, precision='float16', checkpoint_every=4, warmup_steps=1)
    ends = {}
    for name in ('whole', 'cut'):
        for nan_at in ((None,) if name == 'whole' else (10, None)):
            data = {task.name: functools.partial(fixed_batches, task, nan_at=nan_at)}
            with pytest.raises(PipelineStop, match='ckpt-8') if nan_at else contextlib.nullcontext():
                history, weights = run_loop((task,), data, tmp_path / name, config, model=ONE_BLOCK)
        reader = tf.train.load_checkpoint(str(tmp_path / name))
        scale = [float(reader.get_tensor(f'loss_scale/{part}/.ATTRIBUTES/VARIABLE_VALUE'))
                 for part in ('value', 'good_steps')]
        ends[name] = tiny_training.digest(weights), scale
    assert ends['cut'] == ends['whole']
    expected, good = 2.0 ** 24, 0
    for norm in (s['gradient_norm'] for s in history['steps']):
        good = good + 1 if math.isfinite(norm) else 0
        expected, good = (expected / 2, 0) if not good else (expected * 2, 0) if good == 3 else (expected, good)
    assert ends['whole'][1] == [expected, good]
    norms = [math.isfinite(s['gradient_norm']) for s in history['steps']]
    assert not norms[0] and any(norms), 'the scale must start too high and come down'


def fixed_batches(task, done=0, context=None, nan_at=None):
    """Endless batches. Each is a function of its number; from number nan_at on they are NaN."""
    batches = [batch_for(task, number) for number in range(4)]
    inputs, labels = (tf.stack(x) for x in zip(*batches, strict=True))

    def batch(number):
        x = inputs[number % 4]
        return (x if nan_at is None else tf.where(number >= nan_at, float('nan'), x)), labels[number % 4]
    endless = tf.data.Dataset.range(done, tf.int64.max).map(batch)
    return endless.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))


def test_the_model_of_a_bfloat16_training_is_served_in_float32(folder, tmp_path):
    from components.co_trainer import executor
    task = testing.changed(tiny_training.TASKS[0], steps=2)
    executor.co_train(
        mixture=Mixture((task,)), model_config=tiny_training.MODEL,
        config=TrainingConfig(precision='bfloat16', warmup_steps=1),
        train_files={task.name: tiny_training.files_of(folder, task)}, eval_files={},
        vocabularies={task.name: ['a', 'b']},
        checkpoint_dir=str(tmp_path / 'unfinished'), model_run_dir=str(tmp_path / 'run'),
        export_dir=str(tmp_path / 'model'), card={})
    served = tf.saved_model.load(str(tmp_path / 'model')).signatures[f'{task.name}_scores']
    graph = served.graph.as_graph_def()
    types = {t for node in itertools.chain(graph.node, *(f.node_def for f in graph.library.function))
             for attribute in node.attr.values() for t in (attribute.type, *attribute.list.type)}
    assert tf.float32.as_datatype_enum in types and tf.bfloat16.as_datatype_enum not in types

    model = polyvit.PolyViT(Mixture((task,)), {task.name: 2}, tiny_training.MODEL)
    newest = tf.train.latest_checkpoint(str(tmp_path / 'run/checkpoints'))
    tf.train.Checkpoint(model=model).restore(newest).expect_partial()
    record = next(iter(tf.data.TFRecordDataset(tiny_training.files_of(folder, task)[0], 'GZIP')))
    features = tf.io.parse_single_example(record, input_pipeline.feature_spec(task, 2))
    inputs = input_pipeline.model_input('image', (), tiny_training.MODEL.input('image'), features)
    np.testing.assert_allclose(served(image=features['image'][None])['scores'], model.scores(task.name, inputs[None]),
                               atol=1e-6)


# Hosts

def numbered_files(directory, files: int, records: int) -> list[str]:
    """Writes records of an image task, split evenly into files. The label of a record is its number."""
    paths = [os.path.join(directory, f'{files}-{f}.gz') for f in range(files)]
    for path, numbers in zip(paths, np.array_split(np.arange(records), files), strict=True):
        with tf.io.TFRecordWriter(path, 'GZIP') as writer:
            for number in numbers:
                example = tiny_training.example(tiny_training.TASKS[0], int(number), int(number))
                writer.write(example.SerializeToString())
    return paths


@pytest.mark.parametrize('files', [1, 2, 5])
def test_two_hosts_read_every_example_once_and_resume_at_any_batch(tmp_path, files):
    records, task = 15, testing.changed(tiny_training.TASKS[0], batch_size=8)
    paths = numbered_files(tmp_path, files, records)

    def stream(host, batches_done=0, hosts=2):
        context = tf.distribute.InputContext(hosts, host, num_replicas_in_sync=hosts)
        return input_pipeline.train_dataset(task, records, tiny_training.MODEL, paths, 3, batches_done, context)

    read = [[(x.numpy(), y.numpy()) for x, y in stream(host).take(8)] for host in range(2)]
    assert all(len(labels) == 4 for batches in read for _, labels in batches)
    labels = [np.concatenate([y for _, y in batches]) for batches in read]
    # Each host has its own files, or, with fewer files than hosts, every other record in the same order.
    sizes = [len(range(host, records, 2)) for host in range(2)] if files == 1 else [
        sum(input_pipeline.count_records([path]) for path in sorted(paths)[host::2]) for host in range(2)]
    assert sum(sizes) == records and min(sizes) >= 5
    assert sorted(np.concatenate([labels[host][:sizes[host]] for host in range(2)])) == list(range(records))
    if files == 1:
        whole = [set(y.numpy()) for _, y in stream(0, hosts=1).take(8)]
        together = [set(a) | set(b) for (_, a), (_, b) in zip(*read, strict=True)]
        assert together == whole, 'the global batches are those of one host'
    else:
        assert [set(labels[host]) for host in range(2)] == [set(labels[host][:sizes[host]]) for host in range(2)]

    for host, done in itertools.product(range(2), (1, 3, 5)):
        for (x, y), (x_whole, y_whole) in zip(stream(host, done).take(8 - done), read[host][done:], strict=True):
            np.testing.assert_array_equal(y, y_whole)
            np.testing.assert_array_equal(x, x_whole)


@pytest.fixture(scope='module')
def same(tmp_path_factory):
    """(a folder with one file per task, the weights, the losses and the measured gradients on one device)."""
    path = str(tmp_path_factory.mktemp('same'))
    tiny_training.write_examples(path, files=1, per_file=15)
    history, weights = device_runs.train_same(path, 'one_device')
    assert len(history['steps']) == device_runs.SAME_STEPS
    return path, weights, [s['loss'] for s in history['steps']], history['gradients']


class Process:
    """`python -m tests.model_code.device_runs RUN FOLDER NAME`. Its log is in FOLDER."""

    def __init__(self, run: str, folder: str, name: str = '', **environment: str):
        self._log = f'{folder}/{run}{name}.log'
        with open(self._log, 'w') as log:
            self._process = subprocess.Popen(
                [sys.executable, '-m', 'tests.model_code.device_runs', run, folder, *([name] if name else [])],
                env=os.environ | environment, stdout=subprocess.PIPE, stderr=log, text=True)

    def results(self) -> dict:
        """Waits for the next line of results. Raises AssertionError if the process ends without one."""
        line = self._process.stdout.readline()
        if not line:
            with open(self._log) as log:
                raise AssertionError(log.read()[-3000:])
        return json.loads(line)

    def check_running(self):
        assert self._process.poll() is None

    def kill(self):
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()


@contextlib.contextmanager
def killed_at_end(*processes, seconds: float = 240):
    """A context: the processes are killed at its end, or after this time."""
    timer = threading.Timer(seconds, lambda: [process.kill() for process in processes])
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        for process in processes:
            process.kill()


@contextlib.contextmanager
def two_workers(run: str, folder: str):
    """A context with two processes that reach each other on free ports of this machine. They are killed at its end."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(2)]
        for s in sockets:
            s.bind(('127.0.0.1', 0))
        hosts = [f'127.0.0.1:{s.getsockname()[1]}' for s in sockets]
    workers = [Process(run, folder, f'worker_{i}', TF_CONFIG=json.dumps(
        {'cluster': {'worker': hosts}, 'task': {'type': 'worker', 'index': i}})) for i in range(2)]
    with killed_at_end(*workers):
        yield workers


def assert_near(weights, expected):
    for a, b in zip(weights, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=device_runs.TOLERANCE)


def assert_same_gradients(records, expected):
    """Norms and cosines of two measurements. (Which examples are in a half depends on the number of replicas.)"""
    def numbers(some):
        return [(record['step'], [(task['norm'], *task['norms']) for task in record['tasks']],
                 [(pair['cosine'], *pair['cosines']) for pair in record['pairs']]) for record in some]

    assert [record['step'] for record in records] == [7, 15]
    for (_, norms, cosines), (_, expected_norms, expected_cosines) in zip(
            numbers(records), numbers(expected), strict=True):
        np.testing.assert_allclose(norms, expected_norms, rtol=2e-3)
        np.testing.assert_allclose(cosines, expected_cosines, atol=2e-3)


def load(path):
    with np.load(path) as file:
        return [file[name] for name in file.files]


def test_mirrored_over_the_only_device_gives_the_same_weights(same):
    """As on a machine with one GPU: a strategy that can have several replicas has one."""
    folder, weights, *_ = same
    assert_near(device_runs.train_same(folder, 'mirrored_alone', 'mirrored')[1], weights)


def test_two_logical_cpus_give_the_single_device_weights(same):
    folder, weights, losses, gradients = same
    process = Process('mirrored', folder)
    with killed_at_end(process):
        results = process.results()
    assert results['replicas'] == 2 and results['restored']
    assert_same_gradients(results['gradients'], gradients)
    plain, random = results['losses']
    np.testing.assert_allclose(plain, losses, atol=1e-5)
    assert_near(load(f'{folder}/mirrored.npz'), weights)
    assert len(random) == 4 and np.isfinite(random).all()


def test_two_workers_give_the_single_device_weights_and_resume_after_a_kill(same):
    folder, weights, _, gradients = same
    with two_workers('worker', folder) as workers:
        results = [worker.results() for worker in workers]
        while not glob.glob(f'{folder}/shared/*/{snapshots.MARKER}'):
            for worker in workers:
                worker.check_running()
            time.sleep(0.02)
    assert [result['steps'] for result in results] == [device_runs.SAME_STEPS] * 2
    assert [result['evaluations'] for result in results] == [3, 0], 'only the chief evaluates'
    assert [result['stopped'] for result in results] == [8, 8]
    assert_same_gradients(results[0]['gradients'], gradients)
    assert results[1]['gradients'] == [], 'only the chief keeps them'
    weights_of_workers = [load(f'{folder}/worker_{i}.npz') for i in range(2)]
    assert_near(weights_of_workers[0], weights)
    assert tiny_training.digest(weights_of_workers[0]) == tiny_training.digest(weights_of_workers[1])
    # Only the chief writes, so the other worker starts the second training at step 0. Both stop instead of waiting.
    assert os.path.exists(f'{folder}/worker_0/ckpt-{device_runs.SAME_STEPS}.index')
    assert os.listdir(f'{folder}/worker_1') == []
    assert 'found a checkpoint at step 16, others at another' in results[0]['at_different_steps']
    assert 'found a checkpoint at step 0, others at another' in results[1]['at_different_steps']
    # Only one gets a signal, but both end after the same step.
    for result, who in zip(results, ('a signal to another worker', 'SIGTERM'), strict=True):
        assert f'stopped by {who} after 5 of {device_runs.SAME_STEPS} steps' in result['interrupted']
    assert os.path.exists(f'{folder}/interrupted/ckpt-5.index')

    assert os.listdir(f'{folder}/worker_1_killed') == [], 'only the chief saves and copies'
    assert file_io.read_json(glob.glob(f'{folder}/shared/*/{snapshots.MARKER}')[0])['steps'] == 6
    with two_workers('resumed_worker', folder) as workers:
        for result in [worker.results() for worker in workers]:
            assert result['steps'] == list(range(device_runs.SAME_STEPS))
    for i in range(2):
        resumed = load(f'{folder}/worker_{i}_resumed.npz')
        assert tiny_training.digest(resumed) == tiny_training.digest(weights_of_workers[0])


def test_a_strategy_that_is_set_up_too_late_gives_a_readable_message(monkeypatch):
    tf.constant(0) + 1
    cluster = {'cluster': {'worker': ['127.0.0.1:1', '127.0.0.1:2']}, 'task': {'type': 'worker', 'index': 0}}
    monkeypatch.setenv('TF_CONFIG', json.dumps(cluster))
    for config in (TrainingConfig(), TrainingConfig(strategy='mirrored', replicas=2)):
        with pytest.raises(PipelineStop, match='TensorFlow has run in this process before'):
            strategy.make_strategy(config)


# Tracing

class CountedTraces:
    """Replaces training.multi_step_function. Counts how often each step is traced, and keeps the lengths of calls."""

    def __init__(self, monkeypatch, longest):
        self.counts, self.lengths = [], []
        self._multi_step_function = training.multi_step_function
        monkeypatch.setattr(training, 'multi_step_function', self)
        monkeypatch.setattr(loop._Training, '_longest', lambda *_: longest)

    def __call__(self, step, next_batch):
        number = len(self.counts)
        self.counts.append(0)

        def counted_step(*args):
            self.counts[number] += 1
            return step(*args)

        run = self._multi_step_function(counted_step, next_batch)

        def counted(first, rates):
            self.lengths.append(int(tf.size(rates)))
            return run(first, rates)
        return counted


@pytest.mark.parametrize('schedule', ['weighted', 'accumulated'])
def test_steps_are_traced_once_and_several_per_call_give_the_same_weights_bit_for_bit(tmp_path, schedule, monkeypatch):
    tasks = testing.changed(KINDS[1], steps=7), testing.changed(KINDS[3], steps=4)
    ends = {}
    for longest in (1, 3):
        with monkeypatch.context() as patch:
            traced = CountedTraces(patch, longest)
            data = {t.name: functools.partial(fixed_batches, t) for t in tasks}
            _, weights = run_loop(tasks, data, tmp_path / str(longest), schedule=schedule, model=ONE_BLOCK)
        assert sum(traced.lengths) == 11 and max(traced.lengths) == longest
        assert longest == 1 or len(set(traced.lengths)) > 1, 'calls of several lengths'
        assert traced.counts == ([1] if schedule == 'accumulated' else [1, 1])
        ends[longest] = tiny_training.digest(weights)
    assert ends[1] == ends[3]


# GPUs

def test_a_gpu_gives_the_weights_of_the_processor(same, monkeypatch):
    """Without TF32, whose products have 10 significant bits: TensorFlow takes it for float32 unless told otherwise."""
    monkeypatch.delenv('CUDA_VISIBLE_DEVICES')
    if not any('NVIDIA' in name for name in hardware.accelerators()):
        pytest.skip('this machine has no NVIDIA GPU')
    folder, weights, *_ = same
    process = Process('gpu', folder, NVIDIA_TF32_OVERRIDE='0', TF_FORCE_GPU_ALLOW_GROWTH='true')
    with killed_at_end(process, seconds=400):
        results = process.results()
    assert results['devices'], 'TensorFlow sees no GPU; `polyvit doctor` says why'
    assert f'stopped by SIGTERM after 6 of {device_runs.SAME_STEPS} steps' in results['interrupted']
    for name in ('plain', 'mirrored', 'resumed'):
        assert_near(load(f'{folder}/gpu_{name}.npz'), weights)
    # The setting does not reach XLA's own products: an H200 came to within 4e-4.
    for a, b in zip(load(f'{folder}/gpu_jit.npz'), weights, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-3)
    for losses in results['losses'].values():
        assert len(losses) == 24 and np.isfinite(losses).all()

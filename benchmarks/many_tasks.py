"""What many tasks cost: time to trace them, time to start to train them, and memory. Prints figures and targets.

Run: .venv/bin/python -m benchmarks.many_tasks [tracing|start|memory|accumulated ...] --data DIR
DIR (only start reads it) holds cifar10/, fsdd/ and surveillance/; demo media replace missing ones. Exit code 1 if a
target is missed.

Each measurement is made in a process of its own, where nothing is traced yet.
- tracing: the time of each task's first step, of a Ti model with image tasks, on batches of one. The baseline is the
  last task's step in TrainSteps of its own, as if tasks shared nothing. With --jit there are 3 tasks, and XLA.
- start: a Ti model with 30 tasks, ten per modality, is trained by loop.train on real files, in batches of 8. Measured
  are the time to the end of the first step, and the time until every task has had its first step. From the latter the
  time of the steps themselves is subtracted, which is that of the tasks' second steps.
- memory: a tiny mixture of three modalities is trained by loop.train for 2,000 steps. Measured is the resident memory
  on the way.
- accumulated: the peak memory of one accumulated step of 1, 2 and 4 tasks with large activations, without what was in
  use before it.
"""

import argparse
import dataclasses
import functools
import itertools
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

os.environ.setdefault('TF_USE_LEGACY_KERAS', '1')
os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '1')  # as the command line sets it
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
os.environ.setdefault('CUDA_VISIBLE_DEVICES', '')

from benchmarks import media, train_steps
from benchmarks.report import Report, chosen
from model_code.modalities import VideoInput
from model_code.settings import TrainingConfig, preset
from model_code.tasks import Mixture, Recipe, Task

CLASSES = 10


# What a child process does. Each function returns what the parent prints.

def tracing(tasks: int, jit: bool, model: str) -> dict:
    """{'cpu', 'wall': seconds of each task's first step, 'unshared': (CPU, wall) of one that shares nothing}."""
    import tensorflow as tf

    from model_code import training
    mixture = tuple(Task(f't{i}', 'image', recipe=Recipe(steps=1, batch_size=1)) for i in range(tasks))
    config = preset(model)
    _, make_steps = train_steps.make(mixture, CLASSES, config, TrainingConfig(strategy='one_device', jit=jit))
    batch = tf.zeros([1, *config.input('image').shape]), tf.zeros([1], tf.int64)

    def first_step(steps, task):
        cpu, wall = time.process_time(), time.perf_counter()
        training.traced(steps.single(task))(batch, tf.constant(0), tf.constant(1e-3))[0].numpy()
        return time.process_time() - cpu, time.perf_counter() - wall

    with training.without_graph_optimizer():
        steps = make_steps()
        cpu, wall = zip(*(first_step(steps, task) for task in mixture), strict=True)
        return {'cpu': cpu, 'wall': wall, 'unshared': first_step(make_steps(), mixture[-1])}


def start(tasks: int, jit: bool, model: str, data: str, folder: str) -> dict:
    """{'ends': seconds from the call of loop.train to the end of each step}. Every task has two steps, in turns."""
    from benchmarks import input_pipeline as benchmark
    from model_code import input_pipeline, loop, polyvit
    from model_code.strategy import make_strategy
    by_modality = {name: benchmark.recipe_task(benchmark.SOURCES[name][0]) for name in ('image', 'audio', 'video')}
    files = {name: benchmark.write_examples(name, pathlib.Path(data), folder, benchmark.COUNTS[name])
             for name in by_modality}
    mixture = Mixture(tuple(_with_steps(task, 2, f'{name}_{i}') for i in range(tasks // len(by_modality))
                            for name, (task, _) in by_modality.items()), 'alternating')
    classes = {task.name: by_modality[task.modality][1] for task in mixture.tasks}
    model_config = preset(model, inputs=VideoInput(frames=8))
    config = TrainingConfig(optimizer='momentum', strategy='one_device', jit=jit, eval_every=1)
    strategy = make_strategy(config)
    with strategy.scope():
        built = polyvit.PolyViT(mixture, classes, model_config)
    datasets = {task.name: functools.partial(input_pipeline.train_dataset, task, classes[task.name], model_config,
                                             files[task.modality], i) for i, task in enumerate(mixture.tasks)}
    before, ends = time.perf_counter(), []

    def note_end():  # The loop evaluates after every step.
        ends.append(time.perf_counter() - before)
        return {}

    def first_inputs(task):
        return input_pipeline.first_inputs(task, classes[task.name], model_config, files[task.modality])

    loop.train(strategy, built, mixture, datasets, config, os.path.join(folder, 'checkpoints'), note_end, first_inputs)
    return {'ends': ends}


def _with_steps(task: Task, steps: int, name: str = '') -> Task:
    return dataclasses.replace(task, name=name or task.name, recipe=dataclasses.replace(task.recipe, steps=steps))


def memory(steps: int, folder: str) -> dict:
    """{'resident': {number of steps: megabytes}}."""
    from tests.model_code import tiny_training
    total = sum(task.recipe.steps for task in tiny_training.TASKS)
    tasks = tuple(_with_steps(task, task.recipe.steps * steps // total) for task in tiny_training.TASKS)
    tiny_training.write_examples(folder)
    every = steps // 10
    config = dataclasses.replace(tiny_training.CONFIG, checkpoint_every=every, eval_every=every)
    steps_done, resident = itertools.count(every, every), {}

    def note_memory():
        resident[next(steps_done)] = resident_mb()
        return {}

    tiny_training.train(folder, config=config, tasks=tasks, evaluate=note_memory)
    return {'resident': resident}


def accumulated(tasks: int, jit: bool) -> dict:
    """{'mb': the peak memory of a step, without what was in use before it, such as the batch that all tasks share}."""
    import tensorflow as tf

    from model_code import training
    model_config = preset('Ti')
    mixture = tuple(Task(f't{i}', 'image', recipe=Recipe(steps=1, batch_size=32)) for i in range(tasks))
    config = TrainingConfig(optimizer='momentum', strategy='one_device', jit=jit)
    _, make_steps = train_steps.make(mixture, CLASSES, model_config, config)
    step = training.traced(make_steps().accumulated(mixture))
    batch = tf.zeros([32, *model_config.input('image').shape]), tf.zeros([32], tf.int64)
    batches = {task.name: batch for task in mixture}
    before = resident_mb()
    with training.without_graph_optimizer():
        for number in range(2):
            step(batches, rate=tf.constant(1e-3), number=tf.constant(number))[0].numpy()
    return {'mb': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before}


def resident_mb() -> float:
    with open('/proc/self/statm', 'rb') as file:
        return int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE') / (1 << 20)


CHILDREN = {'tracing': tracing, 'start': start, 'memory': memory, 'accumulated': accumulated}


# What the parent does.

def run(name: str, **arguments) -> dict:
    """Calls the function of this name in CHILDREN, in a process of its own."""
    process = subprocess.run([sys.executable, '-m', 'benchmarks.many_tasks', '--child', json.dumps([name, arguments])],
                             capture_output=True, encoding='utf-8')
    if process.returncode:
        sys.exit(f'{name} {arguments} failed:\n{process.stderr[-4000:]}')
    return json.loads(process.stdout.splitlines()[-1])


def report_tracing(report: Report, args):
    times = run('tracing', tasks=3 if args.jit else args.tasks, jit=args.jit, model=args.model)
    cpu, wall, (unshared_cpu, unshared_wall) = times['cpu'], times['wall'], times['unshared']
    print('tracing, seconds until the first n tasks have had their first step: ' + ', '.join(
        f'{n}: {sum(wall[:n]):.1f} ({sum(cpu[:n]):.1f} CPU)' for n in (1, 2, 5, 10, 20, 30) if n <= len(wall))
        + f'; for a task that shares nothing {unshared_wall:.1f} ({unshared_cpu:.1f} CPU)', flush=True)
    further, last, early = (statistics.mean(values) for values in (cpu[1:], cpu[1:][-5:], cpu[1:6]))
    report('tracing, CPU time, a further task / one that shares nothing', further / unshared_cpu, 0.5, False,
           f'{further:.2f} s per task; {len(cpu)} tasks of one modality')
    report('tracing, CPU time, the last five tasks / the second to sixth', last / early, 1.2, False,
           f'{last:.2f} s and {early:.2f} s per task')


def report_start(report: Report, args):
    with tempfile.TemporaryDirectory() as folder:
        ends = run('start', tasks=args.tasks, jit=args.jit, model=args.model, data=str(args.data),
                   folder=folder)['ends']
    first_steps, second_steps = ends[args.tasks - 1], ends[-1] - ends[args.tasks - 1]
    report(f'start of {args.tasks} tasks, seconds to the end of the first step', ends[0], 180, False,
           f'the first steps of the other modalities end {ends[1] - ends[0]:.0f} s and {ends[2] - ends[1]:.0f} s later')
    report(f'start of {args.tasks} tasks, seconds until every task has had a step, without the steps\' own time',
           first_steps - second_steps, 180, False, f'with it {first_steps:.0f} s')


def report_memory(report: Report, args):
    with tempfile.TemporaryDirectory() as folder:
        resident = run('memory', steps=args.steps, folder=folder)['resident']
    every = args.steps // 10
    first, last = resident[str(every)], resident[str(10 * every)]
    report(f'resident memory after {10 * every} steps / after {every}', last / first, 1.05, False,
           ', '.join(f'{n}: {mb:.0f} MB' for n, mb in resident.items()))


def report_accumulated(report: Report, args):
    peaks = {n: run('accumulated', tasks=n, jit=args.jit)['mb'] for n in (1, 2, 4)}
    report('accumulated, peak memory, 4 tasks / one task', peaks[4] / peaks[1], 1.25, False,
           ', '.join(f'{n}: {mb:.0f} MB' for n, mb in peaks.items()))


BENCHMARKS = {'tracing': report_tracing, 'start': report_start, 'memory': report_memory,
              'accumulated': report_accumulated}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('names', nargs='*', metavar='tracing|start|memory|accumulated', help='default: all')
    media.add_argument(parser)
    parser.add_argument('--model', default='Ti', help='the preset for tracing and start')
    parser.add_argument('--tasks', type=int, default=30, help='their number, for tracing and start')
    parser.add_argument('--steps', type=int, default=2_000, help='their number, for memory')
    parser.add_argument('--jit', action='store_true', help='compile steps with XLA; tracing has 3 tasks then')
    parser.add_argument('--child', type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        name, arguments = args.child
        print(json.dumps(CHILDREN[name](**arguments)))
        return 0
    names = chosen(parser, args.names, BENCHMARKS)
    report = Report()
    for name in names:
        BENCHMARKS[name](report, args)
    return min(report.missed, 1)


if __name__ == '__main__':
    sys.exit(main())

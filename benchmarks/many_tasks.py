"""What many tasks cost: tracing them, starting to train them, and the host's memory. Prints figures and targets.

Run: .venv/bin/python -m benchmarks.many_tasks [tracing|start|memory|accumulated ...] --data DIR
DIR (start alone reads it) holds cifar10/, fsdd/ and surveillance/, else demo media are used (media.py). Exit code 1
where a target is missed.

Everything is measured in processes of its own, so that nothing traced before is at hand.
- tracing: a Ti model with image tasks: seconds until each task's first step is done, on a batch of one, beside the
  first task's. Linear growth would be n times the first; what grows is what a further task costs. The baseline: the
  last task's step once more by a TrainSteps of its own, as if tasks shared nothing. With --jit, of 3 tasks, under XLA.
- start: 30 tasks, ten of each modality, of a Ti model through loop.train on real files, in batches of 8 of the recipe's
  sizes: seconds from its call to the first step's end, and until every task has had its first step, without what the
  steps themselves take (as long as the tasks' second ones).
- memory: 2,000 steps of a tiny mixture of three modalities through loop.train: the resident memory on the way.
- accumulated: peak memory of one accumulated step of 1, 2 and 4 tasks, each with large activations, above what was
  there before it.
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


# What a child process does: each returns what the parent prints.

def tracing(tasks: int, jit: bool, model: str) -> dict:
    """{'cpu', 'wall': seconds of each task's first step, 'apart': CPU and wall of one that shares nothing}."""
    import tensorflow as tf

    from model_code import training
    mixture = tuple(Task(f't{i}', 'image', recipe=Recipe(steps=1, batch_size=1)) for i in range(tasks))
    config = preset(model)
    _, make = train_steps.make(mixture, CLASSES, config, TrainingConfig(strategy='one_device', jit=jit))
    batch = tf.zeros([1, *config.input('image').shape]), tf.zeros([1], tf.int64)
    found = {'cpu': [], 'wall': []}

    def first_step(steps, task):
        cpu, wall = time.process_time(), time.perf_counter()
        training.traced(steps.single(task))(batch, tf.constant(0), tf.constant(1e-3))[0].numpy()
        return time.process_time() - cpu, time.perf_counter() - wall

    with training.without_graph_optimizer():
        steps = make()
        for task in mixture:
            cpu, wall = first_step(steps, task)
            found['cpu'].append(cpu)
            found['wall'].append(wall)
        return found | {'apart': first_step(make(), mixture[-1])}


def start(tasks: int, jit: bool, model: str, data: str, folder: str) -> dict:
    """{'ends': seconds from loop.train's call to the end of each step, of which every task has two, by turns}."""
    from benchmarks import input_pipeline as files_of
    from model_code import input_pipeline, loop, polyvit, strategy
    kinds = {name: files_of.recipe_task(files_of.SOURCES[name][0]) for name in ('image', 'audio', 'video')}
    files = {name: files_of.write_examples(name, pathlib.Path(data), folder, files_of.COUNTS[name]) for name in kinds}
    mixture = Mixture(tuple(_with_steps(kinds[name][0], 2, f'{name}_{i}')
                            for i in range(tasks // len(kinds)) for name in kinds), 'alternating')
    classes = {t.name: kinds[t.modality][1] for t in mixture.tasks}
    model_config = preset(model, inputs=VideoInput(frames=8))
    config = TrainingConfig(optimizer='momentum', strategy='one_device', jit=jit, eval_every=1)
    placed = strategy.make_strategy(config)
    with placed.scope():
        built = polyvit.PolyViT(mixture, classes, model_config)
    datasets = {t.name: functools.partial(input_pipeline.train_dataset, t, classes[t.name], model_config,
                                          files[t.modality], i) for i, t in enumerate(mixture.tasks)}
    before, ends = time.perf_counter(), []

    def note():  # The loop evaluates after every step.
        ends.append(time.perf_counter() - before)
        return {}

    def first_inputs(task):
        return input_pipeline.first_inputs(task, classes[task.name], model_config, files[task.modality])

    loop.train(placed, built, mixture, datasets, config, os.path.join(folder, 'checkpoints'), note, first_inputs)
    return {'ends': ends}


def _with_steps(task: Task, steps: int, name: str = '') -> Task:
    return dataclasses.replace(task, name=name or task.name, recipe=dataclasses.replace(task.recipe, steps=steps))


def memory(steps: int, folder: str) -> dict:
    """{'rss': {steps done: megabytes}}."""
    from tests.model_code import tiny_training
    whole = sum(t.recipe.steps for t in tiny_training.TASKS)
    tasks = tuple(_with_steps(t, t.recipe.steps * steps // whole) for t in tiny_training.TASKS)
    tiny_training.write_examples(folder)
    every = steps // 10
    config = dataclasses.replace(tiny_training.CONFIG, checkpoint_every=every, eval_every=every)
    done, rss = itertools.count(every, every), {}

    def note():
        rss[next(done)] = resident_mb()
        return {}

    tiny_training.train(folder, config=config, tasks=tasks, evaluate=note)
    return {'rss': rss}


def accumulated(tasks: int, jit: bool) -> dict:
    """{'mb': the peak of a step above what was there before it}; every task has the same batch, which was there."""
    import tensorflow as tf

    from model_code import training
    config = preset('Ti')
    mixture = tuple(Task(f't{i}', 'image', recipe=Recipe(steps=1, batch_size=32)) for i in range(tasks))
    recipe = TrainingConfig(optimizer='momentum', strategy='one_device', jit=jit)
    _, make = train_steps.make(mixture, CLASSES, config, recipe)
    step = training.traced(make().accumulated(mixture))
    batch = tf.zeros([32, *config.input('image').shape]), tf.zeros([32], tf.int64)
    on_batches = functools.partial(step, {t.name: batch for t in mixture}, rate=tf.constant(1e-3))
    before = resident_mb()
    with training.without_graph_optimizer():
        for number in range(2):
            on_batches(number=tf.constant(number))[0].numpy()
    return {'mb': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before}


def resident_mb() -> float:
    with open('/proc/self/statm') as file:
        return int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE') / (1 << 20)


CHILDREN = {'tracing': tracing, 'start': start, 'memory': memory, 'accumulated': accumulated}


# What the parent does.

def run(what: str, **arguments) -> dict:
    result = subprocess.run([sys.executable, '-m', 'benchmarks.many_tasks', '--child',
                             json.dumps([what, arguments])], capture_output=True, text=True)
    if result.returncode:
        sys.exit(f'{what} {arguments} failed:\n{result.stderr[-4000:]}')
    return json.loads(result.stdout.splitlines()[-1])


def report_tracing(report: Report, args):
    found = run('tracing', tasks=3 if args.jit else args.tasks, jit=args.jit, model=args.model)
    cpu, wall, (apart_cpu, apart_wall) = found['cpu'], found['wall'], found['apart']
    print('tracing, seconds until so many tasks have had their first step: ' + ', '.join(
        f'{n}: {sum(wall[:n]):.1f} ({sum(cpu[:n]):.1f} CPU)' for n in (1, 2, 5, 10, 20, 30) if n <= len(wall))
        + f'; one that shares nothing {apart_wall:.1f} ({apart_cpu:.1f})', flush=True)
    further, last, early = (statistics.mean(values) for values in (cpu[1:], cpu[1:][-5:], cpu[1:6]))
    report('tracing, a further task by one that shares nothing, CPU', further / apart_cpu, 0.5, False,
           f'{further:.2f} s a task; {len(cpu)} tasks of one modality')
    report('tracing, the last tasks by the second to sixth, CPU', last / early, 1.2, False,
           f'{last:.2f} s and {early:.2f} s a task')


def report_start(report: Report, args):
    with tempfile.TemporaryDirectory() as folder:
        found = run('start', tasks=args.tasks, jit=args.jit, model=args.model, data=str(args.data), folder=folder)
    ends = found['ends']
    every, steps = ends[args.tasks - 1], ends[-1] - ends[args.tasks - 1]
    report(f'start of {args.tasks} tasks, seconds to the first step\'s end', ends[0], 180, False,
           f'the first of the other modalities {ends[1] - ends[0]:.0f} and {ends[2] - ends[1]:.0f} s later')
    report(f'start of {args.tasks} tasks, seconds to every task\'s first step, without the steps\' own', every - steps,
           180, False, f'{every:.0f} s with them')


def report_memory(report: Report, args):
    with tempfile.TemporaryDirectory() as folder:
        rss = run('memory', steps=args.steps, folder=folder)['rss']
    every = args.steps // 10
    base, last = rss[str(every)], rss[str(10 * every)]
    report(f'resident memory after {10 * every} steps by that after {every}', last / base, 1.05, False,
           ', '.join(f'{int(n)}: {mb:.0f} MB' for n, mb in rss.items()))


def report_accumulated(report: Report, args):
    peaks = {n: run('accumulated', tasks=n, jit=args.jit)['mb'] for n in (1, 2, 4)}
    report('accumulated, peak of 4 tasks by that of one', peaks[4] / peaks[1], 1.25, False,
           ', '.join(f'{n}: {mb:.0f} MB' for n, mb in peaks.items()))


BENCHMARKS = {'tracing': report_tracing, 'start': report_start, 'memory': report_memory,
              'accumulated': report_accumulated}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('names', nargs='*', metavar='tracing|start|memory|accumulated', help='default: all')
    media.add_argument(parser)
    parser.add_argument('--model', default='Ti', help='the preset that is traced and started')
    parser.add_argument('--tasks', type=int, default=30, help='at most')
    parser.add_argument('--steps', type=int, default=2_000, help='of memory')
    parser.add_argument('--jit', action='store_true', help='under XLA')
    parser.add_argument('--child', type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        what, arguments = args.child
        print(json.dumps(CHILDREN[what](**arguments)))
        return 0
    names = chosen(parser, args.names, BENCHMARKS)
    report = Report()
    for name in names:
        BENCHMARKS[name](report, args)
    return min(report.missed, 1)


if __name__ == '__main__':
    sys.exit(main())

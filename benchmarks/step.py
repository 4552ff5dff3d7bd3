"""The speed of ViT-S's train step and forward pass, as shares of this machine's peak, and beside JAX.

Run: .venv/bin/python -m benchmarks.step [image|audio|video ...] [--jax PYTHON] [--token-share SHARE]
Exit code 1 if a target is missed. PYTHON is an interpreter that has jax, in an environment of its own (made, say, by
`python3 -m venv DIR && DIR/bin/pip install jax`). benchmarks/jax_step.py has the same model and step in JAX.

The peak is the speed of TensorFlow's float32 product of two 2048 x 2048 matrices. It is measured before each call, in
the same process. A share is the FLOPs of the call's matrix products, over its time and the peak. These FLOPs are those
of `polyvit plan`; training takes three times those of the forward pass. All figures are medians.

Momentum SGD with clipping. Inputs: batches of 8 images of 224 x 224, of 4 spectrograms of 800 x 128, of 2 clips of
32 x 224 x 224. The train step is the trainer's, `training.TrainSteps` without `jit`. The forward pass is measured with
and without XLA; a server runs it without.

--token-share measures only how many times the steps a second a task has that drops tokens (`Recipe.token_share`), by
the clock and by processor time. Both kinds of step take turns in one process.
"""

import argparse
import contextlib
import dataclasses
import functools
import json
import os
import statistics
import subprocess
import sys
import time

os.environ.setdefault('TF_USE_LEGACY_KERAS', '1')
os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '1')  # as the command line sets it
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
os.environ.setdefault('CUDA_VISIBLE_DEVICES', '')

from benchmarks import train_steps
from benchmarks.report import Report, chosen
from model_code.flops import forward_flops, training_flops
from model_code.settings import TrainingConfig, preset
from model_code.tasks import Recipe, Task

MODEL = preset('S')
BATCHES = {'image': 8, 'audio': 4, 'video': 2}
CLASSES = 10
SIDE = 2048  # of the matrices
# How many times the steps a second, if half of the tokens are dropped.
HALF_TARGETS = {'image': 1.8, 'audio': 1.8, 'video': 2.1}


def seconds_of(function, clock=time.perf_counter) -> float:
    start = clock()
    function()
    return clock() - start


def task_of(modality: str) -> Task:
    return Task(modality, modality, recipe=Recipe(steps=1, batch_size=BATCHES[modality]))


def batch_of(modality: str):
    """(inputs, labels)."""
    import tensorflow as tf
    count = BATCHES[modality]
    return tf.random.normal([count, *MODEL.input(modality).shape]), tf.zeros([count], tf.int64)


def measure(modality: str, times: int, jit: bool) -> dict:
    """{'forward', 'forward_jit', 'train': (seconds, share of the peak), '..._first': seconds of the first call,
    'peak': FLOP/s}.

    times: how often each is measured. jit: 'train' is the train step with XLA.
    """
    import tensorflow as tf

    from model_code import training
    matrix = tf.random.normal([SIDE, SIDE])
    product = tf.function(lambda: tf.matmul(matrix, matrix), autograph=False)
    task = task_of(modality)
    config = TrainingConfig(optimizer='momentum', strategy='one_device', jit=jit)
    model, make_steps = train_steps.make((task,), CLASSES, MODEL, config)
    step = training.traced(make_steps().single(task))
    inputs, labels = batch_of(modality)
    forward = {suffix: tf.function(functools.partial(model.logits, modality), autograph=False, jit_compile=compiled)
               for suffix, compiled in (('', None), ('_jit', True))}
    calls = {f'forward{suffix}': lambda f=f: f(inputs).numpy() for suffix, f in forward.items()}
    calls['train'] = lambda: step((inputs, labels), tf.constant(0), tf.constant(1e-3))[0].numpy()
    flops = BATCHES[modality] * forward_flops(MODEL, task, CLASSES)
    figures = {}

    for name, call in calls.items():
        with training.without_graph_optimizer() if name == 'train' else contextlib.nullcontext():
            figures[f'{name}_first'] = seconds_of(call)
        # Call and peak take turns, because a machine's clock rate and load change from second to second.
        seconds, peaks = [], []
        for _ in range(times):
            peaks.append(2 * SIDE ** 3 / statistics.median(seconds_of(lambda: product().numpy()) for _ in range(5)))
            seconds.append(seconds_of(call))
        call_flops = flops * (3 if name == 'train' else 1)
        shares = [call_flops / took / peak for took, peak in zip(seconds, peaks, strict=True)]
        figures[name] = statistics.median(seconds), statistics.median(shares)
    return figures | {'peak': statistics.median(peaks)}


def measure_dropping(modality: str, times: int, share: float) -> dict:
    """{'whole', 'dropping': (seconds of a train step, of them processor time, FLOPs by the plan)}, each measured so
    many times in turn.

    'wall', 'processor': the ratio of the two in seconds, the median over the pairs.
    """
    import tensorflow as tf

    from model_code import training
    config = TrainingConfig(optimizer='momentum', strategy='one_device')
    whole = task_of(modality)
    tasks = {'whole': whole,
             'dropping': dataclasses.replace(whole, recipe=dataclasses.replace(whole.recipe, token_share=share))}
    _, make_steps = train_steps.make((whole,), CLASSES, MODEL, config)
    steps, batch = make_steps(), batch_of(modality)
    with training.without_graph_optimizer():
        traced = {name: training.traced(steps.single(task)) for name, task in tasks.items()}
        calls = {name: lambda step=step: step(batch, tf.constant(0), tf.constant(1e-3))[0].numpy()
                 for name, step in traced.items()}
        seconds_of(calls['whole']), seconds_of(calls['dropping'])
    taken = {name: [] for name in calls}
    for _ in range(times):
        for name, call in calls.items():
            clock = []
            processor = seconds_of(lambda call=call, clock=clock: clock.append(seconds_of(call)), time.process_time)
            taken[name].append((clock[0], processor))
    figures = {name: (*(statistics.median(column) for column in zip(*pairs, strict=True)),
                      training_flops(MODEL, tasks[name], CLASSES, 1)) for name, pairs in taken.items()}
    for place, name in enumerate(('wall', 'processor')):
        figures[name] = statistics.median(whole[place] / dropping[place] for whole, dropping in zip(
            taken['whole'], taken['dropping'], strict=True))
    return figures


def child(command: list[str]) -> dict:
    result = subprocess.run(command, capture_output=True, encoding='utf-8')
    if result.returncode:
        sys.exit(f'{" ".join(command)} failed:\n{result.stderr[-4000:]}')
    return json.loads(result.stdout.splitlines()[-1])


def report_modality(report: Report, modality: str, args):
    command = [sys.executable, '-m', 'benchmarks.step', '--child', modality, '--times', str(args.times)]
    ours = child(command)
    report(f'{modality}, train step, share of the peak', ours['train'][1], 0.75, True,
           f'{ours["train"][0]:.2f} s per step, {ours["train_first"]:.0f} s for the first; '
           f'peak {ours["peak"] / 1e9:.0f} GFLOP/s')
    best = max(('forward', 'forward_jit'), key=lambda name: ours[name][1])
    report(f'{modality}, forward pass, share of the peak', ours[best][1], 0.85, True, ', '.join(
        f'{text} {ours[name][0]:.2f} s ({ours[name][1]:.2f}), the first {ours[f"{name}_first"]:.0f} s'
        for name, text in (('forward', 'without XLA'), ('forward_jit', 'with XLA'))))
    if args.jit:
        with_jit = child([*command, '--jit'])
        print(f'{modality}, train step with jit: {with_jit["train"][0]:.2f} s ({with_jit["train"][1]:.2f} of the '
              f'peak), the first {with_jit["train_first"]:.0f} s', flush=True)
    if args.jax:
        report_jax(report, modality, args, ours)


def jax_figures(modality: str, batch: int, times: int, python: str) -> dict:
    """What benchmarks/jax_step.py prints about the same model."""
    spec = MODEL.input(modality)
    sizes = dict(batch=batch, times=times, classes=CLASSES, layers=MODEL.layers, width=MODEL.width, heads=MODEL.heads,
                 mlp_width=MODEL.mlp_width, grid=spec.grid, patch=spec.patch, channels=spec.shape[-1])
    return child([python, os.path.join(os.path.dirname(__file__), 'jax_step.py'), json.dumps(sizes)])


def report_jax(report: Report, modality: str, args, ours: dict):
    jax = jax_figures(modality, BATCHES[modality], args.times, args.jax)
    report(f'{modality}, time of a train step, ours / JAX\'s', ours['train'][0] / jax['train'], 1.0, False,
           f'JAX {jax["version"]} {jax["train"]:.2f} s, {jax["train_flops"] / ours["peak"]:.2f} of the peak; '
           f'forward {jax["forward"]:.2f} s')
    report(f'{modality}, time of the first train step, ours / JAX\'s', ours['train_first'] / jax['train_first'], 2.0,
           False, f'tracing and compiling; JAX {jax["train_first"]:.0f} s')


def report_dropping(report: Report, modality: str, args):
    figures = child([sys.executable, '-m', 'benchmarks.step', '--child', modality, '--times', str(args.times),
                     '--token-share', str(args.token_share)])
    whole, dropping = figures['whole'], figures['dropping']
    detail = (f'by the clock {figures["wall"]:.2f}; {1 / dropping[0]:.2f} and {1 / whole[0]:.2f} steps a second, '
              f'{dropping[1]:.2f} and {whole[1]:.2f} s of processor time each; by FLOPs {whole[2] / dropping[2]:.2f}')
    name = f'{modality}, steps by processor time with token_share {args.token_share:g}, times those with all tokens'
    if args.token_share == 0.5:
        report(name, figures['processor'], HALF_TARGETS[modality], True, detail)
    else:
        print(f'{name}: {figures["processor"]:.2f} ({detail})', flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('modalities', nargs='*', metavar='|'.join(BATCHES), help='default: all')
    parser.add_argument('--times', type=int, default=5, help='how often each is measured')
    parser.add_argument('--jax', metavar='PYTHON', help='also compare with JAX, by an interpreter that has it')
    parser.add_argument('--jit', action='store_true', help='also measure the train step with TrainingConfig.jit')
    parser.add_argument('--token-share', type=float, metavar='SHARE',
                        help='measure steps that keep this share of the tokens beside steps that keep all')
    parser.add_argument('--child', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(measure_dropping(args.child, args.times, args.token_share) if args.token_share else
                         measure(args.child, args.times, args.jit)))
        return 0
    modalities = chosen(parser, args.modalities, BATCHES)
    report = Report()
    for modality in modalities:
        (report_dropping if args.token_share else report_modality)(report, modality, args)
    return min(report.missed, 1)


if __name__ == '__main__':
    sys.exit(main())

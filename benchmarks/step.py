"""The train step and the forward pass of ViT-S, as shares of this machine's matrix-multiply peak, and beside JAX.

Run: .venv/bin/python -m benchmarks.step [image|audio|video ...] [--jax PYTHON]
Exit code 1 where a target is missed. PYTHON is an interpreter that has jax, in an environment of its own (made for
instance by `python3 -m venv DIR && DIR/bin/pip install jax`); benchmarks/jax_step.py is the same model and step in JAX.

The peak is TensorFlow's float32 product of two 2048 x 2048 matrices, measured before each step in the same process; a
share is the FLOPs of the matrix products (the plan's; three times the forward pass's in training) over the time and the
peak. Batches of 8, momentum SGD, clipping; image 224, audio 800 x 128, video 8 x 224 x 224. Medians of several. The
step is the trainer's, `training.TrainSteps` without `jit`; the forward pass is measured compiled by XLA and not (a
server runs it as it is).
"""

import argparse
import contextlib
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
from model_code.modalities import VideoInput
from model_code.settings import TrainingConfig, preset
from model_code.tasks import Recipe, Task
from pipeline.plan import forward_flops

MODEL = preset('S', inputs=VideoInput(frames=8))
KINDS = ('image', 'audio', 'video')
CLASSES, BATCH, SIDE = 10, 8, 2048


def seconds_of(function) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def measure(kind: str, times: int, jit: bool) -> dict:
    """{'forward', 'forward_jit', 'train': (seconds, share of the peak), '..._first': seconds of the first call}.

    jit: measure the step under XLA instead, as 'train'.
    """
    import tensorflow as tf

    from model_code import training
    matrix = tf.random.normal([SIDE, SIDE])
    product = tf.function(lambda: tf.matmul(matrix, matrix), autograph=False)
    task = Task(kind, kind, recipe=Recipe(steps=1, batch_size=BATCH))
    config = TrainingConfig(optimizer='momentum', strategy='one_device', jit=jit)
    model, make_steps = train_steps.make((task,), CLASSES, MODEL, config)
    step = training.traced(make_steps().single(task))
    inputs, labels = tf.random.normal([BATCH, *MODEL.input(kind).shape]), tf.zeros([BATCH], tf.int64)
    forward = {suffix: tf.function(functools.partial(model.logits, kind), autograph=False, jit_compile=compiled)
               for suffix, compiled in (('', None), ('_jit', True))}
    calls = {f'forward{suffix}': lambda f=f: f(inputs).numpy() for suffix, f in forward.items()}
    calls['train'] = lambda: step((inputs, labels), tf.constant(0), tf.constant(1e-3))[0].numpy()
    flops = BATCH * forward_flops(MODEL, task, CLASSES)
    found = {}

    for name, call in calls.items():
        with training.without_graph_optimizer() if name == 'train' else contextlib.nullcontext():
            found[f'{name}_first'] = seconds_of(call)
        # In turns with the peak: a machine's clock and neighbours change from second to second.
        turns = [(statistics.median(seconds_of(lambda: product().numpy()) for _ in range(5)), seconds_of(call))
                 for _ in range(times)]
        work = flops * (3 if name == 'train' else 1)
        found[name] = (statistics.median(seconds for _, seconds in turns),
                       statistics.median(work / seconds / (2 * SIDE ** 3 / one) for one, seconds in turns))
    return found | {'peak': 2 * SIDE ** 3 / statistics.median(one for one, _ in turns)}


def child(command: list[str]) -> dict:
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        sys.exit(f'{" ".join(command)} failed:\n{result.stderr[-4000:]}')
    return json.loads(result.stdout.splitlines()[-1])


def report_kind(report: Report, kind: str, args):
    ours = child([sys.executable, '-m', 'benchmarks.step', '--child', kind, '--times', str(args.times)])
    report(f'{kind}, train step by the peak', ours['train'][1], 0.75, True,
           f'{ours["train"][0]:.2f} s a step, the first {ours["train_first"]:.0f} s; '
           f'peak {ours["peak"] / 1e9:.0f} GFLOP/s')
    best = max(('forward', 'forward_jit'), key=lambda name: ours[name][1])
    report(f'{kind}, forward pass by the peak', ours[best][1], 0.85, True, ', '.join(
        f'{text} {ours[name][0]:.2f} s ({ours[name][1]:.2f}), the first {ours[f"{name}_first"]:.0f} s'
        for name, text in (('forward', 'plain'), ('forward_jit', 'under XLA'))))
    if args.jit:
        under = child([sys.executable, '-m', 'benchmarks.step', '--child', kind, '--times', str(args.times), '--jit'])
        print(f'{kind}, train step with jit: {under["train"][0]:.2f} s ({under["train"][1]:.2f} of the peak), '
              f'the first {under["train_first"]:.0f} s', flush=True)
    if args.jax:
        size = dict(kind=kind, batch=BATCH, times=args.times, classes=CLASSES, layers=MODEL.layers, width=MODEL.width,
                    heads=MODEL.heads, mlp_width=MODEL.mlp_width, grid=MODEL.input(kind).grid,
                    patch=MODEL.input(kind).patch, channels=MODEL.input(kind).shape[-1])
        theirs = child([args.jax, os.path.join(os.path.dirname(__file__), 'jax_step.py'), json.dumps(size)])
        report(f'{kind}, train step by JAX\'s, seconds', ours['train'][0] / theirs['train'], 1.0, False,
               f'JAX {theirs["version"]} {theirs["train"]:.2f} s, '
               f'{theirs["train_flops"] / ours["peak"]:.2f} of the peak; '
               f'forward {theirs["forward"]:.2f} s')
        report(f'{kind}, first step by JAX\'s, seconds', ours['train_first'] / theirs['train_first'], 2.0, False,
               f'tracing and compiling; JAX {theirs["train_first"]:.0f} s')


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('kinds', nargs='*', metavar='|'.join(KINDS), help='default: all')
    parser.add_argument('--times', type=int, default=5, help='how often each is measured')
    parser.add_argument('--jax', metavar='PYTHON', help='an interpreter that has jax: compare with it')
    parser.add_argument('--jit', action='store_true', help='also the train step with TrainingConfig.jit')
    parser.add_argument('--child', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(measure(args.child, args.times, args.jit)))
        return 0
    kinds = chosen(parser, args.kinds, KINDS)
    report = Report()
    for kind in kinds:
        report_kind(report, kind, args)
    return min(report.missed, 1)


if __name__ == '__main__':
    sys.exit(main())

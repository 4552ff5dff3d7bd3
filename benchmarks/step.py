"""The speed of ViT-S's train step and forward pass, as shares of this machine's peak, and beside JAX.

Run: .venv/bin/python -m benchmarks.step [image|audio|video ...] [--jax PYTHON]
Exit code 1 if a target is missed. PYTHON is an interpreter that has jax, in an environment of its own (made, say, by
`python3 -m venv DIR && DIR/bin/pip install jax`). benchmarks/jax_step.py has the same model and step in JAX.

The peak is the speed of TensorFlow's float32 product of two 2048 x 2048 matrices. It is measured before each call, in
the same process. A share is the FLOPs of the call's matrix products, over its time and the peak. These FLOPs are those
of `polyvit plan`; training takes three times those of the forward pass. All figures are medians.

Batches of 8, momentum SGD with clipping. Inputs: images of 224 x 224, spectrograms of 800 x 128, clips of
8 x 224 x 224. The train step is the trainer's, `training.TrainSteps` without `jit`. The forward pass is measured with
and without XLA; a server runs it without.
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
from model_code.flops import forward_flops
from model_code.modalities import VideoInput
from model_code.settings import TrainingConfig, preset
from model_code.tasks import Recipe, Task

MODEL = preset('S', inputs=VideoInput(frames=8))
MODALITIES = ('image', 'audio', 'video')
CLASSES, BATCH = 10, 8
SIDE = 2048  # of the matrices


def seconds_of(function) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def measure(modality: str, times: int, jit: bool) -> dict:
    """{'forward', 'forward_jit', 'train': (seconds, share of the peak), '..._first': seconds of the first call,
    'peak': FLOP/s}.

    times: how often each is measured. jit: 'train' is the train step with XLA.
    """
    import tensorflow as tf

    from model_code import training
    matrix = tf.random.normal([SIDE, SIDE])
    product = tf.function(lambda: tf.matmul(matrix, matrix), autograph=False)
    task = Task(modality, modality, recipe=Recipe(steps=1, batch_size=BATCH))
    config = TrainingConfig(optimizer='momentum', strategy='one_device', jit=jit)
    model, make_steps = train_steps.make((task,), CLASSES, MODEL, config)
    step = training.traced(make_steps().single(task))
    inputs, labels = tf.random.normal([BATCH, *MODEL.input(modality).shape]), tf.zeros([BATCH], tf.int64)
    forward = {suffix: tf.function(functools.partial(model.logits, modality), autograph=False, jit_compile=compiled)
               for suffix, compiled in (('', None), ('_jit', True))}
    calls = {f'forward{suffix}': lambda f=f: f(inputs).numpy() for suffix, f in forward.items()}
    calls['train'] = lambda: step((inputs, labels), tf.constant(0), tf.constant(1e-3))[0].numpy()
    flops = BATCH * forward_flops(MODEL, task, CLASSES)
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


def report_jax(report: Report, modality: str, args, ours: dict):
    spec = MODEL.input(modality)
    sizes = dict(batch=BATCH, times=args.times, classes=CLASSES, layers=MODEL.layers, width=MODEL.width,
                 heads=MODEL.heads, mlp_width=MODEL.mlp_width, grid=spec.grid, patch=spec.patch,
                 channels=spec.shape[-1])
    jax = child([args.jax, os.path.join(os.path.dirname(__file__), 'jax_step.py'), json.dumps(sizes)])
    report(f'{modality}, time of a train step, ours / JAX\'s', ours['train'][0] / jax['train'], 1.0, False,
           f'JAX {jax["version"]} {jax["train"]:.2f} s, {jax["train_flops"] / ours["peak"]:.2f} of the peak; '
           f'forward {jax["forward"]:.2f} s')
    report(f'{modality}, time of the first train step, ours / JAX\'s', ours['train_first'] / jax['train_first'], 2.0,
           False, f'tracing and compiling; JAX {jax["train_first"]:.0f} s')


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('modalities', nargs='*', metavar='|'.join(MODALITIES), help='default: all')
    parser.add_argument('--times', type=int, default=5, help='how often each is measured')
    parser.add_argument('--jax', metavar='PYTHON', help='also compare with JAX, by an interpreter that has it')
    parser.add_argument('--jit', action='store_true', help='also measure the train step with TrainingConfig.jit')
    parser.add_argument('--child', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(measure(args.child, args.times, args.jit)))
        return 0
    modalities = chosen(parser, args.modalities, MODALITIES)
    report = Report()
    for modality in modalities:
        report_modality(report, modality, args)
    return min(report.missed, 1)


if __name__ == '__main__':
    sys.exit(main())

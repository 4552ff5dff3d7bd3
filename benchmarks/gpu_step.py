"""The speed of ViT-S's train step on a GPU: by precision, with and without XLA, and beside JAX.

Run: .venv/bin/python -m benchmarks.gpu_step [image|audio|video ...] [--batches N] [--jax PYTHON]
On a machine with an NVIDIA GPU. --batches is how many of the batches of benchmarks/step.py make one here. PYTHON is an
interpreter with a jax that sees the GPU. JAX computes in float32, as TensorFlow does here: the products of both are in
TF32 where a GPU has it.

The train step is the trainer's, `training.TrainSteps`. "plain" lets XLA compile no more than GELU and LayerNorm
(model_code/fusion.py), "separate" not even these, "jit" is `TrainingConfig.jit`. Times are medians of rounds of steps
that follow each other without waiting, as in a training. Also printed: the matrix products' FLOPs by the clock, the
most memory that was in use, the seconds of the first step.
"""

import argparse
import json
import os
import statistics
import sys
import time

os.environ.setdefault('TF_USE_LEGACY_KERAS', '1')
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
os.environ.setdefault('TF_FORCE_GPU_ALLOW_GROWTH', 'true')
os.environ.setdefault('CUDA_VISIBLE_DEVICES', '0')  # else benchmarks.step hides it

from benchmarks import step as cpu_step
from benchmarks import train_steps
from benchmarks.report import chosen
from model_code.flops import training_flops
from model_code.settings import TrainingConfig
from model_code.tasks import Recipe, Task

PRECISIONS = ('float32', 'bfloat16')
KINDS = ('plain', 'separate', 'jit')
ROUNDS, STEPS = 5, 10


def measure(modality: str, batch: int, precision: str, kind: str) -> dict:
    """{'seconds', 'first', 'memory' in bytes} of a train step."""
    import tensorflow as tf

    from model_code import encoder, training
    fused = encoder._fused_gelu, encoder._fused_normalised
    if kind == 'separate':
        encoder._fused_gelu, encoder._fused_normalised = encoder.gelu, encoder._normalised
    try:
        task = Task(modality, modality, recipe=Recipe(steps=1, batch_size=batch))
        config = TrainingConfig(optimizer='momentum', strategy='one_device', precision=precision, jit=kind == 'jit')
        _, make_steps = train_steps.make((task,), cpu_step.CLASSES, cpu_step.MODEL, config)
        call = training.traced(make_steps().single(task))
        with tf.device('GPU:0'):
            given = tf.random.normal([batch, *cpu_step.MODEL.input(modality).shape]), tf.zeros([batch], tf.int64)
            rest = tf.constant(0), tf.constant(1e-3)

        def steps(count: int) -> float:
            start = time.perf_counter()
            for _ in range(count):
                loss = call(given, *rest)[0]
            loss.numpy()
            return (time.perf_counter() - start) / count
        with training.without_graph_optimizer():
            first = steps(1)
            steps(3)
            tf.config.experimental.reset_memory_stats('GPU:0')
            seconds = statistics.median(steps(STEPS) for _ in range(ROUNDS))
    finally:
        encoder._fused_gelu, encoder._fused_normalised = fused
    return {'seconds': seconds, 'first': first, 'memory': tf.config.experimental.get_memory_info('GPU:0')['peak']}


def tell(modality: str, name: str, batch: int, figures: dict):
    task = Task(modality, modality, recipe=Recipe(steps=1, batch_size=batch))
    flops = training_flops(cpu_step.MODEL, task, cpu_step.CLASSES, 1)
    memory = f'{figures["memory"] / 1e9:.1f} GB, ' if 'memory' in figures else ''
    print(f'{modality} {name}: {1e3 * figures["seconds"]:.1f} ms for {batch}, {flops / figures["seconds"] / 1e12:.1f} '
          f'TFLOP/s, {memory}first {figures["first"]:.1f} s', flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('modalities', nargs='*', metavar='|'.join(cpu_step.BATCHES), help='default: all')
    parser.add_argument('--batches', type=int, default=16)
    parser.add_argument('--precisions', nargs='+', choices=PRECISIONS, default=PRECISIONS)
    parser.add_argument('--kinds', nargs='+', choices=KINDS, default=KINDS)
    parser.add_argument('--jax', metavar='PYTHON')
    parser.add_argument('--child', help=argparse.SUPPRESS)
    args = parser.parse_args()
    modalities = chosen(parser, args.modalities, cpu_step.BATCHES)
    if args.child:
        import tensorflow as tf
        if not tf.config.list_physical_devices('GPU'):
            sys.exit('TensorFlow sees no GPU. `polyvit doctor` says why.')
        precision, kind = args.child.split()
        print(json.dumps(measure(modalities[0], args.batches * cpu_step.BATCHES[modalities[0]], precision, kind)))
        return 0
    for modality in modalities:
        batch = args.batches * cpu_step.BATCHES[modality]
        for precision in args.precisions:
            for kind in args.kinds:
                # A process each: a peak of memory is that of one kind.
                tell(modality, f'{precision} {kind}', batch, cpu_step.child([
                    sys.executable, '-m', 'benchmarks.gpu_step', modality, '--batches', str(args.batches), '--child',
                    f'{precision} {kind}']))
        if args.jax:
            jax = cpu_step.jax_figures(modality, batch, ROUNDS * STEPS, args.jax)
            tell(modality, f'float32 JAX {jax["version"]}', batch,
                 {'seconds': jax['train'], 'first': jax['train_first']})
    return 0


if __name__ == '__main__':
    sys.exit(main())

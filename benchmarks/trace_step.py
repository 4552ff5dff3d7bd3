"""How long it takes to trace a task's train step, without and with AutoGraph. Prints CPU seconds and their ratio.

Run: .venv/bin/python -m benchmarks.trace_step
"""

import functools
import os
import time

os.environ.setdefault('TF_USE_LEGACY_KERAS', '1')
os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '1')  # as the command line sets it
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')

import tensorflow as tf

from benchmarks import train_steps
from model_code import training
from model_code.modalities import ImageInput
from model_code.settings import ModelConfig, TrainingConfig
from model_code.tasks import Recipe, Task

TASKS = tuple(Task(name, 'image', recipe=Recipe(steps=1, batch_size=8)) for name in ('warm_up', 'measured'))
MODEL = ModelConfig(layers=4, width=64, heads=4, mlp_width=128, inputs=ImageInput(32, 32, (8, 8)))


def trace_seconds(autograph: bool) -> float:
    """CPU seconds to trace the step of one task, after that of another task has warmed the caches."""
    config = TrainingConfig(strategy='one_device')
    training.traced = functools.partial(tf.function, autograph=autograph)
    _, make_steps = train_steps.make(TASKS, 10, MODEL, config)
    for task in TASKS:
        size, shape = task.recipe.batch_size, MODEL.input(task.modality).shape
        batch = tf.zeros([size, *shape]), tf.zeros([size], tf.int64)
        # New TrainSteps, because one would trace what the tasks share only once.
        step = training.traced(make_steps().single(task))
        start = time.process_time()
        step.get_concrete_function(batch, tf.constant(0), tf.constant(1e-3))
        seconds = time.process_time() - start
    return seconds  # of the last task


def main():
    without, with_autograph = trace_seconds(False), trace_seconds(True)
    print(f'CPU time to trace a step: {without:.1f} s; with AutoGraph (the baseline) {with_autograph:.1f} s; '
          f'ratio {without / with_autograph:.2f}')


if __name__ == '__main__':
    main()

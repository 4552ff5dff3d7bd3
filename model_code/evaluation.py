"""Evaluation during training, on each task's eval split: for curves, the best weights and early stopping.

The gate does not use it: TFMA evaluates the exported model.
"""

import math
from collections.abc import Callable

import numpy as np

from model_code import input_pipeline, interruption, losses
from model_code.polyvit import PolyViT
from model_code.settings import ModelConfig
from model_code.tasks import Task

BATCHES = 8  # the number of batches of each task
# Decoded batches of a task are kept for the next evaluation if they take no more memory than this.
KEPT_BYTES = 64 * 2 ** 20


def make_evaluate(model: PolyViT, config: ModelConfig, classes: dict[str, int], files: dict[str, list[str]],
                  batch_size: int, batches: int = BATCHES) -> Callable[[], dict[str, float] | None]:
    """Returns a function () -> {'eval/<task>/<metric>': value}. Tasks without eval files are left out.

    It returns None, after the present batch, if the process is to end (`interruption`). batches: how many of each task;
    -1 takes all.
    """
    def make_dataset(task: Task):
        dataset = input_pipeline.eval_dataset(task, classes[task.name], config, files[task.name], batch_size)
        examples = batches * batch_size if batches > 0 else input_pipeline.count_records(files[task.name])
        fits = 4 * examples * math.prod(config.input(task.modality).shape) <= KEPT_BYTES
        return dataset.take(batches).cache() if fits else dataset.take(batches)

    # Not traced: with few evaluations in a training, tracing would take longer than all of them.
    def outputs(task: Task, inputs, labels):
        logits, groups = model.logits(task.name, inputs), model.groups[task.name]
        return (labels.numpy(), losses.scores(task, logits, groups).numpy(),
                losses.loss(task, logits, labels, groups).numpy())

    tasks = [t for t in model.tasks.values() if files.get(t.name)]
    datasets = {t.name: make_dataset(t) for t in tasks}

    def evaluate():
        values = {}
        for task in tasks:
            rows = []
            for inputs, labels in datasets[task.name]:
                if interruption.requested():
                    return None
                rows.append(outputs(task, inputs, labels))
            if rows:
                labels, scores, per_example = (np.concatenate(column) for column in zip(*rows, strict=True))
                quality = task.data.kind.functions.quality(labels, scores, model.groups[task.name])
                values |= {f'eval/{task.name}/{task.primary_metric}': quality,
                           f'eval/{task.name}/loss': float(per_example.mean())}
        return values

    return evaluate

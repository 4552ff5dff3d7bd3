"""Evaluation during training, on each task's eval split: for curves, the best weights and early stopping.

The gate does not use it: TFMA evaluates the exported model.
"""

import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from model_code import contrast, input_pipeline, interruption, losses
from model_code.polyvit import PolyViT
from model_code.settings import ModelConfig
from model_code.tasks import Task

BATCHES = 8  # the number of batches of each task
POOL = 1_000  # pairs among which captions are looked for, and examples
# Decoded batches of a task are kept for the next evaluation if they take no more memory than this.
KEPT_BYTES = 64 * 2 ** 20


def make_evaluate(model: PolyViT, config: ModelConfig, classes: dict[str, int], files: dict[str, list[str]],
                  batch_size: int, batches: int = BATCHES) -> Callable[[], dict[str, float] | None]:
    """Returns a function () -> {'eval/<task>/<metric>': value}. Tasks without eval files are left out.

    Of a task with captions also 'caption_recall': how often the nearest caption of an example, of those of the first
    POOL examples, is its own or equal to it; and 'example_recall', the same of the examples of a caption. It has no
    'loss': that of the classes would not be the one that is trained.

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

    def recalls(task: Task, pairs):
        """The two recalls of a task. pairs: of each batch, what model.pair_vectors gives."""
        found = contrast.recall_at_1(*(tf.concat(column, 0)[:POOL] for column in zip(*pairs, strict=True)))
        return {f'eval/{task.name}/{name}': value for name, value in
                zip(('caption_recall', 'example_recall'), found, strict=True)}

    tasks = [t for t in model.tasks.values() if files.get(t.name)]
    datasets = {t.name: make_dataset(t) for t in tasks}

    def evaluate():
        values = {}
        model.update_classes()
        for task in tasks:
            rows, pairs = [], []
            for inputs, labels, *caption in datasets[task.name]:
                if interruption.requested():
                    return None
                rows.append(outputs(task, inputs, labels))
                if caption and len(pairs) * batch_size < POOL:
                    pairs.append(model.pair_vectors(task.name, inputs, caption[0]))
            if rows:
                labels, scores, per_example = (np.concatenate(column) for column in zip(*rows, strict=True))
                quality = task.data.kind.functions.quality(labels, scores, model.groups[task.name])
                values[f'eval/{task.name}/{task.primary_metric}'] = quality
                if task.recipe.objective == 'labels':  # that of captions is another loss, of whole batches
                    values[f'eval/{task.name}/loss'] = float(per_example.mean())
            if pairs:
                values |= recalls(task, pairs)
        return values

    return evaluate

"""How well a model does while it is trained: a few batches of each task's eval split, for TensorBoard.

The gate's own evaluation is TFMA's, of all examples, after training.
"""

from typing import Callable

import numpy as np
import tensorflow as tf

from model_code import input_pipeline, losses, metrics
from model_code.polyvit import PolyViT
from model_code.settings import ModelConfig
from model_code.tasks import Task

BATCHES = 8  # of each task


def make_evaluate(model: PolyViT, config: ModelConfig, classes: dict[str, int], files: dict[str, list[str]],
                  batch_size: int, batches: int = BATCHES) -> Callable[[], dict[str, float]]:
    """A function of nothing -> {'eval/<task>/<metric>': value}; a task without eval files is left out.

    batches: of each task, -1 for all of them.
    """
    def make_outputs(task: Task):
        label = (tf.TensorSpec([None, classes[task.name]], tf.float32) if task.data.multi_hot
                 else tf.TensorSpec([None], tf.int64))
        signature = [tf.TensorSpec([None, *config.input(task.modality).shape], tf.float32), label]

        @tf.function(autograph=False, input_signature=signature)
        def outputs(inputs, labels):
            logits, groups = model.logits(task.name, inputs), model.groups[task.name]
            return losses.scores(task, logits, groups), losses.loss(task, logits, labels, groups)
        return outputs

    tasks = [t for t in model.tasks.values() if files.get(t.name)]
    outputs = {t.name: make_outputs(t) for t in tasks}
    datasets = {t.name: input_pipeline.eval_dataset(t, classes[t.name], config, files[t.name], batch_size).take(batches)
                for t in tasks}

    def evaluate():
        values = {}
        for task in tasks:
            rows = [(labels.numpy(), *(x.numpy() for x in outputs[task.name](inputs, labels)))
                    for inputs, labels in datasets[task.name]]
            if rows:
                labels, scores, per_example = (np.concatenate(column) for column in zip(*rows))
                quality = _quality(task, model.groups[task.name], labels, scores)
                values |= {f'eval/{task.name}/{task.primary_metric}': quality,
                           f'eval/{task.name}/loss': float(per_example.mean())}
        return values

    return evaluate


def _quality(task: Task, groups, labels: np.ndarray, scores: np.ndarray) -> float:
    """The task's primary metric."""
    if task.data.label_kind == 'multi':
        return metrics.mean_average_precision(labels, scores)
    if groups:
        right = [labels[:, ids].argmax(-1) == scores[:, ids].argmax(-1) for ids in groups]
        return float(np.all(right, axis=0).mean())
    return float(np.mean([metrics.correct(label, score) for label, score in zip(labels, scores)]))

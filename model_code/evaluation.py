"""Evaluation during training, on a few batches of each task's eval split, for TensorBoard.

The gate does not use it: TFMA evaluates all examples after training.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from model_code import input_pipeline, losses
from model_code.polyvit import PolyViT
from model_code.settings import ModelConfig
from model_code.tasks import Task

BATCHES = 8  # the number of batches of each task


def make_evaluate(model: PolyViT, config: ModelConfig, classes: dict[str, int], files: dict[str, list[str]],
                  batch_size: int, batches: int = BATCHES) -> Callable[[], dict[str, float]]:
    """Returns a function () -> {'eval/<task>/<metric>': value}. Tasks without eval files are left out.

    batches: how many of each task; -1 takes all.
    """
    def make_outputs(task: Task):
        label = input_pipeline.feature_spec(task, classes[task.name])['label']
        signature = [tf.TensorSpec([None, *config.input(task.modality).shape], tf.float32),
                     tf.TensorSpec([None, *label.shape], label.dtype)]

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
                labels, scores, per_example = (np.concatenate(column) for column in zip(*rows, strict=True))
                quality = task.data.kind.functions.quality(labels, scores, model.groups[task.name])
                values |= {f'eval/{task.name}/{task.primary_metric}': quality,
                           f'eval/{task.name}/loss': float(per_example.mean())}
        return values

    return evaluate

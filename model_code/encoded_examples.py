"""What a frozen encoder makes of a task's training examples, computed once and kept in memory.

Where nothing is drawn at random before the head, an example's representation is the same in every epoch. So it goes
through the encoder once, and each step trains the head on a batch of what is kept.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from model_code import heads, input_pipeline
from model_code.logger import logger
from model_code.polyvit import PolyViT
from model_code.progress import Progress
from model_code.tasks import Task

_BATCH_SIZE = 64


def train_dataset(model: PolyViT, task: Task, classes: int, files: list[str], examples: int, seed: int) -> Callable:
    """Encodes the examples. Returns a function (batches_done, tf.distribute.InputContext) -> endless batches.

    A batch is (tokens [batch, 1, width] float32, labels), for PolyViT.head_loss: what the head's pooling makes of an
    example's tokens. As those of input_pipeline.train_dataset, batches are a function of seed and position. For one
    host.

    files: gzip TFRecords with so many examples.
    """
    tokens, labels = map(tf.constant, _encoded(model, task, classes, files, examples))

    def batches(batches_done: int, context: tf.distribute.InputContext) -> tf.data.Dataset:
        epoch, offset = divmod(batches_done * task.recipe.batch_size, examples)

        def order(number: tf.Tensor) -> tf.data.Dataset:
            folded = tf.random.experimental.stateless_fold_in(tf.constant([seed, examples], tf.int32), number)
            return tf.data.Dataset.from_tensor_slices(
                tf.random.experimental.stateless_shuffle(tf.range(examples), folded))

        places = tf.data.Dataset.range(epoch, tf.int64.max).flat_map(
            tf.autograph.experimental.do_not_convert(order)).skip(offset)
        chosen = places.batch(context.get_per_replica_batch_size(task.recipe.batch_size), drop_remainder=True)
        found = chosen.map(lambda rows: (tf.gather(tokens, rows), tf.gather(labels, rows)))
        endless = found.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))
        return endless.prefetch(2).with_options(input_pipeline.options())

    return batches


def _encoded(model: PolyViT, task: Task, classes: int, files: list[str], examples: int
             ) -> tuple[np.ndarray, np.ndarray]:
    """(representations [examples, 1, width] float32, labels), in the order of the files."""
    encode = tf.function(lambda inputs: heads.pool(model.encode(task.modality, inputs), task.recipe.pooling),
                         autograph=False, reduce_retracing=True)
    progress = Progress(examples, 'example', lambda text: logger.info(
        'training: %s: the frozen encoder has encoded %s', task.name, text, extra=progress.extra))
    tokens, labels = [], []
    for inputs, label in input_pipeline.eval_dataset(task, classes, model.config, files, _BATCH_SIZE):
        tokens.append(encode(inputs).numpy()[:, np.newaxis])
        labels.append(label.numpy())
        progress.add(len(label))
    progress.finish()
    return np.concatenate(tokens), np.concatenate(labels)

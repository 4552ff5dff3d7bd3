"""A model that multiplies the scores in each example by a matrix, so that any accuracy can be arranged.

It has the signatures of a PolyViT. The tests of what comes after training use it, because it needs no training.
"""

import contextlib
import json
import os

import numpy as np
import tensorflow as tf

from model_code.tasks import Task
from tests import testing

CLASSES = ('a', 'b', 'c', 'd', 'e', 'f')
SINGLE = testing.task('digits', 'image', classes=CLASSES, floor=0.5, max_drop=0.05)
MULTI = testing.task('tags', 'audio', classes=CLASSES, label_kind='multi', floor=0.2)
GROUPED = testing.task('kitchen', 'image', label_kind='groups', label_groups=('verb', 'noun'), floor=0.5,
               classes=('verb:a', 'noun:b', 'verb:c', 'noun:d', 'noun:e', 'verb:f'))


class _Scorer(tf.Module):
    """Signatures `<task>_examples` and `<task>_label` for each task; weights: task name -> [classes, classes]."""

    def __init__(self, tasks, weights):
        super().__init__()
        self.tables, self.weights, self.functions = {}, {}, {}
        for task in tasks:
            keys = tf.constant(task.data.classes)
            self.tables[task.name] = tf.lookup.StaticHashTable(
                tf.lookup.KeyValueTensorInitializer(keys, tf.range(len(task.data.classes), dtype=tf.int64)), -1)
            self.weights[task.name] = tf.Variable(weights[task.name], dtype=tf.float32)

    def signatures(self, tasks):
        spec = tf.TensorSpec([None], tf.string, 'examples')
        signatures = {}
        for task in tasks:
            signatures[f'{task.name}_examples'] = tf.function(self._scores(task)).get_concrete_function(spec)
            signatures[f'{task.name}_label'] = tf.function(self._label(task)).get_concrete_function(spec)
        return signatures

    def _scores(self, task):
        def scores(examples):
            given = tf.io.parse_example(examples, {'given': tf.io.FixedLenFeature([len(CLASSES)], tf.float32)})['given']
            return {'scores': tf.matmul(given, self.weights[task.name])}
        return scores

    def _label(self, task):
        def label(examples):
            labels = tf.io.parse_example(examples, {'label': tf.io.RaggedFeature(tf.string)})['label']
            if not task.data.kind.multi_hot:
                return {'label': self.tables[task.name].lookup(labels[:, :1].to_tensor()[:, 0])}
            ids = tf.ragged.map_flat_values(self.tables[task.name].lookup, labels)
            present = tf.reduce_max(tf.one_hot(ids.to_tensor(-1), len(task.data.classes)), axis=1)
            if not task.data.label_groups:
                return {'label': present}
            group = [1.0 + task.data.label_groups.index(c.split(':')[0]) for c in task.data.classes]
            return {'label': tf.where(present > 0, group, tf.negative(group))}
        return label


def export(directory: str, weights: dict[str, np.ndarray], tasks: tuple[Task, ...], card: dict | None = None) -> str:
    """Saves the model to <directory>/Format-Serving; returns `directory`. card: by default it names the classes."""
    path = os.path.join(str(directory), 'Format-Serving')
    model = _Scorer(tasks, weights)
    tf.saved_model.save(model, path, signatures=model.signatures(tasks))
    os.makedirs(os.path.join(path, 'assets.extra'), exist_ok=True)
    with open(os.path.join(path, 'assets.extra', 'model_card.json'), 'w') as stream:
        json.dump(card or {'name': 'scorer', 'tasks': [{'name': task.name, 'classes': list(task.data.classes)}
                                                       for task in tasks]}, stream)
    return str(directory)


def write_examples(directory: str, labels: list[list[str]], given: np.ndarray, cameras: list[str] = (),
                   groups: list[str] = (), files: int = 1):
    """Writes the eval split of an artifact: tf.Examples with `id` (their number), `label`, `given` and, if there are
    cameras or groups, `camera` and `group`. files: over which they are spread, one after the other."""
    folder = os.path.join(str(directory), 'Split-eval')
    os.makedirs(folder)
    with contextlib.ExitStack() as stack:
        writers = [stack.enter_context(tf.io.TFRecordWriter(
            os.path.join(folder, f'data_tfrecord-{file:05}-of-{files:05}.gz'), 'GZIP')) for file in range(files)]
        for number, (names, scores) in enumerate(zip(labels, given, strict=True)):
            extra = {name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[values[number].encode()]))
                     for name, values in (('camera', cameras), ('group', groups)) if values and values[number]}
            writers[number * files // len(labels)].write(tf.train.Example(features=tf.train.Features(feature=extra | {
                'id': tf.train.Feature(bytes_list=tf.train.BytesList(value=[str(number).encode()])),
                'label': tf.train.Feature(bytes_list=tf.train.BytesList(value=[n.encode() for n in names])),
                'given': tf.train.Feature(float_list=tf.train.FloatList(value=scores)),
            })).SerializeToString())

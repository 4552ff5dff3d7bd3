"""The memory and CPU time of an evaluation of many examples with many classes.

Run: .venv/bin/python -m benchmarks.large_evaluation single|multi [--examples 20000] [--classes 400]
Exit code 1 if the process, with TensorFlow and TFX, takes more than 2 GB (10^9 bytes) at its peak. The evaluation is
TaskEvaluator's, with a baseline, on Beam's in-process runner. The models take the scores from the examples, with noise.
"""

import argparse
import json
import os
import pathlib
import resource
import sys
import tempfile
import time

os.environ.setdefault('TF_USE_LEGACY_KERAS', '1')
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')

import numpy as np
import tensorflow as tf
from tfx.types import standard_artifacts

from benchmarks.evaluation import artifact
from benchmarks.report import Report
from components.classes import Classes, TaskClasses, write_classes
from components.task_evaluator import executor
from model_code import serialization
from model_code.data import Data
from model_code.label_kinds import LABEL_KINDS
from model_code.tasks import Recipe, Task

KINDS = ('single', 'multi')
ROWS = 1_000  # examples that are made at once


class Scorer(tf.Module):
    """`t_examples` and `t_label`: what is in the example. strength: of the label in the logits."""

    def __init__(self, several: bool, classes: int, strength: float):
        super().__init__()
        spec = tf.TensorSpec([None], tf.string, name='examples')
        feature = {'logits': tf.io.FixedLenFeature([], tf.string), 'id_or_ids': tf.io.RaggedFeature(tf.int64)}

        def parsed(examples):
            found = tf.io.parse_example(examples, feature)
            return tf.io.decode_raw(found['logits'], tf.float32), found['id_or_ids']

        def scores(examples):
            logits, ids = parsed(examples)
            logits += strength * tf.reduce_max(tf.one_hot(ids.to_tensor(-1), classes), axis=1)
            return {'scores': tf.sigmoid(logits - 3) if several else tf.nn.softmax(logits)}

        def label(examples):
            _, ids = parsed(examples)
            return {'label': tf.reduce_max(tf.one_hot(ids.to_tensor(-1), classes), axis=1) if several else
                    ids.to_tensor()[:, 0]}

        self.signatures_of = {name: tf.function(function, input_signature=[spec]).get_concrete_function()
                              for name, function in (('t_examples', scores), ('t_label', label))}


def write_inputs(root: pathlib.Path, kind: str, examples: int, classes: int):
    names = [f'class {number}' for number in range(classes)]
    several = LABEL_KINDS[kind].several
    for model, strength in (('model', 4.0), ('baseline_model', 3.9)):
        scorer = Scorer(several, classes, strength)
        directory = root / model / 'Format-Serving'
        tf.saved_model.save(scorer, str(directory), signatures=scorer.signatures_of)
        (directory / 'assets.extra').mkdir()
        (directory / 'assets.extra' / 'model_card.json').write_text(
            json.dumps({'tasks': [{'name': 't', 'classes': names}]}), encoding='utf-8')
    write_classes(str(root / 'classes'), TaskClasses(tuple(names), ''))
    (root / 'examples' / 'Split-eval').mkdir(parents=True)
    rng = np.random.default_rng(0)
    with tf.io.TFRecordWriter(str(root / 'examples/Split-eval/data_tfrecord-00000-of-00001.gz'), 'GZIP') as writer:
        for number in range(examples):
            if number % ROWS == 0:
                logits = rng.normal(size=(ROWS, classes)).astype(np.float32)
            ids = rng.choice(classes, 4 if several else 1, replace=False)
            writer.write(tf.train.Example(features=tf.train.Features(feature={
                'id': tf.train.Feature(bytes_list=tf.train.BytesList(value=[f'{number:08}'.encode()])),
                'id_or_ids': tf.train.Feature(int64_list=tf.train.Int64List(value=ids)),
                'logits': tf.train.Feature(bytes_list=tf.train.BytesList(value=[logits[number % ROWS].tobytes()])),
            })).SerializeToString())


def measure(root: pathlib.Path, kind: str, report: Report, size: str):
    task = Task('t', 'image', data=Data('/none', label_kind=kind), recipe=Recipe(steps=1, batch_size=1))
    examples = artifact(standard_artifacts.Examples, root / 'examples')
    examples.split_names = '["eval"]'
    begin = time.process_time()
    executor.Executor().Do(
        {'examples': [examples], 'classes': [artifact(Classes, root / 'classes')],
         **{name: [artifact(standard_artifacts.Model, root / name)] for name in ('model', 'baseline_model')}},
        {'evaluation': [artifact(standard_artifacts.ModelEvaluation, root / 'evaluation')]},
        {'source': serialization.to_json(task.source), 'code_version': ''})
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    report(f'{kind}: peak memory in GB', peak, 2.0, False, f'{size}, {time.process_time() - begin:.0f} s of CPU')


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('kind', choices=KINDS)
    parser.add_argument('--examples', type=int, default=20_000)
    parser.add_argument('--classes', type=int, default=400)
    parsed = parser.parse_args()
    report = Report()
    with tempfile.TemporaryDirectory() as temporary:
        write_inputs(pathlib.Path(temporary), parsed.kind, parsed.examples, parsed.classes)
        measure(pathlib.Path(temporary), parsed.kind, report, f'{parsed.examples:,} examples, {parsed.classes} classes')
    return 1 if report.missed else 0


if __name__ == '__main__':
    sys.exit(main())

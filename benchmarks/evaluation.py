"""What TaskEvaluator takes, beside a plain predict loop over the same examples with the same exported model.

Run: .venv/bin/python -m benchmarks.evaluation [--data DIR] [--examples 2000] [--profile FILE]
Exit code 1 if an evaluation costs more than twice the loop. Imports are in neither.

The examples are test images of CIFAR-10 (DIR/cifar10/test/<class>/*, as in pipeline/configs/real_small.py). The model
is the one of real_small, not trained. The loop loads it, reads the records and asks for the scores of 64 at a time. The
evaluation is the executor's Do on Beam's in-process runner: with the loop's model alone, and with it as baseline too,
for which the loop asks both.
"""

import argparse
import cProfile
import os
import pathlib
import sys
import tempfile
import time

os.environ.setdefault('TF_USE_LEGACY_KERAS', '1')
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')

import numpy as np
import tensorflow as tf
from PIL import Image
from tfx.types import standard_artifacts

from benchmarks.report import Report
from components import evaluation_reading
from components.classes import Classes, TaskClasses, write_classes
from components.task_evaluator import evaluation_files, executor
from model_code import serialization
from model_code.data import Data
from model_code.export import ServedModel, save
from model_code.modalities import ImageInput
from model_code.polyvit import PolyViT
from model_code.settings import preset
from model_code.tasks import Mixture, Recipe, Task

TASK = Task('cifar10', 'image', data=Data('/none'), recipe=Recipe(steps=1, batch_size=1))
BATCH = 64


def write_examples(images: list[pathlib.Path], split: pathlib.Path):
    """Writes the eval split of an Examples artifact."""
    def texts(value):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    def number(value):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))

    split.mkdir(parents=True)
    with tf.io.TFRecordWriter(str(split / 'data_tfrecord-00000-of-00001.gz'), 'GZIP') as writer:
        for image in images:
            width, height = Image.open(image).size
            writer.write(tf.train.Example(features=tf.train.Features(feature={
                'id': texts(f'{image.parent.name}/{image.name}'.encode()), 'label': texts(image.parent.name.encode()),
                'image': texts(image.read_bytes()), 'height': number(height), 'width': number(width),
            })).SerializeToString())


def make_model(directory: str, classes: list[str], sample: bytes):
    mixture = Mixture((TASK,))
    config = preset('Nano', inputs=(ImageInput(height=32, width=32, patch=(8, 8)),))
    save(ServedModel(PolyViT(mixture, {TASK.name: len(classes)}, config), mixture, {TASK.name: classes}, {}),
         directory, {}, {TASK.name: [sample]})


def loop(directory: str, split: pathlib.Path, models: int) -> np.ndarray:
    """[examples, classes]: the scores."""
    signatures = [tf.saved_model.load(directory).signatures[f'{TASK.name}_examples'] for _ in range(models)]
    files = sorted(map(str, split.iterdir()))
    return np.concatenate([[signature(examples=batch)['scores'].numpy() for signature in signatures][0]
                           for batch in tf.data.TFRecordDataset(files, 'GZIP').batch(BATCH)])


def artifact(kind, uri: pathlib.Path):
    made = kind()
    made.uri = str(uri)
    return made


def evaluate(root: pathlib.Path, output: pathlib.Path, with_baseline: bool):
    examples = artifact(standard_artifacts.Examples, root / 'examples')
    examples.split_names = '["eval"]'
    model = artifact(standard_artifacts.Model, root / 'model')
    executor.Executor().Do(
        {'examples': [examples], 'model': [model], 'classes': [artifact(Classes, root / 'classes')],
         **({'baseline_model': [model]} if with_baseline else {})},
        {'evaluation': [artifact(standard_artifacts.ModelEvaluation, output)]},
        {'source': serialization.to_json(TASK.source), 'code_version': ''})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', type=pathlib.Path, default=pathlib.Path('../shared/data'))
    parser.add_argument('--examples', type=int, default=2_000)
    parser.add_argument('--profile', help='writes the profile of the evaluation with a baseline (cProfile)')
    parsed = parser.parse_args()
    images = sorted((parsed.data / 'cifar10' / 'test').glob('*/*'), key=lambda path: (path.name, path.parent.name))
    report = Report()
    with tempfile.TemporaryDirectory() as temporary:
        root = pathlib.Path(temporary)
        classes = sorted({image.parent.name for image in images})
        write_examples(images[:parsed.examples], root / 'examples' / 'Split-eval')
        write_classes(str(root / 'classes'), TaskClasses(tuple(classes), ''))
        make_model(str(root / 'model' / 'Format-Serving'), classes, images[0].read_bytes())
        for models in (1, 2):
            began = time.monotonic()
            scores = loop(str(root / 'model' / 'Format-Serving'), root / 'examples' / 'Split-eval', models)
            looped = time.monotonic() - began
            output, profile = root / f'evaluation-{models}', cProfile.Profile()
            began = time.monotonic()
            if parsed.profile and models == 2:
                profile.runcall(evaluate, root, output, True)
                profile.dump_stats(parsed.profile)
            else:
                evaluate(root, output, models == 2)
            took = time.monotonic() - began
            stored = evaluation_files.read_outcomes(str(output))
            seconds = evaluation_reading.read_evaluation(str(output))['seconds']
            order = np.argsort([f'{i.parent.name}/{i.name}' for i in images[:parsed.examples]])
            report(f'models: {models}: largest difference of a score', float(abs(stored.scores - scores[order]).max()),
                   1e-5, False, '')
            report(f'models: {models}: evaluation / loop', took / looped, 2.0, False,
                   f'{took:.1f} s and {looped:.1f} s for {len(scores)} images; intervals and slices '
                   f'{seconds:.1f} s')
    return 1 if report.missed else 0


if __name__ == '__main__':
    sys.exit(main())

"""What the TaskEvaluators of a run cost, beside a plain predict loop over the same examples with the same models.

Run: .venv/bin/python -m benchmarks.evaluation [--data DIR] [--examples 2000] [--repeats 3]
Exit code 1 if the evaluations cost more than twice the loop. Seconds are of CPU, of all threads, without imports.

The tasks are those of real_small (pipeline/configs/real_small.py) without the clips: images of CIFAR-10 and of MNIST,
and sounds, which two tasks share. The model is that of real_small, not trained. The loop loads it, reads the records of
each task and asks for the scores of 64 at a time. The evaluations are the executor's Do for each task, in one process
and on Beam's in-process runner, as `polyvit run` has it. Then the same with a baseline, for which the loop asks both
models. Loop and evaluations take turns; the figure is the median of the repeats.

At the end is what it would save to ask the encoder about the sounds once: its share of the evaluations.
"""

import argparse
import csv
import os
import pathlib
import shutil
import statistics
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
from components.classes import Classes, TaskClasses, write_classes
from components.task_evaluator import evaluation_files, executor, loaded_models
from model_code import serialization
from model_code.data import Data
from model_code.export import save
from model_code.modalities import AudioInput, ImageInput, get_modality
from model_code.polyvit import PolyViT
from model_code.served_model import ServedModel
from model_code.settings import preset
from model_code.tasks import Mixture, Recipe, Task

RECIPE = Recipe(steps=1, batch_size=1)
TASKS = {task.name: task for task in (
    Task('cifar10', 'image', data=Data('/none'), recipe=RECIPE),
    Task('mnist', 'image', data=Data('/none'), recipe=RECIPE),
    Task('fsdd_digit', 'audio', data=Data('/none'), recipe=RECIPE),
    Task('fsdd_tags', 'audio', data=Data('/none', label_kind='multi'), recipe=RECIPE))}
BATCH = 64


def read(data: pathlib.Path) -> dict[str, list[tuple[pathlib.Path, list[str]]]]:
    """Task -> the files of its test split with their labels, classes mixed."""
    def rows(folder, manifest, column):
        with open(data / folder / manifest, encoding='utf-8', newline='') as file:
            return [(data / folder / row['path'], row[column].split('|')) for row in csv.DictReader(file)
                    if row['split'] == 'test']

    images = sorted((data / 'cifar10' / 'test').glob('*/*'), key=lambda path: (path.name, path.parent.name))
    return {'cifar10': [(path, [path.parent.name]) for path in images],
            'mnist': rows('mnist', 'manifest.csv', 'label'), 'fsdd_digit': rows('fsdd', 'digit.csv', 'label'),
            'fsdd_tags': rows('fsdd', 'tags.csv', 'labels')}


def write_examples(task: Task, files: list[tuple[pathlib.Path, list[str]]], split: pathlib.Path):
    """Writes the eval split of an Examples artifact."""
    def texts(*values):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))

    split.mkdir(parents=True)
    with tf.io.TFRecordWriter(str(split / 'data_tfrecord-00000-of-00001.gz'), 'GZIP') as writer:
        for path, labels in files:
            sizes = zip(('width', 'height'), Image.open(path).size, strict=True) if task.modality == 'image' else ()
            writer.write(tf.train.Example(features=tf.train.Features(feature={
                'id': texts('/'.join(path.parts[-2:]).encode()), 'label': texts(*map(str.encode, labels)),
                get_modality(task.modality).feature: texts(path.read_bytes()),
                **{name: tf.train.Feature(int64_list=tf.train.Int64List(value=[size])) for name, size in sizes}
            })).SerializeToString())


class Bench:
    """The artifacts of a run, in a folder."""

    def __init__(self, root: pathlib.Path, data: pathlib.Path, examples: int):
        self._root = root
        files = {name: some[:examples] for name, some in read(data).items()}
        classes = {name: sorted({label for _, labels in some for label in labels}) for name, some in files.items()}
        for name, task in TASKS.items():
            write_examples(task, files[name], root / name / 'examples' / 'Split-eval')
            write_classes(str(root / name / 'classes'), TaskClasses(tuple(classes[name]), ''))
        mixture = Mixture(tuple(TASKS.values()))
        config = preset('Nano', inputs=(ImageInput(height=32, width=32, patch=(8, 8)),
                                        AudioInput(frames=96, mel_bins=64, patch=(16, 16))))
        sizes = {name: len(labels) for name, labels in classes.items()}
        for name in ('model', 'served'):
            save(ServedModel(PolyViT(mixture, sizes, config), mixture, classes,
                             {name: (-4.0, 4.0) for name in ('fsdd_digit', 'fsdd_tags')}),
                 self.model(name), {}, {name: [some[0][0].read_bytes()] for name, some in files.items()})

    def model(self, name: str) -> str:
        return str(self._root / name / 'Format-Serving')

    def loop(self, models: list[str]) -> tuple[dict[str, np.ndarray], dict[str, float]]:
        """Task -> [examples, classes], the scores of the first model; and 'load' or task -> its CPU seconds."""
        begin = time.process_time()
        loaded = [tf.saved_model.load(self.model(name)) for name in models]
        scores, seconds = {}, {'load': time.process_time() - begin}
        for name in TASKS:
            begin = time.process_time()
            files = sorted(map(str, (self._root / name / 'examples' / 'Split-eval').iterdir()))
            scores[name] = np.concatenate([
                [model.signatures[f'{name}_examples'](examples=batch)['scores'].numpy() for model in loaded][0]
                for batch in tf.data.TFRecordDataset(files, 'GZIP').batch(BATCH)])
            seconds[name] = time.process_time() - begin
        return scores, seconds

    def evaluate(self, models: list[str]) -> dict[str, float]:
        """Task -> the CPU seconds of its evaluation."""
        loaded_models._load.cache_clear()  # as in the process of another run
        seconds = {}
        for name, task in TASKS.items():
            folder = self._root / name
            shutil.rmtree(folder / 'evaluation', ignore_errors=True)
            examples = artifact(standard_artifacts.Examples, folder / 'examples')
            examples.split_names = '["eval"]'
            begin = time.process_time()
            executor.Executor().Do(
                {'examples': [examples], 'classes': [artifact(Classes, folder / 'classes')],
                 **{key: [artifact(standard_artifacts.Model, self._root / model)]
                    for key, model in zip(('model', 'baseline_model'), models, strict=False)}},
                {'evaluation': [artifact(standard_artifacts.ModelEvaluation, folder / 'evaluation')]},
                {'source': serialization.to_json(task.source), 'code_version': ''})
            seconds[name] = time.process_time() - begin
        return seconds

    def difference(self, scores: dict[str, np.ndarray]) -> float:
        """The largest difference of a score of the loop from that of the evaluation."""
        differences = []
        for name, its in scores.items():
            stored = evaluation_files.read_outcomes(str(self._root / name / 'evaluation'))
            records = tf.data.TFRecordDataset(sorted(map(str, (self._root / name / 'examples/Split-eval').iterdir())),
                                              'GZIP').as_numpy_iterator()
            ids = [tf.train.Example.FromString(record).features.feature['id'].bytes_list.value[0].decode()
                   for record in records]
            differences.append(abs(stored.scores - its[np.argsort(ids)]).max())
        return float(max(differences))


def artifact(kind, uri: pathlib.Path):
    made = kind()
    made.uri = str(uri)
    return made


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', type=pathlib.Path, default=pathlib.Path('../shared/data'))
    parser.add_argument('--examples', type=int, default=2_000, help='at most, of each task')
    parser.add_argument('--repeats', type=int, default=3)
    parsed = parser.parse_args()
    report = Report()
    with tempfile.TemporaryDirectory() as temporary:
        bench = Bench(pathlib.Path(temporary), parsed.data, parsed.examples)
        for models in (['model'], ['model', 'served']):
            turns = [(*bench.loop(models), bench.evaluate(models)) for _ in range(parsed.repeats)]
            report(f'models: {len(models)}: largest difference of a score', bench.difference(turns[-1][0]), 1e-5, False,
                   'of the loop and the evaluations')
            loops, evaluations = ({key: statistics.median(turn[place][key] for turn in turns)
                                   for key in turns[0][place]} for place in (1, 2))
            ratios = [sum(evaluated.values()) / sum(looped.values()) for _, looped, evaluated in turns]
            report(f'models: {len(models)}: evaluations / loop', statistics.median(ratios), 2.0, False,
                   'in turns: ' + ', '.join(f'{ratio:.2f}' for ratio in ratios))
            for title, seconds in (('loop', loops), ('evaluations', evaluations)):
                print(f'  {title}: {sum(seconds.values()):.1f} s of CPU: '
                      + ', '.join(f'{key} {value:.2f}' for key, value in seconds.items()))
            saved = loops['fsdd_tags'] / sum(evaluations.values())
            print(f'  one pass over the sounds of two tasks would save at most {saved:.1%} of the evaluations')
    return 1 if report.missed else 0


if __name__ == '__main__':
    sys.exit(main())

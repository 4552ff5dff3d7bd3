"""How well a task does on groups of examples that it has not seen, by cross-validation, and with how many examples.

Run: .venv/bin/python -m benchmarks.cross_validation --root ROOT --data FOLDER [--task surveillance] [--beside TASK ...]
     [--examples N ...] [--folds 5] [--draws 1] [--set PATH=VALUE ...], after
     polyvit run real_small --root ROOT --data FOLDER.

The groups (scenes, speakers) of train and eval together are dealt out into folds of nearly as many examples, so that
each example is an eval example of one training, whose train examples are of other groups. A training is one of `polyvit
study`: the task alone, or with those of --beside, each by its own recipe. --examples takes about so many of the train
examples, as whole groups at random, and the same steps: a point of the curve against their number. Each draw has other
folds and another seed.

Printed are accuracy and area under the ROC curve over all examples, the means over the draws, with a 95% interval by
group. What is trained is kept under ROOT/cross_validation, so a further call goes on.
"""

import argparse
import os
import pathlib
import random
from collections import defaultdict

os.environ.setdefault('TF_USE_LEGACY_KERAS', '1')
os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '1')  # as the command line sets it
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
os.environ.setdefault('CUDA_VISIBLE_DEVICES', '')

import numpy as np

from model_code import bootstrap, modalities, outcome_metrics, outcomes
from pipeline import ingested, overrides
from pipeline.study import arms


def records(lane: ingested.TrainingLane, feature: str) -> list[tuple[str, str, bytes, bytes]]:
    """(id, group, ingested record, transformed record) of each example of both splits, in the order of the ids.

    An example without a group is one by itself.
    """
    import tensorflow as tf

    def read(files):
        for record in tf.data.TFRecordDataset(files, 'GZIP').as_numpy_iterator():
            yield record, {name: tuple(value.bytes_list.value) for name, value in
                           tf.train.Example.FromString(record).features.feature.items()}

    found = []
    for split in ('train', 'eval'):
        folder = pathlib.Path(lane.lane.split_dir(split))
        # Transform keeps no ids, but the media as they are.
        transformed = {features[feature]: record for record, features in read(lane.files(split))}
        for record, features in read(sorted(map(str, folder.glob('*.gz')))):
            name, group = (features.get(one, (b'',))[0].decode() for one in ('id', 'group'))
            found.append((name, group or name, record, transformed[features[feature]]))
    return sorted(found)


def folds(examples, count: int, draw: int) -> list[set[str]]:
    """The groups of each fold: the largest first, each into the fold that has the fewest examples so far."""
    sizes = defaultdict(int)
    for _, group, *_ in examples:
        sizes[group] += 1
    groups = sorted(sizes)
    random.Random(draw).shuffle(groups)
    dealt, filled = [set() for _ in range(count)], [0] * count
    for group in sorted(groups, key=lambda one: -sizes[one]):
        place = filled.index(min(filled))
        dealt[place].add(group)
        filled[place] += sizes[group]
    return dealt


def some(examples, count: int, draw: int) -> list:
    """About so many examples, in whole groups at random; all for 0. More are the fewer ones and others."""
    groups = sorted({group for _, group, *_ in examples})
    random.Random(draw).shuffle(groups)
    taken = []
    for group in groups:
        if not count or len(taken) < count:
            taken += [one for one in examples if one[1] == group]
    return sorted(taken)


def write(lane: ingested.TrainingLane, folder: pathlib.Path, splits: dict) -> ingested.TrainingLane:
    """The lane with other examples in its splits."""
    import tensorflow as tf
    for split, examples in splits.items():
        for kind, place in (('examples', 2), ('transformed', 3)):
            path = folder / kind / f'Split-{split}' / 'examples.gz'
            path.parent.mkdir(parents=True, exist_ok=True)
            with tf.io.TFRecordWriter(str(path), 'GZIP') as file:
                for example in examples:
                    file.write(example[place])
    return ingested.TrainingLane(ingested.Lane(str(folder / 'examples'), lane.lane.classes),
                                 str(folder / 'transformed'), lane.graph, lane.older)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--config', default='real_small')
    parser.add_argument('--root', required=True)
    parser.add_argument('--data', required=True)
    parser.add_argument('--task', default='surveillance')
    parser.add_argument('--beside', nargs='*', default=[], metavar='TASK')
    parser.add_argument('--examples', nargs='*', type=int, default=[0], metavar='N', help='0: all')
    parser.add_argument('--folds', type=int, default=5)
    parser.add_argument('--draws', type=int, default=1)
    parser.add_argument('--set', action='append', default=[], metavar='PATH=VALUE')
    parsed = parser.parse_args()
    from components.co_trainer import executor
    from pipeline.study.trainings import Trainer
    config = overrides.load(parsed.config, parsed.data, parsed.set, parsed.root).with_data()
    tasks = tuple(task for task in config.mixture.tasks if task.name in (parsed.task, *parsed.beside))
    lanes = ingested.training_lanes(config, tasks)
    vocabularies = {task.name: executor.read_vocabulary(task, lanes[task.name].graph) for task in tasks}
    lane, folder = lanes[parsed.task], config.run_root / 'cross_validation'
    modality = config.mixture[parsed.task].modality
    examples = records(lane, modalities.get_modality(modality).feature)
    print(f'{parsed.task}: {len(examples)} examples of {len({one[1] for one in examples})} groups, '
          f'{parsed.folds} folds, {parsed.draws} draws; trained {" with ".join(task.name for task in tasks)}'
          f'{"; " + " ".join(parsed.set) if parsed.set else ""}', flush=True)
    for count in parsed.examples:
        of_draws, sizes = [], []
        for draw in range(parsed.draws):
            parts = []
            for number, groups in enumerate(folds(examples, parsed.folds, draw)):
                train = some([one for one in examples if one[1] not in groups], count, draw)
                sizes.append(len(train))
                own = write(lane, folder / f'{parsed.task}-{draw}-{number}-{count}', {
                    'train': train, 'eval': [one for one in examples if one[1] in groups]})
                trainer = Trainer(config, {**lanes, parsed.task: own}, vocabularies, str(folder / 'trainings'))
                training = arms.Training(tuple(task.name for task in tasks), draw)
                if not trainer.result(training):
                    trainer.run(training)
                parts.append(trainer.outcomes(training, parsed.task))
            joined = outcomes.concatenated(parts)
            of_draws.append(joined.take(np.argsort(joined.ids)))
        tell(f'{np.mean(sizes):.0f} train examples', of_draws)


def tell(name: str, of_draws: list):
    first = of_draws[0]
    clusters = bootstrap.clusters(first.ids.tolist(), first.groups.tolist())
    said = []
    for title, metric in (('accuracy', outcome_metrics.accuracy), ('AUC', binary_auc)):
        prepared = [metric(one.labels, one.scores) for one in of_draws]
        value = float(np.mean([each.value() for each in prepared]))
        resampled = np.mean(bootstrap.resampled_together(prepared, clusters), axis=0)
        limits = bootstrap.interval(value, resampled, clusters.count, (0.0, 1.0))
        said.append(f'{title} {value:.3f}' + (f' ({limits[0]:.3f} to {limits[1]:.3f})' if limits else ''))
    print(f'{name}: {", ".join(said)}', flush=True)


def binary_auc(labels: np.ndarray, scores: np.ndarray):
    """Of two classes. The mean over the two, which are each other's mirror."""
    return outcome_metrics.auc(outcome_metrics.one_hot(labels, scores.shape[1]), scores)


if __name__ == '__main__':
    main()

"""The five schedules on one mixture: the same number of optimiser steps each, and every task's metric after it.

Run, after `polyvit run real_small --root ROOT --data DIR`:
.venv/bin/python -m benchmarks.schedules --root ROOT [--share 0.15] [schedule ...]

Reads what that run's Transforms wrote, trains a fresh model a schedule, each in a process of its own, with `--share` of
the config's steps, and evaluates all examples of the eval splits. A step of `accumulated` takes a batch of every task,
so that it sees as many times more examples, and takes as much longer, as there are tasks.
"""

import argparse
import dataclasses
import functools
import glob
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time

os.environ.setdefault('TF_USE_LEGACY_KERAS', '1')
os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '1')  # as the command line sets it
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')

from benchmarks.report import chosen
from model_code.tasks import SCHEDULES, Mixture


def artifact(root: str, task: str, name: str) -> str:
    """The newest output `name` of the task's Transform."""
    found = sorted(glob.glob(os.path.join(root, 'pipeline', f'Transform_{task}', name, '*')),
                   key=lambda path: int(os.path.basename(path)))
    if not found:
        sys.exit(f'{root} holds no {name} of task {task}: run the pipeline there first.')
    return found[-1]


def train(config_name: str, root: str, schedule: str, share: float) -> dict:
    """{'seconds', 'steps', 'metrics': {name: value}} of one schedule."""
    import tf_keras

    from components.co_trainer import executor
    from model_code import evaluation, input_pipeline, loop, polyvit, strategy
    config = importlib.import_module(f'pipeline.configs.{config_name}').get_config()
    mixture = Mixture(tuple(dataclasses.replace(t, recipe=dataclasses.replace(
        t.recipe, steps=max(1, round(share * t.recipe.steps)))) for t in config.mixture.tasks),
        schedule, config.mixture.seed)
    recipe = dataclasses.replace(config.training, warmup_steps=round(share * config.training.warmup_steps),
                                 checkpoint_every=10 ** 9)
    files = {split: {t.name: sorted(glob.glob(os.path.join(
        artifact(root, t.name, 'transformed_examples'), f'Split-{split}', '*.gz'))) for t in mixture.tasks}
        for split in ('train', 'eval')}
    placed = strategy.make_strategy(recipe)
    vocabularies = {t.name: executor.read_vocabulary(t, artifact(root, t.name, 'transform_graph'))
                    for t in mixture.tasks}
    classes = {name: len(labels) for name, labels in vocabularies.items()}
    tf_keras.utils.set_random_seed(recipe.seed)
    with placed.scope():
        model = polyvit.PolyViT(mixture, classes, config.model,
                                {t.name: t.group_ids(vocabularies[t.name]) for t in mixture.tasks})
    datasets = {t.name: functools.partial(input_pipeline.train_dataset, t, classes[t.name], config.model,
                                          files['train'][t.name], recipe.seed + i) for i, t in enumerate(mixture.tasks)}
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        history = loop.train(placed, model, mixture, datasets, recipe, folder)
    seconds = time.perf_counter() - start
    evaluate = evaluation.make_evaluate(model, config.model, classes, files['eval'], recipe.eval_batch_size, batches=-1)
    return {'seconds': seconds, 'steps': history['total_steps'], 'metrics': evaluate()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('schedules', nargs='*', metavar='|'.join(SCHEDULES), help='default: all')
    parser.add_argument('--root', required=True, help='of a finished run of the config')
    parser.add_argument('--config', default='real_small')
    parser.add_argument('--share', type=float, default=0.15, help='of the steps of the config')
    parser.add_argument('--child', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(train(args.config, args.root, args.child, args.share)))
        return
    for number, schedule in enumerate(chosen(parser, args.schedules, SCHEDULES)):
        result = subprocess.run(
            [sys.executable, '-m', 'benchmarks.schedules', '--child', schedule, '--root', args.root, '--config',
             args.config, '--share', str(args.share)], stdout=subprocess.PIPE, text=True, check=True)
        found = json.loads(result.stdout.splitlines()[-1])
        values = {name.removeprefix('eval/'): value for name, value in found['metrics'].items()
                  if not name.endswith('/loss')}
        if not number:
            print('| schedule | steps | seconds | ' + ' | '.join(values) + ' |\n' + '| --- ' * (3 + len(values)) + '|')
        print(f'| {schedule} | {found["steps"]} | {found["seconds"]:.0f} | '
              + ' | '.join(f'{value:.3f}' for value in values.values()) + ' |', flush=True)


if __name__ == '__main__':
    main()

"""Compares the paper's five schedules on one mixture: every task's metrics after the same number of optimiser steps.

Run, after `polyvit run real_small --root ROOT --data DIR`:
.venv/bin/python -m benchmarks.schedules --root ROOT [--share 0.15] [schedule ...]

Reads the outputs of that run's Transforms. Trains one new model per schedule, each in a process of its own, for
`--share` of the config's steps. Evaluates it on all examples of the eval splits. A step of `accumulated` takes a batch
of every task, so with n tasks it sees n times more examples, and takes n times longer.
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
from model_code.tasks import PAPER_SCHEDULES, Mixture


def newest_output(root: str, task: str, name: str) -> str:
    """The directory of the newest output `name` of the task's Transform."""
    paths = sorted(glob.glob(os.path.join(root, 'pipeline', f'Transform_{task}', name, '*')),
                   key=lambda path: int(os.path.basename(path)))
    if not paths:
        sys.exit(f'{root} has no {name} of task {task}. Run the pipeline there first.')
    return paths[-1]


def train(config_name: str, root: str, schedule: str, share: float) -> dict:
    """Trains and evaluates one schedule: {'seconds', 'steps', 'metrics': {name: value}}."""
    import tf_keras

    from components.co_trainer import executor
    from model_code import evaluation, input_pipeline, loop, polyvit
    from model_code.strategy import make_strategy
    config = importlib.import_module(f'pipeline.configs.{config_name}').get_config()
    tasks = tuple(dataclasses.replace(task, recipe=dataclasses.replace(
        task.recipe, steps=max(1, round(share * task.recipe.steps)))) for task in config.mixture.tasks)
    mixture = Mixture(tasks, schedule, config.mixture.seed)
    training = dataclasses.replace(config.training, warmup_steps=round(share * config.training.warmup_steps),
                                   checkpoint_every=10 ** 9)
    files = {split: {task.name: sorted(glob.glob(os.path.join(
        newest_output(root, task.name, 'transformed_examples'), f'Split-{split}', '*.gz'))) for task in tasks}
        for split in ('train', 'eval')}
    vocabularies = {task.name: executor.read_vocabulary(task, newest_output(root, task.name, 'transform_graph'))
                    for task in tasks}
    classes = {name: len(labels) for name, labels in vocabularies.items()}
    strategy = make_strategy(training)
    tf_keras.utils.set_random_seed(training.seed)
    with strategy.scope():
        model = polyvit.PolyViT(mixture, classes, config.model,
                                {task.name: task.group_ids(vocabularies[task.name]) for task in tasks})
    datasets = {task.name: functools.partial(input_pipeline.train_dataset, task, classes[task.name], config.model,
                                             files['train'][task.name], training.seed + i)
                for i, task in enumerate(tasks)}
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        history = loop.train(strategy, model, mixture, datasets, training, folder)
    seconds = time.perf_counter() - start
    evaluate = evaluation.make_evaluate(model, config.model, classes, files['eval'], training.eval_batch_size,
                                        batches=-1)
    return {'seconds': seconds, 'steps': history['total_steps'], 'metrics': evaluate()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('schedules', nargs='*', metavar='|'.join(PAPER_SCHEDULES), help='default: all')
    parser.add_argument('--root', required=True, help='the root of a finished run of the config')
    parser.add_argument('--config', default='real_small')
    parser.add_argument('--share', type=float, default=0.15, help='of the config\'s steps; 1 for all')
    parser.add_argument('--child', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(train(args.config, args.root, args.child, args.share)))
        return
    for number, schedule in enumerate(chosen(parser, args.schedules, PAPER_SCHEDULES)):
        process = subprocess.run(
            [sys.executable, '-m', 'benchmarks.schedules', '--child', schedule, '--root', args.root, '--config',
             args.config, '--share', str(args.share)], stdout=subprocess.PIPE, encoding='utf-8', check=True)
        result = json.loads(process.stdout.splitlines()[-1])
        values = {name.removeprefix('eval/'): value for name, value in result['metrics'].items()
                  if not name.endswith('/loss')}
        if not number:
            print('| schedule | steps | seconds | ' + ' | '.join(values) + ' |\n' + '| --- ' * (3 + len(values)) + '|')
        print(f'| {schedule} | {result["steps"]} | {result["seconds"]:.0f} | '
              + ' | '.join(f'{value:.3f}' for value in values.values()) + ' |', flush=True)


if __name__ == '__main__':
    main()

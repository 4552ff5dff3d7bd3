"""`polyvit study`: trains a config's tasks in several ways over several seeds, and says which of them pays."""

import contextlib
import datetime
import json
import os
import pathlib
import statistics
import sys
import time
import traceback
from collections.abc import Sequence

from humanize import metric

from components.report import gradients
from model_code import file_io, interruption, seed_comparison, words
from model_code.errors import ConfigError
from model_code.modalities import MODALITIES
from model_code.printable import printable
from model_code.tasks import BY_SIZE
from model_code.urls import is_url
from pipeline import (
    checks,
    ending,
    environment,
    estimate,
    ingested,
    layout,
    overrides,
    roots,
    run_record,
    summary,
    terminal,
)
from pipeline.study import arms, comparison, page

LEAST_SEEDS = 2  # one training does not show how another one would differ
# What changes no weight of a training, although its settings are others then.
_NO_WEIGHT = ('training.gradient_diagnosis_every', 'training.checkpoint_every', 'training.eval_batch_size',
              'training.tpu')


def run(config, seeds: int, as_json: bool, dry_run: bool, argv: tuple[str, ...] = (), changes: tuple[str, ...] = ()):
    """Does what is missing of the study, prints its table and verdicts, and writes them as JSON and as a page.

    config: with data. argv: what was typed after `polyvit`. changes: of the config, whose worth is to be told; without
    any it is that of training together. Raises ConfigError, before anything is written, for a task that was not
    ingested under the config's root, for a config with train_only, and for changes of a seed and those that need other
    examples, or train nothing else; PipelineStop as a training does.
    """
    tasks = config.mixture.tasks
    if len(tasks) < 2 and not changes:
        raise ConfigError(f'The config {config.name} has one task, {tasks[0].name}, so there is nothing to train it '
                          'with. A study takes two or more.')
    if seeds < LEAST_SEEDS:
        raise ConfigError(f'--seeds is {seeds}; it must be at least {LEAST_SEEDS}: one training does not tell how '
                          'another one would differ.')
    if seeds > seed_comparison.MOST_SEEDS:
        raise ConfigError(f'--seeds is {seeds:,}; it must be at most {seed_comparison.MOST_SEEDS:,}.')
    if is_url(config.root):
        raise ConfigError(f'The root is {config.root}, but a study on this machine takes what a run here has ingested. '
                          'Give the path of its root.')
    changed = overrides.apply(config, changes, '--change')
    for each in (config, changed):
        _check_trains_all(each)
        checks.check_initial_checkpoint(each)
    _check_same_seeds(config, changed, changes)
    _check_weights(config, changes)
    environment.set_defaults()
    with terminal.quiet(pathlib.Path(os.devnull)):
        _check_same_examples(config, changed, changes)
        lanes = ingested.training_lanes(config, tasks)
        trainer = _trainer(config, lanes, any(each.mixture.schedule in BY_SIZE for each in (config, changed)))
    if changes:
        _check_another_training(config, trainer, changes)
    older = [name for name, lane in lanes.items() if lane.older]
    if older:
        print(f'Another version of the code transformed the examples of {", ".join(older)}. They are taken as they '
              'are.', file=sys.stderr)
    if dry_run:
        planned = plan(config, seeds, trainer, changes)
        print(json.dumps(planned, indent=1) if as_json else '\n'.join(plan_lines(config, planned, layout.columns())))
        return
    with run_record.one_run_at_a_time(config.run_root):
        study = _run(config, seeds, trainer, as_json, argv, changes)
    print(json.dumps(study, indent=1) if as_json else '\n'.join(result_lines(config, study, layout.columns())))


def _check_trains_all(config):
    if config.training.train_only:
        raise ConfigError(f'train_only is {", ".join(config.training.train_only)}, so the config {config.name} trains '
                          'new heads on a model that is kept, and a study compares trainings of whole models. Leave '
                          'train_only out for a study.')


def _check_same_seeds(config, changed, changes: tuple[str, ...]):
    for name in ('training', 'mixture'):
        if getattr(changed, name).seed != getattr(config, name).seed:
            raise ConfigError(f'{_given(changes)}: {name}.seed cannot be changed, because both arms are trained over '
                              f'the same seeds. For other seeds in both, write --set {name}.seed='
                              f'{getattr(changed, name).seed} instead.')


def _check_same_examples(config, changed, changes: tuple[str, ...]):
    others = ingested.others_needed(config, changed)
    if others:
        raise ConfigError(
            f'{_given(changes)}: {", ".join(others)} would need other examples than a run has ingested. A study trains '
            'on these, so a change may be of the model and its training, not of the data or how they are read. For '
            'that, run both configs, and compare the runs (polyvit report --compare).')


def _check_weights(config, changes: tuple[str, ...]):
    """Raises ConfigError for a change that no weight depends on: its trainings would be the same ones again."""
    unread = tuple(f'model.inputs.{name}.' for name in MODALITIES if name not in config.mixture.modalities)
    for change in changes:
        path = change.partition('=')[0].strip()
        if path in _NO_WEIGHT or path.startswith(unread):
            raise ConfigError(f'--change {change} changes no weight of a training. Leave it out, or give it to both '
                              'arms by --set.')


def _check_another_training(config, trainer, changes: tuple[str, ...]):
    without, with_them = (arms.arms(config.mixture, changes)[arm][config.mixture.tasks[0].name]
                          for arm in (arms.TOGETHER, arms.CHANGED))
    if trainer.path(without) == trainer.path(with_them):
        raise ConfigError(f'{_given(changes)} trains no other model than the config does. Change a setting of the '
                          'model, the mixture, the training or a recipe to another value.')


def _given(changes: tuple[str, ...]) -> str:
    return ' '.join(f'--change {change}' for change in changes)


def _trainer(config, lanes, by_size: bool):
    from components.co_trainer import executor
    from pipeline.study import trainings
    vocabularies = {task.name: executor.read_vocabulary(task, lanes[task.name].graph) for task in config.mixture.tasks}
    return trainings.Trainer(config, lanes, vocabularies, str(roots.study_dir(config.run_root) / 'trainings'),
                             by_size)


def _run(config, seeds: int, trainer, as_json: bool, argv: tuple[str, ...] = (), changes: tuple[str, ...] = ()
         ) -> dict:
    """Does the trainings that are missing, with progress on standard output, or on standard error for as_json."""
    wanted, folder = arms.trainings(config.mixture, seeds, changes), roots.study_dir(config.run_root)
    log = folder / 'study.log'
    run_record.create_folder(folder)
    errors = open(os.dup(2), 'w', encoding='utf-8', errors='backslashreplace')
    with errors, terminal.quiet(log) as output, contextlib.closing(
            terminal.Screen(errors if as_json else output)) as screen, terminal.messages_on(screen):
        screen.print(f'polyvit study {config.name}: {words.count(len(config.mixture.tasks), "task")}, '
                     f'{words.count(seeds, "seed")}, {words.count(len(wanted), "training")}')
        for kind, values in (('change', changes), ('set   ', config.overrides)):
            for value in values:
                screen.print_whole(f'{kind}  {printable(value)}')
        for line in summary.path_lines({'study': str(folder), 'log': str(log)}, screen.columns):
            screen.print_whole(line)
        _train(config, wanted, trainer, screen, argv)
        screen.print('Comparing them')
        study = {**compare(config, seeds, trainer, changes), **_made(config)}
        html = roots.study_page(config.run_root, changes, config.overrides)
        file_io.write(str(html.with_suffix('.json')), json.dumps(study, indent=1, allow_nan=False))
        file_io.write(str(html), page.render(study).encode('utf-8', 'backslashreplace'))
    return study


def _made(config) -> dict:
    """When a study is written, and the newest run that had come to its end by then."""
    ended = (record.id for record in run_record.records(config.run_root) if record.report)
    return {'written': datetime.datetime.now(datetime.timezone.utc).strftime('%Y-%m-%d %H:%M UTC'),
            'run': next(ended, '')}


def _train(config, wanted: Sequence[arms.Training], trainer, screen: terminal.Screen, argv: tuple[str, ...]):
    titles = {training: f'seed {training.seed}_{arms.title(config.mixture, training)}' for training in wanted}
    left = expected_seconds(config, wanted, trainer)
    if left:
        screen.print(f'{words.count(len(left), "training")} to do: about {estimate.rough(sum(left.values()))}')
    screen.expect(list(titles.values()), {titles[training]: left.get(training, 0.0) for training in wanted},
                  time.monotonic())
    done = len(wanted) - len(left)

    def tell(number):
        screen.finish('interrupted')
        screen.print(ending.sentence(number, 'while it trained.'))
        ran = interruption.kept()
        screen.print(f'Kept: {done} of {words.count(len(wanted), "training")}{"; " if ran else ""}{ran}.')
        screen.print('To go on:' if argv else 'To go on, call it again.')
        for line in summary.again_lines(argv):
            screen.print_whole(line)
        screen.close()

    with ending.telling(tell):
        for training in wanted:
            screen.start(titles[training])
            if training not in left:
                screen.finish('done before', cached=True)
                continue
            try:
                result = trainer.run(training)
            except Exception:
                traceback.print_exc()  # goes to the log
                screen.finish('interrupted' if interruption.requested() else 'stopped')
                raise
            done += 1
            screen.finish(words.duration(result.took))


def expected_seconds(config, wanted: Sequence[arms.Training], trainer) -> dict[arms.Training, float]:
    """How long each training will take that has not finished.

    As another seed of it took; else by the plan, times how much longer than by the plan the finished ones took, or the
    last run's training if there is none.
    """
    models = dict.fromkeys(training._replace(seed=0) for training in wanted)
    planned = {model: arms.cost(config, model, trainer.data).seconds for model in models}
    took = {training: result.took for training in wanted if (result := trainer.result(training))}
    of_model = {model: [seconds for training, seconds in took.items() if training._replace(seed=0) == model]
                for model in models}
    last = run_record.seconds(config.run_root).get('CoTrainer')
    everything = max(models, key=lambda model: (len(model.tasks), not model.changes))
    paces = [seconds / planned[training._replace(seed=0)] for training, seconds in took.items()] or (
        [last / planned[everything]] if last else [1.0])
    pace = statistics.median(paces)

    def expected(model: arms.Training) -> float:
        return statistics.mean(of_model[model]) if of_model[model] else pace * planned[model]
    return {training: expected(training._replace(seed=0)) for training in wanted if training not in took}


def compare(config, seeds: int, trainer, changes: tuple[str, ...] = ()) -> dict:
    """The contents of study.json, of trainings that have all finished."""
    of_arms, tasks = arms.arms(config.mixture, changes), []
    for task in config.mixture.tasks:
        found = {}
        for arm, of_task in of_arms.items():
            first = of_task[task.name]
            if arm == arms.MODALITY and first.tasks == (task.name,):
                continue  # the same training as alone
            each = [first._replace(seed=seed) for seed in range(seeds)]
            if arm == arms.FROZEN and not all(task.name in trainer.result(one).frozen for one in each):
                continue
            found[arm] = [trainer.outcomes(one, task.name, arm == arms.FROZEN) for one in each]
        tasks.append(comparison.compare(task, found, arms.asked(changes)))
    results = {training: trainer.result(training) for training in arms.trainings(config.mixture, seeds, changes)}
    study = {'version': comparison.VERSION, 'config': config.name, 'changes': list(changes),
             'settings': list(config.overrides), 'seeds': seeds, 'tasks': tasks,
             'costs': comparison.costs(of_arms, results)}
    together = next(iter(of_arms[arms.TOGETHER].values()))
    measured = gradients.summarise([record for seed in range(seeds)
                                    for record in results[together._replace(seed=seed)].gradients])
    return study | {'conclusion': comparison.conclusion(study), **({'gradients': measured} if measured else {})}


def plan(config, seeds: int, trainer, changes: tuple[str, ...] = ()) -> dict:
    """What a study costs, and what of it is there: for --dry-run."""
    wanted = arms.trainings(config.mixture, seeds, changes)
    left = expected_seconds(config, wanted, trainer)
    rows = []
    for model in dict.fromkeys(training._replace(seed=0) for training in wanted):
        cost = arms.cost(config, model, trainer.data)
        own = [seconds for training, seconds in left.items() if training._replace(seed=0) == model]
        rows.append({'tasks': list(model.tasks), 'changes': list(model.changes), 'parameters': cost.parameters,
                     'steps': cost.steps, 'flops': cost.flops, 'trainings_left': len(own),
                     'seconds_left': round(sum(own), 1)})
    return {'config': config.name, 'seeds': seeds, 'trainings': len(wanted), 'trainings_left': len(left),
            'seconds_left': round(sum(left.values()), 1), 'models': rows}


def plan_lines(config, planned: dict, columns: int | None) -> list[str]:
    rows = [['training', 'parameters', 'steps', 'FLOPs', 'seeds left', 'time left']]
    for row in planned['models']:
        training = arms.Training(tuple(row['tasks']), 0, tuple(row['changes']))
        rows.append([arms.title(config.mixture, training), f'{row["parameters"]:,}', f'{row["steps"]:,}',
                     metric(row['flops']), str(row['trainings_left']), _time(row['seconds_left'])])
    table = layout.table(rows)
    if not layout.fits(table, columns):
        table = layout.table([[layout.cut(row[0], 24), row[2], row[4], row[5]] for row in rows])
    total = (f'{planned["trainings_left"]} of {words.count(planned["trainings"], "training")} to do: about '
             f'{_time(planned["seconds_left"])}. Nothing is ingested again, and nothing was written now.')
    return [f'polyvit study {config.name} --dry-run: {words.count(planned["seeds"], "seed")}', '', *table, '',
            *layout.wrap(total if planned['trainings_left'] else 'All trainings are there.', columns)]


def _time(seconds: float) -> str:
    return words.duration(round(seconds) or 1) if seconds else '-'


def result_lines(config, study: dict, columns: int | None) -> list[str]:
    """The tables and the verdicts, and where the page is."""
    html = roots.study_page(config.run_root, study['changes'], study['settings'])
    return ['', *_metric_table(study, columns), '', *_cost_table(study, columns), '',
            *(part for task in study['tasks'] for part in layout.wrap(task['sentence'], columns, 2)), '',
            *layout.wrap(study['conclusion'], columns), '',
            *summary.path_lines({'page': str(html)}, columns)]


def _metric_table(study: dict, columns: int | None) -> list[str]:
    baseline = arms.NAMES[arms.asked(study['changes']).baseline]
    rows = [['task', 'trained', 'metric', 'value', '95% interval', f'over {baseline}, points', '95% interval', '']]
    for task in study['tasks']:
        for place, entry in enumerate(task['arms']):
            rows.append([task['task'] if not place else '', arms.NAMES[entry['arm']],
                         comparison.metric_name(task['metric']) if not place else '', *page.cells(entry)])
    table = layout.table(rows, left=(0, 1, 2, 4, 6, 7))
    if not layout.fits(table, columns):
        rows[0][5] = 'difference'
        table = layout.table([[layout.cut(row[0], 16), row[1], row[3], row[5], row[6]] for row in rows],
                             left=(0, 1, 4))
    return table


def _cost_table(study: dict, columns: int | None) -> list[str]:
    rows = [['one seed of', 'models', 'parameters', 'FLOPs', 'training time']]
    for row in study['costs']:
        rows.append([arms.NAMES[row['arm']], str(row['models']), f'{row["parameters"]:,}', metric(row['flops']),
                     words.duration(row['seconds'])])
    return layout.table(rows)

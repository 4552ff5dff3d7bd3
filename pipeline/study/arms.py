"""The arms of a study: which tasks are trained together in each, and what each training is. No TensorFlow here."""

import dataclasses
import typing
from collections.abc import Sequence

from model_code.tasks import Mixture
from pipeline import overrides, plan

ALONE, MODALITY, TOGETHER, FROZEN, CHANGED = 'alone', 'modality', 'together', 'frozen', 'changed'
# In the words of tables and sentences.
NAMES = {ALONE: 'alone', MODALITY: 'with its modality', TOGETHER: 'all together', FROZEN: 'frozen encoder',
         CHANGED: 'changed'}

Tasks = tuple[str, ...]  # names, in the order of the config


class Training(typing.NamedTuple):
    """One training of a study: these tasks, with the seed of this number (from 0).

    changes: of the config's settings, as --change takes them.
    """
    tasks: Tasks
    seed: int
    changes: tuple[str, ...] = ()


class Question(typing.NamedTuple):
    """What a study asks: whether the arm `decided` does better than `baseline`, with which all others are compared.

    of: what tasks gain from, if so. names: those of both arms in that sentence.
    """
    baseline: str
    decided: str
    of: str
    names: tuple[str, str]


DOES_IT_PAY = Question(ALONE, TOGETHER, 'training together', (NAMES[ALONE], NAMES[TOGETHER]))
DOES_A_CHANGE_PAY = Question(TOGETHER, CHANGED, 'the change', ('without', 'with it'))


def asked(changes: Sequence[str]) -> Question:
    return DOES_A_CHANGE_PAY if changes else DOES_IT_PAY


def arms(mixture: Mixture, changes: tuple[str, ...] = ()) -> dict[str, dict[str, Training]]:
    """Arm -> task -> the training, of seed 0, that answers it.

    With changes these are all tasks together with and without them. Else 'modality' is left out where it would train
    nothing else than the others do, and 'frozen' trains no model of its own: it is a new head for each task on the
    frozen encoder of 'together'.
    """
    everything = tuple(task.name for task in mixture.tasks)
    together = dict.fromkeys(everything, Training(everything, 0))
    if changes:
        return {TOGETHER: together, CHANGED: dict.fromkeys(everything, Training(everything, 0, changes))}
    of_modality = {task.name: tuple(other.name for other in mixture.tasks if other.modality == task.modality)
                   for task in mixture.tasks}
    found = {ALONE: {name: Training((name,), 0) for name in everything}}
    if any(1 < len(tasks) < len(everything) for tasks in of_modality.values()):
        found[MODALITY] = {name: Training(tasks, 0) for name, tasks in of_modality.items()}
    return {**found, TOGETHER: together, FROZEN: together}


def trainings(mixture: Mixture, seeds: int, changes: tuple[str, ...] = ()) -> list[Training]:
    """All trainings of the arms, each once, seed by seed: what is there after a seed can be compared."""
    models = dict.fromkeys(first for of_task in arms(mixture, changes).values() for first in of_task.values())
    return [first._replace(seed=seed) for seed in range(seeds) for first in models]


def config_of(config, training: Training):
    """The PipelineConfig of a training: some of the tasks, each with its own recipe and steps, and its changes.

    The warm-up keeps its share of the steps: as many steps as in the whole mixture might be all that a task alone has.
    Nobody looks at evaluations in these trainings, so there are none unless they decide something. Gradients are not
    measured in a training of one task, or of fewer steps than there are between two measurements.

    Raises ConfigError for changes that are none, or that do not fit.
    """
    config = overrides.apply(config, training.changes, '--change')
    mixture = dataclasses.replace(config.mixture.only(training.tasks), seed=config.mixture.seed + training.seed)
    whole, own, recipe = config.mixture.total_steps, mixture.total_steps, config.training
    every = recipe.gradient_diagnosis_every
    recipe = dataclasses.replace(
        recipe, seed=recipe.seed + training.seed, warmup_steps=round(recipe.warmup(whole) * own / whole),
        eval_every=recipe.eval_every if recipe.keep_best or recipe.patience else 0,
        gradient_diagnosis_every=every if len(training.tasks) > 1 and every <= own else 0)
    return dataclasses.replace(config, mixture=mixture, training=recipe)


def title(mixture: Mixture, training: Training) -> str:
    """A training in words, without its seed."""
    if training.changes:
        return f'{title(mixture, training._replace(changes=()))}, {NAMES[CHANGED]}'
    if len(training.tasks) == len(mixture.tasks) > 1:
        return NAMES[TOGETHER]
    if len(training.tasks) == 1:
        return f'{training.tasks[0]} alone'
    return f'{mixture[training.tasks[0]].modality} together'


class Cost(typing.NamedTuple):
    """What one training costs by the plan. parameters: of its model. seconds: of training, on this machine's CPU."""
    parameters: int
    steps: int
    flops: float
    seconds: float


def cost(config, training: Training, data=None, machine=None) -> Cost:
    """data, machine: as for plan.make_plan."""
    planned = plan.make_plan(config_of(config, training), data, machine=machine)
    return Cost(planned.total_parameters, planned.total_steps, planned.total_flops, 3600 * planned.hours_cpu)


def price(config, seeds: int, data=None, machine=None) -> dict | None:
    """What a study of the arms costs by the plan, all of it; None for a config that there is no study of: one with a
    single task, or with train_only.

    data, machine: as for plan.make_plan.
    """
    if len(config.mixture.tasks) < 2 or config.training.train_only:
        return None
    models = dict.fromkeys(training._replace(seed=0) for training in trainings(config.mixture, seeds))
    costs = [cost(config, model, data, machine) for model in models]
    return {'seeds': seeds, 'trainings': seeds * len(costs), 'flops': seeds * sum(each.flops for each in costs),
            'hours_cpu': seeds * sum(each.seconds for each in costs) / 3600}

"""The arms of a study: which tasks are trained together in each, and what each training is. No TensorFlow here."""

import dataclasses
import typing

from model_code.tasks import Mixture
from pipeline import plan

ALONE, MODALITY, TOGETHER, FROZEN = 'alone', 'modality', 'together', 'frozen'
# In the words of tables and sentences.
NAMES = {ALONE: 'alone', MODALITY: 'with its modality', TOGETHER: 'all together', FROZEN: 'frozen encoder'}

Tasks = tuple[str, ...]  # names, in the order of the config


class Training(typing.NamedTuple):
    """One training of a study: these tasks, with the seed of this number (from 0)."""
    tasks: Tasks
    seed: int


def arms(mixture: Mixture) -> dict[str, dict[str, Tasks]]:
    """Arm -> task -> the tasks with which it is trained.

    'modality' is left out where it would train nothing else than the others do. 'frozen' trains no model of its own: it
    is a new head for each task on the frozen encoder of 'together'.
    """
    everything = tuple(task.name for task in mixture.tasks)
    of_modality = {task.name: tuple(other.name for other in mixture.tasks if other.modality == task.modality)
                   for task in mixture.tasks}
    found = {ALONE: {name: (name,) for name in everything}}
    if any(1 < len(tasks) < len(everything) for tasks in of_modality.values()):
        found[MODALITY] = of_modality
    together = dict.fromkeys(everything, everything)
    return {**found, TOGETHER: together, FROZEN: together}


def trainings(mixture: Mixture, seeds: int) -> list[Training]:
    """All trainings of the arms, each once, seed by seed: what is there after a seed can be compared."""
    groups = dict.fromkeys(tasks for of_task in arms(mixture).values() for tasks in of_task.values())
    return [Training(tasks, seed) for seed in range(seeds) for tasks in groups]


def config_of(config, training: Training):
    """The PipelineConfig of a training: some of the tasks, each with its own recipe and steps.

    The warm-up keeps its share of the steps: as many steps as in the whole mixture might be all that a task alone has.
    Nobody looks at evaluations in these trainings, so there are none unless they decide something.
    """
    mixture = dataclasses.replace(
        config.mixture, tasks=tuple(config.mixture[name] for name in training.tasks), dropped_tasks=(),
        seed=config.mixture.seed + training.seed)
    whole, own, recipe = config.mixture.total_steps, mixture.total_steps, config.training
    recipe = dataclasses.replace(
        recipe, seed=recipe.seed + training.seed, warmup_steps=round(recipe.warmup(whole) * own / whole),
        eval_every=recipe.eval_every if recipe.keep_best or recipe.patience else 0)
    return dataclasses.replace(config, mixture=mixture, training=recipe)


def title(mixture: Mixture, tasks: Tasks) -> str:
    """A training's tasks in words."""
    if len(tasks) == 1:
        return f'{tasks[0]} alone'
    if len(tasks) == len(mixture.tasks):
        return 'all together'
    return f'{mixture[tasks[0]].modality} together'


class Cost(typing.NamedTuple):
    """What one training costs by the plan. parameters: of its model. seconds: of training, on this machine's CPU."""
    parameters: int
    steps: int
    flops: float
    seconds: float


def cost(config, tasks: Tasks, data=None, machine=None) -> Cost:
    """data, machine: as for plan.make_plan."""
    planned = plan.make_plan(config_of(config, Training(tasks, 0)), data, machine=machine)
    return Cost(planned.total_parameters, planned.total_steps, planned.total_flops, 3600 * planned.hours_cpu)

"""The parameters that a run of a compiled pipeline may be given. What they do: components/run_parameters.py."""

import typing

from components.run_parameters import DATA_VERSION, SEED, floor, steps
from model_code.data import VERSION_PLACE


class Parameter(typing.NamedTuple):
    """A parameter: its default, which is the config's value and has its type, and what it is."""
    default: str | int | float
    description: str


def of_config(config) -> dict[str, Parameter]:
    """The parameters of a PipelineConfig. data_version is among them if a folder or manifest has a place for it."""
    tasks, found = config.mixture.tasks, {}
    if any(task.data.has_version for task in tasks):
        found[DATA_VERSION] = Parameter(config.data_version, f'In place of {VERSION_PLACE} in folders and manifests.')
    found[SEED] = Parameter(config.training.seed, 'The seed of the training.')
    for task in tasks:
        found[steps(task.name)] = Parameter(task.recipe.steps, f'The steps of task {task.name}.')
        found[floor(task.name)] = Parameter(
            task.gate.floor, f'The least {task.primary_metric} of task {task.name} that the gate accepts.')
    return found

"""The parameters that a run of a compiled pipeline may be given. What they do: components/run_parameters.py."""

import typing
from collections.abc import Sequence

from components.blessing_gate import forcing
from components.run_parameters import DATA_VERSION, FORCE, SEED, apply, floor, steps
from model_code.data import VERSION_PLACE
from model_code.errors import ConfigError, unknown
from model_code.serialization import to_json


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
    found[FORCE] = Parameter('', 'Why a model that the gate rejects is pushed all the same.')
    return found


def values(words: Sequence[str], config) -> dict[str, str | int | float]:
    """The values of a run's parameters, of 'NAME=VALUE' as they are typed.

    Raises ConfigError for a parameter that the config does not have, and for a value that a component would reject.
    """
    known, found = of_config(config), {}
    for word in words:
        name, equals, text = word.partition('=')
        where = f'--parameter {word}: '
        if not equals:
            raise ConfigError(f'{where}write NAME=VALUE, such as --parameter seed=1.')
        if name not in known:
            raise unknown('parameter', name, known, where)
        found[name] = _value(text, type(known[name].default), where)
    if FORCE in found:
        forcing.check_reason(str(found[FORCE]), '--parameter force')
    try:
        apply({'mixture': to_json(config.mixture), 'training': to_json(config.training), **found})
        if DATA_VERSION in found:
            for task in config.mixture.tasks:
                task.source.at_version(found[DATA_VERSION])
    except ConfigError as error:
        raise ConfigError(f'{" ".join(f"--parameter {word}" for word in words)}: {error}') from error
    return found


def _value(text: str, kind: type, where: str):
    try:
        return kind(text)
    except ValueError:
        raise ConfigError(f'{where}it must be a {"whole " if kind is int else ""}number.') from None

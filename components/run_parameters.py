"""The parameters of a run of a compiled pipeline, and what they change in the config that was compiled.

A component gets those that it uses as properties of these names, beside the JSON of its part of the config. So the
cache compares only what the component uses: another floor does not re-train. On one machine there are none, because
the config itself is changed (`--set`).
"""

import dataclasses
from typing import Any

from model_code.serialization import from_json, to_json
from model_code.settings import TrainingConfig
from model_code.tasks import Mixture, Task

# data_version is applied by Source.at_version, force by BlessingGate.
DATA_VERSION, SEED, FORCE = 'data_version', 'seed', 'force'


def steps(task: str) -> str:
    """The name of the parameter for a task's steps."""
    return f'steps_{task}'


def floor(task: str) -> str:
    """The name of the parameter for a task's floor."""
    return f'floor_{task}'


def apply(properties: dict[str, Any]) -> dict[str, Any]:
    """A component's properties with the run's seed, steps and floors in its `mixture` and `training` (JSON).

    The warm-up, if it was left to follow from the steps, follows from those of the run. Raises ConfigError if a value
    is out of its limits.
    """
    mixture = from_json(Mixture, properties['mixture'])
    mixture = dataclasses.replace(mixture, tasks=tuple(_changed(task, properties) for task in mixture.tasks))
    result = {**properties, 'mixture': to_json(mixture)}
    if 'training' in properties:
        training = from_json(TrainingConfig, properties['training'])
        training = dataclasses.replace(training, seed=properties.get(SEED, training.seed))
        total = training.trained(mixture).total_steps
        training.check_warmup(total)
        result['training'] = to_json(dataclasses.replace(training, warmup_steps=training.warmup(total)))
    return result


def _changed(task: Task, properties: dict[str, Any]) -> Task:
    recipe = dataclasses.replace(task.recipe, steps=properties.get(steps(task.name), task.recipe.steps))
    gate = dataclasses.replace(task.gate, floor=properties.get(floor(task.name), task.gate.floor))
    return dataclasses.replace(task, recipe=recipe, gate=gate)

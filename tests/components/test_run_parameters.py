"""What a run's parameters change in the properties of a component, and that values beyond the limits are sentences."""

import dataclasses
import json

import pytest

from components import run_parameters
from model_code.errors import ConfigError
from model_code.serialization import from_json, to_json
from model_code.settings import TrainingConfig
from model_code.tasks import Mixture
from tests import testing

MIXTURE = Mixture((testing.task('digits', 'image', steps=600, floor=0.8), testing.task('sounds', 'audio', steps=300)))


def _properties(training=TrainingConfig(seed=3), **parameters):  # noqa: B008
    return {'mixture': to_json(MIXTURE), 'training': to_json(training), 'code_version': 'c', **parameters}


def _applied(*args, **parameters) -> tuple[Mixture, TrainingConfig]:
    properties = run_parameters.apply(_properties(*args, **parameters))
    return from_json(Mixture, properties['mixture']), from_json(TrainingConfig, properties['training'])


def test_on_one_machine_nothing_changes():
    """Otherwise an interrupted training would not find its checkpoints: their key is made of these properties."""
    properties = _properties(TrainingConfig(warmup_steps=90))
    assert run_parameters.apply(properties) == properties
    judged = {'mixture': to_json(MIXTURE), 'code_version': 'c'}
    assert run_parameters.apply(judged) == judged


def test_seed_steps_and_floor_are_those_of_the_run():
    mixture, training = _applied(seed=7, steps_digits=40, floor_sounds=0.25)
    assert [task.recipe.steps for task in mixture.tasks] == [40, 300]
    assert [task.gate.floor for task in mixture.tasks] == [0.8, 0.25]
    assert training.seed == 7
    changed = dataclasses.replace(training, seed=3, warmup_steps=None)
    assert changed == TrainingConfig(seed=3), 'nothing else changes'


@pytest.mark.parametrize('steps, warmup', [(600, 90), (100, 40), (10, 31), (10_000, 100)])
def test_the_warm_up_follows_the_steps_of_the_run(steps, warmup):
    assert _applied(steps_digits=steps)[1].warmup_steps == warmup
    assert _applied(TrainingConfig(warmup_steps=5), steps_digits=steps)[1].warmup_steps == 5


@pytest.mark.parametrize('parameters, message', [
    (dict(steps_digits=0), 'Task digits: steps is 0; it must be at least 1.'),
    (dict(steps_sounds=-5), 'Task sounds: steps is -5; it must be at least 1.'),
    (dict(floor_digits=2.0), 'Task digits: floor is 2.0; it must be from 0 to 1.'),
    (dict(floor_digits=float('nan')), 'Task digits: floor is nan'),
    (dict(seed=-1), 'Training: seed is -1; it must be at least 0.'),
])
def test_a_value_beyond_the_limits_is_a_sentence(parameters, message):
    with pytest.raises(ConfigError) as error:
        _applied(**parameters)
    assert str(error.value).startswith(message)


def test_a_warm_up_that_is_longer_than_the_run_is_a_sentence():
    with pytest.raises(ConfigError, match='warmup_steps is 500, more than the steps of all tasks together, 310'):
        _applied(TrainingConfig(warmup_steps=500), steps_digits=10)


def test_numbers_come_as_doubles_where_they_are_none():
    """Kubeflow's parameters are JSON numbers: a floor of 1 arrives as 1.0, and TFX makes whole numbers of steps."""
    floor, = {task['gate']['floor'] for task in json.loads(run_parameters.apply(
        _properties(floor_digits=1.0, floor_sounds=1))['mixture'])['tasks']}
    assert floor == 1.0 and isinstance(floor, float)

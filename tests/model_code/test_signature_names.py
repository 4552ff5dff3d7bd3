"""No two signatures of a model have one name: a mixture whose tasks' names would lead to that is rejected."""

import itertools

import pytest

from model_code import signature_names
from model_code.errors import ConfigError
from model_code.tasks import Mixture
from tests import testing


def _mixture(*names: str) -> Mixture:
    return Mixture(tuple(testing.task(name, 'image') for name in names))


def test_every_name_that_a_task_adds_is_taken():
    for taken in {name for name, _ in signature_names.names([('birds', 'image')])} - {'birds'}:
        for names in (('birds', taken), (taken, 'birds')):
            with pytest.raises(ConfigError, match=f"two signatures named '{taken}': one of .*, one of .* another name"):
                _mixture(*names)


@pytest.mark.parametrize('name', ['model_card', 'serving_default', 'image_embedding', 'image_all'])
def test_names_of_the_model_are_taken(name):
    with pytest.raises(ConfigError, match=f"two signatures named '{name}'"):
        _mixture(name)


def test_a_name_of_a_name():
    with pytest.raises(ConfigError, match="named 'a_label_label': one of task 'a_label', one of task 'a_label_label'"):
        _mixture('a_label', 'a_label_label')


def test_names_that_only_look_alike_are_free():
    names = ('birds', 'birds_labels', 'label', 'scores', 'audio_embedding', 'audio_all', 'birds_', 'birds__labels',
             'image', 'a_b', 'a__b')
    mixture = _mixture(*names)
    made = [name for name, _ in signature_names.names((task.name, task.modality) for task in mixture.tasks)]
    assert len(made) == len(set(made)) == 5 * len(names) + 4
    for one, other in itertools.permutations(names, 2):
        _mixture(one, other)

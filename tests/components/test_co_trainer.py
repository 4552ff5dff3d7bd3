"""CoTrainer's executor, without a training: what the card says of a model's origin, and what names a training."""

from components import run_parameters
from components.co_trainer import executor
from model_code.serialization import to_json
from model_code.settings import ModelConfig, TrainingConfig
from model_code.tasks import Mixture
from tests import testing


def _properties(**parameters):
    mixture = Mixture((testing.task('digits', 'image', steps=600),))
    return run_parameters.apply({
        'mixture': to_json(mixture), 'training': to_json(TrainingConfig()), 'model_config': to_json(ModelConfig()),
        'name': 'mine', 'code_version': 'c', **parameters})


def test_the_card_says_which_media_and_with_what_the_run_trained():
    card = executor.model_card(_properties(seed=7, steps_digits=40), {'digits': 'f'})
    assert (card['name'], card['media_fingerprints'], card['code_version']) == ('mine', {'digits': 'f'}, 'c')
    assert (card['training']['seed'], card['training']['warmup_steps']) == (7, 4)
    assert card['model']['width'] == ModelConfig().width


def test_other_parameters_are_another_training_and_equal_ones_the_same():
    keys = {executor.work_key(_properties(**parameters), {'digits': ['a']}) for parameters in (
        {}, {'steps_digits': 40}, {'seed': 7})}
    assert len(keys) == 3
    assert executor.work_key(_properties(steps_digits=600, seed=0), {'digits': ['a']}) == executor.work_key(
        _properties(), {'digits': ['a']})

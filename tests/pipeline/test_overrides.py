"""--set gives a config other values as if its file had them, and --data is refused where it changes nothing."""

import dataclasses
import os

import pytest

from model_code.errors import ConfigError
from pipeline import cli, fingerprints, overrides
from pipeline.config import load_config


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ('POLYVIT_DATA', 'POLYVIT_DEMO_DATA'):
        monkeypatch.setenv(name, '')  # so that what a test sets is taken back
        monkeypatch.delenv(name)


def set_(*settings):
    return overrides.apply(load_config('demo'), settings)


def test_settings_of_every_type():
    config = set_('training.learning_rate=3e-4', 'tasks.digits.recipe.steps=800', 'mixture.tasks.motion.gate.floor=1',
                  'model.layers=6', 'training.jit=true', 'training.precision=bfloat16', 'training.warmup_steps=None',
                  'model.inputs.video.patch=(2, 4, 4)', 'tasks.digits.recipe.augmentations=flip, shift', 'name=other',
                  'tasks.sounds.data.columns.label=kind', 'tasks.digits.data.label_separator= ', 'root=~/runs',
                  "tasks.digits.data.classes=['a,b', 'c']", 'tasks.digits.recipe.head_hidden=64')
    before = load_config('demo')
    digits = before.mixture['digits']
    hand = dataclasses.replace(
        before, name='other', root='~/runs',
        training=dataclasses.replace(before.training, learning_rate=3e-4, jit=True, precision='bfloat16',
                                     warmup_steps=None),
        model=dataclasses.replace(before.model, layers=6, inputs=(
            *before.model.inputs[:2], dataclasses.replace(before.model.input('video'), patch=(2, 4, 4)))),
        mixture=dataclasses.replace(before.mixture, tasks=(
            dataclasses.replace(
                digits, recipe=dataclasses.replace(digits.recipe, steps=800, augmentations=('flip', 'shift'),
                                                   head_hidden=(64,)),
                data=dataclasses.replace(digits.data, label_separator=' ', classes=('a,b', 'c'))),
            dataclasses.replace(before.mixture['sounds'], data=dataclasses.replace(
                before.mixture['sounds'].data, columns=dataclasses.replace(
                    before.mixture['sounds'].data.columns, label='kind'))),
            dataclasses.replace(before.mixture['motion'], gate=dataclasses.replace(
                before.mixture['motion'].gate, floor=1.0)))))
    assert config == hand
    assert config.overrides[0] == 'training.learning_rate=3e-4' and not hand.overrides
    assert fingerprints.run_key(config, {}) == fingerprints.run_key(hand, {})
    assert fingerprints.run_key(config, {}) != fingerprints.run_key(before, {})


def _leaves(node, path=()):
    """(path, value) of every field that can be set."""
    for name, value in overrides._children(node).items():
        if overrides._children(value) is None:
            yield '.'.join((*path, name)), value
        else:
            yield from _leaves(value, (*path, name))


def test_every_field_can_be_set_to_what_it_is():
    config = load_config('demo')
    leaves = dict(_leaves(config))
    assert leaves['mixture.tasks.digits.recipe.steps'] == 250 and len(leaves) > 100
    for path, value in leaves.items():
        texts = {','.join(map(str, value)), str(value)} if isinstance(value, tuple) else {str(value)}
        for text in texts:
            assert set_(f'{path}={text}') == config, (path, text)


def test_settings_that_need_each_other_are_checked_together():
    assert set_('model.width=96', 'model.heads=3', 'model.width=48').model.width == 48
    assert set_() == load_config('demo')


@pytest.mark.parametrize('setting, message', [
    ('training.learning_rat=1', "no field of TrainingConfig named 'learning_rat'. Did you mean learning_rate?"),
    ('trainin.seed=1', "There is no field of PipelineConfig named 'trainin'. Did you mean training? Known: training, "),
    ('task.digits.gate.floor=1', "named 'task'. Did you mean tasks?"),
    ('tasks.digit.gate.floor=1', "There is no task named 'digit'. Did you mean digits? Known: digits, sounds, motion."),
    ('model.inputs.smell.height=1', "There is no input named 'smell'. Known: "),
    ('tasks.digits.gate=1', 'tasks.digits.gate has parts. Set one of them: tasks.digits.gate.floor, tasks.'),
    ('tasks=1', 'tasks has parts. Set one of them: tasks.digits, tasks.sounds, tasks.motion.'),
    ('overrides=1', "There is no field of PipelineConfig named 'overrides'."),
    ('training.seed.x=1', 'x would be a field of 0, which has none.'),
    ('training.seed=1.5', "'1.5' is not a whole number."),
    ('training.learning_rate=fast', "'fast' is not a number."),
    ('training.learning_rate=nan', 'Training: learning_rate is nan (a float); it must be a finite number.'),
    ('training.learning_rate=-1', 'Training: learning_rate is -1.0; it must be at least 0.'),
    ('training.jit=1', "'1' is neither True nor False."),
    ('training.precision=bf16', "Training: There is no precision named 'bf16'. Did you mean bfloat16?"),
    ('tasks.digits.recipe.steps=0', 'Task digits: steps is 0; it must be at least 1.'),
    ('tasks.digits.recipe.augmentations=flp', "Task digits: There is no image augmentation named 'flp'."),
    ('tasks.digits.data.classes=("a"', '("a" is not a tuple of texts or numbers.'),
    ('model.inputs.image.patch=8', 'image: patch is (8,) (a tuple); it must be a tuple of 2: (int, int).'),
    ('model.inputs.image.patch=8,x', "'x' is not a whole number."),
    ('model.width=30', 'Model: width is 30, which 4 heads do not divide.'),
    ('name=../x', "Config name '../x': use at most 55 letters"),
])
def test_a_wrong_setting_is_a_sentence(setting, message):
    with pytest.raises(ConfigError) as error:
        set_(setting)
    assert str(error.value).startswith(f'--set {setting}: ') and message in str(error.value)


def test_a_setting_without_a_value(capsys):
    assert cli.main(['plan', 'demo', '--set', 'training.seed']) == 2
    assert '--set training.seed lacks its value. Write --set PATH=VALUE' in capsys.readouterr().err


def test_the_folder_of_data_reaches_the_config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert overrides.load('demo', data='media').mixture['digits'].data.folder == f'{tmp_path}/media/digits'
    assert overrides.load('nine', data='gs://bucket/x').mixture['cifar10'].data.folder == 'gs://bucket/x/cifar10'


def test_a_folder_of_data_that_changes_nothing(tmp_path):
    path = tmp_path / 'mine.py'
    path.write_text("""from polyvit import *
def get_config():
    task = Task('t', 'image', data=Data('/data/photos'), recipe=Recipe(1, 1))
    return PipelineConfig('mine', Mixture((task,)), ModelConfig(), TrainingConfig())
""")
    for folder in ('/data/photo', '/dat', '/data/photos/cat', 'gs://data/photos'):
        with pytest.raises(ConfigError, match=f'^--data {folder} changes nothing: no task of {path} takes'):
            overrides.load(str(path), data=folder)
    assert overrides.load(str(path), data='/data/').mixture['t'].data.folder == '/data/photos'


def test_the_root_of_the_command_line_wins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = overrides.load('demo', settings=['root=/a'], root='b')
    assert os.fspath(config.run_root) == f'{tmp_path}/b'
    assert cli.main(['run', 'demo', '--root', 'gs://bucket/runs']) == 2
    assert list(tmp_path.iterdir()) == []

"""What the code of a config may do: import modules beside it, define dataclasses, be edited and loaded again."""

import os
import pathlib
import sys

import pytest

from model_code.errors import ConfigError
from pipeline.config import load_config

CONFIG = '''
from __future__ import annotations
import dataclasses
import pathlib
from polyvit import Data, Mixture, ModelConfig, PipelineConfig, Recipe, Task, TrainingConfig
{imports}

@dataclasses.dataclass
class Experiment:
    steps: int

def get_config():
    recipe = Recipe(Experiment({steps}).steps, 4)
    task = Task('t', 'image', data=Data(pathlib.Path(__file__).parent / 'photos'), recipe=recipe)
    return PipelineConfig('mine', Mixture([task]), ModelConfig(), TrainingConfig({training}), root='~/runs')
'''


def write(folder: pathlib.Path, imports='', steps='3', training='') -> pathlib.Path:
    path = folder / 'mine.py'
    path.write_text(CONFIG.format(imports=imports, steps=steps, training=training))
    return path


def test_dataclasses_and_paths_in_a_config(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', '/home/someone')
    monkeypatch.chdir(tmp_path.parent)
    write(tmp_path)
    config = load_config(pathlib.Path(tmp_path.name, 'mine.py'))
    assert config.mixture['t'].data.folder == f'{tmp_path}/photos'
    assert config.run_root == pathlib.Path('/home/someone/runs')
    assert config.mixture.total_steps == 3


def test_modules_beside_a_config_are_its_own(tmp_path):
    path_before, steps = list(sys.path), []
    for number in (3, 5):
        folder = tmp_path / str(number)
        (folder / 'helpers').mkdir(parents=True)
        (folder / 'base.py').write_text('from helpers.more import STEPS\n')
        (folder / 'helpers' / '__init__.py').write_text('')
        (folder / 'helpers' / 'more.py').write_text(f'STEPS = {number}\n')
        config = write(folder, 'import base', 'base.STEPS')
        steps.append(load_config(config).mixture.total_steps)
        (folder / 'helpers' / 'more.py').write_text(f'STEPS = {number + 1}\n')  # as long, and in the same second
        steps.append(load_config(config).mixture.total_steps)
        assert not [name for _, folders, _ in os.walk(folder) for name in folders if name == '__pycache__']
    assert steps == [3, 4, 5, 6]
    assert sys.path == path_before
    assert not {'base', 'helpers', 'helpers.more'} & sys.modules.keys()


def test_an_error_in_a_module_beside_a_config_names_its_line(tmp_path):
    (tmp_path / 'base.py').write_text('\nSTEPS = 1 / 0\n')
    with pytest.raises(ConfigError, match=f'^{tmp_path}/base.py, line 2: ZeroDivisionError: division by zero.$'):
        load_config(write(tmp_path, 'import base'))


def test_a_warm_up_beyond_the_steps(tmp_path):
    path = write(tmp_path, training='warmup_steps=4')
    with pytest.raises(ConfigError, match=f'^{path}, line 15: Training: warmup_steps is 4, more than the steps of all '
                                          'tasks together, 3. Choose fewer'):
        load_config(path)
    assert load_config(write(tmp_path, training='warmup_steps=3')).training.warmup_steps == 3

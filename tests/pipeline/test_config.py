"""What the code of a config may do: import modules beside it, define dataclasses, be edited and loaded again; and data
in versions."""

import dataclasses
import os
import pathlib
import sys

import pytest

from model_code.errors import ConfigError
from model_code.settings import ModelConfig, TrainingConfig
from model_code.tasks import Mixture
from pipeline import cli
from pipeline.config import PipelineConfig, load_config
from tests import testing

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


def test_gradients_of_tasks_need_two_tasks_and_a_block_that_they_share():
    tasks = testing.task('a', 'image', steps=3), testing.task('b', 'image', steps=2)
    training = TrainingConfig(gradient_diagnosis_every=5)
    config = PipelineConfig('mine', Mixture(tasks), ModelConfig(layers=2, modality_layers=1), training)
    assert config.training.gradient_diagnosis_every == 5
    for mixture, layers, message in (
            (Mixture(tasks[:1]), 1, 'gradient_diagnosis_every is 5, but the mixture has one task'),
            (Mixture(tasks), 2, 'gradient_diagnosis_every is 5, but modality_layers is 2, all layers of the model')):
        with pytest.raises(ConfigError, match=message):
            PipelineConfig('mine', mixture, ModelConfig(layers=2, modality_layers=layers), training)
    with pytest.raises(ConfigError, match='gradient_diagnosis_every is 6, more than the steps of all tasks .*, 5,'):
        dataclasses.replace(config, training=dataclasses.replace(training, gradient_diagnosis_every=6))
    frozen = dataclasses.replace(training, train_only=('a',))
    with pytest.raises(ConfigError, match='gradient_diagnosis_every is 5, but train_only keeps the encoder as it is'):
        PipelineConfig('mine', Mixture(tasks), ModelConfig(layers=2), frozen)
    with pytest.raises(ConfigError, match='gradient_diagnosis_every is -1; it must be at least 0'):
        TrainingConfig(gradient_diagnosis_every=-1)


class TestDataVersion:
    """{data_version} in folders and manifests."""

    def _config(self, data_version='', **fields) -> PipelineConfig:
        tasks = (testing.task('a', 'image', **{'folder': 's3://bucket/{data_version}/a', **fields}),
                 testing.task('b', 'audio', folder='s3://bucket/b', manifest='lists/{data_version}.csv'),
                 testing.task('c', 'image', folder='s3://bucket/c'))
        return PipelineConfig('mine', Mixture(tasks), ModelConfig(), data_version=data_version)

    def test_is_put_into_its_places(self):
        config = self._config('2026/11/26').with_data()
        assert [(task.data.folder, task.data.manifest) for task in config.mixture.tasks] == [
            ('s3://bucket/2026/11/26/a', ()), ('s3://bucket/b', ('lists/2026/11/26.csv',)), ('s3://bucket/c', ())]
        assert config.with_data() == config

    def test_is_missing(self):
        with pytest.raises(ConfigError) as error:
            self._config().with_data()
        assert str(error.value) == (
            'Task a: s3://bucket/{data_version}/a has a place for the version of the data, but none is given. Give it: '
            '`data_version` of the config (--set data_version=...), or of the run.')

    @pytest.mark.parametrize('version', ['../secret', 'a/../b', '/etc', 'a//b', 'a b', 'a\n', 'x?', 's3://other'])
    def test_is_no_part_of_a_path(self, version):
        with pytest.raises(ConfigError, match='Task a: data_version is .* it must be a part of a path'):
            self._config(version).with_data()

    @pytest.mark.parametrize('fields, place', [
        ({'folder': 's3://bucket/{dataversion}/a'}, '{dataversion}'),
        ({'manifest': '{data-version}.csv'}, '{data-version}')])
    def test_another_word_in_its_place(self, fields, place):
        with pytest.raises(ConfigError, match=f"no placeholder named '{place}'. Did you mean {{data_version}}"):
            self._config(**fields)

    def test_has_no_place(self):
        config = self._config('monday').with_data()
        with pytest.raises(ConfigError, match="data_version is 'monday', but no folder or manifest .* has"):
            dataclasses.replace(config, data_version='monday')

    def test_from_the_command_line(self, tmp_path, capsys, monkeypatch):
        testing.image_task(tmp_path / 'media' / 'monday')
        path = tmp_path / 'mine.py'
        path.write_text(f"""from polyvit import *
def get_config():
    data = Data({str(tmp_path)!r} + '/media/{{data_version}}')
    return PipelineConfig('mine', Mixture((Task('shapes', 'image', data=data, recipe=Recipe(4, 4)),)), ModelConfig())
""")
        monkeypatch.chdir(tmp_path)
        assert cli.main(['data', 'check', str(path), '--set', 'data_version=monday']) == 0
        assert 'media/monday' in capsys.readouterr().out
        assert cli.main(['run', str(path), '--dry-run']) == 2
        assert '{data_version} has a place for the version of the data' in ' '.join(capsys.readouterr().err.split())
        assert cli.main(['run', str(path), '--set', 'data_version=friday', '--dry-run']) == 2
        assert 'there is no folder' in capsys.readouterr().err

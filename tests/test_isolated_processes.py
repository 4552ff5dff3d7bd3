"""No process that this project starts imports anything from the current folder.

There it finds a module in place of every one that Python can import: each leaves a mark and raises.
"""

import json
import os
import pathlib
import pkgutil
import subprocess
import sys

import pytest

from media.entries import Entry
from media.sandbox.parent import Decoder
from model_code import isolated
from model_code.modalities import MODALITIES, Limits
from pipeline import doctor_checks
from pipeline.beam import trial
from pipeline.config import load_config
from pipeline.kubeflow import containers
from tests import testing

HOSTILE = "open({mark!r}, 'a').write(__name__ + '\\n')\nraise RuntimeError(__name__ + ' of the current folder')\n"


@pytest.fixture
def hostile(tmp_path, monkeypatch):
    """The folder, which is the current one. At the end of the test nothing in it may have been imported."""
    folder, mark = tmp_path / 'downloaded', tmp_path / 'imported'
    folder.mkdir()
    text = HOSTILE.format(mark=str(mark))
    for name in sys.stdlib_module_names | {module.name for module in pkgutil.iter_modules()}:
        (folder / f'{name}.py').write_text(text)
    testing.write(folder, 'av/__init__.py', text)
    assert {'random.py', 'soxr.py', 'numpy.py', 'media.py', 'json.py', 'runpy.py'} <= set(os.listdir(folder))
    monkeypatch.chdir(folder)
    # Of `export PYTHONPATH=$PYTHONPATH:/more` the empty item is the current folder.
    monkeypatch.setenv('PYTHONPATH', f':{isolated.PROJECT}')
    yield folder
    assert not mark.exists(), mark.read_text()


MEDIA = {'image': ('a.png', testing.image_bytes), 'video': ('a.mp4', testing.mp4_bytes),
         'audio': ('a.mp3', lambda: testing.wav_bytes(kind='MP3', subtype='MPEG_LAYER_III')),
         'text': ('a.txt', lambda: b'A text.')}


def _config(folder: pathlib.Path, more: str = '') -> pathlib.Path:
    """A config in the folder, which imports modules that the folder has too. Its data are there as well."""
    for number in range(8):
        testing.write(folder, f'photos/{number % 2}/{number}.png', testing.image_bytes(seed=number))
    return testing.write(folder, 'mine.py', f'''
import random
import numpy
from polyvit import *

def get_config():
    data = Data({str(folder / 'photos')!r})
    steps = int(numpy.array([random.randint(3, 3)])[0])
    return PipelineConfig('mine', Mixture([Task('t', 'image', data=data, recipe=Recipe(steps, 2))]), ModelConfig(
        inputs=[ImageInput(32, 32, (16, 16))]){more})
''')


@pytest.mark.parametrize('modality', MODALITIES)
def test_the_decoder(hostile, modality):
    row = MODALITIES[modality]
    name, make = MEDIA[modality]
    testing.write(hostile, name, make())
    with Decoder(str(hostile), modality, row.input_class(), Limits()) as decoder:
        decoded, = decoder.read([Entry(name, (), 'train')])
    assert not decoded.rejection and decoded.features[row.feature]


def test_a_config_beside_them_and_what_it_imports(hostile):
    config = _config(hostile)
    before = list(sys.path)
    assert load_config(config).mixture.total_steps == 3
    assert sys.path == before


def test_a_command(hostile):
    """As it is installed: a script in a folder of its own."""
    script = testing.write(hostile.parent, 'bin/polyvit', f"""
import sys
sys.path.insert(1, {str(isolated.PROJECT)!r})
from pipeline.cli import main
sys.exit(main())
""")
    environment = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}
    done = subprocess.run([sys.executable, script, 'data', 'check', _config(hostile).name, '--json'], env=environment,
                          capture_output=True, text=True, timeout=300)
    assert json.loads(done.stdout)['ok'], done.stdout + done.stderr


def test_a_container(hostile):
    command = [sys.executable, *containers.COMMAND[1:], '--help']
    done = subprocess.run(command, env=os.environ | {'PYTHONPATH': str(isolated.PROJECT)}, capture_output=True,
                          text=True, timeout=300)
    assert done.returncode == 0 and '--executor_class_path' in done.stdout, done.stderr


@pytest.mark.slow
def test_what_looks_at_devices(hostile, monkeypatch):
    monkeypatch.setattr(doctor_checks, 'DEVICES_SECONDS', 120)
    finding, = doctor_checks.accelerators()
    assert finding.state == doctor_checks.OK, finding


@pytest.mark.slow
def test_a_trial_of_beam_and_its_workers(hostile, monkeypatch):
    """The trial is a process, and its element goes through another."""
    monkeypatch.setattr(trial, 'SECONDS', 300.0)
    config = _config(hostile, ", beam=Beam('multi_process', 1), root='root'")
    found = trial.findings(str(config), load_config(config))
    assert [(finding.name, finding.state) for finding in found] == [
        ('workers', 'ok'), ('packages', 'ok'), ('root', 'ok')], found


class TestSearchPath:
    """isolated.search_path."""

    @pytest.fixture(autouse=True)
    def _folder(self, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)
        monkeypatch.delenv('PYTHONPATH', raising=False)
        self.here, self.packages = str(tmp_path), str(pathlib.Path(os.__file__).parent)

    def _of(self, monkeypatch, *folders) -> list[str]:
        monkeypatch.setattr(sys, 'path', list(folders))
        return isolated.search_path()

    def test_the_current_folder_is_left_out_by_whatever_name(self, monkeypatch, tmp_path):
        (tmp_path / 'link').symlink_to(tmp_path)
        assert self._of(monkeypatch, '', '.', self.here, f'{self.here}/link', self.packages) == [self.packages]

    def test_python_comes_first_and_what_others_added_last(self, monkeypatch):
        assert self._of(monkeypatch, '/scripts', self.packages, '/more') == [self.packages, '/scripts', '/more']

    def test_pythonpath_may_name_the_current_folder(self, monkeypatch):
        monkeypatch.setenv('PYTHONPATH', f'/more:{self.here}')
        assert self._of(monkeypatch, '/more', self.here, self.packages) == [self.packages, '/more', self.here]
        monkeypatch.setenv('PYTHONPATH', ':/more')
        assert self._of(monkeypatch, self.here, '/more', self.packages) == [self.packages, '/more']

    def test_a_folder_that_was_removed(self, monkeypatch, tmp_path):
        (tmp_path / 'gone').mkdir()
        monkeypatch.chdir(tmp_path / 'gone')
        (tmp_path / 'gone').rmdir()
        assert self._of(monkeypatch, '', self.packages) == [self.packages]

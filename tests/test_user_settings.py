"""What users have set for other programs does not change a run: files have the same names, splits, fingerprints and
keys, and a training ends in the same weights."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from model_code import isolated
from tests import testing
from tests.model_code import tiny_training

SCRIPT = '''
import dataclasses, json, os, sys
from pipeline import environment
environment.use_utf8()
os.umask(int(sys.argv[2], 8))
environment.set_defaults()
from pipeline import checks, data_check, fingerprints, run_record
from pipeline.config import load_config
config = load_config('mine.py')
data = checks.check(config)
checked = data_check.check_config(config)
record = run_record.start(config, '')
record = run_record.end(config, record, 0, 1.0)
read = run_record.records(config.run_root)[0]
from tests import testing
from tests.model_code import tiny_training
task = testing.changed(tiny_training.TASKS[0], steps=5)
training = dataclasses.replace(tiny_training.CONFIG, warmup_steps=2)
_, weights = tiny_training.train(sys.argv[1], os.path.join(os.getcwd(), 'checkpoints'), training, (task,))
print(json.dumps({
    'data': dataclasses.asdict(data), 'key': fingerprints.run_key(config, data.fingerprints), 'check': checked,
    'read': read == record, 'weights': tiny_training.digest(weights), 'types': sorted({str(w.dtype) for w in weights}),
    'backend': os.environ['KERAS_BACKEND']}))
'''
CONFIG = '''
import os
from polyvit import *
def get_config():
    task = Task('t', 'image', data=Data({folder!r}), recipe=Recipe(3, 2))
    return PipelineConfig('mine', Mixture([task]), ModelConfig(inputs=[ImageInput(16, 16, (8, 8))]), root='root')
'''
KERAS = {'floatx': 'float16', 'epsilon': 0.1, 'image_data_format': 'channels_first', 'backend': 'jax'}


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> pathlib.Path:
    """Examples, and media with names that only some encodings have."""
    folder = tmp_path_factory.mktemp('settings')
    tiny_training.write_examples(str(folder))
    for number in range(12):
        testing.write(folder, f'media/{("Vögel", "Ιστός")[number % 2]}/bild ü {number}.png',
                      testing.image_bytes(seed=number))
    return folder


def _result(folder: pathlib.Path, work: pathlib.Path, environment: dict[str, str], umask: str = '022') -> dict:
    """What the script prints in this environment. Neither it nor a library may leave files elsewhere than it should."""
    work.mkdir()
    testing.write(work, 'mine.py', CONFIG.format(folder=str(folder / 'media')))
    testing.write(work, 'script.py', SCRIPT)
    done = subprocess.run([sys.executable, 'script.py', folder, umask], cwd=work, encoding='utf-8', env={
        'PATH': os.environ['PATH'], 'PYTHONPATH': str(isolated.PROJECT), 'CUDA_VISIBLE_DEVICES': '', **environment},
        capture_output=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    assert sorted(os.listdir(work)) == ['checkpoints', 'mine.py', 'root', 'script.py']
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_a_run_does_not_depend_on_them(folder, tmp_path):
    home = tmp_path / 'home'
    settings = testing.write(home, '.keras/keras.json', json.dumps(KERAS))
    clean = _result(folder, tmp_path / 'clean', {'HOME': str(tmp_path), 'LC_ALL': 'C.UTF-8', 'TZ': 'UTC'})
    assert clean['check']['ok'] and clean['read'] and clean['types'] == ['float32']
    assert clean['backend'] == 'tensorflow' and sum(clean['data']['counts']['t'].values()) == 12
    users = _result(folder, tmp_path / 'users', {
        'HOME': str(home), 'KERAS_HOME': str(home / '.keras'), 'KERAS_BACKEND': 'jax', 'TF_USE_LEGACY_KERAS': '0',
        'LC_ALL': 'C', 'PYTHONUTF8': '0', 'PYTHONCOERCECLOCALE': '0', 'PYTHONIOENCODING': 'latin-1',
        'LANG': 'tr_TR', 'LC_NUMERIC': 'de_DE', 'TZ': 'Asia/Kathmandu', 'TMPDIR': '/nowhere', 'PYTHONHASHSEED': '7'},
        umask='077')
    assert json.loads(pathlib.Path(settings).read_text()) == KERAS
    bare = _result(folder, tmp_path / 'bare', {'HOME': '/nowhere', 'PYTHONHASHSEED': '0'})
    assert users == clean
    assert bare == clean

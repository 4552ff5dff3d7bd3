"""The wheel: built from the sources, installed elsewhere, used from an unrelated folder."""

import email
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile

import pytest

from pipeline import fingerprints

PROJECT = pathlib.Path(__file__).resolve().parents[1]
NOT_SOURCES = shutil.ignore_patterns('.*', '__pycache__', 'runs', 'build', '*.egg-info')


@pytest.fixture(scope='module')
def wheel(tmp_path_factory) -> pathlib.Path:
    """Built in a copy, so that the checkout is left as it is and nothing of an earlier build gets in."""
    folder = tmp_path_factory.mktemp('wheel')
    shutil.copytree(PROJECT, folder / 'source', ignore=NOT_SOURCES)
    # setuptools is in the lock, so nothing is fetched.
    subprocess.run([sys.executable, '-c', 'from setuptools import build_meta; build_meta.build_wheel("..")'],
                   cwd=folder / 'source', check=True, capture_output=True)
    path, = folder.glob('*.whl')
    return path


@pytest.fixture(scope='module')
def polyvit(wheel, tmp_path_factory):
    """polyvit(*arguments) -> (exit code, stdout, stderr) of the installed command, in a folder with nothing of ours."""
    folder = tmp_path_factory.mktemp('elsewhere')
    home = folder / 'venv'
    venv.create(home, with_pip=True)
    subprocess.run([home / 'bin' / 'pip', 'install', '-q', '--no-deps', '--no-index', wheel], check=True)
    # The locked packages, without their .pth files: the editable install of this checkout is one of those.
    site, = home.glob('lib/python*/site-packages')
    (site / 'locked.pth').write_text(sysconfig.get_path('purelib'))
    environment = {name: value for name, value in os.environ.items() if not name.startswith(('PYTHON', 'POLYVIT'))}

    def run(*arguments, command=home / 'bin' / 'polyvit'):
        done = subprocess.run([command, *arguments], cwd=folder, env=environment, capture_output=True, text=True)
        return done.returncode, done.stdout, done.stderr
    run.folder, run.python = folder, home / 'bin' / 'python'
    return run


@pytest.mark.slow
class TestTheInstalledCommand:
    def test_it_is_not_this_checkout(self, polyvit):
        _, out, _ = polyvit('-c', 'import polyvit, schemas; print(polyvit.__file__, schemas.__file__)',
                            command=polyvit.python)
        assert all(path.startswith(str(polyvit.folder)) for path in out.split()) and len(out.split()) == 2

    def test_version(self, polyvit, wheel):
        code, out, err = polyvit('--version')
        assert code == 0 and not err and out.startswith(f'polyvit {wheel.name.split("-")[1]}\nPython 3.')

    def test_plan(self, polyvit):
        code, out, err = polyvit('plan', 'nine')
        assert code == 0 and 'kinetics400' in out and not err

    def test_data_check(self, polyvit):
        assert polyvit('data', 'demo', 'media')[0] == 0
        code, out, _ = polyvit('data', 'check', 'demo', '--data', 'media')
        assert code == 0 and all(name in out for name in ('digits', 'sounds', 'motion'))

    def test_its_code_has_the_versions_of_this_checkout(self, polyvit):
        script = ('import json\nfrom pipeline import fingerprints\n'
                  'print(json.dumps({n: fingerprints.component_version(n) for n in fingerprints.COMPONENT_CODE}))')
        _, out, _ = polyvit('-c', script, command=polyvit.python)
        assert json.loads(out) == {n: fingerprints.component_version(n) for n in fingerprints.COMPONENT_CODE}

    def test_compile(self, polyvit):
        code, out, err = polyvit('compile', 'demo', '-o', 'demo.yaml', '--root', 'gs://bucket', '--image',
                                 'r/polyvit:1', '--data', 's3://bucket/media')
        assert code == 0, err
        assert 'MediaExampleGen_digits' in (polyvit.folder / 'demo.yaml').read_text()


def test_what_is_in_it(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    rooms = {name.split('/')[0] for name in names if '.dist-info/' not in name}
    assert rooms == {'polyvit', 'pipeline', 'components', 'media', 'model_code', 'serving', 'schemas'}
    for file in ('schemas/image.pbtxt', 'schemas/decision.schema.json', 'components/report/report.html',
                 'pipeline/study/study.html', 'serving/page.html', 'pipeline/configs/nine.py',
                 'polyvit/py.typed'):
        assert file in names
    modules = {str(path.relative_to(PROJECT)) for room in rooms for path in (PROJECT / room).rglob('*.py')}
    assert modules == {name for name in names if name.endswith('.py')}
    assert any(name.endswith('/LICENSE') for name in names)


def test_every_need_has_its_reason(wheel):
    """pyproject.toml has the ranges, requirements.in the reasons: of the same packages."""
    with zipfile.ZipFile(wheel) as files:
        metadata, = (name for name in files.namelist() if name.endswith('.dist-info/METADATA'))
        needs = email.message_from_bytes(files.read(metadata)).get_all('Requires-Dist')
    reasons = {_package(line): line for line in (PROJECT / 'requirements.in').read_text().splitlines()
               if line and not line.startswith('#')}
    assert set(map(_package, needs)) == set(reasons)
    assert [name for name, line in reasons.items() if '#' not in line] == []


def _package(requirement: str) -> str:
    return re.match(r'[\w.-]+', requirement)[0].lower().replace('_', '-')

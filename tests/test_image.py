"""The image of kubeflow/Dockerfile, as far as it can be known without a Docker engine: context, locks, settings."""

import fnmatch
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

import pytest

from pipeline import fingerprints

PROJECT = pathlib.Path(__file__).resolve().parents[1]
FOLDER = PROJECT / 'kubeflow'


def stages() -> dict[str, list[tuple[str, str]]]:
    """The instructions of each stage, by its name: (instruction, its text), lines joined."""
    text = re.sub(r'\\\n', '', '\n'.join(line for line in (FOLDER / 'Dockerfile').read_text().splitlines()
                                         if not line.startswith('#')))
    found, name = {}, ''
    for line in filter(None, map(str.strip, text.splitlines())):
        instruction, _, rest = line.partition(' ')
        if instruction == 'FROM':
            name = rest.split(' AS ')[1]
            found[name] = []
        found[name].append((instruction, rest))
    return found


def of_kind(instruction: str, names=None) -> list[str]:
    return [text for name, steps in stages().items() if names is None or name in names
            for kind, text in steps if kind == instruction]


def copied() -> list[str]:
    """What is copied from the build's context."""
    return [source for text in of_kind('COPY') if not text.startswith('--from') for source in shlex.split(text)[:-1]]


def in_context(path: str) -> bool:
    """Whether .dockerignore leaves a file in the context: the last pattern that it, or a folder above it, matches."""
    kept = True
    parts = pathlib.PurePosixPath(path).parts
    above = ['/'.join(parts[:i]) for i in range(1, len(parts) + 1)]
    for line in (PROJECT / '.dockerignore').read_text().splitlines():
        if line and not line.startswith('#'):
            pattern = line.removeprefix('!')
            anywhere = pattern.removeprefix('**/')
            if any(_matches(folder, pattern) or pattern != anywhere and _matches(os.path.basename(folder), anywhere)
                   for folder in above):
                kept = line.startswith('!')
    return kept


def _matches(path: str, pattern: str) -> bool:
    """As Docker: an asterisk stays in its folder."""
    return path.count('/') == pattern.count('/') and fnmatch.fnmatchcase(path, pattern)


def locked(path: pathlib.Path) -> dict[str, str]:
    return dict(re.findall(r'^([a-z0-9-]+)(?:\[[a-z-]+\])?==([^ ]+) \\$', path.read_text(), re.MULTILINE))


@pytest.fixture(scope='module')
def context(tmp_path_factory) -> pathlib.Path:
    """What a build sees of this checkout."""
    folder = tmp_path_factory.mktemp('context')
    for above, folders, files in os.walk(PROJECT):
        folders[:] = [name for name in folders if not name.startswith('.') and name not in ('runs', 'build')]
        for name in files:
            file = (pathlib.Path(above) / name).relative_to(PROJECT)
            if in_context(file.as_posix()):
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(PROJECT / file, folder / file)
    return folder


class TestTheContext:
    def test_it_has_what_is_copied(self, context):
        assert copied() and all((context / source).exists() for source in copied())

    def test_it_has_nothing_else(self, context):
        files = {str(path.relative_to(context)) for path in context.rglob('*') if path.is_file()}
        assert files == {file for file in files for source in copied() if f'{file}/'.startswith(f'{source}/')}

    @pytest.mark.parametrize('path', ['.git/config', '.env', 'serving/.env', 'runs/demo/metadata.db', 'media.tar',
                                      'id_rsa', 'pipeline/__pycache__/cli.cpython-310.pyc', 'docs/README.md'])
    def test_what_stays_out(self, path):
        assert not in_context(path)

    def test_what_pip_installs_of_it_is_all_that_code_versions_are_made_of(self, context, tmp_path):
        subprocess.run([sys.executable, '-c', 'from setuptools import build_meta; build_meta.build_wheel("..")'],
                       cwd=shutil.copytree(context, tmp_path / 'source'), check=True, capture_output=True)
        wheel, = tmp_path.glob('*.whl')
        shutil.unpack_archive(wheel, tmp_path / 'installed', 'zip')
        for component in fingerprints.COMPONENT_CODE:
            assert fingerprints.component_version(component, tmp_path / 'installed') == \
                fingerprints.component_version(component), component

    def test_every_package_is_copied(self):
        include = re.search(r'packages\.find]\ninclude = (\[.*])', (PROJECT / 'pyproject.toml').read_text())
        packages = {name.removesuffix('*') for name in json.loads(include[1])}
        assert packages <= set(copied()) and packages == set(fingerprints.PACKAGES)


class TestTheImages:
    def test_there_is_one_for_each_kind_of_machine_and_that_without_accelerators_is_the_default(self):
        assert {'cpu', 'gpu', 'tpu'} < set(stages()) and list(stages())[-1] == 'cpu'
        assert all(stages()[name][0] == ('FROM', f'base AS {name}') for name in ('cpu', 'gpu', 'tpu'))
        for name, libraries in {'cpu': 'build', 'gpu': 'build-gpu', 'tpu': 'build-tpu'}.items():
            assert of_kind('COPY', [name]) == [f'--from={libraries} /opt/polyvit /opt/polyvit',
                                               '--from=package /installed /opt/polyvit']

    def test_its_user_is_a_number_and_may_be_any(self):
        assert of_kind('USER') == ['1000']
        assert 'chmod 1777 /home/polyvit /gcs /s3 /minio' in ' '.join(of_kind('RUN', ['base']))

    def test_it_is_a_worker_of_beam(self):
        version = locked(PROJECT / 'requirements.lock')['apache-beam']
        assert f'--from=apache/beam_python3.10_sdk:{version} /opt/apache/beam /opt/apache/beam' in of_kind('COPY')
        assert of_kind('ENTRYPOINT') == ['["/opt/apache/beam/boot"]']
        assert 'RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1' in ' '.join(of_kind('ENV', ['base']))

    def test_everything_of_a_package_index_has_a_hash(self):
        installs = [part for text in of_kind('RUN') for part in text.split('&&') if 'pip install' in part]
        assert len(installs) == 5
        assert [part for part in installs if '--require-hashes' not in part and '/src' not in part] == [
            'pip install --no-cache-dir uv ']
        assert all('--checksum=sha256:' in text for text in of_kind('ADD'))


class TestTheLocks:
    def test_those_for_gpus_and_tpus_fit_the_other(self):
        here, gpu, tpu = (locked(path) for path in (
            PROJECT / 'requirements.lock', FOLDER / 'gpu.lock', FOLDER / 'tpu.lock'))
        assert tpu == {'tensorflow-tpu': here['tensorflow']}
        assert gpu['tensorflow'] == here['tensorflow'] and {name for name in gpu if name not in here} == {
            name for name in gpu if name.startswith('nvidia-')}
        assert all(here[name] == version for name, version in gpu.items() if name in here)

    def test_the_path_of_libraries_has_those_of_the_lock(self):
        folders = {name.removeprefix('nvidia-').removesuffix('-cu12').replace('-', '_')
                   for name in locked(FOLDER / 'gpu.lock') if name.startswith('nvidia-')}
        path = next(text for text in of_kind('ENV', ['gpu']) if text.startswith('LD_LIBRARY_PATH='))
        assert set(re.findall(r'\$NVIDIA/(\w+)/lib', path)) == folders - {'cuda_nvcc'}  # which has programs

    @pytest.mark.parametrize('name', ['gpu.lock', 'tpu.lock'])
    def test_every_package_has_hashes_and_no_index_is_named(self, name):
        text = (FOLDER / name).read_text()
        entries = re.split(r'^(?=[a-z])', text, flags=re.MULTILINE)[1:]
        assert entries and all('--hash=sha256:' in entry for entry in entries) and '://' not in text

"""Compiled pipelines are what kfp 2.5 and the newest kfp can parse, without a field that they do not know."""

import dataclasses
import importlib.metadata
import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

from pipeline.config import config_names, load_config
from pipeline.kubeflow import compiler
from pipeline.kubeflow.resources import Cluster, Resources

PROJECT = pathlib.Path(__file__).resolve().parents[2]
NEWEST_LOCK = PROJECT / 'scripts' / 'kfp_newest.lock'
POD = Resources(cpu=8, memory='32Gi', accelerator='nvidia.com/gpu', count=2, image='registry/polyvit:gpu',
                node_selector={'cloud.google.com/gke-accelerator': 'nvidia-l4'}, env={'NCCL_DEBUG': 'INFO'},
                env_from_secret={'TOKEN': 'hub/token'}, volumes={'media-claim': '/media'})
TOLERANT = dataclasses.replace(POD, tolerations=('nvidia.com/gpu:NoSchedule', 'pool=large:NoExecute'))
VERTEX = Resources(cpu=8, memory='32G', accelerator='NVIDIA_L4', env={'NCCL_DEBUG': 'INFO'})


@pytest.fixture(scope='module')
def compiled(tmp_path_factory) -> pathlib.Path:
    """A folder with every config, and the demo with all that can be said of a cluster, for both targets."""
    folder = tmp_path_factory.mktemp('compiled')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('POLYVIT_DEMO_DATA', 's3://bucket/media')
        patch.setenv('POLYVIT_DATA', 's3://bucket/media')
        for name in config_names():
            _compile(name, folder / f'{name}.yaml', 'gs://bucket')
            _compile(name, folder / f'{name}.json', 'gs://bucket')
        _compile('demo', folder / 'pods.yaml', 'minio://mlpipeline/p', Cluster({'CoTrainer': POD}, retries=3))
        _compile('demo', folder / 'vertex.json', 'gs://bucket', Cluster({'CoTrainer': VERTEX}, retries=3))
    return folder


@pytest.fixture(scope='module')
def tolerant(tmp_path_factory) -> pathlib.Path:
    """A folder with the demo and tolerations."""
    folder = tmp_path_factory.mktemp('tolerant')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('POLYVIT_DEMO_DATA', 's3://bucket/media')
        _compile('demo', folder / 'tolerant.yaml', 'gs://bucket', Cluster({'CoTrainer': TOLERANT}))
    return folder


@pytest.fixture(scope='module')
def newest(tmp_path_factory) -> pathlib.Path:
    """The Python of an environment with the newest kfp and nothing else, as its lock says."""
    folder = tmp_path_factory.mktemp('newest') / 'venv'
    uv = subprocess.run([PROJECT / 'scripts' / 'find_uv.sh', sys.executable], capture_output=True, text=True,
                        check=True).stdout.strip()
    subprocess.run([uv, 'venv', '-q', '--python', sys.executable, folder], check=True)
    subprocess.run([uv, 'pip', 'install', '-q', '--require-hashes', '-r', NEWEST_LOCK],
                   env={**os.environ, 'VIRTUAL_ENV': str(folder)}, check=True)
    return folder / 'bin' / 'python'


def _compile(name: str, path: pathlib.Path, root: str, cluster: Cluster | None = None):
    config = dataclasses.replace(load_config(name), cluster=cluster or Cluster())
    compiler.compile_pipeline(config, str(path), root=root, image='registry/polyvit:1', fail_if_rejected=True)


def _parse(python, folder: pathlib.Path) -> subprocess.CompletedProcess:
    environment = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}
    return subprocess.run([python, PROJECT / 'tests' / 'parse_compiled.py', folder], cwd=folder.parent,
                          env=environment, capture_output=True, text=True)


def _check(python, folder: pathlib.Path, version: str):
    done = _parse(python, folder)
    assert done.returncode == 0, done.stderr
    parsed = json.loads(done.stdout)
    assert parsed['kfp'] == version
    assert parsed['files'] == sorted(path.name for path in folder.iterdir())


def test_kfp_of_the_lock_parses_every_config(compiled):
    _check(sys.executable, compiled, importlib.metadata.version('kfp'))


def test_only_tolerations_are_newer(tolerant):
    done = _parse(sys.executable, tolerant)
    assert done.returncode and 'has no field named "tolerations"' in done.stderr


@pytest.mark.slow
def test_the_newest_kfp_parses_every_config(newest, compiled, tolerant):
    version, = re.findall(r'^kfp==(\S+)', NEWEST_LOCK.read_text(), re.MULTILINE)
    _check(newest, compiled, version)
    _check(newest, tolerant, version)

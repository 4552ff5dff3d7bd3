"""Fixtures that tests of the model share."""

import subprocess

import pytest


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a real file system of 256 kB. It is mounted in the namespace of a process, and goes with it."""
    script = 'mount -t tmpfs -o size=256k small "$1" && echo mounted && exec sleep 600'
    try:
        process = subprocess.Popen(
            ['unshare', '--user', '--map-root-user', '--mount', 'sh', '-c', script, 'sh', tmp_path],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except FileNotFoundError:
        pytest.skip('needs the command unshare')
    with process:
        try:
            if process.stdout.readline() != b'mounted\n':
                pytest.skip('needs a system where any user may mount in a new namespace')
            yield f'/proc/{process.pid}/root{tmp_path}'
        finally:
            process.kill()


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A folder with the transformed examples of tiny_training's tasks, shared by the tests of a module."""
    from tests.model_code import tiny_training  # here, because it imports TensorFlow
    path = str(tmp_path_factory.mktemp('tiny'))
    tiny_training.write_examples(path)
    return path

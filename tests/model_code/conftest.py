"""What tests of the model share."""

import subprocess

import pytest


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a real file system of 256 kB, which is gone with the process in whose mount namespace it is."""
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
                pytest.skip('needs a system where anyone may mount in a namespace of his own')
            yield f'/proc/{process.pid}/root{tmp_path}'
        finally:
            process.kill()

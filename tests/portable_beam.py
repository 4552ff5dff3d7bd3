"""Beam's portable job service and its worker pools, as processes of their own on free ports, as a cluster has them."""

import contextlib
import os
import pathlib
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator

import psutil

PROJECT = pathlib.Path(__file__).resolve().parents[1]


@contextlib.contextmanager
def job_server(folder: pathlib.Path) -> Iterator[str]:
    """The host:port of a job server of Beam, which runs jobs with the workers that they name. folder: for its files."""
    folder.mkdir(exist_ok=True)
    port = folder / 'port'
    with _process(['-m', 'apache_beam.runners.portability.local_job_service_main', '--port_file', str(port),
                   '--staging_dir', str(folder / 'staging')], folder, 'job_server') as process:
        _wait(lambda: port.exists(), process, 'job server')
        yield f'localhost:{port.read_text()}'


@contextlib.contextmanager
def worker_pool(folder: pathlib.Path, has_project: bool = True) -> Iterator[str]:
    """The host:port of a worker pool in another working folder, with the environment of a bare shell.

    has_project: whether its workers can import this project.
    """
    folder.mkdir(exist_ok=True)
    # A pool starts its workers by the bare word `python`. With -S they see the packages, but not a checkout of this
    # project that is installed to be edited.
    python = folder / 'python'
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    python.chmod(0o755)
    paths = [sysconfig.get_path('purelib'), *([str(PROJECT)] if has_project else [])]
    port = free_port()
    with _process(['-m', 'apache_beam.runners.worker.worker_pool_main', f'--service_port={port}'], folder, 'pool',
                  PATH=f'{folder}:/usr/bin:/bin', PYTHONPATH=':'.join(paths)) as process:
        _wait(lambda: _listens(port), process, 'worker pool')
        yield f'localhost:{port}'


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(('127.0.0.1', port)) == 0


@contextlib.contextmanager
def _process(arguments: list[str], folder: pathlib.Path, name: str, **environment: str) -> Iterator[subprocess.Popen]:
    """A Python process in `folder`, whose output goes to a log there. It and its children end with the block."""
    variables = {'HOME': str(folder), 'PATH': os.environ['PATH'], **environment}
    with open(folder / f'{name}.log', 'wb') as log:
        process = subprocess.Popen([sys.executable, *arguments], cwd=folder, stdout=log, stderr=log, env=variables)
    try:
        yield process
    finally:
        for started in [*psutil.Process(process.pid).children(recursive=True), process]:
            with contextlib.suppress(psutil.NoSuchProcess):
                started.kill()
        process.wait()


def _wait(ready, process: subprocess.Popen, what: str, seconds: float = 60):
    deadline = time.monotonic() + seconds
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f'The {what} did not start; its log is in its folder.')
        time.sleep(0.1)

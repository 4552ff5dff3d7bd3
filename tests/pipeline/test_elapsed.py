"""When a process started, by the clock that all processes of a machine share."""

import pathlib
import subprocess
import sys
import time

from pipeline import elapsed

TICK = 0.02  # seconds; the kernel counts in ticks


def test_the_start_of_python_counts():
    before = time.monotonic()
    code = 'import time; first = time.monotonic(); from pipeline import elapsed; print(elapsed.process_start(), first)'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    start, first = map(float, done.stdout.split())
    assert before - TICK <= start < first


def test_without_proc_it_is_now(monkeypatch):
    def no_proc(path):
        raise FileNotFoundError(path)
    monkeypatch.setattr(pathlib.Path, 'read_bytes', no_proc)
    before = time.monotonic()
    assert before <= elapsed.process_start() <= time.monotonic()

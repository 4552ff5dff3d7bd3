"""An evaluation that is killed at any point is not taken for one, and when it is run again nothing of it is left."""

import json
import signal
import subprocess
import sys

import pytest

from tests.components.killed_evaluation import POINTS

pytestmark = pytest.mark.slow


def test_a_killed_evaluation_is_not_read_and_gives_the_same_when_it_is_run_again(tmp_path):
    done = subprocess.run([sys.executable, '-m', 'tests.components.killed_evaluation', str(tmp_path)],
                          capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-5000:]
    *attempts, last = map(json.loads, done.stdout.splitlines())
    assert [line['point'] for line in attempts] == [name for name, _ in POINTS]
    for line in attempts:
        assert line['signal'] == signal.SIGKILL and line['left'], f'it was not killed at {line["point"]}'
        assert not line['read'], f'killed at {line["point"]}, it was read as an evaluation'
    assert last['compared'] > 20 and last['differences'] == []

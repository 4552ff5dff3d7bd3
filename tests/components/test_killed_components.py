"""Every component can be killed and run again into the same outputs, as a cluster does with a step that failed."""

import json
import os
import subprocess
import sys

import pytest

from pipeline.fingerprints import COMPONENT_CODE

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('killed')


@pytest.fixture(scope='module')
def found(folder) -> dict[str, dict]:
    """Component class -> what killed_components prints of it. All in one process, because importing TFX takes long."""
    done = subprocess.run([sys.executable, '-m', 'tests.components.killed_components', str(folder)],
                          capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-5000:]
    return {line['node'].split('_')[0]: line for line in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize('component', sorted(COMPONENT_CODE))
def test_a_killed_component_gives_the_same_when_it_is_run_again(component, found):
    line = found[component]
    assert line['killed'] or not line['written'], 'it was not killed'
    assert line['differences'] == []


def test_what_was_pushed_before_the_kill_is_reported_and_not_pushed_again(folder, found):
    assert found['AtomicPusher']['killed'][0], 'it was killed after the version had appeared'
    assert len(os.listdir(folder / 'again/serving')) == 2, 'the baseline and the model'

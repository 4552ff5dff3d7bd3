"""A run is interrupted in several components and goes on each time; the exit codes of the real commands."""

import contextlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time

import pytest
from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration import metadata

from pipeline import exit_codes
from tests import terminals, testing

pytestmark = pytest.mark.slow

CONFIG = '''
from polyvit import Data, Gate, ImageInput, Mixture, ModelConfig, PipelineConfig, Recipe, Task, TrainingConfig

def get_config():
    shapes = Task('shapes', 'image', data=Data({root!r} + '/shapes'), recipe=Recipe(steps=3000, batch_size=4),
                  gate=Gate(floor=1.0))
    return PipelineConfig('tiny', Mixture((shapes,)), ModelConfig(1, 16, 2, 32, inputs=(ImageInput(16, 16, (8, 8)),)),
                          TrainingConfig(checkpoint_every=100_000), root={root!r} + '/root')
'''
PROGRAM = '''
import polyvit, sys
try:
    polyvit.run(polyvit.load_config(sys.argv[1]))
except KeyboardInterrupt:
    print('The program goes on.')
'''
State = metadata_store_pb2.Execution.State
ENVIRONMENT = {**os.environ, 'CUDA_VISIBLE_DEVICES': ''}
POLYVIT = [sys.executable, '-m', 'polyvit']


@pytest.fixture(scope='module')
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp('interrupted')
    testing.image_task(home / 'shapes', per_class=8, eval_per_class=4)
    # One eval image is there with both labels. No model is right about both, so a floor of 1 is never met.
    testing.write(home / 'shapes', 'eval/right/9.png', (home / 'shapes/eval/left/0.png').read_bytes())
    (home / 'mine.py').write_text(CONFIG.format(root=str(home)))
    return home


def signal_in(component: str, home, number, *command) -> tuple[int, str]:
    """(exit code, output) of a command that gets the signal once ML Metadata says that the component is running."""
    process = subprocess.Popen([sys.executable, *map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               text=True, env=ENVIRONMENT,
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    try:
        until = time.monotonic() + 120
        while not is_running(component, home / 'root/metadata.db'):
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.05)
        process.send_signal(number)
        output, _ = process.communicate(timeout=60)
        return process.returncode, output
    finally:
        process.kill()


def is_running(component: str, database) -> bool:
    """Whether the newest execution of a component is under way."""
    query = ('SELECT last_known_state FROM Execution JOIN Type ON Type.id = Execution.type_id '
             'WHERE Type.name LIKE ? ORDER BY Execution.id DESC LIMIT 1')
    try:
        with contextlib.closing(sqlite3.connect(f'file:{database}?mode=ro', uri=True)) as connection:
            return connection.execute(query, [f'%{component}%']).fetchone() == (State.RUNNING,)
    except sqlite3.OperationalError:  # there is no database, or no table, yet
        return False


def interrupted(how: str, component: str, kept: int) -> str:
    """The expression of what a run says that ends in a component.

    Where the signal comes while Python clears something away, which no exception can leave, the run ends after it.
    """
    return (rf'{how} (while {component} of shapes was running\.\nKept: {kept}|'
            rf'between two components\.\nKept: {kept + 1}) of 13 components\.\n')


def record(home) -> dict:
    return json.loads((home / 'root/last_run.json').read_text())


def commands_print(home, *words) -> tuple[int, str]:
    done = subprocess.run([*POLYVIT, *map(str, words)], capture_output=True, text=True, env=ENVIRONMENT, cwd=home,
                          timeout=300)
    assert 'Traceback' not in done.stdout + done.stderr
    return done.returncode, done.stdout + done.stderr


def test_a_run_goes_on_after_interruptions_in_a_program_in_a_lane_and_in_training(home):
    code, output = signal_in('StatisticsGen', home, signal.SIGINT, '-c', PROGRAM, home / 'mine.py')
    assert re.search(interrupted('Interrupted by Ctrl-C', 'StatisticsGen', 2) +
                     r'To go on, run it again\.\nThe program goes on\.\n$', output), output
    assert code == exit_codes.DONE and record(home)['state'] == 'interrupted'

    code, output = signal_in('Transform', home, signal.SIGTERM, '-m', 'polyvit', 'run', home / 'mine.py')
    assert code == exit_codes.TERMINATED
    assert re.search(interrupted('Ended by SIGTERM', 'Transform', 5), output), output
    assert f'\nTo go on:\n  {sys.executable} -m polyvit run {home}/mine.py\n' in output
    assert 'Traceback' not in output
    assert (record(home)['exit_code'], record(home)['state']) == (143, 'interrupted')

    seen = terminals.run([*POLYVIT, 'run', home / 'mine.py'], keys=[('steps/s', terminals.CTRL_C)], timeout=240,
                         env=ENVIRONMENT)
    assert seen.exit_code == exit_codes.INTERRUPTED
    ending = seen.text.partition('CoTrainer')[2]
    # No traceback, no ^C, no line of the bar, and the line of the component is there once.
    assert re.fullmatch(r' +interrupted\n +training: .*?tensorboard(\.main)?\s+--logdir\s.*?steps/s.*?\n\n'
                        r'Interrupted by Ctrl-C while CoTrainer was running\.\n'
                        r'Kept: 6 of 13 components; training is saved at step [\d,]+ of 3,000,\s.*?\sago\.\n'
                        r'To go on:\n.*', ending, re.DOTALL), seen.text
    assert 'Traceback' not in seen.text and '^C' not in seen.text and seen.text.count('[ 7/13]') == 1
    assert seen.raw.rfind(b'\x1b[?25h') > seen.raw.rfind(b'\x1b[?25l')  # the cursor is visible
    step = int(re.search(r'saved at step ([\d,]+)', ending)[1].replace(',', ''))
    assert 0 < step < 3000

    code, output = commands_print(home, 'run', home / 'mine.py')
    assert code == exit_codes.REJECTED and record(home)['state'] == 'rejected'
    assert f'training: resumes at step {step:,} of 3,000' in output
    lane = ('TaskSchemaGen', 'MediaExampleGen', 'StatisticsGen', 'TaskValidator', 'Transform')
    nodes = record(home)['components']
    assert {name for name, node in nodes.items() if node['cached']} == {
        'DataDrift', *(f'{name}_shapes' for name in lane)}

    with sqlite3.connect(home / 'root/metadata.db') as database:
        states = {state for state, in database.execute('SELECT last_known_state FROM Execution')}
    assert states == {State.COMPLETE, State.CACHED, State.FAILED}  # none is left as running


def test_what_a_killed_run_left_is_failed_and_its_files_are_removed(tmp_path):
    from pipeline import observed_runner
    connection = metadata.sqlite_metadata_connection_config(str(tmp_path / 'metadata.db'))
    with metadata.Metadata(connection) as handle:
        kind = handle.store.put_execution_type(metadata_store_pb2.ExecutionType(name='Transform'))
        states = (State.COMPLETE, State.RUNNING, State.CACHED, State.RUNNING)
        numbers = handle.store.put_executions(
            [metadata_store_pb2.Execution(type_id=kind, last_known_state=state) for state in states])
    kept = {f'model_run/unfinished/{numbers[1]}'}
    for number, state in zip(numbers, states, strict=True):
        for folder in (f'examples/{number}', f'.system/executor_execution/{number}'):
            testing.write(tmp_path / 'pipeline/Transform', f'{folder}/file', b'x')
            kept |= {folder} if state != State.RUNNING else set()
    testing.write(tmp_path / 'pipeline/Transform', f'model_run/unfinished/{numbers[1]}/file', b'x')

    observed_runner._end_lost_executions(connection, str(tmp_path / 'pipeline'))
    folders = [path.parent for path in (tmp_path / 'pipeline/Transform').rglob('file')]
    assert {str(folder.relative_to(tmp_path / 'pipeline/Transform')) for folder in folders} == kept
    with metadata.Metadata(connection) as handle:
        found = {execution.id: execution.last_known_state for execution in handle.store.get_executions()}
    assert found == dict(zip(numbers, (State.COMPLETE, State.FAILED, State.CACHED, State.FAILED), strict=True))


def test_the_other_exit_codes(home):
    code, output = commands_print(home, 'data', 'check', home / 'mine.py')
    assert code == exit_codes.DONE and 'ready to run' in output
    for i in range(4):
        testing.write(home / 'shapes', f'train/left/broken_{i}.png', b'no image')
    code, output = commands_print(home, 'data', 'check', home / 'mine.py')
    assert code == exit_codes.FAILED and 'a run would stop' in output
    code, output = commands_print(home, 'run', home / 'nowhere.py')
    assert code == exit_codes.WRONG and 'nowhere.py' in output

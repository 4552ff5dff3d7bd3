"""How signals end a process, whatever it is doing: real processes, real signals."""

import re
import signal
import subprocess
import sys

import psutil
import pytest

from pipeline import exit_codes

# The main thread is in C, where Python's handlers cannot run.
IN_C = 'hashlib.pbkdf2_hmac("sha256", b"", b"", 1 << 30)'
DEAF = '''
ready()
while True:
    try:
        time.sleep(600)
    except KeyboardInterrupt:
        pass
'''
BODIES = {
    'waits': 'ready(); time.sleep(600)',
    'in C': f'ready(); {IN_C}',
    'catches every exception': DEAF,
    'cannot say so': f'with ending.telling(lambda number: {IN_C}): ready(); time.sleep(600)',
    'fails instead': 'try: ready(); time.sleep(600)\nexcept KeyboardInterrupt as error: raise RuntimeError from error',
}
PROGRAM = '''
import hashlib, subprocess, sys, time
from model_code import interruption
from pipeline import ending
ending.GRACE_SECONDS = {grace}
ending.SAVE_SECONDS = {save}
def ready():
    print('ready', flush=True)
with ending.in_time(['run', 'my config.py']):
    exec(sys.argv[1])
'''


def end(body: str, *signals, grace: float = 0.2, save: float = 600.0,
        meanwhile=lambda process: None) -> tuple[int, str, str]:
    """(exit code, the rest of stdout, stderr) of a process that does `body` and gets the signals once it is ready.

    More than one signal: the next is sent after each line of output. meanwhile: called before the first one.
    """
    process = subprocess.Popen(
        [sys.executable, '-c', PROGRAM.format(grace=grace, save=save), body], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, preexec_fn=lambda: [
            signal.signal(number, signal.SIG_DFL) for number in (signal.SIGINT, signal.SIGHUP)])
    try:
        for i, number in enumerate(signals):
            assert process.stdout.readline()
            if not i:
                meanwhile(process)
            process.send_signal(number)
        return process.wait(60), *process.communicate()
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize('body', BODIES.values(), ids=BODIES.keys())
@pytest.mark.parametrize('number, code, how', [
    (signal.SIGINT, exit_codes.INTERRUPTED, 'Interrupted by Ctrl-C'),
    (signal.SIGTERM, exit_codes.TERMINATED, 'Ended by SIGTERM'),
    (signal.SIGHUP, exit_codes.HUNG_UP, 'Ended by SIGHUP')])
def test_a_signal_ends_it_with_a_sentence_and_its_exit_code(body, number, code, how):
    found, output, errors = end(body, number)
    assert (found, output) == (code, '')
    if 'telling' in body:
        assert errors == ''
    else:
        assert re.fullmatch(f"polyvit: {how} before it was done. To go on:\n  .* run 'my config.py'\n", errors)


def test_what_saves_is_given_its_time():
    body = '''
with interruption.postponed(lambda: 'it is saved'), ending.telling(lambda _: print(interruption.kept(), flush=True)):
    ready()
    while not interruption.requested(): time.sleep(0.01)
    time.sleep(2)
    print('saved', flush=True)
    raise RuntimeError
'''
    assert end(body, signal.SIGTERM, grace=0.0) == (143, 'saved\nit is saved\n', '')


def test_what_saves_too_long_is_ended_and_says_what_is_kept():
    body = f'''
with interruption.postponed(lambda: 'half is saved'), ending.telling(lambda _: print(interruption.kept(), flush=True)):
    ready()
    {IN_C}
'''
    assert end(body, signal.SIGTERM, grace=600.0, save=0.2) == (143, 'half is saved\n', '')


def test_a_second_signal_ends_at_once_what_saves():
    body = f'''
with interruption.postponed(str):
    ready()
    while not interruption.requested(): time.sleep(0.01)
    print('saving', flush=True)
    {IN_C}
'''
    code, _, errors = end(body, signal.SIGINT, signal.SIGINT)
    assert code == 130 and errors.startswith('polyvit: Interrupted by Ctrl-C')


@pytest.mark.parametrize('waits', ['time.sleep(600)', IN_C], ids=['in Python', 'in C'])
def test_what_runs_elsewhere_is_cancelled_once(waits):
    body = f'''
def cancel():
    time.sleep(1)
    print('cancelled', flush=True)
    return 'The job was cancelled.'
with interruption.cancelling(cancel), ending.telling(lambda _: print(interruption.cancel_elsewhere(), flush=True)):
    ready()
    {waits}
'''
    assert end(body, signal.SIGTERM, save=2.0) == (143, 'cancelled\nThe job was cancelled.\n', '')


def test_what_has_ended_elsewhere_is_not_cancelled():
    body = 'with interruption.cancelling(lambda: print("cancelled")): pass\nready(); time.sleep(600)'
    assert end(body, signal.SIGTERM)[:2] == (143, '')


def test_it_takes_its_child_processes_along():
    children = []
    body = ('ready(); print("child", subprocess.Popen([sys.executable, "-c", "import signal, time; signal.signal('
            'signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"]).pid, flush=True)\ntime.sleep(600)')

    def meanwhile(process):
        children.append(psutil.Process(int(process.stdout.readline().split()[1])))

    assert end(body, signal.SIGTERM, meanwhile=meanwhile)[0] == 143
    children[0].wait(10)
    assert not children[0].is_running()


def test_a_program_goes_on_after_an_interruption():
    """`polyvit.run` in a program or notebook: the exception is the one that Ctrl-C raises, and the process lives."""
    program = '''
import os, signal, sys, time
from model_code import interruption
from pipeline import ending
for number in interruption.SIGNALS:
    signal.signal(number, signal.SIG_DFL)  # whoever started the tests may have had it ignored
    try:
        with interruption.handled(), ending.telling(lambda number: print('told', number.name)):
            try:
                os.kill(os.getpid(), number)
                time.sleep(600)
            except KeyboardInterrupt as error:
                raise RuntimeError from error
    except (KeyboardInterrupt, SystemExit) as error:
        print(type(error).__name__, error)
'''
    done = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == ['told SIGINT', 'KeyboardInterrupt ', 'told SIGTERM', 'SystemExit 143',
                                        'told SIGHUP', 'SystemExit 129']
    assert done.returncode == 0 and done.stderr == ''

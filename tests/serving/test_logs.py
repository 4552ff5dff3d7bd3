"""What C libraries write to standard error is limited, and nothing of it is lost when the process crashes."""

import subprocess
import sys

import pytest

_CODE = """
import os, sys
from serving import logs
with logs.limited_standard_error(3):
    for number in range(100):
        os.write(2, b'Corrupt JPEG data\\n')
    print('from Python', file=sys.stderr)
    {within}
os.write(2, b'after it\\n')
"""


def _lines(within: str) -> tuple[int, list[str]]:
    ended = subprocess.run([sys.executable, '-c', _CODE.format(within=within)], stderr=subprocess.PIPE, check=False)
    return ended.returncode, ended.stderr.decode().splitlines()


def test_lines_are_limited_while_those_of_python_are_not():
    code, lines = _lines('pass')
    assert code == 0
    assert sorted(lines[:-1]) == ['(97 more lines were left out)', *['Corrupt JPEG data'] * 3, 'from Python']
    assert lines[-1] == 'after it'


@pytest.mark.parametrize('end', ['os.abort()', 'os._exit(1)', 'os.kill(os.getpid(), 9)'])
def test_what_was_let_through_comes_even_if_the_process_ends_at_once(end):
    code, lines = _lines(end)
    assert code != 0
    assert lines.count('Corrupt JPEG data') == 3 and 'after it' not in lines

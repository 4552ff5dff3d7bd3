"""No name reaches a terminal as more than text, whatever it is a name of; none ends a command in a traceback."""

import os
import pathlib
import subprocess
import sys

import pytest

from tests import terminals, testing

NAME = 'x\x1b]0;owned\x07\x1b[31m\u202egpj\udcff'
SHOWN = r'x\x1b]0;owned\x07\x1b[31m\u202egpj\xff'

COMMANDS = [
    ['{}'], ['plan', '{}'], ['plan', '{}/none.py'], ['run', '{}.py'], ['run', 'mine.py', '--root', '{}'],
    ['run', 'mine.py', '--set', '{}=1'], ['run', 'mine.py', '--data', '{}'], ['data', 'demo', '{}'],
    ['data', 'check', 'mine.py'], ['compile', 'demo', '-o', '{}', '--root', 'gs://bucket/p', '--image', 'r/i:1'],
    ['report', '--root', '{}'], ['clean', '--root', '{}'], ['sync', 's3://{}', 'x'],
    ['serve', '{}/none'], ['serve', '--model-config', '{}'], ['predict', '{}', '{}', '--model', '{}'],
    ['predict', 't', 'media', '-o', '{}'], ['export', '{}', '-o', '{}.tflite'], ['completion', '{}'],
    ['doctor', '--beam', '{}']]


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> pathlib.Path:
    """A config, and data with such names."""
    folder = tmp_path_factory.mktemp('hostile')
    for number in range(8):
        testing.write(folder, f'media/{number % 2}/{number}.png', testing.image_bytes(seed=number))
    (folder / 'media' / '0' / f'{NAME}.png').write_bytes(b'no image')
    (folder / 'media' / NAME).mkdir()
    (folder / f'{NAME}.py').write_text('raise ValueError("\\x1b[2J")')
    testing.write(folder, 'mine.py', f'''
from polyvit import *
def get_config():
    task = Task('t', 'image', data=Data({str(folder / 'media')!r}), recipe=Recipe(3, 2))
    return PipelineConfig('mine', Mixture([task]), ModelConfig(inputs=[ImageInput(16, 16, (8, 8))]))
''')
    return folder


@pytest.mark.parametrize('words', COMMANDS, ids=lambda words: ' '.join(words).replace('{}', 'NAME'))
def test_on_a_terminal(folder, words):
    command = [sys.executable, '-m', 'polyvit', *(word.format(NAME) for word in words)]
    seen = terminals.run(command, timeout=120, cwd=folder, env={'PYTHONPATH': str(pathlib.Path(__file__).parents[2])})
    written = seen.raw
    assert seen.exit_code in (1, 2)
    assert SHOWN.split('[31m')[0].encode() in written.replace(b'\r\n', b'')
    for hostile in (b'\x1b]', b'\x07', b'\x1b[31m', b'\x1b[2J', '\u202e'.encode(), b'\xff', b'Traceback', b'codec '):
        assert hostile not in written


# In the locale C a command starts itself anew in Python's UTF-8 mode, whose output is UTF-8 (PEP 540).
@pytest.mark.parametrize('locale, shown', [
    ({'LC_ALL': 'C', 'PYTHONUTF8': '0', 'PYTHONCOERCECLOCALE': '0'}, 'ü猫'.encode()),
    ({'PYTHONIOENCODING': 'ascii:strict'}, b'\\xfc\\u732b')], ids=['C', 'ascii'])
def test_where_the_terminal_may_take_ascii_only(folder, locale, shown):
    name = 'ü猫'
    environment = os.environ | locale | {'PYTHONPATH': str(pathlib.Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, '-m', 'polyvit', 'plan', f'{name}.py'], cwd=folder, env=environment,
                          capture_output=True)
    assert done.returncode == 2
    assert done.stderr.startswith(b'polyvit: There is no config file ' + shown) and b'Error' not in done.stderr

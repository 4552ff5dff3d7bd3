"""What a person sees on a terminal of 80 or 120 columns."""

import pathlib
import re
import sys
import textwrap

import pytest

from tests import terminals, testing


class TestTerminals:
    """The helper itself: a test that sees too little passes too easily."""

    def test_scrolled_and_redrawn_lines(self):
        code = ('import os\nfor i in range(30): print("line", i)\n'
                'print("old", end=""); print("\\r\\x1b[2Knew", os.get_terminal_size().columns)\nraise SystemExit(3)')
        seen = terminals.run([sys.executable, '-c', code], columns=80, rows=10)
        assert seen.lines == [*(f'line {i}' for i in range(30)), 'new 80']
        assert b'old' in seen.raw and seen.exit_code == 3

    def test_ctrl_c_reaches_the_command(self):
        code = ('import time\ntry:\n  print("ready", flush=True); time.sleep(60)\n'
                'except KeyboardInterrupt:\n  print("interrupted")')
        seen = terminals.run([sys.executable, '-c', code], keys=[('ready', terminals.CTRL_C)])
        assert seen.lines[-1].endswith('interrupted') and seen.exit_code == 0
        assert len(seen.key_times) == 1 and seen.key_times[0] < seen.ended


SCREEN = r'''
import contextlib, logging, os, pathlib, sys, time, traceback
from model_code.logger import logger
from pipeline import terminal

def component(screen, node, *messages, result='1 second'):
    screen.start(node)
    for message in messages:
        logger.info(message)
    time.sleep(0.6)
    screen.finish(result)

with terminal.quiet(pathlib.Path(sys.argv[1])) as file, contextlib.closing(terminal.Screen(file)) as screen:
    with terminal.messages_on(screen):
        screen.print('header')
        screen.expect(['MediaExampleGen_shapes', 'CoTrainer', 'Report'],
                      {'MediaExampleGen_shapes': 20.0, 'CoTrainer': 60.0, 'Report': 1.0}, time.monotonic() - 65.0)
        component(screen, 'MediaExampleGen_shapes', 'a remark of ' + 30 * 'many ' + 'words', 'another')
        screen.start('CoTrainer')
        for done in (1, 2):
            logger.info('training: %d of 2 steps', done, extra={'progress': (done, 2, 30.0 * (2 - done))})
            time.sleep(0.4)
        print('printed'); os.write(1, b'native'); os.write(2, b'native error')
        try:
            raise RuntimeError('as Beam does')
        except RuntimeError:
            traceback.print_exc()
            logging.getLogger().exception('again')
        screen.finish('failed')
        screen.print('The sentence that says why:\n  - ' + 30 * 'one ' + '\n  - two')
'''


@pytest.mark.parametrize('columns', [80, 120])
class TestScreen:
    @pytest.fixture
    def seen(self, columns, tmp_path):
        seen = terminals.run([sys.executable, '-c', SCREEN, tmp_path / 'run.log'], columns=columns)
        assert seen.exit_code == 0, seen.text
        return seen

    def test_only_our_lines_are_on_the_screen(self, seen, columns, tmp_path):
        remark = ['a remark of ' + 30 * 'many ' + 'words']
        wrapped = textwrap.wrap(remark[0], columns - 8)
        assert seen.lines == [
            'header',
            f'[ 1/3] {"MediaExampleGen shapes":<40}1 second', *(f'{"":8}{line}' for line in wrapped), f'{"":8}another',
            f'[ 2/3] {"CoTrainer":<40}failed', f'{"":8}training: 2 of 2 steps',
            'The sentence that says why:', *textwrap.wrap('  - ' + 30 * 'one ', columns, subsequent_indent='    '),
            '  - two']
        log = (tmp_path / 'run.log').read_text()
        assert log.count('Traceback') == 2 and all(text in log for text in ('printed', 'native', 'native error'))

    @pytest.fixture
    def moment(self, seen):
        """What had been written when the bar was drawn for the last time while CoTrainer was running."""
        until_then = seen.raw[:seen.raw.rindex(b'failed')]
        return until_then[:until_then.rindex(b'left') + len('left')]

    def test_one_bar_with_the_time_and_what_is_left(self, moment, columns):
        lines = terminals.render(moment, columns, 24)
        assert re.fullmatch(r'━+[╸╺━]*  ?1 of 3, 1:\d\d, about 5 seconds left', lines[-1]), lines[-1]
        assert lines[-3].startswith('[ 2/3] CoTrainer') and lines[-2].endswith('training: 2 of 2 steps')
        assert 'training: 1 of 2' not in '\n'.join(lines)  # the newer report replaced it

    def test_the_cursor_is_never_hidden(self, moment, columns):
        """A process that is killed could not bring it back."""
        assert moment.rfind(b'\x1b[?25l') < moment.rfind(b'\x1b[?25h')


CONFIG = '''
from polyvit import Data, ImageInput, Mixture, ModelConfig, PipelineConfig, Recipe, Task, TrainingConfig


def get_config():
    task = Task('shapes', 'image', data=Data({data!r}), recipe=Recipe(steps=2, batch_size=4))
    model = ModelConfig(layers=1, width=16, heads=2, mlp_width=16, inputs=ImageInput(16, 16, (8, 8)))
    return PipelineConfig('seen', Mixture((task,)), model, TrainingConfig(), root={root!r})
'''


@pytest.mark.slow
class TestRun:
    """Runs that end before training, in all their layers: TFX, Beam, the log."""

    def _run(self, tmp_path, columns, *options):
        testing.image_task(tmp_path / 'data')
        (tmp_path / 'seen.py').write_text(CONFIG.format(data=str(tmp_path / 'data'), root=str(tmp_path / 'root')))
        command = [sys.executable, '-m', 'polyvit', 'run', 'seen.py', *options]
        return terminals.run(command, columns, timeout=300, cwd=tmp_path,
                             env={'PYTHONPATH': str(pathlib.Path(__file__).parents[2])})

    def _only_ours(self, seen, tmp_path, dumps):
        assert not any(text in seen.raw for text in (b'Traceback', b'File "', b'apache_beam', b'[while running'))
        log = next((tmp_path / 'root' / 'logs').glob('*.log')).read_text()
        assert 'Traceback (most recent call last)' in log
        assert ('\nexecutor_specs {' in log) == dumps and ('more lines; --verbose keeps them]' in log) != dumps
        return seen.lines

    def test_a_designed_stop_at_80_columns(self, tmp_path):
        for i in range(3):
            testing.write(tmp_path / 'data', f'train/left/{i + 10}.png', b'no picture')
        seen = self._run(tmp_path, 80)
        lines = self._only_ours(seen, tmp_path, dumps=False)
        at, = (i for i, line in enumerate(lines) if line.startswith('Stopped at TaskValidator of shapes: '))
        assert 'TaskValidator' in lines[at - 2] and lines[at - 2].endswith('stopped') and lines[at - 1] == ''
        assert ' '.join(lines[at:]).count('train/left/10.png') == 1
        kept, = (i for i, line in enumerate(lines) if line.startswith('What had finished is kept'))
        # The terminal may break the command, which is then copied whole; we may not.
        assert ''.join(lines[kept + 1:]) == f'  {sys.executable} -m polyvit run seen.py' and seen.exit_code == 1

    def test_a_failure_at_120_columns(self, tmp_path):
        testing.write(tmp_path / 'root' / 'pipeline', 'MediaExampleGen_shapes', 'a file where a folder must be')
        seen = self._run(tmp_path, 120, '--verbose')
        lines = self._only_ours(seen, tmp_path, dumps=True)
        at, = (i for i, line in enumerate(lines) if line.startswith('MediaExampleGen of shapes failed: '))
        assert lines[at - 2].endswith('failed') and seen.exit_code == 1
        assert any(line.startswith('The traceback is at the end of root/logs/run-') for line in lines[at + 1:])

"""The screen of a run, and the log for all other output."""

import io
import logging
import re
import subprocess
import sys
import time

from pipeline import terminal
from pipeline.estimate import Estimate
from tests import terminals


class TestScreen:
    def test_lines(self):
        file = io.StringIO()
        screen = terminal.Screen(file)
        screen.expect(['Transform_digits', 'CoTrainer'], {}, 0.0)
        screen.start('Transform_digits')
        screen.finish('1.0 s')
        screen.start('CoTrainer')
        screen.print('step 10')
        screen.finish('2.0 s')
        screen.close()
        lines = file.getvalue().splitlines()
        assert lines[0].startswith('[ 1/2] Transform       digits') and lines[0].endswith('1.0 s')
        assert lines[1].startswith('[ 2/2] CoTrainer') and lines[2] == 'step 10' and lines[3].endswith('2.0 s')

    def test_a_quiet_component_is_still_running(self, monkeypatch):
        monkeypatch.setattr(terminal.Screen, 'QUIET_SECONDS', 0)
        file = io.StringIO()
        screen = terminal.Screen(file)
        screen.expect(['CoTrainer'], {}, 0.0)
        screen.start('CoTrainer')
        for _ in range(100):
            if 'still running' in file.getvalue():
                break
            screen._closed.wait(0.05)
        screen.close()
        assert 'still running' in file.getvalue()

    def test_steps_that_run_at_once_are_still_running_until_they_are_done(self, monkeypatch):
        monkeypatch.setattr(terminal.Screen, 'QUIET_SECONDS', 0)
        file = io.StringIO()
        screen = terminal.Screen(file)
        screen.follow(Estimate([], {}), 2, 0.0)
        now = time.monotonic()
        screen.running([('Transform_digits', now - 90), ('Transform_sounds', now - 60)])
        for _ in range(100):
            if 'still running' in file.getvalue():
                break
            screen._closed.wait(0.05)
        screen.step('Transform_digits', '2 minutes')
        screen.close()
        lines = file.getvalue().splitlines()
        running = r' {8}still running: Transform digits \(1 minute.*\), Transform sounds \(1 minute.*\)'
        assert re.fullmatch(running, lines[0])
        assert f'[ 1/2] {"Transform":<16}{"digits":<24}2 minutes' in lines

    def test_only_whole_lines_and_no_control_characters(self):
        file = io.StringIO()
        screen = terminal.Screen(file)
        screen.expect(['CoTrainer', 'Report'], {'CoTrainer': 60.0, 'Report': 1.0}, 0.0)
        screen.start('CoTrainer')
        for done in (1, 2, 3):  # all within QUIET_SECONDS: only the newest is printed, at the end
            screen.progress(f'        {done} of 3 steps', done, 3, 1.0)
        screen.finish('2.0 seconds')
        screen.start('Report')
        screen.close()
        assert file.getvalue() == (f'[ 1/2] CoTrainer\n        3 of 3 steps\n'
                                   f'[ 1/2] {"CoTrainer":<40}2.0 seconds\n[ 2/2] Report{"":34}\n')

    def test_forced_colours_do_not_make_a_pipe_a_terminal(self, monkeypatch):
        monkeypatch.setenv('FORCE_COLOR', '1')
        monkeypatch.setenv('TTY_COMPATIBLE', '1')
        file = io.StringIO()
        screen = terminal.Screen(file)
        screen.start('CoTrainer')
        screen.finish('2.0 seconds')
        screen.close()
        assert file.getvalue() == f'{"":8}{"CoTrainer":<40}2.0 seconds\n'

    def test_brackets_are_no_markup(self):
        file = io.StringIO()
        screen = terminal.Screen(file)
        screen.print('[red]x[/red] :smile:')
        screen.close()
        assert file.getvalue() == '[red]x[/red] :smile:\n'


def test_what_native_code_writes_goes_to_the_log(tmp_path):
    code = ('import os, sys, pathlib, logging\nfrom pipeline import terminal\n'
            'with terminal.quiet(pathlib.Path(sys.argv[1])) as screen:\n'
            '    os.write(1, b"native out\\n"); os.write(2, b"native err\\n"); print("python out")\n'
            '    logging.getLogger("absl").info("framework"); print("for people", file=screen)\n'
            'print("after")\n')
    log = tmp_path / 'logs' / 'run.log'
    done = subprocess.run([sys.executable, '-c', code, str(log)], capture_output=True, text=True, timeout=60)
    assert done.stdout == 'for people\nafter\n' and done.stderr == ''
    text = log.read_text()
    assert all(words in text for words in ('native out', 'native err', 'python out', 'framework'))


class TestLogFormatter:
    DUMP = 'Using deployment config:\n executor_specs {\n  key: "Pusher"\n }\n'

    def _format(self, message, name='absl', dumps=False, exc_info=None):
        record = logging.LogRecord(name, logging.INFO, 'x.py', 1, message, (), exc_info)
        return terminal.LogFormatter(dumps).format(record)

    def test_a_dump_is_cut_to_its_first_line(self):
        line = self._format(self.DUMP)
        assert re.fullmatch(r'\d{4}-\d\d-\d\d [\d:,]+ I absl: Using deployment config: '
                            r'\[3 more lines; --verbose keeps them\]', line)

    def test_verbose_keeps_it(self):
        assert self._format(self.DUMP, dumps=True).endswith(self.DUMP)

    def test_one_line_stays_as_it_is(self):
        assert self._format('started').endswith(' I absl: started')

    def test_our_own_messages_and_tracebacks_stay_whole(self):
        assert self._format('two\nlines', name='polyvit').endswith('two\nlines')
        assert self._format('failed\nTraceback (most recent call last):\n  x').endswith('last):\n  x')
        try:
            raise ValueError('why')
        except ValueError:
            text = self._format('failed', exc_info=sys.exc_info())
        assert text.splitlines()[-1] == 'ValueError: why' and 'Traceback' in text


def test_a_terminal_without_a_size():
    """It says that it has no columns and no rows, as that of `script` where the input is no terminal."""
    code = ('import sys\nfrom pipeline import terminal\n'
            'screen = terminal.Screen(sys.stdout)\nscreen.expect(["CoTrainer", "Report"], {}, 0.0)\n'
            'screen.start("CoTrainer")\nscreen.print("        a message")\n'
            'screen.progress("        1 of 3", 1, 3, 1.0)\nscreen.finish("2 seconds")\n'
            'screen.close()\nprint("the end")\n')
    session = terminals.run([sys.executable, '-c', code], columns=0, rows=0)
    assert session.exit_code == 0 and b'a message' in session.raw and b'the end' in session.raw


def test_a_run_goes_on_when_its_screen_cannot_be_drawn(tmp_path):
    code = ('import pathlib, sys, time\nfrom pipeline import terminal\n'
            'draw = terminal.Screen._bar\n'
            'def bar(screen, shown, columns):\n'
            '    if shown.done:\n        raise ZeroDivisionError("the bar")\n'
            '    return draw(screen, shown, columns)\n'
            'terminal.Screen._bar = bar\n'
            'with terminal.quiet(pathlib.Path(sys.argv[1])) as file:\n'
            '    screen = terminal.Screen(file)\n    screen.expect(["A", "B"], {}, time.monotonic())\n'
            '    screen.start("A")\n    screen.print("        the first")\n    screen.finish("1 second")\n'
            '    screen.start("B")\n    screen.print("        the second")\n'
            '    screen.print("        the third")\n    screen.finish("2 seconds")\n    screen.close()\n'
            'print("the end")\n')
    session = terminals.run([sys.executable, '-c', code, str(tmp_path / 'log')], columns=80)
    assert session.exit_code == 0
    assert [line.strip() for line in session.lines] == [
        '[ 1/2] A                                       1 second', 'the first',
        '[ 2/2] B', 'the second', 'the third', '[ 2/2] B                                       2 seconds', 'the end']
    assert (tmp_path / 'log').read_text(encoding='utf-8').count('The screen cannot be drawn') == 1


def test_a_run_goes_on_when_its_terminal_is_gone(tmp_path):
    code = ('import os, sys, pathlib\nfrom pipeline import terminal\n'
            'with terminal.quiet(pathlib.Path(sys.argv[1])) as screen:\n'
            '    reader, writer = os.pipe()\n    os.close(reader)\n'
            '    os.dup2(writer, screen.fileno())\n'  # nobody reads it any more
            '    print("lost", file=screen, flush=True)\n    print("lost again", file=screen, flush=True)\n'
            'print("after")\n')
    done = subprocess.run([sys.executable, '-c', code, str(tmp_path / 'log')], capture_output=True, text=True,
                          timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, 'after\n', '')

"""What a person sees on a terminal of 80 or 120 columns."""

import sys

from tests import terminals


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

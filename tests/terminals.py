"""Runs a command on a pseudo-terminal of a given size, as a person sees it: colours, lines drawn again, Ctrl-C."""

import dataclasses
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Sequence

import pyte

CTRL_C = b'\x03'


@dataclasses.dataclass
class Session:
    """What a command did on a terminal.

    raw: all bytes that it wrote. lines: the text of the terminal at the end, from its first line on, with what has
    scrolled out of sight; lines that were drawn again are as they were drawn last. exit_code: negative for a signal.
    key_times: when each of the keys was typed, and ended: when the command had ended (time.monotonic).
    """
    raw: bytes
    lines: list[str]
    exit_code: int
    key_times: list[float]
    ended: float

    @property
    def text(self) -> str:
        return '\n'.join(self.lines)

    def widest(self) -> int:
        """The most columns of any line."""
        return max(map(len, self.lines), default=0)


def run(command: Sequence[str | os.PathLike], columns: int = 80, rows: int = 24,
        keys: Sequence[tuple[str, bytes]] = (), timeout: float = 60.0, env: dict[str, str] | None = None,
        cwd: str | os.PathLike | None = None) -> Session:
    """Runs a command, as the leader of a session with a terminal of its own, until it ends.

    keys: (text, keys) in order; the keys are typed once the command has written the text (after the keys before them).
    env: added to this process's environment. Raises AssertionError with what is on the screen if it takes longer than
    `timeout` seconds, or ends before all keys are typed; then its process group is killed.
    """
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack('HHHH', rows, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ('COLUMNS', 'LINES', 'NO_COLOR')}
    environment |= {'TERM': 'xterm-256color', **(env or {})}
    # setsid makes the terminal the controlling one, without which Ctrl-C would be sent to nobody.
    # A background job ignores SIGINT, and would hand that on.
    child = subprocess.Popen(['setsid', '--ctty', *map(os.fspath, command)], stdin=slave, stdout=slave, stderr=slave,
                             env=environment, cwd=cwd, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    os.close(slave)
    try:
        raw, key_times = _read(child, master, list(keys), timeout, columns, rows)
        code = child.wait(timeout)
        return Session(raw, render(raw, columns, rows), code, key_times, time.monotonic())
    finally:
        if child.poll() is None:
            os.killpg(child.pid, 9)
            child.wait()
        os.close(master)


def _read(child, master: int, keys: list, timeout: float, columns: int, rows: int) -> tuple[bytes, list[float]]:
    """(all that the command writes until it ends, when each of the keys was typed)."""
    raw, seen, key_times = b'', 0, []
    deadline = time.monotonic() + timeout
    while True:
        ended = child.poll() is not None  # asked first: what is read after that is all there is
        while select.select([master], [], [], 0.0 if ended else 0.05)[0]:
            try:
                chunk = os.read(master, 65536)
            except OSError:  # Linux says EIO when the last process has closed the terminal
                chunk = b''
            if not chunk:
                break
            raw += chunk
            if keys and keys[0][0].encode() in raw[seen:]:
                seen = len(raw)
                key_times.append(time.monotonic())
                os.write(master, keys.pop(0)[1])
        if ended:
            break
        assert time.monotonic() < deadline, f'Not done after {timeout} s:\n' + '\n'.join(render(raw, columns, rows))
    assert not keys, f'Never on the screen: {keys[0][0]!r}\n' + '\n'.join(render(raw, columns, rows))
    return raw, key_times


def render(raw: bytes, columns: int, rows: int) -> list[str]:
    """The lines of a terminal of this size that was sent these bytes, with those scrolled out of sight."""
    screen = pyte.HistoryScreen(columns, rows, history=100_000)
    pyte.ByteStream(screen).feed(raw)
    scrolled = [''.join(line[column].data for column in range(columns)).rstrip() for line in screen.history.top]
    lines = scrolled + [line.rstrip() for line in screen.display]
    while lines and not lines[-1]:
        lines.pop()
    return lines

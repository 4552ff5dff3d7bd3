"""A program that copies lines from its standard input to its standard error, at most so many a minute.

Run by serving.logs, with that number. It ends with its input, whatever signal ends the process that writes there. Needs
nothing but Python's own library, because it is started by its file's path.
"""

import signal
import sys
import time

MAX_LINE = 500  # bytes; what is longer is cut into several
WINDOW = 60.0  # seconds


def main():
    most = int(sys.argv[1])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    began, written, left_out = time.monotonic(), 0, 0
    while line := sys.stdin.buffer.readline(MAX_LINE):
        if time.monotonic() - began >= WINDOW:
            began, written = time.monotonic(), 0
        if written >= most:
            left_out += 1
            continue
        if left_out:
            _write(b'(%d more lines were left out)\n' % left_out)
            left_out = 0
        written += 1
        _write(line)
    if left_out:
        _write(b'(%d more lines were left out)\n' % left_out)


def _write(line: bytes):
    sys.stderr.buffer.write(line)
    sys.stderr.buffer.flush()


if __name__ == '__main__':
    main()

"""When this process started: the time that a command shows includes Python's own start and the imports."""

import os
import pathlib
import time


def process_start() -> float:
    """The time of this process's start on the clock of time.monotonic(); the present one where /proc does not say.

    psutil's create_time is up to a second too early on Linux: it adds to the time of the boot, in whole seconds.
    """
    try:
        # Fields after the command's name, which is in brackets; the 22nd is the start in clock ticks after the boot.
        fields = pathlib.Path('/proc/self/stat').read_bytes().rpartition(b')')[2].split()
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf('SC_CLK_TCK')
    except (OSError, ValueError, IndexError, AttributeError):
        age = 0.0
    return time.monotonic() - age

"""The processor and the accelerators of this machine, by what the system says. No TensorFlow here."""

import os
import pathlib
import platform
import re


def processor() -> str:
    """The processor's name; at least its architecture."""
    match = re.search(r'^model name\s*:\s*(.+)$', read('/proc/cpuinfo'), re.MULTILINE)
    return match[1] if match else platform.processor() or platform.machine()


def usable_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def accelerators(proc: str = '/proc', dev: str = '/dev') -> tuple[str, ...]:
    """The names of NVIDIA GPUs with a driver, without those that CUDA_VISIBLE_DEVICES hides, and of TPUs.

    TensorFlow sees these if it has the libraries for them; `polyvit doctor` asks it.
    """
    files = sorted(pathlib.Path(proc).glob('driver/nvidia/gpus/*/information'))
    found = [re.search(r'^Model:\s*(.+)$', read(file), re.MULTILINE) for file in files]
    gpus = [match[1] if match else 'NVIDIA GPU' for match in found]
    visible = os.environ.get('CUDA_VISIBLE_DEVICES')
    if visible is not None:
        shown = [name for name in visible.split(',') if name.strip()]
        gpus = [] if '-1' in shown else gpus[:len(shown)]
    return (*gpus, *('TPU chip' for _ in pathlib.Path(dev).glob('accel[0-9]*')))


def read(path: str | os.PathLike) -> str:
    """The text of a file; '' if it cannot be read."""
    try:
        return pathlib.Path(path).read_text(encoding='utf-8')
    except OSError:
        return ''

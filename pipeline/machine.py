"""This machine: its processor, memory and accelerators, and how fast it multiplies matrices. Without TensorFlow."""

import dataclasses
import math
import time

import psutil
from humanize import naturalsize

from model_code import words
from model_code.flops import CORE_RATE
from model_code.hardware import accelerators, processor, usable_cores

SIDE = 512  # of the matrices that are multiplied


@dataclasses.dataclass(frozen=True)
class Machine:
    """processor: its name. cores: those that this process may use. memory: in bytes. accelerators: their names.

    product_rate: FLOP/s of a float32 matrix product on the cores together. measured: whether that is not assumed.
    load: how many processes ran or waited for a core in the last minute.
    """
    processor: str
    cores: int
    memory: int
    accelerators: tuple[str, ...]
    product_rate: float
    measured: bool
    load: float = 0.0

    def __str__(self):
        """'AMD EPYC, 2 cores, 25.3 GB of memory, no accelerator'."""
        accelerators = ', '.join(self.accelerators) or 'no accelerator'
        return (f'{self.processor}, {words.count(self.cores, "core")}, {naturalsize(self.memory)} of memory, '
                f'{accelerators}')


def this_machine(measure: bool = False) -> Machine:
    """measure: whether to measure the product, which takes a second, instead of assuming CORE_RATE for each core."""
    cores = usable_cores()
    load = psutil.getloadavg()[0]
    return Machine(processor(), cores, psutil.virtual_memory().total, accelerators(),
                   measured_rate() if measure else cores * CORE_RATE, measure, load)


def measured_rate(seconds: float = 1.0) -> float:
    """FLOP/s of numpy's float32 matrix product on all cores: of the fastest product within `seconds`.

    The fastest, because other programs slow down a short product far more than a long training. TensorFlow's product is
    as fast to within a tenth (174 and 185 GFLOP/s on two cores of an AMD EPYC), and its import alone takes seconds.
    """
    import numpy as np
    matrix = np.random.default_rng(0).random((SIDE, SIDE), np.float32)
    fastest, end = math.inf, time.perf_counter() + seconds
    while fastest == math.inf or time.perf_counter() < end:
        begin = time.perf_counter()
        np.matmul(matrix, matrix)
        fastest = min(fastest, time.perf_counter() - begin)
    return 2 * SIDE ** 3 / fastest

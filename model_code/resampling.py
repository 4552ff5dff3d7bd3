"""The resampler of sounds: soxr at its highest quality. Ingest runs it, and the exported graph has its filter.

Between two rates whose ratio is L / M this quality is an exact filter: linear, and the same after every M samples. So
its answers to M impulses say all of it. The graph multiplies with a matrix of them, and gives the samples of ingest,
which it would not in soxr's usual quality: that computes in float32, and its rounding depends on the samples around.
"""

import functools
import math

import numpy as np
import soxr

from model_code.modalities import SOUND_RATE

RATE = SOUND_RATE  # Hz, of what comes out
_REACH = 140  # samples of the lower rate, before and after, beyond which the filter is less than 1e-11
_LEAST_OUTPUTS = 64  # of one product with the matrix


class Stream:
    """Resamples one sound from `rate` Hz, block by block."""

    def __init__(self, rate: int):
        self._soxr = soxr.ResampleStream(rate, RATE, 1, dtype='float64', quality='VHQ')
        # soxr leaves out a part of its filter at the very first samples. So silence comes before them.
        divisor = math.gcd(rate, RATE)
        repeats = math.ceil(2 * _REACH * max(1.0, rate / RATE) * divisor / rate)
        self._before, self._skipped = repeats * rate // divisor, repeats * RATE // divisor

    def chunk(self, samples: np.ndarray, last: bool = False) -> np.ndarray:
        """A block of samples of any float type, [n] -> what is ready, [m] float64 at 16 kHz."""
        samples = np.concatenate([np.zeros(self._before), samples])
        self._before = 0
        ready = self._soxr.resample_chunk(samples, last=last)
        skipped = min(self._skipped, len(ready))
        self._skipped -= skipped
        return ready[skipped:]


def block(rate: int) -> tuple[int, int, int]:
    """(inputs, outputs, inputs before and after that count as well) of one product with `matrix(rate)`."""
    divisor = math.gcd(rate, RATE)
    repeats = math.ceil(_LEAST_OUTPUTS * divisor / RATE)
    return repeats * rate // divisor, repeats * RATE // divisor, math.ceil(_REACH * max(1.0, rate / RATE))


@functools.cache
def matrix(rate: int) -> np.ndarray:
    """[before + inputs + after, outputs] float64: samples of a block, and those around it, to samples at 16 kHz."""
    inputs, outputs, around = block(rate)
    divisor = math.gcd(rate, RATE)
    period, answers = rate // divisor, RATE // divisor
    first = math.ceil(2 * around / period) + inputs // period  # periods before and after the impulses
    impulses = np.zeros(((2 * first + 1) * period, period))
    impulses[first * period + np.arange(period), np.arange(period)] = 1.0
    response = soxr.resample(impulses, rate, RATE, quality='VHQ')
    periods, phases = np.divmod(np.arange(-around, inputs + around), period)
    times = first * answers + np.arange(outputs) - periods[:, np.newaxis] * answers
    result = response[times, phases[:, np.newaxis]]
    result.flags.writeable = False  # it is kept
    return result

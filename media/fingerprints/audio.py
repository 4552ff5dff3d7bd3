"""The loudness of sounds."""

import math

import numpy as np


def loudness_dbfs(samples: np.ndarray) -> float:
    """The RMS of int16 [samples] in dBFS, where a square wave at full scale has 0 dBFS, and a sine -3 dBFS.

    At least -100, which stands for digital silence: the least sound that 16 bits hold has -90 dBFS.
    """
    mean_square = float(np.mean(np.square(samples, dtype=np.float32)))
    return max(-100.0, 10 * math.log10(mean_square / 32768 ** 2)) if mean_square else -100.0

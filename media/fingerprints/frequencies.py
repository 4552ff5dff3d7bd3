"""Cosine transforms of few frequencies, as matrices: for all the small pictures that are hashed, faster than an FFT."""

import functools

import numpy as np


@functools.cache
def cosines(side: int, count: int) -> np.ndarray:
    """[count, side] float32: `cosines @ column` are the lowest `count` frequencies of [side] values.

    It is the DCT-II, scaled to keep lengths. SciPy, which has it as an FFT, takes longer to import than a thousand
    small images take to decode.
    """
    frequency, place = np.arange(count)[:, np.newaxis], np.arange(side) + 0.5
    waves = np.cos(np.pi / side * frequency * place) * np.sqrt(2 / side)
    waves[0] /= np.sqrt(2)
    return waves.astype(np.float32)


@functools.cache
def lowest(side: int, count: int) -> np.ndarray:
    """[count], the places of the lowest frequencies but the mean in [side * side] of them, the lowest first."""
    step = np.arange(side)
    return np.argsort((step[:, np.newaxis] ** 2 + step ** 2 + 1e-3 * step).ravel(), kind='stable')[1:count + 1]


def signs(frequencies: np.ndarray) -> np.ndarray:
    """[..., 64] -> [...] uint64: a bit is 1 if its frequency is positive. Bit 0 is the first."""
    return np.packbits(np.ascontiguousarray(frequencies > 0), axis=-1, bitorder='little').view('<u8')[..., 0]

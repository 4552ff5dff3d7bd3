"""Class weights by inverse frequency, shared by the label kinds. numpy only."""

import numpy as np


def inverse(counts: np.ndarray) -> np.ndarray:
    """[classes] counts of examples -> [classes] float32 weights, whose mean over the examples is 1.

    A class without examples has the weight 0.
    """
    present = np.count_nonzero(counts)
    return np.divide(counts.sum(), counts * present, out=np.zeros(len(counts)), where=counts > 0).astype(np.float32)


def inverse_by_group(counts: np.ndarray, groups: tuple[tuple[int, ...], ...]) -> np.ndarray:
    """As `inverse`, for the classes of each group by themselves."""
    weights = np.zeros(len(counts), np.float32)
    for ids in map(list, groups):
        weights[ids] = inverse(counts[ids])
    return weights


def inverse_of_present_and_absent(counts: np.ndarray, examples: int) -> np.ndarray:
    """[classes] counts -> [2, classes] float32: of each class, `inverse` of those with it and those without."""
    return np.stack([inverse(np.array([count, examples - count])) for count in counts], axis=1)

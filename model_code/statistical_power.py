"""How small a drop an eval split can tell from chance, before anything is trained. Knows no NumPy.

Two models that answer the same n examples are compared by the examples on which only one of them is right. If that is a
share d of all (the disagreement), the difference of their accuracies has a standard deviation of about sqrt(d / n). A
one-sided test at 5% has a power of 80% against a drop of (z_0.95 + z_0.80) * sqrt(d / n) (Connor 1987, "Sample size for
testing differences in proportions for the paired-sample design", without what it takes off for large drops). For
metrics other than accuracy it is a rough guide.
"""

import math
import statistics

ALPHA, POWER, DISAGREEMENT = 0.05, 0.8, 0.1

_Z = sum(map(statistics.NormalDist().inv_cdf, (1 - ALPHA, POWER)))


def smallest_drop(units: int) -> float:
    """The smallest drop of accuracy, from 0 to 1, that so many independent units can tell.

    units: examples; or groups, if the examples of a group are all right or all wrong together. Raises ValueError for
    less than one.
    """
    if units < 1:
        raise ValueError(f'{units} units; there must be at least one.')
    return _Z * math.sqrt(DISAGREEMENT / units)


def units_needed(drop: float) -> int:
    """How many independent units it takes to tell a drop, over 0 and at most 1."""
    return math.ceil(DISAGREEMENT * (_Z / drop) ** 2)

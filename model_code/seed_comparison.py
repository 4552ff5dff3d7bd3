"""What a metric is over several trainings, and how two ways to train differ: over seeds and over examples.

Every training of the study has answered the same eval examples. Its metric would be another one with another seed, and
with other examples; both count. With S seeds and a metric d_s of each, the mean over the seeds has the variance

    V = V_examples + V_seeds - V_both

V_examples: of the mean over the seeds in resamples of the examples, in whole clusters (bootstrap.py), times
G / (G - 1) for G clusters. V_seeds: the sample variance of the d_s, over S. Both hold what depends on example and seed
together (one training gets this example right, another does not), which would count twice. So that is taken off once:
V_both is (the mean over the seeds of the variance of d_s in the resamples, less V_examples) / (S - 1). These are the
estimates of two crossed random effects (Owen 2007, "The pigeonhole bootstrap", Ann. Appl. Stat. 1). V is never taken
to be less than the larger of the two.

The interval is that of Student's t with the degrees of freedom of Satterthwaite 1946 (G - 1 and S - 1 for the parts),
widened by one example as in non_inferiority.py: trainings that agree on all examples are not proved equal. A difference
is paired: of the same seeds, in the same resamples. numpy only.

Few seeds say little of how seeds differ, so intervals are wide. In simulated studies of 150 examples without a
difference, 1% to 5% of those of 3 seeds do not have 0 in them; of 2 seeds 2%, but 9% where seeds differ very much.
"""

import dataclasses
import math
import statistics
import typing
from collections.abc import Callable, Sequence

import numpy as np

from model_code import bootstrap

Verdict = typing.Literal['gains', 'loses', 'cannot_tell']

POWER = 0.8  # the chance with which a study of a needed size tells a difference that is as large as the observed one
MOST_SEEDS, MOST_UNITS = 1000, 10_000_000
_MOST_NAN = 0.05  # as in bootstrap.py


@dataclasses.dataclass(frozen=True)
class Spread:
    """A mean over seeds with its interval. low, high: None if it has none.

    by_examples, by_seeds: the two parts of its variance. by_both: V_both, which is in by_examples. examples, clusters,
    seeds: how many. half_width: of the interval before the bounds of the metric cut it; nan if it has none.
    """
    value: float
    low: float | None
    high: float | None
    by_examples: float
    by_seeds: float
    by_both: float
    examples: int
    clusters: int
    seeds: int
    half_width: float = math.nan

    @property
    def verdict(self) -> Verdict:
        """Of a difference: on which side of 0 its whole interval is."""
        if self.low is None or self.high is None:
            return 'cannot_tell'
        return 'gains' if self.low > 0 else 'loses' if self.high < 0 else 'cannot_tell'


def spread(values: Sequence[float], resamples: np.ndarray, examples: int, clusters: int,
           bounds: tuple[float, float] = (-math.inf, math.inf)) -> Spread:
    """values: [S], the metric (or a difference of two) of each seed. resamples: [S, R], the same in each resample.

    bounds: what the metric, or the difference, can be. There is no interval with fewer than 2 seeds or 2 clusters, or
    if a value is not finite.
    """
    seeds, value = len(values), float(np.mean(values))
    known = np.asarray(resamples, np.float64)
    known = known[:, np.isfinite(known).all(axis=0)]
    enough = known.shape[1] >= max(2, (1 - _MOST_NAN) * np.shape(resamples)[1])
    if seeds < 2 or clusters < 2 or not math.isfinite(value) or not enough:
        return Spread(value, None, None, math.nan, math.nan, math.nan, examples, clusters, seeds)
    mended = clusters / (clusters - 1)
    by_examples = mended * float(np.var(known.mean(axis=0), ddof=1))
    by_seeds = float(np.var(values, ddof=1)) / seeds
    both = (mended * float(np.var(known, axis=1, ddof=1).mean()) - by_examples) / (seeds - 1)
    both = min(max(0.0, both), by_examples)  # of which it is a part
    seeds_alone = max(0.0, by_seeds - both, by_seeds - by_examples)
    half = _half_width(by_examples, seeds_alone, by_seeds, examples, clusters, seeds)
    return Spread(value, max(bounds[0], value - half), min(bounds[1], value + half), by_examples, seeds_alone, both,
                  examples, clusters, seeds, half)


def seeds_needed(found: Spread) -> int | None:
    """How many seeds would tell a difference as large as this one, with these examples; None if no number would."""
    return _least(found.seeds, MOST_SEEDS, lambda seeds: _tells(found, found.clusters, seeds))


def clusters_needed(found: Spread) -> int | None:
    """How many clusters of eval examples would tell a difference as large as this one, with these seeds; or None."""
    return _least(found.clusters, MOST_UNITS, lambda clusters: _tells(found, clusters, found.seeds))


def _tells(found: Spread, clusters: int, seeds: int) -> bool:
    more, examples = clusters / found.clusters, round(found.examples * clusters / found.clusters)
    by_examples, by_seeds, both = (
        found.by_examples / more, found.by_seeds * found.seeds / seeds, found.by_both / more * found.seeds / seeds)
    power = statistics.NormalDist().inv_cdf(POWER) * math.sqrt(by_examples + by_seeds)
    return _half_width(by_examples, by_seeds, by_seeds + both, examples, clusters, seeds) + power <= abs(found.value)


def _least(low: int, most: int, enough: Callable[[int], bool]) -> int | None:
    """The least number from `low` to `most` that is enough, where all larger ones are too; None if `most` is not."""
    if not enough(most):
        return None
    while low < most:
        middle = (low + most) // 2
        low, most = (low, middle) if enough(middle) else (middle + 1, most)
    return most


def _half_width(by_examples: float, seeds_alone: float, by_seeds: float, examples: int, clusters: int, seeds: int
                ) -> float:
    """by_seeds: the sample variance that seeds_alone was taken from, for the degrees of freedom."""
    total, correction = by_examples + seeds_alone, 1 / examples
    parts = by_examples ** 2 / (clusters - 1) + by_seeds ** 2 / (seeds - 1)
    freedom = max(1.0, min(total ** 2 / parts, clusters + seeds - 2)) if parts else float(clusters + seeds - 2)
    quantile = bootstrap.student_t((1 + bootstrap.CONFIDENCE) / 2, freedom)
    return correction + quantile * math.sqrt(total + correction ** 2)

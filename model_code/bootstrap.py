"""Intervals of metrics by the bootstrap, for examples that come in clusters.

Examples of one group (a speaker, a scene, a source file) are alike: 48 clips of 4 scenes tell hardly more than 4 clips.
So whole groups are resampled, not examples: the randomised cluster bootstrap of Field and Welsh 2007, "Bootstrapping
clustered data" (J. R. Statist. Soc. B 69). An example without a group is a cluster of its own; if all are, this is the
ordinary bootstrap (Efron and Tibshirani 1993, "An Introduction to the Bootstrap").

A resample draws as many clusters as there are, with replacement: an example has the weight of how often its cluster was
drawn. The seed is fixed, and clusters are numbered by name, so the order of the examples does not matter, and all
metrics of both models are computed on the same resamples: differences are paired. Resamples are made anew by every
call, in chunks, which costs less than to keep them.

The percentiles of the resamples are too narrow an interval for few clusters: resampling makes the variance (G - 1) / G
of what it should be for G clusters, and the normal distribution has thinner tails than Student's. `interval` takes
percentiles further out, as in the expanded percentile interval of Hesterberg 2015, "What Teachers Should Know About the
Bootstrap" (The American Statistician 69): the level alpha / 2 becomes that at which a normal variable has
the value t(alpha / 2, G - 1) sqrt(G / (G - 1)). So it stays in the range of the metric and may be skewed. numpy only.
"""

import functools
import itertools
import math
import statistics
import typing
from collections.abc import Iterator, Sequence

import numpy as np

from model_code.outcome_metrics import Sums, Weighted

RESAMPLES = 2000
CONFIDENCE = 0.95
_SEED = 20_070
_CHUNK = 20  # resamples made at once: 20 x clusters x 16 bytes
_WEIGHTS_BYTES = 64 * 2 ** 20  # weights [N, r] of 1 byte that a Weighted metric gets at once
# Without an interval if the metric is NaN in a larger share of the resamples: of the rest it would be of another thing.
_MOST_NAN = 0.05


class Clusters(typing.NamedTuple):
    """Which examples belong together."""
    numbers: np.ndarray
    """[N] int64: the number of each example's cluster."""
    count: int
    """How many clusters there are."""


def clusters(ids: Sequence[str], groups: Sequence[str]) -> Clusters:
    """One cluster for each group, and for each example whose group is ''. ids, groups: [N] of str."""
    keys = [(group, '') if group else ('', example_id) for example_id, group in zip(ids, groups, strict=True)]
    number_of = {key: number for number, key in enumerate(sorted(set(keys)))}
    return Clusters(np.array([number_of[key] for key in keys], np.int64), len(number_of))


def draws(count: int) -> Iterator[np.ndarray]:
    """Yields RESAMPLES resamples of `count` clusters, in chunks [r, count] uint8: how often each was drawn."""
    for chunk in range(RESAMPLES // _CHUNK):
        rng = np.random.default_rng([_SEED, chunk])
        drawn = rng.integers(0, count, (_CHUNK, count)) + count * np.arange(_CHUNK)[:, None]
        # That one of more than 255 clusters is drawn more than 255 times does not happen (p < 1e-500).
        yield np.bincount(drawn.ravel(), minlength=_CHUNK * count).reshape(_CHUNK, count).astype(np.uint8)


def resampled(metric: Sums | Weighted, grouping: Clusters) -> np.ndarray:
    """[RESAMPLES] float64: the metric in each resample; NaN without examples."""
    return resampled_together([metric], grouping)[0]


def resampled_together(metrics: Sequence[Sums | Weighted], grouping: Clusters) -> list[np.ndarray]:
    """`resampled` of each metric. To draw takes longer than most metrics, so the resamples are drawn once for all."""
    if not grouping.count:
        return [np.full(RESAMPLES, np.nan) for _ in metrics]
    sums = {place: _by_cluster(metric.values, grouping) for place, metric in enumerate(metrics)
            if isinstance(metric, Sums)}
    values: list[list[np.ndarray]] = [[] for _ in metrics]
    drawn = draws(grouping.count)
    while some := list(itertools.islice(drawn, max(1, _WEIGHTS_BYTES // (_CHUNK * len(grouping.numbers))))):
        for chunk in some:
            weights = chunk.astype(np.float64)
            for place, its_sums in sums.items():
                values[place].append(metrics[place].function(weights @ its_sums))
        if len(sums) < len(metrics):
            weights = np.ascontiguousarray(np.concatenate(some).T)[grouping.numbers]
            for place, metric in enumerate(metrics):
                if place not in sums:
                    values[place].append(metric.function(weights))
    return [np.concatenate(its).astype(np.float64) for its in values]


def _by_cluster(values: np.ndarray, grouping: Clusters) -> np.ndarray:
    """[N, k] -> [clusters, k] float64: the sums over the examples of each cluster."""
    order = np.argsort(grouping.numbers, kind='stable')
    starts = np.searchsorted(grouping.numbers[order], np.arange(grouping.count))
    return np.add.reduceat(values[order], starts, axis=0, dtype=np.float64)


def interval(value: float, values: np.ndarray, count: int, bounds: tuple[float, float] | None = None
             ) -> tuple[float, float] | None:
    """The limits of the CONFIDENCE interval of a metric; None if it has none.

    value: the metric over the examples. values: it, or a difference of two, in each resample. count: of clusters.
    One cluster has no interval: nothing shows how another would differ.
    bounds: the least and the largest value that the metric can have. Where all clusters are alike (each example right,
    or no difference), all resamples are equal, yet that is no certainty. Then a share of up to 1 - (alpha / 2) ** (1 /
    count) of all clusters may be at a bound and none of them among these: the interval of Clopper and Pearson 1934 for
    no event among `count`, which for 95% is 3.7 / count.
    """
    known = values[~np.isnan(values)]
    if count < 2 or math.isnan(value) or len(known) < (1 - _MOST_NAN) * len(values):
        return None
    tail = (1 - CONFIDENCE) / 2
    outer = _expanded(tail, count)
    low, high = np.quantile(known, [outer, 1 - outer])
    if bounds and np.ptp(known) < 1e-12:
        unseen = 1 - tail ** (1 / count)
        low, high = value - unseen * (value - bounds[0]), value + unseen * (bounds[1] - value)
    return float(low), float(high)


@functools.lru_cache
def _expanded(tail: float, count: int) -> float:
    """The share of resamples beyond a limit, for `tail` of the distribution: see the module. count: of clusters."""
    return statistics.NormalDist().cdf(-student_t(1 - tail, count - 1) * math.sqrt(count / (count - 1)))


def student_t(probability: float, freedom: float) -> float:
    """The quantile of Student's t distribution, to 4 digits. probability: between 0.5 and 1.

    With t = sqrt(freedom) tan(a), the density is proportional to cos(a) ** (freedom - 1), which is summed.
    """
    if freedom > 10_000:
        return statistics.NormalDist().inv_cdf(probability)
    angles = np.linspace(0, math.pi / 2, 100_001)
    density = np.cos(angles) ** (freedom - 1)
    below = np.append(0, np.cumsum((density[1:] + density[:-1]) / 2))
    return math.sqrt(freedom) * math.tan(np.interp(2 * probability - 1, below / below[-1], angles))

"""Is a new model worse than the one being served, by more than a margin? Not worse, worse, or cannot tell.

Both models answered the same examples, and their metric was taken again of many resamples of these examples, in whole
clusters (of one speaker, of one scene), the same ones for both models. The spread of the differences is the standard
error of the observed change, whatever the metric is.

Two one-sided tests at ALPHA, each against the margin m (Schuirmann 1987; non-inferiority in trials: Piaggio et al.
2012):
- 'not_worse': the hypothesis that the change is -m or less is rejected, so its lower bound is above -m.
- 'worse': the hypothesis that the change is -m or more is rejected, so its upper bound is below -m.
- 'cannot_tell' otherwise: there are too few examples for either.

Where Holm's correction belongs. A model is blessed as not worse only if it is so in every comparison (task, slice). A
model that is worse in one of them must pass that one comparison, which it does with probability ALPHA, however many
others there are: an intersection-union test needs no correction (Berger 1982), and one would only refuse more good
models. A model is refused as soon as one comparison says 'worse', so chances of a false refusal add up over
comparisons: there the p-values are corrected (Holm 1979), and false refusals stay at ALPHA for all together.

Small samples. Three things keep the error rates where examples are few, and vanish where there are many. Student's t
with clusters - 1 degrees of freedom stands for the normal distribution. The variance, which resampling takes too small
by (clusters - 1) / clusters, is mended (both: Hesterberg 2015). And the change must pass the margin by 1 / examples
more, with 1 / examples² more variance: as if one more example had gone the other way. Without clusters this is
McNemar's test of accuracies with Edwards' correction (1948). Without it, two models that agree on all of 48 examples
would be "proved" equal, though one of them may be wrong in 6% of all cases that the other gets right: they agree on 48
one time in twenty.
"""

import dataclasses
import functools
import math
import typing
from collections.abc import Sequence

import numpy as np

ALPHA = 0.05

Outcome = typing.Literal['not_worse', 'worse', 'cannot_tell']


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One metric of two models, in one slice.

    change: candidate - baseline, observed. low, high: its one-sided bounds, each at 1 - ALPHA; NaN if unknown.
    p_not_worse, p_worse: of the two tests, not corrected; 1 if unknown.
    """
    change: float
    low: float
    high: float
    p_not_worse: float
    p_worse: float


def compare(value: float, baseline: float, resamples: np.ndarray, baseline_resamples: np.ndarray, examples: int,
            clusters: int, max_drop: float) -> Comparison:
    """The comparison of two models whose metric was observed as value and baseline.

    resamples, baseline_resamples: [R] float, the metric in the same resamples of the clusters. examples, clusters: how
    many there are. max_drop: the margin, at least 0. Nothing is known of fewer than 2 clusters, or if a number is not
    finite: then the bounds are NaN and both p-values 1.
    """
    change = value - baseline
    differences = np.asarray(resamples, np.float64) - np.asarray(baseline_resamples, np.float64)
    if clusters < 2 or len(differences) < 2 or not np.isfinite(differences).all() or not math.isfinite(change):
        return Comparison(change, math.nan, math.nan, 1.0, 1.0)
    correction, freedom = 1 / examples, clusters - 1
    variance = float(np.var(differences, ddof=1)) * clusters / freedom
    error = math.sqrt(variance + correction ** 2)
    margin = correction + _upper(freedom) * error
    return Comparison(change, change - margin, change + margin,
                      p_not_worse=_t_below((correction - change - max_drop) / error, freedom),
                      p_worse=_t_below((correction + change + max_drop) / error, freedom))


def outcomes(comparisons: Sequence[Comparison]) -> list[Outcome]:
    """The outcome of each of the comparisons that decide on one model together."""
    return ['worse' if p_worse <= ALPHA else 'not_worse' if comparison.p_not_worse <= ALPHA else 'cannot_tell'
            for comparison, p_worse in zip(comparisons, holm([c.p_worse for c in comparisons]), strict=True)]


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's corrected p-values, in the order given. Rejecting those up to ALPHA is wrong anywhere with that chance."""
    result, largest = [1.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, p_values[place] * (len(p_values) - rank)))
        result[place] = largest
    return result


@functools.cache
def _upper(freedom: int) -> float:
    """The value above which Student's t is with the probability ALPHA, by bisection."""
    low, high = 0.0, 10.0  # of one degree of freedom it is 6.31
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if _t_below(-middle, freedom) > ALPHA else (low, middle)
    return high


def _t_below(t: float, freedom: int) -> float:
    """The probability that Student's t is at most t, to 1e-6. freedom: its degrees of freedom, at least 1."""
    # With x = atan(t / sqrt(freedom)), the density is a constant times cos(x)^(freedom - 1).
    end = math.atan(abs(t) / math.sqrt(freedom))
    x = np.linspace(0.0, end, 2001)
    heights = np.exp((freedom - 1) * np.log(np.cos(x)))
    area = float(np.sum((heights[1:] + heights[:-1]) / 2) * (x[1] - x[0]))
    area *= math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(math.pi)
    return min(1.0, 0.5 + area) if t > 0 else max(0.0, 0.5 - area)

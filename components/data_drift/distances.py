"""How far the data of two statistics are apart, by TFDV's comparators, and what chance alone would make of it."""

import dataclasses
import math

import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from components.data_drift.statistics import numeric

# Histograms of two samples of the same data differ by chance. 8 ln 2 times the divergence of two histograms, divided by
# 1/n + 1/m for samples of n and m, has a chi-squared distribution. Of its 19 degrees of freedom, those of the up to
# 20 buckets of two of TFDV's histograms, 99.9% are below 43.8. Half as much again, because examples are seldom
# independent: several come from one scene or one speaker.
_CHANCE = 1.5 * 43.8 / (8 * math.log(2))
_STANDARD_ERRORS = 4  # of a share: chance exceeds it once in 16,000 times

HISTOGRAMS = (schema_pb2.HistogramSelection.STANDARD, schema_pb2.HistogramSelection.QUANTILES)


@dataclasses.dataclass(frozen=True)
class Distance:
    """How far a feature's values are apart, from 0 to 1, and what chance alone may make of it."""
    value: float
    chance: float

    def exceeds(self, allowed: float) -> bool:
        """Whether it is more than what is allowed and what may be chance."""
        return self.value > max(allowed, self.chance)


def between(old: statistics_pb2.DatasetFeatureStatisticsList, new: statistics_pb2.DatasetFeatureStatisticsList
            ) -> dict[str, Distance]:
    """Feature -> distance, of all numeric features that both have: the Jensen-Shannon divergence (base 2).

    It is the smaller one of those of TFDV's two kinds of histograms. Buckets of equal width lie wrong where one value
    is far from all others; quantiles, where many values are equal. Each then exaggerates, but not both.
    """
    before, now = numeric(old), numeric(new)
    names = [name for name in now if name in before]
    measured = [measure(old, new, names, histogram) for histogram in HISTOGRAMS]
    return {name: Distance(min(values[name] for values in measured),
                           chance(before[name].common_stats.num_non_missing, now[name].common_stats.num_non_missing))
            for name in names if all(name in values for values in measured)}


def chance(n: int, m: int) -> float:
    """What the divergence of two samples of the same data stays below, almost certainly; more than 1 for few."""
    return _CHANCE * (1 / n + 1 / m)


def share_chance(share: float, n: int, m: int) -> float:
    """By how much a share of this size may differ by chance in samples of n and m."""
    return _STANDARD_ERRORS * math.sqrt(share * (1 - share) * (1 / n + 1 / m))


def measure(old: statistics_pb2.DatasetFeatureStatisticsList, new: statistics_pb2.DatasetFeatureStatisticsList,
            features: list[str], histogram: int) -> dict[str, float]:
    """Feature -> its drift as TFDV measures it, by one kind of histogram (schema_pb2.HistogramSelection.Type)."""
    schema = schema_pb2.Schema()
    for name in features:
        # Of an unknown type TFDV measures nothing. Which numeric type it is makes no difference here.
        feature = schema.feature.add(name=name, type=schema_pb2.FLOAT)
        comparator = feature.drift_comparator.jensen_shannon_divergence
        comparator.threshold, comparator.source.type = 1.0, histogram
    anomalies = tfdv.validate_statistics(new, schema, previous_statistics=old)
    return {'.'.join(info.path.step): info.drift_measurements[0].value for info in anomalies.drift_skew_info
            if info.drift_measurements}

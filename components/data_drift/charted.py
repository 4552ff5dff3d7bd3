"""The distributions of old and new data in numbers that a chart can show side by side: shares of buckets and labels."""

from tensorflow_metadata.proto.v0 import statistics_pb2

from components.data_drift.feature_words import words_of
from components.data_drift.statistics import TaskData, numeric
from media.entries import SPLITS

BINS = 24
MAX_LABELS = 12  # of a chart: those whose shares changed the most


def of_task(old: TaskData | None, new: TaskData, split: str = SPLITS[0]) -> dict:
    """{'features': [{'name', 'title', 'edges': [BINS + 1], 'old': [BINS] or None, 'new': [BINS], 'old_mean',
    'new_mean'}], 'labels': [(label, old share, new share)]} of a split, the most changed labels first. Shares add up
    to 1.

    old: None where there is nothing to compare with. A feature that the old data lack is left out.
    """
    if old is None or not all(split in data.statistics for data in (old, new)):
        return {'features': [], 'labels': []}
    before, now = numeric(old.statistics[split]), numeric(new.statistics[split])
    features = []
    for name, statistics in now.items():
        if name in before:
            edges = _edges(before[name], statistics)
            features.append({'name': name, 'title': words_of(name).title, 'edges': edges,
                             'old': _shares(before[name], edges), 'new': _shares(statistics, edges),
                             'old_mean': before[name].mean, 'new_mean': statistics.mean})
    labels = sorted(label_shares(old, new, split), key=lambda row: (-abs(row[2] - row[1]), row[0]))
    return {'features': features, 'labels': labels[:MAX_LABELS]}


def label_shares(old: TaskData, new: TaskData, split: str) -> list[tuple[str, float, float]]:
    """(label, its share of the old labels, of the new ones) of a split; [] if either has none."""
    totals = [sum(counts.get(split, 0) for counts in data.labels.values()) for data in (old, new)]
    if not all(totals):
        return []
    return [(label, *(data.labels.get(label, {}).get(split, 0) / total
                      for data, total in zip((old, new), totals, strict=True)))
            for label in sorted({*old.labels, *new.labels})]


def _edges(*statistics: statistics_pb2.NumericStatistics) -> list[float]:
    """The bounds of equal bins over the values of all. Values far from the rest do not widen them."""
    lows, highs = [], []
    for one in statistics:
        inner = [bucket for h in one.histograms if h.type == statistics_pb2.Histogram.QUANTILES for bucket in h.buckets]
        low, high = (inner[0].high_value, inner[-1].low_value) if inner else (one.min, one.max)
        lows.append(max(one.min, low - (high - low)))
        highs.append(min(one.max, high + (high - low)))
    low, high = min(lows), max(highs)
    if low >= high:
        low, high = low - 0.5, low + 0.5
    return [low + (high - low) * i / BINS for i in range(BINS + 1)]


def _shares(statistics: statistics_pb2.NumericStatistics, edges: list[float]) -> list[float]:
    """The share of the values in each bin, by the histogram of equal widths. What is outside is in the outer bins."""
    bins, width = [0.0] * BINS, edges[1] - edges[0]

    def place(value: float) -> int:
        return min(max(int((value - edges[0]) / width), 0), BINS - 1)

    for histogram in statistics.histograms:
        if histogram.type != statistics_pb2.Histogram.STANDARD:
            continue
        for bucket in histogram.buckets:
            size, first, last = bucket.high_value - bucket.low_value, place(bucket.low_value), place(bucket.high_value)
            if first == last or size <= 0:
                bins[first] += bucket.sample_count
                continue
            for i in range(first, last + 1):
                low = bucket.low_value if i == first else edges[i]
                high = bucket.high_value if i == last else edges[i + 1]
                bins[i] += bucket.sample_count * max(high - low, 0.0) / size
    total = sum(bins)
    return [count / total for count in bins] if total else bins

"""Metrics with intervals, over all examples and over slices of them, from the outcomes of an evaluation.

evaluation_files.py describes what is made. All is computed in one process, in some copies of the outcomes.
"""

import collections
import math
import time
from collections.abc import Iterator, Sequence

import numpy as np

from components.task_evaluator import evaluation_files
from model_code import bootstrap
from model_code.data import Source
from model_code.outcome_metrics import OutcomeMetric
from model_code.outcomes import Outcomes

# With fewer of them, a slice is too small to judge.
LEAST_EXAMPLES, LEAST_CLUSTERS = 30, 5
MOST_VALUES = 50  # of a feature: the most frequent
LOSS = 'loss'
# The edges of bands. An example on an edge is in the upper band.
BANDS = {'short_side': (64, 128, 256, 512, 1024), 'duration_s': (1, 3, 10, 30, 60), 'text_bytes': (64, 256, 1024)}
_UNITS = {'short_side': 'px', 'duration_s': 's', 'text_bytes': 'bytes'}


def summarise(source: Source, classes: tuple[str, ...], outcomes: Outcomes) -> tuple[dict, dict[str, np.ndarray]]:
    """The contents of evaluation.json and of resamples.npz. classes: the model's, in the order of the scores."""
    begin = time.monotonic()
    kind = source.data.kind
    metrics = kind.functions.metrics_of_outcomes(source.data.label_groups, len(classes))
    headlines = [metric for metric in metrics if metric.name in (kind.primary_metric, LOSS)]
    rows, resamples = [], {}
    for number, (feature, value, places) in enumerate(_slices(source, outcomes)):
        chosen = outcomes if places is None else outcomes.take(places)
        clusters = bootstrap.clusters(chosen.ids.tolist(), chosen.groups.tolist())
        row = {'feature': feature, 'value': value, 'examples': len(chosen), 'groups': clusters.count,
               'too_small': len(chosen) < LEAST_EXAMPLES or clusters.count < LEAST_CLUSTERS, 'metrics': {}}
        for metric, entry, kept in _measured(metrics if places is None else headlines, chosen, clusters):
            row['metrics'][metric.name] = entry
            if metric.name == kind.primary_metric:
                resamples |= {f'{number}/{metric.name}/{model}': values for model, values in kept.items()}
        rows.append(row)
    clusters = rows[0]['groups']
    details = kind.functions.details(outcomes, classes, source.data.label_groups)
    return {'version': evaluation_files.VERSION, 'task': source.name, 'label_kind': source.data.label_kind,
            'primary_metric': kind.primary_metric, 'examples': len(outcomes), 'groups': clusters,
            'clustered': clusters < len(outcomes), 'resamples': bootstrap.RESAMPLES,
            'seconds': round(time.monotonic() - begin, 3), 'slices': rows, **details}, resamples


def _measured(metrics: Sequence[OutcomeMetric], outcomes: Outcomes, clusters: bootstrap.Clusters
              ) -> Iterator[tuple[OutcomeMetric, dict, dict[str, np.ndarray]]]:
    """Yields a metric, its entry in a slice, and model -> its value in each resample, if it has an interval."""
    models = {'candidate': outcomes.scores} | (
        {} if outcomes.baseline_scores is None else {'baseline': outcomes.baseline_scores})
    prepared = {(metric.name, model): metric.prepare(outcomes.labels, scores)
                for metric in metrics for model, scores in models.items()}
    wanted = [(metric.name, model) for metric in metrics if metric.interval for model in models]
    resampled = dict(zip(wanted, bootstrap.resampled_together([prepared[of] for of in wanted], clusters), strict=True))
    for metric in metrics:
        values = {model: prepared[metric.name, model].value() for model in models}
        kept = {model: resampled[metric.name, model] for model in models if metric.interval}
        yield metric, _entry(metric, values, kept, clusters.count), kept


def _entry(metric: OutcomeMetric, values: dict[str, float], resampled: dict[str, np.ndarray], clusters: int) -> dict:
    """A metric's entry in a slice. values, resampled: by model, resampled {} without an interval."""
    difference = resampled['candidate'] - resampled['baseline'] if 'baseline' in resampled else None
    bounds = metric.bounds
    spread = bounds and (bounds[0] - bounds[1], bounds[1] - bounds[0])
    baseline = values.get('baseline', math.nan)
    entry = {}
    for name, value, its, limits in (('', values['candidate'], resampled.get('candidate'), bounds),
                                     ('baseline', baseline, resampled.get('baseline'), bounds),
                                     ('change', values['candidate'] - baseline, difference, spread)):
        low, high = (None if its is None else bootstrap.interval(value, its, clusters, limits)) or (None, None)
        prefix = f'{name}_' if name else ''
        entry |= {name or 'value': value if math.isfinite(value) else None, f'{prefix}low': low, f'{prefix}high': high}
    return entry


def _slices(source: Source, outcomes: Outcomes) -> Iterator[tuple[str, str, np.ndarray | None]]:
    """Yields (feature, value, [N] bool), the first of all examples, with None."""
    yield '', '', None
    for name in source.data.columns.extra:
        values = outcomes.features[name]
        counts = collections.Counter(value for value in values.tolist() if value)
        for value, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MOST_VALUES]:
            yield name, value, values == value
    sizes = dict(outcomes.features)
    if 'height' in sizes and 'width' in sizes:
        sizes['short_side'] = np.minimum(sizes['height'], sizes['width'])
    for name, edges in BANDS.items():
        if name in sizes:
            for low, high in zip((-math.inf, *edges), (*edges, math.inf), strict=True):
                band = (sizes[name] >= low) & (sizes[name] < high)
                if band.any():
                    yield name, _band(low, high, _UNITS[name]), band


def _band(low: float, high: float, unit: str) -> str:
    if low == -math.inf:
        return f'under {high:g} {unit}'
    return f'{low:g} {unit} and more' if high == math.inf else f'{low:g} to {high:g} {unit}'

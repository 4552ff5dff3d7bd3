"""Intervals: resamples of clusters, and that nominal 95% covers about that, where examples are alike in clusters."""

import math

import numpy as np
import pytest
import sklearn.metrics

from model_code import bootstrap, outcome_metrics
from model_code.bootstrap import Clusters
from model_code.outcome_metrics import Sums, Weighted


def test_clusters_are_groups_and_single_examples():
    numbers, count = bootstrap.clusters(['x', 'y', 'z', 'w'], ['', 'g', 'x', 'g'])
    assert count == 3 and numbers[1] == numbers[3] and len({numbers[0], numbers[1], numbers[2]}) == 3


def test_resamples_draw_as_many_clusters_as_there_are():
    drawn = np.concatenate(list(bootstrap.draws(7)))
    assert drawn.shape == (bootstrap.RESAMPLES, 7) and (drawn.sum(axis=1) == 7).all()
    # Multinomial: mean 1, variance 1 - 1/7.
    assert drawn.mean(axis=0) == pytest.approx(1, abs=0.1) and drawn.var(axis=0) == pytest.approx(6 / 7, rel=0.15)
    assert len(np.unique(drawn, axis=0)) > 500


def test_the_order_of_examples_does_not_matter():
    rng = np.random.default_rng(0)
    ids, groups = [f'e{i}' for i in range(60)], [f'g{i % 7}' if i % 3 else '' for i in range(60)]
    values = rng.random(60)
    resampled = bootstrap.resampled(outcome_metrics.mean(values), bootstrap.clusters(ids, groups))
    order = rng.permutation(60)
    shuffled = bootstrap.clusters([ids[i] for i in order], [groups[i] for i in order])
    np.testing.assert_allclose(bootstrap.resampled(outcome_metrics.mean(values[order]), shuffled), resampled,
                               rtol=1e-12)


def test_sums_and_weights_agree():
    rng = np.random.default_rng(0)
    metric = outcome_metrics.accuracy(rng.integers(0, 3, 40), rng.random((40, 3)))
    grouping = bootstrap.clusters([str(i) for i in range(40)], [str(i // 3) for i in range(40)])
    weighted = Weighted(40, lambda weights: np.array([metric.value(row) for row in weights.T]))
    np.testing.assert_allclose(bootstrap.resampled(metric, grouping), bootstrap.resampled(weighted, grouping))


def test_each_resample_of_an_average_precision(monkeypatch):
    monkeypatch.setattr(bootstrap, '_WEIGHTS_BYTES', 30 * 60)  # some chunks at once
    rng = np.random.default_rng(0)
    labels, scores = (rng.random((30, 1)) < 0.4).astype(float), np.round(rng.random((30, 1)), 1)
    grouping = bootstrap.clusters([str(i) for i in range(30)], [str(i // 2) for i in range(30)])
    resampled = bootstrap.resampled(outcome_metrics.mean_average_precision(labels, scores), grouping)
    for value, drawn in zip(resampled, np.concatenate(list(bootstrap.draws(grouping.count))), strict=True):
        assert value == pytest.approx(sklearn.metrics.average_precision_score(
            labels[:, 0], scores[:, 0], sample_weight=drawn[grouping.numbers]), abs=1e-12)


def test_no_examples():
    grouping = bootstrap.clusters([], [])
    for metric in (outcome_metrics.mean(np.zeros(0)), Weighted(0, lambda weights: weights[0])):
        assert np.isnan(bootstrap.resampled(metric, grouping)).all()


@pytest.mark.parametrize('freedom, quantile', [(1, 12.7062), (2, 4.3027), (9, 2.2622), (29, 2.0452), (199, 1.9720),
                                               (20_000, 1.9600)])
def test_student_t(freedom, quantile):
    assert bootstrap.student_t(0.975, freedom) == pytest.approx(quantile, abs=2e-4)


def test_intervals_that_are_none_and_those_of_no_variation():
    some = np.random.default_rng(0).random(bootstrap.RESAMPLES)
    assert bootstrap.interval(0.5, some, 1) is None
    assert bootstrap.interval(math.nan, some, 9) is None
    assert bootstrap.interval(0.5, np.where(some < 0.2, np.nan, some), 9) is None
    low, high = bootstrap.interval(0.5, np.where(some < 0.02, np.nan, some), 9)
    assert 0 < low < 0.5 < high < 1
    always = np.ones(bootstrap.RESAMPLES)
    low, high = bootstrap.interval(1.0, always, 30, bounds=(0, 1))
    assert (low, high) == (pytest.approx(0.025 ** (1 / 30)), 1.0) and low == pytest.approx(0.884, abs=1e-3)
    assert bootstrap.interval(0.0, always * 0, 30, bounds=(-1, 1)) == (pytest.approx(low - 1), pytest.approx(1 - low))


def _coverage(sizes, alike, trials=1000):
    """Shares of intervals of a mean, of ours and by resampling examples, that hold the truth.

    alike: the correlation of two examples of a cluster. All trials share the resamples, as all metrics do.
    """
    rng = np.random.default_rng(1)
    count = len(sizes)
    numbers = np.repeat(np.arange(count), sizes)
    values = (math.sqrt(alike) * rng.normal(size=(count, trials))[numbers]
              + math.sqrt(1 - alike) * rng.normal(size=(len(numbers), trials)))
    def covered(grouping):
        resampled = bootstrap.resampled(Sums(np.append(values, np.ones((len(values), 1)), axis=1),
                                             lambda sums: sums[:, :-1] / sums[:, -1:]), grouping)
        limits = [bootstrap.interval(mean, column, grouping.count)
                  for mean, column in zip(values.mean(axis=0), resampled.T, strict=True)]
        return np.mean([low <= 0 <= high for low, high in limits])
    return covered(Clusters(numbers, count)), covered(Clusters(np.arange(len(numbers)), len(numbers)))


@pytest.mark.slow
@pytest.mark.parametrize('count, least', [(10, 0.90), (30, 0.92), (200, 0.93)])
def test_intervals_of_95_percent_cover(count, least):
    """Of uneven clusters, 1 to 12 examples, correlated by 0.4. Examples by themselves would cover under 80%."""
    ours, naive = _coverage(1 + np.arange(count) % 4 * 3 + np.arange(count) % 3, alike=0.4)
    assert least <= ours <= 0.97
    assert naive < 0.80

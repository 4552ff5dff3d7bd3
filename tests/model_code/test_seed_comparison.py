"""Differences over seeds and examples: intervals that hold what they promise, in simulated studies."""

import dataclasses
import math

import numpy as np
import pytest

from model_code import bootstrap, outcome_metrics, seed_comparison

EXAMPLES = 150


def simulated(rng, gain=0.0, seeds=3, seed_spread=0.0, examples=EXAMPLES, cluster_size=1, cluster_spread=0.0):
    """The Spread of the difference of two arms, whose trainings are right with 0.6 and 0.6 + gain.

    seed_spread: the standard deviation of a training's own quality. cluster_spread: of what a cluster gains.
    """
    of_cluster = np.repeat(rng.normal(0, cluster_spread, examples // cluster_size), cluster_size)
    difficulty = rng.normal(0, 0.15, examples)
    right = [[(rng.random(examples) < 0.6 + difficulty + rng.normal(0, seed_spread) + arm * (gain + of_cluster))
              .astype(float) for _ in range(seeds)] for arm in (0, 1)]
    grouping = bootstrap.Clusters(np.arange(examples) // cluster_size, examples // cluster_size)
    metrics = [outcome_metrics.mean(one) for arm in right for one in arm]
    values = np.array([metric.value() for metric in metrics]).reshape(2, seeds)
    resamples = np.array(bootstrap.resampled_together(metrics, grouping)).reshape(2, seeds, -1)
    return seed_comparison.spread(values[1] - values[0], resamples[1] - resamples[0], examples, grouping.count)


@pytest.fixture(autouse=True)
def fewer_resamples(monkeypatch):
    monkeypatch.setattr(bootstrap, 'RESAMPLES', 200)


@pytest.mark.parametrize('case', [
    {}, {'seed_spread': 0.05}, {'cluster_size': 5, 'cluster_spread': 0.2},
    {'seeds': 2, 'seed_spread': 0.03, 'examples': 60}])
def test_without_a_difference_few_studies_see_one(case):
    rng = np.random.default_rng(1)
    verdicts = [simulated(rng, **case).verdict for _ in range(200)]
    # 5% is 10 of 200; of that chance, 20 or more are one in 300.
    assert sum(verdict != 'cannot_tell' for verdict in verdicts) < 20


def test_a_large_difference_is_seen_on_the_right_side():
    rng = np.random.default_rng(2)
    gains = [simulated(rng, 0.25, seed_spread=0.01).verdict for _ in range(30)]
    loses = [simulated(rng, -0.25, seed_spread=0.01).verdict for _ in range(30)]
    assert gains.count('gains') >= 25 and 'loses' not in gains
    assert loses.count('loses') >= 25 and 'gains' not in loses


def test_seeds_that_differ_widen_the_interval_and_so_do_clusters():
    rng = np.random.default_rng(3)
    def width(**case):
        return np.mean([found.high - found.low for found in (simulated(rng, **case) for _ in range(30))])
    plain = width()
    assert width(seed_spread=0.1) > 1.5 * plain
    assert width(cluster_size=10, cluster_spread=0.3) > 1.3 * plain


def spread(values, noise=0.0, examples=100, clusters=100):
    resamples = np.mean(values) + np.random.default_rng(0).normal(0, noise, (len(values), 500))
    return seed_comparison.spread(values, resamples, examples, clusters)


def test_equal_trainings_are_not_proved_equal():
    found = spread([0.0, 0.0, 0.0])
    assert found.value == 0 and found.verdict == 'cannot_tell'
    assert -0.04 < found.low < -0.02 and 0.02 < found.high < 0.04, 'about three examples of a hundred'


def test_one_seed_or_one_cluster_has_no_interval():
    for found in (spread([0.3]), spread([0.3, 0.3], clusters=1), spread([0.3, math.nan])):
        assert (found.low, found.high, found.verdict) == (None, None, 'cannot_tell')


def test_what_would_tell_depends_on_what_varies():
    by_seeds = spread([0.0, 0.02, 0.04], noise=0.001, examples=10_000, clusters=10_000)
    assert by_seeds.verdict == 'cannot_tell'
    assert 4 <= seed_comparison.seeds_needed(by_seeds) <= 30
    assert seed_comparison.clusters_needed(by_seeds) is None, 'three seeds are too few, whatever the examples'
    by_examples = spread([0.02, 0.02, 0.02], noise=0.04, examples=200, clusters=200)
    assert by_examples.verdict == 'cannot_tell'
    assert seed_comparison.clusters_needed(by_examples) > 400
    more = seed_comparison.clusters_needed(spread([0.01, 0.01, 0.01], noise=0.04, examples=200, clusters=200))
    assert more > 2 * seed_comparison.clusters_needed(by_examples)


def test_the_needed_number_of_examples_tells_four_times_in_five():
    rng = np.random.default_rng(5)
    first = simulated(rng, 0.08, examples=100)
    exact = dataclasses.replace(first, value=0.08, by_seeds=0.0)
    needed = seed_comparison.clusters_needed(exact)
    told = [simulated(rng, 0.08, examples=needed).verdict == 'gains' for _ in range(60)]
    assert 0.6 < np.mean(told) < 0.98

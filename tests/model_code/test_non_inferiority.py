"""Not worse, worse, cannot tell, of single cases. tests/test_gate_simulation.py measures how often they are wrong."""

import math
from statistics import NormalDist

import numpy as np
import pytest

from model_code import non_inferiority
from model_code.non_inferiority import ALPHA, Comparison, compare, holm, outcomes


def of_examples(better, worse, examples, max_drop=0.0):
    """Two models that differ in so many of the examples: the candidate alone is right in `better`, wrong in `worse`."""
    drawn = np.random.default_rng(0).multinomial(
        examples, [better / examples, worse / examples, 1 - (better + worse) / examples], 20_000)
    baseline = np.full(len(drawn), 0.5)
    return compare(0.5 + (better - worse) / examples, 0.5, baseline + (drawn[:, 0] - drawn[:, 1]) / examples, baseline,
                   examples, examples, max_drop)


@pytest.mark.parametrize('freedom, t, below', [
    # From printed tables of Student's distribution, and of the normal one.
    (1, 6.313752, 0.95), (5, 2.015048, 0.95), (11, 2.718079, 0.99), (47, 1.677927, 0.95), (10_000_000, 2.326348, 0.99),
    (5, -2.015048, 0.05), (3, 0.0, 0.5), (1, -63.656741, 0.005)])
def test_students_t_is_that_of_the_tables(freedom, t, below):
    if below == 0.95:
        assert non_inferiority._upper(freedom) == pytest.approx(t, abs=1e-4)
    assert non_inferiority._t_below(t, freedom) == pytest.approx(below, abs=1e-6)


@pytest.mark.parametrize('better, worse', [(2, 10), (10, 30), (0, 6), (1, 3), (100, 140)])
def test_without_clusters_it_is_mcnemars_test_with_edwards_correction(better, worse):
    found = of_examples(better, worse, 1_000)
    variance = better + worse + 1  # and one for the cluster more that is counted
    assert found.p_worse == pytest.approx(1 - NormalDist().cdf((worse - better - 1) / math.sqrt(variance)), abs=2e-3)
    differ = better + worse
    exact = sum(math.comb(differ, k) for k in range(better + 1)) / 2 ** differ
    assert found.p_worse > 0.9 * exact  # of the sign test


def test_bounds_and_p_values_say_the_same():
    for better, worse in ((2, 10), (10, 2), (30, 30), (0, 0), (5, 40)):
        found = of_examples(better, worse, 500, max_drop=0.02)
        assert (found.p_not_worse <= ALPHA) == (found.low >= -0.02)
        assert (found.p_worse <= ALPHA) == (found.high <= -0.02)
        assert found.low < found.change < found.high


@pytest.mark.parametrize('better, worse, examples, outcome', [
    (50, 50, 10_000, 'not_worse'), (50, 50, 500, 'cannot_tell'), (0, 30, 500, 'worse'), (10, 20, 500, 'cannot_tell'),
    (0, 0, 48, 'cannot_tell'),  # that 48 answers are equal does not prove that 2% of all are
    (0, 0, 200, 'not_worse')])
def test_the_three_outcomes(better, worse, examples, outcome):
    assert outcomes([of_examples(better, worse, examples, max_drop=0.02)]) == [outcome]


def test_groups_tell_less_than_their_examples():
    rng = np.random.default_rng(1)
    differences = rng.normal(-0.1, 0.05, 2_000)
    few, many = (compare(0.8, 0.9, 0.9 + differences, np.full(2_000, 0.9), 400, clusters, 0.0) for clusters in (4, 400))
    assert outcomes([few]) == ['cannot_tell'] and outcomes([many]) == ['worse']


@pytest.mark.parametrize('value, resample, clusters', [
    (math.nan, 0.5, 100), (0.5, math.nan, 100), (0.5, math.inf, 100), (0.5, 0.5, 1), (0.5, 0.5, 0)])
def test_what_is_not_finite_or_one_group_tells_nothing(value, resample, clusters):
    resamples = np.array([0.5, resample, 0.5])
    found = compare(value, 0.4, resamples, np.full(3, 0.4), 100, clusters, 0.5)
    assert math.isnan(found.low) and math.isnan(found.high) and outcomes([found]) == ['cannot_tell']


def test_holm():
    # The example of R's p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm").
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0] and holm([]) == []


def test_holm_is_for_worse_alone():
    def with_p(not_worse=1.0, worse=1.0):
        return Comparison(0.0, 0.0, 0.0, not_worse, worse)
    assert outcomes([with_p(worse=0.04)]) == ['worse']
    assert outcomes([with_p(worse=0.04), with_p(not_worse=0.04)]) == ['cannot_tell', 'not_worse']
    assert outcomes([with_p(worse=0.01), with_p(worse=0.04)]) == ['worse', 'worse']

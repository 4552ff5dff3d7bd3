"""The metrics against scikit-learn and against values computed by hand."""

import numpy as np
import pytest
import sklearn.metrics

from model_code import metrics


@pytest.mark.parametrize('digits', [1, 6], ids=['many ties', 'few ties'])
def test_average_precision_is_scikit_learns(digits):
    rng = np.random.default_rng(1)
    for _ in range(20):
        labels = rng.random(50) < 0.3
        labels[0] = True
        scores = np.round(rng.random(50), digits)
        assert metrics.average_precision(labels, scores) == pytest.approx(
            sklearn.metrics.average_precision_score(labels, scores), abs=1e-12)


def test_mean_average_precision_leaves_out_classes_without_a_positive():
    labels = np.array([[1, 0, 0], [0, 0, 1], [1, 0, 1]])
    scores = np.array([[0.9, 0.9, 0.1], [0.8, 0.1, 0.2], [0.1, 0.5, 0.3]])
    # Class 0 is right at ranks 1 and 3, so (1 + 2/3) / 2. Class 2 is right at ranks 1 and 2, so 1. Class 1 has none.
    assert metrics.mean_average_precision(labels, scores) == pytest.approx((5 / 6 + 1) / 2)
    assert np.isnan(metrics.mean_average_precision(np.zeros((3, 3)), scores))


def test_scores_of_nan_never_look_good():
    scores = np.array([np.nan, np.nan])
    assert metrics.correct(0, scores) == 0.0
    assert np.isnan(metrics.cross_entropy(0, scores))
    assert np.isnan(metrics.mean_average_precision(np.array([[1, 0]]), scores[None]))


def test_correct_counts_the_k_best_and_ties_against_the_model():
    scores = np.array([0.1, 0.4, 0.3, 0.2])
    assert [metrics.correct(label, scores) for label in range(4)] == [0, 1, 0, 0]
    assert [metrics.correct(label, scores, k=2) for label in range(4)] == [0, 1, 1, 0]
    assert metrics.correct(2, np.full(4, 0.25)) == 0.0
    assert metrics.correct(-1, scores, k=4) == 0.0, 'a label that the model does not know'


def test_losses_by_hand():
    assert metrics.cross_entropy(1, np.array([0.5, 0.25])) == pytest.approx(np.log(4))
    assert metrics.cross_entropy(-1, np.array([0.5, 0.5])) == pytest.approx(-np.log(1e-7))
    assert metrics.binary_cross_entropy(np.array([1, 0]), np.array([0.5, 0.75])) == pytest.approx(
        (np.log(2) + np.log(4)) / 2)
    assert np.isfinite(metrics.binary_cross_entropy(np.array([1, 0]), np.array([0, 1], np.float32)))


# Classes 0 and 2 are of group 1, classes 1, 3 and 4 of group 2.
GROUP_LABEL = np.array([1, -2, -1, 2, -2], np.float32)


def test_groups_are_judged_separately_and_together():
    right = np.array([0.6, 0.1, 0.4, 0.7, 0.2])
    assert metrics.groups_correct(GROUP_LABEL, right, [1]) == metrics.groups_correct(GROUP_LABEL, right, [1, 2]) == 1
    half = np.array([0.4, 0.1, 0.6, 0.7, 0.2])
    assert [metrics.groups_correct(GROUP_LABEL, half, g) for g in ([1], [2], [1, 2])] == [0, 1, 0]
    tied = np.array([0.5, 0.1, 0.5, 0.7, 0.2])
    assert metrics.groups_correct(GROUP_LABEL, tied, [1]) == 0
    unknown = np.abs(GROUP_LABEL) * [1, -1, -1, -1, -1]
    assert [metrics.groups_correct(unknown, right, g) for g in ([1], [2], [1, 2])] == [1, 0, 0]
    assert metrics.groups_cross_entropy(GROUP_LABEL, right) == pytest.approx(-(np.log(0.6) + np.log(0.7)) / 2)

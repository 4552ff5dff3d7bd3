"""The metrics of outcomes against scikit-learn, against those that TFMA uses, and against values computed by hand."""

import math
import statistics

import numpy as np
import pytest
import sklearn.calibration
import sklearn.metrics

from model_code import bootstrap, metrics, outcome_metrics
from model_code.label_kinds import LABEL_KINDS

SEEDS = range(6)
GROUPS = ('verb', 'noun')


def choice(seed, examples=60, classes=7, unknown=True, ties=True):
    """Labels [n] of some of the classes, and scores whose rows sum to 1, with ties."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(-1 if unknown else 0, max(classes - 2, 1), examples)
    logits = rng.integers(0, 3, (examples, classes)) if ties else rng.normal(size=(examples, classes))
    scores = np.exp(logits)
    return labels, (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32), rng


def several(seed, examples=60, classes=7, digits=1):
    """Multi-hot labels, where the first class is nowhere and the second everywhere; scores with ties."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((examples, classes)) < 0.3).astype(np.float32)
    labels[:, 0], labels[:, 1] = 0, 1
    return labels, np.round(rng.random((examples, classes)), digits).astype(np.float32), rng


def signed(seed, examples=60):
    """Label groups: classes 0, 2, 5 are of group 1, the others of group 2; the label of group 1 may be unknown."""
    rng = np.random.default_rng(seed)
    number = np.array([1, 2, 1, 2, 2, 1, 2])
    labels = np.tile(-number, (examples, 1)).astype(np.float32)
    scores = rng.random((examples, 7)).astype(np.float32)
    for group in (1, 2):
        ids = np.flatnonzero(number == group)
        scores[:, ids] /= scores[:, ids].sum(axis=1, keepdims=True)
        chosen = rng.choice(ids, examples)
        known = rng.random(examples) > (0.2 if group == 1 else 0)
        labels[np.flatnonzero(known), chosen[known]] = group
    return labels, scores, rng


def weights_of(rng, examples):
    """How often a bootstrap drew each example."""
    return rng.multinomial(examples, np.full(examples, 1 / examples))


def repeated(weights, *arrays):
    """The resample itself: each row as often as its weight."""
    return [np.repeat(array, weights, axis=0) for array in arrays]


def samples(kind, seed):
    return {'single': lambda: choice(seed), 'groups': lambda: signed(seed)}.get(kind, lambda: several(seed))()


def measures(kind, classes=7):
    return LABEL_KINDS[kind].functions.metrics_of_outcomes(GROUPS if kind == 'groups' else (), classes)


KINDS = pytest.mark.parametrize('kind', LABEL_KINDS)


@KINDS
@pytest.mark.parametrize('seed', SEEDS)
def test_weights_are_a_resample(kind, seed):
    labels, scores, rng = samples(kind, seed)
    weights = weights_of(rng, len(scores))
    assert (weights == 0).any() and (weights > 1).any()
    for metric in measures(kind):
        drawn = metric.value(*repeated(weights, labels, scores))
        assert metric.value(labels, scores, weights.astype(np.float64)) == pytest.approx(drawn, abs=1e-9), metric.name
        assert metric.value(labels, scores, np.ones(len(scores))) == pytest.approx(
            metric.value(labels, scores), abs=1e-12), metric.name
        assert math.isfinite(drawn)


@KINDS
def test_what_tfma_measures_too_has_the_same_name_and_value(kind):
    labels, scores, _ = samples(kind, 1)
    by_name = {metric.name: metric for metric in measures(kind)}
    assert LABEL_KINDS[kind].primary_metric in by_name
    for metric in LABEL_KINDS[kind].functions.evaluation_metrics(GROUPS if kind == 'groups' else (), 7):
        if metric.of_all_examples:
            expected = metric.function(labels, scores, **metric.arguments)
        else:
            expected = np.mean([metric.function(np.ravel(label), row, **metric.arguments)
                                for label, row in zip(labels, scores, strict=True)])
        assert by_name[metric.name].value(labels, scores) == pytest.approx(expected, rel=1e-6), metric.name


@KINDS
def test_no_examples_one_example_and_no_weight(kind):
    labels, scores, _ = samples(kind, 3)
    for metric in measures(kind):
        assert math.isnan(metric.value(labels[:0], scores[:0])), metric.name
        assert math.isnan(metric.value(labels, scores, np.zeros(len(scores)))), metric.name
    one = {metric.name: metric.value(labels[5:6], scores[5:6]) for metric in measures(kind)}
    assert math.isfinite(one[LABEL_KINDS[kind].primary_metric]) and math.isfinite(one['loss'])


@KINDS
def test_scores_of_nan_never_look_good(kind):
    labels, scores, _ = samples(kind, 2)
    good = {metric.name: metric.value(labels, scores) for metric in measures(kind)}
    scores[7] = np.nan
    if kind == 'single':
        labels[7] = 1
    for metric in measures(kind):
        value = metric.value(labels, scores)
        if metric.name.endswith('accuracy'):
            assert value <= good[metric.name]
        else:
            assert math.isnan(value), metric.name


@pytest.mark.parametrize('seed', SEEDS)
@pytest.mark.parametrize('ties', [True, False])
def test_predictions_and_macro_f1(seed, ties):
    labels, scores, rng = choice(seed, ties=ties)
    answers = outcome_metrics.predicted(labels, scores)
    right = [bool(metrics.correct(label, row)) for label, row in zip(labels, scores, strict=True)]
    assert (answers == labels).tolist() == right
    assert (scores[np.arange(60), answers] == scores.max(axis=1)).all(), 'the best or one of them'
    present = np.unique(labels[labels >= 0])
    weights = weights_of(rng, 60)
    for sample_weight in (None, weights):
        if sample_weight is not None:
            present = np.unique(labels[(labels >= 0) & (weights > 0)])
        expected = sklearn.metrics.f1_score(labels, answers, labels=present, average='macro', zero_division=0,
                                            sample_weight=sample_weight)
        assert outcome_metrics.macro_f1(labels, scores).value(sample_weight) == pytest.approx(expected, abs=1e-12)


def test_ties_are_predicted_against_the_model():
    scores = np.array([[0.4, 0.4, 0.2]] * 3 + [[0.2, 0.4, 0.4], [np.nan, 0.5, 0.5]])
    assert outcome_metrics.predicted(np.array([0, 1, 2, -1, 1]), scores).tolist() == [1, 0, 0, 1, -1]
    assert outcome_metrics.predicted(np.array([0, -1]), np.ones((2, 1))).tolist() == [0, 0], 'one class'
    with_one_class = outcome_metrics.macro_f1(np.array([0, 0, 0, -1]), np.ones((4, 1)))
    assert with_one_class.value() == pytest.approx(2 * 3 / 7), 'the unknown one is a false answer'


def naive_calibration_error(probabilities, right):
    total = 0.0
    for i in range(15):
        chosen = (probabilities > i / 15) & (probabilities <= (i + 1) / 15)
        if chosen.any():
            total += chosen.mean() * abs(right[chosen].mean() - probabilities[chosen].mean())
    return total


@pytest.mark.parametrize('seed', SEEDS)
def test_calibration_error_of_one_label(seed):
    labels, scores, _ = choice(seed, examples=300, ties=False)
    best = scores.max(axis=1).astype(np.float64)
    right = scores.argmax(axis=1) == labels
    assert outcome_metrics.calibration_error(labels, scores).value() == pytest.approx(
        naive_calibration_error(best, right), abs=1e-12)
    share, probability = sklearn.calibration.calibration_curve(right, best, n_bins=15, strategy='uniform')
    count, mean, accuracy = (sums.sum(axis=0) for sums in outcome_metrics.reliability(labels, scores))
    filled = count > 0
    assert count.sum() == 300
    assert mean[filled] / count[filled] == pytest.approx(probability)
    assert accuracy[filled] / count[filled] == pytest.approx(share)


def test_calibration_error_of_label_decisions():
    labels, scores, _ = several(1, examples=200, digits=6)
    assert outcome_metrics.labels_calibration_error(labels, scores).value() == pytest.approx(
        naive_calibration_error(scores.ravel().astype(np.float64), labels.ravel().astype(np.float64)), abs=1e-12)
    exact = np.tile([[0.0], [1.0]], (5, 3))
    assert outcome_metrics.labels_calibration_error(exact, exact).value() == 0


def test_a_sure_and_wrong_model_has_the_largest_calibration_error():
    scores = np.tile([[1.0, 0.0]], (10, 1))
    assert outcome_metrics.calibration_error(np.ones(10, int), scores).value() == 1
    assert outcome_metrics.calibration_error(np.zeros(10, int), scores).value() == 0


def test_work_in_parts_changes_nothing(monkeypatch):
    labels, scores, rng = several(2)
    chosen = [metric for metric in measures('multi') if metric.name in ('calibration_error', 'loss')]
    whole = [metric.value(labels, scores) for metric in chosen]
    weights = np.stack([weights_of(rng, 60) for _ in range(5)], axis=1).astype(np.uint8)
    resampled = outcome_metrics.auc(labels, scores).function(weights)
    monkeypatch.setattr(outcome_metrics, '_BLOCK', 20)
    assert len(whole) == 2 and [metric.value(labels, scores) for metric in chosen] == pytest.approx(whole)
    assert outcome_metrics.auc(labels, scores).function(weights).tolist() == resampled.tolist()


@pytest.mark.parametrize('digits', [1, 6], ids=['many ties', 'few ties'])
@pytest.mark.parametrize('seed', SEEDS)
def test_mean_average_precision_and_auc_are_scikit_learns(seed, digits):
    labels, scores, rng = several(seed, digits=digits)
    for weights in (None, weights_of(rng, len(labels))):
        by_class = [sklearn.metrics.average_precision_score(labels[:, c], scores[:, c], sample_weight=weights)
                    for c in range(1, 7)]
        assert outcome_metrics.mean_average_precision(labels, scores).value(weights) == pytest.approx(
            np.mean(by_class), abs=1e-9)
        by_class = [sklearn.metrics.roc_auc_score(labels[:, c], scores[:, c], sample_weight=weights)
                    for c in range(2, 7)]  # the first class has no positive example, the second no negative one
        assert outcome_metrics.auc(labels, scores).value(weights) == pytest.approx(np.mean(by_class), abs=1e-9)


def test_many_resamples_at_once():
    labels, scores, rng = several(4)
    weights = np.stack([weights_of(rng, 60) for _ in range(5)], axis=1).astype(np.uint8)
    for metric in measures('multi'):
        prepared = metric.prepare(labels, scores)
        if isinstance(prepared, outcome_metrics.Weighted):
            assert prepared.function(weights) == pytest.approx([prepared.value(row) for row in weights.T])
        else:
            assert prepared.function(weights.T @ prepared.values) == pytest.approx(
                [prepared.value(row) for row in weights.T])


def test_no_class_with_a_positive_example():
    scores = np.random.default_rng(1).random((4, 2))
    none = np.zeros((4, 2))
    assert math.isnan(outcome_metrics.mean_average_precision(none, scores).value())
    assert math.isnan(outcome_metrics.auc(none, scores).value())
    assert math.isnan(outcome_metrics.auc(none + 1, scores).value()), 'nor a negative one'
    nan = np.full((4, 2), np.nan)
    nan[:, 1] = scores[:, 1]
    assert outcome_metrics.mean_average_precision(np.eye(2)[[1, 1, 1, 1]], nan).value() == 1, 'its class has no example'


def test_d_prime():
    assert outcome_metrics.d_prime_of(0.5) == 0
    # The pairs that Hershey et al. 2017 report; both numbers are rounded.
    for value, expected in ((0.851, 1.471), (0.894, 1.764), (0.926, 2.041), (0.959, 2.452)):
        assert outcome_metrics.d_prime_of(value) == pytest.approx(expected, abs=0.01), value
    assert [outcome_metrics.d_prime_of(value) for value in (0, 1)] == [-math.inf, math.inf]
    assert math.isnan(outcome_metrics.d_prime_of(math.nan))
    # Of two normal distributions d' is their distance in standard deviations.
    assert outcome_metrics.d_prime_of(statistics.NormalDist(0, math.sqrt(2)).cdf(1.3)) == pytest.approx(1.3)


def test_label_groups_are_judged_apart():
    labels, scores, _ = signed(1)
    for number, group in enumerate(GROUPS, start=1):
        ids = [0, 2, 5] if number == 1 else [1, 3, 4, 6]
        own = np.where((labels[:, ids] > 0).any(axis=1), (labels[:, ids] > 0).argmax(axis=1), -1)
        by_name = {metric.name: metric for metric in measures('groups')}
        for name in ('accuracy', 'macro_f1', 'calibration_error'):
            alone = getattr(outcome_metrics, name)(own, scores[:, ids]).value()
            assert by_name[f'{group}_{name}'].value(labels, scores) == pytest.approx(alone), (group, name)


def test_calibration_has_no_interval_because_resampling_makes_it_worse():
    rng = np.random.default_rng(0)
    scores = np.exp(2 * rng.normal(size=(200, 5)))
    scores /= scores.sum(axis=1, keepdims=True)
    labels = np.array([rng.choice(5, p=row) for row in scores])  # calibrated
    metric = outcome_metrics.calibration_error(labels, scores)
    resampled = [metric.value(weights_of(rng, 200)) for _ in range(100)]
    assert np.mean(resampled) > metric.value() + 0.01
    without = {metric.name for kind in LABEL_KINDS for metric in measures(kind) if not metric.interval}
    assert without == {'calibration_error', 'verb_calibration_error', 'noun_calibration_error', 'd_prime'}


@KINDS
def test_values_are_within_the_bounds(kind):
    for seed in SEEDS:
        labels, scores, _ = samples(kind, seed)
        for metric in measures(kind):
            low, high = metric.bounds or (-math.inf, math.inf)
            assert low <= metric.value(labels, scores) <= high
    assert {metric.name for metric in measures(kind) if not metric.bounds} <= {'loss', 'd_prime'}


def test_which_are_better_when_lower():
    lower = {metric.name for kind in LABEL_KINDS for metric in measures(kind) if not metric.higher_is_better}
    assert lower == {'loss', 'calibration_error', 'verb_calibration_error', 'noun_calibration_error'}


@pytest.mark.parametrize('name', ['mean_average_precision', 'auc'])
def test_of_many_scores_resamples_are_those_of_the_slopes(name, monkeypatch):
    rng = np.random.default_rng(3)
    labels = (rng.random((600, 5)) < 0.2).astype(np.float32)
    scores = np.round(np.clip(0.3 * labels + rng.random((600, 5)) * 0.7, 0, 1), 2).astype(np.float32)  # with ties
    groups = bootstrap.clusters([str(n) for n in range(600)], [str(n // 3) for n in range(600)])
    measure = getattr(outcome_metrics, name)
    exact = measure(labels, scores)
    monkeypatch.setattr(outcome_metrics, 'EXACT_SCORES', 100)
    fast = measure(labels, scores)
    assert isinstance(exact, outcome_metrics.Weighted) and isinstance(fast, outcome_metrics.Sums)
    assert fast.value() == pytest.approx(exact.value(), abs=1e-9)
    one, other = bootstrap.resampled(exact, groups), bootstrap.resampled(fast, groups)
    assert np.corrcoef(one, other)[0, 1] > 0.97 and other.std() == pytest.approx(one.std(), rel=0.08)
    assert outcome_metrics.d_prime(labels, scores).value() == pytest.approx(
        outcome_metrics.d_prime_of(outcome_metrics.auc(labels, scores).value()))
    # The slopes are the derivatives: one example counts a little more.
    weights = np.ones(600)
    weights[7] += 1e-4
    assert (exact.value(weights) - exact.value()) / 1e-4 == pytest.approx(
        (fast.values[7, 0] - fast.value()) / 600, rel=1e-2, abs=1e-7)

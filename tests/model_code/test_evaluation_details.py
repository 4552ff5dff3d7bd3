"""What is behind the metrics, against scikit-learn and on examples that one can check by eye."""

import json
import math

import numpy as np
import pytest
import sklearn.metrics

from model_code import evaluation_details, label_kinds, outcome_metrics
from model_code.outcomes import Outcomes, texts

CLASSES = ('ant', 'bee', 'cat', 'dog')
GROUPED = ('verb:cut', 'noun:onion', 'verb:peel', 'noun:egg', 'noun:milk')


def outcomes(labels, scores, baseline=None, ids=None) -> Outcomes:
    ids = texts(ids if ids is not None else [f'{number:03}.jpg' for number in range(len(scores))])
    return Outcomes(ids, texts([''] * len(ids)), labels, scores, baseline)


def details(kind, made, classes=CLASSES, label_groups=()) -> dict:
    found = label_kinds.LABEL_KINDS[kind].functions.details(made, classes, label_groups)
    assert json.loads(json.dumps(found, allow_nan=False)) == found, 'plain values, without NaN'
    assert set(found) == {'classes', 'confusion', 'reliability', 'curves', 'mistakes', 'hits'}
    return found


def one_label(seed=0, examples=80):
    """One class has no example; two labels are unknown; there are ties."""
    rng = np.random.default_rng(seed)
    labels = rng.choice([0, 1, 3], examples)
    labels[[4, 9]] = -1
    scores = np.exp(rng.integers(0, 4, (examples, 4)))
    return labels, (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize('seed', range(4))
def test_classes_and_confusion_of_one_label(seed):
    labels, scores = one_label(seed)
    baseline = scores[::-1].copy()
    found = details('single', outcomes(labels, scores, baseline))
    assert [row['label'] for row in found['classes']] == list(CLASSES)
    assert [row['examples'] for row in found['classes']] == np.bincount(labels[labels >= 0], minlength=4).tolist()
    for prefix, by in (('', scores), ('baseline_', baseline)):
        expected = sklearn.metrics.precision_recall_fscore_support(
            labels, outcome_metrics.predicted(labels, by), labels=range(4), zero_division=np.nan)
        for name, column in zip(('precision', 'recall', 'f1'), expected, strict=False):
            got = [math.nan if row[prefix + name] is None else row[prefix + name] for row in found['classes']]
            assert got == pytest.approx(column, abs=1e-12, nan_ok=True), name
    present = [row['f1'] for row in found['classes'] if row['examples']]
    assert np.mean(present) == pytest.approx(outcome_metrics.macro_f1(labels, scores).value())

    confusion, = found['confusion']
    assert (confusion['group'], confusion['labels'], confusion['left_out']) == ('', list(CLASSES), 2)
    matrix = np.zeros((4, 4), int)
    for label, predicted, count in confusion['counts']:
        matrix[label, predicted] = count
    known = labels >= 0
    assert matrix.tolist() == sklearn.metrics.confusion_matrix(
        labels[known], outcome_metrics.predicted(labels, scores)[known], labels=range(4)).tolist()
    assert len(confusion['counts']) == np.count_nonzero(matrix)


def test_without_a_baseline_there_are_no_columns_of_it():
    found = details('single', outcomes(*one_label()))
    assert set(found['classes'][0]) == {'label', 'group', 'examples', 'precision', 'recall', 'f1'}
    found = details('multi', outcomes(*two_labels()))
    assert set(found['classes'][0]) == {'label', 'group', 'examples', 'average_precision', 'auc', 'd_prime'}


def test_reliability():
    scores = np.array([[0.9, 0.1, 0, 0], [0.9, 0.1, 0, 0], [0.05, 0.91, 0.04, 0], [1, 0, 0, 0]], np.float32)
    found = details('single', outcomes(np.array([0, 1, 1, 0]), scores))
    filled = [row for row in found['reliability'] if row['count']]
    assert len(found['reliability']) == 15
    assert filled == [
        {'group': '', 'low': pytest.approx(13 / 15), 'high': pytest.approx(14 / 15), 'count': 3,
         'confidence': pytest.approx((0.9 + 0.9 + 0.91) / 3), 'accuracy': pytest.approx(2 / 3)},
        {'group': '', 'low': pytest.approx(14 / 15), 'high': 1.0, 'count': 1, 'confidence': 1.0, 'accuracy': 1.0}]
    assert found['reliability'][0] == {'group': '', 'low': 0.0, 'high': pytest.approx(1 / 15), 'count': 0,
                                       'confidence': None, 'accuracy': None}


def test_mistakes_and_hits_of_one_label():
    scores = np.array([[0.7, 0.3, 0, 0], [0.1, 0.9, 0, 0], [0.1, 0.9, 0, 0], [0.6, 0.4, 0, 0], [0.8, 0.2, 0, 0],
                       [1.0, 0, 0, 0]], np.float32)
    labels = np.array([1, 0, 0, 0, 0, -1])
    found = details('single', outcomes(labels, scores, ids=['a', 'z', 'b', 'c', 'd', 'unknown']))
    assert found['mistakes'] == [
        {'id': 'b', 'label': 'ant', 'predicted': 'bee', 'confidence': pytest.approx(0.9)},
        {'id': 'z', 'label': 'ant', 'predicted': 'bee', 'confidence': pytest.approx(0.9)},
        {'id': 'a', 'label': 'bee', 'predicted': 'ant', 'confidence': pytest.approx(0.7)}]
    assert found['hits'] == [
        {'id': 'c', 'label': 'ant', 'predicted': 'ant', 'confidence': pytest.approx(0.6)},
        {'id': 'd', 'label': 'ant', 'predicted': 'ant', 'confidence': pytest.approx(0.8)}]


def test_at_most_twenty_are_named_and_the_order_of_examples_does_not_matter():
    labels, scores = one_label(1, examples=200)
    made = outcomes(labels, scores)
    found = details('single', made)
    assert len(found['mistakes']) == len(found['hits']) == 20
    assert details('single', made.take(np.random.default_rng(1).permutation(200))) == found
    confidences = [row['confidence'] for row in found['mistakes']]
    assert confidences == sorted(confidences, reverse=True)
    answers = outcome_metrics.predicted(labels, scores)
    wrong = (answers != labels) & (labels >= 0)
    assert confidences[0] == scores[wrong].max()


def two_labels(seed=0, examples=80):
    """The first class is nowhere, the second everywhere; there are ties."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((examples, 4)) < 0.4).astype(np.float32)
    labels[:, 0], labels[:, 1] = 0, 1
    return labels, np.round(rng.random((examples, 4)), 1).astype(np.float32)


@pytest.mark.parametrize('seed', range(4))
def test_classes_of_several_labels(seed):
    labels, scores = two_labels(seed)
    baseline = scores[::-1].copy()
    found = details('multi', outcomes(labels, scores, baseline))
    assert found['confusion'] == []
    assert [row['examples'] for row in found['classes']] == labels.sum(axis=0).tolist()
    for prefix, by in (('', scores), ('baseline_', baseline)):
        none, always, *others = found['classes']
        assert [none[prefix + name] for name in ('average_precision', 'auc', 'd_prime')] == [None] * 3
        assert (always[prefix + 'average_precision'], always[prefix + 'auc']) == (1.0, None)
        for c, row in enumerate(others, start=2):
            assert row[prefix + 'average_precision'] == pytest.approx(
                sklearn.metrics.average_precision_score(labels[:, c], by[:, c]), abs=1e-9)
            auc = sklearn.metrics.roc_auc_score(labels[:, c], by[:, c])
            assert row[prefix + 'auc'] == pytest.approx(auc, abs=1e-9)
            assert row[prefix + 'd_prime'] == pytest.approx(outcome_metrics.d_prime_of(auc), abs=1e-6)
    assert sum(row['count'] for row in found['reliability']) == labels.size


def test_mistakes_and_hits_of_several_labels():
    labels = np.array([[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 1]], np.float32)
    scores = np.array([[0.2, 0.9, 0.6, 0], [0.9, 0.6, 0.1, 0.1], [0, 0, 0, 0.49]], np.float32)
    found = details('multi', outcomes(labels, scores, ids=['a', 'b', 'c']))
    assert found['mistakes'] == [
        {'id': 'a', 'label': 'not bee', 'predicted': 'bee', 'confidence': pytest.approx(0.9)},
        {'id': 'c', 'label': 'dog', 'predicted': 'not dog', 'confidence': pytest.approx(0.51)}]
    assert found['hits'] == [{'id': 'b', 'label': 'bee', 'predicted': 'bee', 'confidence': pytest.approx(0.6)}]


def test_label_groups():
    # Classes 0 and 2 are verbs, the others nouns.
    labels = np.array([[1, 2, -1, -2, -2], [-1, -2, -1, 2, -2], [-1, -2, 1, -2, 2]], np.float32)
    scores = np.array([[0.6, 0.1, 0.4, 0.8, 0.1], [0.5, 0.1, 0.5, 0.7, 0.2], [0.9, 0.8, 0.1, 0.2, 0]], np.float32)
    found = details('groups', outcomes(labels, scores, scores, ids=['a', 'b', 'c']), GROUPED, ('verb', 'noun'))
    assert [(row['label'], row['group'], row['examples']) for row in found['classes']] == [
        ('verb:cut', 'verb', 1), ('noun:onion', 'noun', 1), ('verb:peel', 'verb', 1), ('noun:egg', 'noun', 1),
        ('noun:milk', 'noun', 1)]
    assert [(row['precision'], row['recall']) for row in found['classes']] == [
        (1 / 3, 1.0), (0.0, 0.0), (None, 0.0), (0.5, 1.0), (None, 0.0)]
    assert found['confusion'] == [
        {'group': 'verb', 'labels': ['verb:cut', 'verb:peel'], 'counts': [[0, 0, 1], [1, 0, 1]], 'left_out': 1},
        {'group': 'noun', 'labels': ['noun:onion', 'noun:egg', 'noun:milk'],
         'counts': [[0, 1, 1], [1, 1, 1], [2, 0, 1]], 'left_out': 0}]
    assert [row['group'] for row in found['reliability']] == ['verb'] * 15 + ['noun'] * 15
    # Once each, although both answers about c are wrong.
    assert [(row['id'], row['label'], row['predicted']) for row in found['mistakes']] == [
        ('c', 'verb:peel', 'verb:cut'), ('a', 'noun:onion', 'noun:egg')]
    assert [(row['id'], row['label']) for row in found['hits']] == [('a', 'verb:cut'), ('b', 'noun:egg')]


def test_the_curve_of_all_classes_is_scikit_learns():
    labels, scores = two_labels(1)
    points = details('multi', outcomes(labels, scores))['curves'][0]['points']
    precision, recall, _ = sklearn.metrics.precision_recall_curve(labels.ravel(), scores.ravel())
    theirs = {(round(r, 9), round(p, 9)) for r, p in zip(recall, precision, strict=True)}
    assert len(points) == 11, 'one for each of the scores'
    assert {(round(r, 9), round(p, 9)) for r, p in points} <= theirs


@pytest.mark.parametrize('examples', [2000, 30000])
def test_a_long_curve_keeps_its_shape(examples):
    rng = np.random.default_rng(1)
    labels = (rng.random((examples, 4)) < 0.2).astype(np.float32)
    scores = (1 / (1 + np.exp(-rng.normal(size=labels.shape) - 3 * labels + 2))).astype(np.float32)
    points = np.array(details('multi', outcomes(labels, scores))['curves'][0]['points'])
    precision, recall, _ = sklearn.metrics.precision_recall_curve(labels.ravel(), scores.ravel())
    assert len(points) == 100 and (np.diff(points[:, 0]) > 0).all() and points[-1, 0] == 1
    steps = np.flatnonzero(np.diff(recall, prepend=2) < 0)  # of equal recall, the best precision
    assert len(steps) > 1000
    rising = steps[:-1][::-1]
    highest = np.array([precision[recall == r].max() for r in recall[rising[::50]]])
    assert np.abs(np.interp(recall[rising[::50]], *points.T) - highest).max() < 0.02


@pytest.mark.parametrize('kind', label_kinds.LABEL_KINDS)
def test_no_example_and_one_example(kind):
    labels, scores = {
        'single': one_label, 'multi': two_labels, 'words': two_labels,
        'groups': lambda: (np.tile([1, 2, -1, -2, -2], (3, 1)).astype(np.float32), np.full((3, 5), 0.5, np.float32)),
    }[kind]()
    names, groups = (GROUPED, ('verb', 'noun')) if kind == 'groups' else (CLASSES, ())
    found = details(kind, outcomes(labels[:0], scores[:0], scores[:0]), names, groups)
    assert found['curves'] == found['mistakes'] == found['hits'] == []
    assert [row['examples'] for row in found['classes']] == [0] * len(names)
    found = details(kind, outcomes(labels[:1], scores[:1]), names, groups)
    assert len(found['mistakes']) + len(found['hits']) >= 1
    assert sum(row['examples'] for row in found['classes']) >= 1


@pytest.mark.parametrize('kind', ['single', 'multi'])
def test_scores_of_nan_are_named_not_hidden(kind):
    labels, scores = one_label() if kind == 'single' else two_labels()
    scores[3] = np.nan
    found = details(kind, outcomes(labels, scores))
    assert found['curves'] == []
    assert '003.jpg' not in [row['id'] for row in found['mistakes'] + found['hits']]
    if kind == 'single':
        assert found['confusion'][0]['left_out'] == 3
    else:
        assert {row['average_precision'] for row in found['classes']} == {None}


def test_thinned_keeps_the_ends_and_the_corner():
    x = np.linspace(0, 1, 501)
    y = np.abs(x - 0.3)
    assert evaluation_details.thinned(x, y, 3).tolist() == [0, 150, 500]
    assert evaluation_details.thinned(x[:1], y[:1], 3).tolist() == [0]

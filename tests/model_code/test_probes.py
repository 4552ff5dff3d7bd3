"""Linear probes and few-shot classification of embeddings whose classes are known to be separable, or not."""

import numpy as np
import pytest

from model_code import outcome_metrics, probes
from model_code.errors import ConfigError
from model_code.probe import Probe

CLASSES, WIDTH = 4, 12
ALL = (tuple(range(CLASSES)),)


def clouds(count: int, seed: int, spread: float = 0.3):
    """(embeddings, ids of the classes): clouds around points far from each other, off the origin, uneven."""
    rng = np.random.default_rng(seed)
    ids = np.arange(count) % CLASSES
    centres = np.random.default_rng(99).normal(0, 1, (CLASSES, WIDTH))
    embeddings = (centres[ids] + rng.normal(0, spread, (count, WIDTH))) * np.linspace(0.01, 50, WIDTH) + 7
    return embeddings.astype(np.float32), ids


def single(ids):
    return [(int(i),) for i in ids]


def accuracy(labels, scores):
    return outcome_metrics.accuracy(np.array([ids[0] for ids in labels]), scores).value()


def loss(labels, scores):
    return outcome_metrics.cross_entropy(np.array([ids[0] for ids in labels]), scores).value()


def test_a_separable_representation_is_told_apart_fully():
    known, ids = clouds(200, 1)
    asked, truth = clouds(80, 2)
    fitted = probes.linear(known, single(ids), asked, CLASSES, ALL, loss)
    assert accuracy(single(truth), fitted.scores) == 1.0 and fitted.strength in probes.STRENGTHS
    np.testing.assert_allclose(fitted.scores.sum(1), 1, atol=1e-5)
    few = probes.shots([b'%d' % i for i in range(200)], single(ids), CLASSES, 5, seed=0)
    scores = probes.few_shot(known[few], single(ids[few]), asked, CLASSES)
    assert accuracy(single(truth), scores) == 1.0


def test_shuffled_labels_give_chance():
    known, ids = clouds(400, 1)
    asked, truth = clouds(400, 2)
    shuffled = single(np.random.default_rng(3).permutation(ids))
    # Four standard errors of 400 guesses with a chance of 1/4.
    chance = pytest.approx(0.25, abs=4 * (0.25 * 0.75 / 400) ** 0.5)
    assert accuracy(single(truth), probes.linear(known, shuffled, asked, CLASSES, ALL, loss).scores) == chance
    means = []
    for seed in range(10):
        few = probes.shots([b'%d' % i for i in range(400)], shuffled, CLASSES, 10, seed)
        means.append(accuracy(single(truth), probes.few_shot(known[few], [shuffled[i] for i in few], asked, CLASSES)))
    assert np.mean(means) == pytest.approx(0.25, abs=0.1)


def test_the_penalty_is_chosen_where_it_matters():
    """Few examples of a wide representation in which little tells: the weakest penalty would learn the noise."""
    rng = np.random.default_rng(5)
    known, asked = rng.normal(size=(2, 60, 200)).astype(np.float32)
    for rows in (known, asked):
        rows[:, :3] += np.where(np.arange(60) % 2, 1.2, -1.2)[:, None]
    labels = single(np.arange(60) % 2)
    fitted = probes.linear(known, labels, asked, 2, ((0, 1),), loss)
    assert fitted.strength < probes.STRENGTHS[-1] and accuracy(labels, fitted.scores) > 0.7


def test_equal_seeds_give_equal_scores_and_draws():
    known, ids = clouds(100, 1, spread=2.0)
    asked, _ = clouds(40, 2, spread=2.0)
    first, again = (probes.linear(known, single(ids), asked, CLASSES, ALL, loss) for _ in range(2))
    np.testing.assert_array_equal(first.scores, again.scores)
    names = [b'%d' % i for i in range(100)]
    draws = [probes.shots(names, single(ids), CLASSES, 3, seed).tolist() for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]


def test_several_labels_are_one_against_the_rest_and_a_constant_class_is_no_error():
    known, ids = clouds(200, 1)
    asked, truth = clouds(80, 2)
    def labels(ids):  # class 4 is in no example, class 5 in all
        return [tuple({int(i), (int(i) + 1) % CLASSES, 5}) for i in ids]

    def present(given):
        return np.array([[class_id in of for class_id in range(6)] for of in given], np.float32)

    def average_precision(given, scores):
        return outcome_metrics.mean_average_precision(present(given), scores).value()

    fitted = probes.linear(known, labels(ids), asked, 6, (), lambda given, scores: outcome_metrics.binary_cross_entropy(
        present(given), scores).value())
    assert average_precision(labels(truth), fitted.scores) == pytest.approx(1)
    assert not fitted.scores[:, 4].any() and (fitted.scores[:, 5] == 1).all()
    few = probes.shots([b'%d' % i for i in range(200)], labels(ids), 6, 5, 0)
    scores = probes.few_shot(known[few], [labels(ids)[i] for i in few], asked, 6)
    assert average_precision(labels(truth), scores) == pytest.approx(1, abs=0.05)


def test_label_groups_have_a_softmax_each():
    known, ids = clouds(200, 1)
    asked, truth = clouds(80, 2)
    groups = ((0, 3), (1, 2, 4))  # class 4 is in no example
    labels, wanted = ([(0 if i < 2 else 3, 1 + i % 2) for i in places.tolist()] for places in (ids, truth))

    def joint(given, scores):
        best = [np.array(group)[scores[:, list(group)].argmax(1)] for group in groups]
        return float(np.mean([(a, b) == of for a, b, of in zip(*best, given, strict=True)]))

    fitted = probes.linear(known, labels, asked, 5, groups, lambda given, scores: -joint(given, scores))
    assert joint(wanted, fitted.scores) == 1.0
    np.testing.assert_allclose(fitted.scores[:, [0, 3]].sum(1), 1, atol=1e-5)


def test_shots_are_of_each_class_and_nested():
    labels = single([0] * 20 + [1] * 3 + [2] * 8)
    names = [b'example %d' % i for i in range(31)]
    five, ten = (probes.shots(names, labels, 3, count, seed=4) for count in (5, 10))
    assert np.bincount([labels[i][0] for i in five]).tolist() == [5, 3, 5]
    assert np.bincount([labels[i][0] for i in ten]).tolist() == [10, 3, 8]
    assert set(five) <= set(ten)
    order = np.random.default_rng(0).permutation(31)  # the order of the examples does not matter
    mixed = probes.shots([names[i] for i in order], [labels[i] for i in order], 3, 5, seed=4)
    assert {names[order[i]] for i in mixed} == {names[i] for i in five}


def test_a_sample_keeps_rare_classes_and_never_has_more():
    examples = [(b'%d' % i, (0,) if i >= 6 else (1,)) for i in range(10_000)]
    drawn = probes.sample(examples, 2, 100)
    assert len(drawn) == 100 and {b'%d' % i for i in range(6)} <= drawn
    assert drawn == probes.sample(reversed(examples), 2, 100) != probes.sample(examples, 2, 100, seed=1)
    assert probes.sample(examples[:50], 2, 100) == {name for name, _ in examples[:50]}
    many = [(b'%d' % i, (i % 30,)) for i in range(300)]
    assert len(probes.sample(many, 30, 20)) == 20, 'fewer than there are classes'
    assert len(probes.sample([(b'a', ()), (b'b', ())], 2, 5)) == 2, 'without a label'


def test_probes_that_cannot_be_are_errors_of_the_config():
    for fields, message in (({'shots': (0,)}, r'shots is \(0,\); each must be at least 1'),
                            ({'shots': (5, 5)}, 'be there once'), ({'seeds': 0}, 'seeds is 0; it must be at least 1'),
                            ({'max_examples': 1}, 'max_examples is 1; it must be at least 2')):
        with pytest.raises(ConfigError, match=f'Task t: probe: {message}' if 'once' not in message else message):
            Probe(**fields).check('Task t: ')
    assert not Probe().wanted and Probe(linear=True).wanted and Probe(shots=(5,)).wanted

"""Labels that a model contradicts with confidence, of each label kind."""

import numpy as np
import pytest

from model_code import suspect_labels
from model_code.label_kinds import get_label_kind
from model_code.suspect_labels import Questions, Shares

CLASSES, EXAMPLES = 6, 400


def _find(kind, labels, scores):
    """As TaskEvaluator finds them."""
    return suspect_labels.find(get_label_kind(kind).functions.questions, labels, scores.astype(np.float32))


def _softmax(logits):
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def _single(strength):
    """(ids, scores) of a model whose logit of the right class is higher by `strength`, with noise of deviation 1."""
    rng = np.random.default_rng(0)
    ids = rng.integers(0, CLASSES, EXAMPLES)
    logits = rng.normal(0, 1, (EXAMPLES, CLASSES))
    logits[np.arange(EXAMPLES), ids] += strength
    return ids, _softmax(logits)


def test_planted_errors_are_found_and_clean_labels_are_not():
    ids, scores = _single(6)
    assert _find('single', ids, scores)[0] == {}
    planted = np.random.default_rng(1).choice(EXAMPLES, 20, replace=False)
    wrong = ids.copy()
    wrong[planted] = (ids[planted] + 1) % CLASSES
    found, trust = _find('single', wrong, scores)
    assert trust.all() and found.keys() <= set(planted) and len(found) >= 18
    for number, suspect in found.items():
        assert (suspect.label, suspect.other) == (wrong[number], ids[number])
        assert suspect.label_probability == pytest.approx(scores[number, wrong[number]])
        assert suspect.margin == pytest.approx(suspect.label_probability - suspect.other_probability) and (
            -1 <= suspect.margin < 0)


def test_a_weak_model_is_not_heard():
    ids, scores = _single(1)
    assert 0.3 < np.mean(scores.argmax(axis=1) == ids) < 0.6
    found, trust = _find('single', ids, scores)
    assert found == {} and not trust[:CLASSES].any()


def test_a_model_is_heard_on_the_classes_that_it_knows():
    """It calls half of the examples of class 0 class 1."""
    ids, scores = _single(6)
    confused = np.flatnonzero(ids == 0)[::2]
    scores[confused] = scores[confused][:, [1, 0, *range(2, CLASSES)]]
    wrong = ids.copy()
    planted = np.flatnonzero(ids == 4)[:3]
    wrong[planted] = 2
    found, trust = _find('single', wrong, scores)
    assert not trust[1] and trust[[0, 2, 3, 4, 5]].all()
    assert found.keys() <= set(planted) and len(found) >= 2


def test_missing_and_wrong_labels_among_several():
    rng = np.random.default_rng(0)
    there = rng.random((EXAMPLES, CLASSES)) < 0.3
    scores = 1 / (1 + np.exp(-np.where(there, 4, -4) - rng.normal(0, 1, there.shape)))
    assert _find('multi', there.astype(np.float32), scores)[0] == {}
    labels = there.copy()
    missing, wrong = np.flatnonzero(there[:, 2])[:5], np.flatnonzero(~there[:, 3])[5:10]
    labels[missing, 2], labels[wrong, 3] = False, True
    found, _ = _find('multi', labels.astype(np.float32), scores)
    assert found.keys() <= {*missing, *wrong} and len(found) >= 8
    for number, suspect in found.items():
        # Option 6 + i is that class i is not there.
        assert (suspect.label, suspect.other) in (((8, 2),) if number in missing else ()) + (
            ((3, 9),) if number in wrong else ())


def test_one_group_of_a_label_may_be_suspect():
    rng = np.random.default_rng(0)
    groups = np.array([1, 2, 1, 2, 2, 1])  # of the classes
    verbs, nouns = rng.choice([0, 2, 5], EXAMPLES), rng.choice([1, 3, 4], EXAMPLES)
    logits = rng.normal(0, 1, (EXAMPLES, CLASSES))
    logits[np.arange(EXAMPLES), verbs] += 9
    logits[np.arange(EXAMPLES), nouns] += 9
    scores = np.zeros_like(logits)
    for group in (1, 2):
        scores[:, groups == group] = _softmax(logits[:, groups == group])

    def labels(nouns):
        marked = np.tile(-groups.astype(np.float32), (EXAMPLES, 1))
        marked[np.arange(EXAMPLES), verbs], marked[np.arange(EXAMPLES), nouns] = 1, 2
        return marked
    assert _find('groups', labels(nouns), scores)[0] == {}
    planted = np.flatnonzero(nouns == 3)[:6]
    wrong = nouns.copy()
    wrong[planted] = 4
    found, _ = _find('groups', labels(wrong), scores)
    assert found.keys() <= set(planted) and len(found) >= 5
    assert {(suspect.label, suspect.other) for suspect in found.values()} == {(4, 3)}


def test_unknown_labels_and_nan_scores_are_no_suspects():
    ids, scores = _single(6)
    scores[5], ids[7] = np.nan, -1
    found, _ = _find('single', ids, scores)
    assert not found.keys() & {5, 7}


def test_thresholds_are_mean_self_confidences():
    questions = [Questions(np.array([0]), np.array([[0, 1]]), np.array([[p, 1 - p]]), np.array([given]))
                 for p, given in ((0.9, 0), (0.7, 0), (0.4, 1), (0.4, -1))]
    sums = Shares.of(3)
    for asked in questions:
        sums.add(*asked.given_options())
    least = suspect_labels.thresholds(sums)
    assert least.tolist() == pytest.approx([0.8, 0.6, np.inf])
    assert [suspect_labels.confident(asked, least).tolist() for asked in questions] == [[0], [-1], [1], [1]]
    assert sums.counts.tolist() == [2, 1, 0]


def test_blocks_of_examples_change_nothing(monkeypatch):
    ids, scores = _single(6)
    ids[::40] = (ids[::40] + 1) % CLASSES
    whole, trust = _find('single', ids, scores)
    monkeypatch.setattr(suspect_labels, '_BLOCK', 7 * CLASSES)
    by_blocks, same = _find('single', ids, scores)
    assert whole == by_blocks and len(whole) > 5 and trust.tolist() == same.tolist()


@pytest.mark.parametrize('kind', ['single', 'multi', 'groups'])
def test_no_examples_have_no_suspects(kind):
    scores = np.zeros((0, CLASSES))
    found, trust = _find(kind, np.zeros(0, np.int64) if kind == 'single' else scores, scores)
    assert found == {} and trust.shape == (2 * CLASSES,)

"""Outcomes come through files, in parts, whole and in the order of their ids."""

import numpy as np
import pytest

from model_code import outcomes
from model_code.outcomes import Outcomes, texts


def _some(numbers, baseline=True):
    rng = np.random.default_rng(0)
    scores = rng.random((20, 3)).astype(np.float32)
    numbers = np.array(numbers, int)
    return Outcomes(texts([f'{n:02d}\udc80.png' for n in numbers]), texts([f'g{n % 2}' if n else '' for n in numbers]),
                    numbers % 3 - 1, scores[numbers], scores[::-1][numbers] if baseline else None,
                    {'camera': texts([f'c{n}' for n in numbers]), 'width': numbers.astype(float)})


def _same(one, other):
    assert one.ids.tolist() == other.ids.tolist() and one.groups.tolist() == other.groups.tolist()
    np.testing.assert_array_equal(one.labels, other.labels)
    np.testing.assert_array_equal(one.scores, other.scores)
    assert (one.baseline_scores is None) == (other.baseline_scores is None)
    if one.baseline_scores is not None:
        np.testing.assert_array_equal(one.baseline_scores, other.baseline_scores)
    assert {name: values.tolist() for name, values in one.features.items()} == {
        name: values.tolist() for name, values in other.features.items()}


@pytest.mark.parametrize('baseline', [True, False])
def test_parts_in_any_order_are_the_whole(tmp_path, baseline):
    numbers = np.random.default_rng(1).permutation(20)
    paths = []
    for begin in (0, 5, 6):
        paths.append(str(tmp_path / f'{begin}.npz'))
        outcomes.write(paths[-1], _some(numbers[begin:{0: 5, 5: 6, 6: 20}[begin]], baseline))
    whole = _some(range(20), baseline)
    _same(outcomes.read_parts(paths), whole)
    _same(outcomes.read_parts(paths[::-1]), whole)
    outcomes.write(str(tmp_path / 'whole.npz'), whole)
    _same(outcomes.read(str(tmp_path / 'whole.npz')), whole)
    _same(outcomes.concatenated([_some(range(3), baseline), _some(range(3, 20), baseline)]), whole)
    assert whole.scores.dtype == np.float32 and whole.labels.min() == -1
    _same(whole.take(np.arange(20) < 4), _some(range(4), baseline))


def test_without_examples(tmp_path):
    none = outcomes.no_outcomes(4, multi_hot=True, baseline=True, features={'camera': str, 'width': float})
    outcomes.write(str(tmp_path / 'none.npz'), none)
    read = outcomes.read(str(tmp_path / 'none.npz'))
    assert len(read) == 0 and read.scores.shape == read.labels.shape == read.baseline_scores.shape == (0, 4)
    assert list(read.features) == ['camera', 'width']
    with pytest.raises(ValueError, match='no parts'):
        outcomes.read_parts([])


def test_what_fails_to_be_written_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setattr(np, 'savez', lambda file, **_: file.write(b'half') and 1 / 0)
    with pytest.raises(ZeroDivisionError):
        outcomes.write(str(tmp_path / 'a.npz'), _some(range(3)))
    assert not list(tmp_path.iterdir())


def test_scores_in_the_order_of_other_classes():
    scores = np.array([[0.1, 0.2, 0.7]], np.float32)
    np.testing.assert_array_equal(outcomes.in_order(scores, ['a', 'b', 'c'], ['c', 'new', 'a', 'b'], [(0, 1, 2, 3)]),
                                  np.array([[0.7, 0.0, 0.1, 0.2]], np.float32))


def test_a_class_that_is_no_longer_asked_for_leaves_its_share_to_the_others():
    scores = np.array([[0.1, 0.2, 0.7], [0, 0, 1], [np.nan, 0.5, 0.5]], np.float32)
    np.testing.assert_allclose(outcomes.in_order(scores, 'abc', 'bna', [(0, 1, 2)]),
                               [[2 / 3, 0, 1 / 3], [0, 0, 0], [0.5, 0, np.nan]], rtol=1e-6)
    np.testing.assert_array_equal(outcomes.in_order(scores, 'abc', 'ba', ()), scores[:, [1, 0]])
    # Two groups: a, b, c and d, e, without c.
    grouped = np.array([[0.1, 0.3, 0.6, 0.8, 0.2]], np.float32)
    np.testing.assert_allclose(outcomes.in_order(grouped, 'abcde', 'edba', [(2, 3), (0, 1)]),
                               [[0.2, 0.8, 0.75, 0.25]], rtol=1e-6)

"""The smallest drop that so many examples can tell, by its published form and by drawing examples."""

import numpy as np
import pytest

from model_code import statistical_power


@pytest.mark.parametrize('examples, points', [(100, 7.9), (1_000, 2.5), (10_000, 0.8)])
def test_the_drop_in_points(examples, points):
    assert round(100 * statistical_power.smallest_drop(examples), 1) == points


def test_a_test_finds_such_a_drop_four_times_of_five_and_none_one_time_of_twenty():
    rng, examples = np.random.default_rng(0), 1_000
    drop, disagreement = statistical_power.smallest_drop(examples), statistical_power.DISAGREEMENT

    def found(true_drop):
        worse, better = (disagreement + true_drop) / 2, (disagreement - true_drop) / 2
        only_old, only_new, _ = rng.multinomial(examples, [worse, better, 1 - disagreement], size=20_000).T
        return np.mean((only_old - only_new) / np.sqrt(only_old + only_new) > 1.6449)
    assert found(drop) == pytest.approx(0.8, abs=0.02)
    assert found(0.0) == pytest.approx(0.05, abs=0.01)


@pytest.mark.parametrize('drop', [0.02, 0.05, 0.06, 0.5, 1.0])
def test_so_many_examples_as_are_needed_tell_the_drop_and_one_less_does_not(drop):
    needed = statistical_power.units_needed(drop)
    assert statistical_power.smallest_drop(needed) <= drop
    assert needed == 1 or statistical_power.smallest_drop(needed - 1) > drop


def test_no_example_tells_nothing():
    with pytest.raises(ValueError, match='at least one'):
        statistical_power.smallest_drop(0)

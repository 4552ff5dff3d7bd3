"""Numbers in words."""

import pytest

from model_code import words


@pytest.mark.parametrize('share, text', [
    (0, '0%'), (1e-9, 'under 1%'), (0.0049, 'under 1%'), (0.006, '1%'), (0.5, '50%'), (0.9949, '99%'),
    (0.995, 'over 99%'), (0.9999999, 'over 99%'), (1, '100%')])
def test_what_is_not_all_or_nothing_does_not_read_so(share, text):
    assert words.percent(share) == text

"""What a terminal may get of names from elsewhere."""

import pytest

from model_code.printable import printable


@pytest.mark.parametrize('text, shown', [
    ('plain ü 猫 🐈 \t\n', 'plain ü 猫 🐈 \t\n'),
    ('\x1b]0;title\x07', r'\x1b]0;title\x07'),
    ('a\rb\x9b2J\x7f', r'a\rb\x9b2J\x7f'),
    ('\udcff\ud83d', r'\xff\ud83d'),
    ('gpj.\u202eexe\u2066\u2028', r'gpj.\u202eexe\u2066\u2028'),
])
def test_printable(text, shown):
    assert printable(text) == shown
    assert printable(shown) == shown
    assert printable(text, keep='').isprintable()

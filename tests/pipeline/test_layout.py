"""Text that fits a terminal."""

import io

import pytest

from pipeline import layout


def test_what_is_no_terminal_keeps_its_lines():
    assert layout.columns(io.StringIO()) is None and layout.fits(['x' * 500], None)
    assert layout.wrap('long ' * 100, None) == ['long ' * 100] and layout.cut('x' * 500, None) == 'x' * 500


def test_lines_break_between_words_and_keep_their_indent():
    assert layout.wrap('    one two three', 12) == ['    one two', '    three']
    assert layout.wrap('  - one two', 8) == ['  - one', '    two']
    path = '/a/' + 'b' * 40
    assert layout.wrap(f'  in {path} it is', 20) == ['  in', path, '  it is']


@pytest.mark.parametrize('limit, text', [(20, '/data/pictures/a.png'), (13, '/data...a.png'), (12, '/dat...a.png')])
def test_the_middle_is_cut(limit, text):
    assert layout.cut('/data/pictures/a.png', limit) == text


def test_tables_are_as_wide_as_their_contents():
    assert layout.table([['task', 'value', 'verdict'], ['a', '10', 'passed']], left=(0, 2)) == [
        'task  value  verdict', 'a        10  passed']

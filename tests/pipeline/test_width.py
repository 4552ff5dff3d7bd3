"""Text that fits a terminal."""

import io

import pytest

from pipeline import width


def test_what_is_no_terminal_keeps_its_lines():
    assert width.columns(io.StringIO()) is None and not width.is_narrow(None)
    assert width.wrap('long ' * 100, None) == ['long ' * 100] and width.cut('x' * 500, None) == 'x' * 500


def test_narrow_is_below_a_hundred_columns():
    assert width.is_narrow(99) and not width.is_narrow(100)


def test_lines_break_between_words_and_keep_their_indent():
    assert width.wrap('    one two three', 12) == ['    one two', '    three']
    assert width.wrap('  - one two', 8, hanging=2) == ['  - one', '    two']
    path = '/a/' + 'b' * 40
    assert width.wrap(f'  in {path} it is', 20) == ['  in', f'  {path}', '  it is']


@pytest.mark.parametrize('limit, text', [(20, '/data/pictures/a.png'), (13, '/data...a.png'), (12, '/dat...a.png')])
def test_the_middle_is_cut(limit, text):
    assert width.cut('/data/pictures/a.png', limit) == text


def test_tables_are_as_wide_as_their_contents():
    assert width.table([['task', 'value', 'verdict'], ['a', '10', 'passed']], left=(0, 2)) == [
        'task  value  verdict', 'a        10  passed']

"""media.rejections: a Rejection is raised, kept as a value, and written as a line of rejected.jsonl."""

import json
import pickle

import pytest

from media import rejections
from media.rejections import Rejection


def test_a_rejection_is_a_value():
    rejection = Rejection('empty', 'The file has no bytes.', 'a.png')
    assert rejection == Rejection('empty', 'The file has no bytes.', 'a.png')
    assert len({rejection, Rejection('empty', 'The file has no bytes.', 'a.png')}) == 1
    for other in (Rejection('empty', 'The file has no bytes.', 'b.png'),
                  Rejection('missing', rejection.detail, 'a.png'),
                  Rejection('empty', 'It has no sample.', 'a.png'), 'empty'):
        assert rejection != other
    copy = pickle.loads(pickle.dumps(rejection))
    assert copy == rejection and type(copy) is Rejection


def test_rejections_are_ordered_by_path_then_reason_then_detail():
    ordered = [Rejection('missing', 'z', 'a'), Rejection('empty', 'a', 'b'), Rejection('empty', 'b', 'b'),
               Rejection('missing', 'a', 'b')]
    assert sorted(reversed(ordered)) == ordered


def test_at_gives_a_raised_rejection_a_path_and_drops_its_traceback():
    with pytest.raises(Rejection) as caught:
        raise Rejection('truncated', 'It ends.')
    kept = caught.value.at('a.png')
    assert kept == Rejection('truncated', 'It ends.', 'a.png')
    assert caught.value.__traceback__ is not None and kept.__traceback__ is None


def test_lines_are_written_in_order_and_read_back():
    rejected = [Rejection('empty', 'caf\u00e9', 'b\udcff.png'), Rejection('missing', 'There is no such file.', 'a.png')]
    text = ''.join(rejections.to_lines(rejected))
    assert text.isascii()
    assert [json.loads(line) for line in text.splitlines()] == [
        {'path': 'a.png', 'reason': 'missing', 'detail': 'There is no such file.'},
        {'path': 'b\udcff.png', 'reason': 'empty', 'detail': 'caf\u00e9'}]
    assert rejections.from_lines(text) == sorted(rejected)
    assert rejections.from_lines('') == []

"""serving.json_tensors and json_parser: cases beyond the contract's vectors, which test_conformance.py sends."""

import json
import math
import re

import numpy as np
import pytest

from serving import json_parser, json_tensors
from serving.errors import ServingError
from tests.serving import vectors


def parse_predict(body, inputs):
    document = json_parser.parse_json(body.encode() if isinstance(body, str) else body)
    json_tensors.signature_name(document)
    return json_tensors.predict_inputs(document, inputs)


def test_int64_is_exact():
    big = 2**63 - 1
    _, tensors = parse_predict('{"instances": [%d, %d]}' % (big, -2**63), {'x': 'DT_INT64'})
    assert tensors['x'].tolist() == [big, -2**63]
    assert vectors.tokens(json_tensors.predictions_json({'x': tensors['x']}, 'row')) == {
        'predictions': [str(big), str(-2**63)]}
    with pytest.raises(ServingError, match='is not of expected type: int64'):
        parse_predict('{"instances": [%d]}' % (big + 1), {'x': 'DT_INT64'})


@pytest.mark.parametrize('value, dtype, text', [
    ('true', 'DT_FLOAT', 'Type: True is not of expected type: float'),
    ('true', 'DT_INT32', 'Type: True is not of expected type: int32'),
    ('256', 'DT_UINT8', 'is not of expected type: uint8'),
    ('-1', 'DT_UINT64', 'is not of expected type: uint64'),
    ('{"b64": "YQ==", "x": 1}', 'DT_STRING', 'does not have named input'),
    ('{"b64": "YQ==="}', 'DT_STRING', 'Unable to base64 decode'),
    ('"\\ud800"', 'DT_STRING', 'surrogate pair in string is invalid'),
    ('1e400', 'DT_DOUBLE', 'JSON Parse error: Number too big'),
    ('9' * 5000, 'DT_DOUBLE', 'JSON Parse error: Number too big'),
    ('9' * 400, 'DT_DOUBLE', 'JSON Parse error: Number too big'),
    ('9' * 30 + ', 1', 'DT_INT64', 'is not of expected type: int64'),
    ('[1.0, 2.0], [3.0, true]', 'DT_FLOAT', 'Failed to process element: 1 of'),
    ('1.0, null', 'DT_FLOAT', 'Failed to process element: 1 of'),
    ('1, {"x": 1}', 'DT_INT32', 'Expecting value/list but got object at item 1 of input list'),
    ('[', 'DT_FLOAT', 'JSON Parse error: '),
    ('Inf]', 'DT_FLOAT', 'JSON Parse error: '),
    ('[' * 40 + '1.0' + ']' * 40, 'DT_FLOAT', 'nested to 41 dimensions. This server takes at most 32'),
])
def test_wrong_values(value, dtype, text):
    with pytest.raises(ServingError) as error:
        parse_predict('{"instances": [' + value + ']}', {'x': dtype})
    assert text in error.value.message
    assert error.value.http_status == 400


def test_numbers_are_rounded_to_a_float():
    _, tensors = parse_predict('{"instances": [16777217, 1435774380, 1e39, -1e300, 1e-300, %d]}' % 10**40,
                               {'x': 'DT_FLOAT'})
    assert tensors['x'].tolist() == [16777216, 1435774336, math.inf, -math.inf, 0, math.inf]
    assert tensors['x'].dtype == np.float32
    assert parse_predict('{"inputs": [9007199254740993, 0.1]}', {'x': 'DT_DOUBLE'})[1]['x'].tolist() == [
        9007199254740992, 0.1]
    document = json_parser.parse_json(b'{"examples": [{"f": [1e39, 0.1], "big": -1%s}]}' % (b'0' * 20))
    assert json_tensors.classify_examples(document)[1] == [
        {'f': ('float', [math.inf, float(np.float32(0.1))]), 'big': ('float', [float(np.float32(-1e20))])}]


def test_integers_beyond_64_bits_are_decimals():
    assert parse_predict('{"instances": [%d, -Infinity, 3]}' % 10**30, {'x': 'DT_DOUBLE'})[1]['x'].tolist() == [
        1e30, -math.inf, 3]


def test_strings_keep_their_bytes():
    body = b'{"instances": ["caf\xc3\xa9", "\xff", {"b64": "AP8"}, "Inf [ \\" ] \\\\", "\\u00e9"]}'
    _, tensors = parse_predict(body, {'x': 'DT_STRING'})
    values = ['café'.encode(), b'\xff', b'\x00\xff', b'Inf [ " ] \\', 'é'.encode()]
    assert tensors['x'].tolist() == values
    reply = json_tensors.predictions_json({'x': tensors['x']}, 'row')
    assert json.loads(reply.decode('utf-8', 'surrogateescape'))['predictions'] == [
        v.decode('utf-8', 'surrogateescape') for v in values]
    assert b'"caf\xc3\xa9", "\xff"' in reply
    assert json.loads(json_tensors.predictions_json({'x_bytes': tensors['x'][1:3]}, 'columnar')) == {
        'outputs': [{'b64': '/w=='}, {'b64': 'AP8='}]}


def test_inf_is_a_number_only_outside_strings():
    _, tensors = parse_predict('{"inputs": {"s": "Inf \\" Inf", "f": [Inf, -Inf, Infinity]}}',
                               {'s': 'DT_STRING', 'f': 'DT_FLOAT'})
    assert tensors['s'].item() == b'Inf " Inf'
    assert tensors['f'].tolist() == [math.inf, -math.inf, math.inf]


def test_the_first_of_two_equal_keys_wins():
    assert parse_predict('{"instances": [1], "instances": [2]}', {'x': 'DT_INT32'})[1]['x'].tolist() == [1]


def test_depth_and_size_are_bounded_before_parsing():
    nested = b'{"instances": ' + b'[' * 63 + b']' * 63 + b'}'
    assert json_parser.parse_json(nested)['instances'] is not None
    with pytest.raises(ServingError, match='deeper than 64 levels'):
        json_parser.parse_json(b'{"instances": ' + b'[' * 64 + b']' * 64 + b'}')
    # Brackets in a string do not nest, even after an escaped quote. Brackets after a string that ends in an escaped
    # backslash do.
    assert json_parser.parse_json(b'{"a": "' + b'\\"[' * 200 + b'"}')['a'] == '"[' * 200
    assert json_parser.parse_json(b'{"a": "' + b'\\\\\\"[' * 200 + b'"}')['a'] == '\\"[' * 200
    with pytest.raises(ServingError, match='deeper than 64 levels'):
        json_parser.parse_json(b'{"a": "\\\\", "inputs": ' + b'[' * 64 + b']' * 64 + b'}')
    # The same if a string or the nesting crosses the border between two chunks of the check.
    for spaces in range(2**20 - 80, 2**20 + 8, 8):
        head = b'{"a": "' + b' ' * spaces + b'", "b": '
        assert len(json_parser.parse_json(head + b'"' + b'[' * 99 + b'"}')) == 2
        with pytest.raises(ServingError, match='deeper than 64 levels'):
            json_parser.parse_json(head + b'[' * 64 + b']' * 64 + b'}')
    with pytest.raises(ServingError, match='at least: 10[12]. This server takes at most 50 .--max-elements.'):
        json_parser.parse_json(b'{"instances": [' + b'[],' * 100 + b'[]]}', max_elements=50)


def test_ignored_values_may_be_nested_deeper():
    ignored = (b'"x": {"y":' + b'[1, "q[\\"", {"k": null}, -Inf, ' * 100 + b'1e5' + b']' * 100 + b'}, '
               b'"z": ' + b'[{"a":' * 80 + b'1' + b'}]' * 80)
    for body in (b'{%s, "instances": [2, "]"]}', b' {"instances": [2, "]"], %s} [{',
                 b'{"instances": [2, "]"], %s, "w": 0}'):
        assert json_parser.parse_json(body % ignored)['instances'] == [2, ']']
    for wrong, text in ((b'[' * 99 + b'}' * 99, 'Invalid value. at offset: 105'),
                        (b'[' * 99 + b'1 2' + b']' * 99, 'Missing a comma or ] after an array element. at offset: 107'),
                        (b'[{"k":' * 99 + b'{"a" 1' + b'}]' * 99, 'Missing a colon after a name'),
                        (b'[{"k":' * 99 + b'{"a":1 "b"' + b'}]' * 99, 'Missing a comma or } after an object member'),
                        (b'[{"k":' * 99 + b'{1' + b'}]' * 99, 'Missing a name for object member'),
                        (b'[' * 99 + b'"\\x"' + b']' * 99, 'Invalid value'), (b'[' * 99, 'Invalid value')):
        with pytest.raises(ServingError, match=re.escape(text)) as error:
            json_parser.parse_json(b'{"x": ' + wrong + b'}')
        assert error.value.http_status == 400
    # Not in what is read, and not in a large document.
    for body in (b'[' * 99 + b']' * 99, b'{"instances": {"x": %s, "y": 1}}' % (b'[' * 99 + b']' * 99),
                 b'{"x": %s, "y": "%s"}' % (b'[' * 99 + b']' * 99, b' ' * 2**20)):
        with pytest.raises(ServingError, match='deeper than 64 levels'):
            json_parser.parse_json(body)


@pytest.mark.parametrize('body, text', [
    (b'instances = [1]', 'Invalid value. at offset: 0'), (b'  ', 'The document is empty. at offset: 2'),
    (b'{"a":1', 'Missing a comma or } after an object member. at offset: 6'),
    ('{"é": [1, {"b": 2} 3]}'.encode(), 'Missing a comma or ] after an array element. at offset: 20'),
    (b'{"a" 1}', 'Missing a colon after a name of object member. at offset: 5'),
    (b'{1:2}', 'Missing a name for object member. at offset: 1'), (b'{"a":1,}', 'Missing a name for object member.'),
    (b'{"a":[1,]}', 'Invalid value. at offset: 8'), (b'{"a":"x', 'Missing a closing quotation mark in string.'),
    (b'{"a":"\\x"}', 'Invalid escape character in string.'),
    (b'{"a":"\\u12"}', 'Incorrect hex digit after \\u escape'), (b'{"a":"\n"}', 'Invalid encoding in string.'),
])
def test_errors_have_the_words_of_rapidjson(body, text):
    with pytest.raises(ServingError) as error:
        json_parser.parse_json(body)
    assert error.value.message.startswith(f'JSON Parse error: {text}')


def test_what_follows_the_object_is_ignored():
    for tail in (b' x', b'}}]]', b'{"instances": [2]}', b'[' * 1000, b'\xff'):
        assert json_parser.parse_json(b'\xef\xbb\xbf {"instances": [1]}' + tail) == {'instances': [1]}
        nested = b'{"instances": ' + b'[' * 40 + b']' * 40 + b', "a": ' + b'[' * 40 + b']' * 40 + b'}'
        assert json_parser.parse_json(nested + tail).keys() == {'instances', 'a'}


def test_long_values_are_cut_in_errors():
    with pytest.raises(ServingError) as error:
        parse_predict('{"inputs": [1], "instances": [' + '1, ' * 100_000 + '1]}', {'x': 'DT_INT32'})
    assert len(error.value.message) < 400
    assert 'Not formatted correctly' in error.value.message
    document = {'a': [1, 2.5, None, 'caf\xe9'], 'b': {}, 'c': [], 'd': {'e': True}}
    assert json_parser.quote(document) == json.dumps(document, indent=4, ensure_ascii=False)
    assert json_parser.quote('x' * 300) == '"' + 'x' * 255 + '...'
    assert json_parser.quote('\udcff') == '"\\udcff"'


def test_a_feature_name_must_be_utf_8():
    with pytest.raises(ServingError, match='name that is not UTF-8') as error:
        json_tensors.classify_examples(json_parser.parse_json(b'{"examples": [{"\xff": 1}]}'))
    assert error.value.http_status == 400


def test_floats_read_back_exactly():
    rng = np.random.default_rng(0)
    for dtype, bits in ((np.float32, np.uint32), (np.float64, np.uint64)):
        values = rng.integers(0, np.iinfo(bits).max, 2000, dtype=bits).view(dtype)
        values = values[np.isfinite(values)]
        back = np.array([float(t) for t in json_tensors.float_tokens(values)], np.float64).astype(dtype)
        np.testing.assert_array_equal(back, values)
    assert json_tensors.float_tokens(np.array([1, -0.0, 0.1, 1 / 3, 1e20], np.float32)) == [
        '1.0', '-0.0', '0.1', '0.333333343', '1e+20']
    assert json_tensors.float_tokens(np.array([1 / 3])) == ['0.33333333333333331']


def test_several_outputs():
    outputs = {'scores': np.array([[.5, .25], [1, 0]], np.float32), 'id': np.array([7, 8], np.int64)}
    assert json.loads(json_tensors.predictions_json(outputs, 'row')) == {
        'predictions': [{'id': 7, 'scores': [.5, .25]}, {'id': 8, 'scores': [1, 0]}]}
    assert json.loads(json_tensors.predictions_json(outputs, 'columnar')) == {
        'outputs': {'id': [7, 8], 'scores': [[.5, .25], [1, 0]]}}
    with pytest.raises(ServingError, match='inconsistent batch size: 2 expecting: 1'):
        json_tensors.predictions_json({'a': np.zeros([1]), 'b': np.zeros([2])}, 'row')
    with pytest.raises(ServingError, match='Tensor name: a has no shape information'):
        json_tensors.predictions_json({'a': np.array(1.0)}, 'row')

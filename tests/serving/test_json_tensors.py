"""serving.json_tensors: the vectors of TensorFlow Serving's contract, and cases of our own."""

import json
import math

import numpy as np
import pytest

from serving import json_tensors
from serving.errors import ServingError
from tests.serving import vectors

PARSE = vectors.of_kind('request-parse')
FORMAT = vectors.of_kind('response-format')


def parse_predict(body, inputs):
    document = json_tensors.parse_json(body.encode() if isinstance(body, str) else body)
    json_tensors.signature_name(document)
    return json_tensors.predict_inputs(document, inputs)


def number(value):
    return {'NaN': math.nan, 'Infinity': math.inf, '-Infinity': -math.inf}.get(value, value)


def as_tensor(spec):
    numpy_type = json_tensors.NUMPY_TYPES[spec['dtype']]
    values = [v.encode() if numpy_type is np.object_ else number(v) for v in spec['values']]
    return np.array(values, numpy_type).reshape(spec['shape'])


def assert_same(tensor, spec):
    expected = as_tensor(spec)
    assert tensor.dtype == expected.dtype
    assert tensor.shape == expected.shape
    if tensor.dtype == object:
        assert tensor.tolist() == expected.tolist()
    else:
        np.testing.assert_array_equal(tensor, expected)


def check_error(call, expect):
    """call() raises the ServingError that the vector expects."""
    with pytest.raises(ServingError) as error:
        call()
    assert (error.value.code, error.value.http_status) == (expect['code'], expect['http_status'])
    for text in expect['error_contains']:
        assert text in error.value.message


@pytest.mark.parametrize('case', PARSE, ids=lambda c: c['name'])
def test_request_vectors(case):
    request, expect = case['request'], case['expect']
    if case.get('min_version', '') > '2.16.1':
        # TensorFlow Serving 2.16.1 overflows its stack here; we reject the request before parsing it.
        body = ''.join(p if isinstance(p, str) else p['repeat'] * p['times'] for p in request['body_concat'])
        with pytest.raises(ServingError, match='nested deeper than 64 levels') as error:
            json_tensors.parse_json(body.encode())
        assert error.value.http_status == 400
        return
    if request['api'] == 'predict':
        def call():
            return parse_predict(request['body'], request['signature_inputs'])
    else:
        def call():
            document = json_tensors.parse_json(request['body'].encode())
            return json_tensors.signature_name(document), json_tensors.classify_examples(document)
    if not expect['ok']:
        check_error(call, expect)
    elif request['api'] == 'predict':
        form, tensors = call()
        assert form == expect['format']
        assert tensors.keys() == expect['tensors'].keys()
        for name, spec in expect['tensors'].items():
            assert_same(tensors[name], spec)
    else:
        name, (context, examples) = call()
        assert name == expect.get('signature_name', '')

        def decoded(example):
            return example and {n: {k: [v.decode() if k == 'bytes' else v for v in values]}
                                for n, (k, values) in example.items()}

        def expected(example):
            return example and {n: {k: [number(v) if k == 'float' else v for v in vs] for k, vs in kinds.items()}
                                for n, kinds in example.items()}
        np.testing.assert_equal(decoded(context), expected(expect['context']))
        np.testing.assert_equal([decoded(e) for e in examples], [expected(e) for e in expect['examples']])


@pytest.mark.parametrize('case', FORMAT, ids=lambda c: c['name'])
def test_response_vectors(case):
    request, expect = case['request'], case['expect']

    def call():
        if 'classifications' in request:
            return json_tensors.classifications_json(request['classifications'])
        if 'status' in request:
            return json_tensors.error_json(request['status']['message'])
        tensors = {name: as_tensor(spec) for name, spec in request['tensors'].items()}
        return json_tensors.predictions_json(tensors, request['format'])
    if not expect['ok']:
        check_error(call, expect)
    elif 'body' in expect:
        assert call().decode() == expect['body']
    elif 'json_tokens' in expect:
        assert vectors.tokens(call()) == expect['json_tokens']
    else:
        assert json.loads(call()) == expect['json']


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
    ('1e60', 'DT_FLOAT', 'to float without loss of precision'),
    ('16777217', 'DT_FLOAT', 'to float without loss of precision'),
    ('{"b64": "YQ==", "x": 1}', 'DT_STRING', 'does not have named input'),
    ('{"b64": "YQ==="}', 'DT_STRING', 'Unable to base64 decode'),
    ('"\\ud800"', 'DT_STRING', 'surrogate pair in string is invalid'),
    ('1e400', 'DT_DOUBLE', 'JSON Parse error: Number too big'),
    ('9' * 5000, 'DT_DOUBLE', 'JSON Parse error: Number too big'),
    ('9' * 400, 'DT_DOUBLE', 'JSON Parse error: Number too big'),
    ('9' * 30 + ', 1', 'DT_INT64', 'is not of expected type: int64'),
    ('[1.0, 2.0], [3.0, true]', 'DT_FLOAT', 'Failed to process element: 1 of'),
    ('1.0, 1e39', 'DT_FLOAT', 'Failed to process element: 1 of'),
    ('1, {"x": 1}', 'DT_INT32', 'Expecting value/list but got object at item 1 of input list'),
    ('[', 'DT_FLOAT', 'JSON Parse error: '),
    ('Inf]', 'DT_FLOAT', 'JSON Parse error: '),
])
def test_wrong_values(value, dtype, text):
    with pytest.raises(ServingError) as error:
        parse_predict('{"instances": [' + value + ']}', {'x': dtype})
    assert text in error.value.message
    assert error.value.http_status == 400


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
    assert json_tensors.parse_json(nested)['instances'] is not None
    with pytest.raises(ServingError, match='deeper than 64 levels'):
        json_tensors.parse_json(b'{"instances": ' + b'[' * 64 + b']' * 64 + b'}')
    # Brackets in a string do not nest, even after an escaped quote. Brackets after a string that ends in an escaped
    # backslash do.
    assert json_tensors.parse_json(b'{"a": "' + b'\\"[' * 200 + b'"}')['a'] == '"[' * 200
    assert json_tensors.parse_json(b'{"a": "' + b'\\\\\\"[' * 200 + b'"}')['a'] == '\\"[' * 200
    with pytest.raises(ServingError, match='deeper than 64 levels'):
        json_tensors.parse_json(b'{"a": "\\\\", "b": ' + b'[' * 64 + b']' * 64 + b'}')
    # The same if a string or the nesting crosses the border between two chunks of the check.
    for spaces in range(2**20 - 80, 2**20 + 8, 8):
        head = b'{"a": "' + b' ' * spaces + b'", "b": '
        assert len(json_tensors.parse_json(head + b'"' + b'[' * 99 + b'"}')) == 2
        with pytest.raises(ServingError, match='deeper than 64 levels'):
            json_tensors.parse_json(head + b'[' * 64 + b']' * 64 + b'}')
    with pytest.raises(ServingError, match='at least: 10[12]. This server takes at most 50 .--max-elements.'):
        json_tensors.parse_json(b'{"instances": [' + b'[],' * 100 + b'[]]}', max_elements=50)


def test_long_values_are_cut_in_errors():
    with pytest.raises(ServingError) as error:
        parse_predict('{"inputs": [1], "instances": [' + '1, ' * 100_000 + '1]}', {'x': 'DT_INT32'})
    assert len(error.value.message) < 1000
    assert 'Not formatted correctly' in error.value.message


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

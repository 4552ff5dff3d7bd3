"""TensorFlow Serving's REST JSON to tensors and back: pure functions over bytes and numpy arrays, without TensorFlow.

A tensor is a numpy array; a DT_STRING tensor is an object array of `bytes`. Data types have their proto names
('DT_FLOAT'). Error texts begin as those of TensorFlow Serving 2.18 do, because people search for them. Every error is a
ServingError. json_parser makes the document of a request.
"""

import base64
import binascii
import json
import math

import numpy as np

from serving.errors import ServingError, invalid
from serving.json_parser import quote

MAX_RANK = 32  # that arrays of numpy 1 can have
NUMPY_TYPES = {
    'DT_FLOAT': np.float32, 'DT_DOUBLE': np.float64, 'DT_INT8': np.int8, 'DT_INT16': np.int16, 'DT_INT32': np.int32,
    'DT_INT64': np.int64, 'DT_UINT8': np.uint8, 'DT_UINT16': np.uint16, 'DT_UINT32': np.uint32,
    'DT_UINT64': np.uint64, 'DT_BOOL': np.bool_, 'DT_STRING': np.object_,
}
_PROTO_NAMES = {np.dtype(numpy_type): name for name, numpy_type in NUMPY_TYPES.items()}


def _json_type(value) -> str:
    if value is None:
        return 'Null'
    if value is True or value is False:
        return str(value)
    return {dict: 'Object', list: 'Array', str: 'String'}.get(type(value), 'Number')


# ---- Predict requests ---------------------------------------------------------------------------------------------

def signature_name(document: dict) -> str:
    """The request's signature_name; '' if it gives none."""
    name = document.get('signature_name', '')
    if not isinstance(name, str):
        raise invalid(f"JSON Value: {quote(document)} not formatted correctly. 'signature_name' key must be a string "
                      'value.')
    return name


def predict_inputs(document: dict, inputs: dict[str, str]) -> tuple[str, dict[str, np.ndarray]]:
    """A predict request -> its format ('row' or 'columnar') and its tensors by input name.

    document: the request, from `parse_json`. inputs: the names of the signature's inputs -> their data types.
    """
    if not inputs:
        raise invalid(f'Failed to get input map for signature: {signature_name(document) or "DEFAULT"}')
    if 'instances' in document and 'inputs' in document:
        raise invalid(f"JSON Value: {quote(document)} Not formatted correctly expecting only one of 'inputs' or "
                      "'instances' keys to exist")
    if 'instances' in document:
        instances = document['instances']
        if not isinstance(instances, list):
            raise invalid(f"JSON Value: {quote(document)} Expecting 'instances' to be an list/array")
        if not instances:
            raise invalid(f"JSON Value: {quote(document)} No values in 'instances' array")
        return 'row', _from_instances(instances, inputs)
    if 'inputs' in document:
        return 'columnar', _from_inputs(document['inputs'], inputs)
    raise invalid("Missing 'inputs' or 'instances' key")


def _from_instances(instances: list, inputs: dict[str, str]) -> dict[str, np.ndarray]:
    if not isinstance(instances[0], dict) and len(inputs) > 1:
        raise invalid('instances is a plain list, but expecting list of objects as multiple input tensors required '
                      'as per tensorinfo_map')
    named = _is_named(instances[0])
    only_name = min(inputs)
    if not named:
        # All at once if nothing is wrong. Else one by one below, for an error that names the element.
        try:
            return _from_inputs(instances, {only_name: inputs[only_name]})
        except ServingError:
            pass
    shapes: dict[str, list[int]] = {}
    values: dict[str, list] = {name: [] for name in inputs}
    for index, instance in enumerate(instances):
        if _is_named(instance) != named:
            wanted = 'object but got list' if named else 'value/list but got object'
            raise invalid(f'Expecting {wanted} at item {index} of input list')
        for name, value in (instance.items() if named else [(only_name, instance)]):
            try:
                _add_instance(name, value, inputs, shapes, values)
            except ServingError as error:
                key = f' key: {name}' if named else ''
                raise invalid(
                    f"Failed to process element: {index}{key} of 'instances' list. Error: {error}") from None
        if named and instance.keys() != inputs.keys():
            raise invalid(f"Failed to process element: {index} of 'instances' list. JSON object: {quote(instance)} "
                          f'keys must be equal to: {",".join(sorted(inputs))}')
    return {name: _array(values[name], inputs[name], [len(instances)] + shapes[name]) for name in inputs}


def _add_instance(name, value, inputs, shapes, values):
    if name not in inputs:
        raise invalid(f'JSON object: does not have named input: {name}')
    shape = _dense_shape(value)
    flat = _flatten(value, shape, inputs[name])
    first = shapes.setdefault(name, shape)
    if math.prod(first) != len(flat):
        raise invalid(f'Expecting tensor size: {math.prod(first)} but got: {len(flat)}')
    if first != shape:
        raise invalid(f'Expecting shape {_shape_text(first)} but got: {_shape_text(shape)}')
    values[name] += flat


def _from_inputs(value, inputs: dict[str, str]) -> dict[str, np.ndarray]:
    if not _is_named(value):
        if len(inputs) > 1:
            raise invalid('inputs is a plain value/list, but expecting an object as multiple input tensors required '
                          'as per tensorinfo_map')
        value = {min(inputs): value}
    tensors = {}
    for name in sorted(inputs):
        if name not in value:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
        shape = _dense_shape(value[name])
        tensors[name] = _array(_flatten(value[name], shape, inputs[name]), inputs[name], shape)
    return tensors


def _is_base64(value) -> bool:
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get('b64'), str)


def _is_named(value) -> bool:
    return isinstance(value, dict) and not _is_base64(value)


def _shape_text(shape) -> str:
    return '[' + ','.join(map(str, shape)) + ']'


def _dense_shape(value) -> list[int]:
    """The shape that the first elements have; `_flatten` checks that the others have it, too."""
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        if not value:
            break
        value = value[0]
    return shape


def _flatten(value, shape: list[int], dtype: str) -> list:
    """The values of nested lists in row-major order, checked and converted for `dtype`."""
    flat: list = []
    _flatten_into(flat, value, 0, shape)
    return _convert(flat, dtype)


def _flatten_into(flat: list, value, level: int, shape: list[int]):
    if not isinstance(value, list):
        if level != len(shape):
            raise invalid(f'JSON Value: {quote(value)} found at incorrect level: {level + 1} in the JSON DOM. '
                          f'Expected at level: {len(shape)}')
        flat.append(value)
        return
    if level >= len(shape):
        raise invalid(f'Encountered list at unexpected level: {level} expected < {len(shape)}')
    if len(value) != shape[level]:
        raise invalid(f'Encountered list at unexpected size: {len(value)} at level: {level} expected size: '
                      f'{shape[level]}')
    if level == len(shape) - 1 and list not in set(map(type, value)):
        flat += value
        return
    for element in value:
        _flatten_into(flat, element, level + 1, shape)


def _convert(flat: list, dtype: str) -> list:
    """The values in Python types that numpy turns into `dtype`. They are checked all at once if that is enough."""
    types = set(map(type, flat))
    if dtype in ('DT_FLOAT', 'DT_DOUBLE') and types <= {int, float}:
        if int not in types or max(map(abs, flat)) < 2**64:
            return flat
    elif dtype.startswith(('DT_INT', 'DT_UINT')) and types == {int}:
        limits = np.iinfo(NUMPY_TYPES[dtype])
        if limits.min <= min(flat) and max(flat) <= limits.max and dtype != 'DT_UINT16':
            return flat
    return [_scalar(value, dtype) for value in flat]


def _array(flat: list, dtype: str, shape: list[int]) -> np.ndarray:
    if len(shape) > MAX_RANK:
        raise invalid(f'The values are nested to {len(shape)} dimensions. This server takes at most {MAX_RANK}')
    with np.errstate(over='ignore', under='ignore'):
        return np.array(flat, dtype=NUMPY_TYPES[dtype]).reshape(shape)


def _scalar(value, dtype: str):
    """One JSON value in a Python type that numpy turns into `dtype`."""
    numpy_type = NUMPY_TYPES.get(dtype)
    if numpy_type is None or dtype == 'DT_UINT16':
        raise ServingError('UNIMPLEMENTED', f'Conversion of JSON Value: {quote(value)} to type: {_type_text(dtype)}')
    if dtype == 'DT_STRING':
        if isinstance(value, dict):
            return _decode_base64(value)
        if isinstance(value, str):
            return _encode(value)
    elif dtype == 'DT_BOOL':
        if isinstance(value, bool):
            return value
    elif dtype in ('DT_FLOAT', 'DT_DOUBLE'):
        if type(value) in (int, float):
            return _decimal(value)
    elif type(value) is int:  # not bool, which is an int to Python
        limits = np.iinfo(numpy_type)
        if limits.min <= value <= limits.max:
            return value
    raise invalid(f'JSON Value: {quote(value)} Type: {_json_type(value)} is not of expected type: {_type_text(dtype)}')


def _decimal(value: int | float) -> float:
    """A number as a float64. TensorFlow Serving rounds it to a float32 from there, without a word."""
    try:
        return float(value)
    except OverflowError:
        raise invalid('JSON Parse error: Number too big to be stored in double.') from None


def _decode_base64(value: dict) -> bytes:
    if not _is_base64(value):
        raise invalid(f'JSON Value: {quote(value)} not formatted correctly for base64 data')
    text = ''.join(value['b64'].split())
    if len(text) % 4 and '=' not in text:  # padding may be left out
        text += '=' * (-len(text) % 4)
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise invalid('Unable to base64 decode') from None


def _encode(text: str) -> bytes:
    try:
        return text.encode('utf-8', 'surrogateescape')
    except UnicodeEncodeError:
        raise invalid('JSON Parse error: The surrogate pair in string is invalid.') from None


def _type_text(dtype: str) -> str:
    return dtype.removeprefix('DT_').lower()


# ---- Predict responses --------------------------------------------------------------------------------------------

def predictions_json(outputs: dict[str, np.ndarray], form: str) -> bytes:
    """The JSON text of a reply. outputs: tensors by output name; form: 'row' or 'columnar'."""
    if not outputs:
        raise invalid('Cannot convert empty tensor map to JSON')
    names = sorted(outputs)
    if form == 'columnar':
        parts = {name: _nest(_tokens(name, outputs[name]), outputs[name].shape) for name in names}
        body = parts[names[0]] if len(names) == 1 else _object(parts)
        return _bytes('{"outputs": ' + body + '}')
    batch = None
    for name in names:
        shape = outputs[name].shape
        if not shape:
            raise invalid(f'Tensor name: {name} has no shape information ')
        if batch is not None and shape[0] != batch:
            raise invalid(f'Tensor name: {name} has inconsistent batch size: {shape[0]} expecting: {batch}')
        batch = shape[0]
    rows = {name: _rows(name, outputs[name]) for name in names}
    if len(names) == 1:
        items = rows[names[0]]
    else:
        items = [_object({name: rows[name][i] for name in names}) for i in range(len(rows[names[0]]))]
    return _bytes('{"predictions": [' + ', '.join(items) + ']}')


def _rows(name: str, tensor: np.ndarray) -> list[str]:
    tokens = _tokens(name, tensor)
    size = math.prod(tensor.shape[1:])
    return [_nest(tokens[i * size:(i + 1) * size], tensor.shape[1:]) for i in range(tensor.shape[0])]


def _nest(tokens: list[str], shape) -> str:
    """Tokens of numbers or strings, in row-major order -> nested JSON lists of `shape`."""
    if not shape:
        return tokens[0]
    if len(shape) == 1:
        return '[' + ', '.join(tokens) + ']'
    size = math.prod(shape[1:])
    return '[' + ', '.join(_nest(tokens[i * size:(i + 1) * size], shape[1:]) for i in range(shape[0])) + ']'


def _object(parts: dict[str, str]) -> str:
    return '{' + ', '.join(f'{json.dumps(name)}: {part}' for name, part in parts.items()) + '}'


def _tokens(name: str, tensor: np.ndarray) -> list[str]:
    """One JSON token per value."""
    flat = tensor.reshape(-1)
    dtype = _PROTO_NAMES.get(tensor.dtype, '')
    if dtype in ('DT_FLOAT', 'DT_DOUBLE'):
        return float_tokens(flat)
    if dtype == 'DT_STRING':
        if name.endswith('_bytes'):
            return ['{"b64": "' + base64.b64encode(value).decode('ascii') + '"}' for value in flat]
        return [_string_token(value) for value in flat]
    if dtype == 'DT_BOOL':
        return ['true' if value else 'false' for value in flat]
    if dtype in ('', 'DT_UINT16'):
        raise invalid(f'Failed to write JSON value for tensor type: {tensor.dtype.name.replace("float16", "half")}')
    return [str(value) for value in flat.tolist()]


def float_tokens(values: np.ndarray) -> list[str]:
    """float32 or float64 [n] -> a JSON number for each value, as TensorFlow Serving prints it.

    Six digits if they read back as the same value, else as many as always do (9 for float32, 17 for float64). '.0' is
    added to what would look like an integer.
    """
    full = '%.9g' if values.dtype == np.float32 else '%.17g'
    numbers = values.tolist()
    tokens = [f'{number:.6g}' for number in numbers]
    with np.errstate(over='ignore'):
        same = np.array([float(token) for token in tokens], np.float64).astype(values.dtype) == values
    for i, (number, exact) in enumerate(zip(numbers, same, strict=True)):
        if math.isnan(number):
            tokens[i] = 'NaN'
        elif math.isinf(number):
            tokens[i] = 'Infinity' if number > 0 else '-Infinity'
        else:
            if not exact:
                tokens[i] = full % number
            if '.' not in tokens[i] and 'e' not in tokens[i]:
                tokens[i] += '.0'
    return tokens


def _string_token(value: bytes | str) -> str:
    text = value if isinstance(value, str) else value.decode('utf-8', 'surrogateescape')
    return json.dumps(text, ensure_ascii=False)


def _bytes(text: str) -> bytes:
    return text.encode('utf-8', 'surrogateescape')


def error_json(message: str) -> bytes:
    """{"error": message} as bytes; no bytes for an empty message."""
    return b'{"error": ' + json.dumps(message).encode('ascii') + b'}' if message else b''


# ---- Classify and regress -----------------------------------------------------------------------------------------

def classify_examples(document: dict) -> tuple[dict | None, list[dict]]:
    """A classify or regress request -> its context (None if it has none) and its examples.

    Each of them is {feature: (kind, values)}, with kind 'bytes', 'int64' or 'float' as in a tf.Example. A feature
    without values is (None, []).
    """
    context = _example(document['context']) if 'context' in document else None
    if 'examples' not in document:
        raise invalid(f"JSON Value: {quote(document)} When method is classify, key 'examples' is expected and was "
                      'not found')
    examples = document['examples']
    if not isinstance(examples, list):
        raise invalid(f"JSON Value: {quote(document)} Expecting 'examples' value to be an list/array")
    if not examples:
        raise invalid(f"JSON Value: {quote(document)} 'examples' value is an empty array")
    return context, [_example(example) for example in examples]


def _example(value) -> dict:
    if not isinstance(value, dict):
        raise invalid(f'Example must be JSON object but got JSON {_json_type(value)}')
    for name in value:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise invalid(f'Feature: {quote(name)} has a name that is not UTF-8') from None
    return {name: _feature(name, content if isinstance(content, list) else [content])
            for name, content in value.items()}


def _feature(name: str, elements: list) -> tuple[str | None, list]:
    kind, values = None, []
    for element in elements:
        this_kind, value = _feature_value(name, element)
        if kind not in (None, this_kind):
            raise invalid(f'Unexpected element type in feature: {name} expecting type: {kind}')
        kind = this_kind
        values.append(value)
    return kind, values


def _feature_value(name: str, element) -> tuple[str, object]:
    if element is None or isinstance(element, list) or _is_named(element):
        raise invalid(f'Feature: {name} has element with unexpected JSON type: {_json_type(element)}')
    if isinstance(element, dict):
        return 'bytes', _decode_base64(element)
    if isinstance(element, str):
        return 'bytes', _encode(element)
    if isinstance(element, float) or not -2**63 <= element < 2**64:  # an integer beyond 64 bits counts as a decimal
        with np.errstate(over='ignore', under='ignore'):
            return 'float', float(np.float32(_decimal(element)))
    if element >= 2**63:
        raise invalid(f'Feature: {name} has uint64 element. Only int64_t is supported.')
    return 'int64', int(element)


def classifications_json(classifications: list[list[tuple[str, float]]]) -> bytes:
    """The (label, score) pairs of each example -> the JSON text of the reply."""
    if not classifications:
        raise invalid('Cannot convert empty ClassificationResults to JSON')
    items = []
    for pairs in classifications:
        scores = float_tokens(np.array([score for _, score in pairs], np.float32))
        items.append('[' + ', '.join(f'[{_string_token(label)}, {score}]'
                                     for (label, _), score in zip(pairs, scores, strict=True)) + ']')
    return _bytes('{"results": [' + ', '.join(items) + ']}')


def regressions_json(values: np.ndarray) -> bytes:
    """float32 [n] -> the JSON text of the reply."""
    if not len(values):
        raise invalid('Cannot convert empty RegressionResults to JSON')
    return _bytes('{"results": [' + ', '.join(float_tokens(values)) + ']}')

"""The JSON text of a request to Python values, bounded before it is parsed, with the errors of TensorFlow Serving 2.18.

That release parses with RapidJSON: without recursion, `NaN`, `Infinity` and `Inf` are numbers, the first of two equal
keys counts, bytes after the object are ignored. Its error texts are kept, because people search for them.
"""

import json
import math
import re

import numpy as np

from serving import metrics
from serving.errors import ServingError, invalid
from serving.limits import exceeded, flag

USED_KEYS = {'signature_name', 'instances', 'inputs', 'context', 'examples'}
"""The keys of a request that are read. The values of others only have to be JSON."""

_MAX_QUOTED = 256  # characters of a wrong JSON value that an error message quotes
_SPACE = b' \t\n\r'
_TOO_BIG = 'Number too big to be stored in double.'


def parse_json(body: bytes, max_depth: int = 64, max_elements: int = 500_000) -> dict:
    """The top-level JSON object of a request. Strings may hold bytes that are not UTF-8, kept as surrogate escapes.

    The nesting depth and the number of values are checked before parsing: Python's parser recurses, and a two-byte `[]`
    takes twenty times its size in memory. max_elements: numbers and strings, with as many lists and objects around
    them. Values that the server ignores may be nested deeper, as long as the document is no larger than 1 MiB. Raises
    ServingError.
    """
    body = body.removeprefix(b'\xef\xbb\xbf')
    start = len(body) - len(body.lstrip(_SPACE))
    if start == len(body):
        raise invalid('JSON Parse error: The document is empty' + (f'. at offset: {start}' if start else ''))
    if body[start] in b'[{':
        end, depth = _measure(body, max_depth, max_elements)
        body = body[:end]
        if depth > max_depth:
            body = _without_deep_values(body, max_depth)
    document = _decode(body, start)
    if not isinstance(document, dict):
        raise invalid(f'JSON Value: {quote(document)} Is not object')
    return document


def _decode(body: bytes, start: int):
    """The JSON value that begins at `start`; what follows it is ignored."""
    text = body.decode('utf-8', 'surrogateescape')
    try:
        return _DECODER.raw_decode(text, start)[0]
    except ValueError as error:
        # The search for `Inf` stops at every quote. A large hostile body would be full of them, so it is not searched.
        if b'Inf' in body and len(body) <= _CHUNK_BYTES:
            try:
                return _DECODER.raw_decode(_respell_infinity(body).decode('utf-8', 'surrogateescape'), start)[0]
            except ValueError:
                pass
        if isinstance(error, json.JSONDecodeError):
            raise _parse_error(error, text) from None
        raise invalid(f'JSON Parse error: {_TOO_BIG}') from None  # for more than 4,300 digits int() raises ValueError


def _first_wins(pairs: list) -> dict:
    document = dict(pairs)
    return document if len(document) == len(pairs) else dict(reversed(pairs))


def _parse_float(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError(_TOO_BIG)
    return value


_DECODER = json.JSONDecoder(object_pairs_hook=_first_wins, parse_float=_parse_float)


# ---- Errors -------------------------------------------------------------------------------------------------------

_NO_VALUE = 'Invalid value.'
_NO_NAME = 'Missing a name for object member.'
_NO_COLON = 'Missing a colon after a name of object member.'
_NO_COMMA = {'{': 'Missing a comma or } after an object member.', '[': 'Missing a comma or ] after an array element.'}
# The beginnings of the messages of Python's parser -> RapidJSON's.
_MESSAGES = {
    'Expecting value': _NO_VALUE, 'Expecting property name': _NO_NAME, "Expecting ':'": _NO_COLON,
    'Illegal trailing comma before end of object': _NO_NAME, 'Illegal trailing comma': _NO_VALUE,
    'Unterminated string': 'Missing a closing quotation mark in string.',
    'Invalid control character': 'Invalid encoding in string.',
    'Invalid \\uXXXX': 'Incorrect hex digit after \\u escape in string.',
    'Invalid \\escape': 'Invalid escape character in string.',
    'Invalid \\': 'Invalid escape character in string.',
}


def _parse_error(error: json.JSONDecodeError, text: str) -> ServingError:
    """An error of Python's parser in RapidJSON's words, with the offset in bytes."""
    message = next((ours for theirs, ours in _MESSAGES.items() if error.msg.startswith(theirs)), None)
    if message is None:  # "Expecting ',' delimiter"
        message = _NO_COMMA[_enclosing(text[max(0, error.pos - _CHUNK_BYTES):error.pos])]
    return _error_at(message, len(text[:error.pos].encode('utf-8', 'surrogateescape')))


def _error_at(message: str, offset: int) -> ServingError:
    return invalid(f'JSON Parse error: {message} at offset: {offset}')


def _enclosing(text: str) -> str:
    """The bracket that is still open at the end of a text, whose strings are whole: '[' or '{'."""
    opened = []
    for match in _BRACKET_OR_STRING.finditer(text):
        if match.group() in '[{':
            opened.append(match.group())
        elif match.group() in ']}' and opened:
            opened.pop()
    return opened[-1] if opened else '['


_BRACKET_OR_STRING = re.compile(r'[\[\]{}]|"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)


def quote(value) -> str:
    """A JSON value as an error message quotes it: as RapidJSON prints it, cut if it is long."""
    text = ''
    for piece in _pieces(value, '\n'):
        text += piece
        if len(text) > _MAX_QUOTED:
            text = text[:_MAX_QUOTED] + '...'
            break
    return text.encode('utf-8', 'backslashreplace').decode()


def _pieces(value, line_break: str):
    """The text of a JSON value, piece by piece, so that a large one is never a text as a whole."""
    inner = line_break + '    '
    if isinstance(value, dict) and value:
        for i, (name, member) in enumerate(value.items()):
            yield f'{"," if i else "{"}{inner}{_string(name)}: '
            yield from _pieces(member, inner)
        yield line_break + '}'
    elif isinstance(value, list) and value:
        for i, element in enumerate(value):
            yield f'{"," if i else "["}{inner}'
            yield from _pieces(element, inner)
        yield line_break + ']'
    else:
        yield _string(value) if isinstance(value, str) else json.dumps(value)


def _string(text: str) -> str:
    return json.dumps(text[:_MAX_QUOTED + 1], ensure_ascii=False)


# ---- Bounds -------------------------------------------------------------------------------------------------------

_DEPTH_CHANGE = np.zeros(256, np.int8)
_DEPTH_CHANGE[list(b'[{')] = 1
_DEPTH_CHANGE[list(b']}')] = -1
_CHUNK_BYTES = 2**20


def _measure(body: bytes, max_depth: int, max_elements: int) -> tuple[int, int]:
    """(offset after the list or object at the beginning, its nesting depth). What is in strings does not count.

    In numpy, because bodies have megabytes. Raises ServingError if there are too many values, or if the nesting is too
    deep for what `_without_deep_values` takes.
    """
    containers = body.count(b'[') + body.count(b'{')
    if containers <= max_depth and containers + body.count(b',') <= 2 * max_elements:
        return len(body), 0
    # Without escaped backslashes and quotes, every quote begins or ends a string. (A backslash outside strings is a
    # parse error, so what follows it does not matter.)
    plain = body.replace(b'\\\\', b'__').replace(b'\\"', b'__') if b'\\' in body else body
    depth = deepest = values = in_string = 0
    for start in range(0, len(plain), _CHUNK_BYTES):
        chunk = np.frombuffer(plain, np.uint8, min(_CHUNK_BYTES, len(plain) - start), start)
        inside = np.bitwise_xor.accumulate((chunk == ord('"')).view(np.uint8)) ^ in_string
        in_string = inside[-1]
        changes = _DEPTH_CHANGE[chunk] * (inside == 0)
        depths = np.cumsum(changes, dtype=np.int32) + depth
        ended = (depths == 0) & (changes < 0)
        end = int(ended.argmax()) + 1 if ended.any() else 0
        if end:
            chunk, inside, changes, depths = chunk[:end], inside[:end], changes[:end], depths[:end]
        depth = int(depths[-1])
        deepest = max(deepest, int(depths.max()))
        values += int(np.count_nonzero(changes > 0)) + int(np.count_nonzero((chunk == ord(',')) & (inside == 0)))
        if deepest > max_depth and len(body) > _CHUNK_BYTES:
            raise _too_deep(max_depth)
        if values > 2 * max_elements:
            raise exceeded('Values in the JSON document, at least', values // 2, 'max_elements', max_elements,
                           'Send encoded media as {"b64": ...} rather than lists of numbers, or in several requests.')
        if end:
            return start + end, deepest
    return len(body), deepest


def _too_deep(max_depth: int) -> ServingError:
    metrics.refused('max_json_depth')
    return invalid(f'JSON Parse error: The document is nested deeper than {max_depth} levels '
                   f'({flag("max_json_depth")}). Send encoded media as {{"b64": ...}} rather than nested lists.')


_TOKEN = re.compile(rb"""[ \t\n\r]*(?:
    (?P<mark>[\[\]{},:])
    | (?P<string>"[^"\\\x00-\x1f]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*)*")
    | (?P<other>-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?|Inf(?:inity)?)|NaN|true|false|null))
    """, re.VERBOSE)


def _without_deep_values(body: bytes, max_depth: int) -> bytes:
    """The document with 0 in place of each ignored value of the top level that is nested too deeply.

    It is checked token by token, because a parser that recurses would overflow its stack.
    """
    pieces, copied, position = [], 0, 0
    opened: list[str] = []  # the brackets that are open
    state, name, value_start, too_deep = '', '', 0, False
    while opened or state != 'value':
        match = _TOKEN.match(body, position)
        group = match.lastgroup if match else None
        if match is None or group is None:
            _next_state('', state, opened, position)  # raises
            break
        position = match.end()
        token = match[group].decode('utf-8', 'surrogateescape')
        state = _next_state(token if group == 'mark' else group, state, opened, position - len(match[group]))
        if len(opened) > max_depth:
            if name in USED_KEYS or opened[0] == '[':
                raise _too_deep(max_depth)
            too_deep = True
        elif len(opened) == 1 and state == 'name':
            name = json.loads(token)
        elif len(opened) == 1 and state == ':':
            value_start = position
        elif len(opened) == 1 and state == 'value' and too_deep:
            pieces += [body[copied:value_start], b'0']
            copied, too_deep = position, False
    return b''.join([*pieces, body[copied:]])


def _next_state(kind: str, previous: str, opened: list[str], offset: int) -> str:
    """What a token makes of the state: 'value', 'name', or the bracket, comma or colon itself. Updates `opened`.

    kind: the mark itself, 'string', 'other', or '' for what is no token. previous: the state before it. Raises
    ServingError, worded as RapidJSON's errors, for a token that cannot be here.
    """
    container = opened[-1] if opened else ''
    wants_name = container == '{' and previous in ('{', ',')
    wants_value = previous in ('', ':', '[') or (container == '[' and previous == ',')
    if kind in (']', '}') and container and kind == _CLOSING[container] and previous in ('value', container):
        opened.pop()
        return 'value'
    if kind == ',' and container and previous == 'value' or kind == ':' and previous == 'name':
        return kind
    if kind == 'string' and wants_name:
        return 'name'
    if kind in ('string', 'other') and wants_value:
        return 'value'
    if kind in ('[', '{') and wants_value:
        opened.append(kind)
        return kind
    message = (_NO_VALUE if wants_value else _NO_NAME if wants_name else _NO_COLON if previous == 'name'
               else _NO_COMMA[container])
    raise _error_at(message, offset)


_CLOSING = {'[': ']', '{': '}'}


# ---- Infinity -----------------------------------------------------------------------------------------------------

def _string_end(body: bytes, start: int) -> int:
    """The offset just after the quote that closes the string whose first character is at `start`."""
    position = start
    while True:
        quote_at = body.find(b'"', position)
        if quote_at < 0:
            return len(body)
        before = quote_at - 1
        while before >= start and body[before] == 0x5c:
            before -= 1
        if (quote_at - 1 - before) % 2 == 0:  # an even number of backslashes does not escape the quote
            return quote_at + 1
        position = quote_at + 1


_INF = re.compile(rb'"|Inf(?!inity)')


def _respell_infinity(body: bytes) -> bytes:
    """Spells `Inf` outside strings as `Infinity`, the only spelling that Python's parser knows."""
    pieces, copied, position = [], 0, 0
    while match := _INF.search(body, position):
        position = match.end()
        if match.group() == b'"':
            position = _string_end(body, position)
        else:
            pieces += [body[copied:position], b'inity']
            copied = position
    return b''.join(pieces + [body[copied:]])

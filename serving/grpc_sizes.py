"""How many values a serialized protobuf message has, counted before it is parsed.

Two bytes of an empty message within it become about two hundred once they are parsed, and a number of one byte eight.
"""

import numpy as np
from google.protobuf.descriptor import Descriptor, FieldDescriptor

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types; those of groups are no part of proto3
_SKIPPED = {_FIXED64: 8, _FIXED32: 4}
_FIXED_SIZES = {
    **dict.fromkeys((FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FIXED64, FieldDescriptor.TYPE_SFIXED64), 8),
    **dict.fromkeys((FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_FIXED32, FieldDescriptor.TYPE_SFIXED32), 4)}
_TEXT = (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES)


def count_values(content: bytes, descriptor: Descriptor, most: int) -> int:
    """The number of messages, strings and numbers in a serialized message; ends early at more than `most`.

    descriptor: of the message. Raises ValueError for what is no message of proto3.
    """
    values, position, end, message = 0, 0, len(content), descriptor
    around: list[tuple[int, int, Descriptor]] = []  # where to go on in the messages around this one
    while values <= most:
        if position >= end:
            if position > end:
                raise ValueError('a part is longer than what it is in')
            if not around:
                break
            position, end, message = around.pop()
            continue
        tag, position = _varint(content, position)
        field, wire_type = message.fields_by_number.get(tag >> 3), tag & 7
        values += 1
        if wire_type == _VARINT:
            _, position = _varint(content, position)
        elif wire_type == _BYTES:
            size, position = _varint(content, position)
            if field is not None and field.message_type is not None:
                around.append((position + size, end, message))
                end, message = position + size, field.message_type
                continue
            if field is not None and field.type not in _TEXT:
                values += _packed(content[position:position + size], field.type)
            position += size
        elif wire_type in _SKIPPED:
            position += _SKIPPED[wire_type]
        else:
            raise ValueError(f'its parts are of no known kind ({wire_type})')
    return values


def _packed(content: bytes, kind: int) -> int:
    """The number of numbers in a packed field: a varint ends with the byte whose high bit is not set."""
    return (len(content) // _FIXED_SIZES[kind] if kind in _FIXED_SIZES
            else int(np.count_nonzero(np.frombuffer(content, np.uint8) < 128)))


def _varint(content: bytes, position: int) -> tuple[int, int]:
    """(the number that begins at a position, the position after it)."""
    value = shift = 0
    while True:
        if position >= len(content) or shift > 63:
            raise ValueError('it ends within a number')
        byte = content[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
        shift += 7

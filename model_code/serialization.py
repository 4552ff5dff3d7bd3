"""Frozen dataclasses <-> JSON, the form in which TFX components take tasks and settings: TFX passes strings."""

import dataclasses
import json
import types
import typing

from model_code.modalities import Input, get_modality


def to_json(value) -> str:
    """The dataclass as JSON. Keys are sorted, so equal values give equal strings, which TFX's cache compares."""
    return json.dumps(dataclasses.asdict(value), sort_keys=True)


def from_json(cls, text: str):
    """The inverse of `to_json`. Builds `cls`, which checks the values."""
    return from_dict(cls, json.loads(text))


def from_dict(cls, values: dict):
    """Builds the dataclass `cls` from dicts and lists. Type hints tell nested dataclasses and tuples."""
    hints = typing.get_type_hints(cls)
    fixed = {field.name for field in dataclasses.fields(cls) if not field.init}
    return cls(**{name: _convert(hints[name], value) for name, value in values.items() if name not in fixed})


def _convert(hint, value):
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        hint = next(a for a in typing.get_args(hint) if a is not type(None))
        return _convert(hint, value)
    if origin is tuple:
        args = typing.get_args(hint)
        if len(args) == 2 and args[1] is Ellipsis:
            return tuple(_convert(args[0], v) for v in value)
        return tuple(_convert(a, v) for a, v in zip(args, value, strict=True))
    if hint is Input:  # the input of any modality
        hint = get_modality(value['modality']).input_class
    if dataclasses.is_dataclass(hint):
        return from_dict(hint, value)
    return value

"""Checks the fields of the config's dataclasses. Their type hints say what is right."""

import dataclasses
import math
import numbers
import os
import types
import typing

from model_code import urls
from model_code.errors import ConfigError, unknown

FilePath = typing.Annotated[str, 'path']
"""The type of a field that holds a path on this machine, or a URL. `check_fields` makes the path absolute."""


def check_fields(instance, where: str):
    """Raises ConfigError if a field's value is not of the type that its hint names, or not one of its Literal's.

    In the instance itself, frozen or not, a list becomes a tuple, a dict a copy of itself, a path object a string, a
    number of numpy one of Python, an int where a number is wanted a float, and a FilePath absolute. So configs of equal
    meaning are equal.

    where: the beginning of the message, such as 'Task digits: '.
    """
    hints = typing.get_type_hints(type(instance), include_extras=True)
    for field in dataclasses.fields(instance):
        value = _checked(where, field.name, getattr(instance, field.name), hints[field.name])
        object.__setattr__(instance, field.name, value)


def check_least(instance, where: str, **least: float):
    """Raises ConfigError if one of these fields is less than its bound. where: as in `check_fields`."""
    for name, bound in least.items():
        if getattr(instance, name) < bound:
            raise ConfigError(f'{where}{name} is {getattr(instance, name)}; it must be at least {bound}.')


def _checked(where: str, name: str, value, hint):
    """The value, as the hint wants it. name: the field, or an item of it, such as 'augmentations[0]'."""
    if hint == FilePath:
        return urls.absolute(_checked(where, name, value, str))
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        return None if value is None else _checked(where, name, value, args[0])
    if origin is typing.Literal:
        if value not in args:
            raise unknown(name.replace('_', ' '), value, args, where)
        return value
    if origin is tuple and isinstance(value, (list, tuple)):
        items = args[:1] * len(value) if Ellipsis in args else args
        if len(value) == len(items):
            return tuple(_checked(where, f'{name}[{i}]', item, items[i]) for i, item in enumerate(value))
    elif origin is dict and isinstance(value, dict):
        return {_checked(where, f'a key of {name}', key, args[0]): _checked(where, f'{name}[{key!r}]', item, args[1])
                for key, item in value.items()}
    elif hint is str and isinstance(value, os.PathLike):
        return _checked(where, name, os.fspath(value), hint)
    elif hint is str and isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:  # bytes of a file's name that Python could not decode
            raise ConfigError(f'{where}{name} is {value!r}, which is not UTF-8. Rename it.') from None
        return value
    elif _fits(value, hint):
        return hint(value) if hint in (int, float) else value
    kind = type(value).__name__
    kind = '' if value is None else f' (an {kind})' if kind[0] in 'aeiouAEIOU' else f' (a {kind})'
    raise ConfigError(f'{where}{name} is {_shown(value)}{kind}; it must be {_described(value, hint)}.')


def _fits(value, hint) -> bool:
    if hint is int:
        return isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if hint is float:
        return isinstance(value, numbers.Real) and not isinstance(value, bool) and _finite(value)
    return isinstance(value, typing.get_origin(hint) or hint)


def _finite(number) -> bool:
    """Whether it is a finite float, or an int that becomes one."""
    try:
        return math.isfinite(number)
    except OverflowError:
        return False


def _described(value, hint) -> str:
    """What would be right in place of the value."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        names = [_name(arg) for arg in args if arg is not Ellipsis]
        if Ellipsis not in args:
            return f'a tuple of {len(args)}: ({", ".join(names)}{"," if len(args) == 1 else ""})'
        example = f': write ({_shown(value)},)' if _fits(value, args[0]) else ''
        return f'a tuple of {names[0]}{example}'
    if origin is dict:
        return f'a dict of {_name(args[0])} to {_name(args[1])}'
    if dataclasses.is_dataclass(hint):
        return f'a {_name(hint)}(...)'
    if hint is float:
        return 'a finite number' if isinstance(value, float) else 'a number'
    return {int: 'a whole number', bool: 'True or False', str: 'a str'}.get(hint, f'a {_name(hint)}')


def _name(hint) -> str:
    return getattr(hint, '__name__', str(hint))


def _shown(value) -> str:
    """Its repr, cut if it is long. Of a dataclass only the name."""
    if isinstance(value, tuple):
        return f'({", ".join(map(_shown, value))}{"," if len(value) == 1 else ""})'
    if isinstance(value, type) or not dataclasses.is_dataclass(value):
        text = repr(value)
        return text if len(text) <= 200 else f'{text[:200]}...'
    name = getattr(value, 'name', None)
    return f'{type(value).__name__}({name!r}, ...)' if name else f'{type(value).__name__}(...)'

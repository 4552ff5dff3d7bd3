"""Checks the fields of the config's dataclasses. Their type hints say what is right."""

import dataclasses
import math
import os
import typing

from model_code.errors import ConfigError, unknown


def check_fields(instance, where: str):
    """Raises ConfigError if a field's value is not of the type that its hint names, or not one of its Literal's.

    A list becomes a tuple, and a path object a string, in the instance itself, frozen or not.

    where: the beginning of the message, such as 'Task digits: '.
    """
    hints = typing.get_type_hints(type(instance))
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
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        if value not in args:
            raise unknown(name.replace('_', ' '), value, args, where)
        return value
    if origin is tuple and isinstance(value, (list, tuple)):
        items = args[:1] * len(value) if Ellipsis in args else args
        if len(value) == len(items):
            return tuple(_checked(where, f'{name}[{i}]', item, items[i]) for i, item in enumerate(value))
    elif hint is str and isinstance(value, os.PathLike):
        return os.fspath(value)
    elif _fits(value, hint):
        return value
    kind = type(value).__name__
    kind = '' if value is None else f' (an {kind})' if kind[0] in 'aeiouAEIOU' else f' (a {kind})'
    raise ConfigError(f'{where}{name} is {_shown(value)}{kind}; it must be {_described(value, hint)}.')


def _fits(value, hint) -> bool:
    if hint in (int, float) and isinstance(value, bool):
        return False
    if hint is float:
        return isinstance(value, (int, float)) and not math.isnan(value)
    return isinstance(value, typing.get_origin(hint) or hint)


def _described(value, hint) -> str:
    """What would be right in place of the value."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        names = [_name(arg) for arg in args if arg is not Ellipsis]
        if Ellipsis not in args:
            return f'a tuple of {len(args)}: ({", ".join(names)}{"," if len(args) == 1 else ""})'
        example = f': write ({_shown(value)},)' if _fits(value, args[0]) else ''
        return f'a tuple of {names[0]}{example}'
    if dataclasses.is_dataclass(hint):
        return f'a {_name(hint)}(...)'
    return {int: 'an int', float: 'a number', bool: 'True or False', str: 'a str'}.get(hint, f'a {_name(hint)}')


def _name(hint) -> str:
    return getattr(hint, '__name__', str(hint))


def _shown(value) -> str:
    """Its repr, but only the name of a dataclass, whose repr may be long."""
    if isinstance(value, tuple):
        return f'({", ".join(map(_shown, value))}{"," if len(value) == 1 else ""})'
    if isinstance(value, type) or not dataclasses.is_dataclass(value):
        return repr(value)
    name = getattr(value, 'name', None)
    return f'{type(value).__name__}({name!r}, ...)' if name else f'{type(value).__name__}(...)'

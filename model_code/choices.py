"""Checks dataclass fields that take one of a few values. The type hint `Literal[...]` lists them."""

import typing

from model_code.errors import unknown


def check_choices(instance, where: str = ''):
    """Raises ConfigError if a field with a Literal hint has a value that the hint does not list.

    where: the beginning of the message, such as 'Task digits: '.
    """
    for name, hint in typing.get_type_hints(type(instance)).items():
        if typing.get_origin(hint) is typing.Literal and getattr(instance, name) not in typing.get_args(hint):
            raise unknown(name.replace('_', ' '), getattr(instance, name), typing.get_args(hint), where)

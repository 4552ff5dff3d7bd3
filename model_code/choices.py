"""Checks of dataclass fields that take one of a few names: the type hint `Literal[...]` is the list of them."""

import typing

from model_code.errors import unknown


def check_choices(instance, where: str = ''):
    """Raises ConfigError for a field of the dataclass whose hint is a Literal that does not have its value.

    where: what the message begins with, such as 'Task digits: '.
    """
    for name, hint in typing.get_type_hints(type(instance)).items():
        if typing.get_origin(hint) is typing.Literal and getattr(instance, name) not in typing.get_args(hint):
            raise unknown(name.replace('_', ' '), getattr(instance, name), typing.get_args(hint), where)

"""A config as the command line asks for it: --data, --set PATH=VALUE and --root applied to what a file describes."""

import ast
import dataclasses
import os
import types
import typing
from collections.abc import Sequence

from model_code import urls
from model_code.errors import ConfigError, unknown
from pipeline.config import PipelineConfig, load_config

# Fields of PipelineConfig that are no setting of an experiment.
_NO_SETTING = ('overrides',)


def load(name_or_path: str, data: str = '', settings: Sequence[str] = (), root: str = '') -> PipelineConfig:
    """load_config with a folder of data, settings such as 'training.learning_rate=3e-4', and another root.

    Raises ConfigError, also if the config does not read the folder of data.
    """
    if data:
        # A config is code. It reads these variables when it is loaded, so they are how the folder reaches it.
        data = urls.absolute(data)
        os.environ['POLYVIT_DATA'] = os.environ['POLYVIT_DEMO_DATA'] = data
    config = load_config(name_or_path)
    if data and not any(_is_in(data, task.data.folder) for task in config.mixture.tasks):
        raise ConfigError(
            f'--data {data} changes nothing: no task of {name_or_path} takes its media from there. Such a config reads '
            "the environment variable POLYVIT_DATA, for example in Data(os.environ['POLYVIT_DATA']).")
    config = apply(config, settings)
    return dataclasses.replace(config, root=root) if root else config


def _is_in(folder: str, path: str) -> bool:
    """Whether the path is the folder or lies in it."""
    if not urls.is_url(folder):
        folder, path = os.path.realpath(folder), os.path.realpath(path) if path else ''
    return f'{path}/'.startswith(f'{folder.rstrip("/")}/')


def apply(config: PipelineConfig, settings: Sequence[str], option: str = '--set') -> PipelineConfig:
    """The config with other values of some fields, checked as if its file had them. Its `overrides` are the settings.

    settings: PATH=VALUE, where PATH names fields from the outside in: 'training.learning_rate=3e-4',
    'tasks.animals.recipe.steps=800', 'model.inputs.image.patch=8,8'. The last of two for one field counts.

    option: by which they were given. Raises ConfigError if there is no such field, or if the value does not fit.
    """
    if not settings:
        return config
    changes: dict = {}
    for setting in settings:
        path, equals, text = setting.partition('=')
        where = f'{option} {setting}: '
        if not equals:
            raise ConfigError(f'{option} {setting} lacks its value. Write {option} PATH=VALUE, such as '
                              f'{option} training.learning_rate=3e-4.')
        steps, hint = _find(config, path, where)
        inner = changes
        for step in steps[:-1]:
            inner = inner.setdefault(step, {})
        inner[steps[-1]] = _parsed(text, hint, where)
    try:
        # All at once: one of two settings alone, such as a width without its heads, may be wrong.
        return dataclasses.replace(_changed(config, changes), overrides=tuple(settings))
    except ConfigError as error:
        raise ConfigError(f'{" ".join(f"{option} {setting}" for setting in settings)}: {error}') from error


def _find(config: PipelineConfig, path: str, where: str) -> tuple[list[str], typing.Any]:
    """The names on the way to a field, and the field's type."""
    steps = path.split('.')
    if steps[0] == 'tasks':
        steps = ['mixture', *steps]
    node, hint = config, None
    for step in steps:
        children = _children(node)
        if children is None:
            raise ConfigError(f'{where}{step} would be a field of {node!r}, which has none.')
        if not children:
            raise _empty(where)
        if step not in children:
            raise unknown(_kind(node), step, [*children, *(['tasks'] if node is config else [])], where)
        if dataclasses.is_dataclass(node):
            hint = typing.get_type_hints(type(node))[step]
        elif isinstance(node, dict):
            hint = typing.get_args(hint)[1]
        node = children[step]
    children = _children(node)
    if children == {}:
        raise _empty(where)
    if children is not None:
        raise ConfigError(f'{where}{path} has parts. Set one of them: '
                          f'{", ".join(f"{path}.{name}" for name in children)}.')
    return steps, hint


def _empty(where: str) -> ConfigError:
    return ConfigError(f'{where}the config has no entry there. Write it into the config; {where.split()[0]} changes '
                       'what is there.')


def _kind(node) -> str:
    """What the children of a node are, for a message."""
    if isinstance(node, tuple):
        return 'task' if hasattr(node[0], 'name') else 'input'
    return 'entry of the config' if isinstance(node, dict) else f'field of {type(node).__name__}'


def _children(node) -> dict[str, typing.Any] | None:
    """What lies in a dataclass, by the names of its fields, a dict, or a tuple of tasks or inputs; else None."""
    if isinstance(node, dict):
        return node
    if isinstance(node, tuple) and node and dataclasses.is_dataclass(node[0]):
        return {_key(item): item for item in node}
    if dataclasses.is_dataclass(node):
        return {field.name: getattr(node, field.name) for field in dataclasses.fields(node)
                if field.init and field.name not in _NO_SETTING}
    return None


def _key(item) -> str:
    """The name of a task, or the modality of an input."""
    return getattr(item, 'name', None) or item.modality


def _changed(node, changes):
    """The node with new values. changes: a new value, or a dict of changes by the names of `_children`."""
    if not isinstance(changes, dict):  # a dict is never set, only its entries
        return changes
    if isinstance(node, dict):
        return {name: _changed(value, changes.get(name, {})) for name, value in node.items()}
    if isinstance(node, tuple):
        return tuple(_changed(item, changes.get(_key(item), {})) for item in node)
    return dataclasses.replace(node, **{name: _changed(getattr(node, name), change)
                                        for name, change in changes.items()}) if changes else node


def _parsed(text: str, hint, where: str):
    """The text as a value of this type. Whether it is a right one, the config's own checks say."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        return None if text == 'None' else _parsed(text, args[0], where)
    if origin is tuple:
        return tuple(_parsed(item, args[0], where) for item in _items(text, where))
    if hint is bool:
        if text.lower() not in ('true', 'false'):
            raise ConfigError(f'{where}{text!r} is neither True nor False.')
        return text.lower() == 'true'
    try:
        return hint(text) if hint in (int, float) else text
    except ValueError:
        raise ConfigError(f'{where}{text!r} is not a {"whole " if hint is int else ""}number.') from None


def _items(text: str, where: str) -> list[str]:
    """The items of 'a,b', or of a tuple or list as Python writes it."""
    if not text.startswith(('(', '[')):
        return [item.strip() for item in text.split(',') if item.strip()]
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise ConfigError(f'{where}{text} is not a tuple of texts or numbers. Write a,b or ("a", "b").') from None
    return [str(item) for item in (value if isinstance(value, (tuple, list)) else (value,))]

"""The text of a config: its values as Python literals, and comments that say what they were guessed from."""

import dataclasses
import textwrap
from collections.abc import Sequence

from model_code.data import Columns, Data
from model_code.printable import printable
from model_code.tasks import Task
from pipeline.config import PipelineConfig
from pipeline.init.guess import Guess

_COLUMNS = 116
_INDENT = ' ' * 4


def one_line(text: str) -> str:
    """The text with all that is not printable escaped, line breaks too."""
    return printable(text, keep='')


def comment(text: str, indent: str) -> list[str]:
    """Lines of a comment. No text can end it, because a line break is not printable."""
    return textwrap.wrap(one_line(text), _COLUMNS, initial_indent=f'{indent}# ', subsequent_indent=f'{indent}# ',
                         break_long_words=False, break_on_hyphens=False)


def config_text(config: PipelineConfig, root: str, guesses: list[Guess], about: dict[str, list[str]],
                about_model: list[str], preset: str) -> str:
    """The Python file whose get_config() returns this config.

    root: the folder of all data. about: task name -> sentences for its comment. about_model: those for the model.
    preset: the name of its size.
    """
    tasks = [line for guess in guesses for line in _task(config.mixture[guess.name], guess, about[guess.name])]
    used = [type(spec).__name__ for spec in _inputs(config)]
    columns = ['Columns'] if any(guess.data.columns != Columns() for guess in guesses) else []
    names: list[str] = sorted({'Data', 'Gate', 'Mixture', 'PipelineConfig', 'Recipe', 'Task', 'TrainingConfig', *used,
                               *columns}) + ['preset']
    join = ['import os', ''] if any(guess.place for guess in guesses) else []
    inputs = [f'{_call(type(spec).__name__, _arguments(spec, all_fields=True))},' for spec in _inputs(config)]
    training = _call('TrainingConfig', _arguments(config.training))
    return '\n'.join([
        '"""Written by `polyvit init`. The comments say what each value was guessed from; change what is wrong.',
        '', 'docs/your_data.md explains the fields of a task, docs/configuration.md has all of them.', '"""', '',
        *join, *_wrapped('from polyvit import ', names), '',
        '# The folder of the data, for all tasks below.', f'DATA = {root!r}', '', '',
        'def get_config() -> PipelineConfig:', f'{_INDENT}tasks = (', *tasks, f'{_INDENT})',
        f'{_INDENT}return PipelineConfig(', f'{_INDENT * 2}name={config.name!r},',
        f'{_INDENT * 2}mixture=Mixture(tasks),',
        *[line for text in about_model for line in comment(text, _INDENT * 2)],
        f'{_INDENT * 2}model=preset({preset!r}, inputs=(', *(f'{_INDENT * 3}{line}' for line in inputs),
        f'{_INDENT * 2})),', f'{_INDENT * 2}training={training},', f'{_INDENT})', ''])


def _inputs(config: PipelineConfig) -> list:
    return [config.model.input(name) for name in config.mixture.modalities]


def _task(task: Task, guess: Guess, about: list[str]) -> list[str]:
    """The lines of a Task, with the comment above it."""
    inner = _INDENT * 3
    place = f'os.path.join(DATA, {guess.place!r})' if guess.place else 'DATA'
    data = _call('Data', [place, *_arguments(task.data, without=('folder',))])
    lines = [f'{inner}data={data},', f'{inner}recipe={_call("Recipe", _arguments(task.recipe))},',
             f'{inner}gate=Gate(floor={task.gate.floor!r})),']
    return [*[line for text in about for line in comment(text, _INDENT * 2)],
            f'{_INDENT * 2}Task({task.name!r}, {task.modality!r},', *lines]


def _arguments(instance, without: tuple[str, ...] = (), all_fields: bool = False) -> list[str]:
    """'name=value' for the fields of a config's dataclass that differ from their defaults, or for all of them."""
    parts = []
    for field in dataclasses.fields(instance):
        value = getattr(instance, field.name)
        if field.init and field.name not in without and (all_fields or value != field.default):
            parts.append(f'{field.name}={_literal(instance, field.name, value)}')
    return parts


def _literal(instance, name: str, value) -> str:
    if isinstance(value, Columns):
        return _call('Columns', _arguments(value))
    if isinstance(instance, Data) and name == 'manifest' and len(value) == 1:
        return repr(value[0])
    return repr(value)


def _call(name: str, arguments: list[str]) -> str:
    return f'{name}({", ".join(arguments)})'


def _wrapped(before: str, names: Sequence[str]) -> list[str]:
    line = f'{before}{", ".join(names)}'
    if len(line) <= _COLUMNS:
        return [line]
    return [f'{before}(', *textwrap.wrap(f'{", ".join(names)},', _COLUMNS, initial_indent=_INDENT,
                                         subsequent_indent=_INDENT), ')']

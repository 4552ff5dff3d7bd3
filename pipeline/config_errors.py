"""What the code of a config raised, as a sentence with the file and line to blame."""

import dataclasses
import difflib
import os
import pathlib
import re
import sys
import traceback
from collections.abc import Iterable

from model_code.errors import ConfigError, unknown


def located(error: BaseException, path: pathlib.Path, classes: Iterable[type]) -> ConfigError:
    """The error as a ConfigError that names the line of the config, or of a module beside it, if one is to blame.

    path: the config's file. classes: the dataclasses of a config.
    """
    where = _where(error, path)
    if isinstance(error, ConfigError):
        return ConfigError(f'{where}{error}')
    wrong_fields = _wrong_fields(error, where, classes) if isinstance(error, TypeError) else None
    if wrong_fields:
        return wrong_fields
    text = error.msg if isinstance(error, SyntaxError) and where else str(error)
    text = f'{type(error).__name__}: {text}'.rstrip(': .')
    return ConfigError(f'{where or f"The config {path} cannot be loaded: "}{text}.{_hint(error)}')


def _where(error: BaseException, path: pathlib.Path) -> str:
    """'mine.py, line 3: ', the last line of the user's code that was running; '' if there is none.

    The user's code is the config and the modules beside it. The config's own path is shown as it was given.
    """
    lines = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        lines.append((error.filename, error.lineno))
    config = os.path.realpath(path)
    for name, line in reversed(lines):
        file = os.path.realpath(name)
        if os.path.isfile(file) and os.path.dirname(file) == os.path.dirname(config):  # no file is called <string>
            return f'{path if file == config else file}, line {line}: '
    return ''


def _wrong_fields(error: TypeError, where: str, classes: Iterable[type]) -> ConfigError | None:
    """Python's error about the arguments of a config's dataclass, as a sentence about its fields."""
    match = re.match(r'(\w+)\.__init__\(\) (.*)', str(error))
    kind = next((kind for kind in classes if match and kind.__name__ == match[1]), None)
    if not match or not kind:
        return None
    problem = match[2]
    names = [field.name for field in dataclasses.fields(kind) if field.init]
    quoted = re.findall(r"'(\w+)'", problem)
    if 'unexpected keyword argument' in problem:
        return unknown(f'field of {kind.__name__}', quoted[0], names, where)
    if problem.startswith('missing'):
        return ConfigError(f'{where}{kind.__name__} lacks {" and ".join(quoted)}. Write {kind.__name__}(..., '
                           f'{", ".join(f"{name}=..." for name in quoted)}).')
    return ConfigError(f'{where}{kind.__name__} {problem}. Its fields: {", ".join(names)}.')


def _hint(error: BaseException) -> str:
    """' Did you mean Task?' for a name that Python did not find; '' if nothing is like it."""
    public = getattr(sys.modules.get('polyvit'), '__all__', ())
    if isinstance(error, NameError):
        name, known = error.name, public
    elif isinstance(error, AttributeError):
        name, known = error.name, dir(error.obj)
    elif isinstance(error, ImportError) and error.name in sys.modules:
        match = re.match(r"cannot import name '(\w+)'", str(error))
        name, known = match and match[1], dir(sys.modules[error.name])
    else:
        return ''
    if name and name in public:
        return f' Import it: from polyvit import {name}.'
    meant = difflib.get_close_matches(name or '', known, n=1)
    return f' Did you mean {meant[0]}?' if meant else ''

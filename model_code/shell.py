"""Paths and commands as messages name them, so that they run when they are pasted into the shell."""

import importlib.util
import os
import shlex
import shutil
import sys

from model_code import urls


def short(path) -> str:
    """The path relative to the current directory, if that is shorter. A URL stays as it is."""
    if urls.is_url(str(path)):
        return str(path)
    relative = os.path.relpath(path)
    return relative if len(relative) < len(str(path)) else str(path)


def tensorboard(folder: str) -> str:
    """The command that shows the event files in a folder; the folder alone where TensorBoard is not installed."""
    if not importlib.util.find_spec('tensorboard'):
        return short(folder)
    program = ['tensorboard'] if shutil.which('tensorboard') else [short(sys.executable), '-m', 'tensorboard.main']
    return shlex.join([*program, '--logdir', short(folder)])

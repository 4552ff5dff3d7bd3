"""The script with which a shell completes the arguments of `polyvit`, made by shtab."""

import argparse
import shlex

import shtab

from pipeline.config import config_names


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The completion script of a shell: bash, zsh or tcsh.

    Files and folders are completed where an argument's metavar is FILE or DIR, and configs where it is CONFIG.
    """
    _say_what_completes(parser, {'FILE': shtab.FILE, 'DIR': shtab.DIRECTORY, 'CONFIG': _configs()})
    return shtab.complete(parser, shell)


def _say_what_completes(parser: argparse.ArgumentParser, completions: dict[str, dict]):
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                _say_what_completes(command, completions)
        elif action.metavar in completions:
            action.complete = completions[action.metavar]  # where shtab looks for it


def _configs() -> dict:
    """The names of the configs, Python files, and folders, in which there may be such files.

    In bash, shtab's script adds a slash to folders if the name of the function has `_file`.
    """
    names = shlex.join(config_names())
    return {
        'bash': '_polyvit_config_files',
        'zsh': '_polyvit_config_files',
        'tcsh': shtab.glob('*.py')['tcsh'],
        'preamble': {
            'bash': f'''
_polyvit_config_files() {{
  compgen -W {shlex.quote(names)} -- "$1"
  compgen -f -X '!*.py' -- "$1"
  compgen -d -- "$1"
}}
''',
            'zsh': f'''
_polyvit_config_files() {{
  compadd -- {names}
  _files -g '*.py'
}}
''',
        },
    }

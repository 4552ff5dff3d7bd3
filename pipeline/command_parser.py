"""argparse's parser with errors that read as those of the configs: one sentence that says what would be right."""

import argparse
import difflib
import re
import typing

from model_code.errors import ConfigError
from pipeline import layout

_TYPES = {'int': 'a whole number', 'float': 'a number', 'age': 'an age such as 12h, 7d or 4w'}


class Parser(argparse.ArgumentParser):
    """Raises ConfigError for a wrong command line, where argparse prints its usage and exits."""

    def parse_known_args(self, args=None, namespace=None):
        # A command's parser gets the words after the command, so that what it does not know is meant for it.
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            raise ConfigError(self._about_unknown(unknown[0]))
        return parsed, unknown

    def _check_value(self, action, value):
        # argparse has no public way to word this error.
        if action.choices is None or value in action.choices:
            return
        if isinstance(action, argparse._SubParsersAction):
            group = f' of {self.prog}' if ' ' in self.prog else ''
            raise ConfigError(f'There is no command {value!r}{group}. {_did_you_mean(value, action.choices)}'
                              f'Commands: {", ".join(action.choices)}.')
        raise ConfigError(f'{_name(action)} is {value!r}; it must be one of: {", ".join(map(str, action.choices))}.')

    def error(self, message: str) -> typing.NoReturn:
        raise ConfigError(f'{_sentence(message)} `{self.prog} --help` explains its arguments.')

    def commands(self) -> dict[str, str]:
        """The commands of this parser, each with its help; {} if it has none."""
        return {choice.dest: choice.help or '' for action in self._actions
                if isinstance(action, argparse._SubParsersAction) for choice in action._get_subactions()}

    def short_help(self, columns: int | None) -> list[str]:
        """Lines that say what this parser is for, its commands, and how to get more help."""
        commands = self.commands()
        width = max(map(len, commands)) + 2
        lines = [str(self.description), '', *(f'  {name:<{width}}{help}' for name, help in commands.items()),
                 '', f'`{self.prog} COMMAND --help` explains a command.']
        return [part for line in lines for part in layout.wrap(line, columns, width + 2 if line[:1] == ' ' else 0)]

    def _about_unknown(self, word: str) -> str:
        if not word.startswith('-'):
            return f'{word!r} is one argument too many. `{self.prog} --help` explains the arguments.'
        option = word.partition('=')[0]
        known = [name for action in self._actions for name in action.option_strings]
        listed = [name for name in known if name.startswith('--')]
        return (f'{self.prog} has no option {option!r}. {_did_you_mean(option, known)}'
                f'Options: {", ".join(listed)}.')


def _did_you_mean(word: str, known) -> str:
    closest = difflib.get_close_matches(word, known, n=1)
    return f'Did you mean {closest[0]!r}? ' if closest else ''


def _name(action: argparse.Action) -> str:
    return action.option_strings[-1] if action.option_strings else str(action.metavar or action.dest)


def _sentence(message: str) -> str:
    """One of argparse's messages as a sentence about the arguments."""
    if match := re.fullmatch(r'the following arguments are required: (.*)', message):
        return f'{match[1].replace(", ", " and ")} must be given.'
    if match := re.fullmatch(r"argument ([^:]*): invalid (\w+) value: (.*)", message):
        return f'{_last(match[1])} is {match[3]}; it must be {_TYPES.get(match[2], match[2])}.'
    if match := re.fullmatch(r'argument ([^:]*): not allowed with argument (.*)', message):
        return f'Give {_last(match[1])} or {_last(match[2])}, not both.'
    if match := re.fullmatch(r'argument ([^:]*): expected (.*)', message):
        return f'{_last(match[1])} needs {match[2].replace("argument", "value")} after it.'
    return message.removesuffix('.') + '.'


def _last(names: str) -> str:
    """'--output' of '-o/--output'."""
    return names.split('/')[-1]

"""Cron expressions, as crontab has them: minute, hour, day of the month, month, day of the week."""

import re

from model_code import words
from model_code.errors import ConfigError

_MONTHS = ('jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec')
_DAYS = ('sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat')
# Of each field: its name, its least and greatest number, and the words that stand for the numbers from the least on.
_FIELDS = (('minute', 0, 59, ()), ('hour', 0, 23, ()), ('day of the month', 1, 31, ()), ('month', 1, 12, _MONTHS),
           ('day of the week', 0, 6, _DAYS))
_PART = re.compile(r'(?:\*|(?P<first>\w+)(?:-(?P<last>\w+))?)(?:/(?P<step>\d+))?')


def checked(expression: str) -> str:
    """The expression with single spaces between its fields. Raises ConfigError if it is none.

    Only what crontab, Kubeflow Pipelines and Vertex AI all understand is accepted: numbers, English names of months
    and days, lists, ranges, steps, and an asterisk.
    """
    fields = expression.split()
    if len(fields) != len(_FIELDS):
        raise ConfigError(
            f'--recurring {expression!r} has {words.count(len(fields), "field")}; a cron expression has five: minute, '
            "hour, day of the month, month and day of the week, such as '0 3 * * *' for each day at 3:00 (UTC).")
    for text, (name, least, greatest, names) in zip(fields, _FIELDS, strict=True):
        for part in text.split(','):
            _check(part, f'--recurring {expression!r}: the {name} is {text!r}; ', least, greatest, names)
    return ' '.join(fields)


def _check(part: str, where: str, least: int, greatest: int, names: tuple[str, ...]):
    match = _PART.fullmatch(part)
    bounds = [_number(word, least, names) for word in (match['first'], match['last']) if word] if match else [None]
    if any(bound is None or not least <= bound <= greatest for bound in bounds):
        words = f' or {names[0]} to {names[-1]}' if names else ''
        raise ConfigError(f'{where}it must be *, or numbers from {least} to {greatest}{words}, such as {least}, '
                          f'{least},{least + 2}, {least}-{least + 2} or */2.')
    if bounds != sorted(bounds):
        raise ConfigError(f'{where}the range {part} runs backwards.')
    if match and match['step'] and not int(match['step']):
        raise ConfigError(f'{where}a step must be at least 1.')


def _number(word: str, least: int, names: tuple[str, ...]) -> int | None:
    if word.isdecimal():
        return int(word)
    return least + names.index(word.lower()) if word.lower() in names else None

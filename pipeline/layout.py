"""Text that fits a terminal: its width, lines broken between words, paths cut in the middle, tables.

What is not a terminal has the width None: there lines keep their length and paths are whole, for other programs.
"""

import os
import sys
import textwrap
from collections.abc import Sequence

LEAST = 40  # a terminal that says it is narrower is treated as this wide


def columns(file=None) -> int | None:
    """The columns of the terminal that a file (default: standard output) writes to; None if it is no terminal."""
    file = file or sys.stdout
    if not file.isatty():
        return None
    try:
        return max(LEAST, os.get_terminal_size(file.fileno()).columns or 80)
    except OSError:
        return 80


def fits(lines: Sequence[str], width: int | None) -> bool:
    """Whether no line is wider; a table takes its narrow form where it does not fit."""
    return width is None or max(map(len, lines)) <= width


def wrap(line: str, width: int | None, indent: int | None = None) -> list[str]:
    """A line broken between words. indent: of the lines after the first; by default as the text of the first.

    No word is broken: a terminal breaks a long path by itself, and then it can be copied whole. It is not indented.
    """
    if width is None or len(line) <= width:
        return [line]
    start = len(line) - len(line.lstrip(' -'))  # after the dash of a list
    rest = ' ' * (start if indent is None else indent)
    lines = textwrap.wrap(line[start:], width, initial_indent=line[:start], subsequent_indent=rest,
                          break_long_words=False, break_on_hyphens=False)
    return [part if len(part) <= width else part.lstrip() for part in lines]


def cut(text: str, width: int | None) -> str:
    """The text in at most `width` characters, with '...' in place of its middle."""
    if width is None or len(text) <= width:
        return text
    kept = max(width - 3, 2)
    return f'{text[:kept // 2]}...{text[-(kept - kept // 2):]}'


def table(rows: Sequence[Sequence[str]], left: Sequence[int] = (0,)) -> list[str]:
    """The rows as lines, in columns as wide as their contents, two spaces apart. left: columns not aligned right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ['  '.join(f'{cell:<{width}}' if i in left else f'{cell:>{width}}'
                      for i, (cell, width) in enumerate(zip(row, widths, strict=True))).rstrip() for row in rows]

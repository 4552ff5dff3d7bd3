"""How a benchmark's parts are chosen by name, and how a figure is printed beside its target."""

import argparse
from collections.abc import Iterable


class Report:
    """Prints one line per figure, with its target. `missed` counts the targets that are not met."""
    missed = 0

    def __call__(self, figure: str, value: float, target: float, at_least: bool, detail: str):
        met = value >= target if at_least else value <= target
        self.missed += not met
        print(f'{figure}: {value:.2f}, target {"at least" if at_least else "at most"} {target:g}: '
              f'{"met" if met else "MISSED"} ({detail})', flush=True)


def chosen(parser: argparse.ArgumentParser, names: list[str], known: Iterable[str]) -> list[str]:
    """The names, or all known ones if there are none. An unknown name ends the program as a wrong argument."""
    for name in names:
        if name not in known:
            parser.error(f'{name!r} is not one of {", ".join(known)}')
    return names or list(known)

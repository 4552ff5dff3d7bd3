"""How benchmarks are chosen by name, and say a figure and its target."""

import argparse
from collections.abc import Iterable


class Report:
    """Prints a line a target; `missed` counts those that are not met."""
    missed = 0

    def __call__(self, what: str, value: float, target: float, at_least: bool, detail: str):
        met = value >= target if at_least else value <= target
        self.missed += not met
        print(f'{what}: {value:.2f}, target {"at least" if at_least else "at most"} {target:g}: '
              f'{"met" if met else "MISSED"} ({detail})', flush=True)


def chosen(parser: argparse.ArgumentParser, names: list[str], known: Iterable[str]) -> list[str]:
    """The names, all that are known where there are none; one that is not known is the parser's error."""
    for name in names:
        if name not in known:
            parser.error(f'{name!r} is none of {", ".join(known)}')
    return names or list(known)

"""`polyvit doctor`: looks at the machine and what is installed, and says what is wrong and how to fix it."""

import dataclasses
import functools
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator

from rich.console import Console

from model_code import words
from model_code.printable import printable
from pipeline import doctor_checks, layout, printed
from pipeline.doctor_checks import PROBLEM, WARNING, Finding

LIMIT_SECONDS = 10.0  # for all checks together
BEAM_SECONDS = 70.0  # for an element that goes through a runner

Check = Callable[[], list[Finding]]


def checks(root: str) -> dict[str, Check]:
    """What is looked at -> the function that does it. root: the folder where runs go."""
    return {
        'machine': doctor_checks.machine,
        'packages': doctor_checks.packages,
        'disk': functools.partial(doctor_checks.disk, root),
        'ports': doctor_checks.ports,
        'settings': doctor_checks.settings,
        'codecs': doctor_checks.codecs,
        'decoding': doctor_checks.decoding,
        'accelerators': doctor_checks.accelerators,
    }


def examine(table: dict[str, Check], seconds: float = LIMIT_SECONDS) -> Iterator[tuple[str, list[Finding]]]:
    """(what was looked at, findings) in the table's order. The checks run at the same time.

    A check that raises is a problem. One that has not ended after `seconds` is a warning, and is left behind.
    """
    results: dict[str, list[Finding]] = {}
    # Daemons, because a check that hangs must not keep the process alive.
    threads = {name: threading.Thread(target=_run, args=(name, check, results), daemon=True)
               for name, check in table.items()}
    for thread in threads.values():
        thread.start()
    end = time.monotonic() + seconds
    for name, thread in threads.items():
        thread.join(max(0.0, end - time.monotonic()))
        yield name, results.get(name) or [Finding(name, WARNING, f'did not end within {seconds:g} seconds',
                                                  'Try again when the machine is idle.')]


def _run(name: str, check: Check, results: dict[str, list[Finding]]):
    try:
        results[name] = check()
    except Exception as error:
        results[name] = [Finding(name, PROBLEM, f'{type(error).__name__}: {error}', 'Install the packages anew.')]


def works(findings: list[Finding]) -> bool:
    """Whether a run can work."""
    return all(finding.state != PROBLEM for finding in findings)


def beam_checks(config: str) -> dict[str, Check]:
    """One element through the Beam runner of a config. config: its name or path."""
    from pipeline.beam import trial
    from pipeline.config import load_config
    loaded = load_config(config)
    return {f'the Beam runner {loaded.beam.runner}': lambda: trial.findings(config, loaded)}


def report(table: dict[str, Check], as_json: bool = False, seconds: float = LIMIT_SECONDS) -> bool:
    """Looks at everything, prints each finding as soon as it is there, and returns whether a run can work."""
    # On a terminal a line says what is being looked at; elsewhere rich leaves it out.
    file = printed.raw(sys.stderr if as_json else sys.stdout)
    console = Console(file=file, highlight=False, markup=False, soft_wrap=True, emoji=False)
    columns = layout.columns()
    findings = []
    with console.status(_looking_at(list(table))) as status:
        for number, (_, found) in enumerate(examine(table, seconds), start=1):
            findings += found
            if not as_json:
                console.print(printable('\n'.join(render(finding, columns) for finding in found)))
            status.update(_looking_at(list(table)[number:]))
    if as_json:
        print(json.dumps({'ok': works(findings), 'checks': [dataclasses.asdict(f) for f in findings]}, indent=1))
    else:
        console.print(f'\n{verdict(findings)}')
    return works(findings)


def _looking_at(names: list[str]) -> str:
    return f'looking at {", ".join(names)}'


def render(finding: Finding, columns: int | None) -> str:
    """Name, state and text of a finding, and on a new line how to fix it. columns: of the terminal, None for none."""
    start = f'{finding.name:<14}{finding.state:<9}'
    lines = [f'{start}{finding.text}']
    if finding.fix:
        lines.append(f'{"":<{len(start)}}fix: {finding.fix}')
    return '\n'.join(part for line in lines for part in layout.wrap(line, columns, len(start)))


def verdict(findings: list[Finding]) -> str:
    problems = sum(f.state == PROBLEM for f in findings)
    warnings = sum(f.state == WARNING for f in findings)
    if problems:
        return f'A run cannot work here: {words.count(problems, "problem")}, {words.count(warnings, "warning")}.'
    return f'A run can work here, with {words.count(warnings, "warning")}.' if warnings else 'A run can work here.'

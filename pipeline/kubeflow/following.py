"""A run on a cluster: what its steps do, shown until it ends, and what it came to. Knows no service's API."""

import contextlib
import dataclasses
import sys
import time
from collections.abc import Callable, Sequence
from typing import Literal

from model_code import words
from model_code.errors import PipelineStop
from pipeline import ending, layout, terminal
from pipeline.exit_codes import DONE, FAILED, REJECTED

POLL_SECONDS = 5.0
PATIENCE_SECONDS = 300.0  # a forwarded port breaks now and then, and is soon there again
VERDICT = 'Verdict'  # the step that fails if the gate rejected the model


class NoAnswer(PipelineStop):
    """The service cannot be reached. It may be there again in a moment."""


@dataclasses.dataclass(frozen=True)
class Step:
    """A step of a run. seconds: how long it has been running, or ran. log: where its log is, '' if nobody knows."""
    name: str
    state: Literal['waiting', 'running', 'done', 'cached', 'failed']
    seconds: float = 0.0
    log: str = ''
    message: str = ''


@dataclasses.dataclass(frozen=True)
class Run:
    """A run as its service describes it. outcome: '' while it goes on. seconds: since it was made.

    url: of its page. serving: the folder that it pushes versions to. error: the service's own words.
    """
    steps: tuple[Step, ...]
    outcome: Literal['', 'done', 'failed', 'stopped'] = ''
    seconds: float = 0.0
    url: str = ''
    serving: str = ''
    error: str = ''


def follow(read: Callable[[], Run], again: str) -> int:
    """Shows what a run does until it ends; prints what it came to, and returns the exit code.

    read: asks the service; raises NoAnswer. again: the command that follows this run. Ctrl-C ends this process, and not
    the run.
    """
    run = read()

    def tell(number):
        ending.print_alone(ending.sentence(number, f'{_going_on(run, again)}'))
    with ending.telling(tell):
        with contextlib.closing(terminal.Screen(sys.stdout)) as screen:
            run = _watch(run, read, screen, again)
        print('\n'.join(end_lines(run, layout.columns())))
    return exit_code(run)


def _going_on(run: Run, again: str) -> str:
    stop = f'\nTo stop it: Terminate (or Cancel) in its page, {run.url}' if run.url else ''
    return f'while it followed the run, which goes on.\nTo follow it again:\n  {again}{stop}'


def _watch(run: Run, read: Callable[[], Run], screen: terminal.Screen, again: str) -> Run:
    """Shows the run until it ends, and returns its last state."""
    count = _Count()
    screen.follow(count, len(run.steps), time.monotonic() - run.seconds)
    shown, silent_since = set(), None
    while True:
        count.steps = run.steps
        for step in run.steps:
            if step.state not in ('waiting', 'running') and step.name not in shown:
                shown.add(step.name)
                screen.step(_component_and_task(step.name), _result(step))
        now = time.monotonic()
        screen.running([(_component_and_task(step.name), now - step.seconds)
                        for step in run.steps if step.state == 'running'])
        if run.outcome:
            return run
        time.sleep(POLL_SECONDS)
        try:
            run, silent_since = read(), None
        except NoAnswer as error:
            if silent_since is None:
                silent_since = time.monotonic()
                screen.print(f'{terminal.INDENT}No answer; trying again for {words.duration(PATIENCE_SECONDS)}.')
            elif time.monotonic() - silent_since > PATIENCE_SECONDS:
                raise PipelineStop(f'{error} The run goes on. To follow it again:\n  {again}') from error


class _Count:
    """What the bar of a run shows whose steps run at the same time, in place of an estimate.Estimate."""

    def __init__(self):
        self.steps: Sequence[Step] = ()

    @property
    def done(self) -> int:
        return sum(step.state not in ('waiting', 'running') for step in self.steps)

    def share(self) -> float:
        return self.done / max(1, len(self.steps))

    def left(self) -> str:
        running = sum(step.state == 'running' for step in self.steps)
        return f'{running} running' if running else 'waiting for the cluster' if self.done < len(self.steps) else 'done'


def _component_and_task(name: str) -> str:
    """'Transform_digits', as components are named elsewhere, of 'Transform-digits'."""
    return name.replace('-', '_', 1)


def _result(step: Step) -> str:
    if step.state == 'cached':
        return 'cached'
    took = words.duration(step.seconds)
    if step.state == 'done':
        return took
    return f'rejected, {took}' if step.name == VERDICT else f'failed after {took}'


def exit_code(run: Run) -> int:
    """The exit code of the command that followed it."""
    if run.outcome == 'done':
        return DONE
    return REJECTED if rejected(run) else FAILED


def rejected(run: Run) -> bool:
    """Whether the gate's verdict, and nothing else, failed the run."""
    return run.outcome == 'failed' and {step.name for step in run.steps if step.state == 'failed'} == {VERDICT}


def end_lines(run: Run, columns: int | None = None) -> list[str]:
    """What the run came to, its steps in numbers, and where everything is. columns: of the terminal, None for none."""
    failed = [step for step in run.steps if step.state == 'failed']
    names = ', '.join(step.name for step in failed)
    if run.outcome == 'done':
        judged = any(step.name == VERDICT for step in run.steps)  # by other clients it may have been left out
        lines = ['The run is done: the gate accepted the model.' if judged else 'The run is done.']
    elif rejected(run):
        lines = ['The gate rejected the model; nothing was pushed. The reasons are in its report and its log.']
    elif run.outcome == 'stopped':
        lines = ['The run was stopped.']
    else:
        lines = [f'The run failed{f": {names}" if names else ""}.{f" {run.error}" if run.error else ""}']
    lines += [f'  {step.name}: {step.message}' for step in failed if step.message]
    lines = [part for line in lines for part in layout.wrap(line, columns)]
    rows = {'steps': _numbers(run.steps), 'time': words.duration(run.seconds)}
    rows |= {f'log of {step.name}': step.log for step in failed if step.log}
    if run.url:
        rows['run'] = run.url
    if any(step.name == 'Report' and step.state in ('done', 'cached') for step in run.steps):
        rows['report'] = 'in the page of the run: step Report, tab Visualization'
    if run.outcome == 'done' and run.serving:
        rows['served from'] = run.serving
    width = max(map(len, rows)) + 2
    return ['', *lines, '', *(f'{name:<{width}}{value}' for name, value in rows.items())]


def _numbers(steps: Sequence[Step]) -> str:
    """Such as '24: 20 done, 3 from the cache, 1 failed'."""
    said = {'done': 'done', 'cached': 'from the cache', 'failed': 'failed', 'running': 'running', 'waiting': 'not run'}
    counts = [(sum(step.state == state for step in steps), text) for state, text in said.items()]
    return f'{len(steps)}: {", ".join(f"{number} {text}" for number, text in counts if number)}'

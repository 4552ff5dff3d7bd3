"""What a run came to, for Python and notebooks."""

import contextlib
import dataclasses
import html
import os
import pathlib
import sys

from model_code import shell
from model_code.errors import ConfigError
from pipeline import run_record


def _in_notebook() -> bool:
    """Whether this process runs the cells of a notebook, where objects are shown as HTML."""
    if 'IPython' not in sys.modules:  # then nobody made a shell
        return False
    from IPython import get_ipython
    shell = get_ipython()  # None in a program that only imported it, as Beam does
    return shell is not None and 'IPKernelApp' in shell.config


@contextlib.contextmanager
def no_displays():
    """A context in which libraries display nothing below a notebook's cell. Printed text still is.

    Beam takes every pipeline in a notebook for an interactive one, and displays scripts for it.
    """
    if not _in_notebook():
        yield
        return
    from IPython.utils.capture import capture_output
    with capture_output(stdout=False, stderr=False, display=True):
        yield


@dataclasses.dataclass(frozen=True)
class Report:
    """The evaluation report of a run: a HTML page that needs no other file."""
    path: str
    """Where it is."""

    def show(self):
        """Shows it: in a notebook below the cell, otherwise in the browser."""
        if _in_notebook():
            from IPython.display import display
            display({'text/plain': f'Report: {shell.short(self.path)}', 'text/html': self._repr_html_()}, raw=True)
            return
        import webbrowser
        print(f'Report: {shell.short(self.path)}')
        webbrowser.open(pathlib.Path(self.path).absolute().as_uri())

    def _repr_html_(self) -> str:
        # A page of its own in a frame, because its styles would change those of the notebook. Sandboxed: no scripts.
        page = html.escape(pathlib.Path(self.path).read_text(encoding='utf-8'), quote=True)
        return f'<iframe sandbox srcdoc="{page}" width="100%" height="700" style="border:0"></iframe>'


@dataclasses.dataclass(frozen=True)
class Run:
    """What one run came to."""
    exit_code: int
    """As of `polyvit run`: 0 if the model was pushed or nothing changed, 3 if the gate rejected it, 1 if the run
    failed, 130 or 143 if it was interrupted."""
    accepted: bool
    """Whether the gate accepted the model."""
    reasons: tuple[str, ...]
    """Why the model was rejected, or why the run failed or was interrupted."""
    metrics: dict[str, dict[str, float | None]]
    """Task -> name of a metric -> its value over the eval split; {} if the run did not get to the gate."""
    model_dir: str
    """The newest served version, for `polyvit.load`; '' if there is none."""
    report: Report | None
    """None if the run did not get to its report."""
    log: str
    """The path of what TensorFlow, TFX and Beam said."""

    def __repr__(self) -> str:
        parts = ['accepted' if self.accepted else 'not accepted', *self.reasons]
        parts += [f'{task}: ' + ', '.join(f'{name.replace("_", " ")} {value:.3f}' for name, value in metrics.items()
                                          if value is not None and name != 'example_count')
                  for task, metrics in self.metrics.items()]
        return f'<Run {"; ".join(parts)}>'


def of_run(record: run_record.Record, serving_dir: str | os.PathLike) -> Run:
    """The Run of a record. serving_dir: the folder of the version directories."""
    decision = record.decision or {'blessed': False, 'reasons': [], 'tasks': []}
    return Run(
        exit_code=record.exit_code or 0, accepted=decision['blessed'],
        reasons=tuple(decision['reasons'] or filter(None, [record.reason])),
        metrics={task['name']: task['metrics'] for task in decision['tasks']},
        model_dir=os.path.join(serving_dir, record.version) if record.version else '',
        report=Report(record.report) if record.report else None, log=record.log)


def newest_report(root: str | None = None) -> Report:
    """The report of the run that ended last. root: as in run_record.read. Raises ConfigError if there is none."""
    record = run_record.read(root)
    if not record.report:
        raise ConfigError(f'The last run of {record.config} ended before its report. Its log is {record.log}.')
    return Report(record.report)

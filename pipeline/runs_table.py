"""`polyvit runs` and `polyvit runs show`: the runs under one or several roots, from their records."""

import dataclasses
import datetime
import os
from collections.abc import Sequence

from humanize import naturalsize

from model_code import shell, words
from model_code.errors import ConfigError, unknown
from pipeline import layout, roots, run_record, show_run
from pipeline.run_record import Record


def runs(root: str | None) -> list[Record]:
    """The records under a root, by default under all in runs/, newest first. Raises ConfigError if there is none."""
    # The log is named anew, because a copied or moved root has records with the paths of the original.
    found = [dataclasses.replace(record, log=str(path.absolute() / 'logs' / f'run-{record.id}.log'))
             for path in roots.find(root) for record in run_record.records(path)]
    if not found:
        raise ConfigError(f'There is no record of a run under {root or roots.RUNS}. Run a config first.')
    return sorted(found, key=lambda record: (record.started, record.id), reverse=True)


def find(root: str | None, run: str | None) -> Record:
    """The run whose id is or begins with `run`; by default the newest. Raises ConfigError if none or several fit."""
    found = runs(root)
    if run is None:
        return found[0]
    fitting = [r for r in found if r.id == run] or [r for r in found if r.id.startswith(run)]
    if not fitting:
        raise unknown('run', run, [r.id for r in found[:10]])
    if len(fitting) > 1:
        raise ConfigError(f'{words.count(len(fitting), "run")} fit {run!r}: '
                          f'{", ".join(f"{r.id} under {shell.short(r.root)}" for r in fitting[:5])}. '
                          'Give the whole id, and --root if the id is there twice.')
    return fitting[0]


def state(record: Record) -> str:
    """The record's state, but 'unchanged' for a run that pushed nothing because nothing had changed."""
    nothing_ran = bool(record.components) and all(node.cached for node in record.components.values())
    return 'unchanged' if record.state == 'done' and not record.pushed and nothing_ran else record.state


def verdict(record: Record) -> str:
    """What the gate and the pusher did with the model; '' if the run did not come to the gate."""
    if not record.decision:
        return ''
    if not record.decision['blessed']:
        return 'rejected'
    if record.decision.get('forced'):
        return 'forced'
    return 'pushed' if record.pushed else 'accepted'


def metrics(record: Record) -> dict[str, tuple[str, float | None]]:
    """Task -> the name and value of its primary metric; {} if the run did not come to the gate."""
    tasks = record.decision['tasks'] if record.decision else []
    return {task['name']: (task['primary_metric'], task['metrics'].get(task['primary_metric'])) for task in tasks}


def lines(records: Sequence[Record], columns: int | None) -> list[str]:
    """A heading and one line per run, newest first. Where that does not fit, the metrics have a line of their own.

    columns: of the terminal, None for none.
    """
    several = len({record.root for record in records}) > 1
    left = (0, 1, 2, 3, 4, 6, 7)  # all but the time
    rows = [_row(record) for record in records]
    wide = layout.table([[*_HEADING, 'primary metrics', *(['root'] if several else [])],
                         *([*row, _metrics_text(record), *([shell.short(record.root)] if several else [])]
                           for row, record in zip(rows, records, strict=True))], left)
    if layout.fits(wide, columns):
        return wide
    heading, *narrow = layout.table([_HEADING, *([row[0], layout.cut(row[1], 14), *row[2:]] for row in rows)], left)
    found = [heading]
    for line, record in zip(narrow, records, strict=True):
        root = f'{shell.short(record.root)}: ' if several else ''
        found += [line, *layout.wrap(f'    {root}{_metrics_text(record)}'.rstrip(' :'), columns)]
    return [line for line in found if line]


_HEADING = ['run', 'config', 'state', 'model', 'version', 'time']


def _row(record: Record) -> list[str]:
    return [record.id, record.config, state(record), verdict(record), record.version, _clock(record)]


def _metrics_text(record: Record) -> str:
    return ', '.join(f'{task} {"-" if value is None else f"{value:.3f}"}'
                     for task, (_, value) in metrics(record).items())


def _clock(record: Record) -> str:
    """How long the run took, or has been running, as hours, minutes and seconds."""
    if record.seconds is not None:
        return str(datetime.timedelta(seconds=round(record.seconds)))
    if record.state != 'running' or not record.started:
        return ''
    so_far = datetime.datetime.now().astimezone() - datetime.datetime.fromisoformat(record.started)
    return str(datetime.timedelta(seconds=max(0, round(so_far.total_seconds()))))


def as_json(record: Record) -> dict:
    """A row of the table with all that it is made of, for scripts."""
    return {'run': record.id, 'root': str(record.root), 'config': record.config, 'state': state(record),
            'verdict': verdict(record), 'version': record.version, 'started': record.started,
            'seconds': record.seconds, 'exit_code': record.exit_code, 'reason': record.reason, 'log': record.log,
            'report': record.report,
            'metrics': {task: {'name': name, 'value': value} for task, (name, value) in metrics(record).items()}}


def show(record: Record, columns: int | None) -> list[str]:
    """All of one run: what was typed and changed, what it came to, and what each component did."""
    shown = show_run.lines(record, columns)
    extra = [f'root     {shell.short(record.root)}']
    if record.overrides:
        extra.append(f'set      {", ".join(record.overrides)}')
    if record.repeats:
        extra.append(f'repeats  {record.repeats}: nothing had changed since')
    end = layout.wrap(record.reason, columns) if record.decision and record.reason else []  # it failed after the gate
    gone = [f'{shell.short(path)} is no longer there.' for path in (record.report, record.log)
            if path and not os.path.exists(path)]
    return [*shown[:1], *extra, *shown[1:], *end, *gone, '', *_components(record)]


def _components(record: Record) -> list[str]:
    if not record.components:
        return [{'running': 'What has finished is recorded when the run ends.',
                 'killed': 'What had finished was not recorded.'}.get(record.state, 'No component finished.')]
    rows = [['component', 'task', 'time', 'CPU', 'memory']]
    for name, node in record.components.items():
        component, _, task = name.partition('_')
        cpu, memory = ('' if value is None else text(value) for value, text in (
            (node.cpu_seconds, words.duration), (node.peak_bytes, naturalsize)))
        rows.append([component, task, 'cached' if node.cached else words.duration(node.seconds), cpu, memory])
    cached = sum(node.cached for node in record.components.values())
    return [*layout.table(rows, left=(0, 1)), '',
            f'{words.count(len(record.components), "component")}, {cached} from the cache']

"""`polyvit report`: what a run came to, from its record. Only strings."""

import os
import pathlib

from model_code import words
from pipeline import run_record, summary
from serving import version_directories


def lines(record: run_record.Record) -> list[str]:
    """What was run and when, the version, the table of tasks, the decision with its reasons, and the paths."""
    root = pathlib.Path(record.log).parent.parent
    typed = f'  ({summary.command(*record.argv)})' if record.argv else ''
    took = '' if record.seconds is None else f', {words.duration(record.seconds)}'
    head = [f'config   {record.config}{typed}',
            f'run      {record.started[:19].replace("T", " ")}{took}: {record.state}',
            f'version  {_version(record, root)}']
    if not record.decision:
        return [*head, '', record.reason or 'It ended before the gate.', '', *summary.path_lines({'log': record.log})]
    decision = summary.decision_lines(record.decision, record.version, record.pushed)
    return [*head, '', *summary.task_rows(record.decision), '', *decision, '',
            *summary.path_lines(paths(record.components, record.report) | {'log': record.log})]


def paths(components: dict[str, run_record.NodeRecord], report: str) -> dict[str, str]:
    """Name -> path of what there is to look at."""
    return {'report': report,
            'tensorboard': os.path.join(components['CoTrainer'].outputs['model_run'][0], 'tensorboard')}


def later_lines(record: run_record.Record) -> list[str]:
    """What has happened under the root since a run ended: a run that goes on, or that died."""
    root = pathlib.Path(record.log).parent.parent
    newest = next(iter(run_record.records(root)), record)
    if newest.id == record.id or newest.state not in ('running', 'killed'):
        return []
    what = 'is in progress' if newest.state == 'running' else 'was killed before its end'
    return ['', f'A later run {what}; its log is {summary.short(newest.log)}.']


def _version(record: run_record.Record, root: pathlib.Path) -> str:
    """The version that was the newest when the run ended, and whether it still is."""
    if not record.version:
        return 'none'
    newest = str(max(version_directories.list_models(str(root / 'serving' / 'polyvit')), default=''))
    whose = 'pushed by this run' if record.pushed else 'was there before'
    if newest == record.version:
        return f'{record.version}, {whose}; it is the newest'
    return f'{record.version}, {whose}; the newest is now {newest or "none"}'

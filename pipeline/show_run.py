"""`polyvit report`: what a run came to, from its record. Only strings."""

import os
import pathlib

from model_code import shell, words
from pipeline import layout, roots, run_record, summary
from serving import version_directories


def lines(record: run_record.Record, columns: int | None = None) -> list[str]:
    """What was run and when, the version, the table of tasks, the decision with its reasons, and the paths.

    columns: of the terminal, None for none.
    """
    took = '' if record.seconds is None else f', {words.duration(record.seconds)}'
    head = [f'config   {record.config}', *([f'typed    {summary.command(*record.argv)}'] if record.argv else []),
            f'run      {record.started[:19].replace("T", " ")}{took}: {record.state}',
            f'version  {_version(record)}']
    if not record.decision:
        reason = layout.wrap(record.reason or _UNFINISHED.get(record.state, 'It ended before the gate.'), columns)
        return [*head, '', *reason, '', *summary.path_lines({'log': record.log}, columns), *_again_lines(record)]
    decision = [*summary.decision_lines(record.decision, record.version, record.pushed),
                *summary.data_lines(run_record.data_lines(record.components))]
    return [*head, '', *summary.task_rows(record.decision, columns), '',
            *(part for line in decision for part in layout.wrap(line, columns)), '',
            *path_lines(record.components, record.report, record.log, columns),
            *_study_lines(record.root)]


def _again_lines(record: run_record.Record) -> list[str]:
    """How to go on with a run that did not come to its end, as the terminal said it then."""
    how = {'interrupted': 'To go on', 'killed': 'To go on', 'failed': 'To run again'}.get(record.state)
    if not how:
        return []
    if not record.argv:
        return ['', f'{how}, run it from Python again.']
    where = '' if record.folder in ('', os.getcwd()) else f', in {record.folder}'
    return ['', f'{how}{where}:', *summary.again_lines(record.argv)]


_UNFINISHED = {'running': 'It is running.', 'killed': 'It died before it could write its end.'}


def path_lines(components: dict[str, run_record.NodeRecord], report: str, log: str, columns: int | None,
               model: str = '') -> list[str]:
    """What there is to look at: paths, and the command that shows the curves of the training."""
    curves = os.path.join(components['CoTrainer'].outputs['model_run'][0], 'tensorboard')
    return [*summary.path_lines({'model': model, 'report': report, 'log': log}, columns),
            f'curves  {shell.tensorboard(curves)}']


def _study_lines(root: pathlib.Path) -> list[str]:
    """The pages of `polyvit study` under this root."""
    return [f'study   {shell.short(page)}' for page in roots.study_pages(root)]


def later_lines(record: run_record.Record) -> list[str]:
    """What has happened under the root since a run ended: a run that goes on, or that died."""
    newest = next(iter(run_record.records(record.root)), record)
    if newest.id == record.id or newest.state not in ('running', 'killed'):
        return []
    what = 'is in progress' if newest.state == 'running' else 'was killed before its end'
    return ['', f'A later run {what}; its log is {shell.short(newest.log)}.']


def _version(record: run_record.Record) -> str:
    """The version that was the newest when the run ended, and whether it still is."""
    if not record.version:
        return {'running': 'not recorded yet', 'killed': 'not recorded'}.get(record.state, 'none')
    newest = str(max(version_directories.list_models(str(roots.serving_dir(record.root))), default=''))
    whose = 'pushed by this run' if record.pushed else 'was there before'
    if newest == record.version:
        return f'{record.version}, {whose}; it is the newest'
    return f'{record.version}, {whose}; the newest is now {newest or "none"}'

"""`polyvit data check`: reads all media of a config as a run does; says what is rejected, and whether a run stops."""

import sys

from media import checks as media_checks
from model_code.progress import Progress
from pipeline import checks


def check_config(config, progress=lambda *unused: None) -> dict:
    """{'config', 'ok', 'tasks': [what media.checks.check_media says of each task]}. ok: no run would stop for them.

    Raises ConfigError as the pipeline would.
    """
    checks.use_file_systems(config)
    tasks = [media_checks.check_media(task.source, task.checks, config.model.input(task.modality),
                                      tuple(config.beam_args), progress=progress) for task in config.mixture.tasks]
    return {'config': config.name, 'ok': all(task['ok'] for task in tasks), 'tasks': tasks}


class ProgressLine:
    """A line on standard error, redrawn on a terminal, else a new one every ten seconds."""

    def __init__(self, stream=None):
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._task = ''

    def __call__(self, task: str, done: int, total: int):
        if task != self._task:
            self._task = task
            self._progress = Progress(total, 'files', self._print, 0.2 if self._terminal else 10.0)
        self._progress.add(done - self._progress.done)
        if done == total:
            self._progress.finish()

    def _print(self, text: str):
        line = f'{self._task}: {text}'
        if not self._terminal:
            print(line, file=self._stream, flush=True)
            return
        ended = self._progress.done == self._progress.total
        print(f'\r{line}\x1b[K', end='\n' if ended else '', file=self._stream, flush=True)


def render(result: dict) -> str:
    """The result as text for a terminal."""
    lines = []
    for task in result['tasks']:
        counts = ', '.join(f'{task["examples"].get(split, 0):,} {split}' for split in ('train', 'eval'))
        rejected = sum(some['count'] for some in task['rejected'].values())
        lines += ['', f'{task["name"]} ({task["modality"]}, {task["data"]})',
                  f'  {task["total"]:,} files: {counts} examples, {rejected:,} rejected; '
                  f'{len(task["classes"])} classes{_class_range(task)}']
        for reason, some in sorted(task['rejected'].items(), key=lambda item: -item[1]['count']):
            lines.append(f'  rejected, {reason}: {some["count"]:,}')
            lines += [f'    {path}: {detail}' for path, detail in some['first']]
            if some['count'] > len(some['first']):
                lines.append(f'    and {some["count"] - len(some["first"]):,} more')
        lines += [f'  {remark}' for remark in task['remarks']]
        lines += [f'  a run stops: {reason}' for reason in task['stops']]
        if task['ok']:
            lines.append('  ready to run')
    return '\n'.join(lines[1:])


def _class_range(task: dict) -> str:
    counts = [by_split.get('train', 0) for by_split in task['classes'].values()]
    return f' of {min(counts):,} to {max(counts):,} train examples' if counts else ''

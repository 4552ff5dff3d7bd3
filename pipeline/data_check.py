"""`polyvit data check`: reads all media of a config as a run does; says what is rejected, and if a run would stop."""

import sys

from media import checks as media_checks
from model_code import words
from model_code.printable import printable
from model_code.progress import Progress
from pipeline import checks, layout, printed


def check_config(config, progress=lambda *unused: None) -> dict:
    """{'config', 'ok', 'tasks': [the dict of media.checks.check_media for each task]}. ok: a run would not stop.

    progress: as in check_media. Raises ConfigError as a run would.
    """
    checks.use_file_systems(config)
    checks.check_demo_media(config)
    tasks = [media_checks.check_media(task.source, task.checks, config.model.input(task.modality),
                                      tuple(config.beam.options), progress=progress) for task in config.mixture.tasks]
    return {'config': config.name, 'ok': all(task['ok'] for task in tasks), 'tasks': tasks}


class ProgressLine:
    """Progress on standard error: one line that is redrawn on a terminal, otherwise a new line every ten seconds.

    What is counted beside files is shown only if it takes longer than that.
    """

    def __init__(self, stream=None):
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._task, self._noun, self._shown = '', '', False

    def __call__(self, task: str, done: int, total: int, noun: str = 'file'):
        if (task, noun) != (self._task, self._noun):
            self._task, self._noun, self._shown = task, noun, noun == 'file'
            self._progress = Progress(total, noun, self._print, 0.2 if self._terminal else 10.0)
        self._progress.total = total  # it is less than at first where only a part is read
        self._progress.add(done - self._progress.done)
        if done == total and self._shown:
            self._progress.finish()

    def _print(self, text: str):
        self._shown = True
        line = f'{self._task}: {text}'
        columns = layout.columns(self._stream)
        if not columns:
            print(line, file=self._stream, flush=True)
            return
        finished = self._progress.done == self._progress.total
        line = layout.cut(line, columns - 1)
        print(f'\r{printable(line)}\x1b[K', end='\n' if finished else '', file=printed.raw(self._stream), flush=True)


def render(result: dict, columns: int | None = None) -> str:
    """The result as text for a terminal of `columns`, None for none."""
    lines = []
    for task in result['tasks']:
        counts = ', '.join(f'{task["examples"].get(split, 0):,} {split}' for split in ('train', 'eval'))
        rejected = sum(tally['count'] for tally in task['rejected'].values())
        heading = f'{task["name"]} ({task["modality"]}, '
        lines += ['', f'{heading}{layout.cut(task["data"], columns and columns - len(heading) - 1)})',
                  f'  {words.count(task["total"], "file")}: {counts} examples, {rejected:,} rejected',
                  f'  {_classes(task)}']
        if task['groups']:
            lines.append('  groups: ' + ', '.join(f'{task["groups"].get(split, 0):,} in {split}'
                                                  for split in ('train', 'eval')))
        for reason, tally in sorted(task['rejected'].items(), key=lambda item: -item[1]['count']):
            lines.append(f'  rejected, {reason}: {tally["count"]:,}')
            lines += [f'    {layout.cut(path, columns and columns - 5)}: {detail}' for path, detail in tally['first']]
            if tally['count'] > len(tally['first']):
                lines.append(f'    and {tally["count"] - len(tally["first"]):,} more')
        lines += [f'  {remark}' for remark in task['remarks']]
        lines += [f'  a run would stop: {reason}' for reason in task['stops']]
        if task['ok']:
            lines.append('  ready to run')
    return '\n'.join(part for line in lines[1:] for part in layout.wrap(line, columns, _indent(line) + 2))


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _classes(task: dict) -> str:
    """'4 classes with 30 train examples each', or 'with 40 to 58 train examples each'."""
    number = words.count(len(task['classes']), 'class', 'classes')
    counts = [by_split.get('train', 0) for by_split in task['classes'].values()]
    if not counts:
        return number
    if min(counts) == max(counts):
        return f'{number} with {words.count(counts[0], "train example")}{" each" if len(counts) > 1 else ""}'
    return f'{number} with {min(counts):,} to {max(counts):,} train examples each'

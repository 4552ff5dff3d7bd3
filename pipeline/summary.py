"""What a run prints at its end: the table of tasks, the gate's decision, paths, the next commands. Only strings."""

import importlib.util
import os
import pathlib
import shlex
import shutil
import sys

from pipeline import layout


def command(*words) -> str:
    """A command line of `polyvit` that runs when it is pasted into the shell: the program as it was started here."""
    return shlex.join([*_program(), *map(str, words)])


def _program() -> list[str]:
    started = pathlib.Path(sys.argv[0])
    if started.match('polyvit/__main__.py') and '-m' in sys.orig_argv:  # with whatever options of Python
        return sys.orig_argv[:sys.orig_argv.index('-m') + 2]
    if shutil.which('polyvit'):
        return ['polyvit']
    return [short(started)] if started.name == 'polyvit' else [short(sys.executable), '-m', 'polyvit']


def short(path) -> str:
    """The path relative to the current directory, if that is shorter."""
    relative = os.path.relpath(path)
    return relative if len(relative) < len(str(path)) else str(path)


def tensorboard(folder: str) -> str:
    """The command that shows the event files in a folder; the folder alone where TensorBoard is not installed."""
    if not importlib.util.find_spec('tensorboard'):
        return short(folder)
    program = ['tensorboard'] if shutil.which('tensorboard') else [short(sys.executable), '-m', 'tensorboard.main']
    return shlex.join([*program, '--logdir', short(folder)])


def task_rows(decision: dict, columns: int | None = None) -> list[str]:
    """A heading and one line per task of the gate's decision.json: metrics, floor, baseline, change, verdict.

    columns: of the terminal, None for none. Where the lines would not fit, all metrics but the primary one are below.
    """
    rows = [['task', 'metrics', 'floor', 'serving', 'change', 'verdict']]
    metrics = []
    for task in decision['tasks']:
        primary = task['primary_metric']
        names = [primary] + sorted(m for m in task['metrics'] if m not in (primary, 'example_count'))
        metrics.append([f'{_label(name)} {task["metrics"][name]:.3f}' for name in names
                        if task['metrics'].get(name) is not None])
        served = (task.get('baseline_metrics') or {}).get(primary)
        rows.append([task['name'], ', '.join(metrics[-1]), f'{task["floor"]:.3f}',
                     '-' if served is None else f'{served:.3f}',
                     '-' if task.get('change') is None else f'{task["change"]:+.3f}',
                     'passed' if task['blessed'] else 'rejected'])
    lines = layout.table(rows, left=(0, 1, 5))
    if layout.fits(lines, columns):
        return lines
    narrow = [[layout.cut(row[0], 24), row[1].split(', ')[0], *row[2:]] for row in rows]
    heading, *lines = layout.table(narrow, left=(0, 1, 5))
    others = [layout.wrap(f'  {", ".join(names[1:])}', columns) if names[1:] else [] for names in metrics]
    return [heading, *(line for pair in zip(lines, others, strict=True) for line in (pair[0], *pair[1]))]


def _label(metric: str) -> str:
    return {'mean_average_precision': 'mAP', 'top_5_accuracy': 'top-5'}.get(
        metric, metric.removesuffix('_accuracy'))


def decision_lines(decision: dict, version: str, pushed_now: bool) -> list[str]:
    """The gate's decision in sentences, with its reasons. version: the newest in the serving directory, '' for none."""
    if decision.get('forced'):
        what = f'it is now version {version}' if pushed_now else f'version {version} is this model already'
        return [f'The gate rejected the model. It is pushed by force, and {what}.',
                *(f'  - {reason}' for reason in decision['reasons']), f'Forced because: {decision["forced"]}']
    if decision['blessed']:
        if pushed_now:
            return [f'The gate accepted the model: it is now version {version}.']
        return [f'The gate accepted the model. Nothing is pushed: version {version} is this model already.']
    lines = ['The gate rejected the model; nothing was pushed.']
    lines += [f'  - {reason}' for reason in decision['reasons']]
    lines.append(f'Version {version} is still being served.' if version else 'No version is being served yet.')
    return lines


def data_lines(findings: list[str]) -> list[str]:
    """What is remarkable about a run's data beside those of the served model, one sentence per finding."""
    return ['The data differ from those of the served model, or their splits from each other:',
            *(f'  - {sentence}' for sentence in findings)] if findings else []


def path_lines(paths: dict[str, str], columns: int | None = None) -> list[str]:
    """'name  path' for each path that is not ''; on a terminal of `columns` cut in the middle where it does not fit."""
    indent = max(map(len, paths)) + 2
    room = columns and columns - indent
    return [f'{name:<{indent}}{layout.cut(short(path), room)}' for name, path in paths.items() if path]


def next_lines(config, version: str, blessed: bool, report: str, sample: str, argv: tuple[str, ...]) -> list[str]:
    """What to do next; if the model was rejected, first of all what to fix.

    sample: a media file of the first task, '' for none. argv: what was typed for this run, () for a run from Python.
    """
    fix = [f'  fix what the reasons name (data, steps, floor or max_drop), then run it again{":" if argv else ""}',
           *again_lines(argv)]
    read = [f'  open {shlex.quote(short(report))} in a browser']
    serving = short(config.serving_dir)
    use = [f'  {command("serve", serving)}']
    if sample:
        use.append(f'  {command("predict", config.mixture.tasks[0].name, short(sample), "--model", serving)}')
    return ['Next:', *([] if blessed else fix), *read, *(use if version else [])]


def again_lines(argv: tuple[str, ...]) -> list[str]:
    """The command that was typed, indented; none for a run from Python."""
    return [f'  {command(*argv)}'] if argv else []

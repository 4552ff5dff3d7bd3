"""What a run prints at its end: the table of tasks, the gate's decision, paths, the next commands. Only strings."""

import pathlib
import shlex
import shutil
import sys

from humanize import naturalsize

from model_code import words
from model_code.shell import short
from pipeline import layout

TABLE_COLUMNS = 100
_COSTLY = 3  # components whose cost is printed; `polyvit runs show` has those of all


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


def task_rows(decision: dict, columns: int | None = None) -> list[str]:
    """A heading and one line per task of the gate's decision.json: metrics, floor, baseline, change, outcome, verdict.

    With 95% intervals, in parentheses. columns: of the terminal, None for none. In at most TABLE_COLUMNS; where the
    lines would not fit, first all metrics but the primary one, then the intervals too, are below.
    """
    limit = min(columns or TABLE_COLUMNS, TABLE_COLUMNS)
    outcomes = any(task.get('outcome') not in (None, 'not_tested') for task in decision['tasks'])
    heading = ['task', 'metrics', 'floor', 'serving', 'change', *(['compared'] if outcomes else []), 'verdict']
    left = (0, 1, *range(5, len(heading)))
    lines: list[str] = []
    for form in ('whole', 'others below', 'intervals below'):
        rows, below = zip(*(_task_row(task, form, outcomes) for task in decision['tasks']), strict=True)
        if form == 'intervals below' and columns:
            rows = [[layout.cut(row[0], 24), *row[1:]] for row in rows]
        first, *lines = layout.table([heading, *rows], left)
        more = [layout.wrap(f'  {"; ".join(parts)}', limit) if parts else [] for parts in below]
        lines = [first, *(line for pair in zip(lines, more, strict=True) for line in (pair[0], *pair[1]))]
        if layout.fits(lines, limit):
            break
    return lines


def _task_row(task: dict, form: str, outcomes: bool) -> tuple[list[str], list[str]]:
    """The cells of a task's line, and what is below it. outcomes: whether there is a column for the comparison."""
    primary = task['primary_metric']
    names = [primary] + sorted(m for m in task['metrics'] if m not in (primary, 'example_count'))
    first, *others = [f'{_label(name)} {task["metrics"][name]:.3f}' for name in names
                      if task['metrics'].get(name) is not None] or ['']
    served, moved = (task.get('baseline_metrics') or {}).get(primary), task.get('change')
    value, change = _interval(task, 'low', 'high'), _interval(task, 'change_low', 'change_high')
    below = []
    if form == 'intervals below' and value:
        below = [f'95% interval {value}' + (f', of the change {change}' if change else '')]
        value = change = ''
    metrics = f'{first} ({value})' if value else first
    if form == 'whole':
        metrics = ', '.join([metrics, *others])
    elif others:
        below.append(', '.join(others))
    cells = [task['name'], metrics, f'{task["floor"]:.3f}', '-' if served is None else f'{served:.3f}',
             '-' if moved is None else f'{moved:+.3f}' + (f' ({change})' if change else '')]
    if outcomes:
        cells.append((task.get('outcome') or '-').replace('_', ' '))
    return [*cells, 'passed' if task['blessed'] else 'rejected'], below


def _interval(task: dict, low: str, high: str) -> str:
    """'0.46 to 0.54'; '' if there is none, as in the records of older runs."""
    if task.get(low) is None or task.get(high) is None:
        return ''
    return ' to '.join(f'{round(task[name], 2) + 0.0:.2f}' for name in (low, high))  # + 0.0: no minus before zero


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


def cost_lines(components: dict, columns: int | None = None) -> list[str]:
    """What the components that took longest have cost, a line for each; [] if none ran that was measured.

    components: id -> run_record.NodeRecord.
    """
    ran = sorted(((name, node) for name, node in components.items() if node.cpu_seconds is not None),
                 key=lambda item: -item[1].seconds)[:_COSTLY]
    texts = [f'{name.replace("_", " of ", 1)}: {words.duration(node.seconds)} (CPU '
             f'{words.duration(node.cpu_seconds)}, {naturalsize(node.peak_bytes)})' for name, node in ran]
    return [part for i, text in enumerate(texts)
            for part in layout.wrap(f'{"" if i else "cost":<8}{text}', columns, 10)]


def next_lines(config, version: str, blessed: bool, report: str, samples: dict[str, str],
               argv: tuple[str, ...]) -> list[str]:
    """What to do next; if the model was rejected, first of all what to fix.

    samples: task -> one of its media files, of the tasks that have any. argv: what was typed for this run, () for a
    run from Python.
    """
    fix = [f'  fix what the reasons name (data, steps, floor or max_drop), then run it again{":" if argv else ""}',
           *again_lines(argv)]
    read = [f'  open {shlex.quote(short(report))} in a browser']
    serving = short(config.serving_dir)
    use = [f'  {command("serve", serving)}']
    task = next((task.name for task in config.mixture.tasks if task.name in samples), None)
    if task:
        use.append(f'  {command("predict", task, short(samples[task]), "--model", serving)}')
    return ['Next:', *([] if blessed else fix), *read, *(use if version else [])]


def again_lines(argv: tuple[str, ...]) -> list[str]:
    """The command that was typed, indented; none for a run from Python."""
    return [f'  {command(*argv)}'] if argv else []

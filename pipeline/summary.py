"""What a person reads at the end of a run: verdicts, decision, places, next commands. Plain strings in and out."""

import os
import shutil
import sys


def command() -> str:
    """How this person types `polyvit`: the bare word where their shell finds it, else the path they used."""
    if shutil.which('polyvit'):
        return 'polyvit'
    return 'python -m polyvit' if sys.argv[0].endswith('.py') else os.path.relpath(sys.argv[0])


def short(path) -> str:
    """The path relative to where the person is, if that is shorter."""
    relative = os.path.relpath(path)
    return relative if len(relative) < len(str(path)) else str(path)


def task_rows(decision: dict) -> list[str]:
    """A line a task of the gate's decision.json: metrics, floor, the model being served, change, verdict."""
    lines = [f'{"task":<18}{"metrics":<52}{"floor":>8}{"serving":>9}{"change":>9}  verdict']
    for task in decision['tasks']:
        primary = task['primary_metric']
        metrics = dict(task['metrics'])
        names = [primary] + sorted(m for m in metrics if m not in (primary, 'example_count'))
        text = ', '.join(f'{_label(name)} {metrics[name]:.3f}' for name in names if metrics.get(name) is not None)
        before = (task.get('baseline_metrics') or {}).get(primary)
        change = task.get('change')
        lines.append(f'{task["name"]:<18}{text:<52}{task["floor"]:>8.3f}'
                     f'{"-" if before is None else f"{before:.3f}":>9}{"-" if change is None else f"{change:+.3f}":>9}'
                     f'  {"passed" if task["blessed"] else "refused"}')
    return lines


def _label(metric: str) -> str:
    return {'mean_average_precision': 'mAP', 'top_5_accuracy': 'top-5'}.get(
        metric, metric.removesuffix('_accuracy'))


def decision_lines(decision: dict, version: str, pushed_now: bool) -> list[str]:
    """The gate's verdict in words, with its reasons. version: the newest in the serving directory, '' for none."""
    if decision['blessed']:
        if pushed_now:
            return [f'The gate accepted the model: it is version {version}.']
        return [f'Nothing changed since the last run: version {version} stays, every step came from the cache.']
    lines = ['The gate refused the model; nothing was pushed.']
    lines += [f'  - {reason}' for reason in decision['reasons']]
    lines.append(f'Version {version} stays in service.' if version else 'There is no version in service yet.')
    return lines


def place_lines(places: dict[str, str]) -> list[str]:
    width = max(map(len, places)) + 2
    return [f'{name:<{width}}{short(path)}' for name, path in places.items() if path]


def next_lines(config, version: str, blessed: bool, report: str) -> list[str]:
    """What to type next."""
    polyvit = command()
    lines = ['Next:']
    if version:
        # Not the first task's name alone: a file of that task, which the person knows better than we.
        task = config.mixture.tasks[0]
        lines += [f'  {polyvit} serve {short(config.serving_dir)}',
                  f'  {polyvit} predict {task.name} FILE --model {short(config.serving_dir)}']
    if not blessed:
        lines.append(f'  mend what the reasons name (the task\'s data, steps, floor or max_drop), then: '
                     f'{polyvit} run {config.name}')
    if report:
        lines.append(f'  open {short(report)} in a browser')
    return lines

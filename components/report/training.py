"""The report's part on training: loss, learning rate, gradient norm, speed, and the schedule as it ran."""

import math
from collections.abc import Mapping

from markupsafe import Markup

from components.report import charts
from model_code import words

_SCHEDULE_PARTS = 60  # of the chart of the schedule
_SCHEDULE_HEIGHT, _SCHEDULE_FOOT = 60, 18


def section(history: dict, names: list[str], colours: dict[str, str], limit: int) -> dict:
    """What training.html shows. history: what loop.train returns. names: of the tasks. limit: points of a curve.

    Returns {'text', 'losses': [{'name', 'chart', 'last', 'evaluated', 'captions'}], 'evaluated', 'rates', 'peak',
    'norms', 'largest', 'speeds', 'speed': {name: examples a second as text, 'all together': too}, 'schedule'}; charts
    are '' where the history does not have their numbers. 'evaluated': whether there are dots. 'captions': whether the
    task learns from captions.
    """
    steps = history.get('steps', [])
    cut = _cut(steps, 'gradient_norm')
    losses = _losses(history, names, colours, limit)
    return {
        'text': trained(history), 'losses': losses, 'evaluated': any(entry['evaluated'] for entry in losses),
        'rates': _of_all(steps, 'learning_rate', names, colours, 'Learning rate', limit),
        'peak': words.short_number(max((step['learning_rate'] for step in steps), default=0)),
        'norms': _of_all(cut, 'gradient_norm', names, colours, 'Norm of the gradient', limit),
        'largest': words.short_number(max((step.get('gradient_norm', 0.0) for step in steps), default=0)) + (
            ', peaks are cut' if cut != steps else ''),
        'speeds': _speeds(history.get('speeds', []), names, colours, limit),
        'speed': _speed(history.get('speeds', []), names),
        'schedule': (schedule([(step['step'], step['task']) for step in steps], names, colours)
                     if len(names) > 1 else Markup(''))}


def trained(history: dict) -> str:
    """'310 steps in 1 minute and 1 second', and which of them the model comes from; '' without a history."""
    total = history.get('total_steps')
    if not total:
        return ''
    exported = history.get('exported') or {'steps': total, 'trained_steps': total, 'mean': None}
    done, after = exported['trained_steps'], exported['steps']
    early = f' (of {total:,}: it ended early)' if done < total else ''
    text = f'{words.count(done, "step")}{early} in {words.duration(history.get("seconds") or 0)}'
    if exported['mean'] is None:
        return text
    return (f'{text}. The model has the weights after {words.count(after, "step")}, the best of '
            f'{words.count(len(history["evaluations"]), "evaluation")}: the mean of the primary metrics on the eval '
            f'split is {exported["mean"]:.3f}')


def schedule(trained: list[tuple[int, str]], names: list[str], colours: Mapping[str, str]) -> Markup:
    """Which tasks were trained when: of each part of the training, the shares of its steps. '' where none is named.

    trained: (step, task) of each recorded step, in their order.
    """
    if not {task for _, task in trained} & set(names):  # all tasks in one step
        return Markup('')
    last = trained[-1][0] + 1
    count = min(_SCHEDULE_PARTS, len(trained))
    parts: list[list[str]] = [[] for _ in range(count)]
    for step, task in trained:
        parts[step * count // last].append(task)
    bars, width = [], charts.WIDTH / count
    box = Markup('<rect class="part0 {}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>')
    for i, part in enumerate(parts):
        top = 0.0
        for name in names:
            height = _SCHEDULE_HEIGHT * part.count(name) / max(1, len(part))
            if height:
                bars.append(box.format(colours[name], i * width, top, width, height))
            top += height
    for step in charts.ticks(0, last):
        share = step / last
        anchor = 'start' if share < 0.03 else 'middle' if share < 0.97 else 'end'
        bars.append(Markup('<text x="{:.1f}" y="{}" text-anchor="{}">{}</text>').format(
            charts.WIDTH * share, _SCHEDULE_HEIGHT + 14, anchor, words.short_number(step)))
    return Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        charts.WIDTH, _SCHEDULE_HEIGHT + _SCHEDULE_FOOT, 'Shares of the steps by task, from the first to the last step',
        Markup('').join(bars))


def _speed(speeds: list[dict], names: list[str]) -> dict[str, str]:
    """Examples a second of each task, and of all together, in the order of the names."""
    def rate(some: list[dict]) -> str:
        return words.short_number(sum(s['examples'] for s in some) / max(1e-9, sum(s['seconds'] for s in some)))
    found = {name: rate(some) for name in names if (some := [s for s in speeds if s['task'] == name])}
    return found | ({'all together': rate(speeds)} if speeds else {})


def _speeds(speeds: list[dict], names: list[str], colours: Mapping[str, str], limit: int) -> Markup:
    """Examples a second over the steps: a line per task, and one where all tasks are in one step."""
    lines = []
    for name, css in [*((name, f'curve {colours[name]}') for name in names), ('all', 'curve')]:
        some = [s for s in speeds if s['task'] == name]
        window = max(1, len(some) // 12)
        examples, seconds = (charts.smooth([s[key] for s in some], window) for key in ('examples', 'seconds'))
        values = [count / max(1e-9, took) for count, took in zip(examples, seconds, strict=True)]
        lines.append(charts.Line(list(zip((s['step'] for s in some), values, strict=True)), css))
    return charts.line_chart(lines, 'Examples a second', limit)


def _losses(history: dict, names: list[str], colours: dict[str, str], limit: int) -> list[dict]:
    result = []
    for name in names:
        steps = [s for s in history.get('steps', []) if s['task'] == name]
        xs, losses = [s['step'] for s in steps], [s['loss'] for s in steps]
        smoothed = charts.smooth(losses, max(1, len(losses) // 12))
        evaluations = history.get('evaluations', [])
        captions = any(f'eval/{name}/caption_recall' in record['values'] for record in evaluations)
        # Of a task with captions older histories have the loss of the classes, which is not the one that was trained.
        evaluated = [(record['step'], record['values'][f'eval/{name}/loss'])
                     for record in evaluations if f'eval/{name}/loss' in record['values'] and not captions]
        chart = charts.line_chart(
            [charts.Line(list(zip(xs, losses, strict=True)), f'raw {colours[name]}'),
             charts.Line(list(zip(xs, smoothed, strict=True)), f'curve {colours[name]}'),
             charts.Line(evaluated, 'evaluated', dots=True)], f'Training loss of {name}', limit)
        if chart and losses:
            result.append({'name': name, 'chart': chart, 'last': words.short_number(smoothed[-1]),
                           'evaluated': bool(evaluated), 'captions': captions})
    return result


def _cut(steps: list[dict], key: str) -> list[dict]:
    """The steps with the few values that tower over all others cut, which would press the rest to the ground."""
    values = sorted(step[key] for step in steps if math.isfinite(step.get(key, math.nan)))
    if not values:
        return steps
    most = 2 * values[int(0.98 * (len(values) - 1))]
    return [{**step, key: min(step[key], most)} if key in step else step for step in steps]


def _of_all(steps: list[dict], key: str, names: list[str], colours: dict[str, str], title: str, limit: int) -> Markup:
    """One chart with a line per task."""
    return charts.line_chart([
        charts.Line([(s['step'], s[key]) for s in steps if s['task'] == name and key in s], f'curve {colours[name]}')
        for name in names], title, limit)

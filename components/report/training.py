"""The report's part on training: loss, learning rate, gradient norm, and the schedule as it ran."""

from markupsafe import Markup

from components.report import charts
from model_code import words

_SCHEDULE_PARTS = 60  # of the chart of the schedule
_SCHEDULE_HEIGHT = 60


def section(history: dict, names: list[str], colours: dict[str, str], limit: int) -> dict:
    """What training.html shows. history: what loop.train returns. names: of the tasks. limit: points of a curve.

    Returns {'text', 'losses': [{'name', 'chart', 'last'}], 'evaluated', 'rates', 'peak', 'norms', 'largest',
    'schedule'}; charts are '' where the history does not have their numbers.
    """
    steps = history.get('steps', [])
    return {
        'text': trained(history), 'losses': _losses(history, names, colours, limit),
        'evaluated': bool(history.get('evaluations')),
        'rates': _of_all(steps, 'learning_rate', names, colours, 'Learning rate', limit),
        'peak': words.short_number(max((step['learning_rate'] for step in steps), default=0)),
        'norms': _of_all(steps, 'gradient_norm', names, colours, 'Norm of the gradient', limit),
        'schedule': schedule([step['task'] for step in steps], names, colours) if len(names) > 1 else Markup('')}


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


def schedule(trained_tasks: list[str], names: list[str], colours: dict[str, str]) -> Markup:
    """Which tasks were trained when: of each part of the training, the shares of its steps. '' where none is named.

    trained_tasks: the task of each recorded step, in their order.
    """
    if not set(trained_tasks) & set(names):  # all tasks in one step
        return Markup('')
    parts = min(_SCHEDULE_PARTS, len(trained_tasks))
    bars, width = [], charts.WIDTH / parts
    box = Markup('<rect class="part0 {}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>')
    for i in range(parts):
        part = trained_tasks[i * len(trained_tasks) // parts:(i + 1) * len(trained_tasks) // parts]
        top = 0.0
        for name in names:
            height = _SCHEDULE_HEIGHT * part.count(name) / len(part)
            if height:
                bars.append(box.format(colours[name], i * width, top, width, height))
            top += height
    return Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        charts.WIDTH, _SCHEDULE_HEIGHT, 'Shares of the steps by task, from the first to the last step',
        Markup('').join(bars))


def _losses(history: dict, names: list[str], colours: dict[str, str], limit: int) -> list[dict]:
    result = []
    for name in names:
        steps = [s for s in history.get('steps', []) if s['task'] == name]
        xs, losses = [s['step'] for s in steps], [s['loss'] for s in steps]
        smoothed = charts.smooth(losses, max(1, len(losses) // 12))
        evaluated = [(record['step'], record['values'][f'eval/{name}/loss'])
                     for record in history.get('evaluations', []) if f'eval/{name}/loss' in record['values']]
        chart = charts.line_chart(
            [charts.Line(list(zip(xs, losses, strict=True)), f'raw {colours[name]}'),
             charts.Line(list(zip(xs, smoothed, strict=True)), f'curve {colours[name]}'),
             charts.Line(evaluated, 'evaluated', dots=True)], f'Training loss of {name}', limit)
        if chart and losses:
            result.append({'name': name, 'chart': chart, 'last': words.short_number(smoothed[-1])})
    return result


def _of_all(steps: list[dict], key: str, names: list[str], colours: dict[str, str], title: str, limit: int) -> Markup:
    """One chart with a line per task."""
    return charts.line_chart([
        charts.Line([(s['step'], s[key]) for s in steps if s['task'] == name and key in s], f'curve {colours[name]}')
        for name in names], title, limit)

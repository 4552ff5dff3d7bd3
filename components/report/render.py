"""Renders report.html from plain dicts: the decision, the training history, the model card, the data. Knows no TFX."""

import collections
import os
from collections.abc import Sequence

import jinja2

from components.report import charts, data_drift
from model_code import words

# Nobody reads more rows than these. The files that they come from have all of them.
MAX_LABELS = 16
MAX_REJECTED = 10

COLOURS = 8  # CSS classes c0 to c7

_SETTINGS = {
    'layers': 'Layers', 'width': 'Width', 'heads': 'Heads', 'mlp_width': 'MLP width',
    'modality_layers': 'Layers per modality', 'dropout': 'Dropout', 'optimizer': 'Optimiser',
    'learning_rate': 'Learning rate', 'warmup_steps': 'Warm-up steps', 'weight_decay': 'Weight decay',
    'clip_norm': 'Clip norm', 'seed': 'Seed', 'strategy': 'Strategy',
}


def render(decision: dict, history: dict, card: dict, data: list[dict], drift: dict | None = None,
           suspects: Sequence[dict] = (), near: Sequence[dict] = ()) -> str:
    """The report as one self-contained HTML page: without scripts, fetching nothing, all text escaped.

    decision: that of the gate (components.blessing_gate.decision.decide).
    history: what loop.train returns. The page shows what it has.
    card: the model card. The page shows what it has of these: name; parameters, a number or
      {'total': n, part: n or {name: n}}; inputs, {modality: spec}; signatures,
      {name: {'inputs': {name: 'dtype [shape]'}, 'outputs'}}; model and training, the settings; written, a date as text.
    data: one dict per task: {'name', 'modality', 'splits': {split: examples}, 'labels': [{'label', split: count, ...}]
      most frequent first, 'rejected': [Rejection], 'remarks': [line], 'groups': {split: groups}}.
    drift: what DataDrift found (components.data_drift.executor.judge); None leaves its section out.
    suspects: of each task with suspect labels, what suspect_labels.section returns.
    near: of each task with near duplicates, what near_duplicates.section returns.
    """
    names = [task['name'] for task in decision['tasks']]
    colours = {name: f'c{i % COLOURS}' for i, name in enumerate(names)}
    return environment().get_template('report.html').render(
        decision=decision, colours=colours,
        card={'name': '', 'inputs': {}, 'signatures': {}, 'written': '', **card},
        verdict=verdict(decision),
        tasks=[_task_row(task) for task in decision['tasks']],
        losses=_loss_charts(history, names, colours),
        evaluated=bool(history.get('evaluations')),
        rates=_rate_chart(history, names, colours),
        peak=words.short_number(max((s['learning_rate'] for s in history.get('steps', [])), default=0)),
        trained=trained(history),
        data=[_data_card(entry) for entry in data],
        drift=drift and data_drift.section(drift, colours),
        suspects=suspects,
        near_duplicates=near,
        parameters=_parameters(card.get('parameters')),
        settings=[(label, card_part[key]) for card_part in (card.get('model') or {}, card.get('training') or {})
                  for key, label in _SETTINGS.items() if key in card_part])


def verdict(decision: dict) -> str:
    """The decision in two sentences. The page lists its reasons below."""
    tasks = decision['tasks']
    if not decision['blessed']:
        failed = [task['name'] for task in tasks if not task['blessed']]
        failed += [f'{name} (dropped)' for name in decision['lost_tasks']]
        if not decision['infra']['blessed']:
            failed.append('the serving check')
        return f'Failed: {_and(failed)}. What is being served stays as it is.'
    floors = ('Its only task meets its floor' if len(tasks) == 1 else
              f'{"Both" if len(tasks) == 2 else f"All {len(tasks)}"} tasks meet their floors')
    compared = [task for task in tasks if task['baseline_metrics'] is not None]
    if compared:
        versions = sorted({task['baseline_version'] for task in compared if task.get('baseline_version')})
        served = f'version {versions[0]}' if len(versions) == 1 else 'the model being served'
        comparison = f'{"it did not fall" if len(tasks) == 1 else "none fell"} too far below {served}'
    else:
        comparison = 'there was no earlier model to compare with'
    return f'{floors}, {comparison}, and the serving check passed.'


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


def _task_row(task: dict) -> dict:
    primary = task['primary_metric']
    baseline = (task['baseline_metrics'] or {}).get(primary)
    others = [(_metric_name(name), _metric(value)) for name, value in task['metrics'].items()
              if name not in (primary, 'example_count')]
    return {
        **task,
        'metric': _metric_name(primary), 'shown': _metric(task['value']), 'baseline': _metric(baseline),
        'others': others,
        'examples': task['metrics'].get('example_count'),
        'change_shown': '' if task['change'] is None else f'{task["change"]:+.3f}'.replace('-', '−'),
        'bullet': charts.bullet(task['value'], task['floor'], baseline, task['blessed']),
    }


def _loss_charts(history: dict, names: list[str], colours: dict[str, str]) -> list[dict]:
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
             charts.Line(evaluated, 'evaluated', dots=True)], f'Training loss of {name}')
        if chart and losses:
            result.append({'name': name, 'chart': chart, 'last': words.short_number(smoothed[-1])})
    return result


def _rate_chart(history: dict, names: list[str], colours: dict[str, str]):
    lines = []
    for name in names:
        points = [(s['step'], s['learning_rate']) for s in history.get('steps', []) if s['task'] == name]
        lines.append(charts.Line(points, f'curve {colours[name]}'))
    return charts.line_chart(lines, 'Learning rate')


def _data_card(entry: dict) -> dict:
    """The entry of a task, and what the page shows of its labels and rejected files. Bar widths are percentages."""
    reasons = collections.Counter(rejection.reason for rejection in entry['rejected'])
    longest = max((sum(label.get(split, 0) for split in entry['splits']) for label in entry['labels']), default=0) or 1
    bars = []
    for label in entry['labels'][:MAX_LABELS]:
        counts = {split: label.get(split, 0) for split in entry['splits']}
        bars.append({'label': label['label'], 'counts': counts,
                     'widths': {split: f'{100 * count / longest:.2f}' for split, count in counts.items()}})
    return {
        **entry,
        'bars': bars,
        'more_labels': max(0, len(entry['labels']) - MAX_LABELS),
        'reasons': sorted(reasons.items(), key=lambda item: (-item[1], item[0])),
        'first_rejected': entry['rejected'][:MAX_REJECTED],
    }


def _parameters(parameters) -> list[tuple[str, int]]:
    """(name, number) of the total, then of each part; [] if the card has none."""
    if parameters is None:
        return []
    if not isinstance(parameters, dict):
        return [('Parameters', parameters)]
    rows = [('Parameters', parameters['total'])] if 'total' in parameters else []
    for part, number in parameters.items():
        if isinstance(number, dict):
            rows += [(f'{part}: {name}', count) for name, count in number.items()]
        elif part != 'total':
            rows.append((part, number))
    return rows



def _metric(value: float | None) -> str:
    return '–' if value is None else f'{value:.3f}'


def _metric_name(metric: str) -> str:
    return {'mean_average_precision': 'mean average precision', 'top_5_accuracy': 'top-5 accuracy'}.get(
        metric, metric.replace('_', ' '))


def _and(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f'{", ".join(parts[:-1])} and {parts[-1]}'


def environment(*folders: str) -> jinja2.Environment:
    """Templates of these folders and of this one, whose style other pages include. All text is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([*folders, os.path.dirname(__file__)]), autoescape=True,
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters['thousands'] = lambda number: f'{int(number):,}'
    return environment

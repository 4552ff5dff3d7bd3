"""Renders report.html from plain dicts: the decision, the training history, the model card, the data. Knows no TFX."""

import base64
import collections
import dataclasses
import hashlib
import os
import types
from collections.abc import Mapping, Sequence

import jinja2
from markupsafe import Markup

from components.report import (
    charts,
    data_drift,
    evaluation,
    gradients,
    judgements,
    near_duplicates,
    origin,
    probe,
    suspect_labels,
    training,
)
from components.report.evaluation import Limits, metric_name, number
from components.report.pictures import draw

# Nobody reads more rows than these. The files that they come from have all of them.
MAX_LABELS = 16
MAX_REJECTED = 10

PAGE_BYTES = 5_000_000  # what mail and chat still take, and a phone still opens at once
_SENTENCE_BYTES = 1_000  # for what the page says of the media that are left out
_SHORTENED = 6  # times at most: lists are then a thirtieth as long

COLOURS = 8  # CSS classes c0 to c7

_SETTINGS = {
    'layers': 'Layers', 'width': 'Width', 'heads': 'Heads', 'mlp_width': 'MLP width',
    'modality_layers': 'Layers per modality', 'dropout': 'Dropout', 'optimizer': 'Optimiser',
    'learning_rate': 'Learning rate', 'warmup_steps': 'Warm-up steps', 'weight_decay': 'Weight decay',
    'clip_norm': 'Clip norm', 'seed': 'Seed', 'strategy': 'Strategy',
}


@dataclasses.dataclass(frozen=True)
class Evaluated:
    """A task's evaluation. results: evaluation.json, {} if there is none. examples: id -> features of its examples."""
    results: dict
    examples: dict[str, dict]


def render(decision: dict, history: dict, card: dict, data: list[dict], drift: dict | None = None,
           suspects: Sequence[dict] = (), near: Sequence[dict] = (),
           evaluations: Mapping[str, Evaluated] = types.MappingProxyType({}), cost: dict | None = None,
           about: dict | None = None, page_bytes: int = PAGE_BYTES) -> str:
    """The report as one self-contained HTML page that fetches nothing, with all text escaped.

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
    evaluations: task -> its evaluation.
    cost: {'components': cost.components(...), 'elsewhere': cost.elsewhere(...)}.
    about: {'intended_use', 'limits', 'data': {task: what the model card says of its data}}.
    page_bytes: the page's size at most, in UTF-8. Media are drawn as far as they fit. Where even the numbers are too
      many, lists and curves are shortened until they fit, or have hardly anything left to shorten.
    """
    limits = Limits()
    for _ in range(_SHORTENED):
        found = _evaluations(decision, evaluations, limits)
        values = _values(decision, history, card, data, drift, suspects, near, evaluations, found, limits)
        values |= {'cost': cost or {'components': None, 'elsewhere': []}, 'about': about}
        template = environment().get_template('report.html')
        size = len(template.render(values, left_out=0).encode('utf-8', 'backslashreplace'))
        if size < page_bytes - _SENTENCE_BYTES:
            break
        limits = limits.halved()
    # Mistakes and suspects first: near duplicates are many, and their sounds large.
    lists = [*(pictures for section in found for pictures in evaluation.pictures(section)),
             *map(suspect_labels.pictures, suspects), *map(near_duplicates.pictures, near)]
    return template.render(values, left_out=draw(lists, max(0, page_bytes - size - _SENTENCE_BYTES)))


def _evaluations(decision: dict, evaluations: Mapping[str, Evaluated], limits: Limits) -> list[dict]:
    """The sections of the evaluated tasks."""
    share = limits.class_bytes // max(1, len(evaluations))
    sections = filter(None, (
        evaluation.section(task, evaluations[task['name']].results, evaluations[task['name']].examples, limits, share)
        for task in decision['tasks'] if task['name'] in evaluations))
    return [section | {'probe': probe.section(evaluations[section['name']].results)} for section in sections]


def _values(decision, history, card, data, drift, suspects, near, evaluations, found, limits) -> dict:
    """The variables of report.html."""
    names = [task['name'] for task in decision['tasks']]
    colours = {name: f'c{i % COLOURS}' for i, name in enumerate(names)}
    return {
        'decision': decision, 'colours': colours, 'forced': decision.get('forced'),
        'card': {'name': '', 'inputs': {}, 'signatures': {}, 'written': '', **card},
        'verdict': verdict(decision),
        'tasks': [_task_row(task, evaluations[task['name']].results if task['name'] in evaluations else {})
                  for task in decision['tasks']],
        'unchanged': any(_is_unchanged(task) for task in decision['tasks']),
        'compared': any(task['baseline_metrics'] and not _is_unchanged(task) for task in decision['tasks']),
        'judgements': judgements.section(decision),
        'evaluations': found,
        'training': training.section(history, names, colours, limits.points),
        'gradients': gradients.section(gradients.summarise(history.get('gradients', []))),
        'data': [_data_card(entry) for entry in data],
        'drift': drift and data_drift.section(drift, colours),
        'suspects': suspects,
        'near_duplicates': near,
        'origin': origin.lines(card, decision.get('baseline_version', '')),
        'parameters': _parameters(card.get('parameters')),
        'settings': [(label, card_part[key]) for card_part in (card.get('model') or {}, card.get('training') or {})
                     for key, label in _SETTINGS.items() if key in card_part]}


def verdict(decision: dict) -> str:
    """The decision in two sentences. The page lists its reasons below."""
    tasks = decision['tasks']
    if not decision['blessed'] or decision.get('forced'):
        failed = [task['name'] for task in tasks if not task['blessed']]
        failed += [f'{name} (dropped)' for name in decision['lost_tasks']]
        if not decision['infra']['blessed']:
            failed.append('the serving check')
        end = ('It was pushed all the same.' if decision.get('forced') else
               'What is being served stays as it is.')
        return f'Failed: {_and(failed)}. {end}'
    kept = [task for task in tasks if _is_unchanged(task)]
    unchanged = [task['name'] for task in kept]
    tasks = [task for task in tasks if task not in kept]
    floors = (f'{tasks[0]["name"] if unchanged else "Its only task"} meets its floor' if len(tasks) == 1 else
              f'{"Both" if len(tasks) == 2 else f"All {len(tasks)}"} tasks meet their floors')
    compared = [task for task in tasks if task['baseline_metrics'] is not None]
    versions = sorted({task['baseline_version'] for task in compared or kept if task.get('baseline_version')})
    served = f'version {versions[0]}' if len(versions) == 1 else 'the model being served'
    if compared:
        comparison = f'{"it did not fall" if len(tasks) == 1 else "none fell"} too far below {served}'
    elif kept:
        comparison = f'{served} has {"no such task to compare it with" if len(tasks) == 1 else "none of them"}'
    else:
        comparison = 'there was no earlier model to compare with'
    same = f' {_and(unchanged)}: unchanged, bit for bit.' if unchanged else ''
    return f'{floors}, {comparison}, and the serving check passed.{same}'


def _is_unchanged(task: dict) -> bool:
    """Whether the task was neither trained nor evaluated, and is as in the model being served."""
    return task.get('outcome') == 'unchanged'


def _task_row(task: dict, evaluated: dict) -> dict:
    """The entry of a task in the decision, and what the page's first table shows of it."""
    primary = task['primary_metric']
    baseline = (task['baseline_metrics'] or {}).get(primary)
    others = [(metric_name(name), number(value)) for name, value in task['metrics'].items()
              if name not in (primary, 'example_count')]
    values = evaluation.of_all(evaluated, primary)
    bounds = values.get('low', task.get('low')), values.get('high', task.get('high'))  # an unchanged task has no values
    return {
        **task,
        'metric': metric_name(primary), 'shown': number(task['value']), 'interval': evaluation.interval(*bounds),
        'baseline': number(baseline),
        'others': others,
        'examples': task['metrics'].get('example_count', task.get('examples') or None),
        'groups': evaluated.get('groups') if evaluated.get('clustered') else task.get('groups'),
        'change_shown': evaluation.change(task['change']),
        'change_interval': evaluation.interval(values.get('change_low'), values.get('change_high'), evaluation.change),
        'outcome': (task.get('outcome') or '').replace('_', ' '),
        'bullet': charts.bullet(task['value'], task['floor'], baseline, task['blessed'], bounds),
    }


def _data_card(entry: dict) -> dict:
    """The entry of a task, and what the page shows of its labels and rejected files."""
    reasons = collections.Counter(rejection.reason for rejection in entry['rejected'])
    longest = max((sum(label.get(split, 0) for split in entry['splits']) for label in entry['labels']), default=0) or 1
    bars = []
    for label in entry['labels'][:MAX_LABELS]:
        counts = {split: label.get(split, 0) for split in entry['splits']}
        bars.append({'label': label['label'], 'counts': counts,
                     'bar': charts.bar(100 * count / longest for count in counts.values())})
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
    for part, value in parameters.items():
        if isinstance(value, dict):
            rows += [(f'{part}: {name}', count) for name, count in value.items()]
        elif part != 'total':
            rows.append((part, value))
    return rows


def _and(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f'{", ".join(parts[:-1])} and {parts[-1]}'


def environment(*folders: str) -> jinja2.Environment:
    """Templates of these folders and of this one, whose head and style other pages include. All text is escaped."""
    loader = jinja2.FileSystemLoader([*folders, os.path.dirname(__file__)])
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined,
                                     trim_blocks=True, lstrip_blocks=True)
    environment.filters['thousands'] = lambda number: f'{int(number):,}'
    environment.filters['sha256'] = _source_hash
    environment.globals['source'] = lambda *names: Markup('').join(
        Markup(loader.get_source(environment, name)[0]) for name in names)
    environment.globals['bar'] = charts.bar
    return environment


def _source_hash(text: str) -> str:
    """What a Content-Security-Policy calls an inline style or script: the only ones that a page then has."""
    return f'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'

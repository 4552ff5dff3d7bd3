"""The report's part on the gate: all that it looked at, each with its numbers."""

from components.report.evaluation import change, feature_name, interval, metric_name, number

ROWS = 200  # those that reject the model come first; decision.json has all

_CHECKS = {'floor': 'floor', 'change': 'change', 'classes': 'lost classes', 'tasks': 'lost task',
           'serving': 'serving check', 'baseline': 'served model',
           'unchanged': 'not trained'}


def section(decision: dict) -> dict | None:
    """What judgements.html shows; None of a decision without them, as older releases wrote.

    decision: decision.json (schemas/decision.schema.json). Returns {'rows': [{'check', 'task', 'slice', 'metric',
    'examples', 'value', 'interval', 'bound', 'limit', 'outcome', 'rejects', 'sentence'}], 'more': number}; sentence:
    '' where the numbers say it.
    """
    found = sorted(decision.get('judgements') or [], key=lambda row: not row['rejects'])
    if not found:
        return None
    return {'rows': [_row(judgement) for judgement in found[:ROWS]], 'more': max(0, len(found) - ROWS)}


def _row(of: dict) -> dict:
    text = change if of['check'] == 'change' else number
    part = of['slice']
    where = f'{feature_name(part["feature"])}: {part["value"]}' if part else 'all' if of['metric'] else ''
    return {
        'check': _CHECKS.get(of['check'], of['check']), 'task': of['task'] or '',
        'slice': where,
        'metric': metric_name(of['metric']) if of['metric'] else '',
        'examples': '–' if of['examples'] is None else f'{of["examples"]:,}',
        'value': text(of['value']), 'interval': interval(of['low'], of['high'], text), 'bound': text(of['bound']),
        'limit': text(of['limit']), 'outcome': of['outcome'].replace('_', ' '), 'rejects': of['rejects'],
        'sentence': '' if of['metric'] else of['sentence']}

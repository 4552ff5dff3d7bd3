"""The report's table of what other classifiers make of the frozen representation (task_evaluator/representation.py)."""

from components.report.evaluation import interval, metric_name, number, of_all
from model_code import words


def section(evaluation: dict) -> dict | None:
    """What probe.html shows of a task: {'metric', 'rows': [{'name', 'value', 'interval', 'learned'}], 'asked', 'few':
    sentences}; None if its evaluation.json has no probe."""
    probe = evaluation.get('probe')
    if not probe:
        return None
    rows = []
    if probe['linear']:
        rows.append(_row('linear probe', probe['linear'], _of(probe, 'train')))
    for row in probe['few_shot']:
        drawn = words.count(len(row['values']), 'time')
        shown = _row(f'{row["shots"]}-shot', row, f'{row["shots"]} of each class, drawn {drawn}')
        rows.append(shown | {'interval': shown['interval'] and f'{shown["interval"]} over draws'})
    rows.append(_row('the head', of_all(evaluation, probe['metric']), 'the whole training'))
    return {'metric': metric_name(probe['metric']), 'rows': rows, 'asked': _of(probe, 'eval'),
            'few': [f'{row["classes_with_fewer"]:,} of {probe["classes"]:,} classes have fewer than {row["shots"]} '
                    'train examples.' for row in probe['few_shot'] if row['classes_with_fewer']]}


def _row(name: str, values: dict, learned: str) -> dict:
    return {'name': name, 'value': number(values.get('value')), 'learned': learned,
            'interval': interval(values.get('low'), values.get('high'))}


def _of(probe: dict, split: str) -> str:
    """'300 examples', or '10,000 of 50,000 examples'."""
    examples, total = probe[f'{split}_examples'], probe[f'{split}_total']
    return f'{examples:,} examples' if examples == total else f'{examples:,} of {total:,} examples'

"""The report's part on one task's evaluation: metrics with intervals, curves, confusion, classes, slices, examples."""

import dataclasses

from components.report import charts, confusion
from components.report.pictures import Picture
from model_code import words

PLAYER_SECONDS = 2.0  # of a sound: 20 of them have 1.7 MB

_NAMES = {'mean_average_precision': 'mean average precision', 'top_5_accuracy': 'top-5 accuracy', 'auc': 'AUC',
          'd_prime': "d'", 'f1': 'F1', 'macro_f1': 'macro F1'}
_LISTS = ('The most confident mistakes', 'mistakes'), ('The least confident hits', 'hits')
# What tells how good a class is: the first that there is.
_OF_A_CLASS = ('f1', 'average_precision', 'recall')


@dataclasses.dataclass(frozen=True)
class Limits:
    """How much of long lists the page shows; the files that they come from have all."""
    class_bytes: int = 1_500_000
    """Of the tables of classes of all tasks."""
    slices: int = 60
    """Rows of a task's slices."""
    pairs: int = 20
    """Pairs of classes that are confused."""
    examples: int = 20
    """Rows of a list of examples."""
    points: int = charts.MAX_POINTS
    """Of a curve."""

    def halved(self) -> 'Limits':
        return Limits(*(max(2, value // 2) for value in dataclasses.astuple(self)))


def metric_name(metric: str) -> str:
    return _NAMES.get(metric, metric.replace('_', ' '))


def feature_name(feature: str) -> str:
    """The name of a kept column or of a band, whose values have their unit."""
    return {'duration_s': 'duration', 'text_bytes': 'length'}.get(feature, feature.replace('_', ' '))


def number(value: float | None) -> str:
    return '–' if value is None else f'{value:.3f}'.replace('-', '−')


def change(value: float | None) -> str:
    return '–' if value is None else f'{round(value, 3) + 0.0:+.3f}'.replace('-', '−')  # + 0.0: no minus before zero


def interval(low: float | None, high: float | None, text=number) -> str:
    """'0.850 to 0.912'; '' without both bounds."""
    return '' if low is None or high is None else f'{text(low)} to {text(high)}'


def of_all(evaluation: dict, metric: str) -> dict:
    """A metric over all examples, as evaluation.json has it; {} if it is not there."""
    return evaluation['slices'][0]['metrics'].get(metric, {}) if evaluation.get('slices') else {}


def section(task: dict, evaluation: dict, examples: dict[str, dict], limits: Limits, class_bytes: int) -> dict | None:
    """What evaluation.html shows of a task; None if there is no evaluation.json.

    task: its entry in the decision. evaluation: evaluation.json (components.task_evaluator). examples: id -> features
    of those that it lists. class_bytes: of the table of classes.
    """
    if not evaluation:
        return None
    slices = [_slice(entry, task['primary_metric']) for entry in evaluation.get('slices', [])[1:]]
    return {
        'name': task['name'], 'primary': metric_name(task['primary_metric']),
        'measured': _measured(evaluation), 'compared': task['baseline_metrics'] is not None,
        'metrics': _metrics(evaluation), 'headline': _headline(evaluation, task['primary_metric']),
        'curves': _curves(evaluation, task['name'], limits.points),
        'confusion': [confusion.section(matrix, limits.pairs) for matrix in evaluation.get('confusion', [])],
        'classes': _classes(evaluation.get('classes', []), class_bytes),
        'slices': slices[:limits.slices], 'more_slices': max(0, len(slices) - limits.slices),
        'lists': [_examples(title, evaluation[key], task, examples, limits) for title, key in _LISTS
                  if evaluation.get(key)],
    }


def pictures(found: dict) -> list[list[Picture]]:
    """The pictures of a section, list by list."""
    return [[row['picture'] for row in listed['rows']] for listed in found['lists']]


def _measured(evaluation: dict) -> str:
    examples, groups = evaluation.get('examples'), evaluation.get('groups')
    if examples is None:
        return ''
    text = f'{examples:,} eval examples' if examples != 1 else '1 eval example'
    if evaluation.get('clustered'):
        text += f' in {groups:,} groups' if groups != 1 else ' in 1 group'
    if evaluation.get('resamples'):
        of = 'groups' if evaluation.get('clustered') else 'examples'
        text += f'. Intervals are of 95%, from {evaluation["resamples"]:,} resamples of the {of}'
        if evaluation.get('seconds'):
            text += f', in {words.duration(evaluation["seconds"])}'
    return text + '.'


def _metrics(evaluation: dict) -> list[dict]:
    if not evaluation.get('slices'):
        return []
    metrics = evaluation['slices'][0]['metrics']
    return [{'name': metric_name(name), **_shown(values)} for name, values in metrics.items()]


def _headline(evaluation: dict, metric: str) -> str:
    """'accuracy 0.912 (0.887 to 0.937)'."""
    shown = _shown(of_all(evaluation, metric))
    return f'{metric_name(metric)} {shown["value"]}' + (f' ({shown["interval"]})' if shown['interval'] else '')


def _shown(values: dict) -> dict:
    return {'value': number(values.get('value')), 'interval': interval(values.get('low'), values.get('high')),
            'served': number(values.get('baseline')), 'change': change(values.get('change')),
            'change_interval': interval(values.get('change_low'), values.get('change_high'), change)}


def _slice(entry: dict, metric: str) -> dict:
    return {'feature': feature_name(entry['feature']), 'slice': entry['value'], 'examples': entry['examples'],
            'groups': entry['groups'], 'too_small': entry['too_small'],
            **_shown(entry['metrics'].get(metric, {}))}


def _curves(evaluation: dict, task: str, limit: int) -> list[dict]:
    """[{'title', 'chart', 'note'}] of precision and recall, and of accuracy by confidence, for each label group."""
    result = []
    for curve in evaluation.get('curves', []):
        chart = charts.line_chart([charts.Line([tuple(point) for point in curve['points']], 'curve')],
                                  f'Precision and recall of {task}, {curve["name"]}', limit, ('recall', 'precision'))
        if chart:
            result.append({'title': f'Precision and recall, {curve["name"]}', 'chart': chart, 'note': ''})
    bins = [entry for entry in evaluation.get('reliability', []) if entry['count']]
    for group in dict.fromkeys(entry.get('group', '') for entry in bins):
        points = [(entry['confidence'], entry['accuracy']) for entry in bins if entry.get('group', '') == group]
        of_group = f' of {group}' if group else ''
        chart = charts.line_chart(
            [charts.Line(points, 'curve', dots=True), charts.Line([(0, 0), (1, 1)], 'ideal')],
            f'Reliability{of_group or f" of {task}"}: how often it is right, by its confidence', limit,
            ('confidence', 'right'))
        error = of_all(evaluation, f'{group}_calibration_error' if group else 'calibration_error').get('value')
        note = 'On the dashed line, the model is right as often as its confidence says.'
        result.append({'title': f'Reliability{of_group}', 'chart': chart, 'note': note if error is None else
                       f'{note} Expected calibration error: {number(error)}.'})
    return result


def _classes(classes: list[dict], most_bytes: int) -> dict | None:
    """{'columns': [name], 'rows': [{'label', 'group', 'examples', 'values'}], 'more'}: the worst classes first."""
    if not classes:
        return None
    keys = [key for key in classes[0] if key not in ('label', 'group', 'examples') and not key.startswith('baseline_')]
    main = next((key for key in _OF_A_CLASS if key in keys), None)
    if main and any(row.get(f'baseline_{main}') is not None for row in classes):
        keys.append(f'baseline_{main}')
    rows = sorted(classes, key=lambda row: (row.get(main) is None, row.get(main) or 0.0))
    groups, kept = any(row.get('group') for row in classes), []
    for row in rows:
        most_bytes -= 60 + 18 * len(keys) + sum(len(str(row.get(key) or '').encode('utf-8', 'replace')) + 12
                                                for key in ('label', 'group'))
        if most_bytes < 0:
            break
        kept.append({'label': row['label'], 'group': row.get('group', ''), 'examples': row['examples'],
                     'values': [number(row.get(key)) for key in keys]})
    return {'columns': [metric_name(key) if not key.startswith('baseline_') else
                        f'{metric_name(key.removeprefix("baseline_"))}, served' for key in keys],
            'groups': groups, 'rows': kept, 'more': len(rows) - len(kept)}


def _examples(title: str, listed: list[dict], task: dict, examples: dict[str, dict], limits: Limits) -> dict:
    rows = [{'id': row['id'], 'label': _text(row['label']), 'predicted': _text(row['predicted']),
             'confidence': '–' if row['confidence'] is None else words.percent(row['confidence']),
             'picture': Picture(task['modality'], examples.get(row['id']), row['id'], PLAYER_SECONDS)}
            for row in listed[:limits.examples]]
    return {'title': title, 'rows': rows}


def _text(label) -> str:
    """One label, or several."""
    return label if isinstance(label, str) else ', '.join(label or ['none'])

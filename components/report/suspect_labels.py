"""The report's part on suspect labels: what TaskEvaluator found, with the media."""

from components.report.pictures import Picture
from model_code import words

PLAYER_SECONDS = 2.0  # of a sound: 20 of them have 1.7 MB
_UNTRUSTED = 10  # names that are shown


def section(task: str, modality: str, found: dict | None, examples: dict[str, dict]) -> dict | None:
    """What suspect_labels.html shows of a task; None if nothing was looked for.

    found: suspects.json, examples: id -> features, both as components.task_evaluator.suspects writes them.

    Returns {'name', 'examples', 'count', 'untrusted': [class], 'more_untrusted': number, 'rows': [{'id', 'group',
    'labels', 'label', 'other', 'label_percent', 'other_percent', 'picture'}]}.
    """
    if found is None or not found['examples']:
        return None
    rows = []
    for row in found['first']:
        features = examples.get(row['id'], {})
        rows.append({
            **row, 'labels': _texts(features, 'label'), 'group': ', '.join(_texts(features, 'group')),
            'label_percent': words.percent(row['label_probability']),
            'other_percent': words.percent(row['other_probability']),
            'picture': Picture(modality, features, row['id'], PLAYER_SECONDS)})
    untrusted = found['untrusted']
    return {'name': task, 'examples': found['examples'], 'count': found['count'], 'rows': rows,
            'untrusted': untrusted[:_UNTRUSTED], 'more_untrusted': max(0, len(untrusted) - _UNTRUSTED)}


def pictures(found: dict) -> list[Picture]:
    """The pictures of a section, in their order."""
    return [row['picture'] for row in found['rows']]


def _texts(features: dict, name: str) -> list[str]:
    return [value.decode('utf-8', 'replace') for value in features.get(name, [])]

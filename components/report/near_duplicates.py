"""The report's part on near duplicates: both examples of each pair, side by side."""

from components import media_pictures
from media.findings import Findings

_PLAYER_SECONDS = 1.0  # of a sound: 40 of them have 1.7 MB


def section(task: str, modality: str, findings: Findings, examples: dict[str, dict]) -> dict | None:
    """What near_duplicates.html shows of a task; None if there are none.

    examples: id -> features, as MediaExampleGen has kept them.

    Returns {'name', 'leaks', 'count', 'rows': [{'where', 'one', 'other', 'similarity', 'one_picture',
    'other_picture'}]}.
    """
    def picture(example_id: str):
        features = examples.get(example_id)
        return media_pictures.picture(modality, features, example_id, _PLAYER_SECONDS) if features else ''

    rows = [{'where': where, 'one': one, 'other': other, 'similarity': f'{similarity:.0%}',
             'one_picture': picture(one), 'other_picture': picture(other)}
            for where, one, other, similarity in findings.named_near()]
    return {'name': task, 'leaks': findings.near_leaks.count,
            'count': findings.near_leaks.count + findings.near_duplicates.count, 'rows': rows} if rows else None

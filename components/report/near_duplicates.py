"""The report's part on near duplicates: both examples of each pair, side by side."""

from components.report.pictures import Picture
from media.findings import Findings

_PLAYER_SECONDS = 1.0  # of a sound: 40 of them have 1.7 MB


def section(task: str, modality: str, findings: Findings, examples: dict[str, dict]) -> dict | None:
    """What near_duplicates.html shows of a task; None if there are none.

    examples: id -> features, as MediaExampleGen has kept them.

    Returns {'name', 'leaks', 'count', 'rows': [{'where', 'one', 'other', 'difference', 'one_picture',
    'other_picture'}]}.
    """
    def picture(example_id: str) -> Picture:
        return Picture(modality, examples.get(example_id), example_id, _PLAYER_SECONDS)

    rows = [{'where': where, 'one': one, 'other': other, 'difference': difference,
             'one_picture': picture(one), 'other_picture': picture(other)}
            for where, one, other, difference in findings.named_near()]
    return {'name': task, 'leaks': findings.near_leaks.count,
            'count': findings.near_leaks.count + findings.near_duplicates.count, 'rows': rows} if rows else None


def pictures(found: dict) -> list[Picture]:
    """The pictures of a section, in their order."""
    return [picture for row in found['rows'] for picture in (row['one_picture'], row['other_picture'])]

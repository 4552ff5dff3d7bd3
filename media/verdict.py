"""The judge of a task's media: which findings stop a run, and which a person should know of.

TaskValidator judges what MediaExampleGen found, `polyvit data check` what it found itself, and the check before a run
what the names alone tell.
"""

import collections
import itertools
import unicodedata
from collections.abc import Iterable

from media.findings import NAMED, Findings, Tally, first_rejected
from model_code.tasks import Checks

_NOTES = {
    'silent': 'silent sounds', 'clipped': 'clipped sounds', 'still': 'videos that stand still',
    'black': 'black videos', 'one_colour': 'images of one colour',
}


def stops(task: str, checks: Checks, findings: Findings, classes: Iterable[str] = ()) -> list[str]:
    """Why a run must stop, a sentence each; [] where it may go on.

    task: its name. classes: the labels that it should learn, as far as they are known beside those of its examples.
    """
    reasons = []
    rejected = {reason: tally for reason, tally in findings.rejected.items() if reason != 'missing'}
    reasons += _too_many(task, findings.total, rejected, checks.max_rejected_share, 'could not be read',
                         'Fix or remove them, or raise max_rejected_share')
    missing = {reason: tally for reason, tally in findings.rejected.items() if reason == 'missing'}
    reasons += _too_many(task, findings.total, missing, checks.max_missing_share, 'are missing',
                         'Fetch them, take them out of the manifest, or raise max_missing_share')
    if findings.leaks.count and not checks.allow_leaks:
        pairs = '; '.join(' = '.join(pair) for pair in findings.leaks.first)
        reasons.append(
            f'Task {task}: {findings.leaks.count:,} media are both in train and in eval, so that the evaluation '
            f'would flatter the model{_first(findings.leaks)}: {pairs}. Take them out of one split, or set '
            'allow_leaks=True.')
    absent = [label for label, count in rare_classes(checks, findings, classes).items() if not count]
    if absent and findings.examples.get('train'):
        more = f' and {len(absent) - NAMED:,} more' if len(absent) > NAMED else ''
        reasons.append(f'Task {task}: {len(absent):,} of its classes have no train example: '
                       f'{", ".join(absent[:NAMED])}{more}. Add examples, or take the classes out.')
    return reasons


def _too_many(task: str, total: int, rejected: dict[str, Tally], most: float, what: str, cure: str) -> list[str]:
    count = sum(tally.count for tally in rejected.values())
    if not total or count / total <= most:
        return []
    return [f'Task {task}: {count:,} of {total:,} files ({count / total:.1%}) {what}, more than the {most:.1%} '
            f'that is allowed{first_rejected(rejected)}. {cure}.']


def remarks(checks: Checks, findings: Findings) -> list[str]:
    """What a person should know of, and no run stops for; a line each."""
    lines = []
    for name, words in (('duplicates', 'media more than once in a split'), ('leaks', 'media in train and in eval'),
                        ('contradictions', 'media with different labels')):
        tally = getattr(findings, name)
        if tally.count:
            lines.append(f'{tally.count:,} {words}{_first(tally)}: ' + '; '.join(' = '.join(g) for g in tally.first))
    for group in itertools.islice(spelling_variants(findings.classes), NAMED):
        lines.append('labels that differ only in their writing: ' + ', '.join(repr(label) for label in group))
    rare = {label: count for label, count in rare_classes(checks, findings).items() if count}
    if rare:
        named = ', '.join(f'{label} ({count})' for label, count in itertools.islice(rare.items(), NAMED))
        lines.append(f'{len(rare)} classes with fewer than {checks.min_class_examples} train examples: {named}')
    for word, tally in sorted(findings.notes.items()):
        lines.append(f'{tally.count:,} {_NOTES[word]}{_first(tally)}: ' + ', '.join(tally.first))
    return lines


def _first(tally: Tally) -> str:
    return f' (the first {len(tally.first)})' if tally.count > len(tally.first) else ''


def rare_classes(checks: Checks, findings: Findings, classes: Iterable[str] = ()) -> dict[str, int]:
    """Label -> train examples, where these are fewer than checks.min_class_examples; with 0 where there is none.

    classes: labels that count although no example has them.
    """
    least = max(1, checks.min_class_examples)
    counts = {label: findings.classes.get(label, {}).get('train', 0) for label in {*classes, *findings.classes}}
    return {label: count for label, count in sorted(counts.items()) if count < least}


def spelling_variants(labels: Iterable[str]) -> list[list[str]]:
    """Groups of labels that differ only by case, space or Unicode form: probably one class, written in two ways."""
    groups = collections.defaultdict(list)
    for label in labels:
        groups[' '.join(unicodedata.normalize('NFKC', label).casefold().split())].append(label)
    return sorted(sorted(group) for group in groups.values() if len(group) > 1)

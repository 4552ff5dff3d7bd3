"""Judges the findings in a task's media: some stop a run, others are only reported.

TaskValidator judges the findings of MediaExampleGen, `polyvit data check` its own, and the check before a run those
from the names alone. All call `reasons_to_stop`, so that they say the same.
"""

import collections
import itertools
import unicodedata
from collections.abc import Collection, Iterable

from media.entries import SPLITS
from media.findings import NAMED, Findings, Tally, difference_in_words, first_rejected
from model_code import words
from model_code.data import Source
from model_code.errors import ConfigError
from model_code.tasks import Checks

_FEW_GROUPS = 5  # with fewer, the luck of the draw outweighs most differences between models

# A note of the readers -> one example that has it, and several.
_NOTES = {
    'silent': ('silent sound', 'silent sounds'), 'clipped': ('clipped sound', 'clipped sounds'),
    'wrong_length': ('sound whose header gives no true length, read to its end',
                     'sounds whose headers give no true length, read to their ends'),
    'junk': ('sound with bytes that are no sound, which were skipped',
             'sounds with bytes that are no sound, which were skipped'),
    'still': ('video that stands still', 'videos that stand still'), 'black': ('black video', 'black videos'),
    'one_colour': ('image of one colour', 'images of one colour'),
    'first_picture': ('image file with several pictures, of which the first is used',
                      'image files with several pictures, of which the first is used'),
}


def reasons_to_stop(source: Source, checks: Checks, findings: Findings, classes: Collection[str],
                    rejected_labels: Iterable[str] = ()) -> list[str]:
    """The reasons why a run must stop, one sentence each; [] if it may go on.

    classes: the labels to learn, source.data.classes or those of the train split. rejected_labels: Listing's.
    """
    task, kind = f'Task {source.name}', source.data.kind
    reasons = stops(source.name, checks, findings, {*classes, *rejected_labels})
    for split in SPLITS:
        if not findings.examples.get(split):
            reasons.append(f'{task}, split {split}: it is empty. Put files into it, or change how files are split '
                           "(eval_share, the manifest's split column, the split folders).")
    if kind.several and classes and findings.examples.get('eval') and not any(
            counts.get('eval') for counts in findings.classes.values()):
        reasons.append(f'{task}: no example of its eval split has a label, so {kind.primary_metric} could not be '
                       'measured. Put some that have one there.')
    if len(classes) < kind.least_classes and (findings.examples.get('train') or source.data.classes):
        labels = f'only the label {next(iter(classes))}' if classes else 'no label'
        reasons.append(f'{task}: its train split has {labels}, but a task needs at least '
                       f'{words.count(kind.least_classes, "label")}. Add examples of other classes.')
    if source.data.num_classes and classes and source.data.num_classes != len(classes):
        labels = sorted(classes)
        reasons.append(f'{task} has Data(num_classes={source.data.num_classes}), but its train split has '
                       f'{words.count(len(labels), "label")}: {", ".join(labels[:NAMED])}{_more(labels)}. Leave '
                       'num_classes out, or name all classes in Data(classes=...).')
    unknown = sorted(findings.classes.keys() - set(classes)) if source.data.classes else []
    if unknown:
        named = ', '.join(f'{label} ({words.count(sum(findings.classes[label].values()), "example")})'
                          for label in unknown[:NAMED])
        reasons.append(f'{task}: Data(classes=...) does not name {words.count(len(unknown), "label")} of its data: '
                       f'{named}{_more(unknown)}. Add them there, or take their examples out.')
    if classes:
        try:
            source.group_ids(classes)  # raises for a class that is in no label group
        except ConfigError as error:
            reasons.append(str(error))
    return reasons


def _more(names: list) -> str:
    return f' and {len(names) - NAMED:,} more' if len(names) > NAMED else ''


def stops(task: str, checks: Checks, findings: Findings, classes: Iterable[str] = ()) -> list[str]:
    """Those of `reasons_to_stop` that the findings alone show, whatever the task's settings.

    task: its name. classes: the labels that it should learn, if they are known beside those of its examples.
    """
    reasons = []
    lost = findings.lost_folders
    if lost.count:
        named = '; '.join(f'{folder} ({why})' for folder, why in lost.first)
        reasons.append(
            f'Task {task}: the examples of {words.count(lost.count, "folder")} would be lost{_first(lost)}: {named}. '
            'Put media of a kind that is read into each class folder, <class>/<file> or <split>/<class>/<file>, and '
            'move what is no class out of the data folder.')
    rejected = {reason: tally for reason, tally in findings.rejected.items() if reason != 'missing'}
    reasons += _too_many(task, findings.total, rejected, checks.max_rejected_share, 'could not be read',
                         'Fix or remove them, or raise Checks(max_rejected_share=...)')
    missing = {reason: tally for reason, tally in findings.rejected.items() if reason == 'missing'}
    reasons += _too_many(task, findings.total, missing, checks.max_missing_share, 'are missing',
                         'Fetch them, take them out of the manifest, or raise Checks(max_missing_share=...)')
    if findings.leaks.count and not checks.allow_leaks:
        pairs = '; '.join(' = '.join(pair) for pair in findings.leaks.named)
        reasons.append(
            f'Task {task}: equal media are both in train and in eval ({words.count(findings.leaks.count, "group")}), '
            f'so the evaluation would flatter the model{_first(findings.leaks)}: {pairs}. Take them out of one split, '
            'or set Checks(allow_leaks=True).')
    if findings.near_leaks.count and not checks.allow_near_leaks:
        reasons.append(
            f'Task {task}: nearly equal media are both in train and in eval '
            f'({words.count(findings.near_leaks.count, "pair")}), so the evaluation would flatter the '
            f'model{_first(findings.near_leaks)}: {_pairs(findings.near_leaks)}. Take them out of one split, or set '
            'Checks(allow_near_leaks=True).')
    if findings.torn_groups.count and not checks.allow_leaks:
        named = '; '.join(f'{group} ({eval_id} and {train_id})' for group, eval_id, train_id in
                          findings.torn_groups.named)
        reasons.append(
            f'Task {task}: {words.count(findings.torn_groups.count, "group")} of examples that belong together '
            f'{"is" if findings.torn_groups.count == 1 else "are"} both in train and in eval, so the evaluation would '
            f'flatter the model{_first(findings.torn_groups)}: {named}. Move each into one split; '
            "or drop the splits that a manifest gives, with columns=Columns(split=''), so that each group gets one; or "
            'set Checks(allow_leaks=True).')
    absent = [label for label, count in rare_classes(checks, findings, classes).items() if not count]
    if absent and findings.examples.get('train'):
        reasons.append(f'Task {task}: {words.count(len(absent), "class", "classes")} without a train example: '
                       f'{", ".join(absent[:NAMED])}{_more(absent)}. Add examples, or remove the classes.')
    return reasons


def _too_many(task: str, total: int, rejected: dict[str, Tally], max_share: float, what: str, remedy: str) -> list[str]:
    count = sum(tally.count for tally in rejected.values())
    if not total or count / total <= max_share:
        return []
    what = what.replace('are', 'is') if count == 1 else what
    return [f'Task {task}: {count:,} of {words.count(total, "file")} ({count / total:.1%}) {what}, more than the '
            f'{max_share:.1%} that is allowed{first_rejected(rejected)}. {remedy}.']


def remarks(checks: Checks, findings: Findings) -> list[str]:
    """What people should know, but no run stops for. One line each."""
    lines = []
    for tally, what in ((findings.duplicates, 'within a split'), (findings.leaks, 'both in train and in eval'),
                        (findings.contradictions, 'with different labels')):
        if tally.count:
            groups = '; '.join(' = '.join(group) for group in tally.named)
            lines.append(f'{words.count(tally.count, "group")} of equal media {what}{_first(tally)}: {groups}')
    for tally, what in ((findings.near_duplicates, 'within a split'), (findings.near_leaks, 'in train and in eval'),
                        (findings.near_contradictions, 'with different labels')):
        if tally.count:
            lines.append(f'{words.count(tally.count, "pair")} of nearly equal media {what}{_first(tally)}: '
                         f'{_pairs(tally)}')
    if findings.near_cut.count:
        lines.append('so many media are similar that not all were compared: there may be more near duplicates')
    if findings.torn_groups.count:
        lines.append(f'{words.count(findings.torn_groups.count, "group")} of examples that belong together both in '
                     f'train and in eval{_first(findings.torn_groups)}: '
                     + '; '.join(group for group, *_ in findings.torn_groups.named))
    if 0 < findings.groups.get('eval', 0) < _FEW_GROUPS:
        lines.append(f'eval has examples of only {words.count(findings.groups["eval"], "group")}, so its metrics say '
                     'little about new ones (scenes, speakers, recordings)')
    for group in itertools.islice(spelling_variants(findings.classes), NAMED):
        lines.append('labels that differ only by case, space or Unicode form: ' + ', '.join(map(repr, group)))
    rare = {label: count for label, count in rare_classes(checks, findings).items() if count}
    if rare:
        named = ', '.join(f'{label} ({count})' for label, count in itertools.islice(rare.items(), NAMED))
        lines.append(f'{words.count(len(rare), "class", "classes")} with fewer than {checks.min_class_examples} train '
                     f'examples: {named}')
    if findings.examples.get('eval'):
        unmeasured = {label: counts['train'] for label, counts in sorted(findings.classes.items())
                      if counts.get('train') and not counts.get('eval')}
        if unmeasured:
            named = ', '.join(f'{label} ({count:,} train)' for label, count in
                              itertools.islice(unmeasured.items(), NAMED))
            lines.append(f'{words.count(len(unmeasured), "class", "classes")} without an eval example: {named}'
                         f'{_more(list(unmeasured))}')
    if findings.left_out:
        lines.append(_left_out(findings.left_out))
    if findings.unlabelled.count:
        lines.append(f'{words.count(findings.unlabelled.count, "example")} without a label, for which no class is right'
                     f'{_first(findings.unlabelled)}: ' + ', '.join(findings.unlabelled.first))
    for word, tally in sorted(findings.notes.items()):
        lines.append(f'{words.count(tally.count, *_NOTES[word])}{_first(tally)}: ' + ', '.join(tally.first))
    return lines


def _left_out(left_out: dict[str, Tally]) -> str:
    count = sum(tally.count for tally in left_out.values())
    named = [f'{tally.count:,} {ending or "without an ending"} ({", ".join(tally.first[:3])}'
             f'{", ..." if tally.count > 3 else ""})' for ending, tally in sorted(left_out.items())]
    return (f'{words.count(count, "file")} left out by {"its name" if count == 1 else "their names"}: '
            + ', '.join(named))


def _pairs(tally: Tally) -> str:
    """'a.jpg ~ b.jpg (hardly different); ...' of near duplicates."""
    return '; '.join(f'{one} ~ {other} ({difference_in_words(difference)} different)'
                     for difference, one, other in tally.named)


def _first(tally: Tally) -> str:
    return f' (the first {len(tally.named)})' if tally.count > len(tally.named) else ''


def rare_classes(checks: Checks, findings: Findings, classes: Iterable[str] = ()) -> dict[str, int]:
    """Label -> number of train examples, for classes with fewer than checks.min_class_examples or none.

    classes: labels that count although no example has them.
    """
    least = max(1, checks.min_class_examples)
    counts = {label: findings.classes.get(label, {}).get('train', 0) for label in {*classes, *findings.classes}}
    return {label: count for label, count in sorted(counts.items()) if count < least}


def spelling_variants(labels: Iterable[str]) -> list[list[str]]:
    """Groups of labels that differ only by case, space or Unicode form, and so are probably the same class."""
    groups = collections.defaultdict(list)
    for label in labels:
        groups[' '.join(unicodedata.normalize('NFKC', label).casefold().split())].append(label)
    return sorted(sorted(group) for group in groups.values() if len(group) > 1)

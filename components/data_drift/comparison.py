"""What is remarkable about a run's data beside those of the served model: findings in sentences, numbers for charts."""

import dataclasses
import math

from components.data_drift import charted, distances
from components.data_drift.feature_words import words_of
from components.data_drift.statistics import TaskData, numeric
from media.entries import SPLITS
from model_code import words
from model_code.tasks import Task

# Values that all lie within this part of their mean are the same to people: clips of 10 seconds that became 10.02.
_SAME = 0.02
# Fewer examples than this share of those of the served model are remarkable: probably some are missing.
_LEAST_EXAMPLES = 0.5
# So is a label whose share fell below this part of what it was, however rare it was.
_VANISHED = 0.2
_NAMED_LABELS = 3
# A reason of rejection is remarkable if its share has at least doubled, by more than chance, in at least so many files.
_LEAST_REJECTED = 5


@dataclasses.dataclass(frozen=True)
class Finding:
    """task, split: where. feature: of the examples, or 'label', 'examples', 'rejected'. sentence: with the numbers, and
    what to do. stops: whether the task's checks make it end the run.
    """
    task: str
    split: str
    feature: str
    sentence: str
    stops: bool = False


def compare(task: Task, old: TaskData, new: TaskData, version: str) -> list[Finding]:
    """What changed since the data of a served version, task by task in one split after the other."""
    found = []
    for split in SPLITS:
        found += _fewer_examples(task, split, old, new, version)
        if split in old.statistics and split in new.statistics:
            found += _labels(task, split, old, new, version)
            found += _features(task, old.statistics[split], new.statistics[split], split,
                               f'{{}} than those of version {version}', 'was')
    found += _rejections(task, old, new, version)
    stops = task.checks.drift == 'stop'
    return [dataclasses.replace(finding, stops=stops) for finding in _once(found)]


def compare_splits(task: Task, new: TaskData) -> list[Finding]:
    """How the eval split of the new data differs from their train split. It never stops a run: it may be meant so."""
    if not set(SPLITS) <= new.statistics.keys():
        return []
    train, evaluated = (new.statistics[split] for split in SPLITS)
    return _features(task, train, evaluated, SPLITS[1], '{} than the train examples', 'in train')


def _once(findings: list[Finding]) -> list[Finding]:
    """The findings without those of a later split that an earlier one has too; there the sentence says so."""
    kept: dict[str, Finding] = {}
    for finding in findings:
        first = kept.setdefault(finding.feature, finding)
        if first is not finding:
            kept[finding.feature] = dataclasses.replace(
                first, sentence=f'{first.sentence} The same in {finding.split}.')
    return list(kept.values())


def _fewer_examples(task: Task, split: str, old: TaskData, new: TaskData, version: str) -> list[Finding]:
    before, now = old.examples.get(split, 0), new.examples.get(split, 0)
    if now >= _LEAST_EXAMPLES * before:
        return []
    return [Finding(task.name, split, 'examples', (
        f'{task.name}: {words.count(now, f"{split} example")}, {before:,} in version {version}: fewer than half. Check '
        'whether files, or a part of the manifest, are missing.'))]


def _features(task: Task, old, new, split: str, than: str, was: str) -> list[Finding]:
    """The numeric features whose values are too far apart. than: with {} for a word such as 'darker'."""
    found = []
    before, now = numeric(old), numeric(new)
    for name, distance in distances.between(old, new).items():
        text, a, b = words_of(name), before[name], now[name]
        if not distance.exceeds(task.checks.max_drift) or _are_same(a, b):
            continue
        change = b.mean - a.mean
        if abs(change) > 0.25 * max(a.std_dev, b.std_dev):
            what = than.format(f'{_number(abs(change))}{text.difference} {text.less if change < 0 else text.more}')
            numbers = f'mean {text.noun} {_number(b.mean)}{text.unit}, {was} {_number(a.mean)}'
        else:
            what = than.format(f'of another range of {text.noun}')
            numbers = (f'{text.noun} {_number(b.min)} to {_number(b.max)}{text.unit} (standard deviation '
                       f'{_number(b.std_dev)}), {was} {_number(a.min)} to {_number(a.max)} ({_number(a.std_dev)})')
        found.append(Finding(task.name, split, name, (
            f'{task.name}: the {split} examples are {what}: {numbers} (divergence {distance.value:.2f}, allowed '
            f'{max(task.checks.max_drift, distance.chance):.2f}). {text.advice}')))
    return found


def _are_same(a, b) -> bool:
    return max(abs(b.mean - a.mean), a.std_dev, b.std_dev) <= _SAME * max(abs(a.mean), abs(b.mean))


def _labels(task: Task, split: str, old: TaskData, new: TaskData, version: str) -> list[Finding]:
    """The labels whose shares changed. (TFDV's comparator measures the largest change alone, does not say whose it is,
    and knows only the 1,000 most frequent labels.)
    """
    n, m = (sum(counts.get(split, 0) for counts in data.labels.values()) for data in (old, new))

    def beyond_chance(before: float, now: float) -> bool:
        return abs(now - before) > distances.share_chance((before * n + now * m) / (n + m), n, m)

    def is_found(before: float, now: float) -> bool:
        return beyond_chance(before, now) and (
            abs(now - before) > task.checks.max_label_drift or now < _VANISHED * before)

    changed = [row for row in charted.label_shares(old, new, split) if is_found(*row[1:])]
    if not changed:
        return []
    named = ', '.join(f'{label!r} {now:.1%}, was {before:.1%}' for label, before, now in sorted(
        changed, key=lambda row: -abs(row[2] - row[1]))[:_NAMED_LABELS])
    more = f' and {len(changed) - _NAMED_LABELS} more' if len(changed) > _NAMED_LABELS else ''
    return [Finding(task.name, split, 'label', (
        f'{task.name}: the shares of labels in the {split} examples differ from those of version {version}: {named}'
        f'{more}. Check whether a source of some classes is missing or counted twice.'))]


def _rejections(task: Task, old: TaskData, new: TaskData, version: str) -> list[Finding]:
    grown = []
    for reason, count in new.rejected.items():
        if count < _LEAST_REJECTED or not old.files or not new.files:
            continue
        before, now = old.rejected.get(reason, 0) / old.files, count / new.files
        share = (old.rejected.get(reason, 0) + count) / (old.files + new.files)
        if now >= 2 * before and now - before > distances.share_chance(share, old.files, new.files):
            grown.append(f'{reason} {now:.2%} of the files ({count:,}), was {before:.2%}')
    if not grown:
        return []
    return [Finding(task.name, '', 'rejected', (
        f'{task.name}: more files are rejected than for version {version}: {"; ".join(grown)}. rejected.jsonl of its '
        'MediaExampleGen names them.'))]


def _number(value: float) -> str:
    """Three significant digits: '0.312', '31.2', '-19', '1,280'."""
    if not value or not math.isfinite(value):
        return f'{value:g}'
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f'{value:,.{digits}f}'.rstrip('0').rstrip('.') if digits else f'{value:,.0f}'

"""What the model being served knows and a new one does not: tasks, classes, label groups. No TFX, no TensorFlow."""

import dataclasses
import difflib
from collections.abc import Iterable, Sequence

from model_code.tasks import Mixture, Task

_NAMED = 10  # names that a message lists


@dataclasses.dataclass(frozen=True)
class Changes:
    """How a new model's tasks and classes differ from those of the model being served.

    lost_tasks, lost_classes: task -> why the model is rejected; what the config allows by name is left out.
    remarks: sentences about what is new or in another order.
    """
    lost_tasks: dict[str, str] = dataclasses.field(default_factory=dict)
    lost_classes: dict[str, str] = dataclasses.field(default_factory=dict)
    remarks: list[str] = dataclasses.field(default_factory=list)

    @property
    def reasons(self) -> list[str]:
        return [*self.lost_tasks.values(), *self.lost_classes.values()]


def compare(card: dict, version: str, mixture: Mixture, classes: dict[str, Sequence[str]]) -> Changes:
    """The changes from a served version to a model of this mixture.

    card: the model card of the version; {} knows no task. classes: task -> all labels of the new model, in any order.
    """
    changes, served = Changes(), _tasks(card)
    names = [task.name for task in mixture.tasks]
    new = _without(names, served)
    for name in served:
        if name not in names and name not in mixture.dropped_tasks:
            changes.lost_tasks[name] = (
                f'The config no longer has the task {name}, which version {version} knows.{_renamed([name], new)} If '
                f'that is intended, allow it: Mixture(..., dropped_tasks={_tuple([name])}).')
    if served:
        changes.remarks.extend(f'The task {name} is new: version {version} does not know it.' for name in new)
    for task in mixture.tasks:
        if task.name in served:
            _compare_classes(task, served[task.name], version, classes[task.name], changes)
    return changes


def _compare_classes(task: Task, served: dict, version: str, classes: Sequence[str], changes: Changes):
    """Adds a task's lost and new classes to `changes`. served: the task's entry in the card of the version."""
    before, now = served.get('classes', []), set(classes)
    groups_before, groups = served.get('label_groups', []), task.data.label_groups
    added = _without(classes, before)
    lost_groups = _without(groups_before, groups)
    # A lost label group stands for all its classes.
    lost = [label for label in before if label not in now and label.partition(':')[0] not in lost_groups]
    lost_groups, lost = (_without(names, task.gate.dropped_classes) for names in (lost_groups, lost))
    if lost_groups or lost:
        names = ' and '.join([*_named('label group', 'label groups', lost_groups), *_named('class', 'classes', lost)])
        renamed = _renamed(lost_groups, _without(groups, groups_before)) + _renamed(lost, added)
        changes.lost_classes[task.name] = (
            f'{task.name}: its data no longer have {names}, which version {version} knows.{renamed} If that is '
            f'intended, allow it: Gate(..., dropped_classes={_tuple([*lost_groups, *lost])}).')
    if before and added:
        names, = _named('class', 'classes', added)
        changes.remarks.append(f'{task.name}: version {version} does not know {names} of its data.')


def order_remarks(card: dict, version: str, new_card: dict) -> list[str]:
    """A sentence for each task whose scores, or answers to its label groups, come in another order than before.

    card: the model card of the served version. new_card: that of the new model.
    """
    remarks = []
    for name, entry in _tasks(new_card).items():
        served = _tasks(card).get(name, {})
        place = {label: i for i, label in enumerate(entry.get('classes', []))}
        if any(place.get(label, i) != i for i, label in enumerate(served.get('classes', []))):
            remarks.append(f'{name}: the classes have another order than in version {version}. Clients that take the '
                           f'scores of {name}_scores by their place must read the new model card.')
        before, now = served.get('label_groups', []), entry.get('label_groups', [])
        if before != now and set(before) == set(now):
            remarks.append(f'{name}: the order of the label groups is {", ".join(now)}; in version {version} it is '
                           f'{", ".join(before)}.')
    return remarks


def classes_of(card: dict) -> dict[str, list[str]]:
    """Task -> its classes, of a model card."""
    return {name: entry.get('classes', []) for name, entry in _tasks(card).items()}


def _tasks(card: dict) -> dict[str, dict]:
    return {entry['name']: entry for entry in card.get('tasks', [])}


def _without(names: Iterable[str], others: Iterable[str]) -> list[str]:
    others = set(others)
    return [name for name in names if name not in others]


def _renamed(lost: list[str], added: list[str]) -> str:
    """' 'cats' is new: was 'cat' renamed?' for each lost name that is close to an added one; '' if none is.

    The only lost and the only added name count as close.
    """
    folded = {name.lower(): name for name in added}
    text = ''
    for name in lost[:_NAMED]:
        close = difflib.get_close_matches(name.lower(), folded, n=1)
        if close or len(lost) == len(added) == 1:
            text += f' {folded[close[0]] if close else added[0]!r} is new: was {name!r} renamed?'
    return text


def _named(noun: str, plural: str, names: list[str]) -> list[str]:
    """["the class 'cat'"], or ["the 2 classes 'cat', 'dog'"]; [] without names. Of many names only the first."""
    if len(names) < 2:
        return [f'the {noun} {name!r}' for name in names]
    more = f' and {len(names) - _NAMED:,} more' if len(names) > _NAMED else ''
    return [f'the {len(names):,} {plural} {", ".join(map(repr, names[:_NAMED]))}{more}']


def _tuple(names: list[str]) -> str:
    """The names as one writes a tuple of them in a config."""
    return repr(tuple(names)) if len(names) <= _NAMED else f'({", ".join(map(repr, names[:_NAMED]))}, ...)'

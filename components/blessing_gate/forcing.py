"""`--force REASON`: a model that the gate rejects is pushed all the same. No TFX, no TensorFlow.

A person may answer for how good is good enough: a floor, a fall, a comparison that tells too little, a served model
with which nothing can be compared. Nobody can answer for a model that does not serve (the serving check), whose scores
are not finite or were never measured, or that lacks a task or class for which clients ask: what is meant to go is
allowed by its name (Mixture.dropped_tasks, Gate.dropped_classes).
"""

from collections.abc import Container

from model_code.errors import ConfigError
from model_code.printable import printable

LONGEST = 1_000  # characters of a reason


def check_reason(reason: str, where: str):
    """Raises ConfigError unless the text is a reason. where: how it was given, such as '--force'."""
    if not reason.strip():
        raise ConfigError(f'{where} is empty. Say why a model that the gate rejects is pushed all the same: the reason '
                          'stays in its model card and in the report.')
    if len(reason) > LONGEST or printable(reason, keep='') != reason:
        raise ConfigError(f'{where} must be one line of at most {LONGEST:,} characters that can be shown.')


def apply(decision: dict, reason: str, lost_classes: Container[str] = ()) -> dict:
    """The decision with `forced`: the reason if the gate rejects the model and it is pushed all the same, else None.

    A forced decision is blessed, and keeps its reasons: they are what the model was rejected for. One that cannot be
    forced gets a reason that says why. decision: decide(...). reason: '' if nothing is forced. lost_classes: the tasks
    that lost classes unnoticed.
    """
    if not reason.strip() or decision['blessed']:
        return {**decision, 'forced': None}
    why_not = obstacles(decision, lost_classes)
    if why_not:
        return {**decision, 'forced': None, 'reasons': [
            *decision['reasons'], f'It cannot be forced, because {"; ".join(why_not)}.']}
    return {**decision, 'blessed': True, 'forced': reason.strip()}


def obstacles(decision: dict, lost_classes: Container[str] = ()) -> list[str]:
    """Why the model of a decision cannot be pushed by force, in clauses; [] if it can."""
    found = [] if decision['infra']['blessed'] else ['the serving check rejected the model']
    found += [f'the task {name} is lost' for name in decision['lost_tasks']]
    for task in decision['tasks']:
        if task['name'] in lost_classes:
            found.append(f'{task["name"]} lost classes')
        if task['value'] is None:
            found.append(f'{task["name"]} could not be measured')
    return found

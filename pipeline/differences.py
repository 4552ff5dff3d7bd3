"""What differs between two executions of a component, in the words of the config. Only strings, no TFX.

A component's properties hold parts of the config as JSON, media and code as hashes. Here they become settings, named
as `--set` names them: tasks.digits.recipe.steps, model.inputs.image.patch.
"""

import json
from collections.abc import Iterable

# Properties and keys of JSON objects -> the part of the config that they hold.
_PARTS = {'model_config': 'model', 'model': 'model', 'training': 'training', 'mixture': 'mixture'}
CODE = 'its code or a library changed'
# These change with the version that is being served. Where it is named, the others say nothing more.
_SERVED = ('served_version', 'push_nonce', 'model_key')


def describe(component: str, old: dict[str, object], new: dict[str, object]) -> list[str]:
    """The reasons why an execution with the properties `new` is another one than that with `old`; [] if they are equal.

    component: its id; its task's name is part of it.
    """
    task = component.partition('_')[2]
    before, after = _settings(old, task), _settings(new, task)
    if before == after:
        return []
    changed = [path for path in sorted({**before, **after}) if before.get(path) != after.get(path)]
    reasons = []
    if 'code_version' in changed:
        reasons.append(CODE)
        # Changed code may have other properties. Only what both have tells of the config.
        changed = [path for path in changed if path in before and path in after and path != 'code_version']
    else:
        added, gone = _tasks(after) - _tasks(before), _tasks(before) - _tasks(after)
        reasons += [f'task {name} is new' for name in sorted(added)]
        reasons += [f'task {name} is gone' for name in sorted(gone)]
        changed = [path for path in changed if not _tasks([path]) & (added | gone)]
    reasons += [_reason(path, before.get(path), after.get(path)) for path in changed if path not in _SERVED]
    return reasons + _served_reason(before, after, changed)


def _settings(properties: dict[str, object], task: str) -> dict[str, object]:
    """Path -> value of all settings in the properties of a component."""
    found = {}
    for name, value in properties.items():
        _collect(name, value, task, found)
    return found


def _collect(name: str, value, task: str, found: dict[str, object]):
    """Adds what a property, or a key of a JSON object in one, says."""
    if isinstance(value, str):
        try:
            parsed = json.loads(value)
        except ValueError:
            parsed = None
        value = parsed if isinstance(parsed, (dict, list)) else value
    if name == 'custom_config' and isinstance(value, dict):
        for key, item in value.items():
            _collect(key, item, task, found)
    elif name == 'source' and isinstance(value, dict):
        flatten(f'tasks.{value.get("name", task)}', value, found)
    elif name in ('checks', 'probe'):
        flatten(f'tasks.{task}.{name}', value, found)
    elif name == 'spec' and isinstance(value, dict):
        flatten(f'model.inputs.{value.get("modality")}', value, found)
    else:
        flatten(_PARTS.get(name, name), value, found)


def flatten(path: str, value, found: dict[str, object]):
    """Adds path -> value of all settings in a JSON value, such as tasks.digits.recipe.steps, to `found`."""
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        value = {str(item.get('name') or item.get('modality')): item for item in value}
    if not isinstance(value, dict):
        found[path.removeprefix('mixture.') if path.startswith('mixture.tasks.') else path] = value
        return
    for key, item in value.items():
        flatten(f'{path}.{key}', item, found)


def _tasks(settings: Iterable[str]) -> set[str]:
    """The tasks that paths of settings name."""
    return {path.split('.')[1] for path in settings if path.startswith('tasks.')}


def _reason(path: str, old, new) -> str:
    if path == 'media_fingerprint':
        return 'its media changed'
    if path == 'overrides':
        return 'other settings were typed (--set)'
    if path in ('serving_dir', 'push_destination') or path.startswith('push_destination.'):
        return 'the root is another folder'
    return f'{path} {_text(old)} -> {_text(new)}'


def _served_reason(before, after, changed) -> list[str]:
    if not any(path in changed for path in _SERVED):
        return []
    if 'served_version' in changed:
        old, new = before.get('served_version'), after.get('served_version')
        return [f'version {new} is being served' + (f', not {old}' if old else '') if new else
                'no version is being served']
    return ['the version that is being served came from another run']


def _text(value) -> str:
    """The value of a setting, cut at 40 characters."""
    text = ','.join(map(str, value)) if isinstance(value, list) else str(value)
    text = text or "''"
    return text if len(text) <= 40 else f'{text[:37]}...'

"""The model of which a training keeps all but a few heads (TrainingConfig.train_only): whether it fits the config, and
what is taken from it beside its weights. No TensorFlow here.

What it answers for the tasks that are not trained must stay the same, bit for bit. So it must have the same sizes and
inputs, and their labels; their vocabularies and statistics are its own, and not those of the data as they are now.
"""

import dataclasses
import os
from collections.abc import Collection, Mapping, Sequence

from model_code import model_directory
from model_code.errors import PipelineStop
from model_code.settings import ModelConfig, TrainingConfig
from model_code.tasks import Mixture, Task

_UNSERVED = ('dropout', 'inputs')  # fields of ModelConfig: what serving does not use, and what is compared by modality
_NAMED = 5  # labels in a sentence


def read_card(path: str) -> dict:
    """The model card of a version. Raises PipelineStop if it has none."""
    try:
        card = model_directory.read_card(path)
    except ValueError as error:
        raise PipelineStop(f'The model card of {path} is not JSON ({error}), so nobody knows its tasks.') from error
    if not card.get('tasks'):
        raise PipelineStop(f'{path} has no model card, so train_only cannot tell its tasks. Give a pushed version.')
    return card


def name(path: str) -> str:
    """'version 1795799896', or the path if it does not end in a number."""
    number = os.path.basename(path.rstrip('/'))
    return f'version {number}' if number.isdecimal() else path


def check(card: dict, path: str, training: TrainingConfig, mixture: Mixture, model: ModelConfig,
          classes: Mapping[str, Collection[str]]):
    """Raises PipelineStop, with a sentence for each, if tasks that are not trained cannot stay as they are.

    card, path: of the parent. classes: task -> the labels of its data.
    """
    found = problems(card, name(path), training, mixture, model, classes)
    if found:
        raise PipelineStop(' '.join(found))


def problems(card: dict, parent: str, training: TrainingConfig, mixture: Mixture, model: ModelConfig,
             classes: Mapping[str, Collection[str]]) -> list[str]:
    """The sentences of `check`. parent: its name."""
    kept = [task for task in mixture.tasks if task.name not in training.train_only]
    served = {entry['name']: entry for entry in card['tasks']}
    found = [f'The {name} of the model is {model_value!r}, and in {parent} {value!r}. train_only keeps the encoder of '
             'that model, so it must be the same.' for name, value, model_value in _sizes(card, model)]
    for modality in dict.fromkeys(modality for task in kept for modality in task.modalities):
        found += _input_problems(card, parent, modality, model)
    for task in kept:
        if task.name not in served:
            found.append(f'Task {task.name} is not in {parent}. train_only keeps the tasks that it does not name as '
                         'they are in that model: name this one too, or leave train_only out to train everything.')
        else:
            found += _task_problems(task, served[task.name], parent, classes[task.name])
    return found + _order_problems(mixture, kept, list(served.values()), parent)


def _sizes(card: dict, model: ModelConfig) -> list[tuple]:
    """(field, value in the card, value in the config) of each size that differs."""
    stored = card.get('model', {})
    return [(field.name, stored[field.name], getattr(model, field.name)) for field in dataclasses.fields(model)
            if field.name not in _UNSERVED and field.name in stored
            and stored[field.name] != getattr(model, field.name)]


def _input_problems(card: dict, parent: str, modality: str, model: ModelConfig) -> list[str]:
    stored, spec = card.get('inputs', {}).get(modality, {}), model.input(modality)
    own = {name: list(value) if isinstance(value, tuple) else value
           for name, value in dataclasses.asdict(spec).items()}
    return [f'{name} of the {modality} input is {own[name]!r}, and in {parent} {value!r}. Its tasks can stay as they '
            'are only with the same input.' for name, value in stored.items() if name in own and own[name] != value]


def _task_problems(task: Task, served: dict, parent: str, labels: Collection[str]) -> list[str]:
    for what, now, before in (
            ('modality', task.modality, served['modality']),
            ('several labels of an example', task.data.kind.several, served.get('multi_label')),
            ('label_groups', list(task.data.label_groups), served.get('label_groups', []))):
        if before is not None and now != before:
            return [f'Task {task.name}: {what} is {now!r}, and in {parent} {before!r}. {_way_out(task.name)}']
    lost, new = (sorted(set(one) - set(other))
                 for one, other in ((served['classes'], labels), (labels, served['classes'])))
    if lost or new:
        parts = [f'{what} {", ".join(map(repr, names[:_NAMED]))}' + (', ...' if len(names) > _NAMED else '')
                 for what, names in (('without', lost), ('new are', new)) if names]
        return [f'Task {task.name}: its labels are not those of {parent}: {"; ".join(parts)}. '
                f'{_way_out(task.name)}']
    return []


def _way_out(task: str) -> str:
    return f'Its head cannot stay as it is: name {task} in train_only too, or leave train_only out to train everything.'


def _order_problems(mixture: Mixture, kept: Sequence[Task], served: list[dict], parent: str) -> list[str]:
    """The first task answers as serving_default, and the first of a modality decides its embedding."""
    names, found = {task.name for task in kept}, []
    for modality in (None, *dict.fromkeys(task.modality for task in kept)):
        first = next((e['name'] for e in served if modality in (None, e['modality'])), None)
        now = next(task.name for task in mixture.tasks if modality in (None, task.modality))
        if first in names and now != first:
            what = f'gives {modality}_embedding its form' if modality else 'answers as serving_default'
            found.append(f'Task {now} comes before {first}, which is the first in {parent} and {what}. Write {now} '
                         f'behind {first}.')
    return list(dict.fromkeys(found))


def kept(card: dict, key: str, training: TrainingConfig, mixture: Mixture) -> dict[str, list]:
    """Task -> this entry of the parent's card ('classes', 'statistics'), of the tasks that are not trained.

    A task whose entry lacks it is left out; of no parent ({}) all are.
    """
    names = {task.name for task in mixture.tasks} - set(training.train_only)
    return {entry['name']: entry[key] for entry in card.get('tasks', ()) if entry['name'] in names and key in entry}


def check_taken(names: dict[str, list[str]], kept: Sequence[str], path: str):
    """Raises PipelineStop unless every variable that is not trained was taken from the parent as it is there.

    names: what initialisation.initialise returns. kept: the names of these variables.
    """
    others = sorted(set(kept) - set(names['taken']))
    if others:
        more = f' and {len(others) - _NAMED} more' if len(others) > _NAMED else ''
        raise PipelineStop(f'{path} does not have {", ".join(others[:_NAMED])}{more} in the form of this model, so '
                           'train_only cannot keep them. The recipes of the tasks that are not trained (pooling, '
                           'head_hidden) must be those with which it was trained.')


def card_entries(card: dict, training: TrainingConfig, own: dict) -> dict:
    """What the new model's card says of its parent. card: the parent's; own: the new one's entries so far.

    The media of a kept task are those that the parent was trained on.
    """
    path = training.initial_checkpoint
    fingerprints = {task: media for task, media in card.get('media_fingerprints', {}).items()
                    if task in own.get('media_fingerprints', {}) and task not in training.train_only}
    number = os.path.basename(path.rstrip('/'))
    return {'media_fingerprints': own.get('media_fingerprints', {}) | fingerprints,
            'parent': {'version': number if number.isdecimal() else '', 'model_digest': card.get('model_digest', ''),
                       'trained': list(training.train_only)}}

"""Task and Mixture: the one place where a data set's facts live. No TensorFlow here.

A task is a data set, a modality, a kind of label, a head, and its own training recipe; its name goes with its data
from the first component to the served signature.
"""

import dataclasses
import re
from typing import Literal, get_args

from model_code import modalities
from model_code.choices import check_choices
from model_code.data import Data, Source
from model_code.errors import ConfigError, unknown

Schedule = Literal['task_by_task', 'alternating', 'uniform', 'weighted', 'accumulated']
SCHEDULES = get_args(Schedule)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a task is trained: the hyper-parameters of its own single-task recipe (docs/model.md, "Schedules")."""
    steps: int
    """U_j of the paper: the optimiser steps of this task in its own single-task recipe."""
    batch_size: int
    """Examples per step, over all replicas."""
    learning_rate_coefficient: float = 1.0
    """What the shared learning rate is multiplied by at this task's steps."""
    augmentations: tuple[str, ...] = ()
    """Names from the modality's row of `modalities.MODALITIES`, applied in order, in training only."""
    mixup_alpha: float = 0.0
    """Mixup of spectrograms and labels with a share from Beta(alpha, alpha); 0 is none; audio only."""
    label_smoothing: float = 0.0
    """In [0, 1); not for label kind 'multi'."""
    zero_init_head: bool = False
    """The head's output starts at zero (the paper's choice for video and audio)."""
    pooling: Literal['token', 'gap'] = 'token'
    """What the head reads: the class token, or the mean of all tokens."""
    head_hidden: tuple[int, ...] = ()
    """Widths of the head's hidden layers (ReLU); () is one dense output."""
    stochastic_depth: float = 0.0
    """In [0, 1): block l of L is dropped for an example with probability l / (L - 1) times this, in training."""

    def check(self, where: str, modality: str):
        """Raises ConfigError where a field is wrong for a task of this modality. where: 'Task digits: '."""
        check_choices(self, where)
        row = modalities.get_modality(modality)
        for augmentation in self.augmentations:
            if augmentation not in row.augmentations:
                raise unknown(f'{modality} augmentation', augmentation, row.augmentations, where)
        for field in ('steps', 'batch_size'):
            if getattr(self, field) < 1:
                raise ConfigError(f'{where}{field} is {getattr(self, field)}; it must be at least 1.')
        for field in ('label_smoothing', 'stochastic_depth'):
            if not 0 <= getattr(self, field) < 1:
                raise ConfigError(f'{where}{field} is {getattr(self, field)}; it must be in [0, 1).')
        if self.mixup_alpha < 0 or self.mixup_alpha and not row.mixup:
            mixed = ' or '.join(other.name for other in modalities.MODALITIES.values() if other.mixup)
            raise ConfigError(f'{where}mixup_alpha is {self.mixup_alpha} for {modality}; it must be 0 or more, and 0 '
                              f'for anything but {mixed}.')
        if any(width < 1 for width in self.head_hidden):
            raise ConfigError(f'{where}head_hidden is {self.head_hidden}; each width must be at least 1.')


@dataclasses.dataclass(frozen=True)
class Checks:
    """When a task's data stop a run before training."""
    max_rejected_share: float = 0.01
    """More rejected files than this share of all stop the run; missing files count apart."""
    max_missing_share: float = 0.01
    """The same for files that the annotations name and nobody has (a fifth of VGGSound is gone)."""
    allow_leaks: bool = False
    """The same media in train and eval is only reported; else it stops the run."""
    min_class_examples: int = 1
    """A class with fewer train examples is reported; one without any always stops the run."""

    def check(self, where: str):
        """Raises ConfigError where a field is wrong. where: 'Task digits: '."""
        for field in ('max_rejected_share', 'max_missing_share'):
            if not 0 <= getattr(self, field) <= 1:
                raise ConfigError(f'{where}{field} is {getattr(self, field)}; it must be from 0 to 1.')


@dataclasses.dataclass(frozen=True)
class Gate:
    """When a trained model is rejected because of a task."""
    floor: float = 0.0
    """The least value of the task's primary metric that the gate accepts."""
    max_drop: float = 0.02
    """How far the primary metric may fall below that of the model being served."""

    def check(self, where: str):
        """Raises ConfigError where a field is wrong. where: 'Task digits: '."""
        if not 0 <= self.floor <= 1:
            raise ConfigError(f'{where}floor is {self.floor}; it must be from 0 to 1.')


@dataclasses.dataclass(frozen=True)
class Task:
    """One data set to learn."""
    name: str
    """Lower-case letters, digits and underscores; the prefix of this task's components and signatures."""
    modality: str
    """A name of `modalities.MODALITIES`: image, audio or video."""
    data: Data = dataclasses.field(default=Data(), kw_only=True)
    """Where the examples come from."""
    recipe: Recipe = dataclasses.field(kw_only=True)
    """How they are trained on."""
    checks: Checks = dataclasses.field(default=Checks(), kw_only=True)
    """When the data stop a run."""
    gate: Gate = dataclasses.field(default=Gate(), kw_only=True)
    """When a model is rejected."""

    def __new__(cls, *args, **fields):
        """Before the fields are set: a config in the flat form of version 0.1 is shown the new form."""
        if len(args) > 2 or _PART_OF.keys() & fields.keys() or not isinstance(fields.get('data', Data()), Data):
            raise ConfigError(_new_form(args, fields))
        return super().__new__(cls)

    def __post_init__(self):
        if not re.fullmatch(r'[a-z][a-z0-9_]*', self.name):
            raise ConfigError(f'Task name {self.name!r}: use lower-case letters, digits and underscores, a letter '
                              'first.')
        modalities.get_modality(self.modality)
        where = f'Task {self.name}: '
        self.data.check(where, self.modality)
        self.recipe.check(where, self.modality)
        self.checks.check(where)
        self.gate.check(where)

    @property
    def source(self) -> Source:
        """What this task's lane depends on."""
        return Source(self.name, self.modality, self.data)

    def group_ids(self, labels) -> tuple[tuple[int, ...], ...]:
        """`Source.group_ids`."""
        return self.source.group_ids(labels)

    @property
    def primary_metric(self) -> str:
        """The metric that floor and max_drop speak of, by its name in the evaluation's results."""
        return self.data.kind.primary_metric


# A flat field of version 0.1 -> the part of a Task that it is in now.
_PART_OF = {field.name: part for part, kind in (('data', Data), ('recipe', Recipe), ('checks', Checks), ('gate', Gate))
            for field in dataclasses.fields(kind)} | {'multi_label': 'data'}


def _new_form(args: tuple, fields: dict) -> str:
    """The sentence for a Task in the flat form: the new form, with the values that were given."""
    values = dict(zip(('name', 'modality', 'steps', 'batch_size'), args, strict=False)) | fields
    if isinstance(values.get('data'), str):
        values['folder'] = values.pop('data')
    if values.pop('multi_label', False):
        values['label_kind'] = 'multi'
    elif values.get('label_groups'):
        values['label_kind'] = 'groups'
    parts = {'data': [], 'recipe': [], 'checks': [], 'gate': []}
    for name, value in values.items():
        if name in _PART_OF:
            parts[_PART_OF[name]].append(f'{name}={value!r}')
    written = [repr(values[name]) for name in ('name', 'modality') if name in values]
    written += [f'{part}={part.capitalize()}({", ".join(given)})' for part, given in parts.items() if given]
    return (f'Task {values.get("name", "")}: a task is written in four parts: data (where its examples come from), '
            'recipe (how it is trained), checks (when its data stop a run) and gate (when a model is refused). Write '
            f'Task({", ".join(written)}).')


@dataclasses.dataclass(frozen=True)
class Mixture:
    """The tasks that are trained together, and the schedule that picks one at each step: docs/model.md, "Schedules"."""
    tasks: tuple[Task, ...]
    """At least one, each with a name of its own."""
    schedule: Schedule = 'weighted'
    """Which task each step trains; docs/model.md describes the five."""
    seed: int = 0
    """What the weighted and uniform schedules draw from."""

    def __post_init__(self):
        if not self.tasks:
            raise ConfigError('The mixture has no task; it needs at least one.')
        names = [t.name for t in self.tasks]
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(f'Two tasks are named {name!r}. Names go with the data to the served signatures: '
                                  'give each task its own.')
        check_choices(self)

    def __getitem__(self, name: str) -> Task:
        for task in self.tasks:
            if task.name == name:
                return task
        raise unknown('task', name, [t.name for t in self.tasks])

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities in use, in the table's order."""
        return tuple(m for m in modalities.MODALITIES if any(t.modality == m for t in self.tasks))

    @property
    def total_steps(self) -> int:
        return sum(t.recipe.steps for t in self.tasks)

"""Task and Mixture: the one place that describes a data set and its training. No TensorFlow here.

A task is a data set with a modality, a kind of label, a head and a recipe of its own. Its name goes with its data from
the first component to the served signature.
"""

import dataclasses
import os
import re
from collections.abc import Collection
from typing import Literal, get_args

from model_code import modalities, signature_names
from model_code.data import Data, Source
from model_code.errors import ConfigError, unknown
from model_code.fields import check_fields, check_least
from model_code.probe import Probe

Schedule = Literal['task_by_task', 'alternating', 'uniform', 'weighted', 'accumulated', 'temperature', 'unimax',
                   'staged']
SCHEDULES = get_args(Schedule)
PAPER_SCHEDULES = SCHEDULES[:5]
BY_SIZE = ('temperature', 'unimax')  # those that go by the number of train examples of each task
# Schedule -> the fields of Mixture that only it has.
_FIELDS_OF = {'temperature': ('temperature',), 'unimax': ('max_epochs',), 'staged': ('first_tasks', 'first_share')}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a task is trained: the hyper-parameters of its own single-task recipe (docs/model.md, "Schedules")."""
    steps: int
    """The optimiser steps of this task in its own single-task recipe (the paper's U_j)."""
    batch_size: int
    """Examples per step, over all replicas."""
    learning_rate_coefficient: float = 1.0
    """A factor for the shared learning rate at this task's steps."""
    augmentations: tuple[str, ...] = ()
    """Names from the modality's table in docs/model.md. Applied in training only, in this order."""
    mixup_alpha: float = 0.0
    """Mixup of spectrograms and labels, with shares from Beta(alpha, alpha). 0 means no mixup. Audio only."""
    label_smoothing: float = 0.0
    """The label smoothing, in [0, 1). Label kind 'multi' ignores it."""
    class_weights: bool = False
    """Whether the loss weighs rare classes more: each by the inverse of its frequency in the train split
    (docs/training.md, "Unbalanced classes")."""
    zero_init_head: bool = False
    """Whether the kernel of the head's output starts at zero (the paper's choice for video and audio)."""
    pooling: Literal['token', 'gap'] = 'token'
    """What the head reads: the class token, or the mean of all tokens."""
    head_hidden: tuple[int, ...] = ()
    """Widths of the head's hidden layers (ReLU); () is one dense output."""
    stochastic_depth: float = 0.0
    """In [0, 1). In training, block l of L is dropped for an example with probability l / (L - 1) times this."""
    token_share: float = 1.0
    """The share of an example's patches that a training step looks at, drawn anew for each example and step; over 0 and
    at most 1, and 1 for texts. Evaluation and serving see all of them (docs/training.md, "Dropping tokens")."""
    objective: Literal['labels', 'captions'] = 'labels'
    """What the training brings together: each example and its label, or each example and its caption, of the column
    `columns.text` (a contrastive loss). With 'captions' the labels only evaluate: without a label seen in training,
    the class of an example is the one whose prompts are nearest (zero-shot)."""
    prompts: tuple[str, ...] = ('{}',)
    """What stands for a class beside captions: texts with the label in place of {}, such as 'a photo of a {}.'"""

    def check(self, where: str, modality: str):
        """Raises ConfigError if a field is wrong for a task of this modality. where: such as 'Task digits: '."""
        check_fields(self, where)
        check_least(self, where, steps=1, batch_size=1, learning_rate_coefficient=0)
        row = modalities.get_modality(modality)
        for augmentation in self.augmentations:
            if augmentation not in row.augmentations:
                raise unknown(f'{modality} augmentation', augmentation, row.augmentations, where)
        exclusive = [name for name in self.augmentations if name in row.exclusive_augmentations]
        if len(exclusive) > 1:
            raise ConfigError(f'{where}augmentations has {" and ".join(map(repr, exclusive))}, which exclude each '
                              'other; name one of them.')
        for field in ('label_smoothing', 'stochastic_depth'):
            if not 0 <= getattr(self, field) < 1:
                raise ConfigError(f'{where}{field} is {getattr(self, field)}; it must be in [0, 1).')
        if not 0 < self.token_share <= 1:
            raise ConfigError(f'{where}token_share is {self.token_share}; it must be over 0 and at most 1, which keeps '
                              'all tokens.')
        if self.token_share < 1 and not row.token_dropping:
            raise ConfigError(f'{where}token_share is {self.token_share}, but tokens of {modality} cannot be dropped; '
                              'leave it at 1.')
        if self.mixup_alpha < 0 or self.mixup_alpha and not row.mixup:
            mixed = ' or '.join(other.name for other in modalities.MODALITIES.values() if other.mixup)
            raise ConfigError(f'{where}mixup_alpha is {self.mixup_alpha} for {modality}; it must be at least 0, and '
                              f'only {mixed} may have more than 0.')
        if self.objective == 'captions':
            if self.batch_size < 2:
                raise ConfigError(f"{where}batch_size is {self.batch_size}; it must be at least 2 with "
                                  "objective='captions', which learns to tell a caption from others of the batch.")
            for field in ('mixup_alpha', 'label_smoothing', 'class_weights', 'head_hidden', 'zero_init_head'):
                if getattr(self, field):
                    raise ConfigError(f"{where}{field} is {getattr(self, field)}, but a task with objective='captions' "
                                      'has no such thing: leave it out.')
            if not self.prompts or not all('{}' in prompt for prompt in self.prompts):
                raise ConfigError(f'{where}prompts is {self.prompts}; it must be one or more texts with {{}} in place '
                                  "of the label, such as 'a photo of a {}.'")
        elif self.prompts != ('{}',):
            raise ConfigError(f"{where}prompts is {self.prompts}, but only objective='captions' looks at it.")
        if any(width < 1 for width in self.head_hidden):
            raise ConfigError(f'{where}head_hidden is {self.head_hidden}; each width must be at least 1.')


@dataclasses.dataclass(frozen=True)
class Checks:
    """When the data of a task stop a run before training."""
    max_rejected_share: float = 0.01
    """The run stops if a larger share of the files than this is rejected. Missing files count separately."""
    max_missing_share: float = 0.01
    """The run stops if a larger share of the named files than this is missing. (A fifth of VGGSound is gone.)"""
    allow_leaks: bool = False
    """Whether the same media in train and eval are only reported. Otherwise they stop the run."""
    allow_near_leaks: bool = False
    """Whether nearly the same media in train and eval (re-encoded, resized, slightly cropped or trimmed) are only
    reported. Otherwise they stop the run."""
    min_class_examples: int = 1
    """A class with fewer train examples is reported. A class without any always stops the run."""
    drift: Literal['remark', 'stop'] = 'remark'
    """What happens if the data differ from those of the model being served by more than max_drift or max_label_drift,
    are fewer than half, or if more of the files are rejected: a remark, or an end of the run before training."""
    max_drift: float = 0.15
    """How far the sizes, durations, brightness or loudness of the examples may be from those of the model being served:
    the Jensen-Shannon divergence, from 0 (equal) to 1 (nothing in common). What may be chance is allowed too."""
    max_label_drift: float = 0.05
    """By how much the share of a label may differ from that in the data of the model being served, from 0 to 1. What
    may be chance is allowed too. A share that fell below a fifth counts always."""

    def check(self, where: str):
        """Raises ConfigError if a field is wrong. where: such as 'Task digits: '."""
        check_fields(self, where)
        check_least(self, where, min_class_examples=0)
        for field in ('max_rejected_share', 'max_missing_share', 'max_drift', 'max_label_drift'):
            if not 0 <= getattr(self, field) <= 1:
                raise ConfigError(f'{where}{field} is {getattr(self, field)}; it must be from 0 to 1.')


DRIFT_FIELDS = ('drift', 'max_drift', 'max_label_drift')  # of Checks: what compares data with other data


@dataclasses.dataclass(frozen=True)
class Gate:
    """When a trained model is rejected because of a task."""
    floor: float = 0.0
    """The least value of the task's primary metric that the gate accepts."""
    max_drop: float = 0.02
    """How far the primary metric may be below that of the model being served."""
    dropped_classes: tuple[str, ...] = ()
    """Classes, or label groups, that the model being served knows and the data may lack. Any other one that they lack
    ends a run before it starts, and the gate rejects the model, because it may be a renamed folder. Keep the names here
    until another model is trained."""
    floor_by: Literal['value', 'low', 'high'] = 'value'
    """What must reach the floor: the measured value, or the lower or upper limit of its 95% interval."""
    cannot_tell: Literal['by_value', 'reject', 'remark'] = 'by_value'
    """What happens if there are too few eval examples to tell whether the model is worse by more than max_drop: the
    measured fall decides; the model is rejected; or it is accepted with a remark (docs/operations.md, "How the gate
    decides")."""
    slices: tuple[str, ...] = ()
    """Extra columns of the data (`Columns.extra`): the model must not be worse on the examples of any of their values.
    A value with too few examples to judge by is only remarked on, unless cannot_tell is 'reject'."""

    def check(self, where: str, extra: tuple[str, ...]):
        """Raises ConfigError if a field is wrong. where: such as 'Task digits: '. extra: the data's extra columns."""
        check_fields(self, where)
        check_least(self, where, max_drop=0)
        for name in self.slices:
            if name not in extra:
                raise ConfigError(f'{where}slices of the gate has {name!r}, but columns.extra of the data is {extra}. '
                                  'The examples have only those columns, so name it there too.')
        if not 0 <= self.floor <= 1:
            raise ConfigError(f'{where}floor is {self.floor}; it must be from 0 to 1.')


@dataclasses.dataclass(frozen=True)
class Task:
    """One data set to learn, and how to learn it."""
    name: str
    """Lower-case letters, digits and underscores. Names of the task's components and signatures contain it."""
    modality: str
    """A name of `modalities.MODALITIES`: image, audio, video or text."""
    data: Data = dataclasses.field(default=Data(), kw_only=True)
    """Where the examples come from."""
    recipe: Recipe = dataclasses.field(kw_only=True)
    """How the model is trained on them."""
    checks: Checks = dataclasses.field(default=Checks(), kw_only=True)
    """When the data stop a run before training."""
    gate: Gate = dataclasses.field(default=Gate(), kw_only=True)
    """When a trained model is rejected because of this task."""
    probe: Probe = dataclasses.field(default=Probe(), kw_only=True)
    """What is measured of the representation of its examples, beside the head."""

    def __new__(cls, *args, **fields):
        """Rejects the flat form of version 0.1, before the fields are set, and shows the new form."""
        if len(args) > 2 or _PART_OF.keys() & fields.keys() or isinstance(fields.get('data'), (str, os.PathLike)):
            raise ConfigError(_new_form(args, fields))
        return super().__new__(cls)

    def __post_init__(self):
        where = f'Task {self.name}: '
        check_fields(self, where)
        if not re.fullmatch(r'[a-z][a-z0-9_]{0,99}', self.name):
            raise ConfigError(f'Task name {self.name!r}: use at most 100 lower-case letters, digits and underscores, '
                              'and start with a letter.')
        modalities.get_modality(self.modality)
        self.data.check(where, self.modality)
        self.recipe.check(where, self.modality)
        self._check_captions(where)
        self.checks.check(where)
        self.gate.check(where, self.data.columns.extra)
        self.probe.check(where)

    def _check_captions(self, where: str):
        """Raises ConfigError if only one of data and recipe has captions, or the labels are not one per example."""
        if self.recipe.objective == 'labels':
            if self.source.captioned:
                raise ConfigError(f'{where}columns.text is {self.data.columns.text!r}, the captions of its media, but '
                                  "its recipe learns from labels. Set Recipe(objective='captions'), or leave it out.")
            return
        if not self.source.captioned:
            raise ConfigError(f"{where}objective is 'captions', so its data must be media with captions: name their "
                              'column, Columns(text=...)' + ('; a task on texts has none.' if modalities.get_modality(
                                  self.modality).in_rows else '.'))
        if self.data.kind.multi_hot:
            raise ConfigError(f"{where}objective='captions' needs one label per example to evaluate by, "
                              f"label_kind='single', not {self.data.label_kind!r}.")

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities of a training step: its own, and that of captions if it learns from them."""
        captions = (modalities.CAPTION_MODALITY,) if self.recipe.objective == 'captions' else ()
        return (self.modality, *captions)

    @property
    def source(self) -> Source:
        """What this task's lane takes."""
        return Source(self.name, self.modality, self.data)

    def group_ids(self, labels) -> tuple[tuple[int, ...], ...]:
        """`Source.group_ids`."""
        return self.source.group_ids(labels)

    @property
    def primary_metric(self) -> str:
        """The metric that floor and max_drop are about, by its name in the results of the evaluation."""
        return self.data.kind.primary_metric


_PARTS = {'data': Data, 'recipe': Recipe, 'checks': Checks, 'gate': Gate}
# A field of the flat Task of version 0.1 -> the part that has it now.
_PART_OF = {field.name: part for part, kind in _PARTS.items() for field in dataclasses.fields(kind)} | {
    'multi_label': 'data'}


def _new_form(args: tuple, fields: dict) -> str:
    """The message for a Task in the flat form. It shows the new form with the given values, and parts that were given.

    Parts may also have been given without their names, which the new form does not take.
    """
    given = {part: value for part, kind in _PARTS.items() for value in (*args, *fields.values())
             if isinstance(value, kind)}
    flat = [value for value in args if not isinstance(value, tuple(_PARTS.values()))]
    values = dict(zip(('name', 'modality', 'steps', 'batch_size'), flat, strict=False)) | fields
    if isinstance(values.get('data'), (str, os.PathLike)):
        values['folder'] = os.fspath(values.pop('data'))
    if values.pop('multi_label', False):
        values['label_kind'] = 'multi'
    elif values.get('label_groups'):
        values['label_kind'] = 'groups'
    written = [repr(values[name]) for name in ('name', 'modality') if name in values]
    for part in _PARTS:
        inside = {field.name: getattr(given[part], field.name) for field in dataclasses.fields(given[part])
                  if getattr(given[part], field.name) != field.default} if part in given else {}
        inside |= {name: value for name, value in values.items() if _PART_OF.get(name) == part}
        if inside:
            texts = ', '.join(f'{name}={value!r}' for name, value in inside.items())
            written.append(f'{part}={part.capitalize()}({texts})')
    return (f'Task {values.get("name", "")}: a task is written in four parts: data (where its examples come from), '
            'recipe (how it is trained), checks (when its data stop a run) and gate (when a model is rejected). Write '
            f'Task({", ".join(written)}).')


@dataclasses.dataclass(frozen=True)
class Mixture:
    """The tasks that are trained together, and the schedule that picks the task of each step."""
    tasks: tuple[Task, ...]
    """At least one task. Their names must differ."""
    schedule: Schedule = 'weighted'
    """How steps choose their task. docs/model.md describes the schedules, of which the first five are the paper's."""
    seed: int = 0
    """The seed of the schedules that are drawn or shuffled: all but task_by_task, alternating and accumulated."""
    dropped_tasks: tuple[str, ...] = ()
    """Tasks that the model being served knows and the mixture may lack, as `dropped_classes` of a task's gate."""
    temperature: float = 1.0
    """For the schedule 'temperature': a task's share of the steps is in proportion to its train examples to the power
    of 1 / temperature. At least 1; the larger, the more even."""
    max_epochs: float = 0.0
    """For the schedule 'unimax', which needs it: no task is trained for more epochs than this."""
    first_tasks: tuple[str, ...] = ()
    """For the schedule 'staged', which needs them: the tasks, usually the large ones, that are trained first."""
    first_share: float = 0.5
    """For the schedule 'staged': the share of the steps of first_tasks that come before those of the other tasks, more
    than 0 and at most 1."""

    def __post_init__(self):
        check_fields(self, 'Mixture: ')
        check_least(self, 'Mixture: ', seed=0, temperature=1, max_epochs=0)
        if not self.tasks:
            raise ConfigError('The mixture has no task; it needs at least one.')
        names = [t.name for t in self.tasks]
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(f'Two tasks are named {name!r}. Served signatures have the names of tasks, so give '
                                  'each task its own.')
        owners: dict[str, str] = {}
        for signature, owner in signature_names.names((t.name, t.modality) for t in self.tasks):
            if signature in owners:
                raise ConfigError(f'The served model would have two signatures named {signature!r}: one of '
                                  f'{owners[signature]}, one of {owner}. Give a task another name.')
            owners[signature] = owner
        self._check_schedule()

    def _check_schedule(self):
        for schedule, fields in _FIELDS_OF.items():
            for field in fields if schedule != self.schedule else ():
                if getattr(self, field) != getattr(type(self), field):
                    raise ConfigError(f'Mixture: {field} is {getattr(self, field)!r}, which only the schedule '
                                      f'{schedule!r} has, and schedule is {self.schedule!r}. Leave one of them out.')
        if self.schedule == 'unimax' and not self.max_epochs:
            raise ConfigError("Mixture: the schedule 'unimax' needs max_epochs, the most epochs of a task.")
        if self.schedule == 'staged':
            for name in self.first_tasks:
                self[name]  # raises for one that there is not
            if not 0 < len(set(self.first_tasks)) < len(self.tasks):
                raise ConfigError(f'Mixture: first_tasks is {self.first_tasks}; the schedule \'staged\' needs one task '
                                  'at least there, and not all.')
            if not 0 < self.first_share <= 1:
                raise ConfigError(f'Mixture: first_share is {self.first_share}; it must be more than 0 and at most 1.')
            for name in self.first_tasks:
                if not self.first_steps(name):
                    raise ConfigError(f'Mixture: first_share is {self.first_share}, which gives task {name} of '
                                      f'first_tasks none of its {self[name].recipe.steps:,} steps first. Take a '
                                      'larger first_share, or more steps.')

    def first_steps(self, name: str) -> int:
        """How many steps of a task come in the first stage of 'staged', which trains only `first_tasks`."""
        return round(self.first_share * self[name].recipe.steps) if name in self.first_tasks else 0

    def only(self, names: Collection[str]) -> 'Mixture':
        """The mixture of some of its tasks. What would be balanced or staged are all; of a part each has its steps."""
        tasks = tuple(self[name] for name in names)
        keep = len(tasks) == len(self.tasks) or self.schedule not in _FIELDS_OF
        return dataclasses.replace(self, tasks=tasks, dropped_tasks=()) if keep else Mixture(tasks, seed=self.seed)

    def __getitem__(self, name: str) -> Task:
        for task in self.tasks:
            if task.name == name:
                return task
        raise unknown('task', name, [t.name for t in self.tasks])

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities in use, in the table's order."""
        return tuple(m for m in modalities.MODALITIES if any(m in t.modalities for t in self.tasks))

    @property
    def total_steps(self) -> int:
        return sum(t.recipe.steps for t in self.tasks)

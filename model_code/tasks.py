"""Task and Mixture: the one place where a data set's facts live. No TensorFlow here.

A task is a data set, a modality, a kind of label, a head, and its own training recipe; its name goes with its data
from the first component to the served signature.
"""

import dataclasses
import re

from model_code import modalities
from model_code.data import FORMATS, MODALITIES_OF, WITH_MANIFEST, Columns, Limits
from model_code.errors import ConfigError, unknown

# The fields of a Task that its examples depend on, whatever is trained on them. With the others among them, a changed
# number of steps would ingest all media anew.
DATA_FIELDS = ('name', 'modality', 'data', 'manifest', 'format', 'columns', 'multi_label', 'label_separator', 'classes',
               'label_groups', 'limits', 'max_rejected_share', 'max_missing_share', 'allow_leaks', 'min_class_examples',
               'eval_share')
# The fields that only decide whether a run stops or a model passes: training does not depend on them.
THRESHOLD_FIELDS = ('max_rejected_share', 'max_missing_share', 'allow_leaks', 'min_class_examples', 'floor', 'max_drop')

SCHEDULES = ('task_by_task', 'alternating', 'uniform', 'weighted', 'accumulated')
POOLINGS = ('token', 'gap')


@dataclasses.dataclass(frozen=True)
class Task:
    """One data set to learn.

    name: lower-case letters, digits and underscores; the prefix of this task's components and signatures.
    modality: image, audio or video.
    data: the folder of the media (an absolute path; any file system that Beam opens). '' is allowed for recipes that
      are only planned.
    manifest: one or several annotation files, their paths relative to `data`; () where folders or archives say it all:
      `<class>/<file>` or `<split>/<class>/<file>`.
    format: how the files and labels are found, a name of FORMATS; '' takes the manifest's ending, or folders.
    columns: the manifest's columns or keys, for csv and jsonl.
    multi_label: an example may have several labels, joined by `label_separator` in the manifest's labels column;
      sigmoid cross-entropy instead of softmax cross-entropy.
    classes: the label domain, any order. () takes it from the train split's labels (the folder names or manifest).
    num_classes: for recipes planned without their data; 0 means len(classes) or what the data has.
    num_train_examples: the same, for planning.
    steps: U_j of the paper, the optimiser steps of this task in its own single-task recipe.
    batch_size: examples a step, over all replicas.
    learning_rate_coefficient: multiplies the shared schedule at this task's steps.
    augmentations: names from the modality's row of modalities.MODALITIES, applied in order, in training only.
    label_smoothing: in [0, 1); not for multi-label tasks.
    zero_init_head: the head's output starts at zero (the paper's choice for video and audio).
    pooling: what the head reads: 'token', the class token, or 'gap', the mean of all tokens.
    head_hidden: widths of the head's hidden layers (ReLU); () is one dense output.
    stochastic_depth: in [0, 1); in training, block l of L is dropped for a sample with probability
      l / (L - 1) * stochastic_depth.
    label_groups: for several questions about one example, such as ('verb', 'noun'): each example has one label a group,
      written 'verb:cut', 'noun:onion'; a softmax for each group, all in one head. () is no groups.
    limits: how large a file may be; zeros take the modality's own limits.
    max_rejected_share: more rejected files than this share of all stops the run; files that are missing count apart.
    max_missing_share: the same for files that the annotations name and nobody has (a fifth of VGGSound is gone).
    allow_leaks: the same media in train and eval is only reported; else it stops the run.
    min_class_examples: a class with fewer train examples is reported; one without any always stops the run.
    eval_share: the share of examples hashed to eval where neither manifest nor folder names a split.
    floor: the least value of `primary_metric` that the gate accepts.
    max_drop: how far `primary_metric` may fall below the model being served.
    """
    name: str
    modality: str
    steps: int
    batch_size: int
    data: str = ''
    manifest: tuple[str, ...] = ()
    format: str = ''
    columns: Columns = Columns()
    multi_label: bool = False
    label_separator: str = '|'
    classes: tuple[str, ...] = ()
    num_classes: int = 0
    num_train_examples: int = 0
    learning_rate_coefficient: float = 1.0
    augmentations: tuple[str, ...] = ()
    mixup_alpha: float = 0.0
    label_smoothing: float = 0.0
    zero_init_head: bool = False
    pooling: str = 'token'
    head_hidden: tuple[int, ...] = ()
    stochastic_depth: float = 0.0
    label_groups: tuple[str, ...] = ()
    limits: Limits = Limits()
    max_rejected_share: float = 0.01
    max_missing_share: float = 0.01
    allow_leaks: bool = False
    min_class_examples: int = 1
    eval_share: float = 0.2
    floor: float = 0.0
    max_drop: float = 0.02

    def __post_init__(self):
        if not re.fullmatch(r'[a-z][a-z0-9_]*', self.name):
            raise ConfigError(f'Task name {self.name!r}: use lower-case letters, digits and underscores, a letter '
                              'first.')
        row = modalities.get_modality(self.modality)
        if isinstance(self.manifest, str):  # one is the usual case: a plain string will do
            object.__setattr__(self, 'manifest', (self.manifest,))
        if self.format not in FORMATS:
            raise unknown('format', self.format, [name for name in FORMATS if name])
        fitting = MODALITIES_OF.get(self.format, (self.modality,))
        if self.modality not in fitting:
            raise ConfigError(f'Task {self.name}: format {self.format!r} holds {" or ".join(fitting)}, not '
                              f'{self.modality}.')
        if bool(self.manifest) != (self.format in WITH_MANIFEST) and self.format:
            raise ConfigError(
                f'Task {self.name}: format {self.format!r} is read from annotation files; name them in `manifest`, '
                'relative to `data`.' if not self.manifest else
                f'Task {self.name}: format {self.format!r} takes no manifest; leave `manifest` out.')
        if self.columns.extra and not self.manifest and self.format not in ('tar', 'imagenet'):
            raise ConfigError(f'Task {self.name}: it has no manifest to take the extra columns '
                              f'{", ".join(self.columns.extra)} from.')
        if len(set(self.manifest)) != len(self.manifest):
            raise ConfigError(f'Task {self.name}: a manifest is named twice in {self.manifest}.')
        if not self.label_separator:
            raise ConfigError(f'Task {self.name}: label_separator is empty; give the text between two labels, "|" say.')
        for augmentation in self.augmentations:
            if augmentation not in row.augmentations:
                raise unknown(f'{self.modality} augmentation', augmentation, row.augmentations)
        for field in ('steps', 'batch_size'):
            if getattr(self, field) < 1:
                raise ConfigError(f'Task {self.name}: {field} is {getattr(self, field)}; it must be at least 1.')
        for field in ('max_rejected_share', 'max_missing_share', 'eval_share', 'floor'):
            if not 0 <= getattr(self, field) <= 1:
                raise ConfigError(f'Task {self.name}: {field} is {getattr(self, field)}; it must be from 0 to 1.')
        for field in ('label_smoothing', 'stochastic_depth'):
            if not 0 <= getattr(self, field) < 1:
                raise ConfigError(f'Task {self.name}: {field} is {getattr(self, field)}; it must be in [0, 1).')
        if self.mixup_alpha < 0 or self.mixup_alpha and self.modality != 'audio':
            raise ConfigError(f'Task {self.name}: mixup_alpha is {self.mixup_alpha} for {self.modality}; it must be 0 '
                              'or more, and 0 for anything but audio.')
        if self.pooling not in POOLINGS:
            raise unknown('pooling', self.pooling, POOLINGS)
        if any(width < 1 for width in self.head_hidden):
            raise ConfigError(f'Task {self.name}: head_hidden is {self.head_hidden}; each width must be at least 1.')
        self._check_label_groups()
        if len(set(self.classes)) != len(self.classes):
            raise ConfigError(f'Task {self.name}: a class is named twice in {self.classes}.')
        if self.classes and self.num_classes not in (0, len(self.classes)):
            raise ConfigError(f'Task {self.name}: num_classes is {self.num_classes}, but classes names '
                              f'{len(self.classes)}. Leave num_classes out.')

    def _check_label_groups(self):
        groups = self.label_groups
        if not groups:
            return
        if self.multi_label:
            raise ConfigError(f'Task {self.name}: it is multi_label and has label_groups. A group has one label an '
                              'example: leave one of the two out.')
        if len({*groups, 'joint'}) < max(3, 1 + len(groups)) or not all(g and ':' not in g for g in groups):
            raise ConfigError(f'Task {self.name}: label_groups is {groups}; it must be two or more different names '
                              "without a colon, and none of them 'joint', which is all together.")
        if self.classes:
            self.group_ids(self.classes)

    def group_ids(self, labels) -> tuple[tuple[int, ...], ...]:
        """For each label group, the places in `labels` (a vocabulary) of its classes; () without label groups.

        Raises ConfigError where a label is in none of the groups, or a group has no label.
        """
        prefixes = [label.split(':', 1)[0] if ':' in label else '' for label in labels]
        for label, prefix in zip(labels, prefixes if self.label_groups else ()):
            if prefix not in self.label_groups:
                raise ConfigError(f'Task {self.name}: the label {label!r} is in none of its label_groups '
                                  f'{self.label_groups}; it must be written {self.label_groups[0]}:... or another.')
        for group in self.label_groups:
            if group not in prefixes:
                raise ConfigError(f'Task {self.name}: no label starts with {group + ":"!r}; each of its label_groups '
                                  'needs at least one.')
        return tuple(tuple(i for i, prefix in enumerate(prefixes) if prefix == group) for group in self.label_groups)

    @property
    def multi_hot(self) -> bool:
        """Whether an example's transformed label is [classes] float32, 1 at each of its labels, rather than an id."""
        return self.multi_label or bool(self.label_groups)

    @property
    def primary_metric(self) -> str:
        """The metric that floor and max_drop speak of, by its name in the evaluation's results."""
        if self.label_groups:
            return 'joint_accuracy'
        return 'mean_average_precision' if self.multi_label else 'accuracy'


@dataclasses.dataclass(frozen=True)
class Mixture:
    """Tasks and the schedule that picks one at each step (polyvit.md, co-training schedules)."""
    tasks: tuple[Task, ...]
    schedule: str = 'weighted'
    seed: int = 0

    def __post_init__(self):
        if not self.tasks:
            raise ConfigError('The mixture has no task; it needs at least one.')
        names = [t.name for t in self.tasks]
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(f'Two tasks are named {name!r}. Names go with the data to the served signatures: '
                                  'give each task its own.')
        if self.schedule not in SCHEDULES:
            raise unknown('schedule', self.schedule, SCHEDULES)

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
        return sum(t.steps for t in self.tasks)

"""The table of label kinds: what an example's labels are, and how a task of the kind is trained, judged and served.

A new kind is one module here and one row of `LABEL_KINDS`.

The row holds properties. Configs, plans, listings, schemas and the gate need nothing else, so this module imports no
TensorFlow. To read and check labels, `several` and `grouped` are enough (model_code/label_groups.py).

The module of a kind has the functions of `Functions`, and is imported when one of them is first used. Cache keys depend
on single functions (pipeline/fingerprints.py): a changed check of the served answer trains no model again. Code that
several kinds share is in tensors.py, frequencies.py and answers.py.
"""

import dataclasses
import importlib
import typing

from model_code.errors import unknown


class Functions(typing.Protocol):
    """The functions of a kind's module.

    N: the examples of a batch. classes: the number of classes, or in `check_answer` their names, in vocabulary order.
    groups: the ids of each label group's classes (Task.group_ids); () for a kind that is not `grouped`.
    """

    def transform(self, places, classes: int):
        """The label that training reads: [N] int64, or [N, classes] float32 if the kind is `multi_hot`.

        places: [N, k] int64, the places of each example's labels in the vocabulary; -1 for no label or an unknown one.
        """
        ...

    def loss(self, logits, targets, groups, label_smoothing: float, weights=None):
        """Each example's loss [N] float32. logits, targets: [N, classes] float32; targets may be mixed (mixup).

        weights: what `class_weights` gives. They are linear in the targets: a mixed example has the mixed loss.
        """
        ...

    def class_weights(self, counts, examples: int, groups):
        """Weights for `loss` by inverse frequency, float32. Their mean over the train examples is 1.

        counts: [classes] int64, how many train examples have each class. examples: how many there are.
        """
        ...

    def scores(self, logits, groups):
        """[N, classes] float32 in [0, 1], in vocabulary order. logits: [N, classes] float32."""
        ...

    def best(self, scores, groups) -> tuple:
        """The served answer: ids [N, k] of classes, and their scores [N, k] float32. scores: [N, classes] float32."""
        ...

    def eval_label(self, label, groups):
        """What the evaluation compares with the scores, [N] int64 or [N, classes] float32. label: from `transform`."""
        ...

    def quality(self, labels, scores, groups) -> float:
        """The primary metric, for evaluation during training.

        labels: numpy, [N] int64 or [N, classes] float32, what `transform` gives. scores: numpy, [N, classes] float32.
        """
        ...

    def evaluation_metrics(self, label_groups: tuple[str, ...], classes: int) -> tuple:
        """The `metrics.Metric`s of a trained model. The row's primary_metric is one of them."""
        ...

    def metrics_of_outcomes(self, label_groups: tuple[str, ...], classes: int) -> tuple:
        """The `outcome_metrics.OutcomeMetric`s of stored outcomes. The row's primary_metric is one of them."""
        ...

    def details(self, outcomes, classes: tuple[str, ...], label_groups: tuple[str, ...]) -> dict:
        """What is behind the metrics: see evaluation_details. outcomes: `outcomes.Outcomes`. classes: their names."""
        ...

    def questions(self, labels, scores) -> list:
        """What the labels of examples answer, as `suspect_labels.Questions`: together those that have as many options.

        labels: numpy, [N] int64 or [N, classes] float32, of `eval_label`. scores: numpy, [N, classes] float32. Options
        are numbered by the classes' ids; from `classes` on, option `classes` + i is that class i is not there.
        """
        ...

    def check_answer(self, labels: list[str], top_scores: list[float], scores: list[float], classes: tuple[str, ...],
                     groups) -> list[str]:
        """What is wrong with the served answer for one example, in sentences.

        labels, top_scores: the answer, which comes from `best`. scores: the scores of all classes, in vocabulary order.
        classes: () if they are not known; then groups is () too.
        """
        ...


@dataclasses.dataclass(frozen=True)
class LabelKind:
    """A row of the table."""
    name: str
    """The value of `Data.label_kind`."""
    module: str
    """The dotted name of the module with the kind's `Functions`."""
    primary_metric: str
    """The metric that a task's floor and max_drop are about, by its name in the results of the evaluation."""
    least_classes: int
    """The least number of classes: with fewer there is nothing to learn."""
    multi_hot: bool
    """Whether a transformed label is [classes] float32 with 1 at each of the example's labels, rather than an id."""
    several: bool = False
    """Whether an example may have several labels. A manifest has them in one column, with a separator in between."""
    of_words: bool = False
    """Whether an example's labels are the words of a text, a caption: those that are frequent in the train split."""
    grouped: bool = False
    """Whether an example has one label in each of `Data.label_groups`. A manifest has one column per group."""

    @property
    def functions(self) -> Functions:
        return typing.cast(Functions, importlib.import_module(self.module))


LABEL_KINDS = {kind.name: kind for kind in (
    LabelKind('single', 'model_code.label_kinds.single', 'accuracy', least_classes=2, multi_hot=False),
    LabelKind('multi', 'model_code.label_kinds.multi', 'mean_average_precision', least_classes=1, multi_hot=True,
              several=True),
    LabelKind('words', 'model_code.label_kinds.multi', 'mean_average_precision', least_classes=1, multi_hot=True,
              several=True, of_words=True),
    LabelKind('groups', 'model_code.label_kinds.groups', 'joint_accuracy', least_classes=2, multi_hot=True,
              grouped=True),
)}


def get_label_kind(name: str, where: str = '') -> LabelKind:
    """The row named `name`. Raises ConfigError, which lists the valid names. where: the beginning of its message."""
    if name not in LABEL_KINDS:
        raise unknown('label kind', name, LABEL_KINDS, where)
    return LABEL_KINDS[name]

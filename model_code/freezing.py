"""What is trained if TrainingConfig.train_only names some of the tasks, and how. No TensorFlow here."""

from collections.abc import Collection, Iterable

from model_code.tasks import Task

KEPT_BYTES = 512 * 2 ** 20  # the most memory for what a frozen encoder makes of a task's examples


def is_frozen(task: Task, tasks: Iterable[Task], train_only: Collection[str]) -> bool:
    """Whether steps of a task train its head alone, because its modality has tasks that are not trained.

    Captions are of their modality. Of a modality without such tasks, the tokenizer and its own blocks are trained too.
    tasks: all of the mixture.
    """
    return bool(train_only) and any(task.modality in t.modalities and t.name not in train_only for t in tasks)


def is_encoded_once(task: Task, examples: int, width: int) -> bool:
    """Whether a frozen encoder's representations of so many examples, of this width, are computed once and kept.

    They are if nothing is drawn at random before the head, and if they fit in memory.
    """
    drawn = task.recipe.augmentations or task.recipe.mixup_alpha
    return not drawn and 4 * examples * width <= KEPT_BYTES

"""The names of the exported model's signatures. docs/serving.md says what each takes and gives."""

from collections.abc import Iterable, Iterator

DEFAULT = 'serving_default'  # the first task's
MODEL_CARD = 'model_card'
_SCORES = '_scores'


def scores(task: str) -> str:
    """Of all scores. That of the best labels is named as the task itself."""
    return f'{task}{_SCORES}'


def task_of_scores(signature: str) -> str:
    """The task of a signature of all scores; '' if it is another one."""
    return signature.removesuffix(_SCORES) if signature.endswith(_SCORES) else ''


def safe(task: str) -> str:
    """Of the best labels, with an error in place of those of an item that is bad."""
    return f'{task}_safe'


def examples(task: str) -> str:
    """Of all scores, from serialized tf.Examples."""
    return f'{task}_examples'


def label(task: str) -> str:
    """Of the label of serialized tf.Examples."""
    return f'{task}_label'


def embedding(modality: str) -> str:
    return f'{modality}_embedding'


def all_tasks(modality: str) -> str:
    """Of all scores of every task of a modality. Its outputs are named as the signatures of one task's scores."""
    return f'{modality}_all'


def names(tasks: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """(signature, whose it is) of all that a model of these tasks has. tasks: (name, modality) of each.

    Where a name comes twice, one signature would overwrite another.
    """
    tasks = tuple(tasks)
    for task, _ in tasks:
        for name in (task, scores(task), safe(task), examples(task), label(task)):
            yield name, f'task {task!r}'
    for modality in dict.fromkeys(modality for _, modality in tasks):
        for name in (embedding(modality), all_tasks(modality)):
            yield name, f'all tasks of modality {modality}'
    yield MODEL_CARD, 'the model'
    yield DEFAULT, 'the model'

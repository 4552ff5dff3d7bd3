"""How many steps train each task in each schedule (docs/model.md, "Schedules"). Neither TensorFlow nor numpy.

Every function returns one number per task, in the order of the mixture. Their sum is the mixture's total_steps, but for
'accumulated', of which each step trains all tasks.
"""

from collections.abc import Sequence

from model_code import words
from model_code.errors import ConfigError
from model_code.tasks import BY_SIZE, Mixture


def task_steps(mixture: Mixture, sizes: dict[str, int] | None = None) -> list[int]:
    """How many steps train each task. With the schedule 'uniform' this is random, and it is the mean.

    sizes: task name -> its train examples, which only the schedules in BY_SIZE need. Raises ConfigError if one of these
    does not know them, or would leave a task without a step, and if 'unimax' cannot give all steps away.
    """
    total, count = mixture.total_steps, len(mixture.tasks)
    if mixture.schedule in BY_SIZE:
        known = _sizes(mixture, sizes or {})
        steps = _by_temperature(mixture, known) if mixture.schedule == 'temperature' else _by_unimax(mixture, known)
        _check_each(mixture, steps)
        return steps
    if mixture.schedule == 'accumulated':
        return [total] * count
    if mixture.schedule == 'alternating':
        each, left = divmod(total, count)
        return [each + 1] * left + [each] * (count - left)
    if mixture.schedule == 'uniform':
        return [round(total / count)] * count
    return [task.recipe.steps for task in mixture.tasks]


def first_steps(mixture: Mixture) -> list[int]:
    """How many steps of each task come in the first stage of 'staged', which trains only `first_tasks`."""
    return [mixture.first_steps(task.name) for task in mixture.tasks]


def describe(mixture: Mixture) -> str:
    """The schedule in words, with its settings."""
    if mixture.schedule == 'temperature':
        return f'by temperature {mixture.temperature:g}'
    if mixture.schedule == 'unimax':
        return f'unimax with at most {mixture.max_epochs:g} epochs of a task'
    if mixture.schedule == 'staged':
        return f'staged, the first {sum(first_steps(mixture)):,} with {" and ".join(mixture.first_tasks)} alone'
    return mixture.schedule.replace('_', ' ')


def _sizes(mixture: Mixture, sizes: dict[str, int]) -> list[int]:
    for task in mixture.tasks:
        if not sizes.get(task.name):
            raise ConfigError(f'The schedule {mixture.schedule!r} goes by the train examples of each task, and how '
                              f'many {task.name} has is not known here. Set num_train_examples of its data, or give '
                              'the folder of its media.')
    return [sizes[task.name] for task in mixture.tasks]


def _by_temperature(mixture: Mixture, sizes: Sequence[int]) -> list[int]:
    """All steps in proportion to sizes ** (1 / temperature), by largest remainders (of equal ones the earliest)."""
    largest, total = max(sizes), mixture.total_steps
    weights = [(size / largest) ** (1 / mixture.temperature) for size in sizes]
    exact = [total * weight / sum(weights) for weight in weights]
    steps = [int(number) for number in exact]
    by_remainder = sorted(range(len(steps)), key=lambda place: steps[place] - exact[place])
    for place in by_remainder[:total - sum(steps)]:
        steps[place] += 1
    return steps


def _by_unimax(mixture: Mixture, sizes: Sequence[int]) -> list[int]:
    """The steps as even as possible, with at most max_epochs epochs of a task (Chung et al. 2023, algorithm 1).

    From the task whose cap is the lowest on, each gets an even share of what is left, or its cap if that is less. What
    does not divide goes to those with higher caps.
    """
    caps = [int(mixture.max_epochs * size / task.recipe.batch_size)
            for task, size in zip(mixture.tasks, sizes, strict=True)]
    left, steps = mixture.total_steps, [0] * len(caps)
    for done, place in enumerate(sorted(range(len(caps)), key=caps.__getitem__)):
        steps[place] = min(caps[place], left // (len(caps) - done))
        left -= steps[place]
    if left:
        raise ConfigError(f'max_epochs is {mixture.max_epochs:g}, so all tasks together may have '
                          f'{words.count(sum(caps), "step")}, and their recipes have {mixture.total_steps:,}. Take a '
                          'larger max_epochs or fewer steps.')
    return steps


def _check_each(mixture: Mixture, steps: Sequence[int]):
    for task, count in zip(mixture.tasks, steps, strict=True):
        if not count:
            raise ConfigError(f'The schedule {mixture.schedule!r} would leave task {task.name} without a step. Take a '
                              f'larger {"temperature" if mixture.schedule == "temperature" else "max_epochs"}, or '
                              'more steps.')

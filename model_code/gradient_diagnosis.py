"""How the gradients of the tasks agree on the encoder's shared blocks (docs/training.md, "Gradients of the tasks").

All tasks are measured at the same weights, each on batches of a stream of its own, so a training with this has the
weights of one without it, bit for bit.
"""

import functools
import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from model_code import training
from model_code.polyvit import PolyViT
from model_code.tasks import Task

MEMORY = 2 << 30  # bytes of gradients that are kept at a time, of all tasks together
HISTORY_NUMBERS = 200_000  # in history.json, at most: about 1.5 MB


class GradientDiagnosis:
    """A function of the steps done -> a measurement, as `record` describes it; None for a worker that is not the chief.

    The gradients of all tasks are kept for as many blocks as fit into MEMORY, and at least for one. For the next blocks
    they are computed again. Nothing is projected: dot products are exact but for the rounding of float32.

    Args:
      strategy, model, steps: of the training. steps is its TrainSteps.
      tasks: two or more.
      datasets: as those of loop.train, but other streams of the same examples.
      done: how many measurements were made before.
      chief: whether this worker is. All workers compute the gradients.
    """

    def __init__(self, strategy: tf.distribute.Strategy, model: PolyViT, steps: training.TrainSteps,
                 tasks: Sequence[Task], datasets: Mapping[str, Callable], done: int, chief: bool = True):
        self._strategy, self._tasks, self._chief = strategy, tasks, chief
        self._steps, self._functions = steps, {}
        self._batches = {task.name: iter(strategy.distribute_datasets_from_function(
            functools.partial(datasets[task.name], done))) for task in tasks}
        blocks = [[math.prod(v.shape) for v in block.trainable_variables] for block in model.encoder.blocks]
        ends = list(itertools.accumulate(map(len, blocks)))
        self._places = [slice(end - len(block), end) for end, block in zip(ends, blocks, strict=True)]
        self._passes = passes([4 * 2 * len(tasks) * sum(block) for block in blocks], MEMORY)
        self._first_block = model.config.modality_layers

    def __call__(self, done: int) -> dict | None:
        begin = time.monotonic()
        batches = {name: next(iterator) for name, iterator in self._batches.items()}
        products, owners = [], []
        for blocks in self._passes:
            rows, owners = [], []
            for task in self._tasks:
                for half in self._gradients(task, batches[task.name], tf.constant(done)):
                    rows.append([[self._local(g) for g in half[self._places[block]]] for block in blocks])
                    owners.append(task.name)
            if self._chief:
                products += [dot_products([row[place] for row in rows]) for place in range(len(blocks))]
        if not self._chief:
            return None
        return record(done - 1, self._first_block, owners, np.array(products), time.monotonic() - begin)

    def _gradients(self, task: Task, batch, number: tf.Tensor) -> list[list]:
        if task.name not in self._functions:
            # Calling the tf.function itself would warn, with many tasks, that too many are traced.
            function = training.traced(self._steps.shared_gradients(task))
            self._functions[task.name] = function.get_concrete_function(batch, number)
        return self._functions[task.name](batch, number)

    def _local(self, value) -> np.ndarray:
        """The value of the first replica on this machine: all have the same."""
        return self._strategy.experimental_local_results(value)[0].numpy()


def passes(sizes: Sequence[int], memory: int) -> list[list[int]]:
    """The numbers of the blocks in groups, in order. The bytes of a group are at most `memory`, or it has one block."""
    groups, room = [], 0
    for number, size in enumerate(sizes):
        if not groups or size > room:
            groups.append([])
            room = memory
        groups[-1].append(number)
        room -= size
    return groups


def dot_products(rows: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    """Gradients [row][variable] -> [rows, rows] float64: the dot product of each two rows, over all variables."""
    total = np.zeros((len(rows),) * 2)
    for of_variable in zip(*rows, strict=True):
        stacked = np.stack([gradient.ravel() for gradient in of_variable])
        total += stacked @ stacked.T
    return total


def record(step: int, first_block: int, owners: Sequence[str], products: np.ndarray, seconds: float) -> dict:
    """A measurement, as history.json has it.

    owners: the task of each row; a task has one row or two, one after the other, which are halves of its batch.
    products: [blocks, rows, rows].

    Returns {'step': the last step before it, 'seconds': what it took, 'first_block': the number of the first shared
    block, from 0, 'tasks': [{'task', 'norm', 'norms': [of each block], 'halves': the cosine of the gradients of the two
    halves of the batch}], 'pairs': [{'tasks': [a, b], 'cosine', 'cosines': [of each block]}]}. Norms and cosines are of
    the gradient of the mean loss of the whole batch; those without the name of a block are over all shared blocks.
    Cosines of gradients that are zero, or not finite, are None, and so are such norms and missing halves.
    """
    names = list(dict.fromkeys(owners))
    first = [owners.index(name) for name in names]
    products = np.concatenate([products.sum(axis=0, keepdims=True), products])
    # A batch's gradient is the sum of those of its halves.
    whole = np.add.reduceat(np.add.reduceat(products, first, axis=1), first, axis=2)
    norms, cosines = np.sqrt(np.diagonal(whole, axis1=1, axis2=2)), _cosines(whole)
    halves = _cosines(products[0])
    tasks, pairs = [], []
    for place, name in enumerate(names):
        row = first[place]
        tasks.append({'task': name, 'norm': _rounded(norms[0, place]), 'norms': [*map(_rounded, norms[1:, place])],
                      'halves': _rounded(halves[row, row + 1]) if owners.count(name) > 1 else None})
    for a, b in itertools.combinations(range(len(names)), 2):
        pairs.append({'tasks': [names[a], names[b]], 'cosine': _rounded(cosines[0, a, b]),
                      'cosines': [*map(_rounded, cosines[1:, a, b])]})
    return {'step': step, 'seconds': round(seconds, 3), 'first_block': first_block, 'tasks': tasks, 'pairs': pairs}


def _cosines(products: np.ndarray) -> np.ndarray:
    """[..., n, n] dot products -> cosines; not a number where a vector is zero."""
    norms = np.sqrt(np.diagonal(products, axis1=-2, axis2=-1))
    with np.errstate(divide='ignore', invalid='ignore'):
        return products / (norms[..., :, np.newaxis] * norms[..., np.newaxis, :])


def _rounded(value: float) -> float | None:
    return float(f'{value:.4g}') if math.isfinite(value) else None


def scalars(measured: dict) -> dict[str, float]:
    """What TensorBoard shows of a record: the numbers over all shared blocks."""
    values = {f'gradient_cosine/{"/".join(pair["tasks"])}': pair['cosine'] for pair in measured['pairs']}
    for of in measured['tasks']:
        values |= {f'shared_gradient_norm/{of["task"]}': of['norm'],
                   f'gradient_cosine_of_halves/{of["task"]}': of['halves']}
    return {name: value for name, value in values.items() if value is not None}


def kept_every(measurements: int, tasks: int, blocks: int) -> int:
    """Every how many of a training's measurements one is kept in its history, so that this does not grow too large."""
    numbers = (blocks + 2) * (tasks + tasks * (tasks - 1) // 2)
    return max(1, math.ceil(measurements * numbers / HISTORY_NUMBERS))

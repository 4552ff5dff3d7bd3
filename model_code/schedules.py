"""Which task a step trains, and at what learning rate (polyvit.md, co-training schedules). numpy only."""

import math

import numpy as np

from model_code.settings import TrainingConfig
from model_code.tasks import Mixture


def task_sequence(mixture: Mixture) -> np.ndarray:
    """[total_steps] int32, the index of each step's task; the same for the same mixture, schedule and seed.

    'weighted' has each task exactly its number of steps, shuffled; 'uniform' draws each with probability 1/n.
    An 'accumulated' step trains every task, so its sequence is one index a step that nobody reads.
    """
    steps = [t.steps for t in mixture.tasks]
    total, n = sum(steps), len(steps)
    rng = np.random.default_rng(mixture.seed)
    in_order = np.repeat(np.arange(n, dtype=np.int32), steps)
    if mixture.schedule == 'task_by_task':
        return in_order
    if mixture.schedule == 'alternating':
        return (np.arange(total) % n).astype(np.int32)
    if mixture.schedule == 'uniform':
        return rng.integers(0, n, total, dtype=np.int32)
    if mixture.schedule == 'weighted':
        return rng.permutation(in_order)
    return np.zeros(total, np.int32)


def learning_rate(config: TrainingConfig, total_steps: int, step: int) -> float:
    """Linear warm-up over config.warmup_steps to config.learning_rate, then cosine to 0 at total_steps.

    step counts from 0; the task's coefficient multiplies the result.
    """
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    done = (step - config.warmup_steps) / max(1, total_steps - config.warmup_steps)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * done))

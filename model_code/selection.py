"""When a training is evaluated, which of its weights are the best, and when it stops early. No TensorFlow here."""

import math
import time
from collections.abc import Callable

from model_code.settings import TrainingConfig

SHARE = 0.05  # of the training time, the most that evaluations may take if eval_every is -1
FIRST_SECONDS = 1.0  # what the first evaluation is taken to cost, before any was measured
MOST = 100  # evaluations in a training if eval_every is -1: a curve needs no more


class Evaluations:
    """The evaluations of one training, up to the present step.

    config: the recipe. primary: the names of the tasks' primary metrics among the values of an evaluation. total: the
    steps of the whole training. first: the step that it starts with here. records: the evaluations before that, as
    below; new ones are appended to this list.

    A record: {'step': the last step before it, 'values': {name: value}, 'mean': of the primary metrics, or None}.
    """

    def __init__(self, config: TrainingConfig, primary: list[str], total: int, first: int, records: list[dict],
                 clock: Callable[[], float] = time.monotonic):
        self._config, self._primary, self._total, self._last = config, primary, total, first
        self._clock, self._start = clock, clock()
        self._times, self._expected = [], FIRST_SECONDS
        self.records = records

    def due(self, done: int, seconds_left: float | None) -> bool:
        """Whether to evaluate after `done` steps. seconds_left: of the training, None if that is not known yet.

        Where an evaluation decides something, this depends on `done` alone, so that a resumed training decides alike.
        """
        every = self._config.eval_every
        if done == 0 or self.records and self.records[-1]['step'] == done - 1:
            return False
        if every >= 0:
            last = done == self._total and (self._config.keep_best or self._config.patience > 0)
            return every > 0 and (done % every == 0 or last)
        if seconds_left is None:
            return False
        # As many evaluations as the share allows, evenly spread over the steps that are left.
        allowed = SHARE * (self._clock() - self._start + seconds_left) - sum(self._times)
        count = int(allowed / max(self._expected, 1e-6))
        return count > 0 and done - self._last >= max(self._total / MOST, (self._total - self._last) / count)

    def add(self, done: int, values: dict[str, float], seconds: float) -> bool:
        """Takes the values of an evaluation after `done` steps. Returns whether it is the best so far."""
        metrics = [values[name] for name in self._primary if name in values]
        mean = sum(metrics) / len(metrics) if metrics else None
        self.records.append({'step': done - 1, 'values': values, 'mean': mean})
        # The first also starts operations and decodes what is kept for the next; the mean of those is not known yet.
        self._times.append(seconds)
        later = self._times[1:]
        self._last, self._expected = done, sum(later) / len(later) if later else seconds / 2
        return self.best is self.records[-1]

    @property
    def best_first(self) -> list[dict]:
        """The records with a mean, best first; of equal ones the earliest."""
        finite = [record for record in self.records if record['mean'] is not None and math.isfinite(record['mean'])]
        return sorted(finite, key=lambda record: -record['mean'])

    @property
    def best(self) -> dict | None:
        """The first of `best_first`."""
        return next(iter(self.best_first), None)

    @property
    def stop(self) -> bool:
        """Whether the last `patience` evaluations were none better than one before them."""
        if not self._config.patience or self.best is None:
            return False
        return sum(record['step'] > self.best['step'] for record in self.records) >= self._config.patience

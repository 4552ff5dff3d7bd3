"""Probe, the part of a task that says what is measured of the frozen representation. No TensorFlow here.

A module of its own, because TaskEvaluator reads it and no other part of a task.
"""

import dataclasses

from model_code.errors import ConfigError
from model_code.fields import check_fields, check_least


@dataclasses.dataclass(frozen=True)
class Probe:
    """What is measured of the frozen representation, beside the head: how well other classifiers do with the embeddings
    of the task's examples (docs/operations.md, "The representation alone"). It decides nothing."""
    linear: bool = False
    """Whether a linear probe is trained: a logistic regression."""
    shots: tuple[int, ...] = ()
    """Few-shot classification from so many train examples of each class, such as (5, 10)."""
    seeds: int = 5
    """How often the examples of a few shots are drawn anew."""
    max_examples: int = 10_000
    """The most examples of each split that are embedded and held in memory. Of more they are a sample, in which rare
    classes are kept."""

    def check(self, where: str):
        """Raises ConfigError if a field is wrong. where: such as 'Task digits: '."""
        where = f'{where}probe: '
        check_fields(self, where)
        check_least(self, where, seeds=1, max_examples=2)
        if any(count < 1 for count in self.shots) or len(set(self.shots)) != len(self.shots):
            raise ConfigError(f'{where}shots is {self.shots}; each must be at least 1, and be there once.')

    @property
    def wanted(self) -> bool:
        """Whether anything is to be measured."""
        return self.linear or bool(self.shots)

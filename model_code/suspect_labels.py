"""Labels that a trained model contradicts with confidence: they may be wrong.

The rule is that of confident learning (Northcutt, Jiang and Chuang 2021, "Confident Learning: Estimating Uncertainty in
Dataset Labels", sections 3.1 and 3.2). An option's threshold is the mean probability that the model gives it where it
is the label, but not above SURE: of a model that is nearly always sure, half of the examples miss the mean. The model
is confident of the most probable option that reaches its threshold. A label is suspect if the model is confident of
another one. Suspects are ranked by the normalised margin, p(label) - p(confident option).

A weak model would suspect what it has not learned. So it is heard only on options that it is right about: of the
examples of which it is confidently of that option, MIN_AGREEMENT must have it as their label.

A label answers questions with several options each (label_kinds.Functions.questions): which of the classes, or of those
of a group; or of each class, whether it is there. The model must not have been trained on the examples. numpy only.
"""

import dataclasses
import typing

import numpy as np

from model_code import metrics

MIN_AGREEMENT = 0.8
SURE = 0.95
_PRIOR = 5.0  # how many examples MIN_AGREEMENT itself counts for, where there are few


class Questions(typing.NamedTuple):
    """Q questions about an example, with k options each.

    options: [Q, k] int, the numbers of the options, by which thresholds are kept. probabilities: [Q, k] float. given:
    [Q] int, the place of the label among the options; -1 if it is none of them.
    """
    options: np.ndarray
    probabilities: np.ndarray
    given: np.ndarray

    def given_options(self) -> tuple[np.ndarray, np.ndarray]:
        """The options that are labels, and their probabilities, of the questions whose label is known."""
        known = np.flatnonzero(self.given >= 0)
        places = self.given[known]
        return self.options[known, places], self.probabilities[known, places]


def which_class(label: int, scores: np.ndarray) -> Questions:
    """One question: which of the classes? label: an id, -1 if it is unknown. scores: [classes]."""
    return Questions(np.arange(len(scores))[np.newaxis], scores[np.newaxis], np.array([label]))


def is_each_there(label: np.ndarray, scores: np.ndarray) -> Questions:
    """A question per class: is it there? label, scores: [classes]; a class with a label above 0 is there.

    From `classes` on, the options are that a class is not there.
    """
    ids = np.arange(len(scores))
    return Questions(np.stack([ids, ids + len(ids)], axis=1), np.stack([scores, 1 - scores], axis=1),
                     np.where(label > 0, 0, 1))


def which_of_each_group(label: np.ndarray, scores: np.ndarray) -> list[Questions]:
    """A question per label group: which of its classes? label: [classes] as in metrics, with the groups' numbers."""
    asked = []
    for group in range(1, 1 + int(np.abs(label).max())):
        given, probabilities = metrics.group_label(label, scores, group)
        asked.append(Questions(np.flatnonzero(np.abs(label) == group)[np.newaxis], probabilities[np.newaxis],
                               np.array([given])))
    return asked


@dataclasses.dataclass
class Shares:
    """For each option a sum and a count: of probabilities, or of agreement."""
    sums: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, options: int) -> 'Shares':
        return cls(np.zeros(options), np.zeros(options))

    def add(self, options: np.ndarray, values: np.ndarray):
        np.add.at(self.sums, options, values)
        np.add.at(self.counts, options, 1)

    def merge(self, other: 'Shares') -> 'Shares':
        return Shares(self.sums + other.sums, self.counts + other.counts)


def thresholds(self_confidence: Shares) -> np.ndarray:
    """[options]: the mean probability of each option where it is the label, at most SURE; inf if it never is."""
    counts = self_confidence.counts
    return np.where(counts > 0, np.minimum(self_confidence.sums / np.maximum(counts, 1), SURE), np.inf)


def trusted(agreement: Shares) -> np.ndarray:
    """[options] bool: whether the model is right often enough where it is confident of the option."""
    return agreement.sums + _PRIOR * MIN_AGREEMENT >= MIN_AGREEMENT * (agreement.counts + _PRIOR)


def confident(questions: Questions, least: np.ndarray) -> np.ndarray:
    """[Q] int: the place of the option that the model is confident of; -1 if there is none. least: the thresholds."""
    reached = np.where(questions.probabilities >= least[questions.options], questions.probabilities, -1.0)
    return np.where(reached.max(axis=1) >= 0, reached.argmax(axis=1), -1)


def agreement(questions: Questions, least: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(the options of which the model is confident, whether each is the label), of the questions with a known label."""
    places = confident(questions, least)
    asked = np.flatnonzero((places >= 0) & (questions.given >= 0))
    return questions.options[asked, places[asked]], places[asked] == questions.given[asked]


class Suspect(typing.NamedTuple):
    """A question whose label is suspect. margin: in [-1, 0), the lower the more suspect. label, other: options."""
    margin: float
    label: int
    other: int
    label_probability: float
    other_probability: float


def suspect(questions: Questions, least: np.ndarray, trust: np.ndarray) -> Suspect | None:
    """The most suspect label of some questions; None if none is. least, trust: `thresholds` and `trusted`."""
    found = []
    for number, place in enumerate(confident(questions, least)):
        given = questions.given[number]
        if place < 0 or given < 0 or place == given or not trust[questions.options[number, place]]:
            continue
        label, other = questions.probabilities[number, [given, place]]
        if other > label:
            options = questions.options[number]
            found.append(Suspect(float(label - other), int(options[given]), int(options[place]), float(label),
                                 float(other)))
    return min(found, default=None)

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
from collections.abc import Callable, Iterator

import numpy as np

from model_code import outcome_metrics

MIN_AGREEMENT = 0.8
SURE = 0.95
_PRIOR = 5.0  # how many examples MIN_AGREEMENT itself counts for, where there are few
_BLOCK = 2 ** 18  # scores that are looked at together


class Questions(typing.NamedTuple):
    """Q questions about examples, with k options each.

    examples: [Q] int, the numbers of the examples that they are about. options: [Q, k] int, the numbers of the options,
    by which thresholds are kept. probabilities: [Q, k] float. given: [Q] int, the place of the label among the options;
    -1 if it is none of them.
    """
    examples: np.ndarray
    options: np.ndarray
    probabilities: np.ndarray
    given: np.ndarray

    def given_options(self) -> tuple[np.ndarray, np.ndarray]:
        """The options that are labels, and their probabilities, of the questions whose label is known."""
        known = np.flatnonzero(self.given >= 0)
        places = self.given[known]
        return self.options[known, places], self.probabilities[known, places]


def which_class(labels: np.ndarray, scores: np.ndarray) -> Questions:
    """One question per example: which of the classes? labels: [N] ids, -1 if unknown. scores: [N, classes]."""
    return Questions(np.arange(len(labels)), np.broadcast_to(np.arange(scores.shape[1]), scores.shape), scores, labels)


def is_each_there(labels: np.ndarray, scores: np.ndarray) -> Questions:
    """A question per example and class: is it there? labels, scores: [N, classes]; one with a label above 0 is there.

    From `classes` on, the options are that a class is not there.
    """
    n, classes = scores.shape
    ids = np.tile(np.arange(classes), n)
    return Questions(np.repeat(np.arange(n), classes), np.stack([ids, ids + classes], axis=1),
                     np.stack([scores.ravel(), 1 - scores.ravel()], axis=1), np.where(labels.ravel() > 0, 0, 1))


def which_of_each_group(labels: np.ndarray, scores: np.ndarray) -> list[Questions]:
    """A question per example and label group: which of its classes? labels, scores: as in outcome_metrics."""
    asked = []
    for group in range(1, 1 + int(np.abs(labels[:1]).max(initial=0))):
        given, probabilities = outcome_metrics.group_labels(labels, scores, group)
        ids = np.flatnonzero(np.abs(labels[0]) == group)
        asked.append(Questions(np.arange(len(labels)), np.broadcast_to(ids, probabilities.shape), probabilities, given))
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
        self.sums += np.bincount(options, values, len(self.sums))
        self.counts += np.bincount(options, minlength=len(self.counts))


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


def suspects(questions: Questions, least: np.ndarray, trust: np.ndarray) -> dict[int, Suspect]:
    """Example -> its most suspect label, of those that have one. least, trust: `thresholds` and `trusted`."""
    places = confident(questions, least)
    rows = np.flatnonzero((places >= 0) & (questions.given >= 0) & (places != questions.given))
    rows = rows[trust[questions.options[rows, places[rows]]]]
    label, other = (questions.probabilities[rows, of[rows]] for of in (questions.given, places))
    rows, label, other = (values[other > label] for values in (rows, label, other))
    examples, margins = questions.examples[rows], label - other
    labels, others = (questions.options[rows, of[rows]] for of in (questions.given, places))
    order = np.lexsort((others, labels, margins, examples))
    first = order[np.unique(examples[order], return_index=True)[1]]
    return {int(examples[i]): Suspect(float(margins[i]), int(labels[i]), int(others[i]), float(label[i]),
                                      float(other[i])) for i in first}


def find(ask: Callable[[np.ndarray, np.ndarray], list[Questions]], labels: np.ndarray, scores: np.ndarray
         ) -> tuple[dict[int, Suspect], np.ndarray]:
    """Example -> its most suspect label, and which options are trusted, [2 x classes] bool.

    Goes through the examples three times, for thresholds, trust and suspects: no questions are kept. ask: the function
    `questions` of a label kind. labels: [N] or [N, classes], as it takes them. scores: [N, classes].
    """
    step = max(1, _BLOCK // max(1, scores.shape[1]))

    def asked() -> Iterator[tuple[int, Questions]]:
        for begin in range(0, len(scores), step):
            for questions in ask(labels[begin:begin + step], scores[begin:begin + step]):
                yield begin, questions

    self_confidence, agreements = Shares.of(2 * scores.shape[1]), Shares.of(2 * scores.shape[1])
    for _, questions in asked():
        self_confidence.add(*questions.given_options())
    least = thresholds(self_confidence)
    for _, questions in asked():
        agreements.add(*agreement(questions, least))
    trust = trusted(agreements)
    found: dict[int, Suspect] = {}
    for begin, questions in asked():
        for number, suspect in suspects(questions, least, trust).items():
            found[begin + number] = min(suspect, found.get(begin + number, suspect))
    return found, trust

"""How good a frozen representation is: a linear probe, and few-shot classification. numpy and scikit-learn.

A linear probe is a logistic regression of the labels on the embeddings: one softmax, one in each label group, or one
against the rest for each of several labels. Few-shot classification is that of the ViT paper (Dosovitskiy et al., ICLR
2021, section 4.1): least squares with an L2 penalty, from the embeddings of k examples of each class to targets of 1
and -1, in closed form. Of some penalties that one is taken with which each of these examples is best predicted from the
others. Embeddings are brought to mean 0 and deviation 1 over the examples that are learned from.

embeddings: [n, width] float32. labels: of each example the ids of its classes, a tuple; () for none that is known.
groups: the ids of the classes of each label group, or one group with all of them; () if an example may have several
labels. scores: [n, classes] float32, as the metrics take them.
"""

import hashlib
import heapq
import typing
from collections.abc import Callable, Iterable, Sequence

import numpy as np

Labels = Sequence[tuple[int, ...]]
Groups = Sequence[Sequence[int]]
# Inverse strengths of the penalty of a linear probe, from strong to weak; that with the least loss is taken.
STRENGTHS = (0.001, 0.01, 0.1, 1.0)
_HELD_OUT = 5  # one example of so many chooses among them
_ITERATIONS = 1000
# Penalties of few-shot classification for each example.
_PENALTIES = np.logspace(-4, 2, 7)


class Linear(typing.NamedTuple):
    """A fitted linear probe. strength: that of STRENGTHS which was chosen."""
    scores: np.ndarray
    strength: float


def linear(embeddings: np.ndarray, labels: Labels, others: np.ndarray, classes: int, groups: Groups,
           loss: Callable[[Labels, np.ndarray], float], seed: int = 0) -> Linear:
    """Learns from embeddings and labels; gives the scores of other embeddings.

    loss: of labels and scores. It chooses the strength on a fifth of the examples.
    """
    held = np.zeros(len(labels), bool)
    held[np.random.default_rng(seed).permutation(len(labels))[::_HELD_OUT]] = True
    strength = STRENGTHS[0]
    if len(labels) >= 2 * _HELD_OUT:
        kept, asked = _pick(labels, ~held), _pick(labels, held)
        found = [loss(asked, _logistic(embeddings[~held], kept, embeddings[held], classes, groups, value))
                 for value in STRENGTHS]
        strength = STRENGTHS[int(np.argmin(np.nan_to_num(found, nan=np.inf)))]
    return Linear(_logistic(embeddings, labels, others, classes, groups, strength), strength)


def few_shot(embeddings: np.ndarray, labels: Labels, others: np.ndarray, classes: int) -> np.ndarray:
    """The scores of other embeddings, learned from a few; they are no probabilities. Any label kind."""
    from sklearn import linear_model, pipeline, preprocessing
    targets = np.full((len(labels), classes), -1.0)
    for row, ids in enumerate(labels):
        targets[row, list(ids)] = 1.0
    model = pipeline.make_pipeline(preprocessing.StandardScaler(),
                                   linear_model.RidgeCV(alphas=_PENALTIES * len(labels)))
    scores = model.fit(embeddings.astype(np.float64), targets).predict(others.astype(np.float64))
    return scores.reshape(len(others), classes).astype(np.float32)


def _logistic(embeddings, labels, others, classes, groups, strength) -> np.ndarray:
    from sklearn import preprocessing
    scaler = preprocessing.StandardScaler().fit(embeddings)
    known, asked = scaler.transform(embeddings), scaler.transform(others)
    scores = np.zeros((len(others), classes), np.float32)
    for ids in groups:  # one softmax over the classes of a group
        place = {class_id: number for number, class_id in enumerate(ids)}
        own = [next((place[i] for i in of if i in place), -1) for of in labels]
        found, values = _fitted(known, np.array(own), asked, strength)
        scores[:, [ids[number] for number in found]] = values
    if not groups:  # one against the rest
        for class_id in range(classes):
            found, values = _fitted(known, np.array([class_id in of for of in labels], int), asked, strength)
            if 1 in found:
                scores[:, class_id] = values[:, found.index(1)]
    return scores


def _fitted(known, targets, asked, strength) -> tuple[list[int], np.ndarray]:
    """(the classes among the targets, their probabilities [n, classes]). A target of -1 does not count."""
    from sklearn import linear_model
    there = targets >= 0
    found = np.unique(targets[there]).tolist()
    if len(found) < 2:
        return found, np.ones((len(asked), len(found)), np.float32)
    model = linear_model.LogisticRegression(C=strength, max_iter=_ITERATIONS).fit(known[there], targets[there])
    return found, model.predict_proba(asked)


def _pick(values: Sequence, places: np.ndarray) -> list:
    return [values[place] for place in np.flatnonzero(places)]


def shots(ids: Sequence[bytes], labels: Labels, classes: int, count: int, seed: int) -> np.ndarray:
    """The places of `count` examples of each class, or of all that a class has: [n] int64, in order.

    A hash of the id and the seed draws them, so the examples of fewer shots are among those of more.
    """
    by_class: list[list[tuple[int, int]]] = [[] for _ in range(classes)]
    for place, (example_id, of) in enumerate(zip(ids, labels, strict=True)):
        for class_id in of:
            by_class[class_id].append((_hash(example_id, seed), place))
    return np.unique([place for drawn in by_class for _, place in heapq.nsmallest(count, drawn)]).astype(np.int64)


def sample(examples: Iterable[tuple[bytes, tuple[int, ...]]], classes: int, most: int, seed: int = 0) -> set[bytes]:
    """The ids of at most `most` of the examples (id, labels), drawn by a hash of the id: all, if there are no more.

    Rare classes are kept: of each class there are most / classes, or all that it has. It remembers some ids, at most
    twice `most` and one of each class.
    """
    share = max(1, most // max(1, classes))
    overall: list[tuple[int, bytes]] = []
    by_class: list[list[tuple[int, bytes]]] = [[] for _ in range(classes)]

    def keep(heap, entry, size):  # the smallest hashes: heapq has the smallest first, so they are negative
        if len(heap) < size:
            heapq.heappush(heap, entry)
        else:
            heapq.heappushpop(heap, entry)

    for example_id, labels in examples:
        entry = -_hash(example_id, seed), example_id
        keep(overall, entry, most)
        for class_id in labels:
            keep(by_class[class_id], entry, share)
    first = sorted({entry for heap in by_class for entry in heap}, reverse=True)[:most]
    more = sorted(set(overall).difference(first), reverse=True)[:most - len(first)]
    return {example_id for _, example_id in first + more}


def _hash(example_id: bytes, seed: int) -> int:
    return int.from_bytes(hashlib.blake2b(example_id, digest_size=8, salt=seed.to_bytes(8, 'little')).digest(), 'big')

"""Outcomes: what a trained model, and the one that is serving, said about each example of an eval split.

They are stored, so that metrics, their intervals, slices and lists of examples are computed without the model. numpy
only, no pickle. Workers write parts of bounded size; `read_parts` brings them together, sorted by id, so that the
number and the order of the parts do not matter. It holds the result and one part: in all examples x classes x 4 bytes
for each model, and as much for labels that are not ids.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence

import numpy as np

from model_code import npz

# A part is written once its scores take so many bytes.
PART_BYTES = 16 * 2 ** 20
_BASELINE = 'baseline_scores'


@dataclasses.dataclass(frozen=True)
class Outcomes:
    """N examples in the order of their ids."""
    ids: np.ndarray
    """[N] of str: the examples' ids."""
    groups: np.ndarray
    """[N] of str: the group, whose examples belong together; '' for an example that is by itself."""
    labels: np.ndarray
    """A label as metrics.py takes it: [N] int64 ids, -1 for one that the model does not know, or [N, classes] float32:
    multi-hot, or the signed numbers of label groups."""
    scores: np.ndarray
    """[N, classes] float32, in the order of the model's classes."""
    baseline_scores: np.ndarray | None = None
    """The same of the model that is serving, in the order of the candidate's classes (`in_order`)."""
    features: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    """Further properties by name: [N] of str ('' if missing) or [N] float64 (NaN if missing)."""

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, places: np.ndarray) -> 'Outcomes':
        """Some of the examples. places: their numbers, or [N] bool."""
        return Outcomes(self.ids[places], self.groups[places], self.labels[places], self.scores[places],
                        None if self.baseline_scores is None else self.baseline_scores[places],
                        {name: values[places] for name, values in self.features.items()})


def texts(values: Sequence[str]) -> np.ndarray:
    """[N] of str, without padding to the longest."""
    array = np.empty(len(values), object)
    array[:] = values
    return array


def no_outcomes(classes: int, multi_hot: bool, baseline: bool, features: Mapping[str, type] | None = None) -> Outcomes:
    """Those of an eval split without examples. features: name -> str or float."""
    none = np.zeros((0, classes), np.float32)
    return Outcomes(texts([]), texts([]), none if multi_hot else np.zeros(0, np.int64), none,
                    none if baseline else None,
                    {name: texts([]) if kind is str else np.zeros(0) for name, kind in (features or {}).items()})


def concatenated(parts: Sequence[Outcomes]) -> Outcomes:
    """One or more, one after the other."""
    def joined(name: str) -> np.ndarray:
        return np.concatenate([getattr(part, name) for part in parts])

    return Outcomes(joined('ids'), joined('groups'), joined('labels'), joined('scores'),
                    None if parts[0].baseline_scores is None else joined(_BASELINE),
                    {name: np.concatenate([part.features[name] for part in parts]) for name in parts[0].features})


def in_order(scores: np.ndarray, classes: Sequence[str], wanted: Sequence[str],
             one_of_each: Sequence[Sequence[int]]) -> np.ndarray:
    """[N, classes] -> [N, wanted] float32: the scores in another order of classes.

    A class that the model does not know has the score 0: its examples are wrong, with the largest loss.

    Classes that are not wanted are left out, and the model answers which of the wanted ones it is: where an example has
    just one of several classes, what is left of their scores is scaled to sum to 1, as if the softmax were over them.
    Today's examples have no such class. To count it as an error would let a new model win by knowing fewer classes.
    one_of_each: the places among `wanted` of the classes of which an example has just one; () for label kind 'multi'.
    """
    known = {name: place for place, name in enumerate(classes)}
    ordered = np.zeros((len(scores), len(wanted)), np.float32)
    places = [known.get(name, -1) for name in wanted]
    there = [column for column, place in enumerate(places) if place >= 0]
    ordered[:, there] = scores[:, [places[column] for column in there]]
    if not set(classes) <= set(wanted):
        for columns in map(list, one_of_each):
            left = ordered[:, columns].sum(axis=1, keepdims=True)
            ordered[:, columns] /= np.where(left > 0, left, 1)
    return ordered


def write(path: str, outcomes: Outcomes):
    """Writes a .npz file, whole or not at all."""
    arrays = {'ids': _packed(outcomes.ids), 'groups': _packed(outcomes.groups), 'labels': outcomes.labels,
              'scores': outcomes.scores}
    if outcomes.baseline_scores is not None:
        arrays[_BASELINE] = outcomes.baseline_scores
    for name, values in outcomes.features.items():
        kind, content = ('text', _packed(values)) if values.dtype == object else ('number', values)
        arrays[f'{kind}/{name}'] = content
    npz.write(path, arrays)


def read(path: str) -> Outcomes:
    """Reads what `write` wrote. Raises FileNotFoundError if there is nothing."""
    return _outcomes(npz.read(path))


def read_parts(paths: Sequence[str]) -> Outcomes:
    """The outcomes of one or more files together, in the order of the ids."""
    ids: list[str] = []
    for path in paths:
        ids.extend(_unpacked(npz.read(path)['ids']))
    place_of = np.empty(len(ids), np.int64)
    place_of[sorted(range(len(ids)), key=ids.__getitem__)] = np.arange(len(ids))
    made, begin = None, 0
    for path in paths:
        part = read(path)
        made = made or _room(part, len(ids))
        places = place_of[begin:begin + len(part)]
        begin += len(part)
        for whole, piece in zip(_arrays(made), _arrays(part), strict=True):
            whole[places] = piece
    if made is None:
        raise ValueError('There are no parts to read.')
    return made


def _arrays(outcomes: Outcomes) -> list[np.ndarray]:
    baseline = [] if outcomes.baseline_scores is None else [outcomes.baseline_scores]
    return [outcomes.ids, outcomes.groups, outcomes.labels, outcomes.scores, *baseline,
            *(outcomes.features[name] for name in sorted(outcomes.features))]


def _room(part: Outcomes, examples: int) -> Outcomes:
    """Outcomes of so many examples, to be filled, with the shapes and types of a part."""
    def like(array):
        return np.empty((examples, *array.shape[1:]), array.dtype)
    return Outcomes(like(part.ids), like(part.groups), like(part.labels), like(part.scores),
                    None if part.baseline_scores is None else like(part.baseline_scores),
                    {name: like(values) for name, values in part.features.items()})


def _outcomes(arrays) -> Outcomes:
    features = {}
    for key in arrays:
        kind, _, name = key.partition('/')
        if name:
            features[name] = texts(_unpacked(arrays[key])) if kind == 'text' else arrays[key]
    return Outcomes(texts(_unpacked(arrays['ids'])), texts(_unpacked(arrays['groups'])), arrays['labels'],
                    arrays['scores'], arrays.get(_BASELINE), features)


def _packed(values: np.ndarray) -> np.ndarray:
    """Texts as JSON, in which also names of files that are not UTF-8 (lone surrogates) come through."""
    return np.frombuffer(json.dumps(values.tolist()).encode(), np.uint8)


def _unpacked(packed: np.ndarray) -> list[str]:
    return json.loads(packed.tobytes())

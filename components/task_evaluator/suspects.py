"""Suspect labels (model_code.suspect_labels) of the eval split, from the outcomes of its evaluation.

suspects.json: {'examples': how many were looked at, none of captions, 'count': how many have a suspect label,
  'untrusted': [classes on which the model is not heard], 'first': [{'id', 'label', 'other', 'label_probability',
  'other_probability'}]}, at most NAMED, the most suspect first. label is what is given, other what the model says:
  'cat', or 'not cat' for label kind 'multi'.
suspects.tfrecord.gz: the examples of `first`, in no order.
"""

import heapq

from model_code import suspect_labels
from model_code.label_kinds import get_label_kind
from model_code.outcomes import Outcomes

NAMED = 20


def find(outcomes: Outcomes, classes: tuple[str, ...], label_kind: str) -> dict:
    """The content of suspects.json. classes: those of the model, in the order of its scores."""
    kind = get_label_kind(label_kind)
    if kind.of_words:  # what a caption does not mention may be there all the same
        return {'examples': 0, 'count': 0, 'first': [], 'untrusted': []}
    found, trust = suspect_labels.find(kind.functions.questions, outcomes.labels, outcomes.scores)
    suspects = [(suspect, outcomes.ids[number]) for number, suspect in found.items()]
    names = [*classes, *(f'not {name}' for name in classes)]
    return {'examples': len(outcomes), 'count': len(suspects),
            'first': [{'id': example_id, 'label': names[suspect.label], 'other': names[suspect.other],
                       'label_probability': suspect.label_probability,
                       'other_probability': suspect.other_probability}
                      for suspect, example_id in heapq.nsmallest(NAMED, suspects)],
            'untrusted': [name for name, trusted in zip(names, trust, strict=True) if not trusted]}

"""Suspect labels (model_code.suspect_labels) of the eval split, from the outcomes of its evaluation.

suspects.json: {'examples': how many were looked at, 'count': how many have a suspect label, 'untrusted': [classes on
  which the model is not heard], 'first': [{'id', 'label', 'other', 'label_probability', 'other_probability'}]}, at most
  NAMED, the most suspect first. label is what is given, other what the model says: 'cat', or 'not cat' for label kind
  'multi'.
suspects.tfrecord.gz: the examples of `first`, in no order.
"""

import heapq

import numpy as np

from model_code import suspect_labels
from model_code.label_kinds import get_label_kind
from model_code.outcomes import Outcomes
from model_code.suspect_labels import Questions, Shares

NAMED = 20


def find(outcomes: Outcomes, classes: tuple[str, ...], label_kind: str) -> dict:
    """The content of suspects.json. classes: those of the model, in the order of its scores.

    Goes through the examples three times, for thresholds, trust and suspects: no questions are kept.
    """
    functions = get_label_kind(label_kind).functions

    def asked(number: int) -> list[Questions]:
        return functions.questions(np.atleast_1d(outcomes.labels[number]), outcomes.scores[number])

    self_confidence, agreement = Shares.of(2 * len(classes)), Shares.of(2 * len(classes))
    for number in range(len(outcomes)):
        for questions in asked(number):
            self_confidence.add(*questions.given_options())
    least = suspect_labels.thresholds(self_confidence)
    for number in range(len(outcomes)):
        for questions in asked(number):
            agreement.add(*suspect_labels.agreement(questions, least))
    trust = suspect_labels.trusted(agreement)
    suspects = []
    for number in range(len(outcomes)):
        found = [suspect for questions in asked(number)
                 if (suspect := suspect_labels.suspect(questions, least, trust))]
        if found:
            suspects.append((min(found), outcomes.ids[number]))
    names = [*classes, *(f'not {name}' for name in classes)]
    return {'examples': len(outcomes), 'count': len(suspects),
            'first': [{'id': example_id, 'label': names[suspect.label], 'other': names[suspect.other],
                       'label_probability': suspect.label_probability,
                       'other_probability': suspect.other_probability}
                      for suspect, example_id in heapq.nsmallest(NAMED, suspects)],
            'untrusted': [name for name, trusted in zip(names, trust, strict=True) if not trusted]}

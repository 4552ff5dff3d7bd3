"""The check of a served answer, shared by the label kinds."""

import math

from model_code import words
from model_code.label_kinds.tensors import TOP_K


def check_best(labels: list[str], top_scores: list[float], scores: list[float], classes: tuple[str, ...],
               sum_to_one: bool, most: int = TOP_K) -> list[str]:
    """What is wrong with the answer for one example, in sentences.

    labels, top_scores: the best classes and their scores, best first. scores: of all classes, in vocabulary order.
    classes: the task's, or () if they are not known. sum_to_one: whether `scores` must sum to 1. most: the number of
    labels to be expected, if there are that many classes.
    """
    reasons = []
    count = min(most, len(scores))
    if len(labels) != count or len(top_scores) != count:
        reasons.append(f'the answer has {words.count(len(labels), "label")} and '
                       f'{words.count(len(top_scores), "score")}; for {words.count(len(scores), "class", "classes")} '
                       f'it must have {count} of each.')
    if classes and len(scores) != len(classes):
        reasons.append(f'the answer has {words.count(len(scores), "score")} for {len(classes)} classes.')
    if not all(isinstance(s, float) and math.isfinite(s) and 0 <= s <= 1 for s in [*top_scores, *scores]):
        reasons.append(f'the scores {top_scores} are not all numbers from 0 to 1.')
        return reasons
    if top_scores != sorted(top_scores, reverse=True):
        reasons.append(f'the scores {top_scores} are not sorted, best first.')
    best = sorted(scores, reverse=True)
    if any(abs(a - b) > 1e-3 for a, b in zip(sorted(top_scores, reverse=True), best, strict=False)):
        reasons.append(f'the scores {top_scores} are not the best of {scores}, the scores of all classes.')
    if sum_to_one and abs(sum(scores) - 1) > 1e-2:
        reasons.append(f'the scores of all classes sum to {sum(scores):.3f}; for a single label it must be 1.')
    if len(set(labels)) != len(labels):
        reasons.append(f'the answer has a label twice: {labels}.')
    unknown = [label for label in labels if classes and label not in classes]
    if unknown:
        reasons.append(f"the labels {unknown} are not among the task's classes.")
    return reasons

"""The check of a served answer that the label kinds share."""

import math

from model_code.label_kinds.tensors import TOP_K


def check_best(labels: list[str], top_scores: list[float], scores: list[float], classes: tuple[str, ...],
               sum_to_one: bool, most: int = TOP_K) -> list[str]:
    """What is wrong with one example's labels and scores (best first) and all scores (in vocabulary order).

    classes: the task's, or () where they are not known. sum_to_one: whether `scores` must. most: how many labels come
    back where there are as many classes.
    """
    reasons = []
    count = min(most, len(scores))
    if len(labels) != count or len(top_scores) != count:
        reasons.append(f'{len(labels)} labels and {len(top_scores)} scores came back; of {len(scores)} classes it must '
                       f'be {count} of each.')
    if classes and len(scores) != len(classes):
        reasons.append(f'{len(scores)} scores came back for {len(classes)} classes.')
    if not all(isinstance(s, float) and math.isfinite(s) and 0 <= s <= 1 for s in [*top_scores, *scores]):
        reasons.append(f'the scores {top_scores} are not all numbers from 0 to 1.')
        return reasons
    if top_scores != sorted(top_scores, reverse=True):
        reasons.append(f'the scores {top_scores} are not sorted, best first.')
    best = sorted(scores, reverse=True)
    if any(abs(a - b) > 1e-3 for a, b in zip(sorted(top_scores, reverse=True), best, strict=False)):
        reasons.append(f'the scores {top_scores} are not the best of {scores}, the signature of all scores.')
    if sum_to_one and abs(sum(scores) - 1) > 1e-2:
        reasons.append(f'the scores of all classes sum to {sum(scores):.3f}; for a single label it must be 1.')
    if len(set(labels)) != len(labels):
        reasons.append(f'a label came back twice: {labels}.')
    unknown = [label for label in labels if classes and label not in classes]
    if unknown:
        reasons.append(f'the labels {unknown} are none of its classes.')
    return reasons

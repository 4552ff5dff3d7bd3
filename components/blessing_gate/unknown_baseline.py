"""A served model of which the gate cannot know how it compares: it does not load, or its card cannot be read.

That is not the same as no served model: the new one is rejected, in words. No TFX, no TensorFlow.
"""

import dataclasses
from collections.abc import Mapping

from components.blessing_gate.judgement import Judgement


def reject(decision: dict, version: str, problems: Mapping[str, str], card_problem: str = '') -> dict:
    """The decision with a reason and a judgement for each problem.

    decision: decide(...). problems: task -> why the served model could not be measured on it, '' for no problem.
    card_problem: why its model card cannot be read, '' if it can.
    """
    way_out = f'Remove version {version}, or push with --force REASON.'
    sentences = {name: f'{name}: version {version} is being served, but {problem}. So nobody knows how the new model '
                       f'compares with it. {way_out}' for name, problem in problems.items() if problem}
    card = [f'The model card of version {version} cannot be read: {card_problem}. So nobody knows which tasks and '
               f'classes it has. {way_out}'] if card_problem else []
    found = [Judgement('baseline', name, True, 'not_measured', sentence)
             for name, sentence in [*((None, sentence) for sentence in card), *sentences.items()]]
    reasons = [judgement.sentence for judgement in found]
    tasks = [{**task, 'blessed': False, 'reason': f'{task["reason"]} {sentences[task["name"]]}'.strip()}
             if task['name'] in sentences else task for task in decision['tasks']]
    return {**decision, 'blessed': decision['blessed'] and not reasons, 'reasons': [*decision['reasons'], *reasons],
            'tasks': tasks, 'judgements': [*decision['judgements'], *map(dataclasses.asdict, found)]}

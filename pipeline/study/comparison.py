"""What a study comes to: each task's metric in each arm, the differences, and a verdict in one sentence. No TensorFlow.

It is computed from the outcomes of the trainings, so it needs no model (schemas/study.schema.json has its form).
"""

import math
import typing
from collections.abc import Callable, Sequence

import numpy as np

from components.report.evaluation import metric_name
from model_code import bootstrap, seed_comparison, words
from model_code.outcomes import Outcomes
from model_code.seed_comparison import Spread
from model_code.tasks import Task
from pipeline.study.arms import DOES_IT_PAY, FROZEN, Question, Training, asked

VERSION = 1  # of study.json: schemas/study.schema.json


def compare(task: Task, outcomes: dict[str, Sequence[Outcomes]], question: Question = DOES_IT_PAY) -> dict:
    """A task's entry in study.json. outcomes: arm -> one for each seed; the arms of the question must be there.

    All must be of the same examples.
    """
    of_arms = [one for each in outcomes.values() for one in each]
    first = of_arms[0]
    if any(not np.array_equal(first.ids, other.ids) for other in of_arms):
        raise ValueError(f'Task {task.name}: the trainings of the study did not answer the same eval examples.')
    clusters = bootstrap.clusters(first.ids.tolist(), first.groups.tolist())
    metric = {metric.name: metric for metric in task.data.kind.functions.metrics_of_outcomes(
        task.data.label_groups, first.scores.shape[1])}[task.primary_metric]
    prepared = [metric.prepare(one.labels, one.scores) for one in of_arms]
    resampled = iter(bootstrap.resampled_together(prepared, clusters))
    values = iter([each.value() for each in prepared])
    measured = {arm: (np.array([next(values) for _ in each]), np.array([next(resampled) for _ in each]))
                for arm, each in outcomes.items()}

    bounds = metric.bounds or (-math.inf, math.inf)
    most = bounds[1] - bounds[0]  # that a difference can be

    def spread(numbers, samples, bounds) -> Spread:
        return seed_comparison.spread(numbers, samples, len(first), clusters.count, bounds)

    arms, differences, baseline = [], {}, measured[question.baseline]
    for arm, (numbers, samples) in measured.items():
        entry = {'arm': arm, 'values': [_number(value) for value in numbers],
                 **_limits(spread(numbers, samples, bounds)), 'difference': None}
        if arm != question.baseline:
            differences[arm] = spread(numbers - baseline[0], samples - baseline[1], (-most, most))
            entry['difference'] = _difference(differences[arm])
        arms.append(entry)
    decided = differences[question.decided]
    clustered = clusters.count < len(first)
    values = {entry['arm']: entry['value'] for entry in arms}
    return {'task': task.name, 'modality': task.modality, 'metric': task.primary_metric, 'examples': len(first),
            'groups': clusters.count, 'clustered': clustered, 'verdict': decided.verdict,
            'sentence': sentence(task, values, decided, clustered, question, most), 'arms': arms}


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _limits(found: Spread) -> dict:
    return {'value': _number(found.value), 'low': found.low, 'high': found.high}


def _difference(found: Spread) -> dict:
    unknown = found.low is None or found.verdict != 'cannot_tell'
    return {**_limits(found), 'verdict': found.verdict,
            'seeds_needed': None if unknown else seed_comparison.seeds_needed(found),
            'groups_needed': None if unknown else seed_comparison.clusters_needed(found)}


def sentence(task: Task, values: dict[str, float | None], found: Spread, clustered: bool, question: Question,
             most: float) -> str:
    """The verdict on a task. values: arm -> its metric. found: the difference of the question's arms.

    most: the largest difference that there can be.
    """
    if found.low is None or found.high is None:
        return (f'{task.name}: cannot tell, because the difference has no interval: it takes two seeds and two '
                'independent eval examples at least.')
    before, after = (f'{values[arm]:.3f} {name}' for arm, name in zip(question[:2], question.names, strict=True))
    numbers = (f'{metric_name(task.primary_metric)} {after}, {before}, '
               f'{points(found.value)} points ({points(found.low)} to {points(found.high)})')
    if found.verdict != 'cannot_tell':
        return f'{task.name}: {found.verdict} from {question.of}: {numbers}.'
    return f'{task.name}: cannot tell at this size: {numbers}. {_what_would(found, clustered, most)}'


def points(difference: float) -> str:
    """A difference of a metric from 0 to 1, in percentage points with a sign: '+0.7', '−12.3'."""
    return f'{round(100 * difference, 1) + 0.0:+.1f}'.replace('-', '−')


def _what_would(found: Spread, clustered: bool, most: float) -> str:
    """What would tell a difference as large as the observed one."""
    clusters, seeds = seed_comparison.clusters_needed(found), seed_comparison.seeds_needed(found)
    ways = []
    if clusters is not None:
        what = 'group of eval examples' if clustered else 'eval example'
        ways.append(f'about {words.count(_rounded(clusters), what, "groups of eval examples" if clustered else "")} '
                    f'(now {found.clusters:,})')
    if seeds is not None:
        ways.append(f'about {words.count(_rounded(seeds), "seed")} (now {found.seeds})')
    if not ways:
        if found.half_width >= most:
            if found.seeds == 2:
                return 'With 2 seeds, no difference that is possible could be told: take 3 or more.'
            return ('At this size, no difference that is possible could be told: it takes both more eval examples and '
                    'more seeds.')
        half = points(found.half_width).lstrip('+')
        return (f'This size tells differences of about {half} points or more; it would take both more eval examples '
                'and more seeds to tell a smaller one.')
    return f'{" or ".join(ways).capitalize()} would tell a difference of this size.'


def _rounded(count: int) -> int:
    """Two digits: it is an estimate."""
    step = 10 ** max(0, len(str(count)) - 2)
    return step * math.ceil(count / step)


def costs(arms: dict[str, dict[str, Training]], results: dict[Training, typing.Any]) -> list[dict]:
    """What each arm costs for all tasks: study.json's `costs`. results: training -> its trainings.Result.

    seconds, flops: the mean over the seeds; those of 'frozen' have the training of its encoder too.
    """
    rows = []
    for arm, of_task in arms.items():
        models = set(of_task.values())
        found = {training: result for training, result in results.items() if training._replace(seed=0) in models}
        own, seeds = found.values(), len({training.seed for training in found})
        heads = [head for result in own for head in result.frozen.values()] if arm == FROZEN else []

        def mean(read: Callable, name: str, own=own, heads=heads, seeds=seeds) -> float:
            return (sum(map(read, own)) + sum(head[name] for head in heads)) / seeds
        rows.append({'arm': arm, 'models': len(models),
                     'parameters': sum(results[first].parameters for first in models),
                     'flops': mean(lambda result: result.flops, 'flops'),
                     'seconds': round(mean(lambda result: result.seconds, 'seconds'), 3)})
    return rows


def conclusion(study: dict) -> str:
    """The study in a sentence or two."""
    verdicts = [task['verdict'] for task in study['tasks']]
    gain, lose, unknown = (verdicts.count(verdict) for verdict in ('gains', 'loses', 'cannot_tell'))
    question, costs = asked(study['changes']), {row['arm']: row for row in study['costs']}
    share = {name: costs[question.decided][name] / costs[question.baseline][name] for name in (
        'parameters', 'flops', 'seconds')}
    return (f'Of {words.count(len(verdicts), "task")}, {gain or "none"} gain{"s" * (gain < 2)} from {question.of} '
            f'and {lose or "none"} lose{"s" * (lose < 2)}'
            + (f'; {unknown} cannot be told at this size' if unknown else '') + '. '
            + (f'With it a model has {share["parameters"]:.0%} of the parameters, and its training takes '
               f'{share["flops"]:.0%} of the FLOPs and {share["seconds"]:.0%} of the time.' if study['changes'] else
               f'One model has {share["parameters"]:.0%} of the parameters of one model per task.'))


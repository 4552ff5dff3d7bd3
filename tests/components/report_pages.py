"""Made-up results of runs for tests of the report: decisions, evaluations in the form of evaluation.json, media."""

import itertools
import random

from components.costs import Cost
from components.report import cost
from components.report.render import PAGE_BYTES, Evaluated, render
from model_code import words
from tests import testing

MEDIA = {'image': {'image': testing.image_bytes(size=(48, 48))},
         'video': {'frames': [testing.image_bytes('JPEG', size=(64, 48)) for _ in range(8)]},
         'audio': {'audio': testing.wav_bytes(1.0, 16000)}}

ELSEWHERE = [{'where': 'This run', 'time': '1 minute', 'assumed': 'Measured.'},
             {'where': '1 accelerator', 'time': '2 seconds', 'assumed': 'As the plan says.'}]
ABOUT = {'intended_use': 'To look at.', 'limits': 'Not measured at night.', 'data': {
    'pets': {'name': 'Pets', 'license': 'CC BY 4.0', 'url': 'https://example.org/pets', 'rejected': 1, 'files': 61,
             'examples': {'train': 50, 'eval': 10}}, 'own': {'rejected': 0, 'files': 5, 'examples': {'eval': 5}}}}


def metric(value: float, baseline: float | None = None) -> dict:
    served = {} if baseline is None else {
        'baseline': baseline, 'baseline_low': baseline - 0.02, 'baseline_high': baseline + 0.02,
        'change': value - baseline, 'change_low': value - baseline - 0.03, 'change_high': value - baseline + 0.03}
    return {'value': value, 'low': value - 0.025, 'high': value + 0.025, **served}


def evaluation(classes: int, examples: int = 2000, listed: int = 20, baseline: float | None = 0.9) -> dict:
    """An evaluation.json of a task with a single label."""
    numbers = random.Random(classes)
    labels = [f'class {i:03}' for i in range(classes)]
    counts = [[i, i, 40] for i in range(classes)]
    counts += [[i, j, numbers.randint(1, 6)] for i in range(classes)
               for j in numbers.sample(range(classes), min(5, classes)) if i != j]
    values = {'accuracy': metric(0.912, baseline), 'top_5_accuracy': metric(0.983, baseline and 0.98),
              'calibration_error': metric(0.034)}
    return {
        'version': 1, 'task': 'digits', 'label_kind': 'single', 'primary_metric': 'accuracy', 'examples': examples,
        'groups': examples // 8, 'clustered': True, 'resamples': 2000, 'seconds': 1.5,
        'slices': [{'feature': '', 'value': '', 'examples': examples, 'groups': examples // 8, 'too_small': False,
                    'metrics': values}] + [
            {'feature': 'camera', 'value': f'cam {i}', 'examples': 500 - 100 * i, 'groups': 60 - 14 * i,
             'too_small': i == 4, 'metrics': {'accuracy': metric(0.9 - 0.03 * i, baseline)}} for i in range(5)],
        'classes': [{'label': label, 'group': '', 'examples': 50, 'precision': numbers.random(),
                     'recall': numbers.random(), 'f1': numbers.random(), 'baseline_f1': numbers.random()}
                    for label in labels],
        'confusion': [{'group': '', 'labels': labels, 'counts': counts}],
        'reliability': [{'group': '', 'low': i / 10, 'high': (i + 1) / 10, 'count': 20 * i,
                         'confidence': i / 10 + 0.05, 'accuracy': i / 10} for i in range(10)],
        'curves': [{'name': 'all classes', 'points': [[i / 99, 1 - (i / 99) ** 4] for i in range(100)]}],
        'probe': {'metric': 'accuracy', 'classes': classes, 'train_examples': 1_000, 'train_total': 5_000,
                  'eval_examples': examples, 'eval_total': examples, 'linear': metric(0.877), 'few_shot': [
                      {'shots': 5, 'value': 0.5, 'low': None, 'high': None, 'values': [0.5], 'classes_with_fewer': 3}]},
        'mistakes': [{'id': f'wrong/{i}', 'label': labels[0], 'predicted': labels[-1], 'confidence': 0.99 - i / 100}
                     for i in range(listed)],
        'hits': [{'id': f'right/{i}', 'label': labels[0], 'predicted': labels[0], 'confidence': 0.3 + i / 100}
                 for i in range(listed)]}


def evaluated(modality: str, **of) -> Evaluated:
    results = evaluation(**of)
    return Evaluated(results, {row['id']: MEDIA[modality] for row in results['mistakes'] + results['hits']})


def task_entry(name: str, modality: str, **values) -> dict:
    """A task's entry in a decision."""
    return {'name': name, 'modality': modality, 'metrics': {'accuracy': 0.912, 'loss': 0.31, 'example_count': 2000.0},
            'baseline_metrics': {'accuracy': 0.9}, 'baseline_version': '3', 'primary_metric': 'accuracy', 'floor': 0.8,
            'max_drop': 0.02, 'value': 0.912, 'change': 0.012, 'blessed': True, 'reason': '', 'outcome': 'not_worse',
            **values}


def judgement(check: str, task: str | None, **values) -> dict:
    """An entry of a decision's judgements."""
    return {'check': check, 'task': task, 'rejects': False, 'outcome': 'met', 'sentence': '', 'slice': None,
            'metric': 'accuracy', 'examples': 2000, 'groups': 250, 'value': 0.912, 'low': 0.887, 'high': 0.937,
            'bound': 0.912, 'limit': 0.8, 'p_worse': None, **values}


def judgements(names: list[str]) -> list[dict]:
    """Of each task its floor, its change, and its change on two slices."""
    changed = {'outcome': 'not_worse', 'value': 0.012, 'low': -0.018, 'high': 0.042, 'bound': -0.013, 'limit': -0.02}
    return [found for name in names for found in (
        judgement('floor', name), judgement('change', name, **changed),
        *(judgement('change', name, slice={'feature': 'camera', 'value': f'cam {i}'}, **changed) for i in range(2)))]


def costs(names: list[str]) -> list[tuple[Cost, bool]]:
    """What the components of a run took; the reading of media came from the cache."""
    return [(Cost('CoTrainer', 75.5, 140.25, 2_100_000_000), False),
            *((Cost(f'TaskEvaluator_{name}', 12.5 - i, 20.0, 1_900_000_000), False) for i, name in enumerate(names)),
            *((Cost(f'MediaExampleGen_{name}', 3.0, 5.0, 1_500_000_000), True) for name in names)]


def decision(tasks: list[dict], **values) -> dict:
    return {'blessed': True, 'reasons': [], 'remarks': [], 'baseline_version': '3', 'lost_tasks': [], 'tasks': tasks,
            'infra': {'blessed': True, 'reasons': []}, 'judgements': judgements([task['name'] for task in tasks]),
            **values}


def history(names: list[str], steps: int = 400) -> dict:
    return {'steps': [{'step': i, 'task': names[i % len(names)], 'loss': 2 / (1 + i / 40),
                       'gradient_norm': 1 + i % 7 / 7, 'learning_rate': 1e-3 / (1 + i)} for i in range(1, steps + 1)],
            'speeds': [{'step': i, 'task': names[i % len(names)], 'examples': 32, 'seconds': 0.5 + i % 5 / 10}
                       for i in range(len(names), steps + 1)],
            'gradients': gradients(names), 'seconds': 61.2, 'total_steps': steps}


def gradients(names: list[str], blocks: int = 12, measurements: int = 3) -> list[dict]:
    """Records of gradient_diagnosis, with cosines of either sign and with some that are not known."""
    numbers = random.Random(len(names))
    return [{'step': 100 * number - 1, 'seconds': 0.5, 'first_block': 0,
             'tasks': [{'task': name, 'norm': 0.5, 'norms': [0.1] * blocks, 'halves': 0.3} for name in names],
             'pairs': [{'tasks': [a, b], 'cosine': numbers.uniform(-0.3, 0.3), 'cosines': [
                 None, *(numbers.uniform(-0.3, 0.3) for _ in range(blocks - 1))]}
                       for a, b in itertools.combinations(names, 2)]} for number in range(1, measurements + 1)]


def page(modalities=('image', 'video', 'audio'), classes=(10, 400, 5), listed=20, page_bytes=PAGE_BYTES,
         **values) -> str:
    """The report of a run with a task per modality."""
    names = [f'{modality}_task' for modality in modalities]
    entries = [task_entry(*pair) for pair in zip(names, modalities, strict=True)]
    data = [{'name': name, 'modality': modality, 'splits': {'train': 5000, 'eval': 2000}, 'rejected': [], 'remarks': [],
             'groups': {}, 'labels': [{'label': f'class {i:03}', 'train': 60 - i, 'eval': 50 - i} for i in range(20)]}
            for name, modality in zip(names, modalities, strict=True)]
    return render(decision(entries, **values), history(names), {'name': f'of {words.count(len(names), "task")}'}, data,
                  evaluations={name: evaluated(modality, classes=count, listed=listed)
                               for name, modality, count in zip(names, modalities, classes, strict=True)},
                  cost={'components': cost.components(costs(names)), 'elsewhere': ELSEWHERE}, about=ABOUT,
                  page_bytes=page_bytes)

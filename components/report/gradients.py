"""The report's part on the gradients of the tasks: how they agree on the shared blocks, as means over a training."""

import math
import statistics
from collections.abc import Iterable, Sequence

from model_code import words

PAIRS = 12  # rows of the table by depth, at most
_SHADES = 5  # CSS classes n1 to n5 below 0, p1 to p5 above
_LEAST_SCALE = 0.1  # smaller cosines are pale, however small the others are


def summarise(records: Sequence[dict]) -> dict | None:
    """Means over the records of one or several trainings of the same tasks (gradient_diagnosis.record); None of none.

    Returns {'measurements', 'steps': [first, last], 'seconds': the median, 'first_block', 'tasks': [{'task', 'norm',
    'norms', 'halves'}], 'pairs': [{'tasks', 'cosine', 'cosines', 'ratio', 'ratios'}]}. The means of cosines are
    arithmetic, those of norms geometric. ratio: of the first task's norm to the second's. The plural is of each block.
    None where no record has a number.
    """
    if not records:
        return None
    tasks, pairs = [], []
    for same in zip(*(record['tasks'] for record in records), strict=True):
        tasks.append({'task': same[0]['task'], 'norm': _geometric(task['norm'] for task in same),
                      'norms': [*map(_geometric, zip(*(task['norms'] for task in same), strict=True))],
                      'halves': _mean(task['halves'] for task in same)})
    norms = {task['task']: task for task in tasks}
    for same in zip(*(record['pairs'] for record in records), strict=True):
        a, b = (norms[name] for name in same[0]['tasks'])
        pairs.append({'tasks': same[0]['tasks'], 'cosine': _mean(pair['cosine'] for pair in same),
                      'cosines': [*map(_mean, zip(*(pair['cosines'] for pair in same), strict=True))],
                      'ratio': _ratio(a['norm'], b['norm']), 'ratios': [*map(_ratio, a['norms'], b['norms'])]})
    steps = [record['step'] for record in records]
    return {'measurements': len(records), 'steps': [min(steps), max(steps)],
            'seconds': statistics.median(record['seconds'] for record in records),
            'first_block': records[0]['first_block'], 'tasks': tasks, 'pairs': pairs}


def section(summary: dict | None) -> dict | None:
    """What gradients.html shows of a summary; None without one.

    Returns {'measurements', 'steps', 'seconds', 'scale', 'names', 'rows': [{'task', 'cells': [(text, css)], 'norm'}],
    'blocks': [number from 1], 'pairs': [{'tasks', 'ratio', 'cells': [(text, css)], the first of them over all blocks}],
    'all_pairs': how many there are}. The pairs are those with the smallest cosines and those with the largest.
    """
    if not summary or not summary['pairs']:
        return None
    names, pairs = [task['task'] for task in summary['tasks']], summary['pairs']
    known = [abs(pair['cosine']) for pair in pairs if pair['cosine'] is not None]
    scale = max([_LEAST_SCALE, *(math.ceil(10 * cosine - 1e-9) / 10 for cosine in known)])
    of_pair = {tuple(pair['tasks']): pair['cosine'] for pair in pairs}
    rows = []
    for task in summary['tasks']:
        name = task['task']
        cells = [_cell(task['halves'], scale, ' halves') if other == name else
                 _cell(of_pair.get((name, other), of_pair.get((other, name))), scale) for other in names]
        rows.append({'task': name, 'cells': cells, 'norm': _number(task['norm'])})
    ordered = sorted(pairs, key=lambda pair: (pair['cosine'] is None, pair['cosine']))
    if len(ordered) > PAIRS:
        ordered = ordered[:PAIRS // 2] + ordered[-(PAIRS // 2):]
    first = summary['first_block']
    return {
        'measurements': summary['measurements'], 'steps': summary['steps'], 'seconds': _number(summary['seconds']),
        'scale': f'{scale:.1f}', 'names': names, 'rows': rows, 'all_pairs': len(pairs),
        'blocks': [*range(first + 1, first + 1 + len(pairs[0]['cosines']))],
        'pairs': [{'tasks': pair['tasks'], 'ratio': _number(pair['ratio']), 'cells': [
            _cell(cosine, scale) for cosine in (pair['cosine'], *pair['cosines'])]} for pair in ordered]}


def _cell(cosine: float | None, scale: float, more: str = '') -> tuple[str, str]:
    """A cosine as text, and the CSS classes of its cell."""
    if cosine is None:
        return '–', more.strip()
    shade = min(_SHADES, math.ceil(abs(cosine) / scale * _SHADES - 0.5))
    css = f'{"n" if cosine < 0 else "p"}{shade}' if shade > 0 else ''
    return f'{round(cosine, 2) + 0.0:.2f}'.replace('-', '−'), f'{css}{more}'.strip()


def _number(value: float | None) -> str:
    return '–' if value is None else words.short_number(value)


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(statistics.fmean(known), 4) if known else None


def _geometric(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value]
    return float(f'{statistics.geometric_mean(known):.4g}') if known else None


def _ratio(a: float | None, b: float | None) -> float | None:
    return float(f'{a / b:.4g}') if a and b else None

"""study.html: a page with the verdicts, a plot of each task, and the cost of each arm. It fetches nothing.

The same is a section of a run's report (in_report.py).
"""

import os

from humanize import metric
from markupsafe import Markup

from components.report import charts, gradients
from components.report import render as report
from components.report.evaluation import interval, metric_name, number
from model_code import words
from pipeline.study.arms import NAMES, asked
from pipeline.study.comparison import points

VERDICTS = {'gains': 'gains', 'loses': 'loses', 'cannot_tell': 'cannot tell'}
_LEFT, _WIDTH, _ROW = 108, 440, 30


def render(study: dict) -> str:
    """The page of what study.json holds."""
    return _render('study.html', study, heading='h2')


def section(study: dict, run: str) -> str:
    """The same as a section of a run's report. run: its id."""
    return _render('study_section.html', study, heading='h3', run=run, same=run == study.get('run'))


def _render(template: str, study: dict, **values) -> str:
    study = {'changes': [], 'settings': [], 'written': '', 'run': '', **study}  # that of an older release
    return report.environment(os.path.dirname(__file__)).get_template(template).render(
        **values, study=study, names=NAMES, baseline=NAMES[asked(study['changes']).baseline], verdicts=VERDICTS,
        metric_name=metric_name, cells=cells, gradients=gradients.section(study.get('gradients')),
        plots={task['task']: plot(task) for task in study['tasks']},
        colours={task['task']: f'c{place % report.COLOURS}' for place, task in enumerate(study['tasks'])},
        costs=[{**row, 'flops': metric(row['flops']), 'seconds': words.duration(row['seconds'])}
               for row in study['costs']])


def cells(entry: dict) -> list[str]:
    """An arm's value, its interval, the difference to the baseline in points, its interval, and what that says."""
    difference = entry['difference']
    if not difference:
        return [number(entry['value']), interval(entry['low'], entry['high']), '', '', '']
    value = difference['value']
    return [number(entry['value']), interval(entry['low'], entry['high']), '–' if value is None else points(value),
            interval(difference['low'], difference['high'], points), VERDICTS[difference['verdict']]]


def plot(task: dict) -> Markup:
    """A row for each arm: a dot for each seed, the mean as a ring, and the interval as a line."""
    known = [value for entry in task['arms'] for value in (*entry['values'], entry['low'], entry['high'])
             if value is not None]
    if not known:
        return Markup('')
    low, high = min(known), max(known)
    margin = max(0.05 * (high - low), 0.005)
    low, high = low - margin, high + margin

    def x(value: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - 14) * (value - low) / (high - low)

    bottom = _ROW * len(task['arms']) + 6
    parts = [Markup('<line class="grid" x1="{0:.1f}" x2="{0:.1f}" y1="4" y2="{1}"/>'
                    '<text x="{0:.1f}" y="{2}" text-anchor="middle">{3}</text>').format(
                        x(tick), bottom, bottom + 14, words.short_number(tick)) for tick in charts.ticks(low, high)]
    for place, entry in enumerate(task['arms']):
        y = _ROW * place + _ROW / 2 + 4
        parts.append(Markup('<text x="{}" y="{:.1f}" text-anchor="end">{}</text>').format(
            _LEFT - 10, y + 4, NAMES[entry['arm']]))
        if entry['low'] is not None:
            parts.append(Markup('<line class="interval" x1="{:.1f}" x2="{:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>').format(
                x(entry['low']), x(entry['high']), y=y))
        parts += [Markup('<circle class="part0" cx="{:.1f}" cy="{:.1f}" r="3"/>').format(x(value), y + 8)
                  for value in entry['values'] if value is not None]
        if entry['value'] is not None:
            parts.append(Markup('<circle class="baseline" cx="{:.1f}" cy="{:.1f}" r="4"/>').format(
                x(entry['value']), y))
    title = f'{task["task"]}: {metric_name(task["metric"])} in each arm'
    return Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        _WIDTH, bottom + 20, title, Markup('').join(parts))

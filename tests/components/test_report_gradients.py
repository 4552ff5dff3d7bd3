"""The report's section on the gradients of the tasks: means, colours, and what is left out of long lists."""

import pathlib

import pytest

from components.report import executor, gradients
from components.report.render import render
from tests import browser
from tests.components import report_pages


def record(step: int, cosine, norms=(2.0, 0.5), seconds=1.0) -> dict:
    return {'step': step, 'seconds': seconds, 'first_block': 1,
            'tasks': [{'task': name, 'norm': norm, 'norms': [norm, 0.0], 'halves': half}
                      for name, norm, half in zip('ab', norms, (0.5, None), strict=True)],
            'pairs': [{'tasks': ['a', 'b'], 'cosine': cosine, 'cosines': [cosine, None]}]}


def test_the_summary_has_the_mean_of_cosines_and_the_geometric_mean_of_norms():
    summary = gradients.summarise([record(9, 0.1), record(19, -0.3, (8.0, 0.5), 3.0), record(29, None, seconds=2.0)])
    assert summary == {
        'measurements': 3, 'steps': [9, 29], 'seconds': 2.0, 'first_block': 1,
        'tasks': [{'task': 'a', 'norm': pytest.approx(32 ** (1 / 3), rel=1e-3),
                   'norms': [pytest.approx(32 ** (1 / 3), rel=1e-3), None], 'halves': 0.5},
                  {'task': 'b', 'norm': 0.5, 'norms': [0.5, None], 'halves': None}],
        'pairs': [{'tasks': ['a', 'b'], 'cosine': -0.1, 'cosines': [-0.1, None],
                   'ratio': pytest.approx(2 * 32 ** (1 / 3), rel=1e-3),
                   'ratios': [pytest.approx(2 * 32 ** (1 / 3), rel=1e-3), None]}]}
    assert gradients.summarise([]) is None and gradients.section(None) is None


def test_the_matrix_is_symmetric_with_the_halves_on_its_diagonal_and_blocks_are_counted_from_one():
    section = gradients.section(gradients.summarise([record(9, -0.25)]))
    assert section['scale'] == '0.3' and section['blocks'] == [2, 3]
    assert section['rows'] == [{'task': 'a', 'cells': [('0.50', 'p5 halves'), ('−0.25', 'n4')], 'norm': '2'},
                               {'task': 'b', 'cells': [('−0.25', 'n4'), ('–', 'halves')], 'norm': '0.5'}]
    assert section['pairs'] == [{'tasks': ['a', 'b'], 'ratio': '4',
                                 'cells': [('−0.25', 'n4'), ('−0.25', 'n4'), ('–', '')]}]


@pytest.mark.parametrize('cosine, cell', [
    (0.0, ('0.00', '')), (-0.001, ('0.00', '')), (0.1, ('0.10', 'p5')), (-0.02, ('−0.02', 'n1')),
    (0.005, ('0.01', ''))])
def test_small_cosines_are_pale(cosine, cell):
    assert gradients.section(gradients.summarise([record(9, cosine)]))['rows'][0]['cells'][1] == cell


def test_of_many_pairs_the_table_by_depth_has_those_at_both_ends():
    names = [f'task_{i}' for i in range(30)]
    section = gradients.section(gradients.summarise(report_pages.gradients(names)))
    assert section['all_pairs'] == 435 and len(section['pairs']) == gradients.PAIRS
    values = [float(pair['cells'][0][0].replace('−', '-')) for pair in section['pairs']]
    every = [float(text.replace('−', '-')) for row in section['rows'] for text, css in row['cells']
             if 'halves' not in css]
    assert values == sorted(values) and (values[0], values[-1]) == (min(every), max(every))


def page_of(names: list[str]) -> str:
    return render(report_pages.decision([report_pages.task_entry(name, 'image') for name in names]),
                  report_pages.history(names), {'name': 'many'}, [])


def test_a_run_without_measurements_has_no_section(monkeypatch):
    assert '<h2>Gradients of the tasks</h2>' in page_of(['a', 'b'])
    monkeypatch.setattr(report_pages, 'gradients', lambda names: [])
    assert 'Gradients of the tasks' not in page_of(['a', 'b'])


@browser.needs_chromium
def test_it_is_readable_with_2_and_with_30_tasks_on_a_phone_and_on_a_screen(tmp_path):
    with browser.opened(tmp_path / 'profile') as chromium:
        for count in (2, 30):
            names = [f'a_rather_long_name_{i}' for i in range(count)]
            path = pathlib.Path(executor.write(page_of(names), str(tmp_path)))
            for width, scheme in ((390, 'dark'), (1280, 'light')):
                chromium.open(path, width=width, height=844, scheme=scheme)
                assert chromium.value('document.documentElement.scrollWidth') == width
                cells = chromium.value("""[...document.querySelectorAll('.gradients table')].map(table =>
                    [...table.tBodies[0].rows].map(row => [...row.cells].slice(1).map(cell => [
                        cell.textContent, cell.scrollWidth <= cell.clientWidth,
                        getComputedStyle(cell).backgroundColor])))""")
                assert len(cells[0]) == count and len(cells[0][0]) == count + 1
                assert all(fits for table in cells for row in table for _, fits, _ in row)
                colours = {text.startswith('−'): colour for row in cells[1] for text, _, colour in row[1:]}
                assert colours[True] != colours[False]
                if count == 2:  # axe-core takes seconds for long lists
                    assert chromium.violations(browser.axe()) == {}

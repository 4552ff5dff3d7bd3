"""What a run prints at its end."""

import dataclasses
import shlex
import shutil
import sys

import pytest

from pipeline import arguments, demo, summary
from pipeline.config import load_config
from pipeline.run_record import NodeRecord

DECISION = {
    'blessed': False, 'reasons': ['Task digits: accuracy is 0.5, below its floor of 0.7.'],
    'tasks': [{'name': 'digits', 'modality': 'image', 'metrics': {'accuracy': 0.5, 'loss': 1.25, 'example_count': 100},
               'baseline_metrics': {'accuracy': 0.75, 'loss': 1.0}, 'primary_metric': 'accuracy', 'floor': 0.7,
               'max_drop': 0.1, 'value': 0.5, 'change': -0.25, 'blessed': False, 'reason': 'below'}],
    'infra': {'blessed': True, 'reasons': []}}


def test_summary_of_a_rejected_model():
    row = summary.task_rows(DECISION)[1]
    assert row.split() == ['digits', 'accuracy', '0.500,', 'loss', '1.250', '0.700', '0.750', '-0.250', 'rejected']
    lines = summary.decision_lines(DECISION, '3', pushed_now=False)
    assert lines[0].startswith('The gate rejected the model') and 'below its floor' in lines[1]
    assert 'Version 3 is still being served' in lines[2]


def test_summary_of_a_model_that_was_pushed_by_force():
    forced = {**DECISION, 'blessed': True, 'forced': 'The new camera is worth it.'}
    assert summary.decision_lines(forced, '4', pushed_now=True) == [
        'The gate rejected the model. It is pushed by force, and it is now version 4.',
        f'  - {DECISION["reasons"][0]}', 'Forced because: The new camera is worth it.']
    assert 'version 4 is this model already' in summary.decision_lines(forced, '4', pushed_now=False)[0]


def test_the_components_that_took_longest_are_named_with_their_cost():
    nodes = {'CoTrainer': NodeRecord(False, 75.0, {}, '', 140.0, 2_100_000_000),
             'Transform_big_pets': NodeRecord(False, 5.5, {}, '', 6.0, 900_000_000),
             'TaskEvaluator_pets': NodeRecord(False, 90.0, {}, '', 100.0, 1_000_000_000),
             'Push': NodeRecord(False, 1.0, {}, '', 1.0, 1), 'Old': NodeRecord(False, 99.0, {}),
             'StatisticsGen_pets': NodeRecord(True, 0.1, {})}
    assert summary.cost_lines(nodes) == [
        'cost    TaskEvaluator of pets: 1 minute and 30 seconds (CPU 1 minute and 40 seconds, 1.0 GB)',
        '        CoTrainer: 1 minute and 15 seconds (CPU 2 minutes and 20 seconds, 2.1 GB)',
        '        Transform of big_pets: 5.5 seconds (CPU 6 seconds, 900.0 MB)']
    assert max(map(len, summary.cost_lines(nodes, 60))) <= 60
    assert summary.cost_lines({'Old': nodes['Old'], 'StatisticsGen_pets': nodes['StatisticsGen_pets']}) == []


def _many(metrics):
    task = {**DECISION['tasks'][0], 'name': 'a_name_that_is_much_too_long_for_a_line', 'metrics': metrics}
    return {**DECISION, 'tasks': [DECISION['tasks'][0], task]}


def test_on_a_narrow_terminal_no_line_wraps_and_no_value_is_lost():
    decision = _many({'accuracy': 0.5, 'loss': 1.25, 'top_5_accuracy': 0.875, 'mean_average_precision': 0.625})
    heading, first, more, second, others = lines = summary.task_rows(decision, 80)
    assert heading.split() == ['task', 'metrics', 'floor', 'serving', 'change', 'verdict']
    assert first.split() == ['digits', 'accuracy', '0.500', '0.700', '0.750', '-0.250', 'rejected']
    assert more == '  loss 1.250' and others == '  loss 1.250, mAP 0.625, top-5 0.875'
    assert second.startswith('a_name_tha..._for_a_line  accuracy 0.500')
    assert max(map(len, lines)) <= 80


def test_the_table_is_no_wider_than_100_columns_however_wide_the_terminal_is():
    decision = _many({'accuracy': 0.5, **{f'{name}_accuracy': 0.5 for name in 'abcdefgh'}})
    for columns in (None, 200, 120):
        lines = summary.task_rows(decision, columns)
        assert max(map(len, lines)) <= 100 and 'h 0.500' in lines[-1]
    assert summary.task_rows(decision)[3].startswith('a_name_that_is_much_too_long_for_a_line ')
    assert len(summary.task_rows(DECISION, 120)) == 2


MEASURED = {'low': 0.402, 'high': 0.598, 'change_low': -0.374, 'change_high': -0.001, 'outcome': 'worse'}


def test_intervals_and_the_outcome_of_the_comparison_are_in_the_table():
    task = DECISION['tasks'][0] | MEASURED
    decision = {**DECISION, 'tasks': [task, {**task, 'name': 'new', 'outcome': None, 'change': None, 'blessed': True,
                                             'baseline_metrics': None, 'change_low': None, 'change_high': None}]}
    heading, digits, others, new, _ = summary.task_rows(decision, 120)
    assert heading.split() == ['task', 'metrics', 'floor', 'serving', 'change', 'compared', 'verdict']
    assert digits == ('digits  accuracy 0.500 (0.40 to 0.60)  0.700    0.750  -0.250 (-0.37 to 0.00)  worse     '
                      'rejected')
    assert others == '  loss 1.250'
    assert new.split()[-4:] == ['-', '-', '-', 'passed']
    lines = summary.task_rows(decision, 80)
    assert max(map(len, lines)) <= 80
    assert lines[2] == '  95% interval 0.40 to 0.60, of the change -0.37 to 0.00; loss 1.250'


def test_long_paths_are_cut_on_a_terminal_only():
    path = '/data/' + 'very_long_name/' * 10 + 'model'
    assert summary.path_lines({'model': path, 'log': ''}) == [f'model  {path}']
    line, = summary.path_lines({'model': path, 'log': ''}, 80)
    assert len(line) == 80 and line.startswith('model  /data/very') and line.endswith('/model') and '...' in line


def test_summary_without_a_baseline():
    task = {**DECISION['tasks'][0], 'baseline_metrics': None, 'change': None, 'blessed': True}
    row = summary.task_rows({**DECISION, 'tasks': [task]})[1]
    assert row.split()[-3:] == ['-', '-', 'passed']


def test_summary_of_a_model_that_is_served_already():
    assert summary.decision_lines({**DECISION, 'blessed': True}, '3', pushed_now=False) == [
        'The gate accepted the model. Nothing is pushed: version 3 is this model already.']


def _parses(line):
    """The arguments of a printed command, by the shell and by the real parser, which rejects wrong ones."""
    words = shlex.split(line)
    assert words[0] == 'polyvit'
    return arguments.build_parser().parse_args(words[1:])


@pytest.fixture
def started_as_polyvit(monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['/somewhere/bin/polyvit'])
    monkeypatch.setattr(shutil, 'which', lambda name: f'/somewhere/bin/{name}')


@pytest.mark.parametrize('folder', ['root', "Anna's files & $HOME"])
@pytest.mark.usefixtures('started_as_polyvit')
def test_what_to_do_next(tmp_path, monkeypatch, folder):
    monkeypatch.chdir(tmp_path)
    config = dataclasses.replace(load_config('demo'), root=str(tmp_path / folder))
    report, sample = str(tmp_path / folder / 'report.html'), str(tmp_path / folder / 'digits' / 'a b.png')
    argv = ('run', 'my configs/mine.py', '--root', folder, '--data', f'{folder}/media')
    title, page, serve, predict = summary.next_lines(config, '3', True, report, {'digits': sample}, argv)
    assert title == 'Next:' and shlex.split(page) == ['open', f'{folder}/report.html', 'in', 'a', 'browser']
    assert _parses(serve).dir == f'{folder}/serving/polyvit'
    parsed = _parses(predict)
    assert (parsed.task, parsed.files, parsed.model) == ('digits', [f'{folder}/digits/a b.png'],
                                                         f'{folder}/serving/polyvit')


@pytest.mark.usefixtures('started_as_polyvit')
def test_the_file_to_predict_is_of_the_first_task_that_has_one():
    config = load_config('demo')
    first, second = (task.name for task in config.mixture.tasks[:2])
    predict = summary.next_lines(config, '3', True, 'report.html', {second: 'a.wav'}, ())[-1]
    assert (_parses(predict).task, _parses(predict).files) == (second, ['a.wav']), f'{first} has texts in a CSV'


@pytest.mark.usefixtures('started_as_polyvit')
def test_after_a_rejection_the_command_is_what_was_typed(tmp_path):
    argv = ('run', 'my configs/mine.py', '--root', 'the root', '--data', "it's here")
    title, fix, again, page = summary.next_lines(load_config('demo'), '', False, 'report.html', {}, argv)
    assert fix.startswith('  fix what the reasons name') and fix.endswith('run it again:')
    parsed = _parses(again)
    assert (parsed.config, parsed.root, parsed.data) == ('my configs/mine.py', 'the root', "it's here")
    # From Python nothing was typed, and an archive has no file to name.
    _, fix, page, serve = summary.next_lines(load_config('demo'), '3', False, 'report.html', {}, ())
    assert fix.endswith('run it again') and page == '  open report.html in a browser' and _parses(serve)


@pytest.mark.parametrize('folder', ['runs/demo', "Anna's demo"])
@pytest.mark.usefixtures('started_as_polyvit')
def test_the_commands_after_the_demo(tmp_path, monkeypatch, folder):
    monkeypatch.chdir(tmp_path)
    root = tmp_path / folder
    lines = demo.next_lines(root, 'digits', str(root / 'media' / 'a b.png'))
    run, report, serve, predict = map(_parses, [line for line in lines if line.startswith('  polyvit ')])
    unusual = folder != 'runs/demo'  # the config's own root and data otherwise
    assert (run.config, run.root, run.data) == ('demo', *((folder, f'{folder}/media') if unusual else (None, None)))
    assert (report.root, serve.dir) == (folder, f'{folder}/serving/polyvit')
    assert (predict.task, predict.files) == ('digits', [f'{folder}/media/a b.png'])


class TestTheProgram:
    def test_as_a_module(self, monkeypatch):
        monkeypatch.setattr(sys, 'argv', ['/a/polyvit/__main__.py', 'run', 'demo'])
        monkeypatch.setattr(sys, 'orig_argv', ['.venv/bin/python', '-X', 'dev', '-m', 'polyvit', 'run', 'demo'])
        assert summary.command('report') == '.venv/bin/python -X dev -m polyvit report'
        monkeypatch.setattr(sys, 'argv', sys.argv[:1])  # as while components run (observed_runner.run)
        assert summary.command('report') == '.venv/bin/python -X dev -m polyvit report'

    def test_by_its_path(self, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, 'argv', [str(tmp_path / 'my env' / 'bin' / 'polyvit'), 'run', 'demo'])
        monkeypatch.setattr(shutil, 'which', lambda name: None)
        assert summary.command('report') == "'my env/bin/polyvit' report"

    def test_from_python(self, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, 'argv', ['/a/ipykernel_launcher.py', '-f', 'x.json'])
        monkeypatch.setattr(sys, 'executable', str(tmp_path / 'python'))
        monkeypatch.setattr(shutil, 'which', lambda name: None)
        assert summary.command('report') == 'python -m polyvit report'

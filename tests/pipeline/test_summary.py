"""What a run prints at its end."""

import dataclasses

from pipeline import summary
from pipeline.config import load_config

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


def test_summary_without_a_baseline():
    task = {**DECISION['tasks'][0], 'baseline_metrics': None, 'change': None, 'blessed': True}
    row = summary.task_rows({**DECISION, 'tasks': [task]})[1]
    assert row.split()[-3:] == ['-', '-', 'passed']


def test_summary_of_a_model_that_is_served_already():
    assert summary.decision_lines({**DECISION, 'blessed': True}, '3', pushed_now=False) == [
        'The gate accepted the model. Nothing is pushed: version 3 is this model already.']


def test_what_to_do_next(tmp_path, monkeypatch):
    monkeypatch.setattr(summary, 'command', lambda: 'polyvit')
    monkeypatch.chdir(tmp_path)
    config = dataclasses.replace(load_config('demo'), root=str(tmp_path / 'root'))
    report = str(tmp_path / 'root' / 'report.html')
    assert summary.next_lines(config, '3', True, report) == [
        'Next:', '  open root/report.html in a browser', '  polyvit serve root/serving/polyvit',
        '  polyvit predict digits FILE --model root/serving/polyvit']
    title, fix, page = summary.next_lines(config, '', False, report)
    assert title == 'Next:' and fix.startswith('  fix what the reasons name')
    assert page == '  open root/report.html in a browser'

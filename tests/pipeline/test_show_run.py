"""`polyvit report`: what it prints and how it exits, for runs that ended in each way."""

import json
import pathlib
import re
import shutil
import types

import pytest

from pipeline import cli, run_record
from pipeline.beam.settings import Beam
from tests import testing
from tests.pipeline.test_summary import DECISION


@pytest.fixture
def root(tmp_path) -> pathlib.Path:
    return tmp_path / 'runs' / 'mine'


@pytest.fixture
def report(root, monkeypatch, capsys, tmp_path):
    """Runs the command; returns its exit code and what it printed."""
    monkeypatch.chdir(tmp_path)

    def run(*options):
        code = cli.main(['report', *options])
        return code, capsys.readouterr().out
    return run


def _end(root, exit_code, **more) -> run_record.Record:
    config = types.SimpleNamespace(name='mine', run_root=root, overrides=(), beam=Beam())
    record = run_record.start(config, 'key', ('run', 'my configs/mine.py'))
    return run_record.end(config, record, exit_code, 74.0, **more)


def _with_report(root, exit_code, others=None, **more) -> run_record.Record:
    trained = run_record.NodeRecord(False, 60.0, {'model_run': [str(root / 'pipeline/CoTrainer/model_run/9')]})
    return _end(root, exit_code, components={'CoTrainer': trained, **(others or {})},
                report=str(root / 'pipeline/Report/report.html'), **more)


def _serve(root, version):
    (root / 'serving/polyvit' / version).mkdir(parents=True)
    (root / 'serving/polyvit' / version / 'saved_model.pb').write_text('x')


def test_a_rejected_model(root, report):
    _serve(root, '3')
    record = _with_report(root, 3, decision=DECISION, version='3')
    code, text = report()
    assert code == 0 and report('--check')[0] == 3
    for words in ('config   mine', "run 'my configs/mine.py'", record.started[:10], '1 minute and 14 seconds: rejected',
                  'version  3, was there before; it is the newest', 'digits', DECISION['reasons'][0],
                  'Version 3 is still being served', 'runs/mine/pipeline/Report/report.html',
                  'runs/mine/pipeline/CoTrainer/model_run/9/tensorboard', f'runs/mine/logs/run-{record.id}.log'):
        assert words in text


def test_a_pushed_model_and_what_became_of_it(root, report):
    _serve(root, '3')
    _with_report(root, 0, decision=DECISION | {'blessed': True}, version='3', pushed=True)
    code, text = report('--check')
    assert code == 0 and 'version  3, pushed by this run; it is the newest' in text
    assert 'The gate accepted the model: it is now version 3.' in text
    _serve(root, '4')
    assert 'version  3, pushed by this run; the newest is now 4' in report()[1]
    assert 'study   ' not in text
    testing.write(root, 'study/study.html', 'x')
    testing.write(root, 'study/change-model.dropout-0.1-0a1b2c3d.html', 'x')
    assert report()[1].endswith('study   runs/mine/study/study.html\n'
                                'study   runs/mine/study/change-model.dropout-0.1-0a1b2c3d.html\n')


def test_what_is_remarkable_about_the_data_is_said_again(root, report):
    folder = root / 'pipeline/DataDrift/data_statistics/7'
    testing.write(folder, 'drift.json', json.dumps({'findings': [{'sentence': 'digits: 12 dB quieter.'}]}))
    drift = run_record.NodeRecord(True, 0.1, {'data_statistics': [str(folder)]})
    _with_report(root, 3, decision=DECISION, others={'DataDrift': drift})
    assert '  - digits: 12 dB quieter.' in report()[1]
    shutil.rmtree(folder)
    assert 'The gate rejected the model' in report()[1], 'after `polyvit clean`'


def test_a_run_that_failed_says_why(root, report):
    record = _end(root, 1, reason='Stopped at TaskValidator of digits: 3 of 9 files were rejected.')
    code, text = report('--check')
    assert code == 1 and 'version  none' in text and ': failed' in text
    assert 'Stopped at TaskValidator of digits: 3 of 9 files were rejected.' in text
    assert f'runs/mine/logs/run-{record.id}.log' in text and 'tensorboard' not in text
    assert re.search(r"\n\nTo run again:\n  .*polyvit run 'my configs/mine.py'\n$", text)


def test_an_interrupted_run_says_how_to_go_on(root, report, monkeypatch, tmp_path, capsys):
    _end(root, 130, reason='Interrupted by Ctrl-C while CoTrainer was running.')
    assert re.search(r"\n\nTo go on:\n  .*polyvit run 'my configs/mine.py'\n$", report()[1])
    testing.write(tmp_path, 'other/x', '')
    monkeypatch.chdir(tmp_path / 'other')
    assert cli.main(['report', '--root', str(root)]) == 0
    assert f'To go on, in {tmp_path}:' in capsys.readouterr().out
    _end(root, 3, decision=DECISION, report='report.html', components={
        'CoTrainer': run_record.NodeRecord(False, 60.0, {'model_run': ['9']})})
    assert cli.main(['report', '--root', str(root)]) == 0
    assert 'To go on' not in capsys.readouterr().out


def test_a_later_run_that_goes_on_or_died(root, report):
    _end(root, 1, reason='It failed.')
    assert 'A later run' not in report()[1]
    with run_record.one_run_at_a_time(root):
        later = run_record.start(types.SimpleNamespace(name='mine', run_root=root, overrides=(), beam=Beam()), 'key')
        assert f'A later run is in progress; its log is runs/mine/logs/run-{later.id}.log.' in report()[1]
    assert 'A later run was killed before its end' in report()[1]


def test_json(root, report):
    record = _with_report(root, 3, decision=DECISION)
    code, text = report('--json', '--check')
    assert code == 3 and json.loads(text)['decision'] == DECISION and json.loads(text)['id'] == record.id


def test_no_run(report, tmp_path):
    assert report() == (2, '') and report('--root', str(tmp_path), '--check')[0] == 2

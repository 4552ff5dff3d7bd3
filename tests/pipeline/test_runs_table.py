"""`polyvit runs` and `polyvit runs show`, on records of runs that ended in every way."""

import dataclasses
import datetime
import json

import pytest

from pipeline import cli, run_record, runs_table
from pipeline.config import load_config
from pipeline.run_record import NodeRecord

TASKS = [{'name': name, 'modality': 'image', 'primary_metric': 'accuracy', 'metrics': {'accuracy': value, 'loss': 0.5},
          'baseline_metrics': None, 'floor': 0.5, 'max_drop': 0.1, 'value': value, 'change': None, 'blessed': True,
          'reason': ''} for name, value in (('digits', 0.94), ('motion', 0.975), ('sounds', None))]
DECISION = {'blessed': True, 'reasons': [], 'baseline_version': '', 'infra': {'blessed': True, 'reasons': []},
            'tasks': TASKS}
VERSION = '1795686717'
REJECTED = {**DECISION, 'blessed': False, 'reasons': ['Task digits: accuracy is 0.4, below its floor of 0.5.']}


def _config(root, name='demo', overrides=()):
    return dataclasses.replace(load_config('demo'), name=name, root=str(root), overrides=overrides)


def _end(root, exit_code, seconds=74.0, name='demo', cached=False, argv=('run', 'demo'), overrides=(), **more):
    """A run that has ended; returns its record."""
    config = _config(root, name, overrides)
    record = run_record.start(config, 'key', argv)
    outputs = {'model_run': [str(root / 'model_run')]}
    components = {'CoTrainer': NodeRecord(cached, 32.0, outputs, '', 40.0, 2_000_000_000),
                  'Transform_digits': NodeRecord(True, 0.1, {})}
    (root / 'logs' / f'run-{record.id}.log').write_text('')
    return run_record.end(config, record, exit_code, seconds, components=more.pop('components', components), **more)


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A root with a run of each kind, in this order. The clock is a minute later at each."""
    monkeypatch.chdir(tmp_path)
    now = datetime.datetime(2026, 1, 2, 3, 4, tzinfo=datetime.timezone.utc)

    class Clock(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            nonlocal now
            now += datetime.timedelta(minutes=1)
            return now
    monkeypatch.setattr(run_record.datetime, 'datetime', Clock)
    root = tmp_path / 'runs' / 'demo'
    _end(root, 0, version=VERSION, pushed=True, decision=DECISION, overrides=('training.seed=1',),
         report=str(root / 'r.html'))
    _end(root, 0, cached=True, version=VERSION, decision=DECISION, repeats='20260102-030500', seconds=1.2)
    _end(root, 3, version=VERSION, decision=REJECTED)
    _end(root, 1, reason='Stopped at CoTrainer: The weights are not finite.', components={})
    _end(root, 130, reason='Ctrl-C.')
    run_record.start(_config(root), 'key')
    return root


def _runs(capsys, *words, code=0):
    assert cli.main(['runs', *words]) == code
    return capsys.readouterr()


def test_a_line_per_run_newest_first(root, capsys):
    heading, *rows = _runs(capsys, '--root', str(root)).out.splitlines()
    assert heading.split() == ['run', 'config', 'state', 'model', 'version', 'time', 'primary', 'metrics']
    cells = [row.split() for row in rows]
    assert [row[2] for row in cells] == ['killed', 'interrupted', 'failed', 'rejected', 'unchanged', 'done']
    assert cells[5] == ['20260102-030500', 'demo', 'done', 'pushed', VERSION, '0:01:14', 'digits', '0.940,', 'motion',
                        '0.975,', 'sounds', '-']
    assert cells[4][3:6] == ['accepted', VERSION, '0:00:01'] and cells[3][3:5] == ['rejected', VERSION]
    assert cells[2] == [cells[2][0], 'demo', 'failed', '0:01:14'] and len(cells[0]) == 3


def test_a_run_is_running_while_it_holds_the_lock(root, capsys):
    with run_record.one_run_at_a_time(root):
        assert _runs(capsys, '--root', str(root)).out.splitlines()[1].split()[2] == 'running'


@pytest.mark.parametrize('columns', [80, 100, 120])
def test_it_fits_the_terminal_and_leaves_nothing_out(root, columns):
    lines = runs_table.lines(runs_table.runs(str(root)), columns)
    assert max(map(len, lines)) <= columns
    text = '\n'.join(lines)
    assert text.count('digits 0.940, motion 0.975, sounds -') == 3 and text.count('20260102-') == 6
    assert len(lines) == (7 if columns == 120 else 10)


def test_all_roots_under_runs(root, capsys):
    _end(root.parent / 'other', 0, name='other', version='8', pushed=True, decision=DECISION)
    heading, first, *_ = _runs(capsys).out.splitlines()
    assert heading.split()[-1] == 'root' and first.split()[1] == 'other' and first.split()[-1] == 'runs/other'
    narrow = runs_table.lines(runs_table.runs(None), 80)
    assert narrow[2] == '    runs/other: digits 0.940, motion 0.975, sounds -' and max(map(len, narrow)) <= 80


def test_json(root, capsys):
    rows = json.loads(_runs(capsys, '--json').out)
    assert [row['state'] for row in rows] == ['killed', 'interrupted', 'failed', 'rejected', 'unchanged', 'done']
    assert rows[5] == {
        'run': '20260102-030500', 'root': str(root), 'config': 'demo', 'state': 'done', 'verdict': 'pushed',
        'version': VERSION, 'started': '2026-01-02T03:05:00+00:00', 'seconds': 74.0, 'exit_code': 0, 'reason': '',
        'log': str(root / 'logs/run-20260102-030500.log'), 'report': str(root / 'r.html'),
        'metrics': {'digits': {'name': 'accuracy', 'value': 0.94}, 'motion': {'name': 'accuracy', 'value': 0.975},
                    'sounds': {'name': 'accuracy', 'value': None}}}


class TestShow:
    def test_a_run_with_its_overrides_and_components(self, root, capsys):
        out = _runs(capsys, 'show', '20260102-0305', '--root', str(root)).out
        for text in ('set      training.seed=1', 'pushed by this run', 'digits', '0.940', 'run demo',
                     'r.html is no longer', '2 components, 1 from the cache'):
            assert text in out
        rows = [line.split() for line in out.splitlines()]
        assert ['CoTrainer', '32', 'seconds', '40', 'seconds', '2.0', 'GB'] in rows
        assert ['Transform', 'digits', 'cached'] in rows

    def test_by_default_the_newest(self, root, capsys):
        out = _runs(capsys, 'show').out
        for words in ('killed', 'It died before it could write its end.', 'What had finished was not recorded.'):
            assert words in out

    def test_one_that_is_running(self, root, capsys):
        with run_record.one_run_at_a_time(root):
            out = _runs(capsys, 'show').out
        for words in ('It is running.', 'version  not recorded yet', 'What has finished is recorded when the run ends'):
            assert words in out

    @pytest.mark.parametrize('run, text', [('20260102-0306', 'repeats  20260102-030500'),
                                           ('20260102-0307', 'below its floor of 0.5'),
                                           ('20260102-0308', 'The weights are not finite.'),
                                           ('20260102-0309', 'Ctrl-C.')])
    def test_how_it_ended(self, root, capsys, run, text):
        assert text in _runs(capsys, 'show', run).out

    def test_json_is_the_record(self, root, capsys):
        shown = json.loads(_runs(capsys, 'show', '20260102-030800', '--json').out)
        assert shown == json.loads((root / 'logs/run-20260102-030800.json').read_text())

    @pytest.mark.parametrize('words, sentence', [
        (['2027'], "There is no run named '2027'."),
        (['20260102'], "6 runs fit '20260102': "),
        (['--root', 'nowhere'], 'There is no run under nowhere.')])
    def test_no_such_run(self, root, capsys, words, sentence):
        assert sentence in _runs(capsys, 'show', *words, code=2).err


def test_the_root_may_stand_before_or_after_show(root, capsys, tmp_path):
    _end(tmp_path / 'elsewhere', 0, name='other', decision=DECISION)
    for words in (['--root', 'elsewhere', 'show'], ['show', '--root', 'elsewhere']):
        assert 'config   other' in _runs(capsys, *words).out


def test_no_run_at_all(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert 'There is no run under runs/.' in _runs(capsys, code=2).err
    (tmp_path / 'runs' / 'x' / 'logs').mkdir(parents=True)
    assert 'There is no record of a run under runs.' in _runs(capsys, code=2).err


def test_a_root_that_was_moved(root, capsys, tmp_path):
    root.rename(tmp_path / 'moved')
    rows = json.loads(_runs(capsys, '--root', 'moved', '--json').out)
    assert {row['root'] for row in rows} == {str(tmp_path / 'moved')}
    assert 'root     moved' in _runs(capsys, 'show', '--root', 'moved').out

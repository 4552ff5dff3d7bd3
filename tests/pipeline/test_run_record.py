"""The lock of a run's root, and last_run.json."""

import dataclasses
import os
import types

import pytest

from model_code.errors import ConfigError
from pipeline import run_record


def test_one_run_at_a_time(tmp_path):
    with run_record.one_run_at_a_time(tmp_path):
        with pytest.raises(ConfigError, match='Another run'):
            with run_record.one_run_at_a_time(tmp_path):
                pass
    with run_record.one_run_at_a_time(tmp_path):
        pass


def test_a_root_that_cannot_be_created(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(ConfigError, match=f'The folder {tmp_path}/file cannot be created: File exists'):
        with run_record.one_run_at_a_time(tmp_path / 'file'):
            pass


@dataclasses.dataclass
class NodeRecord:
    """Like observed_runner.NodeRecord, whose module imports TFX."""
    cached: bool
    seconds: float
    outputs: dict


def _write(root, **more):
    root.mkdir(parents=True, exist_ok=True)
    records = {'Report': NodeRecord(cached=False, seconds=1.5, outputs={'report': ['/r']})}
    run_record.write(types.SimpleNamespace(name='demo', run_root=root), records, 0, root / 'run.log', **more)


def test_what_is_written_is_read(tmp_path):
    _write(tmp_path, report='/r/report.html', version='3')
    assert os.listdir(tmp_path) == ['last_run.json']
    assert run_record.read(str(tmp_path)) == {
        'config': 'demo', 'exit_code': 0, 'log': str(tmp_path / 'run.log'), 'report': '/r/report.html', 'version': '3',
        'components': {'Report': {'cached': False, 'seconds': 1.5, 'outputs': {'report': ['/r']}}}}


def test_the_newest_run_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match='There is no run under runs/CONFIG'):
        run_record.read()
    for name, time in (('b', 2_000), ('a', 1_000)):
        _write(tmp_path / 'runs' / name, report=name)
        os.utime(tmp_path / 'runs' / name / 'last_run.json', (time, time))
    assert run_record.read()['report'] == 'b'


def test_a_run_without_a_report(tmp_path):
    _write(tmp_path)
    with pytest.raises(ConfigError, match=f'ended before its report. Its log is {tmp_path}/run.log'):
        run_record.read(str(tmp_path))

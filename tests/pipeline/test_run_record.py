"""The lock of a run's root, and the records of runs."""

import dataclasses
import json
import os
import pathlib
import types

import pytest

from model_code.errors import ConfigError
from pipeline import run_record
from pipeline.beam.settings import Beam


def test_one_run_at_a_time(tmp_path):
    with run_record.one_run_at_a_time(tmp_path):
        with pytest.raises(ConfigError, match='Another run'):
            with run_record.one_run_at_a_time(tmp_path):
                pass
    with run_record.one_run_at_a_time(tmp_path):
        pass


def test_a_root_that_cannot_be_created(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(ConfigError, match=f'^{tmp_path}/file must be a folder, but {tmp_path}/file is a file.'):
        with run_record.one_run_at_a_time(tmp_path / 'file'):
            pass


def _config(root, name='demo'):
    return types.SimpleNamespace(name=name, run_root=root, overrides=('training.seed=1',), beam=Beam())


def _run(root, exit_code=0, **more):
    config = _config(root)
    return run_record.end(config, run_record.start(config, 'key', ('run', 'demo')), exit_code, 1.25, **more)


def test_what_is_written_is_read(tmp_path):
    node = run_record.NodeRecord(cached=False, seconds=1.5, outputs={'report': ['/r']})
    written = _run(tmp_path, report='/r/report.html', version='3', components={'Report': node})
    assert sorted(os.listdir(tmp_path)) == ['last_run.json', 'logs']
    assert os.listdir(tmp_path / 'logs') == [f'run-{written.id}.json']
    read = run_record.read(str(tmp_path))
    assert read == written == run_record.records(tmp_path)[0]
    assert (read.state, read.exit_code, read.seconds, read.argv) == ('done', 0, 1.2, ('run', 'demo'))
    assert read.components['Report'].outputs == {'report': ['/r']} and read.log.endswith(f'run-{read.id}.log')
    # Scripts read the file, not the class.
    last = json.loads((tmp_path / 'last_run.json').read_text())
    assert last['components']['Report']['seconds'] == 1.5 and last['overrides'] == ['training.seed=1']


@pytest.mark.parametrize('exit_code, state', [
    (0, 'done'), (1, 'failed'), (3, 'rejected'), (130, 'interrupted'), (143, 'interrupted')])
def test_the_state_follows_from_the_exit_code(tmp_path, exit_code, state):
    assert _run(tmp_path, exit_code).state == state


def test_every_run_has_a_record_the_newest_first(tmp_path):
    first, second, third = (_run(tmp_path, code) for code in (0, 1, 3))  # within a second: the ids differ all the same
    assert [r.id for r in run_record.records(tmp_path)] == [third.id, second.id, first.id]
    assert len({first.id, second.id, third.id}) == 3
    assert run_record.read(str(tmp_path)) == third


def test_ids_are_ordered_beyond_nine_within_a_second(tmp_path):
    ids = [_run(tmp_path).id for _ in range(12)]
    assert [r.id for r in run_record.records(tmp_path)] == ids[::-1]


def test_a_run_that_died_is_told_from_one_that_goes_on(tmp_path):
    with run_record.one_run_at_a_time(tmp_path):
        going_on = run_record.start(_config(tmp_path), 'key')
        assert [r.state for r in run_record.records(tmp_path)] == ['running']
    assert run_record.records(tmp_path) == [dataclasses.replace(going_on, state='killed')]
    with pytest.raises(ConfigError, match='has come to its end yet'):
        run_record.read(str(tmp_path))


def test_seconds_are_those_of_the_last_run_that_was_not_from_the_cache(tmp_path):
    assert run_record.seconds(tmp_path) == {}
    for seconds, cached in ((30.0, False), (20.0, False), (0.1, True)):
        _run(tmp_path, components={'Report': run_record.NodeRecord(cached, seconds, {})})
    _run(tmp_path, 1, components={'CoTrainer': run_record.NodeRecord(False, 5.0, {})})
    assert run_record.seconds(tmp_path) == {'Report': 20.0, 'CoTrainer': 5.0}


def test_an_unreadable_record_is_left_out(tmp_path):
    record = _run(tmp_path)
    for content in ('{', '[]', '{}', '{"config": "a", "log": "b", "components": {"X": {"no": 1}}}',
                    '{"config": "a", "log": "b", "decision": {"blessed": true}}'):
        (tmp_path / 'logs' / 'run-20200101-000000.json').write_text(content)
        assert run_record.records(tmp_path) == [record]
        (tmp_path / 'last_run.json').write_text(content)
        with pytest.raises(ConfigError, match=r'last_run.json cannot be read \(.+\). Run the config again'):
            run_record.read(str(tmp_path))


def test_fields_of_other_versions_are_no_obstacle(tmp_path):
    (tmp_path / 'last_run.json').write_text('{"config": "demo", "exit_code": 0, "log": "a.log", "colour": "red"}')
    assert run_record.read(str(tmp_path)) == run_record.Record(id='', config='demo', log='a.log', exit_code=0)


def test_the_newest_run_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match='There is no run under runs/CONFIG'):
        run_record.read()
    for name, time in (('b', 2_000), ('a', 1_000)):
        _run(pathlib.Path('runs', name), report=name)
        os.utime(tmp_path / 'runs' / name / 'last_run.json', (time, time))
    assert run_record.read().report == 'b'

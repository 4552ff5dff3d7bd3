"""`polyvit doctor`: what each check says of a machine that is as it should be, and of one that is not."""

import errno
import json
import os
import pathlib
import shutil
import socket
import sys
import threading
import types

import pytest

from model_code import isolated
from pipeline import cli, doctor, doctor_checks, fingerprints
from pipeline.doctor_checks import OK, PROBLEM, WARNING, Finding


def _one(findings: list[Finding], name: str) -> Finding:
    finding, = (f for f in findings if f.name == name)
    assert bool(finding.fix) == (finding.state != OK)
    return finding


def test_machine(monkeypatch):
    finding = _one(doctor_checks.machine(), 'machine')
    assert finding.state in (OK, WARNING) and 'core' in finding.text and 'of memory' in finding.text
    monkeypatch.setattr(doctor_checks.psutil, 'virtual_memory', lambda: types.SimpleNamespace(total=8e9, available=1e9))
    assert _one(doctor_checks.machine(), 'machine').state == WARNING
    monkeypatch.setattr(doctor_checks.platform, 'machine', lambda: 'x86_64')
    monkeypatch.setattr(doctor_checks, 'read', lambda path: 'flags : fpu sse2\n')
    finding = _one(doctor_checks.machine(), 'machine')
    assert finding.state == PROBLEM and 'AVX' in finding.text


class TestPackages:
    def test_a_package_that_differs_is_named(self, monkeypatch):
        installed = fingerprints.library_version
        monkeypatch.setattr(fingerprints, 'library_version',
                            lambda name: '99.0' if name == 'humanize' else installed(name))
        finding = _one(doctor_checks.packages(), 'packages')
        assert finding.state == WARNING and 'humanize 99.0 (tested: ' in finding.text and 'TensorFlow 2' in finding.text

    def test_one_that_is_missing_is_a_problem(self, monkeypatch):
        installed = fingerprints.library_version
        monkeypatch.setattr(fingerprints, 'library_version',
                            lambda name: None if name in ('tfx', 'av') else installed(name))
        finding = _one(doctor_checks.packages(), 'packages')
        assert finding.state == PROBLEM and finding.text.endswith('not installed: tfx, av')

    def test_a_wheel_without_the_lock_has_ranges(self, monkeypatch, tmp_path):
        monkeypatch.setattr(doctor_checks, 'LOCK', tmp_path / 'none')
        assert doctor_checks.differing_packages() == []
        installed = fingerprints.library_version
        monkeypatch.setattr(fingerprints, 'library_version',
                            lambda name: '0.1' if name == 'humanize' else installed(name))
        assert doctor_checks.differing_packages() == ['humanize 0.1 (tested: >=4.9)']

    def test_python(self, monkeypatch):
        monkeypatch.setattr(doctor_checks.platform, 'python_version', lambda: '3.13.1')
        assert _one(doctor_checks.packages(), 'python').state == WARNING

    def test_the_tested_python_is_that_of_the_lock(self):
        makefile = (pathlib.Path(__file__).resolve().parents[2] / 'Makefile').read_text()
        assert f'--python-version {doctor_checks.TESTED_PYTHON} ' in makefile


class TestAccelerators:
    @pytest.mark.parametrize('code, state, words', [
        ('import time; time.sleep(60)', WARNING, 'did not start within'),
        ('import os; os.kill(os.getpid(), 4)', PROBLEM, '(SIGILL)'),
        ('import nothing_of_that_name', PROBLEM, "No module named 'nothing_of_that_name'"),
    ])
    def test_a_tensorflow_that_does_not_start(self, monkeypatch, code, state, words):
        monkeypatch.setattr(isolated, 'python', lambda *_: [sys.executable, '-c', code])
        monkeypatch.setattr(doctor_checks, 'DEVICES_SECONDS', 1.0 if state == WARNING else 60.0)
        finding = _one(doctor_checks.accelerators(), 'accelerators')
        assert finding.state == state and words in finding.text

    def test_what_was_found(self, monkeypatch):
        code = '''import json; print('DEVICES', json.dumps({'found': [('GPU', 'H100'), ('TPU', '')], 'cuda': True}))'''
        monkeypatch.setattr(isolated, 'python', lambda *_: [sys.executable, '-c', code])
        monkeypatch.setattr(doctor_checks, 'DEVICES_SECONDS', 60.0)
        assert doctor_checks.accelerators() == [Finding('accelerators', OK, 'GPU H100, TPU')]

    @pytest.mark.parametrize('driver, visible, cuda, state, words', [
        (False, None, True, OK, 'none'),
        (True, '', True, WARNING, 'unset CUDA_VISIBLE_DEVICES'),
        (True, None, True, WARNING, 'tensorflow[and-cuda]=='),
        (True, '0', False, WARNING, 'built for CUDA'),
    ])
    def test_no_device(self, monkeypatch, driver, visible, cuda, state, words):
        monkeypatch.setattr(doctor_checks.os.path, 'exists', lambda path: driver)
        monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
        if visible is not None:
            monkeypatch.setenv('CUDA_VISIBLE_DEVICES', visible)
        finding = doctor_checks._about_devices([], cuda)
        assert finding.state == state and words in finding.text + finding.fix


class TestDisk:
    def test_the_nearest_folder_that_exists(self, tmp_path):
        finding = _one(doctor_checks.disk(str(tmp_path / 'runs' / 'new')), 'disk')
        assert f'free in {tmp_path}, writes' in finding.text
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize('free, speed, state', [(4e9, 1e9, WARNING), (1e8, 1e9, PROBLEM), (1e12, 1e6, WARNING),
                                                    (1e12, 1e9, OK)])
    def test_little_space_or_speed(self, monkeypatch, tmp_path, free, speed, state):
        monkeypatch.setattr(shutil, 'disk_usage', lambda path: types.SimpleNamespace(free=free))
        monkeypatch.setattr(doctor_checks, '_write_speed', lambda folder: speed)
        assert _one(doctor_checks.disk(str(tmp_path)), 'disk').state == state

    @pytest.mark.parametrize('number, words', [(errno.EACCES, 'sudo chown'), (errno.ENOLCK, 'another --root')])
    def test_a_folder_that_cannot_be_written_or_locked(self, monkeypatch, tmp_path, number, words):
        def fail(folder):
            raise OSError(number, os.strerror(number))
        monkeypatch.setattr(doctor_checks, '_write_speed', fail)
        finding = _one(doctor_checks.disk(str(tmp_path)), 'disk')
        assert finding.state == PROBLEM and words in finding.fix and os.strerror(number) in finding.text


def test_ports(monkeypatch):
    with socket.socket() as server:
        server.bind(('127.0.0.1', 0))
        port = server.getsockname()[1]
        monkeypatch.setattr(doctor_checks, 'PORTS', {port: 'REST'})
        server.listen()
        finding = _one(doctor_checks.ports(), 'ports')
        assert finding.state == WARNING and finding.text.startswith(f'{port} (REST) is used by process {os.getpid()} (')
    assert _one(doctor_checks.ports(), 'ports').state == OK


def test_codecs(monkeypatch):
    assert _one(doctor_checks.codecs(), 'codecs').state == OK
    monkeypatch.setattr(doctor_checks, 'CODECS', ('h264', 'smellovision'))
    finding = _one(doctor_checks.codecs(), 'codecs')
    assert finding.state == WARNING and finding.text.endswith('cannot decode smellovision')


class TestDecoding:
    def test_it_works(self):
        assert _one(doctor_checks.decoding(), 'decoding').state == OK

    def test_media_that_are_not_decoded_are_a_problem(self, monkeypatch):
        def make(folder):
            pathlib.Path(folder, 'image.png').write_bytes(b'no image')
            return ('image.png',)
        monkeypatch.setattr(doctor_checks, '_make_media', make)
        finding = _one(doctor_checks.decoding(), 'decoding')
        assert finding.state == PROBLEM and 'image: unsupported' in finding.text


class TestSettings:
    @pytest.fixture(autouse=True)
    def clean(self, monkeypatch):
        for name in ('POLYVIT_DATA', 'POLYVIT_DEMO_DATA'):
            monkeypatch.delenv(name, raising=False)

    def test_nothing_set(self):
        assert _one(doctor_checks.settings(), 'settings').state == OK

    @pytest.mark.parametrize('name, value, state', [
        ('POLYVIT_DATA', '/nowhere/at/all', WARNING), ('POLYVIT_DATA', '/', OK)])
    def test_a_variable(self, monkeypatch, name, value, state):
        monkeypatch.setenv(name, value)
        finding = _one(doctor_checks.settings(), 'settings')
        assert finding.state == state and (state == OK or finding.fix == f'unset {name}')

    def test_a_locale_without_unicode(self, monkeypatch):
        monkeypatch.setattr(doctor_checks.locale, 'getpreferredencoding', lambda *unused: 'ANSI_X3.4-1968')
        finding = _one(doctor_checks.settings(), 'locale')
        assert finding.state == WARNING and finding.fix == 'export LC_ALL=C.UTF-8'


def test_a_check_that_fails_and_one_that_hangs():
    def fail():
        raise ValueError('broken')
    hang = threading.Event()
    found = dict(doctor.examine({'a': fail, 'b': lambda: hang.wait() and [], 'c': lambda: [Finding('c', OK, 'fine')]},
                                seconds=0.3))
    hang.set()
    assert [found[name][0].state for name in 'abc'] == [PROBLEM, WARNING, OK]
    assert 'ValueError: broken' in found['a'][0].text and 'did not end within' in found['b'][0].text


@pytest.mark.parametrize('width', [80, 120])
def test_lines_fit(width):
    finding = Finding('accelerators', WARNING, 'word ' * 60, 'another ' * 30)
    lines = doctor.render(finding, width).splitlines()
    assert max(map(len, lines)) <= width and len(lines) > 3
    assert lines[0].startswith('accelerators  warning  word') and any(line.strip().startswith('fix:') for line in lines)


@pytest.mark.parametrize('state, code, sentence', [
    (OK, 0, 'A run can work here.'), (WARNING, 0, 'A run can work here, with 1 warning.'),
    (PROBLEM, 1, 'A run cannot work here: 1 problem, 0 warnings.')])
def test_the_command(monkeypatch, capsys, state, code, sentence):
    monkeypatch.setattr(doctor, 'checks', lambda root: {'thing': lambda: [Finding('thing', state, f'of {root}', 'do')]})
    assert cli.main(['doctor', '--root', 'x']) == code
    out = capsys.readouterr().out
    assert f'thing         {state:<9}of x' in out and out.rstrip().endswith(sentence)
    assert cli.main(['doctor', '--json']) == code
    assert json.loads(capsys.readouterr().out) == {
        'ok': code == 0, 'checks': [{'name': 'thing', 'state': state, 'text': 'of runs', 'fix': 'do'}]}


def test_everything_that_it_says_it_looks_at_is_looked_at():
    assert set(doctor.checks('runs')) == {'machine', 'packages', 'disk', 'ports', 'settings', 'codecs', 'decoding',
                                          'accelerators'}

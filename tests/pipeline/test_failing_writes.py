"""What cannot be written is a sentence: before anything starts where it can be known then."""

import contextlib
import dataclasses
import errno
import os
import pathlib
import subprocess
import sys

import pytest

from model_code import file_io
from model_code.errors import ConfigError
from pipeline import cli, local_runner, roots, run_record
from pipeline.config import load_config
from tests import testing

CONFIG = '''
from polyvit import *
def get_config():
    return PipelineConfig('mine', Mixture([Task('t', 'image', data=Data({data!r}), recipe=Recipe(3, 2))]), ModelConfig(
        layers=1, width=8, heads=2, mlp_width=8, inputs=[ImageInput(16, 16, (8, 8))]))
'''


@pytest.fixture
def config(tmp_path):
    task = testing.image_task(tmp_path / 'media')
    return str(testing.write(tmp_path, 'mine.py', CONFIG.format(data=task.data.folder)))


def _sentence(capsys, code: int, *words: str):
    err = ' '.join(capsys.readouterr().err.split())
    assert err.startswith('polyvit: ') and err.endswith('.') and 'Error' not in err, err
    assert all(word in err for word in words), err
    return code


@contextlib.contextmanager
def _read_only(monkeypatch, folder: pathlib.Path):
    """The folder is one to which this user may not write. (Tests may run as a user who may write everywhere.)"""
    access = os.access
    with monkeypatch.context() as patch:
        patch.setattr(os, 'access', lambda path, mode: access(path, mode) and not (
            mode & os.W_OK and pathlib.Path(path) == folder))
        yield


@pytest.mark.parametrize('name', ['', 'logs', 'pipeline', 'serving', 'serving/polyvit'])
def test_a_file_where_a_run_needs_a_folder(config, tmp_path, capsys, name):
    path = testing.write(tmp_path, f'root/{name}' if name else 'root', '')
    assert _sentence(capsys, cli.main(['run', config, '--root', str(tmp_path / 'root')]), f'{path} is a file') == 2
    assert sum(len(files) for _, _, files in os.walk(tmp_path / 'root')) == bool(name)


@pytest.mark.parametrize('name', ['metadata.db', '.lock', 'last_run.json'])
def test_a_folder_where_a_run_needs_a_file(config, tmp_path, capsys, name):
    (tmp_path / 'root' / name).mkdir(parents=True)
    code = cli.main(['run', config, '--root', str(tmp_path / 'root')])
    assert _sentence(capsys, code, f'{tmp_path}/root/{name} must be a file to which you may write') == 2
    assert os.listdir(tmp_path / 'root') == [name]


@pytest.mark.parametrize('name', ['root', 'root/serving', 'above/root'])
def test_a_root_without_permission(config, tmp_path, capsys, monkeypatch, name):
    folder = tmp_path / name.partition('/root')[0]
    folder.mkdir(parents=True)
    root = tmp_path / (name if name.endswith('root') else 'root')
    with _read_only(monkeypatch, folder):
        code = cli.main(['run', config, '--root', str(root)])
    assert _sentence(capsys, code, f'you have no permission to write to {folder}') == 2


@pytest.mark.parametrize('root, word', [
    *((f'a{character}b', 'for a pattern') for character in '[]*?\\'), ('a\x1bb', 'cannot be shown'),
    ('a\nb', 'cannot be shown'), ('a\udcff', 'is not UTF-8')])
def test_a_root_that_a_run_could_not_use(config, tmp_path, capsys, root, word):
    assert _sentence(capsys, cli.main(['run', config, '--root', str(tmp_path / root)]), word) == 2
    assert sorted(os.listdir(tmp_path)) == ['media', 'mine.py']


@pytest.mark.parametrize('words', [['predict', 't', 'mine.py', '--model'], ['export', '-o', 'x.tflite'], ['serve']])
def test_a_model_that_tensorflow_would_not_find(config, tmp_path, capsys, words):
    testing.write(tmp_path, 'models [1]/1/saved_model.pb', b'')
    code = cli.main([*words, str(tmp_path / 'models [1]')])
    assert _sentence(capsys, code, 'models [1]: TensorFlow takes a path with', 'Rename the folder') == 2


def test_the_current_folder_has_brackets_and_there_is_no_root(config, tmp_path, capsys, monkeypatch):
    (tmp_path / '[1]').mkdir()
    monkeypatch.chdir(tmp_path / '[1]')
    assert _sentence(capsys, cli.main(['run', config]), f'{tmp_path}/[1]/runs/mine: TensorFlow takes a') == 2
    assert os.listdir() == []


def test_roots_that_a_run_can_use(tmp_path):
    """A run under such a root was seen to work whole, with data in a folder of all these characters and [ ] * ?."""
    roots.check_writable(tmp_path / "root %41#1 ü'{x},y@2 $HOME &;a=b")


@pytest.mark.parametrize('words', [
    ['data', 'demo', '{}/x'], ['demo', '--root', '{}/x'],
    ['compile', 'demo', '-o', '{}/x.yaml', '--root', 'gs://bucket/p', '--image', 'r/i:1'],
])
class TestOutputs:
    def test_below_a_file(self, words, tmp_path, capsys):
        testing.write(tmp_path, 'file', '')
        assert _sentence(capsys, cli.main([word.format(tmp_path / 'file') for word in words]), str(tmp_path)) == 2

    def test_without_permission(self, words, tmp_path, capsys, monkeypatch):
        with _read_only(monkeypatch, tmp_path):
            code = cli.main([word.format(tmp_path) for word in words])
        assert _sentence(capsys, code, f'no permission to write to {tmp_path}') == 2
        assert list(tmp_path.iterdir()) == []


def test_an_output_that_is_a_folder(tmp_path):
    with pytest.raises(ConfigError, match='is a folder. Give the path of a file'):
        file_io.check_output(str(tmp_path))


LIMITED = '''
import resource, sys
from pipeline import cli
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
sys.exit(cli.main(sys.argv[1:]))
'''


def test_a_file_that_grows_too_large(tmp_path):
    """As on a disk that is full: a write fails in the middle. No folder is there in part."""
    done = subprocess.run([sys.executable, '-c', LIMITED, 'data', 'demo', tmp_path / 'media'], capture_output=True,
                          text=True)
    assert done.returncode == 1 and done.stderr.startswith('polyvit: '), done.stderr
    assert 'File too large' in done.stderr and 'Traceback' not in done.stderr
    assert {path.name for path in (tmp_path / 'media').iterdir()} <= {'digits', 'motion', 'sounds'}
    assert (tmp_path / 'media' / 'digits' / '.complete.json').exists()  # its files are small


class TestFull:
    """A disk without space left."""

    @pytest.fixture
    def full(self, monkeypatch):
        def fsync(_):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        monkeypatch.setattr(os, 'fsync', fsync)

    def test_names_the_file(self, full, tmp_path):
        with pytest.raises(OSError) as error:
            file_io.write(str(tmp_path / 'a.json'), 'x')
        assert file_io.failure(error.value) == (
            f'{tmp_path}/a.json cannot be written: No space left on device. Free some space (`polyvit clean` frees '
            'that of old runs), or write elsewhere.')
        assert list(tmp_path.iterdir()) == []

    def test_before_a_run(self, full, config, tmp_path, capsys):
        code = cli.main(['run', config, '--root', str(tmp_path / 'root')])
        assert _sentence(capsys, code, '.json cannot be written: No space left on device') == 1

    def test_at_the_end_of_a_run(self, config, tmp_path, request, caplog):
        """What it came to is not hidden by its record."""
        loaded = dataclasses.replace(load_config(config), root=str(tmp_path / 'root'))
        with run_record.one_run_at_a_time(loaded.run_root):
            record = run_record.start(loaded, 'key')
            request.getfixturevalue('full')
            assert run_record.end(loaded, record, 1, 2.0).exit_code == 1
        assert f'not written. {record.log[:-4]}.json cannot be written: No space left on device.' in caplog.text

    @pytest.mark.parametrize('error', [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), RuntimeError('INTERNAL: database or disk is full'),
        RuntimeError('ResourceExhaustedError: /x/y.tmp; No space left on device [Op:SaveV2]')])
    def test_within_a_run(self, error):
        assert local_runner.error_sentence(error).startswith('there is no space left on the disk. Free some')


def test_standard_output_that_is_full():
    with open('/dev/full', 'wb') as full:
        done = subprocess.run([sys.executable, '-m', 'polyvit', 'completion', 'bash'], stdout=full,
                              stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith('polyvit: A file cannot be written: No space left on device. Free some space')

"""From a push to an object store to answers: the newest versions are copied whole, followed, and served."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import numpy as np
import pytest

from components.atomic_pusher.executor import push
from model_code import file_io, model_directory
from model_code.errors import ConfigError, StoreError
from pipeline import cli
from serving import client, foreground, served, sync
from serving.server import ModelServer
from tests import object_stores, testing
from tests.serving import models


@pytest.fixture(scope='module')
def half_plus(tmp_path_factory):
    """Model directories to push: offset -> that of y = x / 2 + offset, with a card and a digest."""
    folder, made = tmp_path_factory.mktemp('half_plus'), {}
    for offset in (2, 3):
        made[offset] = os.path.join(folder, str(offset))
        models.save_affine(made[offset], offset=float(offset))
        model_directory.write_card(made[offset], {'name': f'plus {offset}'})
    return made


@pytest.fixture(params=['s3', 'gcs'])
def store(request):
    return f'{request.getfixturevalue(request.param)}/polyvit/serving/polyvit'


def _push(model_dir, url):
    with tempfile.TemporaryDirectory() as statistics_dir:
        testing.write(statistics_dir, 'data.json', b'{}')
        newest = served.newest(url)
        return int(push(model_dir, url, {'model_digest': served.digest(model_dir)}, statistics_dir,
                        baseline=str(newest.number) if newest else ''))


def _copied(folder):
    return {name for name in os.listdir(folder) if not name.startswith('.')}


def test_a_full_disk_is_told_once_and_leaves_nothing(s3, tmp_path, monkeypatch, capsys):
    url, folder, ended, said = f'{s3}/polyvit', str(tmp_path / 'models'), threading.Event(), []
    _plain(url, 1)
    attempts = []

    def full(_, target):
        attempts.append(target)
        if len(attempts) == 5:
            ended.set()
        raise OSError(errno.ENOSPC, 'No space left on device', os.path.join(target, 'variables', 'v'))

    with monkeypatch.context() as patched:
        patched.setattr(file_io, 'copy_folder', full)
        assert cli.main(['sync', url, folder]) == 1
        assert f'{folder} cannot be written: No space left on device.' in capsys.readouterr().err
        mirror = sync.Mirror(url, folder)
        sync.keep_up(mirror, 0.01, ended, said.append)
    assert len(attempts) == 5 and len(said) == 1
    assert said[0].startswith(f'{folder} cannot be written: No space left on device. Free some space')
    assert os.listdir(folder) == ['.copied_from']
    assert mirror.update() and _copied(folder) == {'1'}


def _plain(url, *numbers):
    """Versions without a card, which are copied and never loaded."""
    for number in numbers:
        file_io.write(f'{url}/{number}/variables/v', str(number))
        file_io.write(f'{url}/{number}/saved_model.pb', 'graph')


def test_the_newest_versions_are_copied_and_followed(store, tmp_path, half_plus):
    folder, said = str(tmp_path / 'models'), []
    _plain(store, 1, 2, 3)
    file_io.write(f'{store}/4/variables/v', 'of a killed push')
    object_stores.put_object(f'{store}/5/')
    mirror = sync.Mirror(store, folder, said.append)
    mirror.update()
    assert file_io.list_files(folder)[1:] == ['2/saved_model.pb', '2/variables/v', '3/saved_model.pb', '3/variables/v']
    assert said == [f'Copied version 3 from {store}.', f'Copied version 2 from {store}.']
    mirror.update()
    assert len(said) == 2, 'nothing changed'
    version = _push(half_plus[2], store)
    mirror.update()
    assert _copied(folder) == {'3', str(version)}, 'two versions, however many there are'
    assert served.digest(f'{folder}/{version}') == served.digest(half_plus[2])
    object_stores.remove_objects(f'{store}/{version}/')
    mirror.update()
    assert _copied(folder) == {'2', '3'}, 'rolled back'
    object_stores.remove_objects(store)
    mirror.update()
    assert _copied(folder) == set()


def test_no_half_version_is_seen_and_what_a_killed_process_left_is_removed(s3, tmp_path, monkeypatch):
    _plain(f'{s3}/models', 7)
    copy, folder = file_io.copy, str(tmp_path)

    def watch(source, target):
        assert _copied(folder) == set()
        copy(source, target)
        if source.endswith('/saved_model.pb'):
            raise KeyboardInterrupt
    monkeypatch.setattr(file_io, 'copy', watch)
    monkeypatch.setattr(file_io.shutil, 'rmtree', lambda *_, **__: None)  # as if it were killed
    with pytest.raises(KeyboardInterrupt):
        sync.Mirror(f'{s3}/models', folder).update()
    assert any(name.startswith(file_io.TEMPORARY) for name in os.listdir(folder))
    monkeypatch.undo()
    sync.Mirror(f'{s3}/models', folder).update()
    assert _copied(folder) == {'7'} and not any(name.startswith(file_io.TEMPORARY) for name in os.listdir(folder))


def test_a_version_that_is_removed_while_it_is_copied_does_not_appear(s3, tmp_path, monkeypatch):
    _plain(f'{s3}/models', 7, 8)
    copy = file_io.copy

    def remove_meanwhile(source, target):
        copy(source, target)
        if '/8/' in source:
            object_stores.remove_objects(f'{s3}/models/8/')
    monkeypatch.setattr(file_io, 'copy', remove_meanwhile)
    sync.Mirror(f'{s3}/models', str(tmp_path)).update()
    assert _copied(tmp_path) == {'7'}


def test_a_version_with_other_files_than_were_pushed_is_told_once_and_not_copied(s3, tmp_path, half_plus):
    url, said = f'{s3}/models', []
    _plain(url, 7)
    version = _push(half_plus[2], url)
    file_io.write(f'{url}/{version}/variables/variables.index', 'cut')
    mirror = sync.Mirror(url, str(tmp_path), said.append)
    mirror.update()
    mirror.update()
    assert _copied(tmp_path) == {'7'}
    assert len(said) == 2 and 'is not what was pushed' in said[0] and said[1].startswith('Copied version 7')
    file_io.copy(f'{half_plus[2]}/variables/variables.index', f'{url}/{version}/variables/variables.index')
    mirror.update()
    assert _copied(tmp_path) == {str(version), '7'}, 'tried again, as its files have changed'


def test_a_store_out_of_reach_changes_nothing(s3, tmp_path, monkeypatch):
    _plain(f'{s3}/models', 7)
    mirror = sync.Mirror(f'{s3}/models', str(tmp_path / 'models'))
    mirror.update()
    said, ended = [], threading.Event()
    with object_stores.answering(403, '<Error><Code>AccessDenied</Code></Error>') as endpoint:
        monkeypatch.setenv('AWS_ENDPOINT_URL', endpoint)
        with pytest.raises(StoreError, match='denies the access'):
            mirror.update()

        def say(text):
            said.append(text)
            ended.set()
        sync.keep_up(mirror, 0.01, ended, say)
    assert _copied(tmp_path / 'models') == {'7'} and said[0].endswith('Trying again every 0.01 seconds.')


def test_versions_from_elsewhere_are_not_removed(s3, tmp_path):
    _plain(f'{s3}/models', 7)
    _plain(str(tmp_path), 3)
    for _ in range(2):
        with pytest.raises(ConfigError, match='has versions that were not copied from .*models, and would be removed'):
            sync.Mirror(f'{s3}/models', str(tmp_path))
    assert _copied(tmp_path) == {'3'}
    sync.Mirror(f'{s3}/models', str(tmp_path / 'new')).update()
    with pytest.raises(ConfigError, match='not copied from .*others'):
        sync.Mirror(f'{s3}/others', str(tmp_path / 'new'))
    assert _copied(tmp_path / 'new') == {'7'}


def test_the_command_copies_once_or_goes_on(store, tmp_path, capsys):
    _plain(store, 1)
    assert cli.main(['sync', store, str(tmp_path / 'models')]) == 0
    assert capsys.readouterr().out == f'Copied version 1 from {store}.\n' and _copied(tmp_path / 'models') == {'1'}
    assert cli.main(['sync', str(tmp_path), str(tmp_path / 'models')]) == 2
    assert 'a folder of this machine' in capsys.readouterr().err
    assert cli.main(['sync', store, str(tmp_path / 'models'), '--every', '0']) == 2
    assert cli.main(['sync', store.replace('://', '://no-'), str(tmp_path / 'others')]) == 1
    errors = capsys.readouterr().err
    assert 'there is no bucket no-' in errors and 'Traceback' not in errors
    assert not (tmp_path / 'others').exists(), 'nothing was copied'
    process = subprocess.Popen([sys.executable, '-m', 'polyvit', 'sync', store, str(tmp_path / 'models'), '--every',
                                '0.2'], stdout=subprocess.PIPE, text=True)
    try:
        _plain(store, 2)
        assert process.stdout.readline() == f'Copied version 2 from {store}.\n'
        object_stores.remove_objects(f'{store}/2/')
        assert process.stdout.readline() == f'Removed version 2 from {tmp_path}/models.\n'
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 143
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize('url, folder, code, message', [
    ('s3://', 'new', 2, 'names no bucket'), ('{s3}/../x', 'new', 2, 'has . or .. in it'),
    ('minio://bucket/x', 'new', 2, 'AWS_ENDPOINT_URL'), ('ftp://host/x', 'new', 2, 'no file system for ftp://'),
    ('{s3}/models', 'file', 2, 'is a file'), ('{s3}/models', 'file/below', 2, 'cannot be written to'),
    ('{s3}/nothing', 'new', 1, 'There is no whole version in'),
    ('{s3}/damaged', 'new', 1, 'There is no whole version in')])
def test_what_cannot_be_copied_is_a_sentence_and_leaves_nothing(url, folder, code, message, s3, tmp_path, capsys):
    _plain(f'{s3}/models', 7)
    _damaged(f'{s3}/damaged', 7)
    (tmp_path / 'file').write_text('mine')
    assert cli.main(['sync', url.format(s3=s3), str(tmp_path / folder)]) == code
    errors = ' '.join(capsys.readouterr().err.split())
    assert message in errors and '(--debug' not in errors
    assert (tmp_path / 'file').read_text() == 'mine'
    assert not (tmp_path / 'new').exists() or _copied(tmp_path / 'new') == set()


def test_a_damaged_newest_version_is_told_and_the_one_before_it_is_copied(s3, tmp_path, capsys):
    _plain(f'{s3}/models', 7)
    _damaged(f'{s3}/models', 8)
    assert cli.main(['sync', f'{s3}/models', str(tmp_path)]) == 0
    assert 'Version 8 in' in capsys.readouterr().out and _copied(tmp_path) == {'7'}
    with pytest.raises(client.PredictionFailed, match='models/8 is not what was pushed'):
        client.LocalModel(f'{s3}/models')
    assert cli.main(['export', f'{s3}/models', '-o', str(tmp_path / 'a.tflite')]) == 1
    assert 'is not what was pushed' in ' '.join(capsys.readouterr().err.split())


def test_without_a_version_the_command_waits_and_says_so_once(s3, tmp_path):
    process = subprocess.Popen([sys.executable, '-m', 'polyvit', 'sync', f'{s3}/models', str(tmp_path / 'models'),
                                '--every', '0.2'], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == (f'There is no whole version in {s3}/models yet. Looking for one every 0.2 '
                                             'seconds.\n')
        _plain(f'{s3}/models', 7)
        assert process.stdout.readline() == f'Copied version 7 from {s3}/models.\n'
    finally:
        process.kill()
        process.communicate()


def test_a_server_without_a_version_names_the_url_and_how_often_it_looks(s3, tmp_path):
    source = f'{s3}/models'
    with ModelServer(tmp_path, port=0) as server:
        model, = server.models
        assert foreground.loading_text(model, source) == f'There is no version of model polyvit in {source} yet.'
        text = foreground.ready_text(server, 'polyvit', source=source)
        assert f'looks for one in {source} every 10 seconds' in text and str(tmp_path) not in text
        assert 'looks for one every second' in foreground.ready_text(server, 'polyvit')
    with pytest.raises(ConfigError, match='names no bucket'):
        foreground.serve('s3://', port=0, grpc_port=None)


def _damaged(url, number):
    _plain(url, number)
    model_directory.write_card(f'{url}/{number}', {'model_digest': 'of other files'})


def _ask(url: str) -> float:
    request = urllib.request.Request(f'{url}:predict', b'{"instances": [2.0]}')
    with urllib.request.urlopen(request, timeout=20) as reply:
        return json.load(reply)['predictions'][0]


def _versions(url: str) -> dict[str, str]:
    with urllib.request.urlopen(url, timeout=20) as reply:
        return {v['version']: v['state'] for v in json.load(reply)['model_version_status']}


def _until(condition, seconds=60):
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, f'The condition is still false after {seconds} s.'
        time.sleep(0.05)


@pytest.mark.slow
def test_from_push_to_answers_and_no_request_fails(store, tmp_path, half_plus):
    """Push, serve, ask, push another version, ask meanwhile, remove it, and the first one answers again."""
    first = _push(half_plus[2], store)
    code = ('import sys; from serving import foreground, sync; sync.EVERY_SECONDS = 0.2; '
            'foreground.serve(sys.argv[1], model_name="half", port=0, grpc_port=None)')
    process = subprocess.Popen([sys.executable, '-c', code, store], stdout=subprocess.PIPE, text=True,
                               env={**os.environ, 'TMPDIR': str(tmp_path)})
    try:
        lines = [process.stdout.readline() for _ in range(4)]
        assert lines[:2] == [f'Copying the newest versions from {store}\n', f'Copied version {first} from {store}.\n']
        assert lines[2] == f'Loading version {first} of model half from {store}\n'
        url = re.search(r'http://\S+/v1/models/half', lines[3])[0]
        said = []
        threading.Thread(target=lambda: said.extend(process.stdout), daemon=True).start()
        assert _ask(url) == 3.0
        answers, failures, stop = [], [], threading.Event()

        def keep_asking():
            while not stop.is_set():
                try:
                    answers.append(_ask(url))
                except Exception as error:
                    failures.append(error)
        asking = threading.Thread(target=keep_asking)
        asking.start()
        second = _push(half_plus[3], store)
        _until(lambda: answers[-1:] == [4.0] and f'Serving version {second} of model half.\n' in said)
        object_stores.remove_objects(f'{store}/{second}/')
        _until(lambda: _versions(url).get(str(first)) == 'AVAILABLE' and answers[-1] == 3.0)
        stop.set()
        asking.join()
        assert failures == [] and set(answers) == {3.0, 4.0}
        _until(lambda: f'Serving version {first} of model half.\n' in said)
        object_stores.remove_objects(store)
        _until(lambda: said[-1:] == [f'There is no version of model half in {store} any more. Version {first} is still '
                                     'served until the server ends.\n'])
        assert _ask(url) == 3.0
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert not [name for name in os.listdir(tmp_path) if name.startswith('polyvit')], 'the copy is removed'
    finally:
        process.kill()
        process.wait()


def test_a_signal_while_versions_are_copied_leaves_nothing(s3, tmp_path, half_plus):
    _push(half_plus[2], f'{s3}/models')
    code = ('import os, signal, sys; from model_code import file_io; from serving import foreground\n'
            'file_io.copy = lambda *_: os.kill(os.getpid(), signal.SIGTERM)\n'
            'foreground.serve(sys.argv[1], port=0, grpc_port=None)')
    done = subprocess.run([sys.executable, '-c', code, f'{s3}/models'], env={**os.environ, 'TMPDIR': str(tmp_path)},
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 143 and 'Traceback' not in done.stderr, done.stderr
    assert [name for name in os.listdir(tmp_path) if name.startswith('polyvit')] == []


def test_a_model_config_names_no_urls(tmp_path):
    config = tmp_path / 'models.config'
    config.write_text('model_config_list { config { name: "a" base_path: "s3://bucket/a" } }')
    with pytest.raises(ConfigError, match='`polyvit sync s3://bucket/a DIR --every 10`'):
        foreground.read_model_config(config)


def test_a_model_behind_a_url_predicts_in_this_process(store, half_plus):
    with pytest.raises(ConfigError, match='There is no model in'):
        client.LocalModel(store)
    version = _push(half_plus[2], store)
    file_io.write(f'{store}/{version + 1}/variables/v', 'of a killed push')
    with client.LocalModel(store) as model:
        assert model.directory == model.pin() == f'{store}/{version}' and model.card['name'] == 'plus 2'
        assert model._model.run('serving_default', {'x': np.float32([2])})['y'].tolist() == [3.0]


def test_a_served_copy_answers_as_the_pushed_model(s3, half_plus):
    _push(half_plus[3], f'{s3}/models')
    with sync.mirrored(f'{s3}/models', lambda _: None) as folder, ModelServer(folder, port=0) as server:
        assert _ask(f'{server.url}/v1/models/polyvit') == 4.0
    assert not os.path.exists(folder)

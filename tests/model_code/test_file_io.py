"""Files appear whole or not at all, on this machine, in object stores, and on a file system that Beam knows."""

import hashlib
import os
import subprocess
import sys
import threading

import pytest

from media.listing import files as listing_files
from model_code import file_io, remote_files
from model_code.errors import ConfigError, StoreError
from tests import beam_file_systems, object_stores


@pytest.fixture(params=['local', 's3', 'gcs', 'cluster'])
def folder(request, tmp_path):
    if request.param == 'local':
        return str(tmp_path)
    if request.param == 'cluster':
        beam_file_systems.keep_files_in(tmp_path)
        return 'cluster://folder'
    return f'{request.getfixturevalue(request.param)}/folder'


def test_what_is_written_is_read(folder):
    path = f'{folder}/new/card.json'
    assert not file_io.exists(path) and file_io.list_folder(f'{folder}/new') == []
    file_io.write(path, '{"größe": 1}')
    assert file_io.read_text(path) == '{"größe": 1}'
    file_io.write(path, b'two')
    assert file_io.exists(path) and file_io.read_text(path) == 'two' and file_io.size(path) == 3
    assert file_io.list_folder(f'{folder}/new') == ['card.json']
    file_io.write(path, '')
    assert file_io.exists(path) and file_io.read_bytes(path) == b'' and file_io.size(path) == 0


def test_a_missing_file_is_not_found(folder):
    file_io.write(f'{folder}/a', 'a')
    with pytest.raises(FileNotFoundError):
        file_io.read_bytes(f'{folder}/b')
    assert file_io.read_json(f'{folder}/b') is None
    file_io.remove(f'{folder}/b')
    file_io.remove(f'{folder}/a')
    assert file_io.list_folder(folder) == []


def test_a_write_that_fails_leaves_the_earlier_file(folder):
    path = f'{folder}/a.yaml'
    file_io.write(path, 'before')
    with pytest.raises(KeyError):
        with file_io.replacing(path) as temporary:
            file_io.write(temporary, 'half')
            assert temporary.endswith('.yaml')
            raise KeyError
    assert file_io.read_text(path) == 'before' and file_io.list_folder(folder) == ['a.yaml']
    assert not os.path.exists(temporary)


def test_a_write_that_fails_before_its_first_byte(folder):
    with pytest.raises(KeyError):
        with file_io.replacing(f'{folder}/a'):
            raise KeyError
    assert file_io.list_folder(folder) == []


def test_the_temporary_file_may_be_elsewhere(folder):
    file_io.write(f'{folder}/other', '')
    with file_io.replacing(f'{folder}/split/data.gz', folder) as temporary:
        file_io.write(temporary, 'whole')
        assert file_io.list_folder(f'{folder}/split') == []
    assert file_io.list_folder(folder) == ['other', 'split'] and file_io.list_folder(f'{folder}/split') == ['data.gz']


def test_the_temporary_file_of_a_local_one_is_in_its_folder(tmp_path):
    with file_io.replacing(f'{tmp_path}/a.gz') as temporary:
        assert os.path.dirname(temporary) == str(tmp_path)
        file_io.write(temporary, '')


def test_a_reader_sees_the_old_or_the_new_content(tmp_path):
    path, contents = str(tmp_path / 'a'), set()
    file_io.write(path, 'a' * 100_000)
    stop = threading.Event()

    def read():
        while not stop.is_set():
            contents.add(file_io.read_text(path))

    reader = threading.Thread(target=read)
    reader.start()
    for i in range(40):
        file_io.write(path, 'ab'[i % 2] * 100_000)
    stop.set()
    reader.join()
    assert contents <= {'a' * 100_000, 'b' * 100_000}


def test_a_written_file_has_the_usual_permissions(tmp_path):
    (tmp_path / 'usual').write_text('')
    file_io.write(str(tmp_path / 'a'), '')
    assert os.stat(tmp_path / 'a').st_mode == os.stat(tmp_path / 'usual').st_mode


def test_a_temporary_folder_that_is_not_renamed_is_removed(tmp_path):
    with file_io.temporary_folder(str(tmp_path)) as path:
        open(f'{path}/a', 'w').close()
        assert os.listdir(tmp_path) == [os.path.basename(path)] and os.path.basename(path).startswith('.')
        os.rename(path, tmp_path / 'done')
    assert os.listdir(tmp_path) == ['done'] and os.listdir(tmp_path / 'done') == ['a']
    with pytest.raises(OSError, match='full'):
        with file_io.temporary_folder(str(tmp_path)):
            raise OSError('full')
    assert os.listdir(tmp_path) == ['done']


def test_local_paths_need_neither_tensorflow_nor_clients_of_stores(tmp_path):
    code = ('import sys\nfrom model_code import file_io\nfile_io.write(sys.argv[1], "x")\n'
            'file_io.read_text(sys.argv[1])\n'
            'assert not {"tensorflow", "apache_beam", "boto3", "google.cloud.storage"} & sys.modules.keys()')
    subprocess.run([sys.executable, '-c', code, str(tmp_path / 'a')], check=True, timeout=60)


@pytest.mark.parametrize('store', ['s3', 'gcs'])
def test_object_stores_need_neither_tensorflow_nor_beam(store, request):
    code = ('import sys\nfrom model_code import file_io\nfile_io.write(sys.argv[1], "x")\n'
            'print(file_io.read_text(sys.argv[1]))\nassert not {"tensorflow", "apache_beam"} & sys.modules.keys()')
    url = f'{request.getfixturevalue(store)}/a'
    run = subprocess.run([sys.executable, '-c', code, url], check=True, timeout=60, stdout=subprocess.PIPE)
    assert run.stdout == b'x\n'


def test_all_files_below_a_folder_and_the_hash_of_one(folder):
    for name in ('b', 'a/c', 'a/.d'):
        file_io.write(f'{folder}/tree/{name}', b'x' * 100)
    assert file_io.list_files(f'{folder}/tree') == ['a/.d', 'a/c', 'b']
    assert file_io.content_hash(f'{folder}/tree/b') == hashlib.sha256(b'x' * 100).hexdigest()


def test_a_folder_is_copied_there_and_back_and_removed(folder, tmp_path):
    for name in ('z/last', 'a', 'b/c', 'left'):
        file_io.write(f'{tmp_path}/source/{name}', name * 1000)
    file_io.copy_folder(f'{tmp_path}/source', f'{folder}/there', leave_out=('left',), last='a')
    assert file_io.list_files(f'{folder}/there') == ['a', 'b/c', 'z/last']
    file_io.copy_folder(f'{folder}/there', f'{folder}/again')
    file_io.copy_folder(f'{folder}/again', f'{tmp_path}/back')
    assert file_io.list_files(f'{tmp_path}/back') == ['a', 'b/c', 'z/last']
    assert file_io.read_text(f'{tmp_path}/back/b/c') == 'b/c' * 1000
    file_io.remove_folder(f'{folder}/there', first='a')
    file_io.remove_folder(f'{folder}/nowhere')
    assert file_io.list_files(f'{folder}/there') == [] and file_io.list_files(f'{folder}/again') != []


def test_a_copy_that_breaks_off_lacks_its_last_file(folder, tmp_path, monkeypatch):
    for name in ('saved_model.pb', 'a', 'z'):
        file_io.write(f'{tmp_path}/source/{name}', name)
    real, copied = file_io.copy, []

    def copy(source, target):
        if len(copied) == 2:
            raise KeyboardInterrupt
        copied.append(os.path.basename(target))
        real(source, target)
    monkeypatch.setattr(file_io, 'copy', copy)
    with pytest.raises(KeyboardInterrupt):
        file_io.copy_folder(f'{tmp_path}/source', f'{folder}/there', last='saved_model.pb')
    assert file_io.list_files(f'{folder}/there') == ['a', 'z']


def test_what_is_behind_a_url_is_lent_as_a_local_copy(folder):
    file_io.write(f'{folder}/model/variables/v', 'v')
    file_io.write(f'{folder}/vit.npz', 'n')
    with file_io.local_copy(f'{folder}/model') as model, file_io.local_copy(f'{folder}/vit.npz') as vit:
        assert file_io.list_files(model) == ['variables/v'] and vit.endswith('/vit.npz')
        with open(vit) as file:
            assert file.read() == 'n'
    assert os.path.exists(vit) == os.path.exists(model) == ('://' not in folder)
    with file_io.local_copy(f'{folder}/nothing') as nothing:
        assert not os.path.exists(nothing)


@pytest.mark.parametrize('store', ['s3', 'gcs'])
def test_an_object_store_gets_no_empty_folders_and_takes_those_of_others(store, request, tmp_path):
    url = request.getfixturevalue(store)
    file_io.write(f'{url}/serving/1/saved_model.pb', 'x')
    assert object_stores.object_names(url) == ['serving/1/saved_model.pb']
    for marker in ('serving/', 'serving/1/', 'serving/2/'):
        object_stores.put_object(f'{url}/{marker}')
    assert file_io.list_folder(f'{url}/serving') == ['1', '2']
    assert file_io.list_files(f'{url}/serving/') == ['1/saved_model.pb']
    file_io.copy_folder(f'{url}/serving', f'{tmp_path}/serving')
    assert os.listdir(tmp_path / 'serving') == ['1']


@pytest.mark.parametrize('store', ['s3', 'gcs'])
def test_a_file_of_many_blocks(store, request):
    url, content = request.getfixturevalue(store), os.urandom(20_000_000)
    file_io.write(f'{url}/large', content)
    assert file_io.read_bytes(f'{url}/large') == content
    assert file_io.content_hash(f'{url}/large') == hashlib.sha256(content).hexdigest()
    with remote_files.open_file(f'{url}/large') as file:
        assert file.seek(0, os.SEEK_END) == len(content)
        file.seek(7_654_321)
        assert file.read(10) == content[7_654_321:7_654_331] and file.read(3_000_000) == content[7_654_331:10_654_331]
        file.seek(len(content))
        assert file.read() == b''


def test_more_objects_than_one_answer_lists(s3):
    object_stores.put_objects(s3, {f'many/{number:04}': b'' for number in range(1_001)})
    assert len(file_io.list_folder(f'{s3}/many')) == len(file_io.list_files(f'{s3}/many')) == 1_001


@pytest.mark.parametrize('name', ['../outside', '/outside', 'a/../../../outside'])
def test_an_object_whose_name_leads_out_of_the_folder_is_not_copied(s3, tmp_path, name):
    object_stores.put_object(f'{s3}/folder/{name}', b'hostile')
    object_stores.put_object(f'{s3}/folder/a', b'')
    with pytest.raises(StoreError, match='lead out'):
        file_io.copy_folder(f'{s3}/folder', f'{tmp_path}/deep/target')
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('store', ['s3', 'gcs'])
def test_a_missing_bucket_is_a_sentence(store, request):
    url = request.getfixturevalue(store) + '-of-nobody/folder'
    for action in (lambda: file_io.list_folder(url), lambda: file_io.list_files(url),
                   lambda: file_io.write(f'{url}/a', '')):
        with pytest.raises(StoreError, match=r'folder(/a)?: there is no bucket .*-of-nobody at http://127'):
            action()


@pytest.mark.parametrize('url, match', [
    ('s3://', 'names no bucket. Write s3://BUCKET/NAME'), ('gs:///folder', 'names no bucket. Write gs://BUCKET/NAME'),
    ('s3://../folder', 'names no bucket'), ('s3://bucket/../folder', 'has . or .. in it'),
    ('minio://bucket/folder', 'Write s3:// in its place, and set AWS_ENDPOINT_URL'),
    ('ftp://host/folder', 'there is no file system for ftp://. Write a URL with s3://, gs:// or hdfs://')])
def test_a_url_that_no_file_system_has_is_a_sentence(url, match, s3, gcs):
    for action in (remote_files.check_folder, file_io.list_folder, file_io.list_files, listing_files.remote_stats):
        with pytest.raises(ConfigError, match=match):
            action(url)


@pytest.mark.parametrize('store', ['s3', 'gcs'])
def test_a_store_out_of_reach_is_a_sentence_after_a_few_tries(store, request, monkeypatch):
    from model_code import object_stores as clients
    monkeypatch.setattr(clients, '_RETRY_SECONDS', 1)
    monkeypatch.setattr(clients, '_ATTEMPTS', 2)
    url = request.getfixturevalue(store)
    for name in ('AWS_ENDPOINT_URL', 'STORAGE_EMULATOR_HOST'):
        monkeypatch.setenv(name, 'http://127.0.0.1:9')  # nobody listens there
    with pytest.raises(StoreError, match='http://127.0.0.1:9 cannot be reached or does not answer. Check the network '
                                         'and (AWS_ENDPOINT_URL|STORAGE_EMULATOR_HOST)'):
        file_io.list_folder(f'{url}/folder')


@pytest.mark.parametrize('store', ['s3', 'gcs'])
def test_a_store_that_never_answers_is_a_sentence(store, request, monkeypatch):
    from model_code import object_stores as clients
    assert (clients._CONNECT_SECONDS + clients._FIRST_READ_SECONDS) * clients._FIRST_ATTEMPTS <= 30
    monkeypatch.setattr(clients, '_FIRST_READ_SECONDS', 0.2)
    monkeypatch.setattr(clients, '_RETRY_SECONDS', 0.5)
    monkeypatch.setattr(clients, '_READ_SECONDS', 3600)
    url = request.getfixturevalue(store)
    with object_stores.silent() as endpoint:
        for name in ('AWS_ENDPOINT_URL', 'STORAGE_EMULATOR_HOST'):
            monkeypatch.setenv(name, endpoint)
        for action in (lambda: file_io.list_folder(url), lambda: file_io.write(f'{url}/a', 'a'),
                       lambda: file_io.read_text(f'{url}/a')):
            with pytest.raises(StoreError, match=f'{endpoint} cannot be reached or does not answer'):
                action()


def test_missing_credentials_are_a_sentence(s3, monkeypatch):
    monkeypatch.delenv('AWS_ACCESS_KEY_ID')
    with pytest.raises(StoreError, match='there are no credentials for S3. Set AWS_ACCESS_KEY_ID'):
        file_io.list_folder(f'{s3}/folder')


@pytest.mark.parametrize('store, match', [
    ('s3', r'denies the access \(AccessDenied\). Check the credentials'),
    ('gcs', 'the access is denied .* GOOGLE_APPLICATION_CREDENTIALS')])
def test_a_denied_access_is_a_sentence(store, match, request, monkeypatch):
    url = request.getfixturevalue(store)
    with object_stores.answering(403, '<Error><Code>AccessDenied</Code></Error>') as endpoint:
        for name in ('AWS_ENDPOINT_URL', 'STORAGE_EMULATOR_HOST'):
            monkeypatch.setenv(name, endpoint)
        with pytest.raises(StoreError, match=match):
            file_io.list_folder(f'{url}/folder')


def test_options_of_beam_arguments_go_before_the_environment(s3, monkeypatch):
    endpoint = os.environ['AWS_ENDPOINT_URL']
    monkeypatch.setenv('AWS_ENDPOINT_URL', 'http://127.0.0.1:9')
    remote_files.use_options([f'--s3_endpoint_url={endpoint}', '--runner=DirectRunner'])
    try:
        file_io.write(f'{s3}/a', 'a')
        assert object_stores.object_names(s3, endpoint) == ['a']
    finally:
        remote_files.use_options([])

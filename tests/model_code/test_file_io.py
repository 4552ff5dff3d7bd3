"""Files appear whole or not at all, on this machine and behind a URL (TensorFlow's memory file system)."""

import hashlib
import os
import subprocess
import sys
import threading

import pytest

from model_code import file_io


@pytest.fixture(params=['local', 'url'])
def folder(request, tmp_path):
    return str(tmp_path) if request.param == 'local' else f'ram://{tmp_path}'


def test_what_is_written_is_read(folder):
    path = f'{folder}/new/card.json'
    assert not file_io.exists(path) and file_io.list_folder(f'{folder}/new') == []
    file_io.write(path, '{"größe": 1}')
    assert file_io.read_text(path) == '{"größe": 1}'
    file_io.write(path, b'two')
    assert file_io.exists(path) and file_io.read_text(path) == 'two'
    assert file_io.list_folder(f'{folder}/new') == ['card.json']


def test_a_write_that_fails_leaves_the_earlier_file(folder):
    path = f'{folder}/a.yaml'
    file_io.write(path, 'before')
    with pytest.raises(KeyError):
        with file_io.replacing(path) as temporary:
            file_io.write(temporary, 'half')
            assert os.path.dirname(temporary) == folder and temporary.endswith('.yaml')
            raise KeyError
    assert file_io.read_text(path) == 'before' and file_io.list_folder(folder) == ['a.yaml']


def test_a_write_that_fails_before_its_first_byte(folder):
    with pytest.raises(KeyError):
        with file_io.replacing(f'{folder}/a'):
            raise KeyError
    assert file_io.list_folder(folder) == []


def test_the_temporary_file_may_be_elsewhere(folder):
    file_io.write(f'{folder}/other', '')
    with file_io.replacing(f'{folder}/split/data.gz', folder) as temporary:
        assert os.path.dirname(temporary) == folder
        file_io.write(temporary, 'whole')
        assert file_io.list_folder(f'{folder}/split') == []
    assert file_io.list_folder(folder) == ['other', 'split'] and file_io.list_folder(f'{folder}/split') == ['data.gz']


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


def test_local_paths_need_no_tensorflow(tmp_path):
    code = ('import sys\nfrom model_code import file_io\nfile_io.write(sys.argv[1], "x")\n'
            'file_io.read_text(sys.argv[1])\nassert "tensorflow" not in sys.modules')
    subprocess.run([sys.executable, '-c', code, str(tmp_path / 'a')], check=True, timeout=60)


def test_all_files_below_a_folder_and_the_hash_of_one(folder):
    for name in ('b', 'a/c', 'a/.d'):
        file_io.write(f'{folder}/tree/{name}', b'x' * 100)
    assert file_io.list_files(f'{folder}/tree') == ['a/.d', 'a/c', 'b']
    assert file_io.content_hash(f'{folder}/tree/b') == hashlib.sha256(b'x' * 100).hexdigest()

"""Media behind URLs: on local servers for S3 and Google Cloud Storage, and on two file systems for Beam that keep their
files in a temporary folder."""

import os
import tarfile
import time

import pytest

from media import listing, open_entry, readers
from media.findings import Tally
from media.rejections import Rejection
from model_code import file_io, remote_files
from model_code.errors import ConfigError
from model_code.modalities import Limits
from tests import beam_file_systems, object_stores, testing
from tests.media import tables


@pytest.fixture(params=['bucket', 'cluster', 's3', 'gcs'])
def remote(request, tmp_path):
    """(a local folder, its URL, a function after which the URL has what is in the local folder and beside it)."""
    name = {'cluster': 'data 1'}.get(request.param, 'data [1]')
    if request.param in ('s3', 'gcs'):
        bucket = request.getfixturevalue(request.param)
        return tmp_path / name, f'{bucket}/{name}', lambda: file_io.copy_folder(str(tmp_path), bucket)
    beam_file_systems.keep_files_in(tmp_path)
    return tmp_path / name, f'{request.param}://{name}', lambda: None


def _task(data, modality='image', **overrides):
    return testing.source('t', modality, **{**dict(folder=data), **overrides})


def test_class_folders(remote):
    local, data, upload = remote
    for name in ('train/cat/1.png', 'test/cat/2.png', 'train/.tmp/3.png', 'train/cat/notes.txt'):
        testing.write(local, name, b'x')
    testing.write(local, 'train/cat/empty.png', b'')
    testing.write(local.parent, f'{local.name} of another/train/cat/5.png', b'x')
    testing.write(local.parent, 'data +1+/train/cat/5.png', b'x')
    upload()
    listed = listing.list_media(_task(data))
    assert [(e.path, e.split) for e in listed.entries] == [
        ('test/cat/2.png', 'eval'), ('train/cat/1.png', 'train'), ('train/cat/empty.png', 'train')]
    assert listed.rejected == [] and beam_file_systems.opened == []
    stats = [stat for _, stat in listing.with_stats(_task(data), listed.entries)]
    assert [size for size, _ in stats] == [1, 1, 0] and all(time > 0 for _, time in stats)
    fingerprint = listing.media_fingerprint(_task(data))
    time.sleep(1.1 if data.startswith('s3') else 0)  # S3 gives times in seconds
    os.utime(local / 'train/cat/1.png', (1, 1))
    upload()
    assert listing.media_fingerprint(_task(data)) != fingerprint


def test_class_folders_without_media(remote):
    local, data, upload = remote
    for name in ('cat/1.png', 'bird/1.ppm', 'fish/1', 'fish/more/2.png', '__MACOSX/cat/1.png'):
        testing.write(local, name, b'x')
    upload()
    listed = listing.list_media(_task(data))
    assert listed.lost_folders == [('bird', 'no image file that is read in it, but 1 .ppm'),
                                   ('fish/more', '1 file below it, but a class folder has only files')]
    assert listed.left_out == {'': Tally(1, ['fish/1'])} and [e.path for e in listed.entries] == ['cat/1.png']


def test_manifest_and_missing_files(remote):
    local, data, upload = remote
    testing.write_manifest(local, [('a.png', 'cat', 'train'), ('../secret.png', 'cat', 'train'),
                                   ('gone.png', 'dog', 'eval'),
                                   ('cluster://other/b.png', 'dog', 'eval')])
    testing.write(local, 'a.png', b'abc')
    upload()
    task = _task(data, manifest='manifest.csv')
    listed = listing.list_media(task)
    assert [e.path for e in listed.entries] == ['a.png', 'gone.png']
    assert [line.reason for line in listed.rejected] == ['bad_path', 'bad_path']
    assert [stat.size for _, stat in listing.with_stats(task, listed.entries)] == [3, -1]
    with pytest.raises(ConfigError, match='other.csv in .* does not exist'):
        listing.list_media(_task(data, manifest='other.csv'))
    with pytest.raises(ConfigError, match='may lead out'):
        listing.list_media(_task(data, manifest='../manifest.csv'))


def test_published_annotations_with_class_names(remote):
    local, data, upload = remote
    testing.write(local, 'csv/eval_segments.csv', '# c\na2345678901, 30.000, 40.000, "/m/01"\n')
    testing.write(local, 'csv/class_labels_indices.csv', 'index,mid,display_name\n0,/m/01,"Speech, slow"\n')
    testing.write(local, 'wav/a2345678901.wav', b'x')
    upload()
    task = _task(data, 'audio', format='audioset', manifest='csv/eval_segments.csv')
    assert [(e.id, e.labels) for e in listing.list_media(task).entries] == [
        ('wav/a2345678901.wav#t=30,40', ('Speech, slow',))]


def test_archives_and_records_are_listed_and_opened(remote):
    local, data, upload = remote
    image = testing.image_bytes()
    for name, content in (('a.png', image), ('a.cls', b'cat')):
        testing.write(local.parent, name, content)
    local.mkdir()
    with tarfile.open(local / 'train-0.tar', 'w') as archive:
        for name in ('a.png', 'a.cls'):
            archive.add(local.parent / name, name)
    upload()
    task = _task(data, format='tar')
    entry, = listing.list_media(task).entries
    with open_entry.open_entry(data, entry, Limits().for_modality('image')) as file:
        assert file.read() == image
    testing.write(local, 'data_batch_1.bin', bytes([1]) + bytes(range(256)) * 12)
    testing.write(local, 'batches.meta.txt', 'plane\ncar\n')
    upload()
    entry, = listing.list_media(_task(data, format='cifar10')).entries
    assert entry.labels == ('car',)
    with open_entry.open_entry(data, entry, Limits().for_modality('image')) as file:
        assert file.read(4) == b'\x89PNG'


def test_tables_with_media_inside(remote, monkeypatch):
    local, data, upload = remote
    images = [testing.image_bytes(seed=i) for i in range(5)]
    tables.write_parquet(local / 'data/train-00000-of-00001.parquet', tables.media_table(images), rows=2)
    tables.write_arrow(local / 'other/train.arrow', tables.media_table(images))
    upload()
    if not data.startswith(('s3', 'gs')):  # file systems of the tests, which a child process does not have
        tables.read_in_this_process(monkeypatch)
    entries = listing.list_media(_task(data)).entries
    contents = []
    for entry in entries:
        with open_entry.open_entry(data, entry, Limits().for_modality('image')) as file:
            contents.append(file.read())
    assert contents == images and entries[4].labels == ('cat',)
    with pytest.raises(ConfigError, match='Arrow files are read from a folder of this machine only'):
        listing.list_media(_task(data, manifest='other/train.arrow'))


def test_a_folder_that_beam_cannot_list_is_an_error(tmp_path):
    beam_file_systems.keep_files_in(tmp_path)
    testing.write(tmp_path, 'data/train/cat/1.png', b'x')
    testing.write(tmp_path, 'data/train/cat [2]/1.png', b'x')
    with pytest.raises(ConfigError, match='Rename it'):
        listing.list_media(_task('cluster://data'))


@pytest.mark.parametrize('store', ['s3', 'gcs'])
def test_what_a_bucket_lacks_is_an_error_that_names_it(store, request):
    bucket = request.getfixturevalue(store)
    with pytest.raises(ConfigError, match=f'Task t: {bucket}/data has no image files'):
        listing.list_media(_task(f'{bucket}/data'))
    with pytest.raises(ConfigError, match=f'Task t: m.csv in {bucket}/data does not exist'):
        listing.list_media(_task(f'{bucket}/data', manifest='m.csv'))
    with pytest.raises(ConfigError, match='Task t: .* cannot be read: .*there is no bucket'):
        listing.list_media(_task(f'{bucket}-of-nobody/data'))


def test_markers_that_tools_leave_for_folders_are_no_media(s3):
    for name in ('data/', 'data/train/', 'data/train/cat/'):
        object_stores.put_object(f'{s3}/{name}')
    object_stores.put_object(f'{s3}/data/train/cat/1.png', b'x')
    assert [entry.path for entry in listing.list_media(_task(f'{s3}/data')).entries] == ['train/cat/1.png']


def test_a_file_that_has_gone_or_is_denied_is_rejected(s3, monkeypatch):
    limits = Limits().for_modality('image')
    with pytest.raises(Rejection, match='There is no such file') as caught:
        readers.open_media(f'{s3}/data/gone.png', limits)
    assert caught.value.reason == 'missing'
    object_stores.put_object(f'{s3}/data/a.png', b'x')
    with object_stores.answering(403, '<Error><Code>AccessDenied</Code></Error>') as endpoint:
        monkeypatch.setenv('AWS_ENDPOINT_URL', endpoint)
        with pytest.raises(Rejection, match='denies the access') as caught:
            readers.open_media(f'{s3}/data/a.png', limits)
    assert caught.value.reason == 'unreadable'


def test_a_file_system_that_beam_does_not_know():
    with pytest.raises(ConfigError, match='Task t: nowhere://data/: there is no file system for nowhere://'):
        listing.list_media(_task('nowhere://data'))
    with pytest.raises(ConfigError, match='Task t: nowhere://data/m.csv: there is no file system'):
        listing.list_media(_task('nowhere://data', manifest='m.csv'))


def test_options_of_a_file_system_come_from_the_beam_arguments():
    from apache_beam.io.filesystems import FileSystems
    remote_files.use_options(['--hdfs_host=name-node'])
    try:
        assert remote_files.has_folders('cluster://data')
        assert FileSystems._pipeline_options.get_all_options()['hdfs_host'] == 'name-node'
    finally:
        remote_files.use_options([])

"""Two file systems for Beam that keep their files in a folder of this machine: bucket:// and cluster://."""

import os
import shutil

from apache_beam.io.filesystem import FileMetadata
from apache_beam.io.localfilesystem import LocalFileSystem

_folder = ''
opened: list[str] = []  # the URLs that were read


def keep_files_in(folder):
    """The files of both file systems are here; `opened` starts anew."""
    global _folder
    _folder = os.fspath(folder)
    opened.clear()


class Bucket(LocalFileSystem):
    """bucket://name/path, like other object stores: without folders. A listing has all that begins with a prefix."""

    @classmethod
    def scheme(cls):
        return 'bucket'

    def has_dirs(self):
        return False

    def _local(self, path):
        assert path.startswith(f'{self.scheme()}://') and '..' not in path
        return os.path.join(_folder, path.split('://', 1)[1])

    def _list(self, prefix):
        for folder, _, names in os.walk(_folder):
            for name in names:
                local = os.path.join(folder, name)
                path = f'{self.scheme()}://{os.path.relpath(local, _folder)}'
                if path.startswith(prefix):
                    yield FileMetadata(path, os.path.getsize(local), os.path.getmtime(local))

    def exists(self, path):
        return os.path.isfile(self._local(path))

    def size(self, path):
        return os.path.getsize(self._local(path))

    def metadata(self, path):
        return FileMetadata(path, os.path.getsize(self._local(path)), os.path.getmtime(self._local(path)))

    def open(self, path, mime_type='', compression_type='auto'):
        opened.append(path)
        return open(self._local(path), 'rb')


class Cluster(Bucket):
    """cluster://server/path, like hdfs://: a folder is listed alone, and its folders look like empty files.

    A file is written into a folder that is there, and renamed to a name that is free.
    """

    @classmethod
    def scheme(cls):
        return 'cluster'

    def has_dirs(self):
        return True

    def _list(self, folder):
        with os.scandir(self._local(folder)) as items:
            for item in items:
                size = 0 if item.is_dir() else item.stat().st_size
                yield FileMetadata(f'{folder.rstrip("/")}/{item.name}', size, item.stat().st_mtime)

    def exists(self, path):
        return os.path.exists(self._local(path))

    def mkdirs(self, path):
        os.makedirs(self._local(path))

    def create(self, path, mime_type='', compression_type='auto'):
        return open(self._local(path), 'xb')

    def rename(self, source_file_names, destination_file_names):
        for source, target in zip(source_file_names, destination_file_names, strict=True):
            assert not self.exists(target), f'{target} is there already'
            os.rename(self._local(source), self._local(target))

    def delete(self, paths):
        for path in map(self._local, paths):
            shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)

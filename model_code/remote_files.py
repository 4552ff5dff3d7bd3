"""Files behind a URL, on S3 (s3://), Google Cloud Storage (gs://), or any other file system that Beam knows (hdfs://).

Object stores are used through their own clients (object_stores.py), because Beam's are no use for them here: its S3
cannot write an empty object, makes a new client for each call, and goes on trying for minutes where there are no
credentials. No other module of media, model_code or serving uses Beam.

Everything is imported when it is first needed, because that takes seconds.
"""

import functools
import os
import re
import typing
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from model_code import object_stores
from model_code.errors import ConfigError

TEMPORARY = '.tmp-'  # what the names of files begin with that are being written
BLOCK = 1 << 24  # bytes that are read at a time

_arguments: tuple[str, ...] = ()


def use_options(arguments: Iterable[str]):
    """Gives file systems their options (--hdfs_host=..., --s3_region_name=...), as a Beam pipeline would."""
    global _arguments
    _arguments = tuple(arguments)


def options() -> tuple[str, ...]:
    """The options that were given, for another process."""
    return _arguments


def check_folder(url: str):
    """Raises ConfigError if no file system has such a URL. Asks no store."""
    if _store(url):
        object_stores.split_folder(url)
    else:
        _file_systems(url)


def has_folders(url: str) -> bool:
    """Whether folders are more than the names of files, and files can be renamed."""
    return not _store(url) and _file_systems(url).get_filesystem(url).has_dirs()


def exists(url: str) -> bool:
    """Whether there is a file. A folder is none."""
    store = _store(url)
    return store.exists(url) if store else (
        _file_systems(url).exists(url) and not (has_folders(url) and _is_folder(url)))


def size(url: str) -> int:
    """Bytes of a file."""
    store = _store(url)
    return store.size(url) if store else _file_systems(url).get_filesystem(url).size(url)


def open_file(url: str) -> BinaryIO:
    """Opens a file to read its bytes as they are. Raises FileNotFoundError; other errors are the file system's own."""
    store = _store(url)
    if store:
        return typing.cast(BinaryIO, store.open(url))
    if not exists(url):
        raise FileNotFoundError(f'There is no file {url}.')
    from apache_beam.io.filesystem import CompressionTypes
    return _file_systems(url).open(url, compression_type=CompressionTypes.UNCOMPRESSED)


def upload(path: str, url: str):
    """Copies a local file, whole or not at all; replaces a file that is there."""
    store = _store(url)
    if store:
        store.upload(path, url)
        return
    from apache_beam.io.filesystem import CompressionTypes
    systems, folder = _file_systems(url), os.path.dirname(url)
    if has_folders(url) and not systems.exists(folder):
        systems.mkdirs(folder)
    target = f'{folder}/{TEMPORARY}{os.urandom(8).hex()}' if has_folders(url) else url
    with open(path, 'rb') as source, systems.create(target, compression_type=CompressionTypes.UNCOMPRESSED) as file:
        while block := source.read(BLOCK):
            file.write(block)
    if target != url:
        remove(url)
        systems.rename([target], [url])


def remove(url: str):
    """Removes a file. It is no error if there is none."""
    store = _store(url)
    if store:
        store.remove(url)
    elif exists(url):
        _file_systems(url).delete([url])


def remove_folder(url: str):
    """Removes a folder with all that is in it. It is no error if there is none."""
    if not has_folders(url):
        for name, _, _ in list(list_files(url)):
            remove(f'{url.rstrip("/")}/{name}')
    elif _file_systems(url).exists(url):
        _file_systems(url).delete([url])


def remove_marks(url: str):
    """Removes the objects that stand for a folder, and for those below it, in an object store."""
    store = _store(url)
    if store:
        store.remove_marks(url)


def list_folder(url: str) -> list[str]:
    """The names of the files and folders in a folder, sorted; [] if there is no such folder."""
    store = _store(url)
    if store:
        return store.names(url)
    folder = url.rstrip('/') + '/'
    try:
        found = [path[len(folder):] for path, _, _ in _list(folder, has_folders(url)) if path.startswith(folder)]
    except ConfigError:
        raise
    except Exception:
        if exists(url):
            raise
        return []
    return sorted({name.split('/')[0] for name in found} - {''})


def list_files(root: str, max_depth: int = 100) -> Iterator[tuple[str, int, int]]:
    """(path relative to root, size in bytes, modification time in ns) of each file, at most `max_depth` folders deep.

    Raises ConfigError for a folder with *, ? or [ in its name, if the file system has folders.
    """
    store = _store(root)
    if store:
        yield from store.files(root)
        return
    root, seen = root.rstrip('/') + '/', set()
    with_folders = has_folders(root)
    folders = [root]
    while folders:
        folder = folders.pop()
        for path, size, modified_ns in _list(folder, with_folders):
            relative = path[len(root):]
            if not path.startswith(folder) or path in seen or not relative.strip('/'):
                continue
            seen.add(path)
            # A bucket is listed whole. HDFS is listed folder by folder, and does not say which items are folders. They
            # have no bytes, as empty files.
            if with_folders and size == 0 and relative.count('/') <= max_depth and _is_folder(path):
                folders.append(path.rstrip('/') + '/')
            elif not path.endswith('/'):  # a bucket's mark of a folder
                yield relative, size, modified_ns


def _list(folder: str, with_folders: bool) -> Iterator[tuple[str, int, int]]:
    """(path, size in bytes, modification time in ns) of all that Beam lists for a folder (with '/'), maybe too much."""
    # Beam takes *, ? and [ for a pattern wherever they are, and then lists the folder above.
    pattern = re.sub(r'[*?[]', '?', folder)
    if with_folders and pattern != folder:
        raise ConfigError(f'{folder} has *, ? or [ in its name. Beam cannot list such a folder. Rename it.')
    for metadata in _file_systems(folder).match([pattern + '**'])[0].metadata_list:
        yield metadata.path, metadata.size_in_bytes, int((metadata.last_updated_in_seconds or 0) * 1e9)


def _is_folder(path: str) -> bool:
    try:
        return any(True for _ in _list(path.rstrip('/') + '/', True))
    except ConfigError:
        raise
    except Exception:  # a file, which cannot be listed
        return False


def _file_systems(url: str):
    """Beam's FileSystems, with the options of `use_options`. Raises ConfigError if none of them has the URL."""
    scheme = url.partition('://')[0]
    if scheme == 'minio':
        raise ConfigError(f'{url}: only Kubeflow Pipelines knows minio://, as a --root. Write s3:// in '
                          'its place, and set AWS_ENDPOINT_URL in the environment to the server.')
    from apache_beam.io.filesystems import FileSystems
    FileSystems.set_options(_options(_arguments))
    try:
        FileSystems.get_filesystem(url)
    except ValueError:
        raise ConfigError(f'{url}: there is no file system for {scheme}://. Write a URL with s3://, gs:// or hdfs://, '
                          'or the path of a folder of this machine.') from None
    return FileSystems


def _store(url: str) -> object_stores.ObjectStore | None:
    """The object store of a URL; None for a file system of Beam."""
    scheme = url.partition('://')[0]
    if scheme == 's3':
        return _s3(_arguments, _environment('AWS_'))
    if scheme == 'gs':
        return _gcs(_arguments, _environment('GOOGLE_', 'STORAGE_EMULATOR_HOST'))
    return None


def _environment(*prefixes: str) -> tuple:
    """What a client depends on: another environment, or a forked process, needs a client of its own."""
    return os.getpid(), *sorted(item for item in os.environ.items() if item[0].startswith(prefixes))


@functools.lru_cache(maxsize=4)
def _s3(arguments: tuple[str, ...], _: tuple) -> object_stores.S3:
    if not arguments:
        return object_stores.S3({})
    from apache_beam.options.pipeline_options import S3Options
    given = _options(arguments).view_as(S3Options)
    options = {'aws_access_key_id': given.s3_access_key_id, 'aws_secret_access_key': given.s3_secret_access_key,
               'aws_session_token': given.s3_session_token, 'endpoint_url': given.s3_endpoint_url,
               'region_name': given.s3_region_name, 'api_version': given.s3_api_version, 'verify': given.s3_verify,
               'use_ssl': False if given.s3_disable_ssl else None}
    return object_stores.S3({name: value for name, value in options.items() if value is not None})


@functools.lru_cache(maxsize=4)
def _gcs(arguments: tuple[str, ...], _: tuple) -> object_stores.Gcs:
    import google.auth
    import google.auth.exceptions
    from google.cloud import storage
    if os.environ.get('STORAGE_EMULATOR_HOST'):
        return object_stores.Gcs(storage.Client.create_anonymous_client())
    try:
        # Beam would look for credentials five times, for half a minute.
        credentials, project = google.auth.default()
    except google.auth.exceptions.DefaultCredentialsError:  # enough for a public bucket
        return object_stores.Gcs(storage.Client.create_anonymous_client())
    if arguments:
        from apache_beam.io.gcp.gcsio import create_storage_client
        return object_stores.Gcs(create_storage_client(_options(arguments)))
    return object_stores.Gcs(storage.Client(project or '', credentials))


@functools.lru_cache(maxsize=4)
def _options(arguments: tuple[str, ...]):
    from apache_beam.options.pipeline_options import PipelineOptions
    return PipelineOptions(list(arguments))

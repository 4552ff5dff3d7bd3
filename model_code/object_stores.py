"""Object stores: S3, also of MinIO and others that answer as it does, and Google Cloud Storage.

An object appears by its one upload, whole or not at all. A store has names, no folders: a folder is what the names of
objects begin with, and it appears and goes with them. Some tools leave an empty object in its place, whose name ends in
a slash. It counts as no file.

A client's first question is a small one with tight bounds, so that a store out of reach, or one that never answers, is
an error within half a minute. Once there was an answer, it has more patience. Errors are sentences: ConfigError for a
URL that can name nothing, else OSErrors: FileNotFoundError where there is no such object, or StoreError.
"""

import abc
import contextlib
import errno
import io
import os
import re
import typing

from model_code import ranges
from model_code.errors import ConfigError, StoreError

_BUFFER = 1 << 20  # bytes that are read ahead
_CONNECT_SECONDS, _READ_SECONDS, _ATTEMPTS, _RETRY_SECONDS = 5, 60, 4, 20
_FIRST_READ_SECONDS, _FIRST_ATTEMPTS = 10, 2  # of the first question


class Object(typing.NamedTuple):
    """name: without the bucket. size: bytes. modified_ns: nanoseconds since 1970."""
    name: str
    size: int
    modified_ns: int


class ObjectStore(abc.ABC):
    """What S3 and Google Cloud Storage have in common. URLs are scheme://bucket/name."""

    _answered = False

    def files(self, folder: str) -> typing.Iterator[Object]:
        """All objects below a folder, in the order of their names. Raises StoreError if there is no such bucket."""
        bucket, prefix = split_folder(folder)
        with self._sentences(folder):
            for found in self._list(bucket, prefix):
                if not found.name.endswith('/'):
                    yield found._replace(name=found.name[len(prefix):])

    def names(self, folder: str) -> list[str]:
        """The names of the files and folders in a folder, sorted."""
        bucket, prefix = split_folder(folder)
        with self._sentences(folder):
            names = {name[len(prefix):].rstrip('/') for name in self._list_names(bucket, prefix)}
        return sorted(names - {''})

    def exists(self, url: str) -> bool:
        """Whether there is an object of this name. (A folder is none.)"""
        try:
            self.size(url)
        except FileNotFoundError:
            return False
        return True

    def size(self, url: str) -> int:
        """Bytes of an object."""
        with self._sentences(url):
            return self._size(*_split(url))

    def open(self, url: str) -> io.BufferedReader:
        """Opens an object to read it. Raises FileNotFoundError."""
        size = self.size(url)
        file = ranges.RangeFile(size, lambda start, end: self.read(url, start, end))
        return io.BufferedReader(file, min(_BUFFER, max(1, size)))

    def read(self, url: str, start: int, end: int) -> bytes:
        """The bytes from `start` on, up to but without `end`."""
        with self._sentences(url):
            return self._read(*_split(url), start, end)

    def upload(self, path: str, url: str):
        """Makes a local file an object, in place of one that may be there."""
        with open(path, 'rb') as file, self._sentences(url):
            self._upload(file, *_split(url))

    def remove(self, url: str):
        """Removes an object. It is no error if there is none."""
        with contextlib.suppress(FileNotFoundError), self._sentences(url):
            self._remove(*_split(url))

    def remove_marks(self, folder: str):
        """Removes the objects that stand for a folder and those below it (TensorFlow leaves some), but no file."""
        bucket, prefix = split_folder(folder)
        with self._sentences(folder):
            for found in list(self._list(bucket, prefix)):
                if found.name.endswith('/'):
                    self._remove(bucket, found.name)

    @contextlib.contextmanager
    def _sentences(self, url: str) -> typing.Iterator[None]:
        """Raises the errors of the store's own client as FileNotFoundError or StoreError."""
        try:
            if not self._answered:
                self._ask_first(_split(url)[0])
                self._answered = True
            yield
        except ConfigError:
            raise
        except OSError as error:
            if type(error).__module__ == 'builtins' or isinstance(error, StoreError):
                raise
            raise self._explained(error, url) from error
        except Exception as error:
            raise self._explained(error, url) from error

    @abc.abstractmethod
    def _ask_first(self, bucket: str):
        """Raises an error of the store's own client if the store does not answer. An answer may be an error."""

    @abc.abstractmethod
    def _explained(self, error: Exception, url: str) -> Exception: ...

    @abc.abstractmethod
    def _list(self, bucket: str, prefix: str) -> typing.Iterable[Object]: ...

    @abc.abstractmethod
    def _list_names(self, bucket: str, prefix: str) -> typing.Iterable[str]:
        """The names of objects with this prefix and no slash after it, and what others have up to that slash."""

    @abc.abstractmethod
    def _size(self, bucket: str, name: str) -> int: ...

    @abc.abstractmethod
    def _read(self, bucket: str, name: str, start: int, end: int) -> bytes: ...

    @abc.abstractmethod
    def _upload(self, file: typing.BinaryIO, bucket: str, name: str): ...

    @abc.abstractmethod
    def _remove(self, bucket: str, name: str): ...


class S3(ObjectStore):
    """options: arguments of boto3's client, such as endpoint_url; what they lack comes from the environment (AWS_*)."""

    def __init__(self, options: dict[str, typing.Any]):
        import boto3.session
        self._session, self._options = boto3.session.Session(), options
        self._client = self._new_client(_READ_SECONDS, _ATTEMPTS)

    def _new_client(self, read_seconds: int, attempts: int):
        from botocore.config import Config
        config = Config(connect_timeout=_CONNECT_SECONDS, read_timeout=read_seconds,
                        retries={'mode': 'standard', 'total_max_attempts': attempts},
                        # Older MinIOs, such as that of Kubeflow Pipelines, do not know the newer checksums.
                        request_checksum_calculation='when_required', response_checksum_validation='when_required')
        return self._session.client('s3', config=config, **self._options)

    def _ask_first(self, bucket):
        from botocore.exceptions import ClientError
        with contextlib.suppress(ClientError):
            self._new_client(_FIRST_READ_SECONDS, _FIRST_ATTEMPTS).head_bucket(Bucket=bucket)

    def _list(self, bucket, prefix):
        for page in self._client.get_paginator('list_objects_v2').paginate(Bucket=bucket, Prefix=prefix):
            for item in page.get('Contents', ()):
                yield Object(item['Key'], item['Size'], round(item['LastModified'].timestamp() * 1e9))

    def _list_names(self, bucket, prefix):
        pages = self._client.get_paginator('list_objects_v2').paginate(Bucket=bucket, Prefix=prefix, Delimiter='/')
        for page in pages:
            yield from (item['Key'] for item in page.get('Contents', ()))
            yield from (item['Prefix'] for item in page.get('CommonPrefixes', ()))

    def _size(self, bucket, name):
        return self._client.head_object(Bucket=bucket, Key=name)['ContentLength']

    def _read(self, bucket, name, start, end):
        return self._client.get_object(Bucket=bucket, Key=name, Range=f'bytes={start}-{end - 1}')['Body'].read()

    def _upload(self, file, bucket, name):
        self._client.upload_fileobj(file, bucket, name)  # large ones in parts, which become an object at the end

    def _remove(self, bucket, name):
        self._client.delete_object(Bucket=bucket, Key=name)

    def _explained(self, error, url):
        from botocore import exceptions
        endpoint = self._client.meta.endpoint_url
        if isinstance(error, exceptions.ClientError):
            code, status = error.response['Error'].get('Code'), error.response['ResponseMetadata']['HTTPStatusCode']
            if code == 'NoSuchBucket':
                return _no_bucket(url, f'at {endpoint}')
            if status == 404:
                return _no_file(url)
            if status in (401, 403):
                return StoreError(f'{url}: {endpoint} denies the access ({code}). Check the credentials in the '
                                  'environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY) and what they may do.')
        if isinstance(error, (exceptions.NoCredentialsError, exceptions.PartialCredentialsError)):
            return StoreError(f'{url}: there are no credentials for S3. Set AWS_ACCESS_KEY_ID and '
                              'AWS_SECRET_ACCESS_KEY in the environment, or what else boto3 looks for.')
        if isinstance(error, (exceptions.ConnectionError, exceptions.HTTPClientError)):
            return _no_route(url, endpoint, 'AWS_ENDPOINT_URL')
        return StoreError(f'{url}: {_first_line(error)}')


class Gcs(ObjectStore):
    """client: a google.cloud.storage.Client."""

    def __init__(self, client):
        from google.api_core.retry import Retry
        from google.cloud.storage.retry import DEFAULT_RETRY
        self._client = client
        self._options: dict[str, typing.Any] = {
            'retry': typing.cast(Retry, DEFAULT_RETRY).with_timeout(_RETRY_SECONDS),
            'timeout': (_CONNECT_SECONDS, _READ_SECONDS)}

    def _ask_first(self, bucket):
        from google.api_core.exceptions import GoogleAPICallError
        with contextlib.suppress(GoogleAPICallError):
            self._client.bucket(bucket).exists(
                **{**self._options, 'timeout': (_CONNECT_SECONDS, _FIRST_READ_SECONDS)})

    def _list(self, bucket, prefix):
        for blob in self._client.list_blobs(bucket, prefix=prefix, **self._options):
            yield Object(blob.name, blob.size, round(blob.updated.timestamp() * 1e9) if blob.updated else 0)

    def _list_names(self, bucket, prefix):
        found = self._client.list_blobs(bucket, prefix=prefix, delimiter='/', **self._options)
        yield from (blob.name for blob in found)
        yield from found.prefixes  # known once all pages have been read

    def _size(self, bucket, name):
        blob = self._client.bucket(bucket).blob(name)
        blob.reload(**self._options)
        return blob.size

    def _read(self, bucket, name, start, end):
        return self._client.bucket(bucket).blob(name).download_as_bytes(start=start, end=end - 1, **self._options)

    def _upload(self, file, bucket, name):
        self._client.bucket(bucket).blob(name).upload_from_file(file, size=os.fstat(file.fileno()).st_size,
                                                                **self._options)

    def _remove(self, bucket, name):
        self._client.bucket(bucket).delete_blob(name, **self._options)

    def _explained(self, error, url):
        from google.api_core import exceptions
        from google.auth.exceptions import GoogleAuthError
        from requests.exceptions import RequestException
        endpoint = self._client.api_endpoint
        if isinstance(error, exceptions.NotFound):
            return _no_bucket(url, f'at {endpoint}') if '/o/' not in str(error) else _no_file(url)
        if isinstance(error, (exceptions.Unauthorized, exceptions.Forbidden, GoogleAuthError)):
            return StoreError(f'{url}: the access is denied ({_first_line(error)}). Set GOOGLE_APPLICATION_CREDENTIALS '
                              'in the environment to a file of credentials that may use the bucket, or give the '
                              "machine's own account that right.")
        if isinstance(error, (exceptions.RetryError, RequestException)):
            return _no_route(url, endpoint, 'STORAGE_EMULATOR_HOST, if it is set')
        return StoreError(f'{url}: {_first_line(error)}')


def split_folder(url: str) -> tuple[str, str]:
    """(bucket, what the names of the objects in the folder begin with). Raises ConfigError if it can be no folder."""
    bucket, name = _split(url)
    if {'.', '..'} & set(name.split('/')):
        raise ConfigError(f'{url} has . or .. in it, but a bucket has no folders to go up from. Write the whole name.')
    return bucket, name if name.endswith('/') or not name else f'{name}/'


def _split(url: str) -> tuple[str, str]:
    """(bucket, name)."""
    bucket, _, name = url.partition('://')[2].partition('/')
    if not re.fullmatch(r'[\w.:-]*\w[\w.:-]*', bucket):
        raise ConfigError(f'{url} names no bucket. Write {url.partition("://")[0]}://BUCKET/NAME.')
    return bucket, name


def _no_file(url: str) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, 'There is no such file', url)


def _no_bucket(url: str, where: str) -> StoreError:
    return StoreError(f'{url}: there is no bucket {_split(url)[0]} {where}.')


def _no_route(url: str, endpoint: str, variable: str) -> StoreError:
    return StoreError(f'{url}: {endpoint} cannot be reached or does not answer. Check the network and {variable}.')


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]

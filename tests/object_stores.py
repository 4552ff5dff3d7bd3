"""Object stores on this machine: a server that answers as S3 does, and one that answers as Google Cloud Storage does.

The fixtures `s3` and `gcs`, which every test can ask for, give the URL of an empty bucket. `s3_bucket` and `gcs_bucket`
are the same as context managers, for fixtures of a wider scope. Endpoint and credentials are in the environment, so
that child processes use them too.
"""

import contextlib
import functools
import http.server
import logging
import os
import socket
import threading
import typing
import uuid

import pytest

# No profile of the user's, and no search for credentials of a virtual machine.
_S3 = {'AWS_ACCESS_KEY_ID': 'test', 'AWS_SECRET_ACCESS_KEY': 'test', 'AWS_DEFAULT_REGION': 'us-east-1',
       'AWS_CONFIG_FILE': os.devnull, 'AWS_SHARED_CREDENTIALS_FILE': os.devnull, 'AWS_EC2_METADATA_DISABLED': 'true'}
_NOT_S3 = ('AWS_PROFILE', 'AWS_SESSION_TOKEN', 'AWS_ENDPOINT_URL_S3', 'AWS_REGION')


@pytest.fixture
def s3() -> typing.Iterator[str]:
    with s3_bucket() as url:
        yield url


@pytest.fixture
def gcs() -> typing.Iterator[str]:
    with gcs_bucket() as url:
        yield url


@contextlib.contextmanager
def s3_bucket() -> typing.Iterator[str]:
    """A context that gives the URL of a new bucket, s3://NAME, of a server for S3."""
    with environment({**_S3, 'AWS_ENDPOINT_URL': _s3_server()}, without=_NOT_S3):
        bucket = f'test-{uuid.uuid4().hex[:12]}'
        _s3_client().create_bucket(Bucket=bucket)
        yield f's3://{bucket}'


@functools.cache
def _s3_server() -> str:
    """The endpoint of the server for S3 of this process, which ends with it: starting one takes half a second."""
    from moto.server import ThreadedMotoServer
    logging.getLogger('werkzeug').setLevel(logging.ERROR)  # else a line for each request
    server = ThreadedMotoServer('127.0.0.1', 0, verbose=False)
    server.start()
    return 'http://{}:{}'.format(*server.get_host_and_port())


def _s3_client(endpoint: str | None = None):
    return _made_s3_client(endpoint or os.environ['AWS_ENDPOINT_URL'])


@functools.cache
def _made_s3_client(endpoint: str):
    """Making one takes as long as a hundred answers."""
    import boto3
    return boto3.session.Session().client('s3', endpoint_url=endpoint)


@contextlib.contextmanager
def gcs_bucket() -> typing.Iterator[str]:
    """A context that gives the URL of a new bucket, gs://NAME, of a server for Google Cloud Storage."""
    with environment({'STORAGE_EMULATOR_HOST': _gcs_server(), 'NO_GCE_CHECK': 'true'},
                     without=('GOOGLE_APPLICATION_CREDENTIALS',)):
        from google.cloud import storage
        bucket = f'test-{uuid.uuid4().hex[:12]}'
        storage.Client.create_anonymous_client().create_bucket(bucket, project='test')
        yield f'gs://{bucket}'


@functools.cache
def _gcs_server() -> str:
    """The endpoint of the server for Google Cloud Storage of this process, which ends with it: ending one takes half a
    second.
    """
    from gcp_storage_emulator.server import create_server
    server = create_server('127.0.0.1', 0, in_memory=True)
    server._api.daemon = True  # its thread
    server.start()
    return 'http://{}:{}'.format(*server._api._httpd.server_address)


@contextlib.contextmanager
def environment(variables: dict[str, str], without: typing.Iterable[str] = ()) -> typing.Iterator[None]:
    """A context in which the environment has these variables, and lacks those of `without`."""
    before = {name: os.environ.get(name) for name in (*variables, *without)}
    for name in without:
        os.environ.pop(name, None)
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def object_names(url: str, endpoint: str | None = None) -> list[str]:
    """The names of all objects below a URL, without its bucket; sorted. Asks the store, not the project's code.

    endpoint: of S3, if not that of the environment.
    """
    scheme, rest = url.split('://')
    bucket, _, prefix = rest.partition('/')
    if scheme == 's3':
        pages = _s3_client(endpoint).get_paginator('list_objects_v2').paginate(Bucket=bucket, Prefix=prefix)
        return sorted(item['Key'] for page in pages for item in page.get('Contents', ()))
    from google.cloud import storage
    return sorted(blob.name for blob in storage.Client.create_anonymous_client().list_blobs(bucket, prefix=prefix))


def put_object(url: str, content: bytes = b''):
    """Writes an object, as a foreign tool does."""
    scheme, rest = url.split('://')
    bucket, _, name = rest.partition('/')
    if scheme == 's3':
        _s3_client().put_object(Bucket=bucket, Key=name, Body=content)
    else:
        from google.cloud import storage
        storage.Client.create_anonymous_client().bucket(bucket).blob(name).upload_from_string(content)


def put_objects(bucket: str, contents: dict[str, bytes]):
    """Writes many objects (name -> content) into a bucket s3://NAME of this process, without a request for each."""
    from moto.core import DEFAULT_ACCOUNT_ID
    from moto.s3.models import s3_backends
    for name, content in contents.items():
        s3_backends[DEFAULT_ACCOUNT_ID]['aws'].put_object(bucket.removeprefix('s3://'), name, content)


def remove_objects(url: str):
    """Removes all objects below a URL, as `aws s3 rm --recursive` does: in the order of their names."""
    scheme, rest = url.split('://')
    bucket = rest.partition('/')[0]
    for name in object_names(url):
        if scheme == 's3':
            _s3_client().delete_object(Bucket=bucket, Key=name)
        else:
            from google.cloud import storage
            storage.Client.create_anonymous_client().bucket(bucket).delete_blob(name)


@contextlib.contextmanager
def answering(status: int, body: str) -> typing.Iterator[str]:
    """A context that gives the endpoint of a server with this answer to every request."""
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.send_header('Content-Length', str(len(body)))
            self.end_headers()
            if self.command != 'HEAD':
                self.wfile.write(body.encode())

        do_HEAD = do_GET

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f'http://127.0.0.1:{server.server_port}'
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def silent() -> typing.Iterator[str]:
    """A context that gives the endpoint of a server that accepts connections and never answers."""
    with socket.create_server(('127.0.0.1', 0)) as server:
        yield f'http://127.0.0.1:{server.getsockname()[1]}'

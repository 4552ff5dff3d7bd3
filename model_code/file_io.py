"""Small files, on this machine or behind a URL (gs://, s3://, hdfs://).

A file appears whole or not at all: it is written to a temporary file in the same folder, then renamed. Names of
temporary files start with TEMPORARY, so nothing that a killed process leaves behind can be mistaken for a result.

URLs need TensorFlow's file systems. TensorFlow is not imported for local paths.
"""

import contextlib
import hashlib
import json
import os
import shutil
import typing
import uuid

from model_code.urls import is_url

TEMPORARY = '.tmp-'
_BLOCK = 2 ** 24  # bytes that are read at a time


def exists(path: str) -> bool:
    return _gfile().exists(path) if is_url(path) else os.path.exists(path)


def list_folder(path: str) -> list[str]:
    """The names in a folder, sorted; [] if there is no such folder."""
    if is_url(path):
        # Object stores list folders with a trailing slash.
        return sorted(name.rstrip('/') for name in _gfile().listdir(path)) if exists(path) else []
    try:
        return sorted(os.listdir(path))
    except (FileNotFoundError, NotADirectoryError):
        return []


def list_files(folder: str) -> list[str]:
    """The paths of all files in a folder and in the folders below it, relative to it; sorted."""
    walk = _gfile().walk if is_url(folder) else os.walk
    return sorted(os.path.relpath(os.path.join(parent, name), folder) for parent, _, names in walk(folder)
                  for name in names)


def content_hash(path: str) -> str:
    """The SHA-256 of a file's content, which need not fit into memory."""
    content = hashlib.sha256()
    with _open(path, 'rb') as file:
        while block := file.read(_BLOCK):
            content.update(block)
    return content.hexdigest()


def read_bytes(path: str) -> bytes:
    """The content of a file. Raises OSError for a local file, TensorFlow's OpError for a URL, if it cannot be read."""
    with _open(path, 'rb') as file:
        return file.read()


def read_text(path: str) -> str:
    """The content of a text file. Raises UnicodeDecodeError, a ValueError, if it is not UTF-8."""
    return read_bytes(path).decode()


def read_json(path: str):
    """The value of a JSON file; None if there is no file. Raises ValueError if the content is not JSON."""
    return json.loads(read_text(path)) if exists(path) else None


def write(path: str, content: str | bytes):
    """Writes a file, whole or not at all. Text is UTF-8. Makes the folder if needed; replaces an existing file."""
    with replacing(path) as temporary, _open(temporary, 'wb') as file:
        file.write(content.encode() if isinstance(content, str) else content)
        if not is_url(path):
            # The content must be on the disk before the file is renamed, or a power cut could leave an empty file.
            file.flush()
            os.fsync(file.fileno())


@contextlib.contextmanager
def replacing(path: str, temporary_folder: str = '') -> typing.Iterator[str]:
    """A context for writing `path` by other means. It gives a temporary path with the same ending.

    At the end of the block the temporary file is renamed to `path`. If the block raises, it is removed.
    temporary_folder: for the temporary file, if readers would pick it up in the folder of `path`. It must be on the
    same file system.
    """
    folder, name = os.path.split(path)
    _make_folder(folder)
    temporary = _temporary_name(temporary_folder or folder) + os.path.splitext(name)[1]
    try:
        yield temporary
        if is_url(path):
            _gfile().rename(temporary, path, overwrite=True)
        else:
            os.replace(temporary, path)
    except BaseException:
        _remove(temporary)
        raise


def remove_leftovers(folder: str):
    """Removes temporary files that killed processes left behind. Nobody else may be writing to the folder."""
    for name in list_folder(folder):
        if name.startswith(TEMPORARY):
            _remove(os.path.join(folder, name))


@contextlib.contextmanager
def temporary_folder(parent: str) -> typing.Iterator[str]:
    """A context that gives a new local folder in `parent`, to be filled and then renamed by the caller.

    If it was not renamed by the end of the block, it is removed.
    """
    path = _temporary_name(parent)
    os.mkdir(path)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _temporary_name(folder: str) -> str:
    return os.path.join(folder, TEMPORARY + uuid.uuid4().hex)


def _make_folder(path: str):
    if is_url(path):
        _gfile().makedirs(path)
    elif path:
        os.makedirs(path, exist_ok=True)


def _remove(path: str):
    if exists(path):
        _gfile().remove(path) if is_url(path) else os.remove(path)


def _open(path: str, mode: str):
    return _gfile().GFile(path, mode) if is_url(path) else open(path, mode)


def _gfile():
    import tensorflow as tf
    return tf.io.gfile

"""Small files, on this machine or behind a URL (gs://, s3://, hdfs://: TensorFlow's file systems, imported only then).

A file that is written here appears whole or not at all: under a temporary name in the same folder first, then renamed.
Temporary names start with TEMPORARY, so that a process that was killed leaves nothing that anyone would take for a
result. No TensorFlow for local paths.
"""

import contextlib
import json
import os
import shutil
import typing
import uuid

from model_code.urls import is_url

TEMPORARY = '.tmp-'


def exists(path: str) -> bool:
    return _gfile().exists(path) if is_url(path) else os.path.exists(path)


def list_folder(path: str) -> list[str]:
    """The names in a folder, sorted; [] where there is no folder."""
    if is_url(path):
        # Object stores list folders with a slash at the end.
        return sorted(name.rstrip('/') for name in _gfile().listdir(path)) if exists(path) else []
    try:
        return sorted(os.listdir(path))
    except (FileNotFoundError, NotADirectoryError):
        return []


def read_bytes(path: str) -> bytes:
    """The file's content. Where it cannot be read: OSError for a local file, TensorFlow's OpError behind a URL."""
    with _open(path, 'rb') as file:
        return file.read()


def read_text(path: str) -> str:
    """The same as text. Raises UnicodeDecodeError, a ValueError, where it is not UTF-8."""
    return read_bytes(path).decode()


def read_json(path: str):
    """The value of a JSON file, None where there is no file. Raises ValueError where it is not JSON."""
    return json.loads(read_text(path)) if exists(path) else None


def write(path: str, content: str | bytes):
    """Writes a file whole; text as UTF-8. Makes its folder where there is none; replaces a file of the same name."""
    with replacing(path) as temporary, _open(temporary, 'wb') as file:
        file.write(content.encode() if isinstance(content, str) else content)
        if not is_url(path):
            # The disk must have the content before the name: a power cut could leave an empty file else.
            file.flush()
            os.fsync(file.fileno())


@contextlib.contextmanager
def replacing(path: str, temporary_folder: str = '') -> typing.Iterator[str]:
    """A context for whoever writes a file by other means: gives a temporary path with the same ending to write to.

    At the end of the block that file is renamed to `path`; where the block raises, it is removed. temporary_folder: on
    the same file system, where readers take every file in the folder of `path` for theirs.
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
    """Removes the temporary files of processes that were killed. Nobody else may be writing in the folder."""
    for name in list_folder(folder):
        if name.startswith(TEMPORARY):
            _remove(os.path.join(folder, name))


@contextlib.contextmanager
def temporary_folder(parent: str) -> typing.Iterator[str]:
    """A context that gives a new local folder in `parent`, for its user to fill and then rename.

    One that still has its temporary name at the end of the block is removed.
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

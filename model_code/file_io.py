"""Files and folders, on this machine or behind a URL (gs://, s3://, hdfs://; see remote_files.py).

A file appears whole or not at all. On this machine it is written to a temporary file in the same folder, then renamed.
Names of temporary files start with TEMPORARY, so nothing that a killed process leaves behind can be mistaken for a
result. Behind a URL it is uploaded from a temporary file of this machine.

A folder behind a URL is copied file by file, so whoever reads it needs a sign that it is whole: a file that is copied
last. Object stores have no empty folders, and rename nothing.

TensorFlow is not needed, and nothing else is imported for local paths.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
import typing
import uuid

from model_code import remote_files
from model_code.errors import ConfigError, StoreError, damaged
from model_code.printable import printable
from model_code.remote_files import BLOCK, TEMPORARY
from model_code.urls import is_url


def exists(path: str) -> bool:
    """Whether there is a file; on this machine, a file or folder."""
    return remote_files.exists(path) if is_url(path) else os.path.exists(path)


def size(path: str) -> int:
    """Bytes of a file."""
    return remote_files.size(path) if is_url(path) else os.path.getsize(path)


def list_folder(path: str) -> list[str]:
    """The names in a folder, sorted; [] if there is no such folder."""
    if is_url(path):
        return remote_files.list_folder(path)
    try:
        return sorted(os.listdir(path))
    except (FileNotFoundError, NotADirectoryError):
        return []


def list_files(folder: str) -> list[str]:
    """The paths of all files in a folder and in the folders below it, relative to it, sorted; [] without a folder."""
    if is_url(folder):
        if remote_files.has_folders(folder) and not remote_files.list_folder(folder):
            return []
        return sorted(path for path, _, _ in remote_files.list_files(folder))
    return sorted(os.path.relpath(os.path.join(parent, name), folder) for parent, _, names in os.walk(folder)
                  for name in names)


def content_hash(path: str) -> str:
    """The SHA-256 of a file's content, which need not fit into memory."""
    content = hashlib.sha256()
    with _open(path) as file:
        while block := file.read(BLOCK):
            content.update(block)
    return content.hexdigest()


def read_bytes(path: str) -> bytes:
    """The content of a file. Raises OSError if it cannot be read; FileNotFoundError if there is none."""
    with _open(path) as file:
        return file.read()


def read_text(path: str) -> str:
    """The content of a text file. Raises UnicodeDecodeError, a ValueError, if it is not UTF-8."""
    return read_bytes(path).decode()


def read_json(path: str):
    """The value of a JSON file; None if there is no file. Raises ValueError if the content is not JSON."""
    return json.loads(read_text(path)) if exists(path) else None


def read_result(path: str) -> dict | None:
    """The object in a JSON file among a component's results; None if there is no file.

    Raises PipelineStop if it is damaged.
    """
    try:
        found = read_json(path)
        if found is not None and not isinstance(found, dict):
            raise ValueError('it is no JSON object')
    except ValueError as error:
        raise damaged(path, error) from error
    return found


def write(path: str, content: str | bytes):
    """Writes a file, whole or not at all. Text is UTF-8. Makes the folder if needed; replaces an existing file."""
    with replacing(path) as temporary, open(temporary, 'wb') as file:
        file.write(content.encode() if isinstance(content, str) else content)
        if not is_url(path):
            # The content must be on the disk before the file is renamed, or a power cut could leave an empty file.
            file.flush()
            os.fsync(file.fileno())


@contextlib.contextmanager
def replacing(path: str, temporary_folder: str = '') -> typing.Iterator[str]:
    """A context for writing `path` by other means. It gives a local temporary path with the same ending.

    At the end of the block the temporary file is renamed to `path`, or uploaded if that is a URL. If the block raises,
    it is removed.
    temporary_folder: for the temporary file of a local path, if readers would pick it up in the folder of `path`. It
    must be on the same file system.
    """
    folder, name = os.path.split(path)
    ending = os.path.splitext(name)[1]
    if is_url(path):
        with tempfile.TemporaryDirectory() as local:
            temporary = os.path.join(local, TEMPORARY + ending)
            yield temporary
            remote_files.upload(temporary, path)
        return
    if folder:
        os.makedirs(folder, exist_ok=True)
    temporary = _temporary_name(temporary_folder or folder) + ending
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException as error:
        remove(temporary)
        if isinstance(error, OSError) and error.filename in (None, temporary):  # a failed write names no file
            error.filename, error.filename2 = path, None
        raise


def check_no_pattern(path: str, instead: str):
    """Raises ConfigError for a path in which TensorFlow would look for files by a pattern. instead: what to do."""
    if set('[]*?\\') & set(path):
        raise ConfigError(f'{path}: TensorFlow takes a path with [ ] * ? \\ for a pattern, and would not find the '
                          f'files there. {instead}')


def check_output(path: str):
    """Raises ConfigError unless a file can be written at a path of this machine, whose folder must be there."""
    folder = os.path.dirname(os.path.abspath(path))
    if os.path.isdir(path):
        raise ConfigError(f'{path} is a folder. Give the path of a file.')
    if not os.path.isdir(folder):
        raise ConfigError(f'{path} cannot be written: there is no folder {folder}. Create it first.')
    if not _may_write(folder):
        raise ConfigError(f'{path} cannot be written: {_why_not(folder)}. Give another path.')


def check_folder(path: str):
    """Raises ConfigError unless a path of this machine is a folder to write to, or one can be made there.

    Makes nothing.
    """
    if printable(path, keep='') != path:
        raise ConfigError(f'{path} has characters that cannot be shown, or that are not UTF-8. Give another folder.')
    nearest = os.path.abspath(path)
    while not os.path.lexists(nearest):
        nearest = os.path.dirname(nearest)
    if not os.path.isdir(nearest):
        raise ConfigError(f'{path} must be a folder, but {nearest} is a file. Give another, or move that away.')
    if not _may_write(nearest):
        raise ConfigError(f'{path} cannot be written to: {_why_not(nearest)}. Give another.')


def _may_write(folder: str) -> bool:
    return os.access(folder, os.W_OK | os.X_OK)


def _why_not(folder: str) -> str:
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        return f'{folder} is on a file system that is read-only'
    return f'you have no permission to write to {folder}'


def failure(error: OSError) -> str | None:
    """A sentence about a file that could not be read or written; None if the error is not about one."""
    where = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else ''
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (f'{where or "A file"} cannot be written: {error.strerror}. Free some space (`polyvit clean` frees that '
                'of old runs), or write elsewhere.')
    if 'No usable temporary directory' in str(error):
        return f'{error.strerror}. Set TMPDIR to a folder to which you may write.'
    return f'{where} cannot be read or written: {error.strerror}.' if where and error.strerror else None


def remove(path: str):
    """Removes a file. It is no error if there is none."""
    if is_url(path):
        remote_files.remove(path)
    else:
        with contextlib.suppress(FileNotFoundError):
            os.remove(path)


def copy(source: str, target: str):
    """Copies a file, whole or not at all; either may be behind a URL. Holds no more than a block in memory."""
    if is_url(target) and not is_url(source):
        remote_files.upload(source, target)
        return
    with replacing(target) as temporary, _open(source) as opened, open(temporary, 'wb') as file:
        shutil.copyfileobj(opened, file, BLOCK)


def copy_folder(source: str, target: str, leave_out: typing.Container[str] = (), last: str = ''):
    """Copies the files of a folder and of those below it; either may be behind a URL.

    leave_out: relative paths that are not copied. last: the relative path of the file that is copied after all others.
    """
    names = [name for name in list_files(source) if name not in leave_out]
    for name in names:  # an object may have any name
        if os.path.isabs(name) or '..' in name.split('/'):
            raise StoreError(f'{source} has a file {name!r}, which would lead out of a folder. Nothing was copied.')
    for name in sorted(names, key=lambda name: name == last):
        copy(os.path.join(source, name), os.path.join(target, name))


def remove_folder(path: str, first: str = ''):
    """Removes a folder with all that is in it. It is no error if there is none.

    first: the relative path of a file that is removed before all others, so that what is half removed does not count.
    """
    if first:
        remove(os.path.join(path, first))
    if is_url(path):
        remote_files.remove_folder(path)
    elif os.path.isdir(path):
        shutil.rmtree(path)


@contextlib.contextmanager
def local_copy(path: str) -> typing.Iterator[str]:
    """A context that gives a local path of a file or folder, for libraries that open no URL.

    A local path is given as it is. What is behind a URL is copied to a temporary folder; if there is nothing, neither
    is there anything at the path that is given.
    """
    if not is_url(path):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        local = os.path.join(folder, os.path.basename(path.rstrip('/')))
        if exists(path):
            copy(path, local)
        else:
            copy_folder(path, local)
        yield local


def remove_leftovers(folder: str):
    """Removes temporary files that killed processes left behind. Nobody else may be writing to the folder."""
    for name in list_folder(folder):
        if name.startswith(TEMPORARY):
            remove(os.path.join(folder, name))


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


def _open(path: str) -> typing.BinaryIO:
    return remote_files.open_file(path) if is_url(path) else open(path, 'rb')

"""Where media to predict come from: paths, folders, patterns, URLs, standard input, bytes.

What is fetched has bounds on bytes and time, whatever a server says of it, and is kept in a temporary file: readers
seek.
"""

import asyncio
import contextlib
import glob
import os
import sys
import tempfile
import time
import typing
import urllib.parse
from collections.abc import Iterator, Sequence

from media.listing import files
from media.rejections import Rejection
from model_code import modalities, remote_files, words
from model_code.urls import is_url
from serving import background_loop
from serving.addresses import is_local
from serving.failures import BadInput

Source = str | os.PathLike | bytes | typing.BinaryIO

MAX_FETCHED_BYTES = 1 << 30  # of what comes from a URL or by a pipe
_BLOCK = 1 << 16
_CONNECT_SECONDS = 10.0


def name_of(source: Source) -> str:
    """What messages and results call it."""
    if isinstance(source, bytes):
        return f'{words.count(len(source), "byte")}'
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source)
    name = str(getattr(source, 'name', 'a file'))
    return '-' if name == '<stdin>' else name


def ending_of(source: Source) -> str:
    """The ending of its name, in lower case; '' if it has none."""
    if isinstance(source, bytes):
        return ''
    name = name_of(source)
    return os.path.splitext(urllib.parse.urlsplit(name).path if _is_http(name) else name)[1].lower()


def expand(arguments: Sequence[str], modality: modalities.Modality) -> Iterator[Source | BadInput]:
    """The sources that the arguments of a command name, in order; a BadInput for each that names none.

    A path is that file. A folder stands for all files in it, and in the folders in it, whose ending is one of the
    modality; a pattern (*, ?, [...], and ** for folders at any depth) for the files that match; '-' for standard input.
    """
    for argument in arguments:
        if argument == '-':
            yield sys.stdin.buffer
        elif is_url(argument) or os.path.isfile(argument):
            yield argument
        elif os.path.isdir(argument):
            yield from _in_folder(argument, modality)
        elif not os.path.lexists(argument) and glob.has_magic(argument):
            yield from _matches(argument, modality)
        else:
            yield argument


def _in_folder(folder: str, modality: modalities.Modality) -> Iterator[Source | BadInput]:
    endings = modality.endings + modality.other_endings
    walked = files.walk(folder, endings)
    for path, rejection in {**walked.rejected_files, **walked.rejected_folders}.items():
        path = os.path.join(folder, path)
        yield BadInput(f'{path} cannot be read ({rejection.reason}). {rejection.detail}', path)
    if not walked.files and not walked.rejected_files:
        yield BadInput(f'There is no file of modality {modality.name} in {folder}. It has none of the endings '
                       f'{", ".join(endings)}.', folder)
    for path in walked.files:
        yield os.path.join(folder, path)


def _matches(pattern: str, modality: modalities.Modality) -> Iterator[Source | BadInput]:
    found = sorted(glob.glob(pattern, recursive=True))
    if not found:
        yield BadInput(f'No file matches {pattern}.', pattern)
    if all(map(os.path.isdir, found)):
        for folder in found:
            yield from _in_folder(folder, modality)
    yield from (path for path in found if not os.path.isdir(path))


@contextlib.contextmanager
def opened(source: Source, limits: modalities.Limits, seconds: float) -> Iterator[typing.Any]:
    """What media.readers reads: a path, bytes, or a seekable file. seconds: to fetch what is behind a URL.

    Raises Rejection for what cannot be fetched or is over its bounds.
    """
    if isinstance(source, bytes):
        yield source
        return
    name = os.fspath(source) if isinstance(source, (str, os.PathLike)) else ''
    if name and not is_url(name) or not isinstance(source, (str, os.PathLike)) and source.seekable():
        yield source
        return
    with tempfile.TemporaryFile() as file:
        if not isinstance(source, (str, os.PathLike)):
            _copy(source, file, limits)
        elif _is_http(name):
            background_loop.run(_download(name, file, limits, seconds))
        else:
            _fetch(name, file, limits, seconds)
        file.seek(0)
        yield file


def _is_http(name: str) -> bool:
    return name.lower().startswith(('http://', 'https://'))


async def _download(url: str, file: typing.BinaryIO, limits: modalities.Limits, seconds: float):
    """Writes what a URL gives to a file, as the server sends it: what is compressed does not grow here."""
    import aiohttp

    from serving.rest_transport import reason
    timeout = aiohttp.ClientTimeout(seconds, connect=min(seconds, _CONNECT_SECONDS))
    try:
        async with aiohttp.ClientSession(timeout=timeout, trust_env=not is_local(url), auto_decompress=False,
                                         headers={'Accept-Encoding': 'identity'}) as session, \
                session.get(url) as reply:
            if reply.status != 200:
                raise Rejection('missing' if reply.status in (404, 410) else 'unreadable',
                                f'Its server answers HTTP {reply.status} {reply.reason}.')
            _check_size(reply.content_length or 0, limits)
            size = 0
            async for block in reply.content.iter_any():
                size += len(block)
                _check_size(size, limits)
                file.write(block)
    except asyncio.TimeoutError:
        raise _too_slow(seconds) from None
    except (aiohttp.ClientError, ValueError) as error:
        why = reason(error) if isinstance(error, aiohttp.ClientError) else str(error)
        raise Rejection('unreadable', f'It cannot be fetched: {why}.') from None


def _fetch(url: str, file: typing.BinaryIO, limits: modalities.Limits, seconds: float):
    """As `_download`, from an object store, or another file system behind a URL."""
    end = time.monotonic() + seconds
    try:
        _check_size(remote_files.size(url), limits)
        with remote_files.open_file(url) as source:
            while block := source.read(remote_files.BLOCK):
                if time.monotonic() > end:
                    raise _too_slow(seconds)
                file.write(block)
    except FileNotFoundError:
        raise Rejection('missing', 'There is no such file.') from None
    except Rejection:
        raise
    except Exception as error:  # each file system has its own
        raise Rejection('unreadable', f'It cannot be fetched: {error}') from None


def _copy(source: typing.BinaryIO, file: typing.BinaryIO, limits: modalities.Limits):
    """As `_download`, from a pipe, which takes the time that who fills it takes."""
    size = 0
    while block := source.read(_BLOCK):
        size += len(block)
        _check_size(size, limits)
        file.write(block)


def _check_size(size: int, limits: modalities.Limits):
    most = min(limits.bytes, MAX_FETCHED_BYTES)
    if size > most:
        raise Rejection('too_large', f'It has more than {most:,} bytes, the most that is fetched.')


def _too_slow(seconds: float) -> Rejection:
    return Rejection('too_slow', f'It was not fetched within {seconds:g} s, the timeout.')

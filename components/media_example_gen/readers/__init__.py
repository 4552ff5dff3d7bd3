"""A media file -> the features of its example, or one word and a sentence for why not. No TensorFlow, no TFX.

Ingest and the serving client read with the same functions, so that training and serving see the same bytes. Whatever
a file claims of itself is checked against the limits before it is decoded. It is read by its content, never its name.

The reasons:

    missing       there is no such file
    not_a_file    a folder, a device or a pipe
    unreadable    the file is there, and may not be opened
    empty         no bytes, or a sound or clip without a sample or frame
    too_large     over the limits on bytes, pixels, seconds or frames (`LIMITS`)
    unsupported   media in a form that is not taken: the detail says which are
    truncated     the file ends before its header says
    undecodable   the decoder refused it; the detail is what it said
    no_stream     a container without the pictures that were looked for
"""

import dataclasses
import importlib
import os
import stat

from model_code.errors import unknown

REASONS = ('missing', 'not_a_file', 'unreadable', 'empty', 'too_large', 'unsupported', 'truncated', 'undecodable',
           'no_stream')


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a file may be at most. bytes: on disk; pixels: of an image or frame; seconds; frames: decoded or stored."""
    bytes: int
    pixels: int = 0
    seconds: float = 0.0
    frames: int = 0


LIMITS = {
    'image': Limits(bytes=64 << 20, pixels=64_000_000),
    'audio': Limits(bytes=128 << 20, seconds=600.0),
    'video': Limits(bytes=512 << 20, pixels=16_000_000, seconds=300.0, frames=36_000),
}

_READERS = {modality: f'components.media_example_gen.readers.{modality}' for modality in LIMITS}


class MediaError(Exception):
    """A file that can't become an example. reason: a word of `REASONS`; detail: a sentence for a person."""

    def __init__(self, reason: str, detail: str):
        if reason not in REASONS:
            raise ValueError(f'{reason!r} is no reason of {REASONS}.')
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = ' '.join(str(detail).split())[:300]

    def __str__(self):
        return f'{self.reason}: {self.detail}'


def read(modality: str, path_or_bytes, spec) -> dict:
    """The features of a file given by its path (local, or any that Beam opens) or by its bytes.

    image: {'image': PNG or JPEG bytes, 'height', 'width'}; audio: {'audio': WAV bytes, 16 kHz mono PCM16,
    'duration_s'}; video: {'frames': [JPEG bytes, ...], 'height', 'width', 'duration_s'}, sampled as `spec`, a
    VideoInput, says. MediaError where it can't be read, whatever the decoder raised.
    """
    if modality not in _READERS:
        raise unknown('modality', modality, _READERS)
    limits = LIMITS[modality]
    content = path_or_bytes if isinstance(path_or_bytes, bytes) else read_bytes(path_or_bytes, limits.bytes)
    if not content:
        raise MediaError('empty', 'The file has no bytes.')
    if len(content) > limits.bytes:
        raise too_large('bytes', len(content), limits.bytes)
    try:
        return importlib.import_module(_READERS[modality]).read(content, spec, limits)
    except MediaError:
        raise
    except Exception as error:  # Decoders raise what they like on hostile bytes; a bad file must not end the run.
        raise MediaError('undecodable', f'{type(error).__name__}: {error}') from error


def read_bytes(path, limit: int) -> bytes:
    """A file's content; MediaError where it is missing, no regular file, not to be opened, or over `limit` bytes."""
    path = os.fspath(path)
    if '://' in path:
        return _read_remote(path, limit)
    try:
        # A named pipe would block at open, so look first.
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise MediaError('not_a_file', 'It is a folder, a device or a pipe, not a file.')
        if status.st_size > limit:
            raise too_large('bytes', status.st_size, limit)
        with open(path, 'rb') as file:
            return file.read(limit + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MediaError('missing', 'There is no such file.') from error
    except OSError as error:
        raise MediaError('unreadable', error.strerror or str(error)) from error


def _read_remote(path: str, limit: int) -> bytes:
    from apache_beam.io.filesystem import CompressionTypes
    from apache_beam.io.filesystems import FileSystems
    if not FileSystems.exists(path):
        raise MediaError('missing', 'There is no such file.')
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
        return file.read(limit + 1)


def too_large(what: str, value, limit) -> MediaError:
    return MediaError('too_large', f'It has {value:,} {what}; at most {limit:,} are taken.')

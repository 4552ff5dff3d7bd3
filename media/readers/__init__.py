"""A media file -> the features of its example, or one word and a sentence for why not. No TensorFlow, no TFX.

Ingest and the serving client read with the same functions, so that training and serving see the same bytes. Whatever
a file claims of itself is checked against the limits before it is decoded. It is read by its content, never its name.
"""

import functools
import importlib
import io
import os
from collections.abc import Callable
from typing import BinaryIO

from media.readers.opening import open_media
from media.rejections import Rejection, too_large
from model_code.modalities import Limits, get_modality

# What is odd about a file that is taken all the same.
NOTES = ('silent', 'clipped', 'still', 'black', 'one_colour')


def read(modality: str, source, spec, limits: Limits | None = None, start: float | None = None,
         end: float | None = None) -> dict:
    """The features of `read_with_notes`, alone."""
    return read_with_notes(modality, source, spec, limits, start, end)[0]


def read_with_notes(modality: str, source, spec, limits: Limits | None = None, start: float | None = None,
                    end: float | None = None) -> tuple[dict, tuple[str, ...]]:
    """(features, words of NOTES) of a path (local, or any that Beam opens), bytes, or a seekable binary file.

    image: {'image': PNG or JPEG bytes, 'height', 'width'}; audio: {'audio': WAV bytes, 16 kHz mono PCM16,
    'duration_s'}; video: {'frames': [JPEG bytes, ...], 'height', 'width', 'duration_s'}, sampled as `spec`, a
    VideoInput, says. start, end: seconds of a sound or video; an end beyond the file's takes what there is. limits:
    None or zeros take the modality's own. Rejection where it can't be read, whatever the decoder raised; MemoryError
    is passed on: who bounds the memory (media.sandbox) says by how much.
    """
    reader = load(get_modality(modality).reader_module)
    limits = get_modality(modality).limits if limits is None else _filled(limits, modality)
    if isinstance(source, bytes):
        file = io.BytesIO(source)
    elif hasattr(source, 'read'):
        file = source
    else:
        with open_media(source, limits) as file:
            return read_by(reader, file, spec, limits, start, end)
    return read_by(reader, file, spec, limits, start, end)


@functools.cache
def load(module: str) -> Callable:
    """The function `read` of a reader's module, loaded when first asked for: who reads images needs no FFmpeg."""
    return importlib.import_module(module).read


def read_by(reader: Callable, file: BinaryIO, spec, limits: Limits, start: float | None = None,
            end: float | None = None) -> tuple[dict, tuple[str, ...]]:
    """(features, words of NOTES) of a seekable binary file by a reader of `load`; limits: complete. Errors as above."""
    try:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        if not size:
            raise Rejection('empty', 'The file has no bytes.')
        if size > limits.bytes:
            raise too_large('bytes', size, limits.bytes)
        if start is not None and end is not None and not 0 <= start < end:
            raise Rejection('out_of_range', f'The segment from {start:g} s to {end:g} s has no length.')
        return reader(file, size, spec, limits, start, end)
    except (Rejection, MemoryError):
        raise
    except Exception as error:  # Decoders raise what they like on hostile bytes; a bad file must not end the run.
        raise Rejection('undecodable', f'{type(error).__name__}: {error}') from error


_filled = functools.lru_cache(maxsize=64)(Limits.for_modality)  # asked for each file, the same each time

"""Turns a media file into the features of its example, or rejects it with a reason. No TensorFlow, no TFX.

Ingest and the serving client use the same functions, so training and serving see the same bytes. What a file's header
says is checked against the limits before anything is decoded. The format is known by the content, never by the name.
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

# Remarks on files that are odd, but not rejected.
NOTES = ('silent', 'clipped', 'wrong_length', 'junk', 'still', 'black', 'one_colour', 'first_picture')


def read(modality: str, source, spec, limits: Limits | None = None, start: float | None = None,
         end: float | None = None) -> dict:
    """The features from `read_with_notes`, without the notes."""
    return read_with_notes(modality, source, spec, limits, start, end)[0]


def read_with_notes(modality: str, source, spec, limits: Limits | None = None, start: float | None = None,
                    end: float | None = None) -> tuple[dict, tuple[str, ...]]:
    """Reads media: (features, words of NOTES).

    source: a path (local, or one that Beam opens), bytes, or a seekable binary file. spec: the modality's input
    settings. start, end: a segment of a sound or video, in seconds; if it ends after the file does, it is shorter.
    limits: None and zeros stand for the modality's own limits.

    Features of an image: {'image': PNG or JPEG bytes, 'height', 'width', 'brightness'}. Of a sound: {'audio': WAV
    bytes, 16 kHz mono PCM16, 'duration_s', 'loudness_dbfs'}. Of a video: {'frames': [JPEG bytes, ...], 'height',
    'width', 'duration_s', 'brightness'}, sampled at the frame rate of `spec`. brightness: the mean luma, 0 to 1.
    loudness_dbfs: the RMS, -100 to 0.

    Raises Rejection if the media cannot be read, whatever the decoder raises. MemoryError passes through, to
    media.sandbox, which knows the limit on memory and names it.
    """
    reader = load(get_modality(modality).reader_module)
    limits = get_modality(modality).limits if limits is None else _filled(limits, modality)
    if isinstance(source, bytes):
        file = io.BytesIO(source)
    elif hasattr(source, 'read'):
        file = source
    else:
        with open_media(source, limits) as file:
            return read_by(reader, file, spec, limits, start, end)[:2]
    return read_by(reader, file, spec, limits, start, end)[:2]


@functools.cache
def load(module: str) -> Callable:
    """The function `read` of a reader's module, imported when first needed: reading images needs no FFmpeg."""
    return importlib.import_module(module).read


def read_by(reader: Callable, file: BinaryIO, spec, limits: Limits, start: float | None = None,
            end: float | None = None) -> tuple[dict, tuple[str, ...], bytes]:
    """As `read_with_notes`, for a seekable binary file. reader: from `load`. limits: without zeros.

    The third value is the fingerprint (media/fingerprints), by which near duplicates are found; b'' for none.
    """
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
    except Exception as error:  # Decoders raise anything on hostile bytes. A bad file must not end the run.
        raise Rejection('undecodable', 'It cannot be decoded: it is damaged, or of a rare kind.') from error


_filled = functools.lru_cache(maxsize=64)(Limits.for_modality)  # called for each file, with the same arguments

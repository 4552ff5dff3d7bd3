"""Sounds: WAV of any rate, width and number of channels -> 16 kHz mono PCM16 WAV."""

import io
import struct

import numpy as np
import soundfile
import soxr

from components.media_example_gen.readers.errors import MediaError, too_large
from model_code.media import Limits

SAMPLE_RATE = 16_000  # Hz
_MAX_RATE, _MAX_CHANNELS = 192_000, 32
_BLOCK = 1 << 16  # frames


def read(content: bytes, spec, limits: Limits) -> dict:
    """{'audio': WAV bytes, 'duration_s': seconds}; `spec` is not needed: the length stays until training crops it.

    Channels are averaged. A file that is 16 kHz mono PCM16 already keeps every sample.
    """
    del spec
    if content[:4] not in (b'RIFF', b'RIFX', b'RF64') or content[8:12] != b'WAVE':
        raise MediaError('unsupported', f'It is no WAV file: it begins with {content[:12].hex(" ")}.')
    _check_whole(content)
    with soundfile.SoundFile(io.BytesIO(content)) as sound:
        rate, channels = sound.samplerate, sound.channels
        if not 1 <= rate <= _MAX_RATE or not 1 <= channels <= _MAX_CHANNELS:
            raise MediaError('unsupported', f'It has {channels} channels at {rate} Hz; at most {_MAX_CHANNELS} at '
                                            f'{_MAX_RATE} Hz are taken.')
        if sound.frames > limits.seconds * rate:
            raise too_large('seconds', round(sound.frames / rate, 1), limits.seconds)
        # In blocks: a file of many channels never stands whole in memory.
        blocks = [block.mean(axis=1) for block in sound.blocks(_BLOCK, dtype='float32', always_2d=True)]
    if not blocks:
        raise MediaError('empty', 'It has no sample.')
    mono = np.concatenate(blocks)
    if not np.isfinite(mono).all():
        raise MediaError('undecodable', 'It has samples that are no finite number.')
    if rate != SAMPLE_RATE:
        mono = soxr.resample(mono, rate, SAMPLE_RATE)
    if not len(mono):
        raise MediaError('empty', 'It is shorter than one sample at 16 kHz.')
    # Not soundfile's own scaling, by 32767: it would change the samples of a PCM16 file.
    samples = np.clip(np.rint(mono * 32768.0), -32768, 32767).astype(np.int16)
    out = io.BytesIO()
    soundfile.write(out, samples, SAMPLE_RATE, subtype='PCM_16', format='WAV')
    return {'audio': out.getvalue(), 'duration_s': len(samples) / SAMPLE_RATE}


def _check_whole(content: bytes):
    """MediaError where the data chunk says more bytes than there are; libsndfile would read what is left, silently."""
    order = '>' if content.startswith(b'RIFX') else '<'
    position = 12
    while position + 8 <= len(content):
        kind, length = struct.unpack_from(f'{order}4sI', content, position)
        if kind == b'data':
            # Programs that write to a pipe don't know the length: they leave 0 or all ones.
            if length not in (0xFFFFFFFF, 0x7FFFFFFF) and position + 8 + length > len(content):
                raise MediaError('truncated', f'Its header says {length:,} bytes of sound; '
                                              f'{len(content) - position - 8:,} are there.')
            return
        position += 8 + length + length % 2
    raise MediaError('truncated', 'It ends before its sound data.')

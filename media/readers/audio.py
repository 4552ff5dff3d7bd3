"""Sounds: WAV, FLAC, MP3, Ogg, AIFF, M4A, AAC, or the sound of a video -> 16 kHz mono PCM16 WAV.

libsndfile reads WAV, AIFF, FLAC and Ogg (Vorbis, Opus). FFmpeg, by PyAV, reads the rest. No file is read whole: only a
block of it and the result are in memory.

Precision of times: WAV, AIFF, FLAC, Vorbis, Opus, and MP3 with a constant bit rate are exact to the sample. Elsewhere
durations and segments are right within 30 ms (at 44.1 or 48 kHz, where a frame of the codec has about a thousand
samples), and within 60 ms in raw AAC (.aac) and AVI files. Decoders remove the padding that encoders add before and
after the sound, if the file says how long it is. Raw AAC and AVI files do not. What is no frame of an MP3 or AAC file
is skipped: what comes before the first costs no precision, a damaged frame within counts as no time, and each file
that was joined to another brings the padding of both, up to 0.1 s.

A segment is reached by seeking. Raw AAC, and MP3 files that do not declare a constant bit rate, have no index: their
frame headers are read up to the segment, without decoding.
"""

import struct

import numpy as np
import soundfile

from media.fingerprints.audio import fingerprint, loudness_dbfs
from media.readers import audio_files
from media.readers.audio_source import (
    BLOCK,
    DAMAGED,
    MISSING,
    Source,
    average,
    check_rate_and_channels,
    check_seconds,
)
from media.rejections import Rejection
from model_code import resampling
from model_code.modalities import Limits

SAMPLE_RATE = resampling.RATE
_MAX_SAMPLE = 1e6  # in full scales; larger samples are not a sound, and could overflow

_MAX_SILENT = 3  # -80 dBFS: 32768 * 10 ** (-80 / 20) = 3.3
_FULL_SCALE, _CLIPPED_RUN, _CLIPPED_SHARE = 32_767, 3, 0.001


def read(file, size: int, spec, limits: Limits, start: float | None,
         end: float | None) -> tuple[dict, tuple[str, ...], bytes]:
    """({'audio': WAV bytes, 'duration_s': seconds, 'loudness_dbfs'}, notes, fingerprint) of `start` to `end` seconds.

    file: seekable, of `size` bytes. spec: not used, because sounds keep their length until training crops them.

    Channels are averaged. A file that already is 16 kHz mono PCM16 keeps every sample. Time counts from the beginning
    of the file; in a video, from its first frame or sound. Raises Rejection.

    Notes: 'silent' if no sample is above -80 dBFS; 'clipped' if more than 0.1 % of the samples are in runs of three or
    more at full scale; 'wrong_length' if the header gives no true length, and the sound was read to the file's end;
    'junk' if bytes that are no sound were skipped.
    """
    del spec
    source = Source(file, limits.decode_seconds)
    try:
        found = audio_files.identify(source, size, start is None and end is None, source.check)
        samples = _decoded(source, found, limits, start or 0.0, end)
    except Rejection:
        source.check()  # An error of the file itself may be the cause, so it comes first.
        raise
    source.check()
    if not len(samples):
        if start:
            raise Rejection('out_of_range', f'The sound ends before the segment, which begins at {start:g} s.')
        raise Rejection('empty', 'It has no samples, or is shorter than one sample at 16 kHz.')
    features = {'audio': _wav(samples), 'duration_s': len(samples) / SAMPLE_RATE,
                'loudness_dbfs': loudness_dbfs(samples)}
    return features, found.notes + _notes(samples), fingerprint(samples)


def _decoded(source: Source, found: audio_files.Found, limits: Limits, start: float, end: float | None):
    """int16 [samples] at 16 kHz of a segment. Raises Rejection if no decoder reads it whole; it has what each says."""
    refusals: list[tuple[str, Rejection]] = []
    for decode in (_by_libsndfile, _by_ffmpeg) if found.libsndfile else (_by_ffmpeg,):
        source.seek(0)
        source.ended = False
        try:
            return _resampled(decode(source, found, limits, start, end, bool(refusals)), source, limits)
        except Rejection as rejection:
            source.check()
            if rejection.reason not in _OPINIONS:
                raise
            refusals.append((_NAMES[decode], rejection))
    (_, rejection), *_ = refusals
    if len(refusals) > 1:
        said = ' '.join(f'{name}: {refusal.detail}' for name, refusal in refusals)
        raise Rejection(rejection.reason, f'No decoder reads it whole. {said}')
    raise rejection


# Decoding: generators of (Hz, float32 [samples], the mean of the channels).

def _by_ffmpeg(*arguments):
    from media.readers import audio_ffmpeg
    return audio_ffmpeg.decoded(*arguments)


def _by_libsndfile(source: Source, found: audio_files.Found, limits: Limits, start: float, end: float | None,
                   is_second: bool):
    del is_second
    try:
        yield from _blocks(source, found, limits, start, end)
    except soundfile.LibsndfileError as error:
        source.check()
        if error.code == 4:  # recognised, but with a codec that libsndfile lacks
            raise Rejection('undecodable', 'It has no decoder for this kind of samples.') from error
        if source.ended and found.demuxer == 'flac':
            raise Rejection('truncated', 'It ends early, or is damaged near its end.') from error
        raise Rejection('undecodable', DAMAGED) from error


def _blocks(source: Source, found: audio_files.Found, limits: Limits, start: float, end: float | None):
    with soundfile.SoundFile(source) as sound:  # pyright: ignore[reportArgumentType]  it takes file objects, too
        rate, channels = sound.samplerate, sound.channels
        check_rate_and_channels(rate, channels)
        first = round(start * rate)
        last = sound.frames  # about 2**63 if the header does not say
        if end is not None:
            last = min(last, round(end * rate))
        if sound.frames < 1 << 62:
            check_seconds((last - first) / rate, limits)
        if sound.frames / rate < found.least_seconds - MISSING:
            raise Rejection('undecodable', f'Only {sound.frames / rate:.2f} s of at least {found.least_seconds:.2f} s '
                                           'can be decoded: it is damaged.')
        if first >= sound.frames:
            return
        position = first
        if sound.format == 'OGG':  # In the last page, about a second, libsndfile's seek may be wrong by a block.
            position = max(0, min(first, sound.frames - 2 * rate))
        if position:
            sound.seek(position)
        while position < last:
            block = sound.read(min(BLOCK, last - position), dtype='float32', always_2d=True)
            if not len(block):
                if sound.frames < 1 << 62:
                    source.check()
                    raise Rejection('truncated', f'It ends at {position / rate:.2f} s, but its header says '
                                                 f'{sound.frames / rate:.2f} s.')
                return
            skipped = max(0, first - position)
            position += len(block)
            if skipped < len(block):
                yield rate, average(block[skipped:].T)


_NAMES = {_by_libsndfile: 'libsndfile', _by_ffmpeg: 'FFmpeg'}
_OPINIONS = ('truncated', 'undecodable')  # reasons for which the other decoder is asked


# What is stored.

@np.errstate(over='ignore', invalid='ignore')  # samples that are not finite are rejected, without a warning
def _resampled(blocks, source: Source, limits: Limits) -> np.ndarray:
    """Blocks of (Hz, [samples]) -> int16 [samples] at 16 kHz."""
    parts, resampler, count, held = [], None, 0, np.empty(0, np.float32)
    for rate, mono in blocks:
        source.check()
        # A comparison that is false for NaN, too.
        if not max(mono.max(), -mono.min()) < _MAX_SAMPLE:
            raise Rejection('undecodable', 'It has samples that are not finite, or far too large for a sound.')
        count += len(mono)
        check_seconds(count / rate, limits)
        if rate == SAMPLE_RATE:
            parts.append(_pcm16(mono))
            continue
        if resampler is None:
            resampler = resampling.Stream(rate)
        else:
            parts.append(_pcm16(resampler.chunk(held)))
        held = mono  # until it is known whether it is the last block
    if resampler is not None:
        parts.append(_pcm16(resampler.chunk(held, last=True)))
    return parts[0] if len(parts) == 1 else np.concatenate(parts or [np.empty(0, np.int16)])


def _pcm16(mono: np.ndarray) -> np.ndarray:
    # soundfile scales by 32767, which would change the samples of a PCM16 file.
    scaled = mono * np.float32(32768)
    np.rint(scaled, out=scaled)
    return np.clip(scaled, -32768, 32767, out=scaled).astype(np.int16)


def _wav(samples: np.ndarray) -> bytes:
    """A WAV file of int16 samples: the same bytes as from soundfile.write, without its overhead for short sounds."""
    header = struct.pack('<4sI4s4sIHHIIHH4sI', b'RIFF', 36 + 2 * len(samples), b'WAVE', b'fmt ', 16, 1, 1, SAMPLE_RATE,
                         2 * SAMPLE_RATE, 2, 16, b'data', 2 * len(samples))
    return b''.join((header, samples.astype('<i2', copy=False).data))


def _notes(samples: np.ndarray) -> tuple[str, ...]:
    highest, lowest = int(samples.max()), int(samples.min())
    if max(highest, -lowest) <= _MAX_SILENT:
        return ('silent',)
    if max(highest, -lowest) < _FULL_SCALE:
        return ()
    at_full_scale = np.concatenate(([False], (samples >= _FULL_SCALE) | (samples <= -_FULL_SCALE), [False]))
    borders = np.flatnonzero(at_full_scale[1:] != at_full_scale[:-1])
    runs = borders[1::2] - borders[::2]
    return ('clipped',) if runs[runs >= _CLIPPED_RUN].sum() > _CLIPPED_SHARE * len(samples) else ()

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
import time

import av
import numpy as np
import soundfile
import soxr
from av.error import FFmpegError, InvalidDataError

from media.fingerprints.audio import fingerprint, loudness_dbfs
from media.readers import audio_files
from media.readers.audio_frames import Spans
from media.rejections import Rejection, too_large
from model_code import words
from model_code.modalities import Limits

SAMPLE_RATE = 16_000  # Hz
# Beyond these limits a header is wrong.
_RATES, _MAX_CHANNELS = (1_000, 384_000), 64
_MAX_SAMPLE = 1e6  # in full scales; larger samples are not a sound, and could overflow
_BLOCK = 1 << 16  # frames
# Seconds to decode before a segment, for the overlap of AAC, the bit reservoir of MP3, and the 80 ms of Opus.
_LEAD = 0.25
_MISSING = 0.5  # seconds that a file may be shorter than its header says, which may round or count a pause
_GAP = 0.02  # seconds by which time stamps may differ from the count of samples; beyond it the time stamps count
_DAMAGED = 'Its sound cannot be decoded: it is damaged, or of a rare kind.'

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
    source = _Source(file, limits.decode_seconds)
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


def _decoded(source: '_Source', found: audio_files.Found, limits: Limits, start: float, end: float | None):
    """int16 [samples] at 16 kHz of a segment. Raises Rejection if no decoder reads it whole; it has what each says."""
    first = _by_libsndfile if found.libsndfile == 'first' else _by_ffmpeg
    refusals: list[tuple[str, Rejection]] = []
    for decode in (first, _by_ffmpeg if first is _by_libsndfile else _by_libsndfile):
        if decode is _by_libsndfile and not found.libsndfile:
            continue
        source.seek(0)
        source.ended = False
        try:
            return _resampled(decode(source, found, limits, start, end, bool(refusals)), source, limits)
        except (soundfile.LibsndfileError, FFmpegError) as error:
            source.check()
            refusals.append((_NAMES[decode], _rejection(error, source, found.demuxer == 'flac')))
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


class _Source:
    """A file as the decoders see it: without a name to guess from, and ending when the time is up.

    Decoders call it from C, where an exception would be printed and lost. So `check` raises it afterwards.
    """

    def __init__(self, file, seconds: float):
        self._file, self._seconds, self._deadline, self._error = file, seconds, time.monotonic() + seconds, None
        self.tell, self.ended = file.tell, False

    def seek(self, position: int, whence: int = 0) -> int:
        try:
            return self._file.seek(position, whence)
        except Exception:  # Damaged headers make libsndfile seek to before the file; it sees that it did not move.
            return self._file.tell()

    def read(self, count: int = -1) -> bytes:
        if time.monotonic() < self._deadline:
            try:
                content = self._file.read(count)
                self.ended = self.ended or len(content) < count
                return content
            except Exception as error:  # Remote file systems raise errors of any type.
                self._error = Rejection('unreadable', f'{type(error).__name__}: {error}')
        return b''

    def check(self):
        if self._error:
            raise self._error
        if time.monotonic() >= self._deadline:
            raise Rejection('too_slow', f'Decoding it takes longer than {self._seconds:g} s.')


def _rejection(error: soundfile.LibsndfileError | FFmpegError, source: _Source, is_flac: bool) -> Rejection:
    if isinstance(error, FFmpegError):
        if isinstance(error, OSError) and source.ended:
            return Rejection('truncated', 'It ends within a frame of its sound.')
        return Rejection('undecodable', _DAMAGED)
    if error.code == 4:  # recognised, but with a codec that libsndfile lacks
        return Rejection('undecodable', 'It has no decoder for this kind of samples.')
    if source.ended and is_flac:
        return Rejection('truncated', 'It ends early, or is damaged near its end.')
    return Rejection('undecodable', _DAMAGED)


# Decoding: generators of (Hz, float32 [samples], the mean of the channels).

def _by_libsndfile(source: _Source, found: audio_files.Found, limits: Limits, start: float, end: float | None,
                   is_second: bool):
    del is_second
    with soundfile.SoundFile(source) as sound:  # pyright: ignore[reportArgumentType]  it takes file objects, too
        rate, channels = sound.samplerate, sound.channels
        _check_rate_and_channels(rate, channels)
        first = round(start * rate)
        last = sound.frames  # about 2**63 if the header does not say
        if end is not None:
            last = min(last, round(end * rate))
        if sound.frames < 1 << 62:
            _check_seconds((last - first) / rate, limits)
        if sound.frames / rate < found.least_seconds - _MISSING:
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
            block = sound.read(min(_BLOCK, last - position), dtype='float32', always_2d=True)
            if not len(block):
                if sound.frames < 1 << 62:
                    source.check()
                    raise Rejection('truncated', f'It ends at {position / rate:.2f} s, but its header says '
                                                 f'{sound.frames / rate:.2f} s.')
                return
            skipped = max(0, first - position)
            position += len(block)
            if skipped < len(block):
                yield rate, _average(block[skipped:].T)


def _by_ffmpeg(source: _Source, found: audio_files.Found, limits: Limits, start: float, end: float | None,
               is_second: bool):
    """is_second: whether another decoder has refused the file. Then nothing may be left out that FFmpeg forgives."""
    constant_rate = found.constant_rate
    # With a constant bit rate FFmpeg jumps to the position of a time. Otherwise it reads all frame headers before it.
    options = {'fflags': 'fastseek'} if constant_rate else {}
    # With this demuxer and no other file. FFmpeg itself would try playlists and other formats that open further files.
    file = Spans(source, found.spans) if found.spans else source
    with av.open(file, 'r', format=found.demuxer, container_options=options, metadata_errors='replace',
                 io_open=_no_other_file) as container:
        if not container.streams.audio:
            raise Rejection('no_stream', 'It has no sound.')
        stream = container.streams.audio[0]
        if stream.codec_context is None:
            raise Rejection('unsupported', 'There is no decoder for its sound.')
        if is_second or len(found.spans) > 1:  # a file with some damage may have more, which FFmpeg would play over
            stream.codec_context.options = {'err_detect': 'crccheck+bitstream+buffer+explode'}
        total = _header_seconds(container, stream, constant_rate)
        if constant_rate and total:  # After a jump FFmpeg does not remove the padding at the end.
            end = total if end is None else min(end, total)
        if total:
            if start >= total:
                return
            _check_seconds((total if end is None else min(end, total)) - start, limits)
        # What begins before zero is the encoder's padding.
        origin = max(0, container.start_time or 0) / av.time_base
        # Ogg files that FFmpeg reads (FLAC, Speex, with video) are decoded from the beginning: after a jump their time
        # stamps are wrong.
        jumps = start > _LEAD and found.demuxer != 'ogg'
        if jumps:
            assert stream.time_base  # every stream has one
            container.seek(int((start - _LEAD + origin) / stream.time_base), stream=stream)
        frames = _frames(container, stream, source, origin, start if jumps else 0.0, constant_rate)
        yield from _joined(_cut(frames, start, end, total, no_gaps=is_second))


def _header_seconds(container, stream, constant_rate: tuple | None) -> float | None:
    """The duration of the sound in the header; None if there is none, or only one for all streams."""
    if container.format.name in ('mp3', 'aac') and not constant_rate:  # only an estimate
        return None
    if stream.duration:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration and len(container.streams) == 1 else None


def _frames(container, stream, source: _Source, origin: float, start: float, constant_rate: tuple | None):
    """(its time in seconds, frame) of each frame. start: the time to which FFmpeg has jumped, or 0."""
    raw = container.format.name in ('mp3', 'aac')  # without a container, the last frame may be cut off
    now, error = (None if start else 0.0), None
    for packet in container.demux():
        source.check()
        if packet.stream_index != stream.index:
            continue
        if constant_rate and now is None:  # After a jump time stamps are wrong by a frame; positions are right.
            first_position, frame_bytes = constant_rate
            number = round((packet.pos - first_position) / frame_bytes)
            origin += float(packet.pts * packet.time_base) - number * float(packet.duration * packet.time_base)
            constant_rate = None
        if packet.is_corrupt and container.format.name != 'wav':  # A WAV without a length may end anywhere.
            raise Rejection('truncated', 'A packet of its sound is cut off.')
        try:
            frames = packet.decode()
        except InvalidDataError as damaged:
            # Right after the jump the decoder may lack data from before it.
            error = None if now is None or now < start else damaged
            if error and not raw:
                raise
            continue
        if error and frames:
            raise error
        for frame in frames:
            if frame.is_corrupt:
                raise Rejection('undecodable', f'A frame of its sound is damaged, at {now or 0:.2f} s.')
            if frame.pts is not None:
                now = float(frame.pts * frame.time_base) - origin
            elif now is None:
                raise Rejection('undecodable', 'Its sound has no time stamps, so segments cannot be found.')
            yield now, frame
            now += frame.samples / frame.sample_rate
    if error:
        raise Rejection('truncated', 'It ends within a frame of its sound.')


def _cut(frames, start: float, end: float | None, total: float | None, no_gaps: bool):
    """(Hz, [samples]) of the frames between start and end.

    Raises Rejection if they end before `total` seconds, and with `no_gaps` if some are missing before.
    """
    rate, position = None, 0
    for now, frame in frames:
        if rate is None:
            rate = frame.sample_rate
            _check_rate_and_channels(rate, frame.layout.nb_channels)
            position, first = 0 if no_gaps and not start else round(now * rate), round(start * rate)
            last = None if end is None else round(end * rate)
        if frame.sample_rate != rate:
            raise Rejection('unsupported', f'Its rate changes from {rate} to {frame.sample_rate} Hz.')
        # Frames follow each other without gaps, although their time stamps may be rounded to 1 ms.
        if abs(now * rate - position) > _GAP * rate:
            if no_gaps:
                raise Rejection('undecodable', f'Its sound is damaged at {position / rate:.2f} s.')
            position = round(now * rate)
        if last is not None and position >= last:
            return
        if position + frame.samples > first:
            yield rate, _mono(frame)[max(0, first - position):None if last is None else last - position]
        position += frame.samples
    if rate and total and position / rate < total - _MISSING:
        raise Rejection('truncated', f'It ends, or is damaged, at {position / rate:.2f} s, but its header says '
                                     f'{total:.2f} s.')


def _joined(pieces):
    """The samples of several frames, joined to a block. To resample them frame by frame would cost more."""
    batch, count, rate = [], 0, 0
    for rate, mono in pieces:
        batch.append(mono)
        count += len(mono)
        if count >= _BLOCK:
            yield rate, np.concatenate(batch)
            batch, count = [], 0
    if batch:
        yield rate, np.concatenate(batch)


def _no_other_file(url, flags, options):
    raise Rejection('unsupported', 'It refers to another file.')


def _mono(frame) -> np.ndarray:
    samples = frame.to_ndarray()
    if frame.format.is_packed:
        samples = samples.reshape(-1, frame.layout.nb_channels).T
    if samples.dtype == np.uint8:
        return _average((samples.astype(np.float32) - 128) / 128)
    if samples.dtype.kind == 'i':
        return _average(samples.astype(np.float32) / -float(np.iinfo(samples.dtype).min))
    return _average(samples.astype(np.float32, copy=False))


def _average(channels: np.ndarray) -> np.ndarray:
    """[channels, samples] -> [samples], the mean. Four times as fast as mean() if the channels are interleaved."""
    if len(channels) == 1:
        return channels[0]
    total = channels[0] + channels[1]
    for channel in channels[2:]:
        total += channel
    total *= np.float32(1 / len(channels))
    return total


def _check_rate_and_channels(rate: int, channels: int):
    if not _RATES[0] <= rate <= _RATES[1] or not 1 <= channels <= _MAX_CHANNELS:
        raise Rejection('unsupported', f'It has {words.count(channels, "channel")} at {rate:,} Hz; 1 to '
                                       f'{_MAX_CHANNELS} channels at {_RATES[0]:,} to {_RATES[1]:,} Hz are supported.')


def _check_seconds(seconds: float, limits: Limits):
    if seconds > limits.seconds:
        raise too_large('seconds', round(seconds, 1), limits.seconds)


_NAMES = {_by_libsndfile: 'libsndfile', _by_ffmpeg: 'FFmpeg'}
_OPINIONS = ('truncated', 'undecodable')  # reasons for which the other decoder is asked


# What is stored.

@np.errstate(over='ignore', invalid='ignore')  # samples that are not finite are rejected, without a warning
def _resampled(blocks, source: _Source, limits: Limits) -> np.ndarray:
    """Blocks of (Hz, [samples]) -> int16 [samples] at 16 kHz."""
    parts, resampler, count, held = [], None, 0, np.empty(0, np.float32)
    for rate, mono in blocks:
        source.check()
        # A comparison that is false for NaN, too.
        if not max(mono.max(), -mono.min()) < _MAX_SAMPLE:
            raise Rejection('undecodable', 'It has samples that are not finite, or far too large for a sound.')
        count += len(mono)
        _check_seconds(count / rate, limits)
        if rate == SAMPLE_RATE:
            parts.append(_pcm16(mono))
            continue
        if resampler is None:
            resampler = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype='float32')
        else:
            parts.append(_pcm16(resampler.resample_chunk(held)))
        held = mono  # until it is known whether it is the last block
    if resampler is not None:
        parts.append(_pcm16(resampler.resample_chunk(held, last=True)))
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

"""Sounds: WAV, FLAC, MP3, Ogg, AIFF, M4A, AAC, or the sound of a video -> 16 kHz mono PCM16 WAV.

libsndfile reads WAV, AIFF, FLAC and Ogg (Vorbis, Opus). FFmpeg, by PyAV, reads the rest. No file is read whole: only a
block of it and the result are in memory.

Precision of times: WAV, AIFF, FLAC, Vorbis, Opus, and MP3 with a constant bit rate are exact to the sample. Elsewhere
durations and segments are right within 30 ms (at 44.1 or 48 kHz, where a frame of the codec has about a thousand
samples), and within 60 ms in raw AAC (.aac) and AVI files. Decoders remove the padding that encoders add before and
after the sound, if the file says how long it is. Raw AAC and AVI files do not.

A segment is reached by seeking. Raw AAC, and MP3 files that do not declare a constant bit rate, have no index: their
frame headers are read up to the segment, without decoding.
"""

import re
import struct
import time

import av
import numpy as np
import soundfile
import soxr
from av.error import FFmpegError, InvalidDataError

from media.readers import demuxers, formats
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
_FORMATS = 'WAV, FLAC, MP3, Ogg, AIFF, M4A, AAC, MP4, MOV, WebM, MKV, AVI and MPEG'
_TARGET = 'WAV, FLAC or MP3'
_DAMAGED = 'Its sound cannot be decoded: it is damaged, or of a rare kind.'
_MAX_CHUNKS = 10_000

_MAX_SILENT = 3  # -80 dBFS: 32768 * 10 ** (-80 / 20) = 3.3
_FULL_SCALE, _CLIPPED_RUN, _CLIPPED_SHARE = 32_767, 3, 0.001


def read(file, size: int, spec, limits: Limits, start: float | None, end: float | None) -> tuple[dict, tuple[str, ...]]:
    """({'audio': WAV bytes, 'duration_s': seconds}, notes) of the sound from `start` to `end` seconds.

    file: seekable, of `size` bytes. spec: not used, because sounds keep their length until training crops them.

    Channels are averaged. A file that already is 16 kHz mono PCM16 keeps every sample. Time counts from the beginning
    of the file; in a video, from its first frame or sound. Notes: 'silent' if no sample is above -80 dBFS; 'clipped' if
    more than 0.1 % of the samples are in runs of three or more at full scale. Raises Rejection.
    """
    del spec
    source = _Source(file, limits.decode_seconds)
    try:
        demuxer, constant_rate = _identify(source, size)
        source.seek(0)
        if demuxer:
            blocks = _by_ffmpeg(source, demuxer, constant_rate, limits, start or 0.0, end)
        else:
            blocks = _by_libsndfile(source, limits, start or 0.0, end)
        samples = _resampled(blocks, source, limits)
    except Rejection:
        source.check()  # An error of the file itself may be the cause, so it comes first.
        raise
    except (soundfile.LibsndfileError, FFmpegError) as error:
        source.check()
        raise _rejection(error, source) from error
    source.check()
    if not len(samples):
        if start:
            raise Rejection('out_of_range', f'The sound ends before the segment, which begins at {start:g} s.')
        raise Rejection('empty', 'It has no samples, or is shorter than one sample at 16 kHz.')
    return {'audio': _wav(samples), 'duration_s': len(samples) / SAMPLE_RATE}, _notes(samples)


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


def _rejection(error: soundfile.LibsndfileError | FFmpegError, source: _Source) -> Rejection:
    if isinstance(error, FFmpegError):
        if isinstance(error, OSError) and source.ended:
            return Rejection('truncated', 'It ends within a frame of its sound.')
        return Rejection('undecodable', _DAMAGED)
    if error.code == 4:  # recognised, but with a codec that libsndfile lacks
        return Rejection('unsupported', f'There is no decoder for its kind of samples. Convert it to {_TARGET}.')
    if source.ended and _at(source, 0, 4) == b'fLaC':
        return Rejection('truncated', 'It ends early, or is damaged near its end.')
    return Rejection('undecodable', _DAMAGED)


# What the file is, and whether it is complete.

def _identify(file, size: int) -> tuple[str, tuple | None]:
    """(FFmpeg's demuxer, `_constant_rate` of an MP3), or ('', None) for libsndfile.

    Raises Rejection if the file is truncated or of another format.
    """
    head = _at(file, 0, demuxers.HEAD)
    if head[:4] in (b'RIFF', b'RIFX', b'RF64') and head[8:12] == b'WAVE':
        if _check_chunks(file, size, '>' if head[:4] == b'RIFX' else '<', b'data'):
            return 'wav', None
    elif head[:4] == b'FORM' and head[8:12] in (b'AIFF', b'AIFC'):
        _check_chunks(file, size, '>', b'SSND')
    elif head[:4] == b'OggS':
        _check_ogg(file, size)
        if not _only_stream(file, size):
            return 'ogg', None
    elif demuxer := demuxers.demuxer_of(head):
        demuxers.check_whole(demuxer, file, size)
        return demuxer, None
    elif head[:4] != b'fLaC':
        return _identify_frames(file, size, head)
    return '', None


def _identify_frames(file, size: int, head: bytes) -> tuple[str, tuple | None]:
    """`_identify` for files without a container, maybe after an ID3 tag: MP3, AAC, and tagged FLAC."""
    first = 0
    while head[:3] == b'ID3' and len(head) >= 10 and first < size:
        a, b, c, d = (byte & 0x7F for byte in head[6:10])
        first += 10 + (a << 21 | b << 14 | c << 7 | d) + (10 if head[5] & 0x10 else 0)
        head = _at(file, first, 16)
    if first >= size:
        raise Rejection('truncated', 'It ends within its ID3 tag.')
    if not any(head):  # Some programs add padding after the tag.
        padding = _at(file, first, 1 << 16)
        first += len(padding) - len(padding.lstrip(b'\0'))
        head = _at(file, first, 16)
    if head[:4] == b'fLaC':
        return '', None
    if len(head) >= 4 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:
        return 'aac', None
    if len(head) >= 4 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0 and head[1] & 0x18 != 0x08 \
            and head[1] & 0x06 and head[2] & 0xF0 != 0xF0 and head[2] & 0x0C != 0x0C:
        return 'mp3', _constant_rate(file, size, first)
    if _at(file, 0, 3) == b'ID3':
        raise Rejection('unsupported', f'After its ID3 tag comes no MP3, AAC or FLAC. Convert it to {_TARGET}.')
    raise formats.unsupported(_at(file, 0, formats.HEAD), 'a sound', ('video',), _FORMATS, _TARGET)


def _at(file, position: int, count: int) -> bytes:
    file.seek(position)
    return file.read(count)


def _truncated(missing: int) -> Rejection:
    return Rejection('truncated', f'It ends {words.count(missing, "byte")} earlier than its header says.')


def _check_chunks(file, size: int, order: str, wanted: bytes) -> bool:
    """Whether the chunk of the sound has a length of 0 but content, of which libsndfile would read nothing.

    Raises Rejection if its length exceeds the file, of which libsndfile would read what is left.
    """
    position, long_size = 12, None
    for _ in range(_MAX_CHUNKS):
        head = _at(file, position, 24)
        if len(head) < 8:
            raise Rejection('truncated', 'It ends before its sound.')
        kind, length = struct.unpack_from(f'{order}4sI', head)
        if kind == b'ds64' and len(head) == 24:  # RF64: the size in 64 bits
            long_size, = struct.unpack_from('<Q', head, 16)
        if kind == wanted:
            # Programs that write to a pipe do not know the length. They leave 0, all ones, or, like SoX, other values.
            if length in (0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000):
                length = long_size or 1
            if position + 8 + length > size:
                raise _truncated(position + 8 + length - size)
            if length or position + 8 == size:
                return False
            # A chunk that really is empty may be followed by another chunk.
            return position + 16 + struct.unpack_from(f'{order}4xI', head[8:16].ljust(8))[0] not in (size, size - 1)
        position += 8 + length + length % 2
    raise Rejection('undecodable', f'It has more than {_MAX_CHUNKS:,} chunks before its sound.')


def _check_ogg(file, size: int):
    tail = _at(file, max(0, size - (1 << 16)), 1 << 16)  # a page has fewer bytes
    page = tail[max(0, tail.rfind(b'OggS')):]
    segments = page[26] if len(page) > 26 else 0
    missing = 27 + segments + sum(page[27:27 + segments]) - len(page)
    if missing > 0:
        raise Rejection('truncated', f'Its last page lacks {words.count(missing, "byte")} or more.')


def _only_stream(file, size: int) -> bool:
    """Whether an Ogg file has a single stream, with a codec that libsndfile reads."""
    first, second = _at(file, 0, 128), b''
    if len(first) > 27:
        segments = first[26]
        second = _at(file, 27 + segments + sum(first[27:27 + segments]), 6)
        return (first[27 + segments:].startswith((b'\x01vorbis', b'OpusHead'))
                and not (len(second) > 5 and second[5] & 2))  # all streams begin together
    return False


def _constant_rate(file, size: int, first: int) -> tuple[float, float] | None:
    """(position of the first frame, bytes per frame) of an MP3 whose header declares a constant bit rate; or None.

    Raises Rejection if the header's length exceeds the file. The Info or Xing header fills a frame of its own.
    """
    head = _at(file, first, 64)
    tag = re.search(b'Xing|Info', head)
    if not tag or len(head) < tag.end() + 12:
        return None
    flags, frames, length = struct.unpack_from('>III', head, tag.end())
    if flags & 3 != 3:
        return None
    if first + length > size:
        raise _truncated(first + length - size)
    frame_bytes = length / (frames + 1)
    return (first + frame_bytes, frame_bytes) if tag[0] == b'Info' else None


# Decoding: generators of (Hz, float32 [samples], the mean of the channels).

def _by_libsndfile(source: _Source, limits: Limits, start: float, end: float | None):
    with soundfile.SoundFile(source) as sound:  # pyright: ignore[reportArgumentType]  it takes file objects, too
        rate, channels = sound.samplerate, sound.channels
        _check_rate_and_channels(rate, channels)
        first = round(start * rate)
        last = sound.frames  # about 2**63 if the header does not say
        if end is not None:
            last = min(last, round(end * rate))
        if first >= sound.frames:
            return
        if sound.frames < 1 << 62:
            _check_seconds((last - first) / rate, limits)
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


def _by_ffmpeg(source: _Source, demuxer: str, constant_rate: tuple | None, limits: Limits, start: float,
               end: float | None):
    # With a constant bit rate FFmpeg jumps to the position of a time. Otherwise it reads all frame headers before it.
    options = {'fflags': 'fastseek'} if constant_rate else {}
    # With this demuxer and no other file. FFmpeg itself would try playlists and other formats that open further files.
    with av.open(source, 'r', format=demuxer, container_options=options, metadata_errors='replace',
                 io_open=_no_other_file) as container:
        if not container.streams.audio:
            raise Rejection('no_stream', 'It has no sound.')
        stream = container.streams.audio[0]
        if stream.codec_context is None:
            raise Rejection('unsupported', 'There is no decoder for its sound.')
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
        jumps = start > _LEAD and demuxer != 'ogg'
        if jumps:
            assert stream.time_base  # every stream has one
            container.seek(int((start - _LEAD + origin) / stream.time_base), stream=stream)
        frames = _frames(container, stream, source, origin, start if jumps else 0.0, constant_rate)
        yield from _joined(_cut(frames, start, end, total))


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


def _cut(frames, start: float, end: float | None, total: float | None):
    """(Hz, [samples]) of the frames between start and end. Raises Rejection if they end before `total` seconds."""
    rate, position = None, 0
    for now, frame in frames:
        if rate is None:
            rate = frame.sample_rate
            _check_rate_and_channels(rate, frame.layout.nb_channels)
            position, first = round(now * rate), round(start * rate)
            last = None if end is None else round(end * rate)
        if frame.sample_rate != rate:
            raise Rejection('unsupported', f'Its rate changes from {rate} to {frame.sample_rate} Hz.')
        # Frames follow each other without gaps, although their time stamps may be rounded to 1 ms.
        if abs(now * rate - position) > _GAP * rate:
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

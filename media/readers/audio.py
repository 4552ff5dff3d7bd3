"""Sounds: WAV, FLAC, MP3, Ogg, AIFF, M4A, AAC, or the sound of a video -> 16 kHz mono PCM16 WAV.

libsndfile reads WAV, AIFF, FLAC and Ogg (Vorbis, Opus); FFmpeg, by PyAV, the rest. Nothing reads a file whole: what
is in memory is a block of it and what will be stored.

How exact the time is: WAV, AIFF, FLAC, Vorbis and Opus, and MP3 of constant bit rate, to the sample. Elsewhere
durations and the borders of a segment are right within 30 ms (at 44.1 or 48 kHz: a frame of the codec has a thousand
samples), within 60 ms in raw AAC (.aac) and AVI files. What an encoder put before and behind the sound is cut off by
the decoder, where the file says how much it is; raw AAC and AVI don't.

A segment is reached by seeking. MP3 files that don't say that they have a constant bit rate, and raw AAC, have no
index: their frame headers are read up to the segment, without decoding.
"""

import re
import struct
import time

import av
import numpy as np
import soundfile
import soxr
from av.error import FFmpegError, InvalidDataError

from media.readers import demuxers
from media.rejections import Rejection, too_large, unsupported
from model_code.modalities import Limits

SAMPLE_RATE = 16_000  # Hz
# What a sound may claim to be; beyond it a header lies.
_RATES, _MAX_CHANNELS = (1_000, 384_000), 64
_LOUDEST = 1e6  # Of full scale: samples beyond are no sound, and could overflow.
_BLOCK = 1 << 16  # frames
# Seconds decoded ahead of a segment: the overlap of AAC, the bit reservoir of MP3, the 80 ms of Opus.
_LEAD = 0.25
_MISSING = 0.5  # Seconds that a file may be shorter than its header says: such times are rounded, or count a pause.
_GAP = 0.02  # Seconds between time stamps and the count of samples from which the time stamps are believed.
_TAKEN = 'WAV, FLAC, MP3, Ogg, AIFF, M4A, AAC, MP4, MOV, WebM, MKV, AVI and MPEG'
_MAX_CHUNKS = 10_000

_SILENT = 3  # -80 dBFS: 32768 * 10 ** (-80 / 20) = 3.3
_FULL, _CLIPPED_RUN, _CLIPPED_SHARE = 32_767, 3, 0.001


def read(file, size: int, spec, limits: Limits, start: float | None, end: float | None) -> tuple[dict, tuple[str, ...]]:
    """({'audio': WAV bytes, 'duration_s': seconds}, notes) of the sound from `start` to `end` seconds.

    file: seekable, of `size` bytes. `spec` is not needed: the length stays until training crops it. Channels are
    averaged. A file that is 16 kHz mono PCM16 already keeps every sample. Notes: 'silent' where no sample is above
    -80 dBFS; 'clipped' where more than 0.1 % of the samples stand in runs of three or more at full scale. Time counts
    from the beginning of the file, of a video from its first picture or sound. Raises Rejection.
    """
    del spec
    source = _Source(file, limits.decode_seconds)
    try:
        demuxer, constant = _look(source, size)
        source.seek(0)
        if demuxer:
            blocks = _by_ffmpeg(source, demuxer, constant, limits, start or 0.0, end)
        else:
            blocks = _by_libsndfile(source, limits, start or 0.0, end)
        samples = _resampled(blocks, source, limits)
    except Rejection:
        source.check()  # An error of the file itself comes before what became of it.
        raise
    except (soundfile.LibsndfileError, FFmpegError) as error:
        source.check()
        raise _rejection(error, source) from error
    source.check()
    if not len(samples):
        if start:
            raise Rejection('out_of_range', f'The sound ends before the segment, which begins at {start:g} s.')
        raise Rejection('empty', 'It has no sample, or is shorter than one at 16 kHz.')
    return {'audio': _wav(samples), 'duration_s': len(samples) / SAMPLE_RATE}, _notes(samples)


class _Source:
    """A file as the decoders see it: without a name to guess from, and at its end when the time is up.

    Decoders call it from C, where an exception would be printed and lost: `check` raises it afterwards.
    """

    def __init__(self, file, seconds: float):
        self._file, self._seconds, self._deadline, self._error = file, seconds, time.monotonic() + seconds, None
        self.tell, self.ended = file.tell, False

    def seek(self, position: int, whence: int = 0) -> int:
        try:
            return self._file.seek(position, whence)
        except Exception:  # A damaged header leads libsndfile to before the beginning; it sees that it did not move.
            return self._file.tell()

    def read(self, count: int = -1) -> bytes:
        if time.monotonic() < self._deadline:
            try:
                content = self._file.read(count)
                self.ended = self.ended or len(content) < count
                return content
            except Exception as error:  # Clients of remote file systems raise what they like.
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
        return Rejection('undecodable', error.strerror or str(error))
    if error.code == 4:  # Recognised, and a codec that libsndfile hasn't got.
        return Rejection('unsupported', error.error_string)
    if source.ended and _at(source, 0, 4) == b'fLaC':
        return Rejection('truncated', f'It ends early, or is damaged near its end ({error.error_string}).')
    return Rejection('undecodable', error.error_string)


# What the file is, and whether it is whole.

def _look(file, size: int) -> tuple[str, tuple | None]:
    """(FFmpeg's demuxer, `_constant_rate` of an MP3), or ('', None) for libsndfile.

    Rejection where it is truncated, or none that is taken.
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
        return _look_for_frames(file, size, head)
    return '', None


def _look_for_frames(file, size: int, head: bytes) -> tuple[str, tuple | None]:
    """`_look` for files that are but frames, maybe behind an ID3 tag: MP3, AAC, and FLAC that was tagged so."""
    first = 0
    while head[:3] == b'ID3' and len(head) >= 10 and first < size:
        a, b, c, d = (byte & 0x7F for byte in head[6:10])
        first += 10 + (a << 21 | b << 14 | c << 7 | d) + (10 if head[5] & 0x10 else 0)
        head = _at(file, first, 16)
    if first >= size:
        raise Rejection('truncated', 'It ends within its ID3 tag.')
    if not any(head):  # Some programs fill up behind the tag.
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
    raise unsupported(head, _TAKEN)


def _at(file, position: int, count: int) -> bytes:
    file.seek(position)
    return file.read(count)


def _truncated(missing: int) -> Rejection:
    return Rejection('truncated', f'It ends {missing:,} bytes before its header says.')


def _check_chunks(file, size: int, order: str, wanted: bytes) -> bool:
    """Whether the sound's chunk says 0 bytes, and there are: libsndfile would read none.

    Rejection where it says more bytes than there are: libsndfile would read what is left.
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
            # Programs that write to a pipe don't know the length: they leave 0, all ones, or what SoX and others do.
            if length in (0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000):
                length = long_size or 1
            if position + 8 + length > size:
                raise _truncated(position + 8 + length - size)
            if length or position + 8 == size:
                return False
            # Another chunk may follow one that is empty indeed.
            return position + 16 + struct.unpack_from(f'{order}4xI', head[8:16].ljust(8))[0] not in (size, size - 1)
        position += 8 + length + length % 2
    raise Rejection('undecodable', f'It has more than {_MAX_CHUNKS:,} chunks before its sound.')


def _check_ogg(file, size: int):
    tail = _at(file, max(0, size - (1 << 16)), 1 << 16)  # A page has fewer bytes.
    page = tail[max(0, tail.rfind(b'OggS')):]
    segments = page[26] if len(page) > 26 else 0
    missing = 27 + segments + sum(page[27:27 + segments]) - len(page)
    if missing > 0:
        raise Rejection('truncated', f'Its last page has {missing:,} bytes or more too few.')


def _only_stream(file, size: int) -> bool:
    """Whether an Ogg file has one stream, of a codec that libsndfile reads."""
    first, second = _at(file, 0, 128), b''
    if len(first) > 27:
        segments = first[26]
        second = _at(file, 27 + segments + sum(first[27:27 + segments]), 6)
        return (first[27 + segments:].startswith((b'\x01vorbis', b'OpusHead'))
                and not (len(second) > 5 and second[5] & 2))  # Streams begin together.
    return False


def _constant_rate(file, size: int, first: int) -> tuple[float, float] | None:
    """(position of the first frame, bytes of a frame) of an MP3 whose header says that its bit rate is constant.

    Rejection where it says that there are more bytes than there are. The Info or Xing header fills a frame of its own.
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
    each = length / (frames + 1)
    return (first + each, each) if tag[0] == b'Info' else None


# Decoding: generators of (Hz, [samples] float32, averaged over the channels).

def _by_libsndfile(source: _Source, limits: Limits, start: float, end: float | None):
    with soundfile.SoundFile(source) as sound:  # pyright: ignore[reportArgumentType]  file objects are taken, too
        rate, channels = sound.samplerate, sound.channels
        _check_form(rate, channels)
        first = round(start * rate)
        last = sound.frames  # About 2**63 where the header doesn't say.
        if end is not None:
            last = min(last, round(end * rate))
        if first >= sound.frames:
            return
        if sound.frames < 1 << 62:
            _check_seconds((last - first) / rate, limits)
        at = first
        if sound.format == 'OGG':  # In the last page, of about a second, libsndfile's seek may miss by a block.
            at = max(0, min(first, sound.frames - 2 * rate))
        if at:
            sound.seek(at)
        while at < last:
            block = sound.read(min(_BLOCK, last - at), dtype='float32', always_2d=True)
            if not len(block):
                if sound.frames < 1 << 62:
                    source.check()
                    raise Rejection('truncated', f'It ends at {at / rate:.2f} s; its header says '
                                                 f'{sound.frames / rate:.2f} s.')
                return
            skipped = max(0, first - at)
            at += len(block)
            if skipped < len(block):
                yield rate, _average(block[skipped:].T)


def _by_ffmpeg(source: _Source, demuxer: str, constant: tuple | None, limits: Limits, start: float, end: float | None):
    # In an MP3 of constant bit rate FFmpeg jumps to where a time must be, else reads all frame headers before.
    options = {'fflags': 'fastseek'} if constant else {}
    # The demuxer by name, and no other file: FFmpeg would else try playlists and other forms that open further ones.
    with av.open(source, 'r', format=demuxer, container_options=options, metadata_errors='replace',
                 io_open=_no_other_file) as container:
        if not container.streams.audio:
            raise Rejection('no_stream', 'It has no sound.')
        stream = container.streams.audio[0]
        if stream.codec_context is None:
            raise Rejection('unsupported', 'There is no decoder for its sound.')
        total = _said_seconds(container, stream, constant)
        if constant and total:  # Behind a jump FFmpeg leaves the padding at the end.
            end = total if end is None else min(end, total)
        if total:
            if start >= total:
                return
            _check_seconds((total if end is None else min(end, total)) - start, limits)
        # A beginning before zero is what the encoder put ahead of the sound.
        origin = max(0, container.start_time or 0) / av.time_base
        # Ogg that FFmpeg reads (FLAC, Speex, beside pictures) is decoded from its beginning: behind a jump its time
        # stamps are wrong.
        jumps = start > _LEAD and demuxer != 'ogg'
        if jumps:
            assert stream.time_base  # FFmpeg gives every stream one
            container.seek(int((start - _LEAD + origin) / stream.time_base), stream=stream)
        frames = _frames(container, stream, source, origin, start if jumps else 0.0, constant)
        yield from _batches(_cut(frames, start, end, total))


def _said_seconds(container, stream, constant: tuple | None) -> float | None:
    """How long the header says that the sound is; None where it does not, or says it of all streams together."""
    if container.format.name in ('mp3', 'aac') and not constant:  # An estimate.
        return None
    if stream.duration:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration and len(container.streams) == 1 else None


def _frames(container, stream, source: _Source, origin: float, start: float, constant: tuple | None):
    """(seconds at its beginning, frame) of each frame; start: of the segment for whose sake FFmpeg has jumped, or 0."""
    raw = container.format.name in ('mp3', 'aac')  # Whether the file is but frames: the last may be cut off.
    now, error = (None if start else 0.0), None
    for packet in container.demux():
        source.check()
        if packet.stream_index != stream.index:
            continue
        if constant and now is None:  # Behind such a jump time stamps are off by a frame; the position is not.
            number = round((packet.pos - constant[0]) / constant[1])
            origin += float(packet.pts * packet.time_base) - number * float(packet.duration * packet.time_base)
            constant = None
        if packet.is_corrupt and container.format.name != 'wav':  # A WAV without a length ends where it ends.
            raise Rejection('truncated', 'A packet of its sound is cut off.')
        try:
            frames = packet.decode()
        except InvalidDataError as damaged:
            # Right behind the jump the decoder may lack what came before.
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
                raise Rejection('undecodable', "Its sound has no time stamps, so a segment can't be found.")
            yield now, frame
            now += frame.samples / frame.sample_rate
    if error:
        raise Rejection('truncated', 'It ends within a frame of its sound.')


def _cut(frames, start: float, end: float | None, total: float | None):
    """(Hz, [samples]) of frames between start and end; Rejection where they end before `total` seconds."""
    rate, at = None, 0
    for now, frame in frames:
        if rate is None:
            rate = frame.sample_rate
            _check_form(rate, frame.layout.nb_channels)
            at, first, last = round(now * rate), round(start * rate), None if end is None else round(end * rate)
        if frame.sample_rate != rate:
            raise Rejection('unsupported', f'Its rate changes from {rate} to {frame.sample_rate} Hz.')
        # Frames follow each other without a gap; their time stamps may be rounded to 1 ms.
        if abs(now * rate - at) > _GAP * rate:
            at = round(now * rate)
        if last is not None and at >= last:
            return
        if at + frame.samples > first:
            yield rate, _mono(frame)[max(0, first - at):None if last is None else last - at]
        at += frame.samples
    if rate and total and at / rate < total - _MISSING:
        raise Rejection('truncated', f'It ends, or is damaged, at {at / rate:.2f} s; its header says {total:.2f} s.')


def _batches(pieces):
    """The frames' samples, joined to blocks: a resampler's call for each frame would cost more than it does."""
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
    """[channels, samples] -> [samples]; four times as fast as mean() where the channels are interleaved."""
    if len(channels) == 1:
        return channels[0]
    total = channels[0] + channels[1]
    for channel in channels[2:]:
        total += channel
    total *= np.float32(1 / len(channels))
    return total


def _check_form(rate: int, channels: int):
    if not _RATES[0] <= rate <= _RATES[1] or not 1 <= channels <= _MAX_CHANNELS:
        raise Rejection('unsupported', f'It has {channels} channels at {rate} Hz; 1 to {_MAX_CHANNELS} at {_RATES[0]} '
                                       f'to {_RATES[1]} Hz are taken.')


def _check_seconds(seconds: float, limits: Limits):
    if seconds > limits.seconds:
        raise too_large('seconds', round(seconds, 1), limits.seconds)


# What is stored.

@np.errstate(over='ignore', invalid='ignore')  # What is not finite is rejected, without a warning before.
def _resampled(blocks, source: _Source, limits: Limits) -> np.ndarray:
    """Blocks of (Hz, [samples]) -> [samples] int16 at 16 kHz."""
    parts, resampler, count, held = [], None, 0, np.empty(0, np.float32)
    for rate, mono in blocks:
        source.check()
        # One comparison, false for NaN too.
        if not max(mono.max(), -mono.min()) < _LOUDEST:
            raise Rejection('undecodable', 'It has samples that are no finite number, or far from a sound.')
        count += len(mono)
        _check_seconds(count / rate, limits)
        if rate == SAMPLE_RATE:
            parts.append(_pcm16(mono))
            continue
        if resampler is None:
            resampler = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype='float32')
        else:
            parts.append(_pcm16(resampler.resample_chunk(held)))
        held = mono  # Until it is known whether it is the last.
    if resampler is not None:
        parts.append(_pcm16(resampler.resample_chunk(held, last=True)))
    return parts[0] if len(parts) == 1 else np.concatenate(parts or [np.empty(0, np.int16)])


def _pcm16(mono: np.ndarray) -> np.ndarray:
    # Not soundfile's own scaling, by 32767: it would change the samples of a PCM16 file.
    scaled = mono * np.float32(32768)
    np.rint(scaled, out=scaled)
    return np.clip(scaled, -32768, 32767, out=scaled).astype(np.int16)


def _wav(samples: np.ndarray) -> bytes:
    """A WAV file of int16 samples: what soundfile.write would give, without its overhead for a short sound."""
    header = struct.pack('<4sI4s4sIHHIIHH4sI', b'RIFF', 36 + 2 * len(samples), b'WAVE', b'fmt ', 16, 1, 1, SAMPLE_RATE,
                         2 * SAMPLE_RATE, 2, 16, b'data', 2 * len(samples))
    return b''.join((header, samples.astype('<i2', copy=False).data))


def _notes(samples: np.ndarray) -> tuple[str, ...]:
    highest, lowest = int(samples.max()), int(samples.min())
    if max(highest, -lowest) <= _SILENT:
        return ('silent',)
    if max(highest, -lowest) < _FULL:
        return ()
    full = np.concatenate(([False], (samples >= _FULL) | (samples <= -_FULL), [False]))
    borders = np.flatnonzero(full[1:] != full[:-1])
    runs = borders[1::2] - borders[::2]
    return ('clipped',) if runs[runs >= _CLIPPED_RUN].sum() > _CLIPPED_SHARE * len(samples) else ()

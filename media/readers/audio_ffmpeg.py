"""Sounds by FFmpeg (PyAV): those that libsndfile does not read.

Imported only once a file needs it, because FFmpeg takes as long to load as a hundred short sounds to read.
"""

import av
import numpy as np
from av.error import FFmpegError, InvalidDataError

from media.readers.audio_files import Found
from media.readers.audio_frames import Spans
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
from model_code.modalities import Limits

# Seconds to decode before a segment, for the overlap of AAC, the bit reservoir of MP3, and the 80 ms of Opus.
_LEAD = 0.25
_GAP = 0.02  # seconds by which time stamps may differ from the count of samples; beyond it the time stamps count


def decoded(source: Source, found: Found, limits: Limits, start: float, end: float | None, is_second: bool):
    """Yields (Hz, float32 [samples], the mean of the channels) of the sound from `start` to `end` seconds.

    is_second: whether another decoder has refused the file. Then nothing may be left out that FFmpeg forgives. Raises
    Rejection.
    """
    try:
        yield from _decoded(source, found, limits, start, end, is_second)
    except FFmpegError as error:
        source.check()
        if isinstance(error, OSError) and source.ended:
            raise Rejection('truncated', 'It ends within a frame of its sound.') from error
        raise Rejection('undecodable', DAMAGED) from error


def _decoded(source: Source, found: Found, limits: Limits, start: float, end: float | None, is_second: bool):
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
            check_seconds((total if end is None else min(end, total)) - start, limits)
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


def _frames(container, stream, source: Source, origin: float, start: float, constant_rate: tuple | None):
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
            check_rate_and_channels(rate, frame.layout.nb_channels)
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
    if rate and total and position / rate < total - MISSING:
        raise Rejection('truncated', f'It ends, or is damaged, at {position / rate:.2f} s, but its header says '
                                     f'{total:.2f} s.')


def _joined(pieces):
    """The samples of several frames, joined to a block. To resample them frame by frame would cost more."""
    batch, count, rate = [], 0, 0
    for rate, mono in pieces:
        batch.append(mono)
        count += len(mono)
        if count >= BLOCK:
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
        return average((samples.astype(np.float32) - 128) / 128)
    if samples.dtype.kind == 'i':
        return average(samples.astype(np.float32) / -float(np.iinfo(samples.dtype).min))
    return average(samples.astype(np.float32, copy=False))

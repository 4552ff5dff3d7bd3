"""Clips: MP4 -> JPEG frames at a steady rate, by presentation time."""

import io
import math
import struct

import av
from PIL import Image

from components.media_example_gen.readers import Limits, MediaError, too_large
from model_code.modalities import VideoInput

JPEG_QUALITY = 90
_EPSILON = 1e-4  # seconds: time stamps are fractions, 1/8 s may come as 0.12499


def read(content: bytes, spec: VideoInput, limits: Limits) -> dict:
    """{'frames': [JPEG bytes, ...], 'height', 'width' of the frames, 'duration_s'}.

    The frame at k / spec.frame_rate seconds is the one on display then, for every k within the clip: clips of
    24 and of 30 frames a second, or of a varying rate, come out alike. The short side is scaled down to
    spec.short_side pixels, never up; a rotation that the file asks for is applied.
    """
    _check_boxes(content)
    try:
        # The demuxer by name: FFmpeg would else try playlists and other forms that open further files.
        with av.open(io.BytesIO(content), format='mp4', metadata_errors='replace') as container:
            if not container.streams.video:
                raise MediaError('no_stream', 'The file has no video stream.')
            return _sample(container, container.streams.video[0], spec, limits)
    except av.error.FFmpegError as error:
        raise MediaError('undecodable', error.strerror or str(error)) from error


def _sample(container, stream, spec: VideoInput, limits: Limits) -> dict:
    if stream.codec_context is None:
        raise MediaError('unsupported', 'No decoder for its video stream.')
    _check_size(stream.codec_context.width, stream.codec_context.height, limits)
    if stream.duration and stream.time_base and float(stream.duration * stream.time_base) > limits.seconds:
        raise too_large('seconds', round(float(stream.duration * stream.time_base), 1), limits.seconds)
    # Beam's workers already read files in parallel: two threads keep a lone worker's second core busy, no more.
    stream.thread_type = 'AUTO'
    stream.codec_context.thread_count = 2
    step = 1 / float(stream.average_rate or 25)
    jpegs, shown, start, now, size = [], None, None, 0.0, None

    def show_until(end: float):
        nonlocal size
        encoded = None
        while len(jpegs) / spec.frame_rate < end - _EPSILON:
            if len(jpegs) >= limits.frames:
                raise too_large('frames', len(jpegs) + 1, limits.frames)
            if encoded is None:
                encoded, size = _jpeg(shown, spec.short_side, size)
            jpegs.append(encoded)

    for count, frame in enumerate(container.decode(stream)):
        if count >= limits.frames:
            raise too_large('frames', count + 1, limits.frames)
        _check_size(frame.width, frame.height, limits)
        if frame.is_corrupt:
            raise MediaError('undecodable', f'Frame {count} is damaged.')
        time = now + step if frame.time is None else frame.time
        if start is None:
            start = time
        now = max(now, time - start)
        if now > limits.seconds:
            raise too_large('seconds', round(now, 1), limits.seconds)
        if shown is not None:
            show_until(now)
        shown = frame
    if shown is None:
        raise MediaError('empty', 'The video stream has no frame.')
    last = float(shown.duration * shown.time_base) if shown.duration and shown.time_base else step
    duration = now + min(last, 1.0)
    show_until(duration)
    width, height = size
    return {'frames': jpegs, 'height': height, 'width': width, 'duration_s': duration}


def _check_size(width: int, height: int, limits: Limits):
    if width * height > limits.pixels:
        raise too_large('pixels a frame', width * height, limits.pixels)


def _jpeg(frame, short_side: int, size) -> tuple[bytes, tuple[int, int]]:
    """JPEG bytes of a frame, and its size (width, height): `size` where given, as all frames of a clip are alike."""
    turns = round(frame.rotation / 90) % 4  # quarters, counter-clockwise
    if size is None:
        scale = min(1.0, short_side / min(frame.width, frame.height))
        size = tuple(max(1, math.floor(side * scale + 0.5)) for side in (frame.width, frame.height))
        size = size[::-1] if turns % 2 else size
    width, height = size[::-1] if turns % 2 else size
    pixels = frame.reformat(width, height, 'rgb24', interpolation='AREA').to_ndarray()
    image = Image.fromarray(pixels)
    if turns:
        image = image.transpose((Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180,
                                 Image.Transpose.ROTATE_270)[turns - 1])
    out = io.BytesIO()
    image.save(out, 'JPEG', quality=JPEG_QUALITY)
    return out.getvalue(), size


def _check_boxes(content: bytes):
    """Walks the outermost boxes of the MP4: MediaError where it is none, or ends within one."""
    if content[4:8] not in (b'ftyp', b'moov', b'mdat', b'free', b'skip', b'wide'):
        raise MediaError('unsupported', f'It is no MP4 file: it begins with {content[:12].hex(" ")}.')
    position, has_index = 0, False
    while position + 8 <= len(content):
        length, kind = struct.unpack_from('>I4s', content, position)
        if length == 1 and position + 16 <= len(content):
            length, = struct.unpack_from('>Q', content, position + 8)
        elif length == 0:  # To the end of the file.
            length = len(content) - position
        if length < 8:
            raise MediaError('undecodable', f'The box {kind!r} says that it has {length} bytes.')
        has_index = has_index or kind in (b'moov', b'moof')
        position += length
        if position > len(content):
            raise MediaError('truncated', f'The file ends within its box {kind!r}: {position - len(content):,} bytes '
                                          'are missing.')
    if not has_index:
        raise MediaError('truncated', 'The file ends before its index (the box moov).')

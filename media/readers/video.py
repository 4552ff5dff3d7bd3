"""Clips: MP4, MOV, WebM, MKV, AVI, GIF, MPEG-TS and MPEG-PS -> JPEG frames at a steady rate, by presentation time.

The file is read through FFmpeg as it goes: neither its bytes nor its decoded frames are ever held together.
"""

import io
import itertools
import math
import struct
import time
from typing import BinaryIO

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Disposition
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from PIL import Image

from media.readers import demuxers
from media.rejections import Rejection, too_large, unsupported
from model_code.modalities import Limits, VideoInput

JPEG_QUALITY = 90
_EPSILON = 1e-4  # seconds: time stamps are fractions, 1/8 s may come as 0.12499

# A clip that decodes to less than its header says, by more than this share and these seconds, was cut: headers round
# to whole frames, and encoders drop a last one.
_SHORT_SHARE, _SHORT_SECONDS = 0.1, 0.5

# Further apart than this in seconds, a seek is tried instead of decoding what lies between. Key frames are often as far
# apart; where they turn out to be farther, so does this.
_SEEK_GAP = 2.0
_SEEK_BACK = (0.0, 1.0, 4.0, 16.0, 64.0)

# Notes, on block means of 8 by 8 pixels from 0 to 255: no block brighter; no block that changes more.
_BLOCK = 8
_BLACK, _STILL = 16, 4

_FULL_RANGE = [min(255, max(0, round((value - 16) * 255 / 219))) for value in range(256)] * 3  # from 16 to 235

# FFmpeg's display matrix by (turned a quarter, first sign, second sign), see `_turn`.
_TURNS = {
    (False, False, False): None,
    (False, True, False): Image.Transpose.FLIP_LEFT_RIGHT,
    (False, False, True): Image.Transpose.FLIP_TOP_BOTTOM,
    (False, True, True): Image.Transpose.ROTATE_180,
    (True, False, False): Image.Transpose.TRANSPOSE,
    (True, True, False): Image.Transpose.ROTATE_270,
    (True, False, True): Image.Transpose.ROTATE_90,
    (True, True, True): Image.Transpose.TRANSVERSE,
}


def read(file, size: int, spec: VideoInput, limits: Limits, start: float | None = None,
         end: float | None = None) -> tuple[dict, tuple[str, ...]]:
    """({'frames': [JPEG bytes, ...], 'height', 'width' of the frames, 'duration_s'}, notes).

    file: seekable, binary, of `size` bytes. start, end: seconds from the file's beginning, for a segment of it; what
    precedes the key frame before `start` is not decoded. The frame at k / spec.frame_rate seconds is the one on display
    then, for every k within the clip: clips of 24 and of 30 frames a second, or of a varying rate, come out alike.

    Frames come as they are displayed: a rotation or mirroring that the file asks for is applied, pixels that are not
    square are made so (by scaling one side down), a colour matrix or range that it names is taken into account; fields
    of interlaced video are left as they are, transparency is dropped. The short side is scaled down to spec.short_side
    pixels, never up; all frames have the size of the first.

    Notes: 'black' where all frames are nearly so, 'still' where none differs from the first.
    """
    head = file.read(demuxers.HEAD)
    demuxer = demuxers.demuxer_of(head)
    if demuxer is None:
        raise unsupported(head, 'MP4, MOV, WebM, MKV, AVI, GIF, MPEG-TS and MPEG-PS')
    demuxers.check_whole(demuxer, file, size)
    try:
        return _read(_Frames(file, demuxer, limits), spec, limits, start, end)
    except FFmpegError as error:
        raise Rejection('undecodable', error.strerror or str(error)) from error


def _read(frames: '_Frames', spec: VideoInput, limits: Limits, start, end):
    begin = frames.first_time() if start is None else frames.origin + start
    stop = math.inf if end is None else frames.origin + end
    _check_length(min(stop, frames.origin + (frames.seconds or 0)) - begin, spec, limits)
    pictures, jpegs, last = _Pictures(spec.short_side, frames.sample_aspect_ratio), [], None
    for k in itertools.count():
        now = begin + k / spec.frame_rate
        frame = frames.at(now) if now < stop - _EPSILON else None
        if frame is None:
            break
        _check_length(now - begin, spec, limits)
        if frame is not last:
            encoded, last = pictures.encode(frame), frame
        jpegs.append(encoded)
    if stop < math.inf:
        frames.at(stop)
    finish = min(stop, frames.finish) if frames.ended else stop
    if frames.says_seconds and frames.ended:
        promised = min(stop, frames.origin + (frames.seconds or 0))
        if promised - finish > max(_SHORT_SECONDS, _SHORT_SHARE * (promised - begin)):
            raise Rejection('truncated', f'Its header says {frames.seconds:.1f} s, its frames end '
                                         f'{promised - finish:.1f} s too early.')
    if not jpegs:
        raise Rejection('out_of_range', f'No frame is displayed from {start or 0:.3f} s on; the video ends at '
                                        f'{frames.finish - frames.origin:.3f} s.')
    _check_length(finish - begin, spec, limits)
    width, height = pictures.size
    return {'frames': jpegs, 'height': height, 'width': width, 'duration_s': finish - begin}, pictures.notes()


def _check_length(seconds: float, spec: VideoInput, limits: Limits):
    if seconds > limits.seconds + _EPSILON:
        raise too_large('seconds', round(seconds, 1), limits.seconds)
    frames = math.ceil((seconds - _EPSILON) * spec.frame_rate)
    if frames > limits.frames:
        raise too_large('frames', frames, limits.frames)


class _Frames:
    """The frames of a file's video stream by time, going forward. Times are the file's own, in seconds.

    origin: where the file begins. seconds: how long its header says it is, or None; says_seconds: and says it of this
    stream alone. ended: the last frame was seen; finish: when it goes off display.
    """

    def __init__(self, file: BinaryIO, demuxer: str, limits: Limits):
        self._file, self._demuxer, self._limits = file, demuxer, limits
        self._deadline = time.monotonic() + limits.decode_seconds
        self._gap = _SEEK_GAP
        self._open()

    def _open(self):
        # FFmpeg counts the padding as well: twice, so that what is rejected is rejected in our own words.
        most = {'max_pixels': str(2 * self._limits.pixels + (1 << 16))}
        # MPEG streams take no options: PyAV 16 has room only for those of the streams that a header lists, and crashes.
        self._container, stream = self._open_with({} if self._demuxer.startswith('mpeg') else most)
        if not stream.width:  # FFmpeg takes back a size that is over its bounds: see what the header said.
            with self._open_with({'skip_frame': 'all', 'probesize': '4096'})[0] as container:
                for other in container.streams.video:
                    self._check_size(other.width, other.height)
            self._container, stream = self._open_with(most)
        if not stream.width:
            raise Rejection('undecodable', 'Its header gives no size that can be decoded.')
        assert stream.time_base  # FFmpeg gives every stream one
        self._stream, self._time_base = stream, stream.time_base
        self._check_size(stream.width, stream.height)
        stream.codec_context.options = most
        # One thread: Beam's workers read files in parallel already.
        stream.codec_context.thread_count = 1
        self.sample_aspect_ratio = float(stream.sample_aspect_ratio or 1)
        self.seconds, self.says_seconds = _header_seconds(self._container, stream)
        began = self._container.start_time
        self.origin = 0.0 if began is None else began / av.time_base
        self._step = min(1.0, 1 / float(stream.average_rate or 25))
        self._restart()

    def _open_with(self, options: dict[str, str]) -> tuple[InputContainer, av.VideoStream]:
        """(container, its video stream)."""
        self._file.seek(0)
        # The demuxer by name: FFmpeg would else try playlists and other forms that open further files; what names
        # others within (a MOV's data references) finds them forbidden.
        container = av.open(self._file, 'r', format=self._demuxer, metadata_errors='replace', io_open=_forbid,
                            options=options)
        for stream in container.streams.video:
            if not stream.disposition & Disposition.attached_pic:  # no cover of an album
                if stream.codec_context is None:
                    raise Rejection('unsupported', 'There is no decoder for its video stream.')
                return container, stream
        raise Rejection('no_stream', 'The file has no video stream.')

    def _restart(self, from_key: bool = False):
        """Frames come from where the container is now; from its first key frame on, after a seek."""
        self._source = self._decode(from_key)
        self._shown = self._ahead = None
        self.ended, self.finish = False, self.origin

    def _decode(self, from_key: bool):
        """Yields (time, frame)."""
        now, valid_from = None, -math.inf
        for packet in self._container.demux(self._stream):
            if time.monotonic() > self._deadline:
                raise Rejection('too_slow', f'Decoding it takes more than {self._limits.decode_seconds:g} s.')
            if from_key:
                if not packet.is_keyframe:
                    continue
                # Frames that are displayed before the key frame may depend on what was not decoded.
                shown_at = packet.dts if packet.pts is None else packet.pts
                valid_from = -math.inf if shown_at is None else float(shown_at * self._time_base)
                from_key = False
            for frame in self._stream.decode(packet):
                self._check_size(frame.width, frame.height)
                at = frame.dts if frame.pts is None else frame.pts
                at = self._next(now) if at is None else float(at * self._time_base)
                if at < valid_from - _EPSILON:
                    continue
                if frame.is_corrupt:
                    raise Rejection('undecodable', f'The frame at {at - self.origin:.2f} s is damaged.')
                now = at if now is None else max(now, at)
                yield now, frame

    def _next(self, now):
        return self.origin if now is None else now + self._step

    def _check_size(self, width: int, height: int):
        if width * height > self._limits.pixels:
            raise too_large('pixels a frame', width * height, self._limits.pixels)

    def first_time(self) -> float:
        """When the first frame is displayed; Rejection where there is none."""
        if self._ahead is None and self._shown is None:
            self._advance()
        frame = self._shown or self._ahead
        assert frame  # else _advance has raised
        return frame[0]

    def _advance(self):
        self._shown, self._ahead = self._ahead or self._shown, next(self._source, None)
        if self._ahead is not None:
            return
        if self._shown is None:
            raise Rejection('empty', 'The video stream has no frame.')
        at, frame = self._shown
        last = float(frame.duration * self._time_base) if frame.duration else self._step
        self.ended, self.finish = True, at + last

    def at(self, now: float):
        """The frame on display at `now`, no earlier than the last; None where the video is over by then."""
        reached = (self._ahead or self._shown or (self.origin,))[0]
        if now - reached > self._gap and not self.ended:
            self._seek(now, reached)
        while not self.ended and (self._ahead is None or self._ahead[0] <= now + _EPSILON):
            self._advance()
        if self.ended and now >= self.finish - _EPSILON:
            return None
        frame = self._shown or self._ahead
        assert frame  # else _advance has raised
        return frame[1]

    def _seek(self, now: float, reached: float):
        """Goes to the last key frame before `now`; to the file's beginning where the container can't."""
        if self.seconds:
            now = min(now, self.origin + self.seconds)
        for back in _SEEK_BACK:
            target = now - back
            if target <= self.origin:
                break
            try:
                self._container.seek(math.floor(target / self._time_base), stream=self._stream)
                self._restart(from_key=True)
                self._advance()
            except (FFmpegError, Rejection) as error:
                if isinstance(error, Rejection) and error.reason != 'empty':
                    raise
                continue
            if self.first_time() <= now + _EPSILON:
                if self.first_time() <= reached:  # Nothing gained: key frames are that far apart.
                    self._gap = max(2 * self._gap, now - self.first_time())
                return
        self._gap = math.inf
        self._open()


class _Pictures:
    """Frames -> JPEG, all of one size; watches for the notes. size: (width, height), set by the first."""

    def __init__(self, short_side: int, sample_aspect_ratio: float):
        self._short_side, self._aspect = short_side, sample_aspect_ratio
        self._scaler, self._converter = VideoReformatter(), VideoReformatter()
        self._turn, self.size, self._scaled = None, (0, 0), (0, 0)
        self._first, self._count, self._black, self._still = None, 0, True, True

    def encode(self, frame) -> bytes:
        """JPEG bytes of a frame."""
        if self._first is None:
            self._turn = _turn(frame)
            self._scaled = _displayed_size(frame.width, frame.height, self._aspect, self._short_side)
        image = self._rgb(frame)
        if self._turn is not None:
            image = image.transpose(self._turn)
        self.size = image.size
        self._watch(image)
        out = io.BytesIO()
        image.save(out, 'JPEG', quality=JPEG_QUALITY)
        return out.getvalue()

    def _rgb(self, frame) -> Image.Image:
        width, height = self._scaled
        colours = dict(src_colorspace=frame.colorspace, src_color_range=frame.color_range)
        full = frame.format.name.startswith('yuvj')
        # FFmpeg converts grey as if it were of full range, whatever the frame says.
        grey = frame.format.name.startswith('gray') and frame.color_range == 1
        if (width, height) != (frame.width, frame.height) and not frame.format.is_rgb:
            # Scaled as YUV of half the colour resolution, what JPEG keeps: a third faster than straight to RGB.
            frame = self._scaler.reformat(frame, width, height, 'yuvj420p' if full else 'yuv420p', interpolation='AREA',
                                          dst_colorspace=frame.colorspace, dst_color_range=frame.color_range, **colours)
        # Destination BT.601 of full range: RGB has neither, but PyAV asks only then for the source's own.
        frame = self._converter.reformat(frame, width, height, 'rgb24', interpolation='AREA',
                                         dst_colorspace=Colorspace.ITU601, dst_color_range=ColorRange.JPEG, **colours)
        plane = frame.planes[0]
        image = Image.frombuffer('RGB', (width, height), plane,  # pyright: ignore[reportArgumentType]  it takes any buffer
                                 'raw', 'RGB', plane.line_size, 1)
        return image.point(_FULL_RANGE) if grey else image

    def _watch(self, image: Image.Image):
        small = np.asarray(image.reduce((min(_BLOCK, image.width), min(_BLOCK, image.height))), np.int16)
        if self._first is None:
            self._first = small
        self._count += 1
        self._black = self._black and small.max() <= _BLACK
        self._still = self._still and np.abs(small - self._first).max() <= _STILL

    def notes(self) -> tuple[str, ...]:
        odd = {'black': self._black, 'still': self._still and self._count > 1}
        return tuple(word for word, is_so in odd.items() if is_so)


def _displayed_size(width: int, height: int, aspect: float, short_side: int) -> tuple[int, int]:
    """(width, height) with square pixels and the short side at most `short_side`; aspect: a pixel's width by height."""
    # Encoders that scale leave a hundredth; a tenth to ten is all that is in use.
    if not 0.1 <= aspect <= 10 or 0.98 < aspect < 1.02:
        aspect = 1.0
    sides = (width, height / aspect) if aspect > 1 else (width * aspect, height)
    scale = min(1.0, short_side / min(sides))
    width, height = (max(1, math.floor(side * scale + 0.5)) for side in sides)
    return width, height


def _turn(frame):
    """What brings a frame upright, by its display matrix: x' = a x + c y, y' = b x + d y, y downwards."""
    matrix = frame.side_data.get('DISPLAYMATRIX')
    if matrix is None:
        return None
    a, b, _, c, d = struct.unpack_from('5i', bytes(matrix))
    if abs(b) + abs(c) > abs(a) + abs(d):
        return _TURNS[True, c < 0, b < 0]
    return _TURNS[False, a < 0, d < 0]


def _header_seconds(container, stream) -> tuple[float | None, bool]:
    """How long the header says that the video is, if it does; and whether it says so of this stream alone."""
    if stream.duration:
        return float(stream.duration * stream.time_base), True
    try:  # Matroska's tag of a track, '00:00:02.000000000'.
        hours, minutes, seconds = stream.metadata['DURATION'].split(':')
        return 3600 * int(hours) + 60 * int(minutes) + float(seconds), True
    except (KeyError, ValueError):
        return (container.duration / av.time_base if container.duration else None), False


def _forbid(url, flags, options):
    raise PermissionError('A video file may not open another file.')

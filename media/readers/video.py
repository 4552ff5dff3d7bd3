"""Videos: MP4, MOV, WebM, MKV, AVI, GIF, MPEG-TS and MPEG-PS -> JPEG frames at a steady rate, by presentation time.

FFmpeg reads the file as a stream: neither its bytes nor its decoded frames are ever in memory together.
"""

import itertools
import math
import time
import typing
from typing import BinaryIO

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Disposition

from media.fingerprints.video import brightness, fingerprint
from media.readers import demuxers, formats
from media.readers.video_pictures import Pictures
from media.rejections import Rejection, too_large
from model_code.modalities import Limits, VideoInput

_EPSILON = 1e-4  # seconds; time stamps are fractions, so 1/8 s may become 0.12499

# A video is truncated if it is shorter than its header says by more than this share, and by more than these seconds.
# Less is usual: headers round to whole frames, and encoders drop the last one.
_SHORT_SHARE, _SHORT_SECONDS = 0.1, 0.5

# If the next frame is more seconds away than this, a seek is tried instead of decoding all frames before it. Key frames
# are often so far apart. If they turn out to be farther apart, the gap is raised.
_SEEK_GAP = 2.0
_SEEK_BACK = (0.0, 1.0, 4.0, 16.0, 64.0)

_WITH_ALPHA = {'vp8': 'libvpx', 'vp9': 'libvpx-vp9'}


def read(file, size: int, spec: VideoInput, limits: Limits, start: float | None = None,
         end: float | None = None) -> tuple[dict, tuple[str, ...], bytes]:
    """({'frames': [JPEG bytes, ...], 'height', 'width' of the frames, 'duration_s', 'brightness'}, notes, fingerprint).

    file: seekable, binary, of `size` bytes. start, end: a segment, in seconds from the beginning of the file. Frames
    before the last key frame before `start` are not decoded.

    Stored frame number k is the one on display at k / spec.frame_rate seconds. So files of 24 and 30 frames per second,
    or with a varying rate, give the same. Frames are stored as they are displayed: turned or mirrored if the file says
    so, with square pixels (one side is scaled down), with the file's colour matrix and range, in the standard dynamic
    range (media.readers.hdr), and what is transparent over white. Interlaced fields are left as they are. The short
    side is scaled down to spec.short_side pixels, never up.
    All frames have the size of the first.

    Notes: 'black' if all frames are nearly black, 'still' if no frame differs from the first. Raises Rejection.
    """
    head = file.read(demuxers.HEAD)
    demuxer = demuxers.demuxer_of(head)
    if demuxer is None:
        raise formats.unsupported(head + file.read(formats.HEAD - len(head)), 'a video', (),
                                  'MP4, MOV, WebM, MKV, AVI, GIF, MPEG-TS and MPEG-PS', 'MP4')
    demuxers.check_whole(demuxer, file, size)
    try:
        return _read(_Frames(file, demuxer, limits), spec, limits, start, end)
    except FFmpegError as error:
        raise Rejection('undecodable', 'Its video cannot be decoded: it is damaged, or of a rare kind.') from error


def _read(frames: '_Frames', spec: VideoInput, limits: Limits, start, end):
    begin = frames.first_time() if start is None else frames.origin + start
    stop = math.inf if end is None else frames.origin + end
    _check_length(min(stop, frames.origin + (frames.seconds or 0)) - begin, spec, limits)
    pictures, jpegs, thumbnails, last = Pictures(spec.short_side, frames), [], [], None
    for number in itertools.count():
        now = begin + number / spec.frame_rate
        frame = frames.at(now) if now < stop - _EPSILON else None
        if frame is None:
            break
        _check_length(now - begin, spec, limits)
        if frame is not last:
            encoded, last = pictures.encode(frame), frame
        jpegs.append(encoded)
        thumbnails.append(pictures.thumbnail)
    if stop < math.inf:
        frames.at(stop)
    finish = min(stop, frames.finish) if frames.ended else stop
    if frames.says_seconds and frames.ended:
        promised = min(stop, frames.origin + (frames.seconds or 0))
        if promised - finish > max(_SHORT_SECONDS, _SHORT_SHARE * (promised - begin)):
            raise Rejection('truncated', f'Its header says {frames.seconds:.1f} s, but its frames end '
                                         f'{promised - finish:.1f} s earlier.')
    if not jpegs:
        raise Rejection('out_of_range', f'No frame is displayed from {start or 0:.3f} s on. The video ends at '
                                        f'{frames.finish - frames.origin:.3f} s.')
    _check_length(finish - begin, spec, limits)
    width, height = pictures.size
    features = {'frames': jpegs, 'height': height, 'width': width, 'duration_s': finish - begin,
                'brightness': brightness(thumbnails)}
    return features, pictures.notes(), fingerprint(thumbnails, spec.frame_rate)


def _check_length(seconds: float, spec: VideoInput, limits: Limits):
    if seconds > limits.seconds + _EPSILON:
        raise too_large('seconds', round(seconds, 1), limits.seconds)
    frames = math.ceil((seconds - _EPSILON) * spec.frame_rate)
    if frames > limits.frames:
        raise too_large('frames', frames, limits.frames)


class _Frames:
    """The frames of a file's video stream by time, going forward. Times are those of the file, in seconds.

    origin: the time at which the file begins. seconds: the duration in its header, or None. says_seconds: whether that
    is the duration of this stream alone. ended: whether the last frame was decoded; finish: the time at which it ends.
    """

    def __init__(self, file: BinaryIO, demuxer: str, limits: Limits):
        self._file, self._demuxer, self._limits = file, demuxer, limits
        self._deadline = time.monotonic() + limits.decode_seconds
        self._gap = _SEEK_GAP
        self._open()

    def _open(self):
        # FFmpeg counts padding, too. Its limit is twice ours, so that our own check comes first, with a better message.
        pixel_limit = {'max_pixels': str(2 * self._limits.pixels + (1 << 16))}
        # None for MPEG: with options PyAV 16 crashes if there are streams that the header does not list.
        self._container, stream = self._open_with({} if self._demuxer.startswith('mpeg') else pixel_limit)
        if not stream.width:  # FFmpeg removes a size beyond the limit. See what the header says.
            with self._open_with({'skip_frame': 'all', 'probesize': '4096'})[0] as container:
                for other in container.streams.video:
                    self._check_size(other.width, other.height)
            self._container, stream = self._open_with(pixel_limit)
        if not stream.width:
            raise Rejection('undecodable', 'Its header gives no size that can be decoded.')
        assert stream.time_base  # every stream has one
        self._stream, self._time_base = stream, stream.time_base
        self._check_size(stream.width, stream.height)
        self._decoder = _decoder_of(stream)
        self._decoder.options = pixel_limit
        # One thread, because Beam's workers already read files in parallel.
        self._decoder.thread_count = 1
        self.sample_aspect_ratio = float(stream.sample_aspect_ratio or 1)
        self.seconds, self.says_seconds = _header_seconds(self._container, stream)
        began = self._container.start_time
        self.origin = 0.0 if began is None else began / av.time_base
        self._step = min(1.0, 1 / float(stream.average_rate or 25))
        self._restart()

    def _open_with(self, options: dict[str, str]) -> tuple[InputContainer, av.VideoStream]:
        """Opens the file: (container, its video stream)."""
        self._file.seek(0)
        # With this demuxer: FFmpeg itself would try playlists and other formats that open further files. References to
        # other files within this one (a MOV may have them) are forbidden.
        container = av.open(self._file, 'r', format=self._demuxer, metadata_errors='replace', io_open=_forbid,
                            options=options)
        for stream in container.streams.video:
            if not stream.disposition & Disposition.attached_pic:  # not the cover of an album
                if stream.codec_context is None:
                    raise Rejection('unsupported', 'There is no decoder for its video stream.')
                return container, stream
        raise Rejection('no_stream', 'The file has no video stream.')

    @property
    def colours(self) -> tuple[int, int]:
        """(primaries, transfer characteristics) of ITU-T H.273, once a frame was decoded."""
        return int(self._decoder.color_primaries), int(self._decoder.color_trc)

    def _restart(self, from_key: bool = False):
        """Continues from where the container is now; after a seek (from_key), from the next key frame."""
        if from_key:
            self._decoder.flush_buffers()
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
                # Frames that are displayed before the key frame may depend on frames that were not decoded.
                shown_at = packet.dts if packet.pts is None else packet.pts
                valid_from = -math.inf if shown_at is None else float(shown_at * self._time_base)
                from_key = False
            for frame in self._decoder.decode(packet):
                self._check_size(frame.width, frame.height)
                stamp = frame.dts if frame.pts is None else frame.pts
                shown = self._next_time(now) if stamp is None else float(stamp * self._time_base)
                if shown < valid_from - _EPSILON:
                    continue
                if frame.is_corrupt:
                    raise Rejection('undecodable', f'The frame at {shown - self.origin:.2f} s is damaged.')
                now = shown if now is None else max(now, shown)
                yield now, frame

    def _next_time(self, now: float | None) -> float:
        return self.origin if now is None else now + self._step

    def _check_size(self, width: int, height: int):
        if width * height > self._limits.pixels:
            raise too_large('pixels per frame', width * height, self._limits.pixels)

    def first_time(self) -> float:
        """The time of the first frame. Raises Rejection if there is none."""
        if self._ahead is None and self._shown is None:
            self._advance()
        frame = self._shown or self._ahead
        assert frame  # _advance raises if there is none
        return frame[0]

    def _advance(self):
        self._shown, self._ahead = self._ahead or self._shown, next(self._source, None)
        if self._ahead is not None:
            return
        if self._shown is None:
            raise Rejection('empty', 'The video stream has no frames.')
        shown, frame = self._shown
        duration = float(frame.duration * self._time_base) if frame.duration else self._step
        self.ended, self.finish = True, shown + duration

    def at(self, now: float):
        """The frame on display at `now`, which may not be before the last call's; None if the video has ended."""
        reached = (self._ahead or self._shown or (self.origin,))[0]
        if now - reached > self._gap and not self.ended:
            self._seek(now, reached)
        while not self.ended and (self._ahead is None or self._ahead[0] <= now + _EPSILON):
            self._advance()
        if self.ended and now >= self.finish - _EPSILON:
            return None
        frame = self._shown or self._ahead
        assert frame  # _advance raises if there is none
        return frame[1]

    def _seek(self, now: float, reached: float):
        """Goes to the last key frame before `now`, or to the beginning of the file if the container cannot."""
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
                if self.first_time() <= reached:  # nothing gained, because key frames are that far apart
                    self._gap = max(2 * self._gap, now - self.first_time())
                return
        self._gap = math.inf
        self._open()


def _decoder_of(stream: av.VideoStream) -> av.VideoCodecContext:
    """The decoder of a stream. FFmpeg's own for VP8 and VP9 leave out the transparency, which libvpx decodes."""
    decoder = _WITH_ALPHA.get(stream.codec_context.name) if stream.metadata.get('alpha_mode') == '1' else None
    if not decoder:
        return stream.codec_context
    return typing.cast(av.VideoCodecContext, av.CodecContext.create(decoder, 'r'))


def _header_seconds(container, stream) -> tuple[float | None, bool]:
    """The duration in the header, or None, and whether it is that of this stream alone."""
    if stream.duration:
        return float(stream.duration * stream.time_base), True
    try:  # a tag of Matroska's tracks, '00:00:02.000000000'
        hours, minutes, seconds = stream.metadata['DURATION'].split(':')
        return 3600 * int(hours) + 60 * int(minutes) + float(seconds), True
    except (KeyError, ValueError):
        return (container.duration / av.time_base if container.duration else None), False


def _forbid(url, flags, options):
    raise PermissionError('A video file may not open another file.')

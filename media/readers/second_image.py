"""What Pillow cannot decode, by FFmpeg: JPEGs of rare kinds (lossless ones, JPEG-LS) and BMPs. Imported when needed."""

import io

import av
from av.error import FFmpegError
from PIL import Image

from media.rejections import Rejection, too_large
from model_code.modalities import Limits

_DEMUXERS = {'JPEG': 'jpeg_pipe', 'BMP': 'bmp_pipe'}  # of other formats it reads no more than Pillow does
_STRICT = {'err_detect': 'crccheck+bitstream+buffer+explode'}  # nothing may be left out that FFmpeg forgives


def decoded(content: bytes, kind: str, limits: Limits) -> Image.Image | None:
    """The picture, RGB; None if FFmpeg does not decode it whole either. kind: Pillow's name of the format.

    Raises Rejection (too_large).
    """
    if kind not in _DEMUXERS:
        return None
    options = {'max_pixels': str(2 * limits.pixels + (1 << 16))}  # so that our own check comes first
    try:
        with av.open(io.BytesIO(content), 'r', format=_DEMUXERS[kind], options=options, io_open=_no_other_file) as file:
            stream = file.streams.video[0]
            if stream.width * stream.height > limits.pixels:
                raise too_large('pixels', stream.width * stream.height, limits.pixels)
            stream.codec_context.options = options | _STRICT
            stream.codec_context.thread_count = 1
            frame = next(file.decode(stream), None)
            if frame is None or frame.is_corrupt:
                return None
            return Image.fromarray(frame.to_ndarray(format='rgb24'))
    except (FFmpegError, ValueError, IndexError):
        return None


def _no_other_file(url, flags, options):
    raise Rejection('unsupported', 'It refers to another file.')

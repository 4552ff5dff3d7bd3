"""The frames of a video as JPEGs: upright, of one size, with square pixels, in the standard dynamic range."""

import io
import math
import struct

import numpy as np
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from PIL import Image

from media.fingerprints.video import thumbnail
from media.readers import hdr

JPEG_QUALITY = 90

# For the notes: the means of blocks of 8 by 8 pixels, 0 to 255. In a black video no block is brighter than _BLACK. In a
# still video no block changes by more than _STILL.
_BLOCK = 8
_BLACK, _STILL = 16, 4

_NO_MATRIX, _HD_WIDTH, _SD_HEIGHT = (2, 3), 1280, 576  # of ITU-T H.273: unspecified, reserved

# Maps 16 to 235 to the full range, in three channels.
_FULL_RANGE = [min(255, max(0, round((value - 16) * 255 / 219))) for value in range(256)] * 3

# FFmpeg's display matrix, as in `_turn`: (turned by a quarter, first sign, second sign) -> Pillow's Transpose.
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


class Pictures:
    """Turns frames into JPEGs of one size, and watches for the notes. size: (width, height), from the first frame.

    thumbnail: that of the last frame (media.fingerprints.video). frames: where they come from, video._Frames, which
    knows their aspect and colours.
    """

    def __init__(self, short_side: int, frames):
        self._short_side, self._aspect, self._frames = short_side, frames.sample_aspect_ratio, frames
        self._scaler, self._converter = VideoReformatter(), VideoReformatter()
        self._turn, self.size, self._scaled, self.thumbnail = None, (0, 0), (0, 0), b''
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
        if frame.format.name == 'pal8' or any(component.is_alpha for component in frame.format.components):
            picture = self._over_white(frame)
            if picture is not None:
                return picture.resize((width, height), Image.Resampling.BOX)
        primaries, transfer = self._frames.colours
        matrix = _matrix(frame)
        colours = dict(src_colorspace=matrix, src_color_range=frame.color_range)
        if hdr.is_hdr(transfer):
            frame = self._converter.reformat(
                frame, width, height, 'rgb48le', interpolation='AREA', dst_colorspace=Colorspace.ITU601,
                dst_color_range=ColorRange.JPEG, **colours)
            return Image.fromarray(hdr.to_sdr(frame.to_ndarray(), transfer, primaries))
        full = frame.format.name.startswith('yuvj')
        # FFmpeg converts grey as if it had full range, whatever the frame says.
        grey = frame.format.name.startswith('gray') and frame.color_range == 1
        if (width, height) != (frame.width, frame.height) and not frame.format.is_rgb:
            # Scaled as YUV with half the colour resolution, which is all that JPEG keeps: a third faster than RGB.
            frame = self._scaler.reformat(frame, width, height, 'yuvj420p' if full else 'yuv420p', interpolation='AREA',
                                          dst_colorspace=matrix, dst_color_range=frame.color_range, **colours)
        # RGB has no colour space and range, but PyAV uses those of the source only if the destination has some.
        frame = self._converter.reformat(frame, width, height, 'rgb24', interpolation='AREA',
                                         dst_colorspace=Colorspace.ITU601, dst_color_range=ColorRange.JPEG, **colours)
        plane = frame.planes[0]
        image = Image.frombuffer('RGB', (width, height), plane,  # pyright: ignore[reportArgumentType]  it takes any buffer
                                 'raw', 'RGB', plane.line_size, 1)
        return image.point(_FULL_RANGE) if grey else image

    def _over_white(self, frame) -> Image.Image | None:
        """A frame with transparency over white, not scaled; None if all of it is opaque."""
        frame = self._converter.reformat(frame, frame.width, frame.height, 'rgba', src_colorspace=_matrix(frame),
                                         src_color_range=frame.color_range, dst_colorspace=Colorspace.ITU601,
                                         dst_color_range=ColorRange.JPEG)
        plane = frame.planes[0]
        picture = Image.frombuffer('RGBA', (frame.width, frame.height), plane,  # pyright: ignore[reportArgumentType]
                                   'raw', 'RGBA', plane.line_size, 1)
        if picture.getchannel('A').getextrema()[0] == 255:
            return None
        return Image.alpha_composite(Image.new('RGBA', picture.size, 'white'), picture).convert('RGB')

    def _watch(self, image: Image.Image):
        blocks = image.reduce((min(_BLOCK, image.width), min(_BLOCK, image.height)))
        self.thumbnail = thumbnail(blocks)
        small = np.asarray(blocks, np.int16)
        if self._first is None:
            self._first = small
        self._count += 1
        self._black = self._black and small.max() <= _BLACK
        self._still = self._still and np.abs(small - self._first).max() <= _STILL

    def notes(self) -> tuple[str, ...]:
        odd = {'black': self._black, 'still': self._still and self._count > 1}
        return tuple(word for word, is_so in odd.items() if is_so)


def _matrix(frame) -> int:
    """The colour matrix of a frame. Of files that name none players take BT.709 for those in HD, else BT.601."""
    named = frame.colorspace not in _NO_MATRIX
    if named or frame.format.is_rgb or frame.format.name.startswith('yuvj'):  # which is that of JPEG
        return frame.colorspace
    return Colorspace.ITU709 if frame.width >= _HD_WIDTH or frame.height > _SD_HEIGHT else Colorspace.ITU601


def _displayed_size(width: int, height: int, aspect: float, short_side: int) -> tuple[int, int]:
    """(width, height) with square pixels and the short side at most `short_side`. aspect: a pixel's width / height."""
    # Encoders that scale cause differences of a hundredth. Values beyond a tenth to ten are not real.
    if not 0.1 <= aspect <= 10 or 0.98 < aspect < 1.02:
        aspect = 1.0
    sides = (width, height / aspect) if aspect > 1 else (width * aspect, height)
    scale = min(1.0, short_side / min(sides))
    width, height = (max(1, math.floor(side * scale + 0.5)) for side in sides)
    return width, height


def _turn(frame):
    """The Transpose that makes a frame upright, by its display matrix: x' = a x + c y, y' = b x + d y, y downwards."""
    matrix = frame.side_data.get('DISPLAYMATRIX')
    if matrix is None:
        return None
    a, b, _, c, d = struct.unpack_from('5i', bytes(matrix))
    if abs(b) + abs(c) > abs(a) + abs(d):
        return _TURNS[True, c < 0, b < 0]
    return _TURNS[False, a < 0, d < 0]

"""Images: PNG, JPEG, GIF, BMP, WebP, TIFF -> bytes that core TensorFlow decodes, and their size.

Stored byte for byte: PNG of up to 8 bits and grey or RGB JPEG, where they are upright and opaque. The rest becomes an
upright 8-bit grey or RGB PNG, without further loss: 16 bits keep their high byte, CMYK becomes RGB, of several pictures
the first is taken. What is transparent is laid over white, as most programs show it; TensorFlow's decoder would drop
alpha, and train on whatever colour lies under it, often black.
"""

import io
import struct
import warnings
import zlib
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from media.rejections import Rejection, too_large, unsupported
from model_code.modalities import Limits

# The task's limit on pixels is checked below, before any is decoded; Pillow's own would warn on standard error, as it
# does of odd metadata.
Image.MAX_IMAGE_PIXELS = None
warnings.filterwarnings('ignore', module=r'PIL\.')

_TAKEN = 'PNG, JPEG, GIF, BMP, WebP and TIFF'
_PNG_SIGNATURE = b'\x89PNG\r\n\x1a\n'
_BMP_HEADERS = tuple(struct.pack('<I', size) for size in (12, 16, 40, 52, 56, 64, 108, 124))
_ORIENTATION, _BITS, _PHOTOMETRIC = 0x0112, 258, 262  # EXIF and TIFF tags
# Some hundred bytes of a JPEG's scan, or twelve of a PNG's chunk, can cost as much as a picture: bound their number.
_MAX_SCANS, _MAX_CHUNKS = 200, 100_000
_EXIF = ('exif', 'xmp', 'XML:com.adobe.xmp', 'Raw profile type exif')  # where Image.info has an orientation
_TURNS = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
          5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
          8: Image.Transpose.ROTATE_90}


def read(file: BinaryIO, size: int, spec, limits: Limits, start=None, end=None) -> tuple[dict, tuple[str, ...]]:
    """({'image': bytes, 'height', 'width'}, notes), upright. Images are stored at their own size, whatever `spec` says.

    notes: 'one_colour' where every pixel is the same. Raises Rejection.
    """
    del size, spec
    if start is not None or end is not None:
        raise Rejection('out_of_range', 'An image has no segments of time.')
    content = file.read()
    kind = _kind(content)
    bit_depth = _check_png(content, limits) if kind == 'PNG' else 8
    if kind == 'WEBP':
        _check_webp(content, limits)
    buffer, scan = io.BytesIO(content), 0
    try:
        image = Image.open(buffer, formats=(kind,))
        # The header is read, no pixel yet; of a JPEG all up to its first scan.
        scan = buffer.tell()
        _check_size(image.width, image.height, limits)
        if kind == 'TIFF':
            _check_tiff(image, len(content))
        if image.info.get('progressive'):
            scans = 1 + content.count(b'\xff\xda', scan, content.find(b'\xff\xd9', scan))
            if scans > _MAX_SCANS:
                raise too_large('scans', scans, _MAX_SCANS)
        image.load()
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise _rejection(error, kind, content, scan) from error
    if kind == 'JPEG' and not _has_end(content, scan):
        raise Rejection('truncated', 'The JPEG ends without its EOI marker.')
    _check_size(image.width, image.height, limits)

    if bit_depth != 8 and 'transparency' in image.info:
        _scale_transparency(image, bit_depth)
    turn = _turn(image)
    flat = _over_white(image)
    as_it_is = kind == 'PNG' and bit_depth <= 8 or kind == 'JPEG' and image.mode in ('L', 'RGB')
    if not as_it_is or turn is not None or flat is not None:
        image = _to_8_bit(image, kind) if flat is None else flat
        if turn is not None:
            image = image.transpose(turn)
        out = io.BytesIO()
        image.info.clear()  # Pixels alone: no palette's transparency, no metadata.
        image.save(out, 'PNG')
        content = out.getvalue()
    return {'image': content, 'height': image.height, 'width': image.width}, _notes(image)


def _kind(content: bytes) -> str:
    """The format by the first bytes, as Pillow calls it."""
    if content.startswith(_PNG_SIGNATURE):
        return 'PNG'
    if content.startswith(b'\xff\xd8'):
        return 'JPEG'
    if content.startswith((b'GIF87a', b'GIF89a')):
        return 'GIF'
    if content.startswith(b'RIFF') and content[8:12] == b'WEBP':
        return 'WEBP'
    if content.startswith((b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')):
        return 'TIFF'
    if content.startswith(b'BM') and content[14:18] in _BMP_HEADERS:
        return 'BMP'
    raise unsupported(content, _TAKEN)


def _rejection(error: Exception, kind: str, content: bytes, scan: int) -> Rejection:
    """What a decoder's exception means."""
    text = '' if isinstance(error, UnidentifiedImageError) else str(error)
    if 'too large' in text or 'Too much memory' in text:  # a bomb in chunks of text or a colour profile
        return Rejection('too_large', text)
    cut = isinstance(error, EOFError) or 'truncated' in text.lower() or kind == 'JPEG' and not _has_end(content, scan)
    return Rejection('truncated' if cut else 'undecodable', text or f'The {kind} has no header that can be read.')


def _has_end(content: bytes, scan: int) -> bool:
    """Whether a JPEG has its end marker, EOI, after byte `scan`. Pillow does without; a thumbnail before has its own.

    Phones append whole videos after it.
    """
    return content.find(b'\xff\xd9', scan) >= 0


def _check_size(width: int, height: int, limits: Limits):
    if width * height > limits.pixels:
        raise too_large('pixels', width * height, limits.pixels)


def _check_png(content: bytes, limits: Limits) -> int:
    """The bit depth. Walks the chunks: Pillow does not check the sums of pixel data, TensorFlow's libpng does."""
    position, end, bit_depth = 8, len(content), 0
    for _ in range(_MAX_CHUNKS):
        if position + 8 > end:
            raise Rejection('truncated', 'The PNG ends without its IEND chunk.')
        length, kind = struct.unpack_from('>I4s', content, position)
        body_end = position + 8 + length
        if body_end + 4 > end:
            raise Rejection('truncated', f'The PNG ends within its {kind!r} chunk.')
        critical = not kind[0] & 0x20
        if critical and zlib.crc32(memoryview(content)[position + 4:body_end]) != struct.unpack_from(
                '>I', content, body_end)[0]:
            raise Rejection('undecodable', f'The check sum of a {kind!r} chunk is wrong.')
        if kind == b'IHDR' and length == 13:
            width, height, bit_depth = struct.unpack_from('>IIB', content, position + 8)
            _check_size(width, height, limits)
        if kind == b'IEND':
            return bit_depth
        position = body_end + 4
    raise Rejection('too_large', f'The PNG has more than {_MAX_CHUNKS:,} chunks.')


def _check_webp(content: bytes, limits: Limits):
    """Of the RIFF header and the first chunk: libwebp makes room for the whole canvas as soon as it opens a file."""
    claimed = struct.unpack_from('<I', content, 4)[0] + 8
    if claimed > len(content):
        raise Rejection('truncated', f'Its header says {claimed:,} bytes; {len(content):,} are there.')
    kind, body = content[12:16], content[20:30]
    if len(body) < 10:
        raise Rejection('truncated', 'The WebP ends within its first chunk.')
    if kind == b'VP8X':
        width, height = (int.from_bytes(body[i:i + 3], 'little') + 1 for i in (4, 7))
    elif kind == b'VP8L':
        bits = int.from_bytes(body[1:5], 'little')
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = (side & 0x3FFF for side in struct.unpack_from('<HH', body, 6))
    _check_size(width, height, limits)


def _check_tiff(image, size: int):
    """Rejection where a strip or tile lies beyond the end of the file: libtiff would leave it black, or say less."""
    for offsets, counts in ((273, 279), (324, 325)):
        if any(o + c > size for o, c in zip(_tiff_tag(image, offsets, ()), _tiff_tag(image, counts, ()), strict=False)):
            raise Rejection('truncated', 'The TIFF ends before its pixels.')


def _tiff_tag(image, tag: int, default=None):
    return image.tag_v2.get(tag, default)


def _turn(image: Image.Image):
    """How to turn the pixels upright, as Pillow's Transpose; None where they are. TIFF: Pillow has done it."""
    if image.format == 'TIFF' or not any(key in image.info for key in _EXIF):
        return None
    try:
        return _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # Metadata that can't be read says nothing; it is no reason to lose the picture.
        return None


def _scale_transparency(image: Image.Image, bit_depth: int):
    """Pillow names a PNG's transparent colour in the file's bits, while pixels come in 8 (but for 16-bit grey)."""
    colour = image.info['transparency']
    if bit_depth == 16 and image.mode == 'RGB':
        image.info['transparency'] = tuple(value >> 8 for value in colour)
    elif bit_depth in (2, 4) and image.mode == 'L':
        image.info['transparency'] = colour * 255 // ((1 << bit_depth) - 1)


def _over_white(image: Image.Image) -> Image.Image | None:
    """The picture over white, where any of it is transparent; else None."""
    if not image.mode.endswith(('A', 'a')) and ('transparency' not in image.info or image.mode.startswith('I')):
        return None
    picture = image.convert('RGBA')
    if picture.getchannel('A').getextrema()[0] == 255:
        return None
    white = Image.new('RGBA', picture.size, 'white')
    return Image.alpha_composite(white, picture).convert('L' if image.mode in ('1', 'L', 'LA', 'La') else 'RGB')


def _to_8_bit(image: Image.Image, kind: str) -> Image.Image:
    if image.mode.startswith('I;16') or image.mode == 'I' and kind == 'PNG':  # 12- or 16-bit grey: the high 8.
        bits = _tiff_tag(image, _BITS, (16,))[0] if kind == 'TIFF' else 16
        # Imported here: half of the time in which a decoding process starts, and few pictures need it.
        import numpy as np
        high = (np.asarray(image) >> (bits - 8)).astype(np.uint8)
        if kind == 'PNG' and 'transparency' in image.info:
            high[np.asarray(image) == image.info['transparency']] = 255  # over white
        # Pillow turns light and dark for 8 bits only.
        return Image.fromarray(255 - high if kind == 'TIFF' and _tiff_tag(image, _PHOTOMETRIC) == 0 else high)
    if image.mode in ('I', 'F', 'LAB', 'HSV'):
        raise Rejection('unsupported', f'Its pixels are of the kind {image.mode}; grey, RGB, CMYK and palettes of up '
                                       'to 16 bits are taken.')
    return image.convert('L' if image.mode in ('1', 'L', 'LA') else 'RGB')


def _notes(image: Image.Image) -> tuple[str, ...]:
    if image.getpixel((0, 0)) != image.getpixel((image.width // 2, image.height // 2)):
        return ()  # as nearly every picture: no need to look at all pixels
    extrema = [band.getextrema() for band in image.split()]
    return ('one_colour',) if all(low == high for low, high in extrema) else ()

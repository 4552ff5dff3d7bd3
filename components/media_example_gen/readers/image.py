"""Images: PNG and JPEG -> bytes that core TensorFlow decodes, and their size.

8-bit PNG (grey, RGB, with alpha, palette) and grey or RGB JPEG are passed on byte for byte. The rest (16-bit and
1-bit PNG, CMYK JPEG, pictures that EXIF says to turn) becomes an upright 8-bit PNG, without further loss.
"""

import io
import struct
import zlib

from PIL import Image, ImageOps

from components.media_example_gen.readers.errors import MediaError, too_large
from model_code.media import Limits

_PNG_SIGNATURE = b'\x89PNG\r\n\x1a\n'
_ORIENTATION = 0x0112  # EXIF tag
_MAX_PADDING = 1 << 16  # bytes: phones append more than zeros, so leave room


def read(content: bytes, spec, limits: Limits) -> dict:
    """{'image': bytes, 'height', 'width'}, upright. `spec` is not needed: images are stored at their own size."""
    del spec
    if content.startswith(_PNG_SIGNATURE):
        bit_depth = _check_png(content, limits)
    elif not content.startswith(b'\xff\xd8'):
        raise MediaError('unsupported', f'It is no PNG or JPEG: it begins with {content[:8].hex(" ")}.')
    try:
        image = Image.open(io.BytesIO(content), formats=('PNG', 'JPEG', 'MPO'))
        # The header is read, no pixel yet.
        _check_size(image.width, image.height, limits)
        image.load()
    except Image.DecompressionBombError as error:
        raise MediaError('too_large', str(error)) from error
    except OSError as error:
        cut = 'truncated' in str(error).lower() or not _has_end(content)
        raise MediaError('truncated' if cut else 'undecodable', str(error)) from error
    if not _has_end(content):
        raise MediaError('truncated', 'The JPEG ends without its EOI marker.')

    turned = image.getexif().get(_ORIENTATION, 1) not in (0, 1)
    if image.format == 'PNG':
        as_it_is = bit_depth == 8
    else:
        as_it_is = image.mode in ('L', 'RGB')
    if not as_it_is or turned:
        image = ImageOps.exif_transpose(image)
        image = _to_8_bit(image)
        out = io.BytesIO()
        image.save(out, 'PNG')
        content = out.getvalue()
    return {'image': content, 'height': image.height, 'width': image.width}


def _has_end(content: bytes) -> bool:
    """Whether a JPEG has its end marker, EOI, and after it no more than some padding. Pillow does without."""
    return content.startswith(_PNG_SIGNATURE) or content.rfind(b'\xff\xd9') > len(content) - _MAX_PADDING


def _check_size(width: int, height: int, limits: Limits):
    if width * height > limits.pixels:
        raise too_large('pixels', width * height, limits.pixels)


def _check_png(content: bytes, limits: Limits) -> int:
    """The bit depth. Walks the chunks: Pillow does not check the sums of pixel data, TensorFlow's libpng does."""
    position, end, bit_depth = 8, len(content), 0
    while True:
        if position + 8 > end:
            raise MediaError('truncated', 'The PNG ends without its IEND chunk.')
        length, kind = struct.unpack_from('>I4s', content, position)
        body_end = position + 8 + length
        if body_end + 4 > end:
            raise MediaError('truncated', f'The PNG ends within its {kind!r} chunk.')
        critical = not kind[0] & 0x20
        if critical and zlib.crc32(memoryview(content)[position + 4:body_end]) != struct.unpack_from(
                '>I', content, body_end)[0]:
            raise MediaError('undecodable', f'The check sum of a {kind!r} chunk is wrong.')
        if kind == b'IHDR' and length == 13:
            width, height, bit_depth = struct.unpack_from('>IIB', content, position + 8)
            _check_size(width, height, limits)
        if kind == b'IEND':
            return bit_depth
        position = body_end + 4


def _to_8_bit(image: Image.Image) -> Image.Image:
    if image.mode.startswith('I'):  # 16-bit grey: the high byte.
        return image.convert('I').point(lambda value: value * (1 / 256)).convert('L')
    return image.convert('L' if image.mode in ('1', 'L', 'LA') else 'RGB')

"""Images: PNG, JPEG, GIF, BMP, WebP, TIFF, HEIC, AVIF -> bytes that core TensorFlow decodes, and their size.

PNG of up to 8 bits and grey or RGB JPEG are stored byte for byte, if they are upright and opaque. Everything else
becomes an upright 8-bit grey or RGB PNG, with no other loss: 16-bit values keep their high byte, CMYK becomes RGB, a
high dynamic range the standard one (media.readers.hdr), and the first of several pictures is used. Transparent pixels
are blended with white, as most programs show them. TensorFlow's decoder would drop alpha, and training would see the
colour beneath, which is often black.
"""

import io
import struct
import typing
import warnings
import zlib
from typing import BinaryIO

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from media.fingerprints import image as looks
from media.readers import heif
from media.readers.formats import unsupported
from media.rejections import Rejection, too_large
from model_code.modalities import Limits

# The task's limit on pixels is checked below, before any are decoded. Pillow's own limit would print warnings, as does
# odd metadata.
Image.MAX_IMAGE_PIXELS = None
warnings.filterwarnings('ignore', module=r'PIL\.')

_FORMATS = 'PNG, JPEG, GIF, BMP, WebP, TIFF, HEIC and AVIF'
_PNG_SIGNATURE = b'\x89PNG\r\n\x1a\n'
_HEADS = {'PNG': _PNG_SIGNATURE, 'JPEG': b'\xff\xd8', 'GIF': b'GIF8', 'BMP': b'BM'}  # what TensorFlow decodes
_BMP_HEADERS = tuple(struct.pack('<I', size) for size in (12, 16, 40, 52, 56, 64, 108, 124))
_ORIENTATION, _BITS, _PHOTOMETRIC = 0x0112, 258, 262  # EXIF and TIFF tags
_SUBFILE, _SUB_IFDS, _DNG_VERSION = 254, 330, 50706
# A scan of some hundred bytes in a JPEG, or a chunk of twelve in a PNG, can cost as much time as a whole picture.
_MAX_SCANS, _MAX_CHUNKS = 200, 100_000
# What has refused an image of a kind once it is rejected; for the others it is Pillow alone.
_DECODERS = {'JPEG': 'Pillow and FFmpeg', 'BMP': 'Pillow and FFmpeg', 'HEIF': 'libheif', 'AVIF': 'libavif'}
_BOXED, _HDR_TRANSFERS = ('AVIF', 'HEIF'), (16, 18)  # media.readers.hdr
_EXIF = ('exif', 'xmp', 'XML:com.adobe.xmp', 'Raw profile type exif')  # keys of Image.info that may hold an orientation
_TURNS = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
          5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
          8: Image.Transpose.ROTATE_90}


def read(file: BinaryIO, size: int, spec, limits: Limits, start=None, end=None) -> tuple[dict, tuple[str, ...], bytes]:
    """({'image': bytes, 'height', 'width', 'brightness'}, notes, fingerprint).

    The image is upright, and keeps its size, whatever `spec` says.

    Notes: 'one_colour' if all pixels are the same, 'first_picture' if the file has several. Raises Rejection.
    """
    del size, spec
    if start is not None or end is not None:
        raise Rejection('out_of_range', 'An image has no segments.')
    content = file.read()
    kind = _format(content)
    bit_depth = _check_file(content, kind, limits)
    decoded = _decoded(content, kind, limits)
    stored, image = _stored(content, kind, bit_depth, decoded)
    notes, (brightness, fingerprint) = _notes(image), looks.look(image)
    if decoded.whole and notes:
        notes = _notes(Image.open(io.BytesIO(content), formats=(kind,)))  # its colours may differ
    width, height = decoded.whole or image.size
    features = {'image': stored, 'height': height, 'width': width, 'brightness': brightness}
    return features, ('first_picture', *notes) if decoded.several else notes, fingerprint


class _Decoded(typing.NamedTuple):
    """image: of the first picture. several: whether there are more. second: whether FFmpeg read what Pillow refuses.

    whole: (width, height) if the image is only a fraction of a JPEG's pixels (_drafted).
    """
    image: Image.Image
    several: bool = False
    second: bool = False
    whole: tuple[int, int] | None = None


def _decoded(content: bytes, kind: str, limits: Limits) -> _Decoded:
    """The picture of a file, as it is, within the limits."""
    buffer, scan, several, whole = io.BytesIO(content), 0, False, None
    try:
        image = heif.opened(kind, content) if kind in _BOXED else Image.open(buffer, formats=(kind,))
        # Only the header is read so far; in a JPEG all up to the first scan.
        scan = len(content) if kind in _BOXED else buffer.tell()
        _check_header(image, content, scan, limits)
        if kind == 'TIFF':
            _check_tiff(image, len(content))
        several = kind != 'JPEG' and _has_several(image)  # phones put previews after a JPEG
        if isinstance(image, JpegImageFile):
            size = image.size
            whole = size if _drafted(image) else None
        if isinstance(image, Image.Image):
            image.load()
        else:
            image = image.decoded()
        decoded = _Decoded(image, several, whole=whole)
    except (OSError, SyntaxError, ValueError, EOFError, RuntimeError) as error:
        rejection = _rejection(error, kind, content, scan)
        second = _by_ffmpeg(content, kind, limits) if rejection.reason == 'undecodable' else None
        if second is None:
            raise rejection from error
        decoded = _Decoded(second, second=True)
    if kind == 'JPEG' and not _has_end(content, scan):
        raise Rejection('truncated', 'The JPEG ends without its EOI marker.')
    _check_size(decoded.image.width, decoded.image.height, limits)
    return decoded


def _stored(content: bytes, kind: str, bit_depth: int, decoded: _Decoded) -> tuple[bytes, Image.Image]:
    """What is stored of a picture, and the image in it: the file as it is, or else a PNG."""
    image = decoded.image
    if bit_depth != 8 and 'transparency' in image.info:
        _scale_transparency(image, bit_depth)
    if kind in _BOXED:
        image = _standard(image, content)
    turn = _turn(image)
    flat = _over_white(image)
    fits = kind == 'PNG' and bit_depth <= 8 or kind == 'JPEG' and image.mode in ('L', 'RGB')
    if fits and not decoded.second and turn is None and flat is None:
        return content, image
    image = _to_8_bit(image, kind) if flat is None else flat
    if turn is not None:
        image = image.transpose(turn)
    out = io.BytesIO()
    image.info.clear()  # only pixels: no transparency of a palette, no metadata
    image.save(out, 'PNG')
    return out.getvalue(), image


def header(content: bytes, limits: Limits) -> Image.Image | None:
    """What the header of a JPEG, PNG, GIF or BMP says, within the limits; None for other formats. Decodes nothing.

    Raises Rejection: too_large, or another if the header cannot be read.
    """
    kind = next((kind for kind, head in _HEADS.items() if content.startswith(head)), None)
    if kind is None:
        return None
    if kind == 'PNG':
        _check_png(content, limits)
    buffer = io.BytesIO(content)
    try:
        image = Image.open(buffer, formats=(kind,))
        _check_header(image, content, buffer.tell(), limits)
    except (OSError, SyntaxError, ValueError, EOFError, RuntimeError) as error:
        raise _rejection(error, kind, content, 0) from error
    return image


def _check_header(image, content: bytes, scan: int, limits: Limits):
    """Checks what is known before pixels are decoded. scan: where they begin."""
    _check_size(image.width, image.height, limits)
    if image.info.get('progressive'):
        scans = 1 + content.count(b'\xff\xda', scan, content.find(b'\xff\xd9', scan))
        if scans > _MAX_SCANS:
            raise too_large('scans', scans, _MAX_SCANS)


def _check_file(content: bytes, kind: str, limits: Limits) -> int:
    """The bit depth of a PNG; 8 for all others. Checks files of formats whose decoders trust their headers."""
    if kind == 'PNG':
        return _check_png(content, limits)
    if kind == 'WEBP':
        _check_webp(content, limits)
    if kind in _BOXED:
        heif.check(content, limits.pixels)
    return 8


def _format(content: bytes) -> str:
    """The format by the first bytes, with Pillow's name for it."""
    if content.startswith(_PNG_SIGNATURE):
        return 'PNG'
    if content.startswith(b'\xff\xd8'):
        return 'JPEG'
    if content.startswith((b'GIF87a', b'GIF89a')):
        return 'GIF'
    if content.startswith(b'RIFF') and content[8:12] == b'WEBP':
        return 'WEBP'
    if content.startswith((b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')) and content[8:10] != b'CR':  # Canon's RAW
        return 'TIFF'
    if content.startswith(b'BM') and content[14:18] in _BMP_HEADERS:
        return 'BMP'
    if boxed := heif.kind_of(content):
        return boxed
    raise unsupported(content, 'an image', ('drawing',), _FORMATS, 'JPEG or PNG')


def _rejection(error: Exception, kind: str, content: bytes, scan: int) -> Rejection:
    """The rejection for an exception of the decoder. scan: 0 if it cannot even read the header."""
    text = str(error)
    if 'too large' in text or 'Too much memory' in text:
        return Rejection('too_large', f'A text or colour profile in the {kind} is a decompression bomb.')
    if isinstance(error, EOFError) or 'truncated' in text.lower() or kind == 'JPEG' and not _has_end(content, scan):
        return Rejection('truncated', f'The {kind} ends before its pixels do.')
    part = 'pixels' if scan else 'header'
    decoders = _DECODERS.get(kind, 'Pillow')
    return Rejection('undecodable', f'The {part} of the {kind} cannot be decoded: it is damaged, or of a rare kind '
                                    f'({decoders}).')


def _by_ffmpeg(content: bytes, kind: str, limits: Limits) -> Image.Image | None:
    """The picture as FFmpeg decodes it, if it does so whole, and Pillow does not."""
    if kind not in _DECODERS or kind in _BOXED:
        return None
    from media.readers import second_image  # FFmpeg takes long to load
    return second_image.decoded(content, kind, limits)


def _has_end(content: bytes, scan: int) -> bool:
    """Whether a JPEG has its end marker, EOI, after byte `scan`.

    Pillow does not need it. A thumbnail before `scan` has one of its own. Phones may append a whole video after it.
    """
    return content.find(b'\xff\xd9', scan) >= 0


def _check_size(width: int, height: int, limits: Limits):
    if width * height > limits.pixels:
        raise too_large('pixels', width * height, limits.pixels)


def _check_png(content: bytes, limits: Limits) -> int:
    """The bit depth. Checks all chunks: TensorFlow's libpng rejects wrong checksums of pixels, and Pillow does not."""
    position, end, bit_depth = 8, len(content), 0
    for _ in range(_MAX_CHUNKS):
        if position + 8 > end:
            raise Rejection('truncated', 'The PNG ends without its IEND chunk.')
        length, kind = struct.unpack_from('>I4s', content, position)
        body_end = position + 8 + length
        if body_end + 4 > end:
            raise Rejection('truncated', f'The PNG ends within {_chunk(kind)}.')
        critical = not kind[0] & 0x20
        if critical and zlib.crc32(memoryview(content)[position + 4:body_end]) != struct.unpack_from(
                '>I', content, body_end)[0]:
            raise Rejection('undecodable', f'The PNG is damaged: the checksum of {_chunk(kind)} is wrong.')
        if kind == b'IHDR' and length == 13:
            width, height, bit_depth = struct.unpack_from('>IIB', content, position + 8)
            _check_size(width, height, limits)
        if kind == b'IEND':
            return bit_depth
        position = body_end + 4
    raise Rejection('too_large', f'The PNG has more than {_MAX_CHUNKS:,} chunks.')


def _chunk(kind: bytes) -> str:
    return f'its {kind.decode()} chunk' if kind.isalpha() else 'a chunk without a name'


def _check_webp(content: bytes, limits: Limits):
    """Checks the RIFF header and the first chunk, because libwebp allocates the whole canvas when it opens a file."""
    claimed = struct.unpack_from('<I', content, 4)[0] + 8
    if claimed > len(content):
        raise Rejection('truncated', f'Its header says {claimed:,} bytes, but there are {len(content):,}.')
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
    """Raises Rejection if it is a camera's RAW image, of which Pillow would read the preview, or if a strip or tile is
    beyond the end of the file: libtiff could leave it black."""
    if _tiff_tag(image, _DNG_VERSION) or _tiff_tag(image, _SUBFILE, 0) & 1 and _tiff_tag(image, _SUB_IFDS):
        raise Rejection('unsupported', 'It is a camera RAW image. Convert it to JPEG or PNG.')
    for offset_tag, count_tag in ((273, 279), (324, 325)):
        offsets, counts = _tiff_tag(image, offset_tag, ()), _tiff_tag(image, count_tag, ())
        if any(offset + count > size for offset, count in zip(offsets, counts, strict=False)):
            raise Rejection('truncated', 'The TIFF ends before its pixels.')


def _tiff_tag(image, tag: int, default=None):
    return image.tag_v2.get(tag, default)


def _turn(image: Image.Image):
    """The Transpose of Pillow that makes the image upright; None if it is. Pillow itself turns TIFF images."""
    if image.format == 'TIFF' or not any(key in image.info for key in _EXIF):
        return None
    try:
        return _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # Unreadable metadata is no reason to lose the picture.
        return None


def _drafted(image: JpegImageFile) -> bool:
    """Whether only the luma and a fraction of the pixels of a large JPEG will be decoded.

    That is all that is looked at if it is stored as it is. Its data are read whole, so that damage is found.
    """
    if min(image.size) < 4 * looks.SIDE or image.mode not in ('L', 'RGB') or _turn(image) is not None:
        return False
    image.draft('L', (2 * looks.SIDE, 2 * looks.SIDE))
    return True


def _scale_transparency(image: Image.Image, bit_depth: int):
    """Scales the transparent colour of a PNG to 8 bits, as Pillow scales only the pixels (except 16-bit grey)."""
    colour = image.info['transparency']
    if bit_depth == 16 and image.mode == 'RGB':
        image.info['transparency'] = tuple(value >> 8 for value in colour)
    elif bit_depth in (2, 4) and image.mode == 'L':
        image.info['transparency'] = colour * 255 // ((1 << bit_depth) - 1)


def _over_white(image: Image.Image) -> Image.Image | None:
    """The picture blended with white if any of it is transparent, else None."""
    if not image.mode.endswith(('A', 'a')) and ('transparency' not in image.info or image.mode.startswith('I')):
        return None
    picture = image.convert('RGBA')
    if picture.getchannel('A').getextrema()[0] == 255:
        return None
    white = Image.new('RGBA', picture.size, 'white')
    return Image.alpha_composite(white, picture).convert('L' if image.mode in ('1', 'L', 'LA', 'La') else 'RGB')


def _to_8_bit(image: Image.Image, kind: str) -> Image.Image:
    if image.mode.startswith('I;16') or image.mode == 'I' and kind == 'PNG':  # 12- or 16-bit grey: the high 8 bits
        bits = _tiff_tag(image, _BITS, (16,))[0] if kind == 'TIFF' else 16
        # Imported here, because that takes half of the child's start, and few pictures need it.
        import numpy as np
        high = (np.asarray(image) >> (bits - 8)).astype(np.uint8)
        if kind == 'PNG' and 'transparency' in image.info:
            high[np.asarray(image) == image.info['transparency']] = 255  # white
        # Pillow inverts such images only if they have 8 bits.
        return Image.fromarray(255 - high if kind == 'TIFF' and _tiff_tag(image, _PHOTOMETRIC) == 0 else high)
    if image.mode in ('I', 'F', 'LAB', 'HSV'):
        raise Rejection('unsupported', f'Its pixels have the mode {image.mode}; grey, RGB, CMYK and palettes of up to '
                                       '16 bits are supported.')
    return image.convert('L' if image.mode in ('1', 'L', 'LA') else 'RGB')


def _has_several(image) -> bool:
    """Whether the file has further pictures, which are not used."""
    try:
        return bool(getattr(image, 'is_animated', False))
    except Exception:  # It is further on that the file is damaged.
        return False


def _standard(image: Image.Image, content: bytes) -> Image.Image:
    """A HEIC or AVIF picture in the standard dynamic range."""
    primaries, transfer = heif.colours(content)
    if transfer not in _HDR_TRANSFERS or image.mode not in ('RGB', 'RGBA'):
        return image
    import numpy as np  # few pictures need it, and it takes long to import

    from media.readers import hdr
    codes = np.asarray(image.convert('RGB')).astype(np.uint16) * 257
    standard = Image.fromarray(hdr.to_sdr(codes, transfer, primaries))
    if image.mode == 'RGBA':
        standard.putalpha(image.getchannel('A'))
    standard.info = image.info
    return standard


def _notes(image: Image.Image) -> tuple[str, ...]:
    if image.getpixel((0, 0)) != image.getpixel((image.width // 2, image.height // 2)):
        return ()  # so it is with nearly every picture, without a look at all pixels
    extrema = [band.getextrema() for band in image.split()]
    return ('one_colour',) if all(low == high for low, high in extrema) else ()

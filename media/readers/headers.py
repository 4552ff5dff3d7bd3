"""What decoding a picture or sound would take, by its header alone: for servers, which get media from anyone.

The formats are those that TensorFlow's core operations decode: JPEG, PNG, GIF, BMP and WAV.
"""

import io
import struct

from media.readers import image
from media.rejections import Rejection, too_large
from model_code.modalities import Limits

_FRAME_GROWTH = 5
_JPEG_SEGMENTS = 100  # to look through for the frame header; Pillow reads the header of a file with more before it
_JPEG_TABLES = {0xc4, 0xdb, 0xdd, 0xfe, *range(0xe0, 0xf0)}  # Huffman, quantization, restarts, comments, APPn
_GIF_BLOCKS = 500_000  # and their parts, of at most 255 bytes, in one GIF


def picture_bytes(content: bytes, limits: Limits) -> int:
    """Bytes of memory in which TensorFlow decodes a picture to RGB; 0 for what is none.

    Raises Rejection if the picture is over the limits on pixels, or if its header cannot be read. A PNG with damage
    further on passes: TensorFlow says what is wrong with it.
    """
    pixels = _baseline_pixels(content)
    if pixels is not None:
        if pixels > limits.pixels:
            raise too_large('pixels', pixels, limits.pixels)
        return 3 * pixels
    try:
        header = image.header(content, limits)
    except Rejection as rejection:
        if rejection.reason == 'too_large' or not content.startswith(b'\x89PNG'):
            raise
        return 0
    if header is None:
        return 0
    pixels = header.width * header.height
    if header.format == 'GIF':  # all pictures are unpacked, a byte a pixel, and the first one is kept
        return _gif_pixels(content) + 3 * pixels
    if header.info.get('progressive'):  # the coefficients of the whole picture, 16 bits each
        return 9 * pixels
    return 3 * pixels


def frame_bytes(content: bytes, limits: Limits) -> int:
    """As picture_bytes, of a frame of a clip: all frames are held as float32, too."""
    return _FRAME_GROWTH * picture_bytes(content, limits)


def wav_bytes(content: bytes, limits: Limits) -> int:
    """Bytes in which TensorFlow decodes a WAV file. Raises Rejection if its header says that it is too long."""
    import soundfile  # takes long to load
    if content[:4] == b'RIFF' and content[8:12] == b'WAVE':
        try:
            seconds = soundfile.info(io.BytesIO(content)).duration
        except soundfile.SoundFileError:
            seconds = 0.0
        if seconds > limits.seconds:
            raise too_large('seconds', round(seconds, 1), limits.seconds)
    return 2 * len(content)  # 16-bit samples become float32


def _baseline_pixels(content: bytes) -> int | None:
    """The pixels of a baseline JPEG whose segments follow each other without a gap; None for all others.

    Nearly every picture that a server gets is one, and Pillow, which reads the headers of the others, takes ten times
    as long. Layout: ITU-T T.81, B.1 and B.2; decoders take the first frame header for that of the picture.
    """
    if not content.startswith(b'\xff\xd8'):
        return None
    position = 2
    for _ in range(_JPEG_SEGMENTS):
        head = content[position:position + 9]
        if len(head) < 9 or head[0] != 0xff:
            return None
        marker = head[1]
        if marker in (0xc0, 0xc1):  # the header of a frame, baseline or extended
            height, width = struct.unpack_from('>HH', head, 5)
            return height * width or None
        if marker not in _JPEG_TABLES:
            return None
        position += 2 + int.from_bytes(head[2:4], 'big')
    return None


def _gif_pixels(content: bytes) -> int:
    """The pixels of all pictures in a GIF, up to its end or to what is no block. Layout: the GIF89a specification."""
    position, pixels = 13 + _palette(content[10:11]), 0
    in_block = False
    for _ in range(_GIF_BLOCKS):
        if in_block:  # its parts, each after its length
            length = content[position] if position < len(content) else 0
            in_block, position = length > 0, position + 1 + length
            continue
        kind, in_block = content[position:position + 1], True
        if kind == b',' and position + 10 <= len(content):
            width, height = struct.unpack_from('<HH', content, position + 5)
            pixels += width * height
            position += 11 + _palette(content[position + 9:position + 10])
        elif kind == b'!':
            position += 2
        else:
            return pixels
    raise Rejection('too_large', f'The GIF has more than {_GIF_BLOCKS:,} blocks.')


def _palette(flags: bytes) -> int:
    """Bytes of the palette that follows the byte of flags of a screen or a picture."""
    return 3 << (flags[0] & 7) + 1 if flags and flags[0] & 0x80 else 0

"""HEIC and AVIF images, which phones make: what is in the boxes of such a file, and its picture as Pillow's.

The boxes are those of ISO/IEC 14496-12 and 23008-12 (HEIF). libheif, by pillow-heif, decodes HEIC, and libavif, by
Pillow, AVIF. Both packages are imported when a file needs them.
"""

import io
import struct
from collections.abc import Iterator

from PIL import Image

from media.rejections import Rejection, too_large
from model_code import words

_MAX_BOXES = 10_000
_AVIF, _HEIF = (b'avif', b'avis'), (b'heic', b'heix', b'heim', b'heis', b'hevc', b'hevx')
_EITHER = (b'mif1', b'msf1', b'miaf')  # what is inside is said by the brands after it


def kind_of(head: bytes) -> str | None:
    """'AVIF', 'HEIF', or None for a file that is neither, by its first box, which names its brands."""
    if head[4:8] != b'ftyp':
        return None
    length = min(struct.unpack_from('>I', head)[0], len(head), 4096)
    major, others = head[8:12], {head[at:at + 4] for at in range(16, length - 3, 4)}
    if major in _AVIF or major in _EITHER and others & set(_AVIF):
        return 'AVIF'
    return 'HEIF' if major in _HEIF or major in _EITHER else None


def check(content: bytes, max_pixels: int):
    """Raises Rejection if the file ends within a box, or if a picture in it, be it a tile, has too many pixels.

    Decoders allocate what these boxes say. libheif checks that the stream within does not have more. libavif decodes
    it with a limit of its own, 2 ** 28 pixels, and scales the picture to what the boxes say.
    """
    for kind, begin, end in _boxes(content, 0, len(content)):
        if end > len(content):
            missing = end - len(content)
            raise Rejection('truncated', f'It ends {words.count(missing, "byte")} earlier than its header says.')
        if kind == b'meta':
            for properties_begin, properties_end in _within(content, begin + 4, end, b'iprp', b'ipco'):
                for kind_of_property, at, _ in _boxes(content, properties_begin, properties_end):
                    if kind_of_property == b'ispe':
                        width, height = struct.unpack_from('>II', content, at + 4)
                        if width * height > max_pixels:
                            raise too_large('pixels', width * height, max_pixels)


def colours(content: bytes) -> tuple[int, int]:
    """(primaries, transfer characteristics) of ITU-T H.273 of the first picture that names them; 2 is unspecified."""
    for kind, begin, end in _boxes(content, 0, len(content)):
        if kind == b'meta':
            for properties_begin, properties_end in _within(content, begin + 4, end, b'iprp', b'ipco'):
                for kind_of_property, at, _ in _boxes(content, properties_begin, properties_end):
                    if kind_of_property == b'colr' and content[at:at + 4] == b'nclx':
                        primaries, transfer = struct.unpack_from('>HH', content, at + 4)
                        return primaries, transfer
    return 2, 2


def _within(content: bytes, begin: int, end: int, *kinds: bytes) -> Iterator[tuple[int, int]]:
    """The bodies of the boxes that are nested like `kinds`."""
    for kind, body, body_end in _boxes(content, begin, end):
        if kind == kinds[0]:
            if len(kinds) == 1:
                yield body, min(body_end, end)
            else:
                yield from _within(content, body, min(body_end, end), *kinds[1:])


def _boxes(content: bytes, position: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(kind, where its body begins, where it ends) of each box in a part of the file."""
    for _ in range(_MAX_BOXES):
        if position + 8 > end:
            return
        length, kind = struct.unpack_from('>I4s', content, position)
        body = position + 8
        if length == 1 and position + 16 <= end:
            length, = struct.unpack_from('>Q', content, body)
            body += 8
        length = length or end - position  # 0: up to the end
        if length < body - position:
            raise Rejection('undecodable', 'It is damaged: the length of one of its boxes is wrong.')
        yield kind, body, position + length
        position += length
    raise Rejection('undecodable', f'It is damaged: it has more than {_MAX_BOXES:,} boxes.')


class _Heic:
    """The primary picture of a HEIC file. libheif turns it as the file says, so that EXIF's orientation does not count.
    """

    def __init__(self, content: bytes):
        import pillow_heif
        options = pillow_heif.options
        options.THUMBNAILS = options.DEPTH_IMAGES = options.AUX_IMAGES = False  # nobody looks at them
        options.DECODE_THREADS = 1
        file = pillow_heif.open_heif(io.BytesIO(content))
        self._picture, self.is_animated, self.info = file[file.primary_index], len(file) > 1, {}
        self.width, self.height = self._picture.size

    def decoded(self) -> Image.Image:
        image = self._picture.to_pillow()
        image.info.clear()
        return image


def opened(kind: str, content: bytes) -> Image.Image | _Heic:
    """The first picture of a file, not yet decoded: `width`, `height`, `is_animated` (several pictures), `info`.

    What it says of its orientation is still to be applied if it is in `info`.
    """
    if kind == 'HEIF':
        return _Heic(content)
    from PIL import AvifImagePlugin
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # Beam's workers already read files in parallel
    return Image.open(io.BytesIO(content), formats=(kind,))

"""What decoding a picture would take, read from its header."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from media.readers import headers, image
from media.rejections import Rejection
from model_code.modalities import Limits

WIDTH, HEIGHT = 48, 32
LIMITS = Limits(pixels=10_000)


def jpeg(mode: str = 'RGB', **options) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, 'JPEG', **options)
    return buffer.getvalue()


def with_segment(content: bytes, marker: int, body: bytes) -> bytes:
    """The JPEG with a segment after its first two bytes."""
    return content[:2] + bytes([0xff, marker]) + struct.pack('>H', len(body) + 2) + body + content[2:]


def exif_with_thumbnail() -> bytes:
    """EXIF whose thumbnail is a JPEG with a frame header of its own."""
    thumbnail = io.BytesIO()
    Image.new('RGB', (8, 8)).save(thumbnail, 'JPEG')
    return b'Exif\0\0' + thumbnail.getvalue()


BASELINE = {
    'RGB': jpeg(), 'grey': jpeg('L'), 'CMYK': jpeg('CMYK'), 'optimized': jpeg(optimize=True),
    'restarts': jpeg(restart_marker_blocks=2), 'a comment': jpeg(comment=b'\xff\xc0 is no marker here'),
    'a thumbnail': with_segment(jpeg(), 0xe1, exif_with_thumbnail()),
    'many segments': with_segment(with_segment(jpeg(), 0xe5, b'one'), 0xef, b'two'),
}


@pytest.mark.parametrize('content', BASELINE.values(), ids=BASELINE)
def test_a_baseline_jpeg_takes_three_bytes_a_pixel(content, monkeypatch):
    monkeypatch.setattr(image, 'header', None)  # Pillow is not asked
    assert headers.picture_bytes(content, Limits(pixels=WIDTH * HEIGHT)) == 3 * WIDTH * HEIGHT


@pytest.mark.parametrize('content', BASELINE.values(), ids=BASELINE)
def test_a_baseline_jpeg_over_the_limit_is_refused_as_pillow_would(content):
    limits = Limits(pixels=WIDTH * HEIGHT - 1)
    with pytest.raises(Rejection) as ours:
        headers.picture_bytes(content, limits)
    with pytest.raises(Rejection) as by_pillow:
        image.header(content, limits)
    assert (ours.value.reason, ours.value.detail) == (by_pillow.value.reason, by_pillow.value.detail)


def test_a_progressive_jpeg_takes_nine_bytes_a_pixel():
    assert headers.picture_bytes(jpeg(progressive=True), LIMITS) == 9 * WIDTH * HEIGHT


def without_size(content: bytes) -> bytes:
    """The height of 0 says that it comes after the pixels."""
    place = content.index(b'\xff\xc0')
    return content[:place + 5] + b'\0\0' + content[place + 7:]


@pytest.mark.parametrize('content', [
    jpeg()[:2] + b'\xff' + jpeg()[2:],  # a fill byte, which is allowed before a marker
    jpeg()[:2] + b'\0' + jpeg()[2:],  # a gap
    jpeg()[:100], jpeg()[:10], b'\xff\xd8', without_size(jpeg()),
    with_segment(jpeg(), 0xc8, b'reserved'),
    b''.join([jpeg()[:2], *[b'\xff\xe2\0\2'] * 1000, jpeg()[2:]]),
])
def test_pillow_reads_what_is_unusual(content):
    """Whatever it says: the size, that there is none, or why not."""
    def told(function):
        try:
            return function()
        except Rejection as rejection:
            return rejection.reason, rejection.detail

    def by_pillow():
        header = image.header(content, LIMITS)
        assert header is not None
        return 3 * header.width * header.height
    assert told(lambda: headers.picture_bytes(content, LIMITS)) == told(by_pillow)

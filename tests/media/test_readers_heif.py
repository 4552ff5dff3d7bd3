"""HEIC and AVIF images: the picture, its orientation, transparency and range, and hostile files."""

import io
import struct
import subprocess
import sys

import av
import numpy as np
import pillow_heif
import pytest
from PIL import Image

from media import readers
from media.readers import hdr, heif
from media.rejections import Rejection
from model_code.modalities import MODALITIES, ImageInput, Limits
from tests import testing

SPEC = ImageInput()
PICTURE = np.random.default_rng(0).integers(0, 255, (3, 4, 3), np.uint8).repeat(32, 0).repeat(32, 1)
KINDS = ('HEIF', 'AVIF')


def _saved(kind, image=None, **options):
    image = Image.fromarray(PICTURE) if image is None else image
    options = {'quality': 95, 'subsampling': '4:4:4', 'chroma': 444} | options
    out = io.BytesIO()
    if kind == 'HEIF':
        file = pillow_heif.from_pillow(image)
        if 'exif' in options:
            file[0].info['original_orientation'] = options['exif'][0x0112]
            options['exif'] = options['exif'].tobytes()
        for more in options.pop('append_images', ()):
            file.add_from_pillow(more)
        file.save(out, **options)
    else:
        image.save(out, kind, **options)
    return out.getvalue()


def _read(content, **limits):
    features, notes = readers.read_with_notes('image', content, SPEC, Limits(**limits))
    pixels = np.asarray(Image.open(io.BytesIO(features['image'])).convert('RGB')).astype(int)
    assert (features['height'], features['width']) == pixels.shape[:2]
    return pixels, notes


def _reason(content, **limits):
    with pytest.raises(Rejection) as caught:
        _read(content, **limits)
    assert caught.value.detail
    return caught.value.reason


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('mode', ['RGB', 'L'])
def test_a_picture_is_read(kind, mode):
    image = Image.fromarray(PICTURE).convert(mode)
    content = _saved(kind, image)
    pixels, notes = _read(content)
    assert np.abs(pixels - np.asarray(image.convert('RGB'))).mean() < 4 and notes == ()
    stored = Image.open(io.BytesIO(readers.read('image', content, SPEC)['image']))
    assert stored.format == 'PNG' and stored.mode == (mode if kind == 'HEIF' else 'RGB') and not stored.info


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('depth', [10, 12])
def test_more_than_8_bits(kind, depth):
    deep = PICTURE.astype(np.uint16) * 257
    if kind == 'HEIF':
        pillow_heif.options.SAVE_HDR_TO_12_BIT = depth == 12
        out = io.BytesIO()
        try:
            pillow_heif.from_bytes('RGB;16', (128, 96), deep.tobytes()).save(out, quality=95, chroma=444)
        finally:
            pillow_heif.options.SAVE_HDR_TO_12_BIT = False
        content = out.getvalue()
    else:
        out = io.BytesIO()
        with av.open(out, 'w', format='avif') as file:
            stream = file.add_stream('libaom-av1', rate=1, options={'crf': '5', 'still-picture': '1', 'cpu-used': '8'})
            (stream.width, stream.height), stream.pix_fmt = (128, 96), f'yuv444p{depth}le'
            file.mux(stream.encode(av.VideoFrame.from_ndarray(deep, format='rgb48le')))
            file.mux(stream.encode())
        content = out.getvalue()
    assert np.abs(_read(content)[0] - PICTURE).mean() < 5


@pytest.mark.parametrize('kind', KINDS)
def test_an_orientation_is_applied_once(kind):
    exif = Image.Exif()
    exif[0x0112] = 6
    content = _saved(kind, exif=exif)  # it is said twice, as phones do: as a rotation of the file's own, and in EXIF
    assert b'irot' in content
    pixels, _ = _read(content)
    expected = np.rot90(PICTURE, -1)
    assert pixels.shape == expected.shape and np.abs(pixels - expected).mean() < 4


@pytest.mark.parametrize('kind', KINDS)
def test_transparent_pixels_are_laid_over_white(kind):
    image = Image.fromarray(PICTURE).convert('RGBA')
    image.putalpha(Image.fromarray(np.repeat([[255] * 64 + [0] * 64], 96, 0).astype(np.uint8)))
    pixels, _ = _read(_saved(kind, image))
    assert np.abs(pixels[:, :60] - PICTURE[:, :60]).mean() < 4 and pixels[:, 70:].min() >= 254


@pytest.mark.parametrize('kind', KINDS)
def test_the_first_of_several_pictures_is_used_with_a_remark(kind):
    other = Image.fromarray(255 - PICTURE)
    pixels, notes = _read(_saved(kind, save_all=True, append_images=[other]))
    assert notes == ('first_picture',) and np.abs(pixels - PICTURE).mean() < 4


def test_what_the_brands_say():
    for kind in KINDS:
        content = _saved(kind)
        assert heif.kind_of(content) == kind
        # Either may be called a picture of any kind. The brands after that say more.
        assert heif.kind_of(content[:8] + b'mif1' + content[12:]) == kind
    assert heif.kind_of(testing.mp4_bytes()) is None and heif.kind_of(testing.image_bytes()) is None
    assert {'.heic', '.heif', '.hif', '.avif'} <= set(MODALITIES['image'].other_endings)


@pytest.mark.parametrize('kind', KINDS)
def test_truncated_damaged_and_huge_files(kind):
    content = _saved(kind)
    for end in (len(content) - 1, len(content) * 6 // 10, 100):
        assert _reason(content[:end]) == 'truncated'
    assert _reason(content[:40] + bytes(len(content) - 40)) == 'undecodable'
    assert _reason(content, pixels=128 * 96 - 1) == 'too_large'
    size = content.index(b'ispe') + 8
    huge = bytearray(content)
    struct.pack_into('>II', huge, size, 60_000, 60_000)
    assert _reason(bytes(huge)) == 'too_large'


def test_a_stream_that_is_larger_than_its_file_says_is_not_decoded():
    small = bytearray(_saved('HEIF', Image.new('RGB', (3000, 3000))))
    struct.pack_into('>II', small, small.index(b'ispe') + 8, 16, 16)
    assert _reason(bytes(small), pixels=1000) == 'undecodable'


@pytest.mark.parametrize('kind', KINDS)
def test_a_high_dynamic_range_becomes_the_standard_one(kind):
    nits = np.array([0, 5, 26, 100, 203, 1000])
    codes = hdr._light_to_pq(nits)
    steps = np.rint(255 * codes).astype(np.uint8)[None, :, None].repeat(3, 2).repeat(64, 0).repeat(32, 1)
    content = bytearray(_saved(kind, Image.fromarray(steps)))
    at = content.index(b'nclx')
    struct.pack_into('>HH', content, at + 4, 9, 16)  # what only the container says: BT.2020, PQ
    pixels, _ = _read(bytes(content))
    expected = 255 * (np.array([0, 5, 26, 100]) / 203) ** (1 / 2.4)
    assert np.abs(pixels[32, 16:128:32].mean(-1) - expected).max() < 6
    assert 220 < pixels[32, 16 + 4 * 32].mean() < 240 and pixels[32, 16 + 5 * 32].mean() > 250


def test_the_packages_are_imported_only_for_such_files(tmp_path):
    path = testing.write(tmp_path, 'a.jpg', testing.image_bytes('JPEG'))
    code = ('import sys\nfrom media import readers\nreaders.read("image", sys.argv[1], None)\n'
            'print([m for m in ("pillow_heif", "PIL.AvifImagePlugin", "numpy", "av") if m in sys.modules])')
    result = subprocess.run([sys.executable, '-c', code, path], capture_output=True, text=True, timeout=60)
    assert result.stdout == '[]\n'

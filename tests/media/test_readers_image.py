"""The reader of images: what stays byte for byte, the result for every format, and the reasons for rejections."""

import io
import struct
import subprocess
import sys
import zlib

import av
import numpy as np
import pytest
from PIL import Image

from media import readers
from media.rejections import Rejection
from model_code.modalities import ImageInput, Limits
from tests import testing

SPEC = ImageInput()
_TURN = 0x0112  # EXIF's orientation


def _read(content):
    return readers.read('image', content, SPEC)


def _reason(content):
    with pytest.raises(Rejection) as caught:
        _read(content)
    assert caught.value.detail and '\n' not in caught.value.detail
    return caught.value.reason


def _pixels(content):
    return np.asarray(Image.open(io.BytesIO(content)).convert('RGB')).astype(int)


def _luma(content):
    return np.asarray(Image.open(io.BytesIO(content)).convert('RGB').convert('L')).astype(int)


def _saved(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def _chunk(kind, body):
    return struct.pack('>I', len(body)) + kind + body + struct.pack('>I', zlib.crc32(kind + body))


def _png(width, height, depth, colour, rows, interlaced=0, before=b''):
    header = _chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, depth, colour, 0, 0, interlaced))
    return b'\x89PNG\r\n\x1a\n' + header + before + _chunk(b'IDAT', zlib.compress(rows)) + _chunk(b'IEND', b'')


def _interlaced(pixels):
    """An 8-bit RGB PNG, interlaced in the seven passes of Adam7."""
    rows = b''
    for y, x, down, right in ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2),
                              (1, 0, 2, 1)):
        rows += b''.join(b'\0' + row.tobytes() for row in pixels[y::down, x::right] if row.size)
    return _png(pixels.shape[1], pixels.shape[0], 8, 2, rows, interlaced=1)


def _tiff12(values):
    """A grey TIFF with one row of 12-bit values; their number must be even."""
    row = bytes.fromhex(''.join(f'{value:03x}' for value in values))
    tags = ((256, len(values)), (257, 1), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1), (278, 1), (279, len(row)))
    return (b'II*\0' + struct.pack('<I', 8 + len(row)) + row + struct.pack('<H', len(tags))
            + b''.join(struct.pack('<HHII', tag, 4, 1, value) for tag, value in tags) + bytes(4))


RGB = _pixels(testing.image_bytes()).astype(np.uint8)
DEEP = RGB[..., 0].astype(np.uint16) * 257


OPAQUE = Image.fromarray(np.full(RGB.shape[:2], 255, np.uint8))
UNCHANGED = {
    'png': testing.image_bytes('PNG'), 'png-grey': testing.image_bytes('PNG', 'L'),
    'png-palette': testing.image_bytes('PNG', 'P'), 'png-1': testing.image_bytes('PNG', '1'),
    'png-2': _png(20, 16, 2, 0, b''.join(b'\0' + row.tobytes() for row in RGB[:, :5, 0])),
    'png-4': _png(20, 16, 4, 0, b''.join(b'\0' + row.tobytes() for row in RGB[:, :10, 0])),
    'png-palette-4': testing.image_bytes('PNG', 'P', bits=4), 'png-interlaced': _interlaced(RGB),
    'png-opaque-alpha': _saved(Image.merge('RGBA', [*Image.fromarray(RGB).split(), OPAQUE]), 'PNG'),
    'png-opaque-grey-alpha': _saved(Image.merge('LA', [Image.fromarray(RGB[..., 0]), OPAQUE]), 'PNG'),
    'png-frames': _saved(Image.fromarray(RGB), 'PNG', save_all=True, append_images=[Image.new('RGB', (20, 16))]),
    'jpeg': testing.image_bytes('JPEG'), 'jpeg-grey': testing.image_bytes('JPEG', 'L'),
    'jpeg-progressive': testing.image_bytes('JPEG', progressive=True),
    'jpeg-pictures': _saved(Image.fromarray(RGB), 'MPO', save_all=True, append_images=[Image.new('RGB', (20, 16))]),
    'jpeg-and-a-video': testing.image_bytes('JPEG') + b'\0\0\0\x18ftypmp42' * 20_000,
}


@pytest.mark.parametrize('name', UNCHANGED)
def test_what_tensorflow_decodes_stays_byte_for_byte(name):
    import tensorflow as tf
    content = UNCHANGED[name]
    brightness = pytest.approx(_luma(content).mean() / 255, abs=0.02)
    assert _read(content) == {'image': content, 'height': 16, 'width': 20, 'brightness': brightness}
    decoded = tf.io.decode_image(content, channels=3, expand_animations=False).numpy().astype(int)
    # The two may round a JPEG differently. PNG is exact.
    assert np.abs(decoded - _pixels(content)).max() <= (4 if content[:2] == b'\xff\xd8' else 0)


GREY = RGB[..., 0]
CONVERTED = {
    'png-16-grey': (_saved(Image.fromarray(DEEP), 'PNG'), GREY[..., None].repeat(3, 2)),
    'png-16-rgb': (_png(20, 16, 16, 2, b''.join(b'\0' + (row.astype('>u2') * 257).tobytes() for row in RGB)), RGB),
    'gif': (testing.image_bytes('GIF'), None),
    'gif-frames': (_saved(Image.fromarray(RGB), 'GIF', save_all=True, append_images=[Image.new('RGB', (20, 16))]),
                   None),
    'bmp': (testing.image_bytes('BMP'), RGB),
    'bmp-palette': (testing.image_bytes('BMP', 'P'), None),
    'webp-lossless': (testing.image_bytes('WEBP', lossless=True), RGB),
    'webp': (testing.image_bytes('WEBP'), None),
    'webp-frames': (_saved(Image.fromarray(RGB), 'WEBP', lossless=True, save_all=True,
                           append_images=[Image.new('RGB', (20, 16))]), RGB),
    'tiff': (testing.image_bytes('TIFF'), RGB),
    'tiff-lzw': (testing.image_bytes('TIFF', compression='tiff_lzw'), RGB),
    'tiff-deflate': (testing.image_bytes('TIFF', compression='tiff_deflate'), RGB),
    'tiff-12': (_tiff12([0x123, 0xFFF, 0x800, 0x00F]), np.array([[0x12, 0xFF, 0x80, 0]])[..., None].repeat(3, 2)),
    'tiff-16': (_saved(Image.fromarray(DEEP), 'TIFF'), GREY[..., None].repeat(3, 2)),
    'tiff-pages': (_saved(Image.fromarray(RGB), 'TIFF', save_all=True, append_images=[Image.new('L', (9, 9))]), RGB),
    'tiff-cmyk': (testing.image_bytes('TIFF', 'CMYK'), None),
    'jpeg-cmyk': (testing.image_bytes('JPEG', 'CMYK'), None),
}


@pytest.mark.parametrize('name', CONVERTED)
def test_everything_else_becomes_an_8_bit_png_without_loss(name):
    content, expected = CONVERTED[name]
    features = _read(content)
    stored = Image.open(io.BytesIO(features['image']))
    assert stored.format == 'PNG' and stored.mode in ('L', 'RGB') and not stored.info
    np.testing.assert_array_equal(_pixels(features['image']), _pixels(content) if expected is None else expected)
    assert (features['height'], features['width']) == (stored.height, stored.width)


def test_cmyk_of_adobe_is_inverted():
    """JPEGs of Adobe hold 255 - ink. Little ink must become bright; Pillow's writer and reader agree on that."""
    content = _saved(Image.new('CMYK', (16, 16), (10, 20, 30, 0)), 'JPEG', quality=100)
    assert b'Adobe' in content
    np.testing.assert_allclose(_pixels(_read(content)['image'])[0, 0], (245, 235, 225), atol=3)


ALPHA = np.where(np.arange(20) < 10, 255, 0).astype(np.uint8)[None].repeat(16, 0)


@pytest.mark.parametrize('kind, options', [('PNG', {}), ('WEBP', {'lossless': True, 'exact': True}), ('TIFF', {})])
def test_transparent_pixels_are_blended_with_white(kind, options):
    content = _saved(Image.fromarray(np.dstack([RGB, ALPHA])), kind, **options)
    pixels = _pixels(_read(content)['image'])
    np.testing.assert_array_equal(pixels[:, :10], RGB[:, :10])
    assert (pixels[:, 10:] == 255).all()


@pytest.mark.parametrize('depth, colour, row, transparent, expected', [
    (1, 0, b'\x80', (1,), [255, 0]), (1, 0, b'\x80', (0,), [255, 255]), (2, 0, b'\x60', (1,), [255, 170]),
    (4, 0, b'\x1f', (1,), [255, 255]), (4, 0, b'\x12', (3,), [17, 34]), (8, 0, b'\x10\x11', (16,), [255, 17]),
    (16, 0, b'\x12\x34\x12\x35', (0x1234,), [255, 18]),
    (8, 2, b'\1\1\1\2\2\2', (1, 1, 1), [255, 2]),
    (16, 2, b'\x12\x34' * 3 + b'\x13\x34' * 3, (0x1234,) * 3, [255, 19])])
def test_the_transparent_colour_of_a_png_becomes_white(depth, colour, row, transparent, expected):
    key = _chunk(b'tRNS', struct.pack(f'>{len(transparent)}H', *transparent))
    assert _pixels(_read(_png(2, 1, depth, colour, b'\0' + row, before=key))['image'])[0, :, 0].tolist() == expected


def test_transparency_of_grey_and_of_palettes():
    grey = _saved(Image.merge('LA', [Image.fromarray(GREY), Image.fromarray(ALPHA)]), 'PNG')
    features = _read(grey)
    assert Image.open(io.BytesIO(features['image'])).mode == 'L'
    assert (_pixels(features['image'])[:, 10:] == 255).all()
    palette = Image.new('P', (4, 4), 0)
    palette.putpalette([0, 0, 0, 9, 9, 9])
    palette.putpixel((0, 0), 1)
    for kind in ('PNG', 'GIF'):
        pixels = _pixels(_read(_saved(palette, kind, transparency=0))['image'])
        assert pixels[0, 0].tolist() == [9, 9, 9] and (pixels[1:] == 255).all()


@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'WEBP', 'TIFF'])
@pytest.mark.parametrize('turn', range(1, 9))
def test_exif_rotation_is_applied(kind, turn):
    exif = Image.Exif()
    exif[_TURN] = turn
    plain = testing.image_bytes('PNG' if kind == 'TIFF' else kind, lossless=True)
    content = testing.image_bytes(kind, exif=exif, lossless=True)
    upright = {1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud,
               5: lambda a: a.swapaxes(0, 1), 6: lambda a: np.rot90(a, -1), 7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
               8: np.rot90}[turn]
    features = _read(content)
    np.testing.assert_array_equal(_pixels(features['image']), upright(_pixels(plain)))
    assert Image.open(io.BytesIO(features['image'])).getexif().get(_TURN, 1) == 1
    assert (features['height'], features['width']) == ((16, 20) if turn < 5 else (20, 16))


def test_broken_exif_does_not_reject_the_image():
    content = testing.image_bytes('JPEG', exif=b'Exif\0\0II*\0\xff\xff\xff\xff' + b'\xff' * 40)
    assert _read(content)['image'] == content


def test_files_of_several_pictures_are_noted():
    several = [name for name, (content, _) in {**CONVERTED, **{name: (content, None) for name, content in
                                                               UNCHANGED.items()}}.items()
               if 'first_picture' in readers.read_with_notes('image', content, SPEC)[1]]
    assert sorted(several) == ['gif-frames', 'png-frames', 'tiff-pages', 'webp-frames']


@pytest.mark.parametrize('mode', ['L', 'RGB', 'P', 'RGBA', '1'])
@pytest.mark.parametrize('size', [(3, 2), (16, 16), (701, 350)])
def test_brightness_is_the_mean_luma(mode, size):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (*size[::-1], 3), np.uint8))
    image.paste((250, 250, 240), (0, 0, size[0] // 2, size[1]))
    image = image.convert(mode)
    content = _saved(image, 'PNG')
    assert _read(content)['image'] == content
    assert _read(content)['brightness'] == pytest.approx(_luma(content).mean() / 255, abs=0.02)
    assert _read(_saved(Image.new('L', size, 255), 'PNG'))['brightness'] == 1
    assert _read(_saved(Image.new('L', size), 'PNG'))['brightness'] == 0


def test_one_colour_is_noted():
    flat = _saved(Image.new('RGB', (20, 16), (9, 8, 7)), 'PNG')
    assert readers.read_with_notes('image', flat, SPEC)[1] == ('one_colour',)
    spot = Image.new('RGB', (20, 16), (9, 8, 7))
    spot.putpixel((3, 5), (9, 8, 6))
    assert readers.read_with_notes('image', _saved(spot, 'PNG'), SPEC)[1] == ()


BOMBS = {
    'png': _png(100_000, 100_000, 8, 2, b'\0' * 10_000),
    'gif': b'GIF89a' + struct.pack('<HHBBB', 65535, 65535, 0x80, 0, 0) + bytes(6) + b',' + struct.pack(
        '<HHHHB', 0, 0, 65535, 65535, 0) + b'\x02\x02\x4c\x01\0;',
    'bmp': b'BM' + struct.pack('<IHHIIiiHHIIiiII', 1000, 0, 0, 54, 40, 60_000, 60_000, 1, 24, 0, 0, 0, 0, 0, 0),
    'webp': (b'RIFF' + struct.pack('<I', 40) + b'WEBPVP8X' + struct.pack('<I', 10) + bytes(4) + b'\xfe\x3f\0' * 2
             + bytes(18)),
    'tiff': b'II*\0' + struct.pack('<IH', 8, 4) + b''.join(struct.pack('<HHII', tag, 4, 1, value) for tag, value in (
        (256, 90_000), (257, 90_000), (262, 1), (273, 8))) + bytes(4),
    'png-profile': _png(2, 2, 8, 0, b'\0\1\2\0\3\4', before=_chunk(
        b'iCCP', b'a\0\0' + zlib.compress(bytes(1 << 26), 9))),
    'png-texts': _png(2, 2, 8, 0, b'\0\1\2\0\3\4', before=80 * _chunk(
        b'zTXt', b'a\0\0' + zlib.compress(bytes(1 << 20), 9))),
    'png-text': _png(2, 2, 8, 0, b'\0\1\2\0\3\4', before=_chunk(
        b'zTXt', b'a\0\0' + zlib.compress(bytes(1 << 26), 9))),
}


@pytest.mark.parametrize('name', BOMBS)
def test_a_decompression_bomb_is_not_decoded(name):
    assert _reason(BOMBS[name]) == 'too_large'


def test_a_jpeg_with_too_many_pixels():
    jpeg = bytearray(testing.image_bytes('JPEG'))
    start = jpeg.index(b'\xff\xc0')
    jpeg[start + 5:start + 9] = struct.pack('>HH', 60_000, 60_000)
    assert _reason(bytes(jpeg)) == 'too_large'
    with pytest.raises(Rejection, match='too_large'):
        readers.read('image', testing.image_bytes(), SPEC, Limits(pixels=300))


def test_too_many_scans_or_chunks_are_not_decoded():
    jpeg = testing.image_bytes('JPEG', progressive=True)
    scans = jpeg.count(b'\xff\xda')
    last = jpeg[jpeg.rindex(b'\xff\xda'):-2]
    assert 1 < scans < 20
    assert _read(jpeg[:-2] + last * (200 - scans) + jpeg[-2:])['height'] == 16
    assert _reason(jpeg[:-2] + last * (201 - scans) + jpeg[-2:]) == 'too_large'
    assert _reason(_png(2, 2, 8, 0, b'\0\1\2\0\3\4', before=_chunk(b'tEXt', b'a\0') * 100_000)) == 'too_large'


def test_nothing_is_printed(tmp_path):
    files = [testing.write(tmp_path, f'{i}', content) for i, content in enumerate([
        *BOMBS.values(), testing.image_bytes('TIFF')[:90],
        testing.image_bytes('JPEG', exif=b'Exif\0\0II*\0' + b'\x09' * 9), _saved(Image.new('1', (9500, 9500)), 'PNG')])]
    code = ('import sys\nfrom media import readers\nfrom media.rejections import Rejection\n'
            'for path in sys.argv[1:]:\n    try:\n'
            '        readers.read("image", path, None, readers.Limits(pixels=10**8))\n'
            '    except Rejection:\n        pass')
    result = subprocess.run([sys.executable, '-W', 'always', '-c', code, *files], capture_output=True, text=True,
                            timeout=60)
    assert (result.returncode, result.stdout, result.stderr) == (0, '', '')


@pytest.mark.parametrize('kind', ['PNG', 'JPEG', 'GIF', 'BMP', 'WEBP', 'TIFF'])
def test_truncated_files(kind):
    content = testing.image_bytes(kind, size=(80, 60))
    assert _reason(content[:len(content) * 2 // 3]) == 'truncated'


def test_a_thumbnail_does_not_hide_that_a_jpeg_is_truncated():
    thumbnail = testing.image_bytes('JPEG', size=(8, 8))
    content = testing.image_bytes('JPEG', size=(80, 60), exif=b'Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0' + thumbnail)
    assert _read(content)['image'] == content and content.count(b'\xff\xd9') == 2
    assert _reason(content[:-2]) == _reason(content[:-200]) == 'truncated'


def test_bad_images():
    png = testing.image_bytes('PNG')
    assert _reason(b'') == 'empty'
    assert _reason(png[:-30]) == 'truncated'
    assert _reason(testing.image_bytes('JPEG', size=(80, 60))[:-2]) == 'truncated'
    assert _reason(b'hello, this is no picture') == 'unsupported'
    assert _reason(b'\xff\xd8' + b'x' * 50 + b'\xff\xd9') == 'undecodable'
    with pytest.raises(Rejection, match='^undecodable: The header of the TIFF cannot be decoded: it is damaged'):
        _read(b'II*\0' + bytes(20))
    # A flipped bit of the pixels, or of their checksum: Pillow would not notice, and TensorFlow would end the training.
    start = png.index(b'IDAT')
    length, = struct.unpack_from('>I', png, start - 4)
    with pytest.raises(Rejection, match="^truncated: The PNG ends within its IDAT chunk.$"):
        _read(png[:start + 10])
    for position in (start + 20, start + 4 + length):
        broken = bytearray(png)
        broken[position] ^= 1
        assert _reason(bytes(broken)) == 'undecodable'


@pytest.mark.parametrize('codec, pix_fmt', [('ljpeg', 'bgr24'), ('jpegls', 'rgb24')])
def test_what_pillow_does_not_read_ffmpeg_does(codec, pix_fmt):
    out = io.BytesIO()
    with av.open(out, 'w', format='image2pipe') as file:
        stream = file.add_stream(codec, rate=1)
        (stream.width, stream.height), stream.pix_fmt = (20, 16), pix_fmt
        file.mux(stream.encode(av.VideoFrame.from_ndarray(RGB, format='rgb24').reformat(format=pix_fmt)))
        file.mux(stream.encode())
    content = out.getvalue()
    with pytest.raises(OSError):
        Image.open(io.BytesIO(content)).load()
    features = _read(content)
    np.testing.assert_array_equal(_pixels(features['image']), RGB)
    assert (features['height'], features['width']) == (16, 20)
    with pytest.raises(Rejection, match='too_large'):
        readers.read('image', content, SPEC, Limits(pixels=300))
    assert _reason(content[:len(content) * 2 // 3]) in ('truncated', 'undecodable')


def test_a_rejection_names_the_decoders():
    for content, decoders in ((b'\xff\xd8' + b'x' * 50 + b'\xff\xd9', 'Pillow and FFmpeg'),
                              (b'II*\0' + bytes(20), 'Pillow')):
        with pytest.raises(Rejection, match=rf'^undecodable: The header .* rare kind \({decoders}\).$'):
            _read(content)

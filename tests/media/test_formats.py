"""media.readers.formats: what a file is, in words. Nobody should have to read hex or a library's message."""

import gzip
import io
import random
import re
import struct
import tarfile
import zipfile

import pytest
from PIL import Image

from media import readers
from media.readers import formats
from media.rejections import Rejection
from model_code.modalities import MODALITIES
from tests import testing


def _box_file(brand: bytes) -> bytes:
    """An ISO base media file: its first box, and one without an index."""
    return struct.pack('>I4s4sI4s', 20, b'ftyp', brand, 0, brand) + struct.pack('>I4s', 16, b'mdat') + b'12345678'


def _saved(kind: str, mode: str = 'RGB', **options) -> bytes:
    out = io.BytesIO()
    Image.new(mode, (40, 30)).save(out, kind, **options)
    return out.getvalue()


def _zip(*names: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, 'w') as archive:
        for name in names:
            archive.writestr(name, 'application/vnd.oasis.opendocument.text' if name == 'mimetype' else 'x')
    return out.getvalue()


def _tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode='w') as archive:
        archive.addfile(tarfile.TarInfo('a.jpg'))
    return out.getvalue()


SVG = (b'<?xml version="1.0" encoding="UTF-8"?>\n<!-- drawn -->\n<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "x">\n'
       b'<svg xmlns="http://www.w3.org/2000/svg"/>')
FILES = {
    'a JPEG XL image': bytes.fromhex('ff0afa7f0190080601') + bytes(99),
    'a camera RAW (CR3) image': _box_file(b'crx '),
    'a camera RAW (CR2) image': b'II*\0\x10\0\0\0CR\2\0' + bytes(200),
    'a camera RAW (RAF) image': b'FUJIFILMCCD-RAW 0201' + bytes(200),
    'a Photoshop image': b'8BPS\0\1' + bytes(100),
    'a JPEG 2000 image': _saved('JPEG2000'),
    'an ICO image': _saved('ICO'),
    'a PNM image': _saved('PPM', 'L'),
    'a DICOM image': bytes(128) + b'DICM' + bytes(99),
    'an SVG drawing': SVG,
    'a PDF document': b'%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n',
    'a PostScript document': _saved('EPS'),
    'a Word document': _zip('[Content_Types].xml', '_rels/.rels', 'word/document.xml'),
    'an OpenDocument document': _zip('mimetype'),
    'an old Office document (Word, Excel, PowerPoint)': bytes.fromhex('d0cf11e0a1b11ae1') + bytes(500),
    'a ZIP archive': _zip('a.jpg'),
    'a gzip archive': gzip.compress(b'x'),
    'a tar archive': _tar(),
    'an HTML page': b'\n<!DOCTYPE html>\n<html><title>404 Not Found</title></html>',
    'an XML document': b'<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code></Error>',
    'a JSON file': b'{"message": "Not Found"}',
    'a Git LFS pointer': b'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n',
    'a text file': 'MAC addresses of the caf\u00e9\n'.encode(),
    'a file of zeros': bytes(5000),
    'a NumPy array': b'\x93NUMPY\1\0' + bytes(99),
    'a program': b'MZ\x90\0\3' + bytes(99),
    'an AMR sound': b'#!AMR\n' + bytes(range(99)),
    'a MIDI file (notes)': b'MThd\0\0\0\6\0\1\0\1\0`' + bytes(40),
    'a Windows Media (WMA or WMV) sound or video': bytes.fromhex('3026b2758e66cf11a6d900aa0062ce6c') + bytes(99),
    'a Flash (FLV) video': b'FLV\1\5\0\0\0\x09' + bytes(99),
}
KINDS = {'image': ('an image', ('image', 'drawing'), 'JPEG or PNG'),
         'audio': ('a sound', ('sound', 'video'), 'WAV, FLAC or MP3'), 'video': ('a video', ('video',), 'MP4')}


def _rejection(modality: str, content: bytes) -> Rejection:
    with pytest.raises(Rejection) as caught:
        readers.read(modality, content, MODALITIES[modality].input_class())
    return caught.value


@pytest.mark.parametrize('what', FILES)
def test_a_file_is_named_in_words(what):
    for modality, (kind, convertible, target) in KINDS.items():
        rejection = _rejection(modality, FILES[what])
        assert rejection.reason == 'unsupported'
        if what.endswith(convertible):
            assert rejection.detail == f'It is {what}. Convert it to {target}.'
        else:
            assert rejection.detail.startswith(f'It is {what}, not {kind}.')


def test_hints():
    for what, hint in (('an HTML page', ' Perhaps an error page was saved under this name.'),
                       ('a Git LFS pointer', ' Run `git lfs pull` to get the file itself.')):
        assert _rejection('image', FILES[what]).detail == f'It is {what}, not an image.{hint}'
    assert _rejection('image', b'\x89\x01').detail == ('Its format is unknown. It must be one of PNG, JPEG, GIF, BMP, '
                                                       'WebP, TIFF, HEIC and AVIF.')


@pytest.mark.parametrize('content, what', [
    (testing.image_bytes(), 'a PNG image'), (testing.image_bytes('JPEG'), 'a JPEG image'),
    (testing.image_bytes('GIF', 'P'), 'a GIF image'), (testing.image_bytes('BMP'), 'a BMP image'),
    (testing.image_bytes('WEBP'), 'a WebP image'), (testing.image_bytes('TIFF'), 'a TIFF image'),
    (_box_file(b'heic'), 'a HEIC image'), (_box_file(b'avif'), 'an AVIF image'),
    (testing.wav_bytes(), 'a WAV sound'), (testing.wav_bytes(kind='FLAC'), 'a FLAC sound'),
    (testing.wav_bytes(kind='AIFF'), 'an AIFF sound'),
    (testing.wav_bytes(kind='OGG', subtype='VORBIS'), 'an Ogg sound'),
    (testing.wav_bytes(kind='MP3', subtype='MPEG_LAYER_III'), 'an MP3 sound'), (testing.mp4_bytes(), 'an MP4 video'),
    (testing.numbered_clip('avi'), 'an AVI video'), (testing.numbered_clip('mov'), 'a MOV video'),
    (testing.numbered_clip('matroska'), 'a Matroska or WebM video'),
    (testing.numbered_clip('mpegts'), 'an MPEG transport stream video'),
])
def test_what_readers_read_has_a_name_too(content, what):
    assert formats.describe(content) == what


@pytest.mark.parametrize('tags', [{50706: b'\1\4\0\0'}, {254: 1, 330: 8}], ids=['DNG', 'preview first'])
def test_a_raw_image_is_not_taken_for_its_preview(tags):
    assert str(_rejection('image', _saved('TIFF', tiffinfo=tags))) == (
        'unsupported: It is a camera RAW image. Convert it to JPEG or PNG.')


def test_text_in_other_encodings_and_cut_within_a_character():
    for content in ('hello world'.encode('utf-16'), b'\xef\xbb\xbfhello', ('x' + '\u00e9' * 5000).encode()):
        assert formats.describe(content) == 'a text file'
    assert formats.describe(b'caf\xe9') is None and formats.describe(b'') is None


@pytest.mark.parametrize('content', [
    b'\xff\xd8\xff\xe0' + bytes(20), testing.image_bytes('GIF', 'P')[:20], testing.image_bytes('TIFF')[:60],
    b'\xff\xd8\xff\xe0' + bytes(range(256)) + b'\xff\xd9', b'fLaC' + bytes(range(200)), b'OggS' + bytes(range(200)),
    b'\xff\xfb\x90\0' + bytes(range(256)) * 9, b'ID3\3\0\0\0\0\0\x0a' + bytes(10) + b'garbage garbage',
    b'RIFF\xff\xff\xff\xffAVI LIST' + bytes(range(256)), b'\x1aE\xdf\xa3' + bytes(range(256)),
    b'\0\0\1\xba' + bytes(range(256)), struct.pack('>I4s', 3, b'ftyp') + bytes(50), b'GG' + bytes(186) + b'GG' * 100,
    b'\x89PNG\r\n\x1a\n\0\0\0\x0d\1\2\3\4', b'RIFF\x24\0\0\0WEBPVP8 ', b'RIFF\x24\0\0\0WAVEfmt \x10\0\0\0' + bytes(30),
    random.Random(0).randbytes(500)], ids=range(17))
def test_no_message_of_a_library_and_no_bytes_are_shown(content):
    for modality in MODALITIES:
        detail = _rejection(modality, content).detail
        assert re.fullmatch(r'(It|Its|The|One|After|There|No decoder) [\w ,.:()-]+\.', detail), detail
        assert not re.search(r'\\x|0x|Error|Invalid|errno|cannot identify|unrecognised', detail), detail

"""The endings of each modality are those that its reader reads: a file is made for each, and read."""

import io
import pathlib

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from media import readers
from media.rejections import Rejection
from model_code.modalities import MODALITIES
from tests import testing

SPECS = {spec.modality: spec for spec in testing.INPUTS}


def _image(kind, **options):
    return lambda: testing.image_bytes(kind, **options)


def _two_pictures() -> bytes:
    pictures = [Image.fromarray(np.full((16, 20, 3), level, np.uint8)) for level in (50, 200)]
    out = io.BytesIO()
    pictures[0].save(out, 'MPO', save_all=True, append_images=pictures[1:])
    return out.getvalue()


def _heif() -> bytes:
    out = io.BytesIO()
    pillow_heif.from_pillow(Image.open(io.BytesIO(testing.image_bytes(size=(64, 64))))).save(out)
    return out.getvalue()


def _sound(container, codec, **fields):
    return lambda: testing.track_bytes(container, codec, **fields)


def _wav(**fields):
    return lambda: testing.wav_bytes(**fields)


def _clip(container, codec='libx264', **options):
    return lambda: testing.numbered_clip(container, codec, **options)


def _film(container, codec='aac', picture='mpeg4'):
    """The sound of a video."""
    return lambda: testing.track_bytes(container, codec, picture=picture)


MAKERS = {
    'image': {
        '.jpg': _image('JPEG'), '.jpeg': _image('JPEG'), '.jpe': _image('JPEG'), '.jfif': _image('JPEG'),
        '.mpo': _two_pictures, '.png': _image('PNG'), '.apng': _image('PNG', save_all=True), '.gif': _image('GIF'),
        '.bmp': _image('BMP'), '.dib': _image('BMP'), '.webp': _image('WEBP'), '.tif': _image('TIFF'),
        '.tiff': _image('TIFF', compression='tiff_lzw'), '.heic': _heif, '.heif': _heif,
        '.hif': _heif, '.avif': _clip('avif', 'libaom-av1', numbers=range(1))},
    'audio': {
        '.wav': _wav(), '.flac': _wav(kind='FLAC'), '.mp3': _sound('mp3', 'libmp3lame'), '.mp2': _sound('mp2', 'mp2'),
        '.ogg': _wav(kind='OGG', subtype='VORBIS'), '.oga': _wav(kind='OGG', subtype='VORBIS'),
        '.ogv': _film('ogg', 'libvorbis', 'libvpx'), '.opus': _sound('opus', 'libopus'), '.m4a': _sound('ipod', 'aac'),
        '.m4b': _sound('ipod', 'aac'), '.mka': _sound('matroska', 'flac'), '.weba': _sound('webm', 'libopus'),
        '.aac': _sound('adts', 'aac'), '.aif': _wav(kind='AIFF'), '.aiff': _wav(kind='AIFF'),
        '.aifc': _wav(kind='AIFF', subtype='ULAW'),
        '.mp4': _film('mp4'), '.mov': _film('mov'), '.qt': _film('mov'), '.m4v': _film('mp4'),
        '.f4v': _film('f4v', picture='libx264'),
        '.3gp': _film('3gp'), '.3g2': _film('3g2'), '.avi': _film('avi', 'libmp3lame'), '.mkv': _film('matroska'),
        '.webm': _sound('webm', 'libopus'), '.mpg': _film('mpeg', 'mp2'), '.mpeg': _film('mpeg', 'mp2'),
        '.mpe': _film('mpeg', 'mp2'), '.vob': _film('vob', 'ac3'), '.ts': _film('mpegts'), '.mts': _film('mpegts'),
        '.m2ts': _film('mpegts'), '.m2t': _film('mpegts')},
    'video': {
        '.mp4': _clip('mp4'), '.mov': _clip('mov'), '.qt': _clip('mov'), '.m4v': _clip('mp4'), '.f4v': _clip('f4v'),
        '.3gp': _clip('3gp'), '.3g2': _clip('3g2'), '.avi': _clip('avi', 'mpeg4'), '.mkv': _clip('matroska'),
        '.webm': _clip('webm', 'libvpx'), '.mpg': _clip('mpeg', 'mpeg1video', rate=25),
        '.mpeg': _clip('mpeg', 'mpeg2video', rate=25), '.mpe': _clip('mpeg', 'mpeg1video', rate=25),
        '.vob': _clip('vob', 'mpeg2video', rate=25), '.ts': _clip('mpegts'),
        '.mts': _clip('mpegts', mpegts_m2ts_mode='1'),
        '.m2ts': _clip('mpegts', mpegts_m2ts_mode='1'), '.m2t': _clip('mpegts'),
        '.gif': _clip('gif', 'gif', pix_fmt='rgb8')},
    'text': {'.txt': lambda: b'A text.'},
}


@pytest.mark.parametrize('row', MODALITIES.values(), ids=MODALITIES)
def test_there_is_a_file_for_each_ending_and_no_other(row):
    assert sorted(MAKERS[row.name]) == sorted(row.endings + row.other_endings)
    assert not set(row.unread_endings) & set(MAKERS[row.name])
    assert all(ending == ending.lower() and ending.startswith('.') for ending in row.unread_endings)
    documented = (pathlib.Path(__file__).parents[2] / 'docs/your_data.md').read_text()
    taken, unread = (' '.join(endings) for endings in (row.endings + row.other_endings, row.unread_endings))
    assert f'| {row.name} | `{taken}` | `{unread}` |' in documented


@pytest.mark.parametrize('modality, ending', [(name, ending) for name, made in MAKERS.items() for ending in made])
def test_the_reader_reads_what_has_the_ending(tmp_path, modality, ending):
    row = MODALITIES[modality]
    path = testing.write(tmp_path, f'media{ending}', MAKERS[modality][ending]())
    features = readers.read(modality, str(path), SPECS[modality])
    assert features[row.feature] and all(features[name] > 0 for name in row.sizes)


@pytest.mark.parametrize('modality, kind', [
    ('image', 'PPM'), ('image', 'JPEG2000'), ('image', 'TGA')])
def test_what_is_not_read_is_not_among_them(modality, kind):
    endings = {ending for ending, name in Image.registered_extensions().items() if name == kind}
    assert endings and not endings & {*MODALITIES[modality].endings, *MODALITIES[modality].other_endings}
    with pytest.raises(Rejection, match='unsupported'):
        readers.read(modality, testing.image_bytes(kind), SPECS[modality])


@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'GIF', 'BMP', 'DIB', 'WEBP', 'TIFF', 'MPO'])
def test_every_ending_that_pillow_knows_for_a_format_that_is_read_is_there(kind):
    Image.init()
    row = MODALITIES['image']
    endings = {ending for ending, name in Image.registered_extensions().items() if name == kind}
    assert endings and endings <= {*row.endings, *row.other_endings}


@pytest.mark.parametrize('content, what', [
    (b'import { a } from "./b";\nexport const c: number = 1;\n', 'a text file'),
    (b'\x7fELF' + bytes(100), 'a program')])
def test_source_code_with_the_ending_of_a_video_says_what_it_is(tmp_path, content, what):
    path = testing.write(tmp_path, 'index.ts', content)
    with pytest.raises(Rejection, match=f'It is {what}, not a video'):
        readers.read('video', str(path), testing.VIDEO_SPEC)

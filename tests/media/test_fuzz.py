"""Mutates valid files of every format: readers must return features within the limits, or raise Rejection.

Each format is read in a process of its own. So a decoder that crashes, hangs, prints or takes too much memory is a
failure of the test, which names the file. A mutation depends only on the format's name and a number.
"""

import io
import multiprocessing
import os
import pathlib
import resource
import struct
import time
import traceback
import zlib

import numpy as np
import pytest
from PIL import Image

from media import readers
from media.rejections import Rejection
from model_code.modalities import AudioInput, ImageInput, Limits, VideoInput
from tests import testing

MUTATIONS = 70  # per format
# A slow machine makes fewer. Limits on a format's CPU time and on its time altogether; the least number of files.
CPU_SECONDS, PATIENCE_SECONDS, LEAST = 1.5, 120.0, 15
MEMORY_KB = 1 << 20

SPECS = {'image': ImageInput(), 'audio': AudioInput(), 'video': VideoInput(frame_rate=8.0, short_side=16)}
LIMITS = {'image': Limits(pixels=1 << 20, bytes=1 << 20),
          'audio': Limits(bytes=1 << 20, seconds=5.0, decode_seconds=20.0),
          'video': Limits(bytes=1 << 20, pixels=1 << 18, seconds=5.0, frames=50, decode_seconds=20.0)}


def _image(kind, mode='RGB', **options):
    return lambda: testing.image_bytes(kind, mode, size=(40, 32), **options)


def _exif():
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, 'a description'
    return exif


def _frames(kind, **options):
    out = io.BytesIO()
    frames = [Image.open(io.BytesIO(testing.image_bytes('PNG', 'RGBA', seed=i))) for i in range(3)]
    frames[0].save(out, kind, save_all=True, append_images=frames[1:], **options)
    return out.getvalue()


def _heic():
    import pillow_heif
    out = io.BytesIO()
    pillow_heif.from_pillow(Image.open(io.BytesIO(testing.image_bytes(size=(40, 32))))).save(out)
    return out.getvalue()


def _sound(kind, subtype, rate, channels):
    return lambda: testing.wav_bytes(0.2, rate, channels, subtype=subtype, kind=kind)


def _track(container, codec, picture=''):
    return lambda: testing.track_bytes(container, codec, 0.3, picture=picture)


def _clip(container, codec, pix_fmt='yuv420p', rate=8):
    return lambda: testing.numbered_clip(container, codec, pix_fmt, range(4), rate, size=(32, 24), gop=2)


FORMATS = {
    'image': {
        'jpeg': _image('JPEG'), 'jpeg-progressive': _image('JPEG', progressive=True), 'jpeg-grey': _image('JPEG', 'L'),
        'jpeg-cmyk': _image('JPEG', 'CMYK'), 'jpeg-exif': lambda: testing.image_bytes('JPEG', exif=_exif()),
        'png': _image('PNG'), 'png-palette': _image('PNG', 'P', transparency=3), 'png-1': _image('PNG', '1'),
        'png-16': _image('PNG', 'I;16'), 'png-alpha': _image('PNG', 'RGBA'),
        'png-frames': lambda: _frames('PNG'), 'png-exif': lambda: testing.image_bytes('PNG', exif=_exif()),
        'gif': _image('GIF', 'P'), 'gif-frames': lambda: _frames('GIF'),
        'bmp': _image('BMP'), 'bmp-palette': _image('BMP', 'P'),
        'webp': _image('WEBP'), 'webp-lossless': _image('WEBP', lossless=True), 'webp-alpha': _image('WEBP', 'RGBA'),
        'webp-frames': lambda: _frames('WEBP'),
        'heic': _heic, 'avif': _image('AVIF'), 'avif-alpha': _image('AVIF', 'RGBA'),
        'tiff': _image('TIFF'), 'tiff-lzw': _image('TIFF', compression='tiff_lzw'),
        'tiff-deflate': _image('TIFF', compression='tiff_adobe_deflate'), 'tiff-16': _image('TIFF', 'I;16'),
        'tiff-jpeg': _image('TIFF', compression='jpeg'), 'tiff-fax': _image('TIFF', '1', compression='group4'),
    },
    'audio': {
        'wav-16': _sound('WAV', 'PCM_16', 16000, 1), 'wav-24': _sound('WAV', 'PCM_24', 44100, 2),
        'wav-float': _sound('WAV', 'FLOAT', 48000, 3), 'wav-ulaw': _sound('WAV', 'ULAW', 8000, 1),
        'rf64': _sound('RF64', 'PCM_16', 16000, 1), 'flac': _sound('FLAC', 'PCM_16', 44100, 2),
        'aiff': _sound('AIFF', 'PCM_16', 22050, 1),
        'vorbis': _sound('OGG', 'VORBIS', 44100, 1), 'opus': _sound('OGG', 'OPUS', 48000, 1),
        'mp3': _sound('MP3', 'MPEG_LAYER_III', 44100, 1), 'm4a': _track('ipod', 'aac'), 'aac': _track('adts', 'aac'),
        'mp4-sound': _track('mp4', 'aac', picture='mpeg4'), 'mov-pcm': _track('mov', 'pcm_s16le'),
        'webm-opus': _track('webm', 'libopus'), 'mkv-flac': _track('matroska', 'flac'),
        'avi-mp3': _track('avi', 'libmp3lame', picture='mpeg4'),
        'ts-sound': _track('mpegts', 'aac', picture='mpeg2video'),
    },
    'video': {
        'mp4-h264': _clip('mp4', 'libx264'), 'mp4-h265': _clip('mp4', 'libx265'), 'mp4-mpeg4': _clip('mp4', 'mpeg4'),
        'mov-prores': _clip('mov', 'prores_ks', 'yuv422p10le'), 'webm-vp8': _clip('webm', 'libvpx'),
        'webm-vp9': _clip('webm', 'libvpx-vp9'), 'webm-alpha': _clip('webm', 'libvpx-vp9', 'yuva420p'),
        'mkv-h264': _clip('matroska', 'libx264'),
        'avi-mjpeg': _clip('avi', 'mjpeg', 'yuvj420p'), 'gif-video': _clip('gif', 'gif', 'rgb8', 10),
        'ts-h264': _clip('mpegts', 'libx264'), 'ps-mpeg2': _clip('dvd', 'mpeg2video', rate=25),
    },
}
# What is spliced in: files of other formats, and bytes that are not media.
DONORS = (_image('JPEG'), _image('PNG', 'P'), _image('WEBP'), _sound('WAV', 'PCM_16', 8000, 1), lambda: bytes(500),
          lambda: b'\xff' * 500, lambda: b'<html><body>404 Not Found</body></html>')


def mutated(content: bytes, rng: np.random.Generator, donors: list[bytes]) -> bytes:
    """A file damaged in one to three ways."""
    for _ in range(rng.integers(1, 4)):
        damage = _DAMAGES[rng.integers(len(_DAMAGES))]
        content = bytes(damage(bytearray(content), rng, donors)) or content
    # Wrong checksums keep decoders from reading on, so they are repaired half of the time.
    return _with_checksums(content) if content.startswith(b'\x89PNG') and rng.random() < 0.5 else content


def _position(content, rng) -> int:
    """A position in the file, half of the time among the headers."""
    return int(rng.integers(max(1, min(len(content), 300) if rng.random() < 0.5 else len(content))))


def _block(content, rng) -> slice:
    start = _position(content, rng)
    return slice(start, start + 1 + int(rng.integers(min(400, len(content)))))


def _flip_bits(content, rng, donors):
    for _ in range(rng.integers(1, 9)):
        content[_position(content, rng)] ^= 1 << int(rng.integers(8))
    return content


def _truncate(content, rng, donors):
    return content[:_position(content, rng)]


def _edit_length(content, rng, donors):
    """Changes a number of two, four or eight bytes: to zero, huge, negative, slightly wrong, or anything."""
    code = rng.choice(['<H', '>H', '<I', '>I', '<Q', '>Q'])
    at, most = _position(content, rng), 256 ** struct.calcsize(code) - 1
    if at + struct.calcsize(code) <= len(content):
        old, = struct.unpack_from(code, content, at)
        values = [0, 1, most, most // 2, most // 2 + 1, old + 1, old - 1, old * 2, len(content),
                  int(rng.integers(1 << 32))]
        struct.pack_into(code, content, at, values[rng.integers(len(values))] & most)
    return content


def _splice(content, rng, donors):
    donor = donors[rng.integers(len(donors))]
    return content[:_position(content, rng)] + donor[_position(donor, rng):]


def _overwrite(content, rng, donors):
    donor = donors[rng.integers(len(donors))][:int(rng.integers(1, 200))]
    at = _position(content, rng)
    content[at:at + len(donor)] = donor
    return content


def _duplicate(content, rng, donors):
    at = _position(content, rng)
    return content[:at] + content[_block(content, rng)] * int(rng.integers(1, 5)) + content[at:]


def _remove(content, rng, donors):
    del content[_block(content, rng)]
    return content


def _append(content, rng, donors):
    return content + donors[rng.integers(len(donors))]


_DAMAGES = (_flip_bits, _flip_bits, _edit_length, _edit_length, _truncate, _splice, _overwrite, _duplicate, _remove,
            _append)


def _with_checksums(content: bytes) -> bytes:
    """The PNG with correct checksums, as far as its chunks can be followed."""
    content, at = bytearray(content), 8
    while at + 12 <= len(content):
        end = at + 8 + struct.unpack_from('>I', content, at)[0]
        if end + 4 > len(content):
            break
        struct.pack_into('>I', content, end, zlib.crc32(content[at + 4:end]))
        at = end + 4
    return bytes(content)


def check(modality: str, features: dict, notes: tuple):
    """Asserts that features are as readers.read_with_notes promises, within LIMITS."""
    limits = LIMITS[modality]
    assert set(notes) <= set(readers.NOTES)
    if modality == 'audio':
        assert set(features) == {'audio', 'duration_s', 'loudness_dbfs'} and -100 <= features['loudness_dbfs'] <= 0
        samples = (len(features['audio']) - 44) / 2
        assert features['audio'][:4] == b'RIFF' and features['duration_s'] == samples / 16000
        assert 0 < features['duration_s'] <= limits.seconds + 0.01
        return
    size = (features['width'], features['height'])
    assert 0 < size[0] * size[1] <= limits.pixels
    assert 0 <= features['brightness'] <= 1
    if modality == 'image':
        assert set(features) == {'image', 'height', 'width', 'brightness'}
        pictures = [features['image']]
    else:
        assert set(features) == {'frames', 'height', 'width', 'duration_s', 'brightness'}
        assert 0 < len(features['frames']) <= limits.frames and 0 < features['duration_s'] <= limits.seconds + 0.01
        pictures = features['frames']
    for picture in pictures:
        image = Image.open(io.BytesIO(picture), formats=('PNG', 'JPEG') if modality == 'image' else ('JPEG',))
        image.load()
        assert image.size == size


def _fuzz(modality: str, name: str, folder: str, mutations: int = MUTATIONS, cpu_seconds: float = CPU_SECONDS):
    """Runs in a process of its own. Writes folder/{media, number, outcome}, and the output of libraries to printed."""
    folder = pathlib.Path(folder)
    whole, donors = FORMATS[modality][name](), [donor() for donor in DONORS]
    donors.append(whole)
    printed = os.open(folder / 'printed', os.O_WRONLY | os.O_CREAT)
    os.dup2(printed, 1)
    os.dup2(printed, 2)
    read = rejected = 0
    begin = time.process_time()
    try:
        for number in range(mutations + 1):
            rng = np.random.default_rng([zlib.crc32(name.encode()), number])
            (folder / 'number').write_text(str(number))
            (folder / 'media').write_bytes(mutated(whole, rng, donors) if number else whole)
            segment = (0.05, 0.2) if modality != 'image' and number % 4 == 1 else (None, None)
            try:
                check(modality, *readers.read_with_notes(modality, folder / 'media', SPECS[modality], LIMITS[modality],
                                                         *segment))
                read += 1
            except Rejection as error:
                assert number, f'The undamaged file is rejected: {error}'
                assert error.detail
                rejected += 1
            if time.process_time() - begin > cpu_seconds:
                break
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert peak < MEMORY_KB, f'It took {peak >> 10} MB.'
    except BaseException:
        (folder / 'outcome').write_text(traceback.format_exc())
        raise SystemExit(1) from None
    (folder / 'outcome').write_text(f'{read} {rejected}')


def _run(context, target, args, folder: pathlib.Path, patience: float = PATIENCE_SECONDS) -> tuple[int, int, str]:
    """Runs a target in a process: (files read, files rejected, what was printed). AssertionError if it fails."""
    process = context.Process(target=target, args=(*args, os.fspath(folder)), daemon=True)
    process.start()
    process.join(patience)
    hung = process.is_alive()
    if hung:
        process.kill()
        process.join()
    where = f'{", ".join(args)}, mutation {(folder / "number").read_text()}, the file is {folder / "media"}'
    assert not hung, f'No end after {patience:g} s: {where}'
    assert process.exitcode >= 0, f'Ended by signal {-process.exitcode}: {where}'
    outcome = (folder / 'outcome').read_text()
    assert process.exitcode == 0, f'{where}\n{outcome}'
    read, rejected = map(int, outcome.split())
    return read, rejected, (folder / 'printed').read_text(errors='replace')


@pytest.fixture(scope='module')
def context():
    """Makes processes in which only the readers are imported: no TensorFlow, no threads."""
    forkserver = multiprocessing.get_context('forkserver')
    forkserver.set_forkserver_preload([__name__, *(f'{readers.__name__}.{modality}' for modality in FORMATS)])
    return forkserver


@pytest.mark.parametrize('modality, name', [(modality, name) for modality, names in FORMATS.items() for name in names])
def test_damaged_files_give_features_or_a_rejection(modality, name, context, tmp_path):
    read, rejected, printed = _run(context, _fuzz, (modality, name), tmp_path)
    assert read + rejected > LEAST and read and rejected
    # libtiff prints to standard error, and Pillow has no way to stop it.
    assert printed == '' or name.startswith('tiff')


def _broken(how: str, folder: str):
    (pathlib.Path(folder) / 'number').write_text('7')
    (pathlib.Path(folder) / 'outcome').write_text('ValueError')
    {'abort': os.abort, 'hang': lambda: time.sleep(60), 'strange': lambda: os._exit(1)}[how]()


@pytest.mark.parametrize('how, message', [('abort', 'signal 6: abort, mutation 7'), ('hang', 'No end after 1 s'),
                                          ('strange', 'ValueError')])
def test_a_crash_a_hang_and_another_exception_fail(how, message, context, tmp_path):
    with pytest.raises(AssertionError, match=message):
        _run(context, _broken, (how,), tmp_path, patience=1.0 if how == 'hang' else PATIENCE_SECONDS)


def test_features_beyond_the_limits_fail():
    features = {'image': testing.image_bytes(), 'height': 16, 'width': 20, 'brightness': 0.5}
    check('image', features, ('one_colour',))
    for wrong in ({'width': 21}, {'height': 0}, {'width': 1 << 20}, {'brightness': 1.1}, {'extra': 1}):
        with pytest.raises(AssertionError):
            check('image', features | wrong, ())

"""Readers: what is passed on untouched, what is converted, and the reason for each kind of bad file."""

import io
import os
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
import soundfile
from PIL import Image

from components.media_example_gen import readers
from model_code.modalities import AudioInput, ImageInput, VideoInput
from tests import testing

SPECS = {'image': ImageInput(), 'audio': AudioInput(), 'video': VideoInput(frame_rate=8.0, short_side=16)}


def _read(modality, content, spec=None):
    return readers.read(modality, content, spec or SPECS[modality])


def _reason(modality, content):
    with pytest.raises(readers.MediaError) as caught:
        _read(modality, content)
    assert caught.value.detail and '\n' not in caught.value.detail
    return caught.value.reason


# Images.

@pytest.mark.parametrize('kind, mode', [
    ('PNG', 'L'), ('PNG', 'RGB'), ('PNG', 'RGBA'), ('PNG', 'P'), ('PNG', 'LA'), ('JPEG', 'RGB'), ('JPEG', 'L')])
def test_images_that_tensorflow_decodes_pass_byte_for_byte(kind, mode):
    content = testing.image_bytes(kind, mode, size=(20, 16))
    assert _read('image', content) == {'image': content, 'height': 16, 'width': 20}


@pytest.mark.parametrize('kind, mode', [('PNG', 'L'), ('PNG', 'RGB'), ('PNG', 'RGBA'), ('PNG', 'P'), ('PNG', 'LA'),
                                        ('PNG', '1'), ('PNG', 'I;16'), ('JPEG', 'RGB'), ('JPEG', 'L'),
                                        ('JPEG', 'CMYK')])
def test_what_is_stored_decodes_in_core_tensorflow_as_in_pillow(kind, mode):
    import tensorflow as tf
    content = testing.image_bytes(kind, mode)
    pixels = tf.io.decode_image(_read('image', content)['image'], channels=3, expand_animations=False).numpy()
    image = Image.open(io.BytesIO(content))
    if mode == 'I;16':
        expected = np.repeat((np.asarray(image) >> 8).astype(np.uint8)[..., None], 3, axis=2)
    else:
        expected = np.asarray(image.convert('RGB'))
    # TensorFlow's JPEG decoder may round otherwise than Pillow's; PNG is exact.
    assert np.abs(pixels.astype(int) - expected).max() <= (4 if kind == 'JPEG' and mode != 'CMYK' else 0)


@pytest.mark.parametrize('kind', ['JPEG', 'PNG'])
def test_exif_rotation_is_applied(kind):
    exif = Image.Exif()
    exif[0x0112] = 6  # Turn by a quarter, clockwise.
    content = testing.image_bytes(kind, size=(20, 16), exif=exif)
    features = _read('image', content)
    assert (features['height'], features['width']) == (20, 16)
    stored = np.asarray(Image.open(io.BytesIO(features['image'])))
    np.testing.assert_array_equal(stored, np.rot90(np.asarray(Image.open(io.BytesIO(content))), -1))
    assert Image.open(io.BytesIO(features['image'])).getexif().get(0x0112, 1) == 1


def test_bad_images():
    png, jpeg = testing.image_bytes('PNG'), testing.image_bytes('JPEG')
    assert _reason('image', b'') == 'empty'
    assert _reason('image', png[:-30]) == 'truncated'
    assert _reason('image', jpeg[:len(jpeg) // 2]) == 'truncated'
    assert _reason('image', testing.image_bytes('JPEG', size=(80, 60))[:-2]) == 'truncated'
    assert _reason('image', b'GIF89a' + b'\0' * 40) == 'unsupported'
    assert _reason('image', b'hello, this is no picture') == 'unsupported'
    assert _reason('image', b'\xff\xd8' + b'x' * 50 + b'\xff\xd9') == 'undecodable'
    # A flipped bit of the pixels: Pillow alone would not see it, TensorFlow would stop training.
    broken = bytearray(png)
    broken[png.index(b'IDAT') + 20] ^= 1
    assert _reason('image', bytes(broken)) == 'undecodable'


def test_a_wrong_check_sum_of_png_pixels_is_found():
    png = bytearray(testing.image_bytes('PNG'))
    start = png.index(b'IDAT')
    length, = struct.unpack_from('>I', png, start - 4)
    png[start + 4 + length] ^= 0xFF
    assert Image.open(io.BytesIO(bytes(png))).load() is not None  # So Pillow is not who finds it.
    assert _reason('image', bytes(png)) == 'undecodable'


def test_a_picture_that_claims_too_many_pixels_is_not_decoded():
    def chunk(kind, body):
        return struct.pack('>I', len(body)) + kind + body + struct.pack('>I', zlib.crc32(kind + body))
    header = struct.pack('>IIBBBBB', 100_000, 100_000, 8, 2, 0, 0, 0)
    bomb = (b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(b'IDAT', zlib.compress(b'\0' * 10_000))
            + chunk(b'IEND', b''))
    assert _reason('image', bomb) == 'too_large'
    jpeg = bytearray(testing.image_bytes('JPEG'))
    start = jpeg.index(b'\xff\xc0')
    jpeg[start + 5:start + 9] = struct.pack('>HH', 60_000, 60_000)
    assert _reason('image', bytes(jpeg)) == 'too_large'


# Sounds.

def _wave(content):
    sound = soundfile.SoundFile(io.BytesIO(content))
    assert (sound.samplerate, sound.channels, sound.subtype, sound.format) == (16000, 1, 'PCM_16', 'WAV')
    return sound.read(dtype='int16')


def test_16_khz_mono_pcm16_keeps_every_sample():
    samples = np.array([-32768, -1, 0, 1, 32767, 1234], np.int16)
    out = io.BytesIO()
    soundfile.write(out, samples, 16000, subtype='PCM_16', format='WAV')
    features = _read('audio', out.getvalue())
    np.testing.assert_array_equal(_wave(features['audio']), samples)
    assert features['duration_s'] == 6 / 16000


@pytest.mark.parametrize('rate, channels, subtype', [
    (8000, 1, 'PCM_16'), (44100, 2, 'PCM_24'), (48000, 6, 'FLOAT'), (22050, 1, 'PCM_U8'), (11025, 2, 'ULAW')])
def test_other_wavs_become_16_khz_mono(rate, channels, subtype):
    features = _read('audio', testing.wav_bytes(0.5, rate, channels, frequency=440, subtype=subtype))
    wave = _wave(features['audio']) / 32768
    assert features['duration_s'] == pytest.approx(0.5, abs=0.001)
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
    assert spectrum.argmax() * 16000 / len(wave) == pytest.approx(440, abs=3)
    assert np.sqrt((wave ** 2).mean()) == pytest.approx(0.5 / np.sqrt(2), rel=0.03)


def test_resampling_leaves_no_alias_of_what_16_khz_cannot_hold():
    wave = _wave(_read('audio', testing.wav_bytes(0.5, 48000, frequency=11000))['audio']) / 32768
    assert np.abs(wave[800:-800]).max() < 0.01


def test_tensorflow_decodes_what_is_stored():
    import tensorflow as tf
    wave, rate = tf.audio.decode_wav(_read('audio', testing.wav_bytes(0.25, 8000, 2))['audio'])
    assert rate.numpy() == 16000 and wave.shape == (4000, 1)


def test_bad_sounds():
    wav = testing.wav_bytes(0.5)
    assert _reason('audio', b'') == 'empty'
    assert _reason('audio', testing.wav_bytes(0)) == 'empty'
    assert _reason('audio', wav[:-1000]) == 'truncated'
    assert _reason('audio', wav[:20]) == 'truncated'
    assert _reason('audio', testing.wav_bytes(0.5, kind='FLAC')) == 'unsupported'
    assert _reason('audio', b'RIFF\0\0\0\0WAVEfmt \x02\0\0\0xx' + b'data\x04\0\0\0abcd') == 'undecodable'
    assert _reason('audio', testing.wav_bytes(700, rate=1000)) == 'too_large'
    out = io.BytesIO()
    soundfile.write(out, np.array([0.0, np.nan, 1.0], np.float32), 16000, subtype='FLOAT', format='WAV')
    assert _reason('audio', out.getvalue()) == 'undecodable'


def test_a_wav_written_to_a_pipe_has_no_length_and_is_read_to_its_end():
    wav = bytearray(testing.wav_bytes(0.5))
    start = wav.index(b'data')
    wav[start + 4:start + 8] = b'\xff\xff\xff\xff'
    wav[4:8] = b'\xff\xff\xff\xff'
    assert _read('audio', bytes(wav))['duration_s'] == 0.5


# What no content says.

def test_paths_that_are_no_file(tmp_path):
    os.mkfifo(tmp_path / 'pipe.png')
    for path, reason in ((tmp_path / 'none.png', 'missing'), (tmp_path, 'not_a_file'),
                         (tmp_path / 'pipe.png', 'not_a_file')):
        assert _reason('image', path) == reason


def test_a_file_over_the_limit_is_not_read(tmp_path):
    with open(tmp_path / 'huge.png', 'wb') as file:
        file.truncate(readers.LIMITS['image'].bytes + 1)
    assert _reason('image', tmp_path / 'huge.png') == 'too_large'


def test_any_bytes_end_in_features_or_a_reason():
    rng = np.random.default_rng(0)
    outcomes = set()
    for modality, whole in (('image', testing.image_bytes()), ('image', testing.image_bytes('JPEG')),
                            ('audio', testing.wav_bytes(0.05)), ('video', testing.mp4_bytes(4))):
        for _ in range(60):
            content = bytearray(whole)
            for place in rng.integers(0, len(content), 8):
                content[place] = rng.integers(256)
            try:
                outcomes.add(tuple(_read(modality, bytes(content))))
            except readers.MediaError as error:
                outcomes.add(error.reason)
    assert 'undecodable' in outcomes and ('audio', 'duration_s') in outcomes


def test_reading_imports_neither_tensorflow_nor_beam():
    code = ('import sys; from components.media_example_gen import listing, readers; '
            'from components.media_example_gen.readers import audio, image, video; '
            'print([m for m in ("tensorflow", "tfx", "apache_beam") if m in sys.modules])')
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=60)
    assert result.stdout.strip() == '[]', result.stderr

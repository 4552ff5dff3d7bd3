"""Media as HTML: thumbnails, strips, spectrograms; bounded, escaped, without TensorFlow."""

import base64
import io
import re
import subprocess
import sys
import wave

import numpy as np
import pytest
from PIL import Image

from components.media_pictures import THUMBNAIL, picture, spectrogram
from media import readers
from tests import testing


def _data(html: str, kind: str) -> bytes:
    return base64.b64decode(re.search(f'data:{kind};base64,([^"]+)"', html)[1])


def test_a_small_image_keeps_every_pixel():
    encoded = testing.image_bytes(size=(20, 16))
    html = picture('image', readers.read('image', encoded, testing.IMAGE_SPEC), 'a "ramp" <b>')
    assert 'alt="a &#34;ramp&#34; &lt;b&gt;"' in html and 'class="media pixels"' in html
    shown = Image.open(io.BytesIO(_data(html, 'image/png')))
    assert np.array_equal(np.asarray(shown), np.asarray(Image.open(io.BytesIO(encoded))))


@pytest.mark.parametrize('kind', ['PNG', 'JPEG'])
def test_a_large_image_becomes_a_thumbnail(kind):
    html = picture('image', {'image': testing.image_bytes(kind, size=(1600, 800))})
    assert Image.open(io.BytesIO(_data(html, 'image/jpeg'))).size == (THUMBNAIL, THUMBNAIL // 2)
    assert f'width="{THUMBNAIL}" height="{THUMBNAIL // 2}"' in html and len(html) < 20_000


def test_a_clip_becomes_a_strip_from_its_beginning_to_its_end():
    features = readers.read('video', testing.numbered_clip(numbers=range(12), rate=8), testing.VIDEO_SPEC)
    html = picture('video', features)
    strip = np.asarray(Image.open(io.BytesIO(_data(html, 'image/jpeg')))).astype(int)
    width = (strip.shape[1] + 2) // 6
    greys = [strip[-2, i * width + width - 4].mean() for i in range(6)]  # the fourth quadrant tells the frame's number
    assert all(later > earlier + 10 for earlier, later in zip(greys, greys[1:], strict=False)), greys


def test_a_sound_has_a_spectrogram_and_a_player_of_its_beginning():
    features = readers.read('audio', testing.wav_bytes(5.0, 16000), testing.AUDIO_SPEC)
    html = picture('audio', features, 'a tone', player_seconds=2.0)
    assert 'alt="spectrogram of a tone"' in html and 'the first 2 of 5 seconds' in html
    with wave.open(io.BytesIO(_data(html, 'audio/wav'))) as played, wave.open(io.BytesIO(features['audio'])) as file:
        assert played.getnframes() == 32_000 and played.readframes(32_000) == file.readframes(32_000)
    assert '<audio' not in picture('audio', features, player_seconds=0)


def _brightest_row(hertz: float, seconds: float = 1.0) -> int:
    t = np.arange(int(16_000 * seconds)) / 16_000
    image = np.asarray(spectrogram(np.sin(2 * np.pi * hertz * t).astype(np.float32), 16_000))
    return int(image.mean(axis=1).argmax())


def test_pitch_runs_upwards():
    rows = [_brightest_row(hertz) for hertz in (200, 1000, 3000, 7000)]
    assert rows == sorted(rows, reverse=True) and rows[0] > 110 and rows[-1] < 15


def test_silence_is_dark_and_long_or_short_sounds_are_bounded():
    assert np.asarray(spectrogram(np.zeros(16_000, np.float32), 16_000)).max() == 0
    long = spectrogram(np.random.default_rng(0).uniform(-1, 1, 16_000 * 600).astype(np.float32), 16_000)
    assert long.size == (256, 128) and spectrogram(np.ones(3, np.float32), 16_000).size[0] <= 256


@pytest.mark.parametrize('value', [b'', b'RIFF', b'no picture', [], [b'x', b'y'], b'RIFF' + bytes(60)])
def test_what_cannot_be_drawn_says_so(value):
    assert picture('image', {'image': value}, '<x>') == (
        '<span class="media soft small">no picture of &lt;x&gt;</span>')


def test_it_imports_neither_tensorflow_nor_tfx():
    code = "import sys, components.media_pictures; print({'tensorflow', 'tfx'} & sys.modules.keys())"
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout == 'set()\n'

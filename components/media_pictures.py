"""Media as HTML for a page that fetches nothing: thumbnails, strips of frames, spectrograms with players.

    picture(modality, features) -> html

It takes what a reader gives or an Example holds, and returns one element with data URIs, a few kilobytes long, plus
what the player of a sound holds. The page's Content-Security-Policy must allow `img-src data:` and `media-src data:`,
and its style has the classes `media` and `pixels` (components/report/style.css).

What is drawn goes by the content, not by the modality's name: encoded pictures become a thumbnail or a strip, a WAV
file becomes a spectrogram, the beginning of a text is shown as it is. The spectrogram is computed here by numpy, with
the model's window, hop and range of decibels, because the model's own function imports TensorFlow. Use it only for
media that a sandboxed reader has decoded before. numpy and Pillow only: no TensorFlow, no TFX.
"""

import base64
import functools
import io
import wave
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from PIL import Image

from model_code import words
from model_code.modalities import get_modality

THUMBNAIL = 160  # pixels of the longer side of a picture
STRIP_FRAMES, STRIP_HEIGHT, STRIP_WIDTH = 6, 96, 960  # frames of a strip; pixels of the whole
PIXELS = 64  # a picture of at most this side is enlarged by the page, with its pixels visible
TEXT = 280  # characters of a text
PLAYER_SECONDS = 3.0  # of sound in a page: 43 kB a second
_GAP, _GAP_GREY = 2, 128  # between two frames, in pixels

_WINDOW, _HOP, _FFT, _MEL_BINS, _RANGE_DB = 0.025, 0.010, 512, 64, 80.0  # seconds, seconds, samples, bins, decibels
_FAINT_DB = 0.0  # of a tone at -40 dBFS: what is fainter does not get the brightest colour, so silence stays dark
_MAX_FRAMES, _MAX_COLUMNS = 4096, 256  # of a spectrogram: computed, and drawn
# Stops of the palette from silence to the loudest, which can be told apart in grey too.
_COLOURS = ((8, 6, 30), (74, 20, 110), (170, 45, 95), (240, 120, 50), (252, 250, 190))


def picture(modality: str, features: dict, alt: str = '', player_seconds: float = PLAYER_SECONDS) -> Markup:
    """One HTML element that shows an example's media; a text in it says so if nothing can be drawn.

    features: as a reader returns them, with the modality's feature: bytes, or a list of them. alt: what the picture is
    of, for those who cannot see it. player_seconds: how much of a sound can be played; 0 for no player.
    """
    value = features[get_modality(modality).feature]
    parts = [value] if isinstance(value, bytes) else list(value)
    try:
        if len(parts) == 1 and parts[0][:4] == b'RIFF':
            return _sound(parts[0], alt or 'a sound', player_seconds)
        if get_modality(modality).in_rows:
            text = parts[0].decode('utf-8')
            return Markup('<span class="media text">{}{}</span>').format(text[:TEXT], '...' if text[TEXT:] else '')
        return _strip(parts, alt) if len(parts) > 1 else _thumbnail(parts[0], alt or 'a picture')
    except (OSError, ValueError, EOFError, IndexError, wave.Error, Image.DecompressionBombError):
        return Markup('<span class="media soft small">no picture of {}</span>').format(alt or 'this example')


def _element(image: Image.Image, alt: str, kind: str, after: str = '', frames: int = 0) -> Markup:
    """<span class="media"> with the picture as a data URI. kind: Pillow's name of the format, JPEG or PNG.

    frames: of a strip; components/report/page.js plays them.
    """
    out = io.BytesIO()
    image.save(out, kind, **({'quality': 80} if kind == 'JPEG' else {'optimize': True}))
    pixels = ' pixels' if max(image.size) <= PIXELS else ''
    played = Markup(' data-frames="{}"').format(frames) if frames else ''
    return Markup('<span class="media{}"{}><img src="{}" width="{}" height="{}" alt="{}">{}</span>').format(
        pixels, played, _data_uri(f'image/{kind.lower()}', out.getvalue()), *image.size, alt, after)


def _data_uri(kind: str, content: bytes) -> str:
    return f'data:{kind};base64,{base64.b64encode(content).decode()}'


def _small(encoded: bytes, size: tuple[int, int]) -> Image.Image:
    """The picture in RGB, within `size` (width, height). A JPEG is decoded no larger than needed."""
    image = Image.open(io.BytesIO(encoded), formats=('JPEG', 'PNG'))
    image.draft('RGB', size)
    image = image.convert('RGB')
    image.thumbnail(size)
    return image


def _thumbnail(encoded: bytes, alt: str) -> Markup:
    image = _small(encoded, (THUMBNAIL, THUMBNAIL))
    return _element(image, alt, 'PNG' if max(image.size) <= PIXELS else 'JPEG')


def _strip(encoded: Sequence[bytes], alt: str) -> Markup:
    """Frames side by side: the middles of equal parts of the clip."""
    count = min(STRIP_FRAMES, len(encoded))
    chosen = [encoded[int((i + 0.5) * len(encoded) / count)] for i in range(count)]
    frames = [_small(frame, (STRIP_WIDTH // count, STRIP_HEIGHT)) for frame in chosen]
    strip = Image.new('RGB', (sum(frame.width for frame in frames) + _GAP * (count - 1),
                              max(frame.height for frame in frames)), (_GAP_GREY,) * 3)
    left = 0
    for frame in frames:
        strip.paste(frame, (left, 0))
        left += frame.width + _GAP
    return _element(strip, alt or f'{count} frames of a clip', 'JPEG', frames=count)


def _sound(encoded: bytes, alt: str, player_seconds: float) -> Markup:
    """A spectrogram, pitch upwards, and below it a player of the beginning."""
    with wave.open(io.BytesIO(encoded)) as file:
        rate, seconds = file.getframerate(), file.getnframes() / file.getframerate()
        if file.getnchannels() != 1 or file.getsampwidth() != 2:
            raise ValueError('A stored sound is mono PCM16.')
        content = file.readframes(file.getnframes())
    played = content[:2 * int(player_seconds * rate)]
    player = ''
    if played:
        out = io.BytesIO()
        with wave.open(out, 'wb') as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(rate)
            file.writeframes(played)
        part = '' if len(played) == len(content) else (
            f'the first {player_seconds:g} of {words.count(round(seconds), "second")}')
        player = Markup('<audio controls preload="none" src="{}" aria-label="{}"></audio>{}').format(
            _data_uri('audio/wav', out.getvalue()), f'{alt}{", " if part else ""}{part}',
            Markup('<span class="soft small">{}</span>').format(part) if part else '')
    samples = np.frombuffer(content, '<i2').astype(np.float32) / 32768
    return _element(spectrogram(samples, rate), f'spectrogram of {alt}', 'PNG', player)


def spectrogram(samples: np.ndarray, rate: int) -> Image.Image:
    """[n] float32 in [-1, 1] at `rate` Hz -> a picture of its mel spectrogram, _MEL_BINS high, at most 256 wide.

    Time runs to the right, pitch upwards to half the rate; colours span _RANGE_DB below the loudest bin.
    """
    window, hop = round(_WINDOW * rate), max(1, round(_HOP * rate))
    hop = max(hop, -(-len(samples) // _MAX_FRAMES))
    samples = np.pad(samples, (0, max(0, window - len(samples))))
    starts = np.arange(0, len(samples) - window + 1, hop)
    frames = samples[starts[:, np.newaxis] + np.arange(window)] * np.hanning(window).astype(np.float32)
    mel = np.abs(np.fft.rfft(frames, _FFT)).astype(np.float32) @ _mel_matrix(rate)
    columns = min(_MAX_COLUMNS, len(mel))
    bounds = np.linspace(0, len(mel), columns + 1).astype(int)
    mel = np.maximum.reduceat(mel, bounds[:-1], axis=0)
    decibels = 20 * np.log10(np.maximum(mel, 1e-5))
    scaled = np.clip((decibels - max(decibels.max(), _FAINT_DB)) / _RANGE_DB + 1, 0, 1)
    image = Image.fromarray((255 * scaled.T[::-1]).astype(np.uint8), 'P')
    image.putpalette(_palette())
    # Enlarged by whole numbers of pixels: short sounds have few columns.
    return image.resize((image.width * max(1, _MAX_COLUMNS // image.width), image.height * 2),
                        Image.Resampling.NEAREST)


@functools.cache
def _mel_matrix(rate: int) -> np.ndarray:
    """[_FFT / 2 + 1, _MEL_BINS] float32: triangles, equally wide on the mel scale (2595 log10(1 + f / 700))."""
    mels = np.linspace(0, 2595 * np.log10(1 + rate / 2 / 700), _MEL_BINS + 2)
    edges = 700 * (10 ** (mels / 2595) - 1)
    frequencies = np.linspace(0, rate / 2, _FFT // 2 + 1)[:, np.newaxis]
    rising = (frequencies - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - frequencies) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(rising, falling)).astype(np.float32)


@functools.cache
def _palette() -> bytes:
    """256 colours, red, green and blue of each."""
    stops = np.linspace(0, 255, len(_COLOURS))
    channels = [np.interp(np.arange(256), stops, channel) for channel in zip(*_COLOURS, strict=True)]
    return np.stack(channels, axis=1).astype(np.uint8).tobytes()

"""How many near duplicates are found, and what else is: copies of real media, changed in some ways.

Run: .venv/bin/python -m benchmarks.near_duplicates [images|frames|sounds|clips ...] --data DIR
It takes a quarter of an hour. DIR holds cifar10/, fsdd/ and surveillance/ (default: ../shared/data).

images: a twentieth of CIFAR-10's train split, 32 x 32 pixels. frames: one of each surveillance clip, 320 x 240 and
larger. sounds: an eighth of the spoken digits, 0.15 to 2.3 s. clips: a twentieth of the surveillance clips, 2 s. Each
is changed in several ways, and originals and copies are searched together, with the tables of 50,000 examples.

recall: the share of the copies that are found with their originals. false: pairs of a copy with another original that
are not near duplicates among the originals themselves, as two frames of one camera are.
"""

import argparse
import io
import pathlib
import sys
import time
from unittest import mock

import av
import numpy as np
import soundfile
import soxr
from PIL import Image, ImageEnhance, ImageFilter

from benchmarks.report import chosen
from media import findings, near_duplicates, readers
from media.entries import Entry
from media.fingerprints import audio, image
from media.sandbox.parent import Decoded
from model_code.modalities import MODALITIES

AMONG = 50_000
SHOWN = 1_000_000  # pairs to name, which are as many as are found


def search(modality: str, originals: list[bytes], copies: list[bytes]) -> tuple[int, int]:
    """(copies that are found with their original, other pairs of a copy and an original), by their fingerprints."""
    with mock.patch.object(findings.LongTally, 'KEPT', SHOWN):
        near = near_duplicates.InOneProcess(modality, AMONG)
        for number, fingerprint in enumerate(originals + copies):
            near.add(Decoded(Entry(str(number), ('',), 'train'), digest=number.to_bytes(4, 'big'),
                             fingerprint=fingerprint))
        pairs = {tuple(sorted((int(one), int(other)))) for _, one, other in near.findings().near_duplicates.first}
    count = len(originals)
    among = {pair for pair in pairs if pair[1] < count}
    across = {(one, other - count) for one, other in pairs if one < count <= other}
    return (sum(one == other for one, other in across),
            sum(one != other and tuple(sorted((one, other))) not in among for one, other in across))


def compare(name: str, modality: str, media: list, changes: dict, fingerprint):
    """Prints a line per change. fingerprint: from media to bytes."""
    start = time.perf_counter()
    originals = [fingerprint(medium) for medium in media]
    per_file = (time.perf_counter() - start) / len(media)
    print(f'{name}: {len(media)}, of which {sum(not original for original in originals)} take no part; '
          f'{np.mean([len(original) for original in originals]):.0f} bytes and {1e6 * per_file:.0f} us each; '
          f'near duplicates among them: {_among(modality, originals)}')
    for change, make in changes.items():
        found, wrong = search(modality, originals, [fingerprint(make(medium)) for medium in media])
        print(f'  {change:28} recall {found / len(media):.2f}   false {wrong}', flush=True)


def _among(modality: str, originals: list[bytes]) -> int:
    near = near_duplicates.InOneProcess(modality, AMONG)
    for number, fingerprint in enumerate(originals):
        near.add(Decoded(Entry(str(number), ('',), 'train'), digest=number.to_bytes(4, 'big'), fingerprint=fingerprint))
    return near.findings().near_duplicates.count


# Images.

def _coded(picture: Image.Image, kind: str, quality: int) -> Image.Image:
    out = io.BytesIO()
    picture.save(out, kind, quality=quality)
    return Image.open(out).convert('RGB')


def _cropped(picture: Image.Image, left: float, top: float, right: float, bottom: float) -> Image.Image:
    width, height = picture.size
    return picture.crop((round(left * width), round(top * height), round((1 - right) * width),
                         round((1 - bottom) * height)))


def _noisy(picture: Image.Image) -> Image.Image:
    pixels = np.asarray(picture).astype(float)
    pixels += np.random.default_rng(0).normal(0, 6, pixels.shape)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _scaled(picture: Image.Image, factor: float) -> Image.Image:
    return picture.resize((max(1, round(picture.width * factor)), max(1, round(picture.height * factor))),
                          Image.Resampling.LANCZOS)


IMAGE_CHANGES = {
    'JPEG, quality 30': lambda picture: _coded(picture, 'JPEG', 30),
    'WebP, quality 40': lambda picture: _coded(picture, 'WEBP', 40),
    'half the size': lambda picture: _scaled(picture, 0.5),
    'one and a half times': lambda picture: _scaled(picture, 1.5),
    'brighter, less contrast': lambda picture: ImageEnhance.Contrast(
        ImageEnhance.Brightness(picture).enhance(1.2)).enhance(0.85),
    'grey': lambda picture: picture.convert('L'),
    'blurred': lambda picture: picture.filter(ImageFilter.GaussianBlur(max(picture.size) / 150)), 'noise': _noisy,
    'cropped to the middle 95%': lambda picture: _cropped(picture, 0.025, 0.025, 0.025, 0.025),
    'cropped to the middle 90%': lambda picture: _cropped(picture, 0.05, 0.05, 0.05, 0.05),
    'cropped to a corner of 90%': lambda picture: _cropped(picture, 0, 0, 0.1, 0.1)}


def _print(picture: Image.Image) -> bytes:
    return image.look(picture)[1]


def images(data: pathlib.Path):
    pictures = [Image.open(path).convert('RGB') for path in sorted(data.glob('cifar10/train/*/*.jpg'))[::20]]
    compare('images', 'image', pictures, IMAGE_CHANGES, _print)


def frames(data: pathlib.Path):
    compare('frames', 'image', [_decode(path)[0][5] for path in sorted(data.glob('surveillance/clips/*.mp4'))],
            IMAGE_CHANGES, _print)


# Sounds, float32 [n] at 16 kHz.

def _written(sound: np.ndarray, kind: str, subtype: str) -> np.ndarray:
    out = io.BytesIO()
    soundfile.write(out, sound, 16_000, format=kind, subtype=subtype)
    out.seek(0)
    return soundfile.read(out, dtype='float32')[0]


def _by_rate(sound: np.ndarray, rate: int) -> np.ndarray:
    return soxr.resample(soxr.resample(sound, 16_000, rate), rate, 16_000)


SOUND_CHANGES = {
    'MP3': lambda sound: _written(sound, 'MP3', 'MPEG_LAYER_III'),
    'Vorbis': lambda sound: _written(sound, 'OGG', 'VORBIS'),
    'Opus': lambda sound: _written(sound, 'OGG', 'OPUS'), 'mu-law': lambda sound: _written(sound, 'WAV', 'ULAW'),
    '12 dB quieter': lambda sound: 0.25 * sound, 'by 8 kHz': lambda sound: _by_rate(sound, 8_000),
    'by 44.1 kHz': lambda sound: _by_rate(sound, 44_100),
    'noise, 30 dB below': lambda sound: sound + np.random.default_rng(0).normal(
        0, 10 ** -1.5 * np.sqrt(np.square(sound).mean()), len(sound)),
    'silence added': lambda sound: np.pad(sound, (1_234, 3_000)),
    'trimmed by 5% at both ends': lambda sound: sound[len(sound) // 20:-(len(sound) // 20)]}


def sounds(data: pathlib.Path):
    found = []
    for path in sorted(data.glob('fsdd/recordings/*.wav'))[::8]:
        sound, rate = soundfile.read(path, dtype='float32')
        found.append(soxr.resample(sound, rate, 16_000))
    compare('sounds', 'audio', found, SOUND_CHANGES, lambda sound: audio.fingerprint(
        np.clip(np.rint(32_768 * sound), -32_768, 32_767).astype(np.int16)))


# Clips, (frames, frames per second).

def _decode(path) -> tuple[list[Image.Image], float]:
    with av.open(str(path)) as container:
        rate = float(container.streams.video[0].average_rate or 25)
        return [frame.to_image() for frame in container.decode(video=0)], rate


def _encode(clip: tuple[list[Image.Image], float], change=lambda frame: frame, crf: int = 20) -> bytes:
    pictures, rate = clip
    out = io.BytesIO()
    with av.open(out, 'w', format='mp4') as container:
        stream = container.add_stream('libx264', rate=round(rate), options={'crf': str(crf), 'preset': 'veryfast'})
        for number, picture in enumerate(map(change, pictures)):
            width, height = picture.width // 2 * 2, picture.height // 2 * 2
            if not number:
                stream.width, stream.height, stream.pix_fmt = width, height, 'yuv420p'
            container.mux(stream.encode(av.VideoFrame.from_image(picture.convert('RGB').crop((0, 0, width, height)))))
        container.mux(stream.encode())
    return out.getvalue()


def _part(clip, begin: float, end: float):
    pictures, rate = clip
    return pictures[round(begin * len(pictures)):round(end * len(pictures))], rate


CLIP_CHANGES = {
    'H.264, CRF 35': lambda clip: _encode(clip, crf=35),
    'half the size': lambda clip: _encode(clip, lambda frame: _scaled(frame, 0.5)),
    'brighter, less contrast': lambda clip: _encode(clip, IMAGE_CHANGES['brighter, less contrast']),
    'grey': lambda clip: _encode(clip, IMAGE_CHANGES['grey']), 'noise': lambda clip: _encode(clip, _noisy),
    'every other frame': lambda clip: _encode((clip[0][::2], clip[1] / 2)),
    'cropped to the middle 90%': lambda clip: _encode(clip, IMAGE_CHANGES['cropped to the middle 90%']),
    'without the first 10%': lambda clip: _encode(_part(clip, 0.1, 1)),
    'without the last 20%': lambda clip: _encode(_part(clip, 0, 0.8)),
    'the middle 80%': lambda clip: _encode(_part(clip, 0.1, 0.9))}


def clips(data: pathlib.Path):
    row = MODALITIES['video']
    spec = row.input_class()

    def fingerprint(clip) -> bytes:
        content = clip if isinstance(clip, bytes) else _encode(clip)
        return readers.read_by(readers.load(row.reader_module), io.BytesIO(content), spec, row.limits)[2]

    found = [_decode(path) for path in sorted(data.glob('surveillance/clips/*.mp4'))[::20]]
    compare('clips', 'video', found, CLIP_CHANGES, fingerprint)


BENCHMARKS = {'images': images, 'frames': frames, 'sounds': sounds, 'clips': clips}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('names', nargs='*', metavar='images|frames|sounds|clips', help='default: all')
    parser.add_argument('--data', type=pathlib.Path, default=pathlib.Path('../shared/data'), metavar='DIR')
    args = parser.parse_args()
    for name in chosen(parser, args.names, BENCHMARKS):
        BENCHMARKS[name](args.data)
    return 0


if __name__ == '__main__':
    sys.exit(main())

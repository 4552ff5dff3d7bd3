"""The demo's media: three tasks, made without a download, with the same bytes every time.

digits/  handwritten digits (scikit-learn's copy of the UCI optical recognition set): PNG files in class folders
motion/  the same digits moving up, down, left or right for a second: MP4 files with a manifest
sounds/  synthesised tones, chirps, noise and clicks: WAV files with a manifest

The digits of 13 writers are in both splits, since the set does not say whose they are: the demo's accuracy is that of
digits of known hands. The sounds and the motions are drawn anew for each file.
"""

import csv
import io
import json
import os
import pathlib

import av
import numpy as np
import soundfile
from PIL import Image

from model_code import file_io, words
from model_code.errors import ConfigError
from pipeline.run_record import create_folder

CLASS_NAMES = ('zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine')
DIRECTIONS = {'up': (0, -1), 'down': (0, 1), 'left': (-1, 0), 'right': (1, 0)}

# Counts of train and eval files; sizes in pixels, seconds and Hz.
DIGITS = (500, 100)
CLIPS = (120, 40)
SOUNDS = (120, 40)
DIGIT_SIZE = 32
CLIP_SIZE, CLIP_FRAMES, CLIP_RATE = 32, 8, 8
SOUND_SECONDS, SOUND_RATE = 1.0, 16000

# Written last: a folder without it is incomplete.
_DONE = '.complete.json'
_VERSION = 1


def make_demo_data(directory) -> dict[str, int]:
    """Makes digits/, motion/ and sounds/ in `directory`; returns the number of media files of each.

    A complete folder is left as it is: its files keep their times, so the pipeline's cache stays valid. A new folder
    appears whole or not at all; an incomplete one is renamed. Raises ConfigError if `directory` cannot be created, or
    has anything else in it, such as sources, which an image would be built from.
    """
    root = pathlib.Path(directory).absolute()
    create_folder(root)
    other = sorted(path.name for path in root.iterdir() if path.name.partition('.')[0] not in ('', *_FOLDERS))
    if other:
        raise ConfigError(f'{directory} has other files in it, such as {other[0]}. Name a new folder for the demo '
                          'media, or one that they were made in before.')
    counts = {}
    for name, make in _FOLDERS.items():
        folder = root / name
        counts[name] = _complete_count(folder)
        if counts[name]:
            continue
        with file_io.temporary_folder(str(root)) as temporary:
            made = pathlib.Path(temporary)
            counts[name] = make(made)
            (made / _DONE).write_text(json.dumps({'version': _VERSION, 'files': counts[name]}), encoding='utf-8')
            if folder.exists():
                os.rename(folder, root / f'{name}.incomplete-{os.getpid()}')
            os.rename(made, folder)
    return counts


def describe(counts: dict[str, int]) -> str:
    """'digits 600 files, motion 160 files, sounds 160 files'."""
    return ', '.join(f'{name} {words.count(count, "file")}' for name, count in counts.items())


def _complete_count(folder: pathlib.Path) -> int:
    """How many media files a complete folder has; 0 if it is incomplete or of another version."""
    try:
        done = json.loads((folder / _DONE).read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return 0
    return done.get('files', 0) if done.get('version') == _VERSION else 0


def _digits() -> tuple[np.ndarray, np.ndarray]:
    """Pixels [1797, 8, 8] uint8 (0 to 255) and labels [1797] of the handwritten digits."""
    from sklearn import datasets
    data = datasets.load_digits()
    return (data.images * (255 / 16)).round().astype(np.uint8), data.target


def _make_digits(folder: pathlib.Path) -> int:
    pixels, labels = _digits()
    order = np.random.default_rng(1).permutation(len(labels))
    start = 0
    for split, count in zip(('train', 'eval'), DIGITS, strict=True):
        for i in order[start:start + count]:
            path = folder / split / CLASS_NAMES[labels[i]] / f'{i:04d}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels[i]).resize((DIGIT_SIZE, DIGIT_SIZE), Image.Resampling.BICUBIC).save(path)
        start += count
    return sum(DIGITS)


def _make_motion(folder: pathlib.Path) -> int:
    pixels, _ = _digits()
    rng = np.random.default_rng(2)
    rows = _rows(CLIPS, tuple(DIRECTIONS), 'clips/{}_{:03d}.mp4')
    (folder / 'clips').mkdir()
    for path, label, _ in rows:
        digit = Image.fromarray(pixels[rng.integers(len(pixels))]).resize((14, 14), Image.Resampling.BICUBIC)
        write_clip(folder / path, _moving(np.asarray(digit), DIRECTIONS[label], rng))
    _write_manifest(folder, rows)
    return len(rows)


def _moving(sprite: np.ndarray, direction: tuple[int, int], rng) -> np.ndarray:
    """Frames [frames, size, size] uint8 of a sprite that moves across a dim background.

    It starts anywhere and re-enters on the opposite side, so that only its motion tells the direction, not its place.
    """
    start = rng.integers(0, CLIP_SIZE, 2)
    speed = rng.uniform(1.6, 2.6)
    background = int(rng.integers(0, 50))
    frames = np.full((CLIP_FRAMES, CLIP_SIZE, CLIP_SIZE), background, np.uint8)
    for number, frame in enumerate(frames):
        x, y = (int(round(at + speed * number * step)) for at, step in zip(start, direction, strict=True))
        canvas = np.zeros_like(frame)
        canvas[:sprite.shape[0], :sprite.shape[1]] = sprite
        frame[:] = np.maximum(frame, np.roll(canvas, (y, x), axis=(0, 1)))
    return frames


def write_clip(path: pathlib.Path, frames: np.ndarray):
    """Writes an MP4 file of H.264. frames: [frames, CLIP_SIZE, CLIP_SIZE] uint8, shown as grey."""
    with av.open(os.fspath(path), 'w', format='mp4') as container:
        # The same bytes every time: one thread, however many cores the machine has, and none of the encoder's vector
        # code, which sometimes (measured: 3 of 1,800 clips) encodes the same frames of this size differently.
        options = {'crf': '18', 'threads': '1', 'x264-params': 'no-asm=1'}
        stream = container.add_stream('libx264', rate=CLIP_RATE, options=options)
        stream.width = stream.height = CLIP_SIZE
        stream.pix_fmt = 'yuv420p'
        for frame in frames:
            rgb = np.repeat(frame[..., None], 3, axis=2)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format='rgb24')))
        container.mux(stream.encode())


def _make_sounds(folder: pathlib.Path) -> int:
    rng = np.random.default_rng(3)
    rows = _rows(SOUNDS, tuple(SOUND_CLASSES), 'wav/{}_{:03d}.wav')
    (folder / 'wav').mkdir()
    for path, label, _ in rows:
        seconds = SOUND_SECONDS * rng.uniform(0.8, 1.1)
        t = np.arange(int(seconds * SOUND_RATE)) / SOUND_RATE
        wave = SOUND_CLASSES[label](t, rng)
        wave = wave / max(np.abs(wave).max(), 1e-6) * rng.uniform(0.2, 0.8) + rng.normal(0, 0.003, len(t))
        content = io.BytesIO()  # libsndfile does not say why it cannot write a file
        soundfile.write(content, wave.clip(-1, 1), SOUND_RATE, subtype='PCM_16', format='WAV')
        (folder / path).write_bytes(content.getvalue())
    _write_manifest(folder, rows)
    return len(rows)


def _tone(t, rng):
    return np.sin(2 * np.pi * rng.uniform(300, 3000) * t)


def _chirp(t, rng):
    """A pitch that rises steadily."""
    low, high = rng.uniform(200, 600), rng.uniform(3000, 6000)
    return np.sin(2 * np.pi * (low * t + (high - low) * t ** 2 / (2 * t[-1])))


def _noise(t, rng):
    return rng.normal(0, 1, len(t))


def _clicks(t, rng):
    """Short bursts, 4 to 10 per second."""
    period = int(SOUND_RATE / rng.uniform(4, 10))
    wave = np.zeros(len(t))
    wave[rng.integers(period)::period] = 1.0
    return np.convolve(wave, rng.normal(0, 1, 80) * np.exp(-np.arange(80) / 20))[:len(t)]


SOUND_CLASSES = {'tone': _tone, 'chirp': _chirp, 'noise': _noise, 'clicks': _clicks}


def _rows(counts: tuple[int, int], labels: tuple[str, ...], path: str) -> list[tuple[str, str, str]]:
    """(path, label, split) of each file, with alternating labels. path: a format of the split and the file's number."""
    return [(path.format(split, i), labels[i % len(labels)], split)
            for split, count in zip(('train', 'eval'), counts, strict=True) for i in range(count)]


def _write_manifest(folder: pathlib.Path, rows):
    with open(folder / 'manifest.csv', 'w', newline='', encoding='utf-8') as file:
        writer = csv.writer(file)
        writer.writerow(('path', 'label', 'split'))
        writer.writerows(rows)


_FOLDERS = {'digits': _make_digits, 'motion': _make_motion, 'sounds': _make_sounds}

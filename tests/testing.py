"""Tiny media and tasks that tests make on the spot. No TensorFlow here.

Media: `image_bytes`, `wav_bytes`, `mp4_bytes` return a file's bytes. Tasks: `image_task`, `audio_task`, `video_task`,
`text_task` and `tags_task` write a folder of them and return the Task that reads it.
"""

import csv
import dataclasses
import fractions
import io
import os
import pathlib

import av
import numpy as np
import soundfile
from PIL import Image

from model_code.data import Data, Source
from model_code.modalities import AudioInput, ImageInput, TextInput, VideoInput
from model_code.probe import Probe
from model_code.tasks import Checks, Gate, Recipe, Task

# Inputs as small as the tokenizers allow.
IMAGE_SPEC = ImageInput(height=16, width=16, patch=(8, 8))
AUDIO_SPEC = AudioInput(frames=32, mel_bins=32, patch=(16, 16))
VIDEO_SPEC = VideoInput(frames=4, height=16, width=16, patch=(2, 8, 8), frame_rate=8.0, short_side=16)
TEXT_SPEC = TextInput(length=32, patch=(4,))
INPUTS = (IMAGE_SPEC, AUDIO_SPEC, VIDEO_SPEC, TEXT_SPEC)


_PARTS = {'data': Data, 'recipe': Recipe, 'checks': Checks, 'gate': Gate, 'probe': Probe}


def task(name: str, modality: str, steps: int = 1, batch_size: int = 1, **fields) -> Task:
    """A Task whose fields are given flat, whichever part they are in: folder, steps, allow_leaks, floor, ..."""
    return Task(name, modality, **_parts({part: {} for part in _PARTS}, {'steps': steps, 'batch_size': batch_size,
                                                                         **fields}))


def changed(task: Task, **fields) -> Task:
    """The task with other values of some fields, given flat."""
    parts = {part: {f.name: getattr(getattr(task, part), f.name) for f in dataclasses.fields(kind)}
             for part, kind in _PARTS.items()}
    return Task(fields.pop('name', task.name), task.modality, **_parts(parts, fields))


def source(name: str, modality: str, **fields) -> Source:
    """A Source whose Data has these fields."""
    return Source(name, modality, Data(**fields))


def _parts(parts: dict[str, dict], fields: dict) -> dict:
    for name, value in fields.items():
        part = next(part for part, kind in _PARTS.items() if name in {f.name for f in dataclasses.fields(kind)})
        parts[part][name] = value
    return {part: _PARTS[part](**values) for part, values in parts.items()}


def image_bytes(kind: str = 'PNG', mode: str = 'RGB', size: tuple[int, int] = (20, 16), seed: int = 0,
                **save_options) -> bytes:
    """An encoded image of `size` (width, height) pixels: a smooth ramp with a little noise, in a Pillow mode."""
    rng = np.random.default_rng(seed)
    width, height = size
    ramp = np.add.outer(np.linspace(0, 120, height), np.linspace(0, 120, width))[..., None]
    pixels = np.clip(ramp + rng.integers(0, 16, (height, width, 3)), 0, 255).astype(np.uint8)
    image = Image.fromarray(pixels)
    if mode == 'I;16':
        image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    elif mode == 'RGBA':
        image.putalpha(Image.fromarray(pixels[..., 0]))
    elif mode != 'RGB':
        image = image.convert(mode)
    out = io.BytesIO()
    image.save(out, kind, **save_options)
    return out.getvalue()


def plain_image_bytes(colour: tuple[int, int, int] = (7, 60, 120)) -> bytes:
    """A PNG in which every pixel has the same colour."""
    out = io.BytesIO()
    Image.new('RGB', (20, 16), colour).save(out, 'PNG')
    return out.getvalue()


def wav_bytes(seconds: float = 0.3, rate: int = 16000, channels: int = 1, frequency: float = 440.0,
              subtype: str = 'PCM_16', kind: str = 'WAV') -> bytes:
    """A sine tone as a sound file's bytes, the same in every channel, amplitude 0.5."""
    t = np.arange(int(round(seconds * rate))) / rate
    wave = 0.5 * np.sin(2 * np.pi * frequency * t)
    out = io.BytesIO()
    with soundfile.SoundFile(out, 'w', rate, channels, subtype, format=kind) as file:
        for at in range(0, len(wave), rate):  # libsndfile's Vorbis encoder runs out of its stack on a minute at once
            file.write(np.repeat(wave[at:at + rate, None], channels, axis=1))
    return out.getvalue()


def mp4_bytes(frames: int = 8, rate: int = 8, size: tuple[int, int] = (32, 24), codec: str = 'libx264',
              seed: int = 0, sound: bool = False) -> bytes:
    """A clip of `size` (width, height) in which a bright column walks to the right, two pixels a frame."""
    rng = np.random.default_rng(seed)
    width, height = size
    base = rng.integers(0, 40, (height, width, 3)).astype(np.uint8)
    out = io.BytesIO()
    with av.open(out, 'w', format='mp4') as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = width, height, 'yuv420p'
        track = container.add_stream('aac', rate=16000, layout='mono') if sound else None
        for i in range(frames):
            pixels = base.copy()
            pixels[:, (2 * i) % width:(2 * i) % width + 4] = 220
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format='rgb24')))
        container.mux(stream.encode())
        if track is not None:
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format='fltp', layout='mono')
            silence.sample_rate = 16000
            container.mux(track.encode(silence))
            container.mux(track.encode())
    return out.getvalue()


_FAST = {'libx264': {'preset': 'ultrafast'}, 'libx265': {'preset': 'ultrafast', 'x265-params': 'log-level=none'},
         'libaom-av1': {'cpu-used': '8'}, 'libvpx': {'cpu-used': '8', 'deadline': 'realtime'},
         'libvpx-vp9': {'cpu-used': '8', 'deadline': 'realtime'}}
QUADRANTS = ((200, 40, 40), (40, 180, 40), (40, 40, 200))  # left to right, then down; the fourth has the number


def numbered_clip(container: str = 'mp4', codec: str = 'libx264', pix_fmt: str = 'yuv420p', numbers=range(8),
                  rate: int = 8, times=None, size: tuple[int, int] = (64, 48), gop: int = 12, **options) -> bytes:
    """A clip of three coloured quadrants; the fourth's grey, 16 + 12 number, tells each frame's number (0 to 19).

    container, codec, pix_fmt: FFmpeg's names. times: seconds of each frame; else `rate` a second. gop: frames from key
    frame to key frame. options: the encoder's and the container's.
    """
    out = io.BytesIO()
    with av.open(out, 'w', format=container, container_options=options) as file:
        stream = file.add_stream(codec, rate=rate, options={**_FAST.get(codec, {}), **options})
        (stream.width, stream.height), stream.pix_fmt = size, pix_fmt
        stream.gop_size, stream.bit_rate = gop, 2_000_000
        for i, number in enumerate(numbers):
            frame = av.VideoFrame.from_ndarray(numbered_frame(number, size), format='rgb24')
            if times is not None:
                frame.pts, frame.time_base = round(times[i] * 1000), fractions.Fraction(1, 1000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return out.getvalue()


def numbered_frame(number: int, size: tuple[int, int]) -> np.ndarray:
    """A frame of `numbered_clip`, [height, width, 3] uint8."""
    width, height = size
    pixels = np.full((height, width, 3), 16 + 12 * number, np.uint8)
    pixels[:height // 2, :width // 2], pixels[:height // 2, width // 2:], pixels[height // 2:, :width // 2] = QUADRANTS
    return pixels


def sound_only_mp4_bytes() -> bytes:
    """An MP4 with an AAC track and no picture."""
    out = io.BytesIO()
    with av.open(out, 'w', format='mp4') as container:
        track = container.add_stream('aac', rate=16000, layout='mono')
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format='fltp', layout='mono')
        silence.sample_rate = 16000
        container.mux(track.encode(silence))
        container.mux(track.encode())
    return out.getvalue()


def write(directory, name: str, content: bytes | str) -> pathlib.Path:
    """Writes directory/name, making its folders."""
    path = pathlib.Path(directory) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def write_manifest(directory, rows, columns=('path', 'label', 'split'), name: str = 'manifest.csv') -> pathlib.Path:
    """Writes a CSV manifest of `rows` (sequences as long as `columns`)."""
    path = pathlib.Path(directory) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, 'w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)
    return path


def image_task(directory, name: str = 'shapes', classes=('left', 'right'), per_class: int = 4, eval_per_class: int = 2,
               **overrides) -> Task:
    """Class folders `{train,eval}/<class>/<i>.png`; the class is the half that is bright."""
    for split, count in (('train', per_class), ('eval', eval_per_class)):
        for c, label in enumerate(classes):
            for i in range(count):
                rng = np.random.default_rng([c, i, split == 'eval'])
                pixels = rng.integers(0, 60, (16, 16, 3)).astype(np.uint8)
                width = 16 // len(classes)
                pixels[:, c * width:(c + 1) * width] += 180
                out = io.BytesIO()
                Image.fromarray(pixels).save(out, 'PNG')
                write(directory, f'{split}/{label}/{i}.png', out.getvalue())
    return task(name, 'image', **{**dict(steps=4, batch_size=4, folder=os.fspath(directory)), **overrides})


def audio_task(directory, name: str = 'tones', classes=('low', 'high'), per_class: int = 4, eval_per_class: int = 2,
               **overrides) -> Task:
    """A manifest of WAV tones of 0.2 to 0.3 s at 8 kHz; the class is the pitch."""
    rows = []
    for split, count in (('train', per_class), ('test', eval_per_class)):
        for c, label in enumerate(classes):
            for i in range(count):
                path = f'wav/{split}_{label}_{i}.wav'
                frequency = 300 + 1500 * c + 10 * i + 5 * (split == 'test')
                write(directory, path, wav_bytes(0.2 + 0.02 * i, 8000, frequency=frequency))
                rows.append((path, label, split))
    write_manifest(directory, rows)
    return task(name, 'audio', **{**dict(steps=4, batch_size=4, folder=os.fspath(directory), manifest='manifest.csv'),
                                  **overrides})


def tags_task(directory, name: str = 'tags', per_class: int = 4, eval_per_class: int = 2, **overrides) -> Task:
    """Multi-label: the tones of `audio_task`, each also tagged by whether it is even or odd in its class."""
    audio_task(directory, per_class=per_class, eval_per_class=eval_per_class)
    with open(pathlib.Path(directory) / 'manifest.csv', newline='') as file:
        rows = [(r['path'], f'{r["label"]}|{("even", "odd")[int(r["path"][-5]) % 2]}', r['split'])
                for r in csv.DictReader(file)]
    write_manifest(directory, rows, columns=('path', 'labels', 'split'), name='tags.csv')
    return task(name, 'audio', **{**dict(steps=4, batch_size=4, folder=os.fspath(directory), manifest='tags.csv',
                                         label_kind='multi'), **overrides})


def video_task(directory, name: str = 'walks', classes=('dark', 'bright'), per_class: int = 3, eval_per_class: int = 2,
               **overrides) -> Task:
    """A manifest of MP4 clips of 1 s, 16x16 at 8 frames a second; the class is the brightness."""
    rows = []
    for split, count in (('train', per_class), ('eval', eval_per_class)):
        for c, label in enumerate(classes):
            for i in range(count):
                path = f'clips/{split}_{label}_{i}.mp4'
                write(directory, path, _flat_clip(60 + 120 * c + 6 * i + 3 * (split == 'eval')))
                rows.append((path, label, split))
    write_manifest(directory, rows)
    return task(name, 'video', **{**dict(steps=4, batch_size=2, folder=os.fspath(directory), manifest='manifest.csv'),
                                  **overrides})


def text_task(directory, name: str = 'reviews', per_class: int = 8, eval_per_class: int = 4, **overrides) -> Task:
    """A manifest of texts, in its rows; the class is whether their adjective praises."""
    words, nouns = {'good': 'fine', 'bad': 'poor'}, 'soup tea cake rice bread fish salad stew plum pie ale jam'.split()
    rows = [(f'A {word} {nouns[i]}, number {i}.', label, split) for label, word in words.items()
            for split, places in (('train', range(per_class)), ('test', range(per_class, per_class + eval_per_class)))
            for i in places]
    write_manifest(directory, rows, columns=('text', 'label', 'split'))
    return task(name, 'text', **{**dict(steps=4, batch_size=4, folder=os.fspath(directory), manifest='manifest.csv'),
                                 **overrides})


def _flat_clip(level: int) -> bytes:
    out = io.BytesIO()
    with av.open(out, 'w', format='mp4') as container:
        stream = container.add_stream('mpeg4', rate=8)
        stream.width, stream.height, stream.pix_fmt = 16, 16, 'yuv420p'
        for _ in range(8):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((16, 16, 3), level, np.uint8),
                                                                   format='rgb24')))
        container.mux(stream.encode())
    return out.getvalue()


def track_bytes(container: str, codec: str, seconds: float = 1.0, rate: int = 48000, channels: int = 1,
                frequency: float = 440.0, picture: str = '', wave: np.ndarray | None = None) -> bytes:
    """A sine tone of amplitude 0.5 as the sound track of a container that FFmpeg writes ('mp4', 'matroska', ...).

    picture: the codec of a video beside it. wave: float samples to write in its place, the same in every channel.
    """
    if wave is None:
        wave = 0.5 * np.sin(2 * np.pi * frequency * np.arange(int(seconds * rate)) / rate)
    wave, seconds = np.asarray(wave, np.float32), len(wave) / rate
    out = io.BytesIO()
    with av.open(out, 'w', format=container) as file:
        film = file.add_stream(picture, rate=10) if picture else None
        track = file.add_stream(codec, rate=rate, layout='mono' if channels == 1 else 'stereo')
        if film is not None:
            film.width, film.height, film.pix_fmt = 32, 32, 'yuv420p'
            for _ in range(int(10 * seconds)):
                grey = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 90, np.uint8), format='rgb24')
                file.mux(film.encode(grey))
            file.mux(film.encode())
        for at in range(0, len(wave), 1024):
            block = np.repeat(wave[None, at:at + 1024], channels, axis=0)
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), format='fltp', layout=track.layout.name)
            frame.sample_rate, frame.pts = rate, at
            file.mux(track.encode(frame))
        file.mux(track.encode())
    return out.getvalue()


def fill_disk(directory):
    """Leaves no byte of a small disk free."""
    with open(f'{directory}/ballast', 'wb', buffering=0) as file:
        free = os.statvfs(directory).f_bavail * os.statvfs(directory).f_frsize
        file.write(bytes(free))

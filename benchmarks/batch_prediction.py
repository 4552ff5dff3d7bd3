"""Files per second of `polyvit predict TASK DIR -o FILE`, beside those of a plain loop with the same loaded model.

Run: .venv/bin/python -m benchmarks.batch_prediction [--files 2000] [--turns 3]
Exit code 1 if a target is missed.

The files are made: JPEG photos of 640 x 480 pixels, and WAV sounds of 4 seconds at 44.1 kHz. The model has 4 layers of
width 128 and is not trained. The loop reads 16 files with the readers of ingest, asks the model for all of them, and so
on, in one process. The two take turns; a ratio is the median over the turns. The scores must be equal.
"""

import argparse
import os
import pathlib
import statistics
import sys
import tempfile
import time

os.environ.setdefault('TF_USE_LEGACY_KERAS', '1')
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')

import numpy as np
import soundfile
from PIL import Image
from pyarrow import parquet

from benchmarks.report import Report
from media import readers
from model_code.data import Data
from model_code.modalities import AudioInput, ImageInput
from model_code.settings import ModelConfig
from model_code.tasks import Mixture, Recipe, Task
from serving.local_model import LocalModel

CLASSES = [f'class {i}' for i in range(10)]
LOOP_FILES = 16


def make_files(folder: pathlib.Path, count: int):
    """Writes folder/photos/*.jpg and folder/sounds/*.wav."""
    rng = np.random.default_rng(0)
    for name in ('photos', 'sounds'):
        (folder / name).mkdir()
    for i in range(count):
        photo = Image.fromarray(rng.integers(0, 255, (30, 40, 3), np.uint8))
        photo.resize((640, 480), Image.Resampling.BICUBIC).save(folder / 'photos' / f'{i:05d}.jpg', quality=88)
        wave = 0.4 * np.sin(2 * np.pi * (200 + i) * np.arange(4 * 44_100) / 44_100)
        soundfile.write(folder / 'sounds' / f'{i:05d}.wav', wave + 0.05 * rng.standard_normal(len(wave)), 44_100)


def make_model(directory: str, photo: pathlib.Path, sound: pathlib.Path):
    """Exports the model. photo, sound: files for its warm-up requests."""
    from model_code.export import ServedModel, save
    from model_code.polyvit import PolyViT
    recipe = Recipe(steps=1, batch_size=1)
    mixture = Mixture((Task('photos', 'image', data=Data('/none'), recipe=recipe),
                       Task('sounds', 'audio', data=Data('/none'), recipe=recipe)))
    config = ModelConfig(layers=4, width=128, heads=4, mlp_width=256,
                         inputs=(ImageInput(96, 96, (16, 16)), AudioInput(frames=208, mel_bins=64)))
    model = PolyViT(mixture, {task.name: len(CLASSES) for task in mixture.tasks}, config)
    vocabularies = {task.name: CLASSES for task in mixture.tasks}
    samples = {'photos': [photo.read_bytes()], 'sounds': [readers.read('audio', sound, AudioInput())['audio']]}
    save(ServedModel(model, mixture, vocabularies, {'sounds': (0.0, 1.0)}), directory, {}, samples)


def loop(model: LocalModel, task: str, files: list[pathlib.Path]) -> np.ndarray:
    """[files, classes]: the scores, by the plain loop."""
    modality = model.modality(task)
    spec, scores = model.input_spec(modality), []
    for start in range(0, len(files), LOOP_FILES):
        media = [readers.read(modality.name, file, spec)[modality.feature] for file in files[start:start + LOOP_FILES]]
        scores.append(model.run(f'{task}_scores', modality.feature, media)['scores'])
    return np.concatenate(scores)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--files', type=int, default=2_000)
    parser.add_argument('--turns', type=int, default=3)
    parsed = parser.parse_args()
    report = Report()
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        make_files(folder, parsed.files)
        make_model(str(folder / 'model'), folder / 'photos' / '00000.jpg', folder / 'sounds' / '00000.wav')
        with LocalModel(folder / 'model') as model:
            for task in ('photos', 'sounds'):
                files = sorted((folder / task).iterdir())
                loop(model, task, files[:2 * LOOP_FILES])  # TensorFlow's first calls are slow
                seconds = {'ours': [], 'loop': []}
                for turn in range(parsed.turns):
                    began = time.monotonic()
                    expected = loop(model, task, files)
                    seconds['loop'].append(time.monotonic() - began)
                    output = folder / f'{task}-{turn}.parquet'
                    began = time.monotonic()
                    model.predict_folder(task, folder / task, output)
                    seconds['ours'].append(time.monotonic() - began)
                table = parquet.read_table(output)
                found = np.stack([table[name].to_numpy() for name in CLASSES], axis=1)
                report(f'{task}: largest difference of a score', float(abs(found - expected).max()), 1e-5, False, '')
                ratio = statistics.median(theirs / ours for ours, theirs in zip(*seconds.values(), strict=True))
                report(f'{task}: speed of a folder to that of the loop', ratio, 0.9, True, ' and '.join(
                    f'{len(files) / statistics.median(taken):.0f} files/s' for taken in seconds.values()))
    return 1 if report.missed else 0


if __name__ == '__main__':
    sys.exit(main())

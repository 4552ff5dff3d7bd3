"""Real files for benchmarks: of the larger sets where those are, else the demo media, made on the spot."""

import argparse
import pathlib

SHARED = pathlib.Path('../shared/data')
# A modality -> its files in the larger sets (see pipeline/configs/real_small.py) and in the demo media.
FILES = {'image': ('cifar10/train/*/*.jpg', 'digits/train/*/*.png'),
         'audio': ('fsdd/recordings/*.wav', 'sounds/wav/*.wav'),
         'video': ('surveillance/clips/**/*.mp4', 'motion/clips/*.mp4')}


def add_argument(parser: argparse.ArgumentParser):
    parser.add_argument('--data', type=pathlib.Path, default=SHARED, metavar='DIR',
                        help='holds cifar10/, fsdd/ and surveillance/; what it lacks is replaced by demo media')


def files(modality: str, data: pathlib.Path) -> list[pathlib.Path]:
    """The files of a modality, sorted. Makes the demo media in runs/demo/media where `data` has none; says so."""
    larger, demo = FILES[modality]
    paths = sorted(data.glob(larger))
    if not paths:
        from pipeline import demo_data
        folder = pathlib.Path('runs/demo/media')
        demo_data.make_demo_data(folder)
        paths = sorted(folder.glob(demo))
        print(f'{modality}: there is no {larger} in {data}, so {len(paths)} demo files are used. The targets are for '
              'the larger set.', flush=True)
    return paths

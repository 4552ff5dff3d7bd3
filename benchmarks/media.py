"""Real media for the benchmarks: from the larger sets if they are there, else demo media, made on the spot."""

import argparse
import pathlib

DEFAULT_FOLDER = pathlib.Path('../shared/data')
# A modality -> its files in the larger sets (see pipeline/configs/real_small.py), and in the demo media.
FILES = {'image': ('cifar10/train/*/*.jpg', 'digits/train/*/*.png'),
         'audio': ('fsdd/recordings/*.wav', 'sounds/wav/*.wav'),
         'video': ('surveillance/clips/**/*.mp4', 'motion/clips/*.mp4')}


def add_argument(parser: argparse.ArgumentParser):
    parser.add_argument('--data', type=pathlib.Path, default=DEFAULT_FOLDER, metavar='DIR',
                        help='the folder that holds cifar10/, fsdd/ and surveillance/; demo media replace missing ones')


def files(modality: str, folder: pathlib.Path) -> list[pathlib.Path]:
    """The files of a modality in the folder, sorted. If it has none, makes the demo media in runs/demo/media."""
    larger, demo = FILES[modality]
    paths = sorted(folder.glob(larger))
    if not paths:
        from pipeline import demo_data
        demo_folder = pathlib.Path('runs/demo/media')
        demo_data.make_demo_data(demo_folder)
        paths = sorted(demo_folder.glob(demo))
        print(f'{modality}: {folder} has no {larger}, so {len(paths)} demo files are used. The targets are meant for '
              'the larger set.', flush=True)
    return paths

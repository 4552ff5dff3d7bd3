"""Images with captions: contrastive training with zero-shot classification, and the words of the captions.

The captions are made of the labels of CIFAR-10, by the templates below; the labels themselves train nothing in
`cifar10_captions`, and only evaluate. Its prompts are in no template: the text side has to read the name in a new
sentence.

Data: python -m pipeline.configs.captions_small CIFAR10 FOLDER copies the images of CIFAR10 (train/<class>/<file> and
test/<class>/<file>) to FOLDER, with captions.csv.
Command: polyvit run captions_small --data FOLDER (or POLYVIT_DATA=FOLDER).
Cost: 3,000 steps; 25 minutes on two cores that were also running much else, 14 of them in CoTrainer, which took 8
minutes of processor time.
Result on the 2,000 test images (95% intervals): a zero-shot accuracy of cifar10_captions of 0.451 (0.43 to 0.47), where
chance is 0.10; mean average precision of cifar10_words 0.310 (0.30 to 0.32), where chance is 0.17, the mean share of
the images that have a word. That of the ten names is 0.50; that of all other words stays at chance, 0.21, because the
template of a caption cannot be seen in its image.
"""

import csv
import os
import pathlib
import random
import shutil
import sys

from polyvit import (
    Checks,
    Columns,
    Data,
    Gate,
    ImageInput,
    Mixture,
    PipelineConfig,
    Recipe,
    Task,
    TextInput,
    TrainingConfig,
    preset,
)

TEMPLATES = ('a photo of a {}.', 'a small picture of one {}', 'this is a {}', 'the {} in the middle',
             '{}, seen from near', 'A {} in a photo of 32 pixels.', 'one {} before a background',
             'they took a picture of the {}.')
PROMPTS = ('an image that shows a {}', 'here we see the {}!')


def get_config() -> PipelineConfig:
    folder = os.environ.get('POLYVIT_DATA', '')  # a folder or a URL
    # The published split has near duplicates in train and test.
    checks = Checks(allow_near_leaks=True)
    captions = Task('cifar10_captions', 'image',
                    data=Data(folder, 'captions.csv', columns=Columns(text='caption')), checks=checks,
                    recipe=Recipe(steps=2_000, batch_size=64, objective='captions', prompts=PROMPTS,
                                  augmentations=('flip', 'shift')), gate=Gate(floor=0.38))
    words = Task('cifar10_words', 'image',
                 data=Data(folder, 'captions.csv', columns=Columns(label='caption'), label_kind='words'), checks=checks,
                 recipe=Recipe(steps=1_000, batch_size=64, augmentations=('flip', 'shift')), gate=Gate(floor=0.27))
    return PipelineConfig(
        name='captions-small',
        mixture=Mixture((captions, words)),
        model=preset('Nano', inputs=(ImageInput(height=32, width=32, patch=(8, 8)), TextInput(length=48, patch=(4,)))),
        training=TrainingConfig(optimizer='adamw', learning_rate=1e-3, warmup_steps=100, weight_decay=0.05,
                                checkpoint_every=500))


def write_data(source: str, folder: str):
    """Copies the images of class folders {train,test}/<class>/<file>, and writes captions.csv.

    Its columns: path, label, caption, split. The template of a caption is drawn by the path: the same files have the
    same captions.
    """
    rows = []
    for path in sorted(pathlib.Path(source).glob('t*/*/*.jpg')):
        split, label, _ = name = path.relative_to(source).parts
        target = pathlib.Path(folder, *name)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        relative = '/'.join(name)
        rows.append((relative, label, random.Random(relative).choice(TEMPLATES).replace('{}', label), split))
    with open(pathlib.Path(folder, 'captions.csv'), 'w', encoding='utf-8', newline='') as file:
        csv.writer(file).writerows([('path', 'label', 'caption', 'split'), *rows])


if __name__ == '__main__':
    write_data(*sys.argv[1:])

"""Five tasks of three modalities on small public data sets: CIFAR-10, MNIST, spoken digits (twice), surveillance clips.

Command: polyvit run real_small --data FOLDER (or POLYVIT_DATA=FOLDER). FOLDER holds cifar10/, mnist/, fsdd/ and
surveillance/. If it is a URL, copy real_small_scenes.csv, beside this file, to surveillance/scenes.csv.
Cost: 9,600 steps; training took 24 minutes on two cores that were also running tests.
Result on the test splits, by `polyvit study real_small`, means of three seeds (docs/studies.md has the intervals):
accuracy of cifar10 0.480, mnist 0.950, fsdd_digit 0.971, surveillance 0.570; mean average precision of fsdd_tags 0.996.
Each alone: 0.486, 0.963, 0.949, 0.553, 0.941. Fewer steps are not enough beside CIFAR-10: with 1,400 and 500 steps,
MNIST reached 0.862 and the digits 0.768.
Surveillance is split by scene, so there are 38 eval clips, of 15 scenes that train lacks: too few to compare recipes.
Over five folds by scene of all 240 clips its accuracy is 0.63, and 0.65 in smaller tubelets, for twice the FLOPs
(docs/studies.md, "Clips of scenes that were not seen").
"""

import os

from polyvit import (
    AudioInput,
    Checks,
    Columns,
    Data,
    Gate,
    ImageInput,
    Mixture,
    PipelineConfig,
    Recipe,
    Task,
    TrainingConfig,
    VideoInput,
    preset,
)


def get_config() -> PipelineConfig:
    data = os.environ.get('POLYVIT_DATA', '')  # a folder or a URL

    def path(name: str) -> str:
        return os.path.join(data, name) if data else ''

    # Beside this file. Where the data are in an object store, no worker sees this folder.
    scenes = 'scenes.csv' if '://' in data else os.path.join(os.path.dirname(__file__), 'real_small_scenes.csv')
    tasks = (
        # Its published split has near duplicates in train and test.
        Task('cifar10', 'image', data=Data(path('cifar10')), checks=Checks(allow_near_leaks=True),
             recipe=Recipe(steps=1800, batch_size=64, augmentations=('flip', 'shift')), gate=Gate(floor=0.40)),
        Task('mnist', 'image', data=Data(path('mnist'), manifest='manifest.csv'),
             recipe=Recipe(steps=3600, batch_size=64, augmentations=('shift',)), gate=Gate(floor=0.90)),
        Task('fsdd_digit', 'audio', data=Data(path('fsdd'), manifest='digit.csv'),
             recipe=Recipe(steps=1200, batch_size=32, augmentations=('spec_augment',)), gate=Gate(floor=0.85)),
        Task('fsdd_tags', 'audio', data=Data(path('fsdd'), manifest='tags.csv', label_kind='multi'),
             recipe=Recipe(steps=1000, batch_size=32, augmentations=('spec_augment',)), gate=Gate(floor=0.90)),
        # 69 scenes, found by `polyvit data scenes` and joined by eye. There are 38 eval clips. One clip is 0.026 of the
        # accuracy, so a fall by two clips is within the noise.
        Task('surveillance', 'video',
             data=Data(path('surveillance'), manifest='manifest.csv', columns=Columns(split=''), groups=scenes),
             recipe=Recipe(steps=2000, batch_size=16,
                           augmentations=('temporal_crop', 'scale_jitter', 'flip', 'colour_jitter')),
             gate=Gate(floor=0.50, max_drop=0.06)),
    )
    return PipelineConfig(
        name='real-small',
        mixture=Mixture(tasks),
        # Patches of 8 x 8 on 32 x 32 pixels. Patches of 4 x 4 would make a step four times as expensive, and the floors
        # do not need them.
        model=preset('Nano', inputs=(
            ImageInput(height=32, width=32, patch=(8, 8)),
            AudioInput(frames=96, mel_bins=64, patch=(16, 16)),
            VideoInput(frames=8, height=64, width=64, patch=(2, 16, 16), frame_rate=8.0, short_side=72))),
        training=TrainingConfig(optimizer='adamw', learning_rate=1e-3, warmup_steps=243, weight_decay=0.05,
                                checkpoint_every=500),
    )

"""Five tasks of three modalities on small public data sets: CIFAR-10, MNIST, spoken digits (twice), surveillance clips.

Command: polyvit run real_small --data FOLDER  (or POLYVIT_DATA=FOLDER), where FOLDER holds cifar10/, mnist/, fsdd/ and
surveillance/.
Cost: 7,900 steps, 36 minutes in all on two cores that the tests kept busy too, of which training took 27.
Result, on the test splits: cifar10 0.491, mnist 0.957, fsdd_digit 0.972, surveillance 0.667 (accuracy); fsdd_tags 0.998
(mean average precision). Fewer steps do not do beside CIFAR-10: with 1,400 and 500, MNIST reached 0.862 and the digits
0.768.
"""

import os

from model_code.modalities import AudioInput, ImageInput, VideoInput
from model_code.settings import ModelConfig, TrainingConfig
from model_code.tasks import Mixture, Task
from pipeline.config import PipelineConfig


def get_config() -> PipelineConfig:
    data = os.environ.get('POLYVIT_DATA', '')
    path = lambda name: os.path.join(os.path.abspath(data), name) if data else ''
    tasks = (
        Task('cifar10', 'image', data=path('cifar10'), steps=1800, batch_size=64, augmentations=('flip', 'shift'),
             floor=0.40),
        Task('mnist', 'image', data=path('mnist'), manifest='manifest.csv', steps=3600, batch_size=64,
             augmentations=('shift',), floor=0.90),
        Task('fsdd_digit', 'audio', data=path('fsdd'), manifest='digit.csv', steps=1200, batch_size=32,
             augmentations=('spec_augment',), floor=0.85),
        Task('fsdd_tags', 'audio', data=path('fsdd'), manifest='tags.csv', multi_label=True, steps=1000, batch_size=32,
             augmentations=('spec_augment',), floor=0.90),
        # 48 clips to test on: one clip is 0.02, so a fall of two clips is within the noise.
        Task('surveillance', 'video', data=path('surveillance'), manifest='manifest.csv', steps=300, batch_size=16,
             augmentations=('flip', 'shift'), learning_rate_coefficient=0.5, floor=0.58, max_drop=0.05),
    )
    return PipelineConfig(
        name='real_small',
        mixture=Mixture(tasks),
        # Patches of 8 x 8 on 32 x 32 pixels: 4 x 4 costs four times as much a step, and the floors do not need it.
        model=ModelConfig(
            layers=4, width=128, heads=4, mlp_width=512,
            image=ImageInput(height=32, width=32, patch=(8, 8)),
            audio=AudioInput(frames=96, mel_bins=64, patch=(16, 16)),
            video=VideoInput(frames=8, height=64, width=64, patch=(2, 16, 16), frame_rate=8.0, short_side=72),
        ),
        training=TrainingConfig(optimizer='adamw', learning_rate=1e-3, warmup_steps=200, weight_decay=0.05,
                                checkpoint_every=500),
    )

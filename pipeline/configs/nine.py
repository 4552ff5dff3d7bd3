"""The nine data sets of PolyViT (TMLR 2023, arXiv 2111.12993, table 9 of the appendix), trained together.

Commands: polyvit plan nine; polyvit run nine, with the data sets as published under $POLYVIT_DATA/<task>
(docs/your_data.md lists their files); polyvit submit nine, with $POLYVIT_DATA in a bucket (docs/kubeflow.md).
Cost: 417,920 optimiser steps of a ViT-B, for accelerators; `polyvit plan nine` counts FLOPs and hours.
Start: $POLYVIT_VIT, the .npz file of a ViT-B/16 trained on ImageNet-21k (docs/recipes.md). Without it the weights start
at random.
Result, as published (table 2 of the paper): one model with 8.3 times fewer parameters than nine single-task models,
better than them on two of the nine data sets and close on the others. We have not run it. (The plan counts 8.43 times;
docs/recipes.md says why.)

As in the paper, a training clip is 32 successive stored frames (every second of 64 at 25 frames a second), a training
sound 8 seconds from anywhere in it, and the scores of a test example are the mean over 8 windows of a video, 4 of a
sound.
"""

import os

from polyvit import (
    AudioInput,
    Checks,
    Data,
    ImageInput,
    Mixture,
    PipelineConfig,
    Recipe,
    Task,
    TrainingConfig,
    VideoInput,
    preset,
)


def epochs(count: float, examples: int, batch_size: int) -> int:
    """The steps of `count` epochs. An epoch has only whole batches; the rest is left out, as in the reference code."""
    return int(count * (examples // batch_size))


def get_config() -> PipelineConfig:
    data = os.environ.get('POLYVIT_DATA', '')
    root = data if not data or '://' in data else os.path.abspath(data)

    def task(name, modality, classes, examples, recipe, max_missing_share=0.01, **data):
        folder = os.path.join(root, name) if root else ''
        return Task(name, modality, data=Data(folder, num_classes=classes, num_train_examples=examples, **data),
                    recipe=recipe, checks=Checks(max_missing_share=max_missing_share, allow_near_leaks=True))

    def image(name, classes, examples, coefficient, steps, **data):
        recipe = Recipe(steps, 512, coefficient, ('inception_crop', 'flip'))
        return task(name, 'image', classes, examples, recipe, **data)

    def video(name, classes, examples, coefficient, count, **data):
        recipe = Recipe(epochs(count, examples, 64), 64, coefficient, zero_init_head=True,
                        augmentations=('successive_frames', 'scale_jitter', 'colour_jitter', 'flip'))
        return task(name, 'video', classes, examples, recipe, **data)

    def sound(name, classes, examples, coefficient, count, **data):
        recipe = Recipe(epochs(count, examples, 64), 64, coefficient, zero_init_head=True, stochastic_depth=0.3,
                        augmentations=('temporal_crop', 'spec_augment'), mixup_alpha=0.3)
        return task(name, 'audio', classes, examples, recipe, **data)

    images = (
        # ImageNet is trained with the sigmoid (multi-label) loss, as in the recipe of ViT.
        image('imagenet', 1000, 1_281_167, 0.03, 20_000, format='imagenet', label_kind='multi'),
        image('cifar10', 10, 49_000, 0.03, 10_000, format='cifar10'),
        image('cifar100', 100, 49_000, 0.03, 10_000, format='cifar100'),
        image('oxford_iiit_pet', 37, 3_312, 0.03, 500, format='pets',
              manifest=('annotations/trainval.txt', 'annotations/test.txt')),
        # Published without a split; 18,900 of its 31,500 images are for training.
        image('resisc45', 45, 18_900, 0.1, 2_500, format='folders', eval_share=0.4),
    )
    # Clips disappear from YouTube every year. How many may be missing is a guess.
    clips_and_sounds = (
        video('kinetics400', 400, 214_834, 0.1, 30, format='kinetics',
              manifest=('annotations/train.csv', 'annotations/val.csv'), max_missing_share=0.25),
        video('moments_in_time', 339, 791_297, 0.25, 10, format='moments',
              manifest=('trainingSet.csv', 'validationSet.csv'), max_missing_share=0.02),
        sound('audioset', 527, 20_361, 0.5, 50, format='audioset', label_kind='multi',
              manifest=('balanced_train_segments.csv', 'eval_segments.csv'), max_missing_share=0.25),
        sound('vggsound', 309, 172_427, 0.5, 50, format='vggsound', manifest='vggsound.csv', max_missing_share=0.25),
    )
    # 500 steps for the images, and 2.5 epochs of each data set of clips or sounds.
    warmup_steps = 500 + sum(epochs(2.5, t.data.num_train_examples, t.recipe.batch_size) for t in clips_and_sounds)
    return PipelineConfig(
        name='nine',
        mixture=Mixture(images + clips_and_sounds, schedule='weighted'),
        model=preset('B', inputs=(
            ImageInput(height=384, width=384, patch=(16, 16)),
            # Three channels, each with the same spectrogram, because the tokenizer starts from that of a ViT.
            AudioInput(frames=800, mel_bins=128, patch=(16, 16), channels=3, views=4),
            VideoInput(frames=32, height=224, width=224, patch=(4, 16, 16), frame_rate=12.5, short_side=256, views=8))),
        training=TrainingConfig(optimizer='momentum', learning_rate=1.0, warmup_steps=warmup_steps, clip_norm=1.0,
                                strategy='auto', checkpoint_every=2_000, jit=True,
                                initial_checkpoint=os.environ.get('POLYVIT_VIT', '')),
    )

"""The nine data sets of PolyViT (TMLR 2023, arXiv 2111.12993), table 9 of its appendix, as one co-training run.

Command: polyvit plan nine; polyvit compile nine -o nine.yaml; with the data sets under $POLYVIT_DATA/<task>, as
published (docs/your_data.md says which files): polyvit run nine (on accelerators: see the plan's hours).
Cost: 417,920 optimiser steps of a ViT-B; `polyvit plan nine` counts the FLOPs.
Start: $POLYVIT_VIT, a ViT-B/16's .npz (ImageNet-21k's, docs/recipes.md); without it the weights start at random.
Result, as published (its table 2): one model with 8.3 times fewer parameters than nine single-task models, better on
two of the nine and near on the rest. Not run by us. (The plan counts 8.43; docs/recipes.md says why.)

Not as the paper has it: a training clip's 32 frames lie evenly over a random half to all of the clip (the paper's over
64 successive frames), and a test example is seen once (the paper averages 8 clips of a video, 4 of a sound).
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
    """Steps of `count` epochs; an epoch is its whole batches, the remainder is left out (as the reference does)."""
    return int(count * (examples // batch_size))


def get_config() -> PipelineConfig:
    data = os.environ.get('POLYVIT_DATA', '')
    root = data if not data or '://' in data else os.path.abspath(data)

    augmentations = {'image': ('inception_crop', 'flip'), 'audio': ('spec_augment',),
                     'video': ('temporal_crop', 'scale_jitter', 'colour_jitter', 'flip')}

    def task(name, modality, classes, examples, coefficient, batch_size, steps, data, max_missing_share=0.01, **recipe):
        return Task(
            name, modality,
            data=Data(os.path.join(root, name) if root else '', num_classes=classes, num_train_examples=examples,
                      **data),
            recipe=Recipe(steps, batch_size, coefficient, augmentations[modality], **recipe),
            checks=Checks(max_missing_share=max_missing_share))

    def epoch_task(name, modality, classes, examples, coefficient, count, data, **kwargs):
        sound = dict(stochastic_depth=0.3, mixup_alpha=0.3) if modality == 'audio' else {}
        return task(name, modality, classes, examples, coefficient, 64, epochs(count, examples, 64), data,
                    zero_init_head=True, **sound, **kwargs)

    tasks = (
        # ImageNet is trained with the sigmoid (multi-label) loss, as its ViT recipe does.
        task('imagenet', 'image', 1000, 1_281_167, 0.03, 512, 20_000, dict(format='imagenet', label_kind='multi')),
        task('cifar10', 'image', 10, 49_000, 0.03, 512, 10_000, dict(format='cifar10')),
        task('cifar100', 'image', 100, 49_000, 0.03, 512, 10_000, dict(format='cifar100')),
        task('oxford_iiit_pet', 'image', 37, 3_312, 0.03, 512, 500,
             dict(format='pets', manifest=('annotations/trainval.txt', 'annotations/test.txt'))),
        # Published without a split; 18,900 of 31,500 are six in ten.
        task('resisc45', 'image', 45, 18_900, 0.1, 512, 2_500, dict(format='folders', eval_share=0.4)),
        # Of the clips that YouTube had, more are gone every year: how many may be is a guess.
        epoch_task('kinetics400', 'video', 400, 214_834, 0.1, 30,
                   dict(format='kinetics', manifest=('annotations/train.csv', 'annotations/val.csv')),
                   max_missing_share=0.25),
        epoch_task('moments_in_time', 'video', 339, 791_297, 0.25, 10,
                   dict(format='moments', manifest=('trainingSet.csv', 'validationSet.csv')), max_missing_share=0.02),
        epoch_task('audioset', 'audio', 527, 20_361, 0.5, 50,
                   dict(format='audioset', label_kind='multi',
                        manifest=('balanced_train_segments.csv', 'eval_segments.csv')), max_missing_share=0.25),
        epoch_task('vggsound', 'audio', 309, 172_427, 0.5, 50, dict(format='vggsound', manifest='vggsound.csv'),
                   max_missing_share=0.25),
    )
    # 500 steps for the image group and 2.5 epochs of each video and audio data set.
    warmup_steps = 500 + sum(epochs(2.5, t.data.num_train_examples, t.recipe.batch_size)
                             for t in tasks if t.modality != 'image')
    return PipelineConfig(
        name='nine',
        mixture=Mixture(tasks, schedule='weighted'),
        model=preset(
            'B',
            image=ImageInput(height=384, width=384, patch=(16, 16)),
            # Three channels: the tokenizer starts from a ViT's, so the spectrogram is repeated.
            audio=AudioInput(frames=800, mel_bins=128, patch=(16, 16), channels=3),
            video=VideoInput(frames=32, height=224, width=224, patch=(4, 16, 16), frame_rate=12.5, short_side=256),
        ),
        training=TrainingConfig(optimizer='momentum', learning_rate=1.0, warmup_steps=warmup_steps, clip_norm=1.0,
                                strategy='auto', checkpoint_every=2_000, jit=True,
                                initial_checkpoint=os.environ.get('POLYVIT_VIT', '')),
    )

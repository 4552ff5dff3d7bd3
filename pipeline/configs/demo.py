"""Three small tasks of three modalities, made without a download: handwritten digits, moving digits, sounds.

Command: make demo (or: polyvit data demo runs/demo/media; polyvit run demo).
"""

import os

from polyvit import (
    AudioInput,
    Data,
    Gate,
    ImageInput,
    Mixture,
    ModelConfig,
    PipelineConfig,
    Recipe,
    Task,
    TrainingConfig,
    VideoInput,
)


def get_config() -> PipelineConfig:
    media = os.environ.get('POLYVIT_DEMO_DATA', 'runs/demo/media')  # a folder, or a URL such as s3://bucket/media
    tasks = (
        Task('digits', 'image', data=Data(f'{media}/digits'), recipe=Recipe(steps=250, batch_size=32),
             gate=Gate(floor=0.7, max_drop=0.1)),
        Task('sounds', 'audio', data=Data(f'{media}/sounds', manifest='manifest.csv'),
             recipe=Recipe(steps=60, batch_size=16), gate=Gate(floor=0.7, max_drop=0.1)),
        Task('motion', 'video', data=Data(f'{media}/motion', manifest='manifest.csv'),
             recipe=Recipe(steps=100, batch_size=16), gate=Gate(floor=0.5, max_drop=0.1)),
    )
    return PipelineConfig(
        name='demo',
        mixture=Mixture(tasks),
        model=ModelConfig(
            layers=2, width=64, heads=4, mlp_width=128,
            inputs=(ImageInput(height=32, width=32, patch=(8, 8)),
                    AudioInput(frames=96, mel_bins=64, patch=(16, 16)),
                    VideoInput(frames=8, height=32, width=32, patch=(2, 8, 8), frame_rate=8.0, short_side=32))),
        training=TrainingConfig(learning_rate=2e-3, warmup_steps=30, checkpoint_every=200),
    )

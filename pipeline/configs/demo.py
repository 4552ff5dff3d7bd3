"""Three modalities, made on the spot: handwritten digits, moving digits, synthesised sounds.

Command: make demo (or: polyvit data demo runs/demo/media; polyvit run demo).
"""

import os

from model_code.modalities import AudioInput, ImageInput, VideoInput
from model_code.settings import ModelConfig, TrainingConfig
from model_code.tasks import Mixture, Task
from pipeline.config import PipelineConfig


def get_config() -> PipelineConfig:
    media = os.path.abspath(os.environ.get('POLYVIT_DEMO_DATA', 'runs/demo/media'))
    tasks = (
        Task('digits', 'image', data=f'{media}/digits', steps=250, batch_size=32, floor=0.7, max_drop=0.1),
        Task('sounds', 'audio', data=f'{media}/sounds', manifest='manifest.csv', steps=60, batch_size=16, floor=0.7,
             max_drop=0.1),
        Task('motion', 'video', data=f'{media}/motion', manifest='manifest.csv', steps=100, batch_size=16, floor=0.5,
             max_drop=0.1),
    )
    return PipelineConfig(
        name='demo',
        mixture=Mixture(tasks),
        model=ModelConfig(
            layers=2, width=64, heads=4, mlp_width=128,
            image=ImageInput(height=32, width=32, patch=(8, 8)),
            audio=AudioInput(frames=96, mel_bins=64, patch=(16, 16)),
            video=VideoInput(frames=8, height=32, width=32, patch=(2, 8, 8), frame_rate=8.0, short_side=32),
        ),
        training=TrainingConfig(learning_rate=2e-3, warmup_steps=30, checkpoint_every=200),
    )

"""ModelConfig and TrainingConfig: what the trainer needs beside the mixture. No TensorFlow here."""

import dataclasses

from model_code import modalities
from model_code.errors import ConfigError, unknown

STRATEGIES = ('auto', 'tpu', 'mirrored', 'multi_worker', 'one_device')
INFLATIONS = ('central_frame', 'average')
PRECISIONS = ('float32', 'bfloat16', 'float16')
LEARNING_RATE_SCHEDULES = ('cosine', 'constant')
# 'momentum' is SGD with momentum 0.9 (training.Momentum); the others are tf_keras.optimizers' classes with their
# defaults. (Nadam counts in Python; inside a tf.function its first steps are shorter than its authors', without the
# bias correction.)
OPTIMIZERS = {'momentum': 'Momentum', 'adam': 'Adam', 'adamw': 'AdamW', **{name: name for name in (
    'Adadelta', 'Adafactor', 'Adagrad', 'Adam', 'AdamW', 'Adamax', 'Ftrl', 'Lion', 'Nadam', 'RMSprop', 'SGD')}}

# ViT presets: layers, width, heads, MLP width (polyvit.md, Model).
PRESETS = {
    'Ti': dict(layers=12, width=192, heads=3, mlp_width=768),
    'S': dict(layers=12, width=384, heads=6, mlp_width=1536),
    'B': dict(layers=12, width=768, heads=12, mlp_width=3072),
    'L': dict(layers=24, width=1024, heads=16, mlp_width=4096),
}


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The encoder's size and each modality's input.

    modality_layers: so many of the `layers` blocks, the first, are each modality's own (the paper's L_adapt); 0 shares
      all of them.
    dropout: a rate in [0, 1), after each attention and in each MLP. (Stochastic depth is a task's.)
    """
    layers: int = 12
    width: int = 192
    heads: int = 3
    mlp_width: int = 768
    modality_layers: int = 0
    dropout: float = 0.0
    image: modalities.ImageInput = modalities.ImageInput()
    audio: modalities.AudioInput = modalities.AudioInput()
    video: modalities.VideoInput = modalities.VideoInput()

    def __post_init__(self):
        if self.width % self.heads:
            raise ConfigError(f'Model: width is {self.width}, which {self.heads} heads do not divide. '
                              'Choose a width that is a multiple of heads.')
        if not 0 <= self.modality_layers <= self.layers:
            raise ConfigError(f'Model: modality_layers is {self.modality_layers}; it must be from 0 to the number of '
                              f'layers, {self.layers}.')
        if not 0 <= self.dropout < 1:
            raise ConfigError(f'Model: dropout is {self.dropout}; it must be in [0, 1).')

    def input(self, modality: str):
        """The modality's ImageInput, AudioInput or VideoInput."""
        return getattr(self, modality)


def preset(name: str, **overrides) -> ModelConfig:
    """ModelConfig of a ViT preset (Ti, S, B, L) with other fields set by keyword."""
    if name not in PRESETS:
        raise unknown('preset', name, PRESETS)
    return ModelConfig(**{**PRESETS[name], **overrides})


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """How the mixture is trained.

    optimizer: a name of OPTIMIZERS.
    learning_rate: the shared schedule's peak: linear warm-up over warmup_steps, then, by learning_rate_schedule, cosine
      to 0 at the last step, or constant.
    weight_decay: decoupled, times the learning rate; not of biases, norms, class tokens and position embeddings.
    clip_norm: gradients' global norm, over all replicas, is clipped to this; 0 does not clip.
    checkpoint_every: steps between checkpoints (there is one every 10 minutes besides).
    eval_every: steps between evaluations of a few batches of each task's eval split, for TensorBoard; 0 is never.
    eval_batch_size: examples a batch outside training.
    precision: what matrices are multiplied in: float32, bfloat16, or float16 (with dynamic loss scaling). Variables and
      the exported model are float32.
    jit: compile the steps with XLA. replicas: for 'mirrored' on CPU, how many logical devices; 0 takes what is there.
    tpu: the TPU's name for strategy 'tpu' ('' on a TPU VM, 'local').
    initial_checkpoint: what the weights start from, '' for nothing: a public ViT's .npz, or a pushed version, model_run
      or checkpoint directory of our own. inflation: how a ViT's kernel becomes a video's (model_code.initialisation).
    """
    optimizer: str = 'adamw'
    learning_rate: float = 1e-3
    learning_rate_schedule: str = 'cosine'
    warmup_steps: int = 100
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    seed: int = 0
    checkpoint_every: int = 500
    eval_every: int = 0
    eval_batch_size: int = 64
    precision: str = 'float32'
    jit: bool = False
    strategy: str = 'auto'
    replicas: int = 0
    tpu: str = ''
    initial_checkpoint: str = ''
    inflation: str = 'central_frame'

    def __post_init__(self):
        for field, known in (('inflation', INFLATIONS), ('strategy', STRATEGIES), ('optimizer', OPTIMIZERS),
                             ('precision', PRECISIONS), ('learning_rate_schedule', LEARNING_RATE_SCHEDULES)):
            if getattr(self, field) not in known:
                raise unknown(field.replace('_', ' '), getattr(self, field), known)
        for field, least in (('learning_rate', 0), ('warmup_steps', 0), ('weight_decay', 0), ('clip_norm', 0),
                             ('checkpoint_every', 1), ('eval_every', 0), ('eval_batch_size', 1)):
            if getattr(self, field) < least:
                raise ConfigError(f'Training: {field} is {getattr(self, field)}; it must be at least {least}.')


def check_batches(tasks, replicas: int):
    """Each task's batch must divide over the replicas, or some would idle."""
    for task in tasks:
        if task.batch_size % replicas:
            raise ConfigError(f'Task {task.name}: batch_size is {task.batch_size}, which does not divide over '
                              f'{replicas} replicas. Choose a multiple of {replicas}.')

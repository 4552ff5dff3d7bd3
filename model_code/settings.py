"""ModelConfig and TrainingConfig: what the trainer needs beside the mixture. No TensorFlow here."""

import dataclasses
from typing import Literal

from model_code.choices import check_choices
from model_code.errors import ConfigError, unknown
from model_code.modalities import MODALITIES, Input, get_modality

# 'momentum' is SGD with momentum 0.9 (training.Momentum); the others are tf_keras.optimizers' classes with their
# defaults. (Nadam counts in Python; inside a tf.function its first steps are shorter than its authors', without the
# bias correction.)
OPTIMIZERS = {'momentum': 'Momentum', 'adam': 'Adam', 'adamw': 'AdamW', **{name: name for name in (
    'Adadelta', 'Adafactor', 'Adagrad', 'Adam', 'AdamW', 'Adamax', 'Ftrl', 'Lion', 'Nadam', 'RMSprop', 'SGD')}}

# The ViT sizes (Dosovitskiy et al., ICLR 2021, table 1; Touvron et al., ICML 2021, table 1).
PRESETS = {
    'Ti': dict(layers=12, width=192, heads=3, mlp_width=768),
    'S': dict(layers=12, width=384, heads=6, mlp_width=1536),
    'B': dict(layers=12, width=768, heads=12, mlp_width=3072),
    'L': dict(layers=24, width=1024, heads=16, mlp_width=4096),
}


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The encoder's size and each modality's input."""
    layers: int = 12
    """Transformer blocks."""
    width: int = 192
    """The size of a token; a multiple of `heads`."""
    heads: int = 3
    """Attention heads."""
    mlp_width: int = 768
    """The size of the hidden layer in each block's MLP."""
    modality_layers: int = 0
    """How many of the `layers` blocks, the first, are each modality's own (the paper's L_adapt); 0 shares all."""
    dropout: float = 0.0
    """A rate in [0, 1), after each attention and in each MLP. (Stochastic depth is a task's.)"""
    inputs: tuple[Input, ...] = ()
    """What the tasks of each modality take in: an ImageInput, an AudioInput, a VideoInput, in any order. A modality
    that is left out has its defaults. One alone needs no tuple."""

    def __new__(cls, *args, **fields):
        """Before the fields are set: a config with image=, audio= or video= is shown the new form."""
        old = [value for name, value in fields.items() if name in MODALITIES]
        if old:
            raise ConfigError(f'Model: what the modalities take in is one tuple. Write inputs={tuple(old)!r}.')
        return super().__new__(cls)

    def __post_init__(self):
        self._complete_inputs()
        if self.width % self.heads:
            raise ConfigError(f'Model: width is {self.width}, which {self.heads} heads do not divide. '
                              'Choose a width that is a multiple of heads.')
        if not 0 <= self.modality_layers <= self.layers:
            raise ConfigError(f'Model: modality_layers is {self.modality_layers}; it must be from 0 to the number of '
                              f'layers, {self.layers}.')
        if not 0 <= self.dropout < 1:
            raise ConfigError(f'Model: dropout is {self.dropout}; it must be in [0, 1).')

    def _complete_inputs(self):
        """One input for each modality, in the table's order: equal meaning is an equal config, with an equal key."""
        inputs = (self.inputs,) if isinstance(self.inputs, Input) else self.inputs
        given = {}
        for value in inputs:
            if not isinstance(value, Input):
                kinds = ', '.join(row.input_class.__name__ for row in MODALITIES.values())
                raise ConfigError(f'Model: inputs has {value!r}; it takes {kinds}.')
            if value.modality in given:
                raise ConfigError(f'Model: inputs has two of {value.modality}, {given[value.modality]} and {value}; '
                                  'a modality has one.')
            given[get_modality(value.modality).name] = value
        object.__setattr__(self, 'inputs', tuple(
            given.get(name) or row.input_class() for name, row in MODALITIES.items()))

    def input(self, modality: str):
        """What the modality takes in: its ImageInput, AudioInput, VideoInput."""
        return next(value for value in self.inputs if value.modality == modality)


def preset(name: str, **overrides) -> ModelConfig:
    """ModelConfig of a ViT preset (Ti, S, B, L) with other fields set by keyword."""
    if name not in PRESETS:
        raise unknown('preset', name, PRESETS)
    return ModelConfig(**{**PRESETS[name], **overrides})


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """How the mixture is trained."""
    optimizer: str = 'adamw'
    """A name of `OPTIMIZERS`: 'momentum' (the paper's), 'adam', 'adamw', or a class of tf_keras.optimizers."""
    learning_rate: float = 1e-3
    """The shared schedule's peak, reached by a linear warm-up."""
    learning_rate_schedule: Literal['cosine', 'constant'] = 'cosine'
    """After the warm-up: cosine to 0 at the last step, or constant."""
    warmup_steps: int = 100
    """Steps of the linear warm-up."""
    weight_decay: float = 0.0
    """Decoupled, times the learning rate; not of biases, norms, class tokens and position embeddings."""
    clip_norm: float = 1.0
    """The gradients' global norm, over all replicas, is clipped to this; 0 does not clip."""
    seed: int = 0
    """What initial weights, shuffling, augmentations and dropout draw from."""
    checkpoint_every: int = 500
    """Steps between checkpoints (there is one every 10 minutes besides)."""
    eval_every: int = 0
    """Steps between evaluations of a few batches of each task's eval split, for TensorBoard; 0 is never."""
    eval_batch_size: int = 64
    """Examples per batch outside training."""
    precision: Literal['float32', 'bfloat16', 'float16'] = 'float32'
    """What matrices are multiplied in (float16 with dynamic loss scaling). Variables and the exported model are
    float32."""
    jit: bool = False
    """Compile the steps with XLA."""
    strategy: Literal['auto', 'tpu', 'mirrored', 'multi_worker', 'one_device'] = 'auto'
    """The tf.distribute strategy; 'auto' takes the best that the machine offers."""
    replicas: int = 0
    """For 'mirrored' on CPU: how many logical devices; 0 takes what is there."""
    tpu: str = ''
    """The TPU's name for strategy 'tpu'; '' on a TPU VM, which is 'local'."""
    initial_checkpoint: str = ''
    """What the weights start from: a public ViT's .npz, or a pushed version, model_run or checkpoint directory of our
    own; '' is nothing."""
    inflation: Literal['central_frame', 'average'] = 'central_frame'
    """How a ViT's 2-D kernel becomes a video's 3-D one (docs/model.md)."""

    def __post_init__(self):
        check_choices(self)
        if self.optimizer not in OPTIMIZERS:
            raise unknown('optimizer', self.optimizer, OPTIMIZERS)
        for field, least in (('learning_rate', 0), ('warmup_steps', 0), ('weight_decay', 0), ('clip_norm', 0),
                             ('checkpoint_every', 1), ('eval_every', 0), ('eval_batch_size', 1)):
            if getattr(self, field) < least:
                raise ConfigError(f'Training: {field} is {getattr(self, field)}; it must be at least {least}.')


def check_batches(tasks, replicas: int):
    """Each task's batch must divide over the replicas, or some would idle."""
    for task in tasks:
        if task.recipe.batch_size % replicas:
            raise ConfigError(f'Task {task.name}: batch_size is {task.recipe.batch_size}, which does not divide over '
                              f'{replicas} replicas. Choose a multiple of {replicas}.')

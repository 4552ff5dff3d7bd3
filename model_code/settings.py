"""ModelConfig and TrainingConfig: what the trainer needs besides the mixture. No TensorFlow here."""

import dataclasses
import math
from typing import Literal

from model_code.errors import ConfigError, unknown
from model_code.fields import FilePath, check_fields, check_least
from model_code.modalities import MODALITIES, Input, get_modality

# 'momentum' is SGD with momentum 0.9 (training.Momentum). The others are classes of tf_keras.optimizers with their
# defaults. (Nadam counts steps in Python. Inside a tf.function it therefore lacks the bias correction, and its first
# steps are shorter than its authors intended.)
OPTIMIZERS = {'momentum': 'Momentum', 'adam': 'Adam', 'adamw': 'AdamW', **{name: name for name in (
    'Adadelta', 'Adafactor', 'Adagrad', 'Adam', 'AdamW', 'Adamax', 'Ftrl', 'Lion', 'Nadam', 'RMSprop', 'SGD')}}

# The sizes of ViT (Dosovitskiy et al., ICLR 2021, table 1) and of DeiT (Touvron et al., ICML 2021, table 1), and Nano,
# a size of this project that CPUs train in minutes. docs/configuration.md tells the parameters of each.
PRESETS = {
    'Nano': dict(layers=4, width=128, heads=4, mlp_width=512),
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
    """How many of the first blocks each modality has for itself (the paper's L_adapt). 0 shares all blocks."""
    dropout: float = 0.0
    """The dropout rate after each attention and in each MLP, in [0, 1). (Stochastic depth is set per task.)"""
    inputs: tuple[Input, ...] = ()
    """The input of each modality: an ImageInput, an AudioInput, a VideoInput, a TextInput, in any order. A modality
    that is left out has its defaults. A single input needs no tuple."""

    def __new__(cls, *args, **fields):
        """Rejects the old form with image=, audio= or video=, before the fields are set, and shows the new one."""
        old = [value for name, value in fields.items() if name in MODALITIES]
        if old:
            raise ConfigError(f'Model: the inputs of the modalities are one tuple. Write inputs={tuple(old)!r}.')
        return super().__new__(cls)

    def __post_init__(self):
        self._complete_inputs()
        check_fields(self, 'Model: ')
        check_least(self, 'Model: ', layers=1, width=1, heads=1, mlp_width=1)
        if self.width % self.heads:
            raise ConfigError(f'Model: width is {self.width}, which {self.heads} heads do not divide. '
                              'Choose a width that is a multiple of heads.')
        if not 0 <= self.modality_layers <= self.layers:
            raise ConfigError(f'Model: modality_layers is {self.modality_layers}; it must be from 0 to the number of '
                              f'layers, {self.layers}.')
        if not 0 <= self.dropout < 1:
            raise ConfigError(f'Model: dropout is {self.dropout}; it must be in [0, 1).')

    def _complete_inputs(self):
        """Makes one input per modality, in the order of the table, so that configs of equal meaning are equal."""
        inputs = self.inputs if isinstance(self.inputs, (list, tuple)) else (self.inputs,)
        given = {}
        for value in inputs:
            if not isinstance(value, Input):
                kinds = ', '.join(row.input_class.__name__ for row in MODALITIES.values())
                raise ConfigError(f'Model: inputs has {value!r}; it takes {kinds}.')
            if value.modality in given:
                raise ConfigError(f'Model: inputs has two for {value.modality}, {given[value.modality]} and {value}; '
                                  'give one.')
            given[get_modality(value.modality).name] = value
        object.__setattr__(self, 'inputs', tuple(
            given.get(name) or row.input_class() for name, row in MODALITIES.items()))

    def input(self, modality: str):
        """The input of the modality, such as its ImageInput."""
        return next(value for value in self.inputs if value.modality == modality)


def preset(name: str, **overrides) -> ModelConfig:
    """The ModelConfig of a size in `PRESETS` (Nano, Ti, S, B or L). overrides: other fields, by name."""
    if name not in PRESETS:
        raise unknown('preset', name, PRESETS)
    return ModelConfig(**{**PRESETS[name], **overrides})


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """How the mixture is trained."""
    optimizer: str = 'adamw'
    """A name of `OPTIMIZERS`: 'momentum' (the paper's), 'adam', 'adamw', or a class of tf_keras.optimizers."""
    learning_rate: float = 1e-3
    """The peak of the schedule that all tasks share, reached by a linear warm-up."""
    learning_rate_schedule: Literal['cosine', 'constant'] = 'cosine'
    """After the warm-up: a cosine to 0 at the last step, or constant."""
    warmup_steps: int | None = None
    """Steps of the linear warm-up, at most those of all tasks. None takes a tenth of these, and at most 100."""
    weight_decay: float = 0.0
    """Decoupled weight decay, times the learning rate. Leaves out biases, norms, class tokens, position embeddings."""
    clip_norm: float = 1.0
    """The largest global norm of the gradients, over all replicas; 0 does not clip."""
    seed: int = 0
    """The seed of initial weights, shuffling, augmentations and dropout."""
    checkpoint_every: int = 500
    """Steps between checkpoints. There is also one every 10 minutes."""
    eval_every: int = -1
    """Steps between evaluations of each task's eval split, for the curves of TensorBoard and the report. 0 means never,
    -1 as often as takes less than 5% of the training time. Evaluations take a few batches (all, for the next two
    fields)."""
    keep_best: bool = False
    """Whether the weights with the best mean of the tasks' primary metrics on the eval split are exported, rather than
    the last. Needs eval_every."""
    patience: int = 0
    """Training stops after this many evaluations in a row without a better mean of the primary metrics; 0 means never.
    Needs eval_every."""
    eval_batch_size: int = 64
    """Examples per batch in these evaluations."""
    gradient_diagnosis_every: int = 0
    """Steps between measurements of how the gradients of the tasks agree on the blocks that they share, for TensorBoard
    and the report (docs/training.md, "Gradients of the tasks"). They change no weight. 0 means never."""
    precision: Literal['float32', 'bfloat16', 'float16'] = 'float32'
    """The dtype of matrix products; float16 comes with dynamic loss scaling. Variables and the exported model are
    float32."""
    jit: bool = False
    """Whether XLA compiles the steps. On a GPU bfloat16 pays only with it (docs/training.md, "GPUs")."""
    strategy: Literal['auto', 'tpu', 'mirrored', 'multi_worker', 'one_device'] = 'auto'
    """The tf.distribute strategy; 'auto' takes the best that the machine offers."""
    replicas: int = 0
    """The number of logical devices for 'mirrored' on CPU; 0 means one."""
    tpu: str = ''
    """The name of the TPU for strategy 'tpu'; '' on a TPU VM, where it is 'local'."""
    initial_checkpoint: FilePath = ''
    """What the weights start from: a public ViT (an .npz file, or safetensors in Hugging Face's naming), or a pushed
    version, a model_run or a checkpoint directory of this project. '' starts from random weights."""
    inflation: Literal['central_frame', 'average'] = 'central_frame'
    """How the 2-D kernel of a ViT becomes the 3-D kernel for video (docs/model.md, "Starting from a ViT")."""
    train_only: tuple[str, ...] = ()
    """The tasks whose heads are trained, such as one that is added to a served model; () trains everything. All other
    weights stay those of initial_checkpoint, or without it of the model being served, bit for bit (docs/operations.md,
    "Adding a task to a served model")."""

    def __post_init__(self):
        check_fields(self, 'Training: ')
        if self.optimizer not in OPTIMIZERS:
            raise unknown('optimizer', self.optimizer, OPTIMIZERS, 'Training: ')
        check_least(self, 'Training: ', learning_rate=0, weight_decay=0, clip_norm=0, seed=0,
                    checkpoint_every=1, eval_every=-1, patience=0, eval_batch_size=1,
                    gradient_diagnosis_every=0, replicas=0)
        if (self.keep_best or self.patience) and self.eval_every < 1:
            field = 'keep_best' if self.keep_best else 'patience'
            raise ConfigError(f'Training: {field} is {getattr(self, field)}, but eval_every is {self.eval_every}; it '
                              'must be the number of steps between evaluations, because the result may not depend on '
                              'how fast the machine is.')
        if self.warmup_steps is not None:
            check_least(self, 'Training: ', warmup_steps=0)
        if self.train_only and self.initial_checkpoint.endswith(('.npz', '.safetensors')):
            raise ConfigError(f'Training: train_only keeps the heads of the other tasks, but initial_checkpoint is '
                              f'{self.initial_checkpoint}, which has none. Give a pushed version, or leave it out for '
                              'the model that is being served.')

    def trained(self, mixture):
        """The Mixture with only those of its tasks that are trained."""
        if not self.train_only:
            return mixture
        return mixture.only([task.name for task in mixture.tasks if task.name in self.train_only])

    def check_train_only(self, mixture):
        """Raises ConfigError unless train_only names some tasks of the Mixture, and not all, or if it is 'staged'."""
        names = [task.name for task in mixture.tasks]
        for name in self.train_only:
            if name not in names:
                raise unknown('task', name, names, 'Training: train_only: ')
        if len(set(self.train_only)) != len(self.train_only):
            raise ConfigError(f'Training: a task is named twice in train_only, {self.train_only}.')
        if set(names) == set(self.train_only):
            raise ConfigError('Training: train_only names all tasks. It names those that are trained while others stay '
                              'as they are being served; leave it out to train everything.')
        if self.train_only and mixture.schedule == 'staged':
            raise ConfigError(f"Mixture: the schedule 'staged' begins with {' and '.join(mixture.first_tasks)}, but "
                              f"train_only trains {' and '.join(self.train_only)} alone. Leave one of them out.")
        for name in self.train_only:
            if mixture[name].recipe.objective == 'captions':
                raise ConfigError(f"Training: train_only names {name}, whose objective is 'captions': such a task "
                                  'trains the encoder, which train_only keeps as it is. Leave train_only out to train '
                                  "everything, or let the task learn from its labels (objective='labels').")

    def check_warmup(self, total_steps: int):
        """Raises ConfigError if the warm-up is longer than a training of this many steps."""
        if self.warmup(total_steps) > total_steps:
            raise ConfigError(f'Training: warmup_steps is {self.warmup_steps}, more than the steps of all tasks '
                              f'together, {total_steps}. Choose fewer, or leave it out for a tenth of the steps.')

    def warmup(self, total_steps: int) -> int:
        """The steps of the warm-up in a training of this many steps."""
        return min(100, total_steps // 10) if self.warmup_steps is None else self.warmup_steps


def check_batches(tasks, replicas: int):
    """Raises ConfigError if a task's batch does not divide over the replicas: some would idle."""
    for task in tasks:
        if task.recipe.batch_size % replicas:
            raise ConfigError(f'Task {task.name}: batch_size is {task.recipe.batch_size}, which does not divide over '
                              f'{replicas} replicas. Choose a multiple of {replicas}.')


def check_token_shares(tasks, model: ModelConfig):
    """Raises ConfigError if a task's token_share keeps no patch of its input."""
    for task in tasks:
        patches = math.prod(model.input(task.modality).grid)
        if not round(task.recipe.token_share * patches):
            raise ConfigError(f'Task {task.name}: token_share is {task.recipe.token_share}, which keeps none of the '
                              f'{patches:,} patches of its input. Choose at least 1 / {patches}.')

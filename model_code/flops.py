"""What a model's size and training come to: parameters, FLOPs, and the time that these take. Without TensorFlow.

The model is that of docs/model.md: biases everywhere, a class token and learned positions per tokenizer, one encoder,
the dense layers of a head. A multiply-add is 2 FLOPs. A training step is as much as 3 forward passes: one forward, and
twice as much backward.
"""

import dataclasses
import itertools
import math

from model_code import freezing
from model_code.errors import ConfigError
from model_code.modalities import get_modality

# A CPU's training step takes its FLOPs at this share of the rate of a matrix product (benchmarks/step.py), and so many
# seconds more, whatever its size. 300 steps of Nano took 0.94 of what this gives, and 1.2 with the tracing before them.
CPU_SHARE = 0.75
STEP_SECONDS = 0.005
# FLOP/s of a float32 matrix product on one core where nothing was measured: modest, for a core with AVX2.
CORE_RATE = 33e9


@dataclasses.dataclass(frozen=True)
class Accelerators:
    """What the plan's hours assume: `count` devices with a peak of `flops` FLOP/s, of which training reaches a share.

    The defaults are assumptions, not measurements: the bfloat16 peak of one NVIDIA A100, and about a third of it.
    """
    flops: float = 312e12
    utilisation: float = 0.35
    count: int = 1

    def __post_init__(self):
        if not 0 < self.flops < math.inf:
            raise ConfigError(f'--flops is {self.flops}; it must be the FLOP/s of one accelerator, such as 312e12.')
        if not 0 < self.utilisation <= 1:
            raise ConfigError(f'--utilisation is {self.utilisation}; it must be over 0 and at most 1.')
        if self.count < 1:
            raise ConfigError(f'--accelerators is {self.count}; it must be at least 1.')

    @property
    def rate(self) -> float:
        """Sustained FLOP/s of all devices together."""
        return self.flops * self.utilisation * self.count


def block_parameters(model) -> int:
    """The parameters of a pre-norm block: 2 LayerNorms, 4 attention projections, 2 MLP layers."""
    width, hidden = model.width, model.mlp_width
    return 2 * 2 * width + 4 * (width * width + width) + (width * hidden + hidden) + (hidden * width + width)


def shared_parameters(model) -> int:
    """The parameters of the blocks that all modalities share, and of the final LayerNorm."""
    return (model.layers - model.modality_layers) * block_parameters(model) + 2 * model.width


def tokens(spec) -> int:
    """How many tokens an example has: its patches and the class token."""
    return math.prod(spec.grid) + 1


def training_tokens(model, task) -> int:
    """How many of an example's tokens a training step of the task looks at."""
    axes = get_modality(task.modality).kept_patches(model.input(task.modality), task.recipe.token_share)
    return math.prod(kept for _, kept in axes) + 1


def tokenizer_parameters(width: int, spec) -> int:
    """The parameters of the convolution with bias, the class token and the position embedding."""
    return (_patch_values(spec) + 1) * width + width + tokens(spec) * width


def _patch_values(spec) -> int:
    """How many numbers a patch has, over all channels."""
    return math.prod(spec.patch) * spec.shape[-1]


def head_layers(model, task, classes: int) -> list[tuple[int, int]]:
    """(inputs, outputs) of each dense layer of a task's head."""
    widths = [model.width, *task.recipe.head_hidden, classes]
    return list(itertools.pairwise(widths))


def head_parameters(model, task, classes: int) -> int:
    if task.recipe.objective == 'captions':
        return 2 * model.width * model.width + 1  # a projection each of media and captions, the scale
    return sum(inputs * outputs + outputs for inputs, outputs in head_layers(model, task, classes))


def forward_flops(model, task, classes: int, training: bool = False) -> int:
    """FLOPs of one example through tokenizer, encoder and head. Only matrix products; the rest is under one percent.

    training: whether the task's token_share counts.
    """
    spec = model.input(task.modality)
    head = sum(2 * inputs * outputs for inputs, outputs in head_layers(model, task, classes))
    return _encoder_flops(model, spec, training_tokens(model, task) if training else tokens(spec)) + head


def _encoder_flops(model, spec, count: int) -> int:
    """FLOPs of one example of so many tokens, without a head."""
    width = model.width
    tokenizer = 2 * (count - 1) * _patch_values(spec) * width
    projections = 2 * count * (4 * width * width + 2 * width * model.mlp_width)
    attention = 2 * 2 * count * count * width
    return tokenizer + model.layers * (projections + attention)


def training_flops(model, task, classes: int, steps: int) -> float:
    """FLOPs of so many training steps of a task. classes: its number of classes."""
    captions = sum(_encoder_flops(model, spec, tokens(spec)) for spec in map(model.input, task.modalities[1:]))
    return 3.0 * steps * task.recipe.batch_size * (forward_flops(model, task, classes, training=True) + captions)


def frozen_flops(model, task, classes: int, steps: int, examples: int) -> float:
    """As `training_flops`, of a task whose head alone is trained (freezing.is_frozen): forward passes.

    examples: of its train split, 0 if unknown. Where they are encoded once, the steps come to nothing beside that.
    """
    passed = steps * task.recipe.batch_size
    if examples and freezing.is_encoded_once(task, examples, model.width):
        passed = examples
    return float(passed * forward_flops(model, task, classes))


def cpu_seconds(flops: float, steps: int, product_rate: float) -> float:
    """How long a training takes on a CPU. product_rate: FLOP/s of its float32 matrix product, all cores together."""
    return flops / (CPU_SHARE * product_rate) + STEP_SECONDS * steps

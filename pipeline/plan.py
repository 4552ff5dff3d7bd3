"""What a config costs, before anything runs: tokens, parameters, FLOPs, steps, storage, hours. No TensorFlow here.

The counts follow polyvit.md's model: biases everywhere, a class token and learned positions a tokenizer, one encoder,
one dense layer a head. A multiplication with an addition is 2 FLOPs; a training step is 3 forward passes (forward,
and twice that backward).
"""

import dataclasses
import math
import textwrap

from model_code import modalities

# What "hours" assumes, in sustained FLOP/s (not peak), because nobody reaches the peak.
CPU_RATE = 0.05e12
ACCELERATOR_RATE = 100e12
ASSUMPTION = ('hours are training alone, at a sustained 0.05 TFLOP/s (two CPU cores) or 100 TFLOP/s (one current '
              'accelerator at about a third of its bfloat16 peak); start-up and tracing, minutes on a CPU, come on top')
# Copies of the parameters, in float32, that a checkpoint holds beside the parameters.
OPTIMIZER_SLOTS = {'momentum': 1, 'adam': 2, 'adamw': 2}


def encoder_parameters(model) -> int:
    """Pre-norm blocks (2 LayerNorms, 4 attention projections, 2 MLP layers) and the final LayerNorm."""
    width, hidden = model.width, model.mlp_width
    block = 2 * 2 * width + 4 * (width * width + width) + (width * hidden + hidden) + (hidden * width + width)
    return model.layers * block + 2 * width


def tokens(spec) -> int:
    """Patches and the class token."""
    return math.prod(spec.grid) + 1


def tokenizer_parameters(model, modality: str) -> int:
    """Convolution with bias, class token, position embedding."""
    spec = model.input(modality)
    return (_patch_values(spec) + 1) * model.width + model.width + tokens(spec) * model.width


def _patch_values(spec) -> int:
    """Numbers in one patch, all channels."""
    return math.prod(spec.patch) * spec.shape[-1]


def head_parameters(model, classes: int) -> int:
    return model.width * classes + classes


def forward_flops(model, modality: str, classes: int) -> int:
    """FLOPs of one example through tokenizer, encoder and head: matrix products only, the rest is below a percent."""
    spec = model.input(modality)
    count, width = tokens(spec), model.width
    tokenizer = 2 * math.prod(spec.grid) * _patch_values(spec) * width
    projections = 2 * count * (4 * width * width + 2 * width * model.mlp_width)
    attention = 2 * 2 * count * count * width
    return tokenizer + model.layers * (projections + attention) + 2 * width * classes


@dataclasses.dataclass(frozen=True)
class TaskPlan:
    """One task's row. epochs is 0 where the number of examples is not known."""
    name: str
    modality: str
    classes: int
    tokens: int
    examples: int
    batch_size: int
    steps: int
    epochs: float
    step_flops: float
    total_flops: float


@dataclasses.dataclass(frozen=True)
class Plan:
    """The whole mixture. Parameters are counts, storage is bytes, hours are for training."""
    config: str
    tasks: tuple[TaskPlan, ...]
    shared_parameters: int
    tokenizer_parameters: dict[str, int]
    head_parameters: dict[str, int]
    total_parameters: int
    separate_parameters: int
    ratio: float
    total_steps: int
    warmup_steps: int
    total_flops: float
    model_bytes: int
    checkpoint_bytes: int
    media_bytes: int | None
    hours_cpu: float
    hours_accelerator: float
    assumption: str = ASSUMPTION


def make_plan(config, facts=None, media_bytes: int | None = None) -> Plan:
    """The Plan of a PipelineConfig. `facts` (checks.Facts) fills in what the tasks leave to their data."""
    model, mixture = config.model, config.mixture
    rows, heads = [], {}
    for task in mixture.tasks:
        known = facts.classes.get(task.name, ()) if facts else ()
        classes = task.num_classes or len(task.classes) or len(known)
        examples = task.num_train_examples or (facts.counts.get(task.name, {}).get('train', 0) if facts else 0)
        step = 3.0 * task.batch_size * forward_flops(model, task.modality, classes)
        rows.append(TaskPlan(
            task.name, task.modality, classes, tokens(model.input(task.modality)), examples, task.batch_size,
            task.steps, task.steps * task.batch_size / examples if examples else 0.0, step, step * task.steps))
        heads[task.name] = head_parameters(model, classes)
    shared = encoder_parameters(model)
    tokenizers = {m: tokenizer_parameters(model, m) for m in mixture.modalities}
    total = shared + sum(tokenizers.values()) + sum(heads.values())
    separate = sum(shared + tokenizers[t.modality] + heads[t.name] for t in mixture.tasks)
    flops = sum(r.total_flops for r in rows)
    return Plan(
        config=config.name, tasks=tuple(rows), shared_parameters=shared, tokenizer_parameters=tokenizers,
        head_parameters=heads, total_parameters=total, separate_parameters=separate, ratio=separate / total,
        total_steps=mixture.total_steps, warmup_steps=config.training.warmup_steps, total_flops=flops,
        model_bytes=4 * total, checkpoint_bytes=4 * total * (1 + OPTIMIZER_SLOTS[config.training.optimizer]),
        media_bytes=media_bytes, hours_cpu=flops / CPU_RATE / 3600, hours_accelerator=flops / ACCELERATOR_RATE / 3600)


def _count(value: float) -> str:
    """1234567 -> '1.23 M'."""
    for limit, suffix in ((1e18, ' E'), (1e15, ' P'), (1e12, ' T'), (1e9, ' G'), (1e6, ' M'), (1e3, ' k')):
        if value >= limit:
            return f'{value / limit:.3g}{suffix}' if value / limit < 1000 else f'{value / limit:.0f}{suffix}'
    return f'{value:g}'


def _hours(hours: float) -> str:
    return f'{hours * 60:.1f} minutes' if hours < 1 else f'{hours:,.1f} hours'


def render(plan: Plan) -> str:
    """The plan as text for a terminal, at most 120 columns."""
    lines = [f'Plan of {plan.config}', '',
             f'{"task":<18}{"modality":<10}{"classes":>8}{"tokens":>8}{"examples":>10}{"batch":>7}{"steps":>9}'
             f'{"epochs":>8}{"FLOPs/step":>12}{"FLOPs":>10}']
    for r in plan.tasks:
        lines.append(f'{r.name:<18}{r.modality:<10}{r.classes or "?":>8}{r.tokens:>8,}{r.examples or "?":>10}'
                     f'{r.batch_size:>7}{r.steps:>9,}{f"{r.epochs:.1f}" if r.epochs else "?":>8}'
                     f'{_count(r.step_flops):>12}{_count(r.total_flops):>10}')
    if any(not r.classes for r in plan.tasks):
        lines.append('? is known when the data are there; heads are counted without these classes.')
    tokenizers = ', '.join(f'{name} {count:,}' for name, count in plan.tokenizer_parameters.items())
    heads = ', '.join(f'{name} {count:,}' for name, count in plan.head_parameters.items())
    lines += [
        '', f'Parameters        {plan.total_parameters:,} in one model',
        f'  shared encoder  {plan.shared_parameters:,}',
        f'  tokenizers      {tokenizers}',
        f'  heads           {heads}',
        f'  separately      {plan.separate_parameters:,} in {len(plan.tasks)} single-task models: '
        f'{plan.ratio:.2f} times as many',
        f'Steps             {plan.total_steps:,}, of them {plan.warmup_steps:,} warm-up',
        f'FLOPs             {_count(plan.total_flops)} in training',
        f'Storage           model {_count(plan.model_bytes)}B, each checkpoint {_count(plan.checkpoint_bytes)}B, media '
        + (f'{_count(plan.media_bytes)}B, and about as much again for the examples of each lane'
           if plan.media_bytes is not None else 'not in reach'),
        f'Time              {_hours(plan.hours_accelerator)} on one accelerator, {_hours(plan.hours_cpu)} on two cores',
        '                  (' + plan.assumption + ')']
    wrap = textwrap.TextWrapper(width=118, subsequent_indent=' ' * 18, break_on_hyphens=False)
    return '\n'.join(wrap.fill(line) if len(line) > 118 else line for line in lines)

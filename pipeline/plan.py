"""`polyvit plan`: what a config costs in tokens, parameters, FLOPs, steps, storage and hours. Without TensorFlow."""

import dataclasses

from humanize import metric, naturalsize

from model_code import freezing, modalities, statistical_power, words
from model_code.errors import ConfigError
from model_code.flops import (
    Accelerators,
    block_parameters,
    cpu_seconds,
    forward_flops,
    frozen_flops,
    head_parameters,
    shared_parameters,
    tokenizer_parameters,
    tokens,
    training_flops,
    training_tokens,
)
from model_code.step_counts import describe, task_steps
from model_code.tasks import Mixture
from pipeline import layout
from pipeline.machine import Machine, this_machine

# Optimisers of which a checkpoint holds one more float32 copy of the parameters; of all others it holds two.
ONE_SLOT = ('momentum', 'SGD', 'Adafactor', 'Adagrad', 'Lion', 'RMSprop')


@dataclasses.dataclass(frozen=True)
class TaskPlan:
    """One task's row. share: of the steps of all tasks. epochs: 0 if the number of examples is unknown.

    tokens: of an example. training_tokens: how many of them a training step looks at.
    views: how many windows of an eval example the model looks at. eval_flops: of an evaluation of one model; 0 if the
    number of eval examples is unknown. eval_examples, eval_groups: 0 if unknown, or if the examples have no groups.
    smallest_drop: that the eval split can
    tell (statistical_power), from 0 to 1; None if it is unknown. smallest_drop_by_groups: the same if the examples of a
    group are right or wrong together. warning: why the gate's max_drop is too small for these data; '' if it is not.
    """
    name: str
    modality: str
    classes: int
    tokens: int
    training_tokens: int
    examples: int
    batch_size: int
    steps: int
    share: float
    epochs: float
    step_flops: float
    total_flops: float
    views: int
    eval_flops: float
    eval_examples: int
    eval_groups: int
    max_drop: float
    smallest_drop: float | None
    smallest_drop_by_groups: float | None
    warning: str


@dataclasses.dataclass(frozen=True)
class Plan:
    """The plan of a mixture. Sizes are in bytes; the hours are those of training alone.

    hours_cpu: on the cores of `machine`. hours_accelerators: on the assumed accelerators.

    modality_layer_parameters: those of one modality's own blocks. separate_parameters: those of one model per task,
    each with its own encoder, tokenizer and head. ratio: separate_parameters / total_parameters. plain_vit_*: the same
    if each such model is counted as a plain ViT of this size (224 pixels, patches of 16, no head).

    trained_parameters: those that training changes, fewer than total_parameters with TrainingConfig.train_only.
    full_flops: total_flops if everything were trained.
    """
    config: str
    tasks: tuple[TaskPlan, ...]
    shared_parameters: int
    modality_layer_parameters: int
    tokenizer_parameters: dict[str, int]
    head_parameters: dict[str, int]
    total_parameters: int
    separate_parameters: int
    ratio: float
    plain_vit_parameters: int
    plain_vit_ratio: float
    trained_parameters: int
    full_flops: float
    total_steps: int
    warmup_steps: int
    schedule: str
    total_flops: float
    eval_flops: float
    model_bytes: int
    checkpoint_bytes: int
    media_bytes: int | None
    machine: Machine
    hours_cpu: float
    accelerators: Accelerators
    hours_accelerators: float


def _full_steps(mixture: Mixture, examples_of: dict[str, int]) -> list[int]:
    """The steps of all tasks if everything were trained: by their recipes if the schedule could not train them all."""
    try:
        return task_steps(mixture, examples_of)
    except ConfigError:  # of a training that is not to be
        return [task.recipe.steps for task in mixture.tasks]


def make_plan(config, data=None, media_bytes: int | None = None, accelerators: Accelerators | None = None,
              machine: Machine | None = None) -> Plan:
    """The Plan of a PipelineConfig. `data` (checks.DataSummary) tells classes and examples that the config does not.

    accelerators: by default those of Accelerators(). machine: by default this one, with an assumed speed. Raises
    ConfigError as task_steps of what is trained does.
    """
    machine, accelerators = machine or this_machine(), accelerators or Accelerators()
    model, mixture, train_only = config.model, config.mixture, config.training.train_only
    examples_of = {task.name: task.data.num_train_examples
                   or (data.counts.get(task.name, {}).get('train', 0) if data else 0) for task in mixture.tasks}
    trained = zip(config.trained.tasks, task_steps(config.trained, examples_of), strict=True)
    steps = {task.name: count for task, count in trained}
    full_steps = _full_steps(mixture, examples_of) if train_only else list(steps.values())
    rows, heads, full = [], {}, 0.0
    for task, full_count in zip(mixture.tasks, full_steps, strict=True):
        batch_size = task.recipe.batch_size
        labels = data.classes.get(task.name, ()) if data else ()
        classes = task.data.num_classes or len(task.data.classes) or len(labels)
        examples = examples_of[task.name]
        forward, views = forward_flops(model, task, classes), model.input(task.modality).views
        full += training_flops(model, task, classes, full_count)
        count, sensitivity = steps.get(task.name, 0), _sensitivity(task, data if task.name in steps else None)
        head_only = count and freezing.is_frozen(task, mixture.tasks, train_only)
        total = (frozen_flops(model, task, classes, count, examples) if head_only else
                 training_flops(model, task, classes, count))
        rows.append(TaskPlan(
            task.name, task.modality, classes, tokens(model.input(task.modality)),
            tokens(model.input(task.modality)) if head_only else training_tokens(model, task), examples, batch_size,
            count, count / sum(steps.values()), count * batch_size / examples if examples else 0.0,
            total / count if count else 0.0, total, views,
            float(sensitivity['eval_examples'] * views * forward), **sensitivity))
        heads[task.name] = head_parameters(model, task, classes)
    shared, own = shared_parameters(model), model.modality_layers * block_parameters(model)
    tokenizers = {m: tokenizer_parameters(model.width, model.input(m)) for m in mixture.modalities}
    total = shared + own * len(tokenizers) + sum(tokenizers.values()) + sum(heads.values())
    separate = sum(shared + sum(own + tokenizers[m] for m in t.modalities) + heads[t.name] for t in mixture.tasks)
    plain = len(mixture.tasks) * (shared + own + tokenizer_parameters(model.width, modalities.ImageInput()))
    flops = sum(r.total_flops for r in rows)
    slots = 1 if config.training.optimizer in ONE_SLOT else 2
    moved = total
    if train_only:
        new = {t.modality for t in config.trained.tasks if not freezing.is_frozen(t, mixture.tasks, train_only)}
        moved = sum(heads[name] for name in steps) + sum(own + tokenizers[modality] for modality in new)
    return Plan(
        config=config.name, tasks=tuple(rows), shared_parameters=shared, modality_layer_parameters=own,
        tokenizer_parameters=tokenizers, head_parameters=heads, total_parameters=total, separate_parameters=separate,
        ratio=separate / total, plain_vit_parameters=plain, plain_vit_ratio=plain / total,
        trained_parameters=moved, full_flops=full, total_steps=config.trained.total_steps,
        warmup_steps=config.training.warmup(config.trained.total_steps), total_flops=flops,
        eval_flops=sum(r.eval_flops for r in rows), model_bytes=4 * total,
        checkpoint_bytes=4 * (total + moved * slots), media_bytes=media_bytes, machine=machine,
        accelerators=accelerators, schedule=describe(config.trained),
        hours_cpu=cpu_seconds(flops, config.trained.total_steps, machine.product_rate) / 3600,
        hours_accelerators=flops / accelerators.rate / 3600)


def _sensitivity(task, data) -> dict:
    """The fields of a TaskPlan that say what its eval split can tell. data: as for `make_plan`."""
    examples, groups = ((getattr(data, name).get(task.name, {}).get('eval', 0) if data else 0)
                        for name in ('counts', 'groups'))
    drop, by_groups = (statistical_power.smallest_drop(units) if units else None for units in (examples, groups))
    allowed, warning = task.gate.max_drop, ''
    if drop is not None and drop > allowed:
        count = words.count(examples, 'eval example')
        more = (f'{statistical_power.units_needed(allowed):,} would, or take a larger max_drop.' if allowed else
                'no number of examples can tell that.')
        warning = (f'{task.name}: {count} cannot tell a drop under {points(drop)} points; max_drop is '
                   f'{100 * allowed:g}: {more}')
    elif by_groups is not None and by_groups > allowed:
        warning = (f'{task.name}: its eval examples are of {words.count(groups, "group")}, which cannot tell a drop '
                   f'under {points(by_groups)} points if the examples of a group are right or wrong together; max_drop '
                   f'is {100 * allowed:g}.')
    return {'eval_examples': examples, 'eval_groups': groups, 'max_drop': allowed, 'smallest_drop': drop,
            'smallest_drop_by_groups': by_groups, 'warning': warning}


def points(drop: float) -> str:
    """A drop in percentage points: 7.9, or without decimals from 10 on."""
    return f'{100 * drop:.0f}' if drop >= 0.0995 else f'{100 * drop:.1f}'


def _sensitivity_lines(plan: Plan) -> list[str]:
    """What the eval splits can tell; [] if none is known."""
    known = [(row, row.smallest_drop) for row in plan.tasks if row.smallest_drop is not None]
    if not known:
        return []
    lines = ['Smallest drop     that eval can tell, if two models differ on '
             f'{statistical_power.DISAGREEMENT:.0%} of the examples (with a power of {statistical_power.POWER:.0%}, at '
             f'{statistical_power.ALPHA:.0%})']
    for row, drop in known:
        by_groups = '' if row.smallest_drop_by_groups is None else (
            f', or {points(row.smallest_drop_by_groups)} by {words.count(row.eval_groups, "group")}')
        lines.append(f'  {row.name:<15} {points(drop)} points by '
                     f'{words.count(row.eval_examples, "example")}{by_groups}')
    return lines + [f'                  {row.warning}' for row, _ in known if row.warning]


def _evaluation(plan: Plan) -> str:
    """What follows the FLOPs in training: those of an evaluation, and how many views of an example it takes."""
    views = {row.modality: row.views for row in plan.tasks if row.views > 1}
    each = ' and '.join(f'{count} views of each {modality} example' for modality, count in views.items())
    if not plan.eval_flops:
        return f'; an evaluation takes {each}' if each else ''
    return f', {metric(plan.eval_flops)} in an evaluation' + (f', which takes {each}' if each else '')


def _known(number: float, form: str) -> str:
    """The number in this format; '?' for 0, which stands for an unknown number."""
    return f'{number:{form}}' if number else '?'


def _speed(machine: Machine) -> str:
    text = f'{metric(machine.product_rate, "FLOP/s")} in matrix products, '
    if not machine.measured:
        return text + 'assumed (--measure measures it)'
    busy = machine.load > machine.cores / 2
    return text + ('measured' if not busy else f'measured beside other programs (load {machine.load:.1f})')


def _task_table(plan: Plan, columns: int | None) -> list[str]:
    """A heading and one line per task, without modality, share and FLOPs per step where the terminal is too narrow."""
    rows = [['task', 'modality', 'classes', 'tokens', 'examples', 'batch', 'steps', 'share', 'epochs', 'FLOPs/step',
             'FLOPs']]
    for r in plan.tasks:
        dropped = f'{r.training_tokens:,}/' if r.training_tokens < r.tokens else ''
        rows.append([r.name, r.modality, _known(r.classes, ','), f'{dropped}{r.tokens:,}', _known(r.examples, ','),
                     f'{r.batch_size:,}', f'{r.steps:,}', f'{r.share:.1%}',
                     _known(r.epochs, '.1f') if r.steps else '0.0',
                     metric(r.step_flops), metric(r.total_flops)])
    lines = layout.table(rows, left=(0, 1))
    if layout.fits(lines, columns):
        return lines
    return layout.table([[layout.cut(row[0], 20), *row[2:7], row[8], row[10]] for row in rows])


def _study_line(price: dict) -> str:
    """What it costs to learn whether training these tasks together pays."""
    return (f'Study             whether training together pays: {words.count(price["trainings"], "training")} (of '
            f'{words.count(price["seeds"], "seed")}), {metric(price["flops"], "FLOP")}, '
            f'{words.duration(3600 * price["hours_cpu"])} on this machine; starting, evaluating and exporting each '
            'come on top:')


def render(plan: Plan, columns: int | None = None, study: tuple[str, dict] | None = None) -> str:
    """The plan as text for a terminal of `columns`; None stands for 120.

    study: the command of a study of the same tasks, and what it costs (study.arms.price).
    """
    lines = [f'Plan of {plan.config}', '', *_task_table(plan, columns)]
    if any(not r.classes or not r.examples for r in plan.tasks):
        lines.append('? depends on data that are out of reach from here. Heads are counted without unknown classes.')
    tokenizers = ', '.join(f'{name} {count:,}' for name, count in plan.tokenizer_parameters.items())
    heads = ', '.join(f'{name} {count:,}' for name, count in plan.head_parameters.items())
    own = plan.modality_layer_parameters
    assumed = plan.accelerators
    lines += [
        '', f'Parameters        {plan.total_parameters:,} in one model',
        f'  shared encoder  {plan.shared_parameters:,}',
        *([f'  own layers      {own:,} for each of {len(plan.tokenizer_parameters)} modalities'] if own else []),
        f'  tokenizers      {tokenizers}',
        f'  heads           {heads}',
        f'  separately      {plan.separate_parameters:,} in {words.count(len(plan.tasks), "single-task model")}: '
        f'{plan.ratio:.2f} times as many ({plan.plain_vit_ratio:.2f} times if each is counted as a plain ViT of 224 '
        'pixels without a head)',
        *([f'Trained           {plan.trained_parameters:,} of these parameters (train_only); all others stay as they '
           f'are being served. That takes {plan.total_flops / plan.full_flops:.1%} of the FLOPs of training everything']
          if plan.trained_parameters < plan.total_parameters else []),
        f'Steps             {plan.total_steps:,}, {plan.warmup_steps:,} of them warm-up; schedule: {plan.schedule}',
        f'FLOPs             {metric(plan.total_flops)} in training{_evaluation(plan)}',
        f'Storage           model {naturalsize(plan.model_bytes)}, each checkpoint '
        f'{naturalsize(plan.checkpoint_bytes)}, '
        + ('media out of reach' if plan.media_bytes is None else
           f'media {naturalsize(plan.media_bytes)} and about as much again for their examples'),
        f'Time              {words.duration(3600 * plan.hours_cpu)} on the '
        f'{words.count(plan.machine.cores, "core")} of this machine, {words.duration(3600 * plan.hours_accelerators)} '
        f'on {words.count(assumed.count, "accelerator")}, for training alone: starting, decoding media, evaluating and '
        'exporting come on top',
        f'  this machine    {plan.machine}',
        f'                  {_speed(plan.machine)}',
        f'  accelerator     {metric(assumed.flops, "FLOP/s")}, of which training reaches '
        f'{100 * assumed.utilisation:g}%, assumed (--flops, --utilisation, --accelerators)',
        *_sensitivity_lines(plan), *([_study_line(study[1])] if study else [])]
    room = min(columns or 118, 118)
    return '\n'.join([*(part for line in lines for part in layout.wrap(line, room, 18)),
                      *([f'                  {study[0]}'] if study else [])])

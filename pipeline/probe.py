"""`polyvit probe`: a linear probe and few-shot classification of a model's frozen representation, on ingested tasks."""

import dataclasses
import json
import os
import pathlib
import sys
from collections.abc import Sequence

from model_code import modalities
from model_code.errors import ConfigError
from model_code.probe import Probe
from model_code.tasks import Task
from pipeline import layout, terminal

ASKED = Probe(linear=True, shots=(5, 10))  # of a task whose config asks for nothing


def run(config, model: str, names: Sequence[str], as_json: bool):
    """Prints what is measured. config: with data. model: a version directory, or the folder of them; '' takes what the
    config's root serves. names: of the tasks; all of them if there are none.

    Raises ConfigError, before anything is read, for a task or a model that is not there, and for one that was not
    ingested; PipelineStop for a model without a representation of a task's modality.
    """
    tasks = tuple(config.mixture[name] for name in dict.fromkeys(names)) or config.mixture.tasks
    from serving import local_model
    version_dir = local_model.find_model(model or config.serving_dir)
    check_inputs(config, tasks, local_model.read_card(version_dir))
    print(f'The representation of {version_dir}, on examples under {config.run_root}', file=sys.stderr, flush=True)
    with terminal.quiet(pathlib.Path(os.devnull)), local_model.fetched(version_dir) as local:
        measured = {}
        from components.classes import read_classes
        from components.task_evaluator import representation
        from pipeline import ingested
        for name, lane in ingested.lanes(config, tasks).items():
            measured[name] = representation.measure(
                local, config.mixture[name].source, read_classes(lane.classes).labels,
                {split: lane.split_dir(split) for split in ('train', 'eval')}, asked(config.mixture[name]))
    print(json.dumps({'model': version_dir, 'tasks': measured}, indent=1) if as_json else
          '\n'.join(lines(measured, layout.columns())))


def asked(task: Task) -> Probe:
    """The task's own Probe; what is usual, with its limits, if that measures nothing."""
    return task.probe if task.probe.wanted else dataclasses.replace(task.probe, linear=ASKED.linear, shots=ASKED.shots)


def check_inputs(config, tasks: Sequence[Task], card: dict):
    """Raises ConfigError if the model takes a modality that it lacks, or media that are stored in another way."""
    inputs = card.get('inputs', {})
    for task in tasks:
        if inputs and task.modality not in inputs:
            raise ConfigError(f'Task {task.name} is of modality {task.modality}, and the model takes only '
                              f'{" and ".join(inputs)}. Give tasks of these (--task), or another --model.')
        own = config.model.input(task.modality)
        for field in modalities.get_modality(task.modality).reader_fields:
            value = inputs.get(task.modality, {}).get(field, getattr(own, field))
            if value != getattr(own, field):
                raise ConfigError(
                    f'Task {task.name}: its examples have {field} {getattr(own, field)}, and the model was trained on '
                    f'{field} {value}. Run the config with --set model.inputs.{task.modality}.{field}={value} first.')


def lines(measured: dict[str, dict], columns: int | None) -> list[str]:
    """A table with a row for each classifier of each task, and what it was learned from. measured: task -> `probe`."""
    rows = [['task', 'classifier', 'metric', 'value', '95% interval', 'learned from', 'asked']]
    for task, probe in measured.items():
        metric, eval_examples = probe['metric'].replace('_', ' '), _of(probe, 'eval')
        entries = [('linear probe', _of(probe, 'train'), probe['linear'])] * bool(probe['linear']) + [
            (_shots(row['shots']), f'{row["shots"]} of each class', row) for row in probe['few_shot']]
        rows += [[task, name, metric, _number(row['value']), _interval(row), of, eval_examples]
                 for name, of, row in entries]
        if not entries:
            rows.append([task, 'none: too few examples', metric, '-', '', _of(probe, 'train'), eval_examples])
    table = layout.table(rows, left=(0, 1, 2, 4, 5))
    if not layout.fits(table, columns):
        table = layout.table([[layout.cut(row[0], 20), row[1], *row[3:5]] for row in rows], left=(0, 1, 3))
    few = [f'{task}: {row["classes_with_fewer"]} of {probe["classes"]} classes have fewer than {row["shots"]} examples.'
           for task, probe in measured.items() for row in probe['few_shot'] if row['classes_with_fewer']]
    return [*table, *(part for line in few for part in layout.wrap(line, columns))]


def _shots(count: int) -> str:
    return f'{count}-shot'


def _of(probe: dict, split: str) -> str:
    """'300', or '10,000 of 50,000'."""
    examples, total = probe[f'{split}_examples'], probe[f'{split}_total']
    return f'{examples:,}' if examples == total else f'{examples:,} of {total:,}'


def _number(value: float | None) -> str:
    return '-' if value is None else f'{value:.3f}'


def _interval(row: dict) -> str:
    if row['low'] is None:
        return ''
    # Those of few shots say nothing of other eval examples: equal draws have an interval without width.
    return f'{row["low"]:.3f} to {row["high"]:.3f}{" over draws" if "shots" in row else ""}'

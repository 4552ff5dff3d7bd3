"""`polyvit init DIR`: guesses the tasks of a folder, writes a config, and prints what was found and what it costs."""

import dataclasses
import importlib.machinery
import os
import re
import sys
import time

from humanize import naturalsize

from media import checked_listing, listing, scene_names, scenes, verdict
from media.findings import Tally
from model_code import file_io, flops, shell, statistical_power, words
from model_code.errors import ConfigError
from model_code.modalities import get_modality
from model_code.settings import TrainingConfig
from model_code.tasks import Gate, Mixture, Task
from model_code.urls import is_url
from pipeline import checks, config, data_check, estimate, layout, machine, plan, summary
from pipeline.init import look, sample, write
from pipeline.init.guess import Guess, Guesses, task_name
from pipeline.init.write import one_line

_NAMED = 5  # of each kind of finding
_LONGEST = 400  # characters of a finding
_ALL_SECONDS = 60.0  # to read samples of all tasks
_STAT_FILES = 50_000  # whose sizes are asked for


def run(folder: str, output: str | None, force: bool, progress=None) -> list[str]:
    """Writes the config; returns the lines to print. progress: as in data_check.check_config.

    Raises ConfigError if there is no task in the folder, or if the file exists and `force` is not given.
    """
    if is_url(folder):
        raise ConfigError(f'{folder} is a URL, and init looks at folders of this machine. Copy a part of the data to a '
                          'folder, call init there, and replace DATA in the config by the URL.')
    root = os.path.abspath(os.path.expanduser(folder))
    if not os.path.isdir(root):
        raise ConfigError(f'There is no folder {folder}. Give the folder of your media.')
    if re.search(r'\{[^{}/]*\}', root):
        raise ConfigError(f'{folder} has braces in its name, which stand for the version of the data in a config. '
                          'Rename the folder, or make a link to it without braces.')
    name = task_name(os.path.basename(root) or 'data')
    path = output or _default_path(name)
    _check_output(path, force)
    seen = look.walk(root)
    guesses = Guesses(seen)
    if not guesses.tasks:
        raise ConfigError(_nothing(folder, seen, guesses.problems))
    reader = sample.Reader(progress or data_check.ProgressLine())
    samples, end = [], time.monotonic() + _ALL_SECONDS
    for left, guess in zip(range(len(guesses.tasks), 0, -1), guesses.tasks, strict=True):
        samples.append(_read(guess, reader, min(sample.SECONDS, max(0.0, end - time.monotonic()) / left)))
    for guess in guesses.tasks:
        named = None if guess.data.groups else scene_names.suggest(guess.entries)
        if named and named.shared:
            guess.unsure.append(_sentence(named.remark()))
        if scenes.has_scenes(guess.modality) and not guess.data.groups:
            guess.unsure.append('Whether train and eval show the same scenes: init compares no backgrounds, but '
                                '`polyvit data check` does.')
    here = machine.this_machine()
    if name in config.config_names():
        name += '_data'  # its runs must not go into the root of another config's
    made, preset = _config(name, guesses.tasks, samples, bool(here.accelerators))
    about = {guess.name: _about(guess, some) for guess, some in zip(guesses.tasks, samples, strict=True)}
    text = write.config_text(made, root, guesses.tasks, about, _about_model(preset, samples, guesses.tasks, here),
                             preset)
    _write(path, text, made)
    return _lines(folder, path, made, guesses, samples, seen, here)


def _sentence(line: str) -> str:
    return f'{line[0].upper()}{line[1:]}.'


def _default_path(name: str) -> str:
    """A Python file in the current folder that hides no module from a program that is started there."""
    others = [entry for entry in sys.path if os.path.abspath(entry) != os.getcwd()]
    hides = name in sys.stdlib_module_names or importlib.machinery.PathFinder.find_spec(name, others)
    return f'{name}_config.py' if hides else f'{name}.py'


def _check_output(path: str, force: bool):
    if not path.endswith('.py'):
        raise ConfigError(f'--output is {path!r}; it must be the name of a Python file, such as mine.py.')
    if os.path.lexists(path) and not os.path.isdir(path) and not force:
        raise ConfigError(f'{path} exists already and is left as it is. Name another file with -o, or replace it with '
                          '--force.')
    file_io.check_output(path)


def _nothing(folder: str, seen: look.Look, problems: list[str]) -> str:
    """Why there is no task, and what to do."""
    if problems:
        return ' '.join([f'{folder} has no data set that init understands.', *map(one_line, problems[:_NAMED]),
                         *([f'(And {len(problems) - _NAMED:,} more.)'] if len(problems) > _NAMED else [])])
    endings = seen.endings('')
    found = ', '.join(f'{count:,} {one_line(ending) or "without an ending"}' for ending, count in
                      endings.most_common(_NAMED))
    unreadable = [f'{one_line(path)} cannot be listed ({why}).' for path, why in list(seen.unreadable.items())[:1]]
    return ' '.join([f'{folder} has no images, sounds, videos or texts; its files are: {found or "none"}.', *unreadable,
                     'Give a folder with a folder for each class, or with a manifest (CSV or JSON lines) that has the '
                     'columns path and label, or text and label.'])


def _read(guess: Guess, reader: sample.Reader, seconds: float) -> sample.Sample:
    """The sample of a task. If its files turn out to be of another modality, the guess changes."""
    read, before = reader.read(guess, seconds), guess.modality
    for other in sample.other_modalities(guess, read):
        guess.modality = other
        try:
            again = reader.read(guess, seconds)
            if again.read - len(again.rejected) > read.read - len(read.rejected):
                guess.listed = listing.list_media(guess.source)
                guess.evidence.append(f'Most files cannot be read as {before}, but as {other}.')
                return again
        except ConfigError:
            pass
        guess.modality = before
    return read


def _config(name: str, guesses: list[Guess], samples: list[sample.Sample], large: bool) -> tuple:
    """(the PipelineConfig, the name of its preset)."""
    train = sum(guess.counts.get('train', 0) for guess in guesses)
    preset, model = sample.suggest_model(list(zip(guesses, samples, strict=True)), train, large)
    tasks = tuple(Task(guess.name, guess.modality, data=guess.data, gate=Gate(floor=0.0),
                       recipe=sample.suggest_recipe(guess, model, large)) for guess in guesses)
    training = TrainingConfig(learning_rate=3e-4 if large and preset not in ('Nano', 'Ti') else 1e-3)
    return config.PipelineConfig(name, Mixture(tasks), model, training), preset


def _about(guess: Guess, some: sample.Sample) -> list[str]:
    """The comment of a task: what it was guessed from, what is not sure, what to change."""
    sizes = _sizes(guess, some)
    counts = guess.counts
    others = [name for name in get_modality(guess.modality).augmentations if name not in sample.SAFE]
    chance = f'; chance is 1 in {len(guess.classes)}' if not guess.data.kind.several and guess.classes else ''
    return [*guess.evidence,
            f'{words.count(len(guess.labels), "class", "classes")}, {counts.get("train", 0):,} train and '
            f'{counts.get("eval", 0):,} eval examples. '
            + (f'Of {words.count(some.read, "file")} that were read: {sizes}.' if sizes else 'No file was read.'),
            *(f'Not sure: {text}' for text in guess.unsure),
            *([f'Augmentations that may help (docs/model.md), if labels stay right after them: {", ".join(others)}.']
              if others else []),
            *([_sensitivity(counts['eval'])] if counts.get('eval') else []),
            f'floor: the least {guess.data.kind.primary_metric.replace("_", " ")} that is accepted. 0 accepts any '
            f'model{chance}.']


def _sensitivity(examples: int) -> str:
    drop = statistical_power.smallest_drop(examples)
    return (f'max_drop is {Gate().max_drop:g}, unless Gate(max_drop=...) says otherwise. '
            f'{words.count(examples, "eval example")} cannot tell a drop under about {plan.points(drop)} points from '
            'chance (docs/operations.md).')


def _about_model(preset: str, samples: list[sample.Sample], guesses: list[Guess], here) -> list[str]:
    train = sum(guess.counts.get('train', 0) for guess in guesses)
    where = 'an accelerator' if here.accelerators else 'no accelerator'
    return [f'{preset}: for {words.count(train, "train example")} and {where} on the machine that this was written on. '
            'Nano, Ti, S, B and L are larger and larger (docs/configuration.md, "Presets").',
            'Inputs: as large as the files that were read, within what this machine trains soon. Larger inputs and '
            'smaller patches are better and slower.']


def _write(path: str, text: str, made):
    """Writes the file, whole or not at all, if it loads as the config that it was made from."""
    with file_io.replacing(path) as temporary:
        with open(temporary, 'w', encoding='utf-8') as file:
            file.write(text)
        if config.load_config(temporary) != made:
            raise RuntimeError('The written config differs from the guess.')


# What is printed.

def _lines(folder: str, path: str, made, guesses: Guesses, samples: list[sample.Sample], seen: look.Look,
           here) -> list[str]:
    columns = layout.columns()
    tasks = guesses.tasks
    lines = [f'{words.count(len(tasks), "task")} in {one_line(folder)}'
             + ('' if seen.whole else ' (of which only a part was looked at, because it is large)'), '',
             *_table(tasks, columns)]
    for guess, some in zip(tasks, samples, strict=True):
        lines += _findings(guess, some, made.mixture[guess.name])
    if guesses.problems or seen.unreadable or seen.links:
        lines += ['', 'Not used', *(f'  {one_line(text)}' for text in guesses.problems),
                  *(f'  {one_line(name)}: it cannot be listed ({why}).' for name, why in seen.unreadable.items()),
                  *(f'  {one_line(name)}: a link to a folder, which was not followed.' for name in seen.links)][:30]
    lines += ['', *_cost(made, tasks, here)]
    short = shell.short(path)
    lines += ['', f'Wrote {short}. It is a guess: read its comments. Next:']
    for what, *command in (('writes a page with examples of each class', 'data', 'show', short),
                           ('reads every file, and says whether a run would stop', 'data', 'check', short),
                           ('what it costs, by the measured speed of this machine', 'plan', short, '--measure'),
                           ('trains, checks and pushes the model', 'run', short)):
        lines += [f'  {summary.command(*command)}', f'      {what}']
    return [part for line in lines for part in layout.wrap(line, columns, _indent(line) + 2)]


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _table(tasks: list[Guess], columns: int | None) -> list[str]:
    rows = [['task', 'modality', 'train', 'eval', 'classes', 'labels', 'found by']]
    for guess in tasks:
        more = '' if guess.listed else '+'
        found = guess.found_by or ', '.join(guess.data.manifest) or guess.data.format or 'class folders'
        rows.append([guess.name, guess.modality, *(f'{guess.counts.get(split, 0):,}{more}' for split in
                                                   ('train', 'eval')), f'{len(guess.labels):,}{more}',
                     guess.data.label_kind, one_line(found)])
    lines = layout.table(rows, left=(0, 1, 5, 6))
    if layout.fits(lines, columns):
        return lines
    return layout.table([[layout.cut(row[0], 24), *row[1:5]] for row in rows], left=(0, 1))


def _findings(guess: Guess, some: sample.Sample, task: Task) -> list[str]:
    """What a data check would say so far: of all names, and of the files that were read."""
    sizes = _sizes(guess, some)
    lines = ['', f'{guess.name}: {sizes or "nothing could be read"}']
    by_name = len(guess.listed.rejected) if guess.listed else 0
    total = sum(guess.counts.values()) + by_name
    rejected = len(some.rejected)
    more = '' if guess.listed else ' or more'
    lines.append(f'  read {some.read:,} of {words.count(total, "file")}{more}, {rejected:,} rejected'
                 + (f', {some.too_slow:,} left because they take long' if some.too_slow else '')
                 + (f'; {by_name:,} more rejected by {"its name or row" if by_name == 1 else "their names or rows"}'
                    if by_name else '')
                 + ('' if some.read + by_name >= total else '; data check reads them all'))
    lines += [f'    {one_line(one.path)}: {one.reason}. {one_line(one.detail)}' for one in some.rejected[:_NAMED]]
    if guess.listed:
        found = checked_listing.name_findings(guess.listed)
        lines += [f'  a run would stop: {_short(text)}' for text in
                  verdict.reasons_to_stop(guess.source, task.checks, found, guess.classes,
                                          guess.listed.rejected_labels)]
        lines += [f'  {_short(text)}' for text in verdict.remarks(task.checks, found)[:_NAMED]]
    # Of classes a sample tells nothing: which are absent from it is chance.
    read = dataclasses.replace(some.findings, classes={})
    reasons = verdict.stops(guess.name, task.checks, read)
    lines += [f'  going by what was read, a run would stop: {_short(text)}' for text in reasons]
    if reasons:
        read.leaks = Tally()  # said already
    lines += [f'  in what was read: {_short(text)}' for text in verdict.remarks(task.checks, read)[:_NAMED]]
    return [*lines, *(f'  not sure: {one_line(text)}' for text in guess.unsure)]


def _short(text: str) -> str:
    text = one_line(text)
    return text if len(text) <= _LONGEST else f'{text[:_LONGEST]} ...'


def _sizes(guess: Guess, some: sample.Sample) -> str:
    row = get_modality(guess.modality)
    text = sample.sizes_in_words(some.sizes, row.sizes)
    return f'{text}, as stored for {row.input_class.__name__}()' if text and row.reader_fields else text


def _cost(made, tasks: list[Guess], here) -> list[str]:
    """The plan in three lines."""
    data = checks.DataSummary({guess.name: guess.classes for guess in tasks}, {}, {
        guess.name: guess.counts for guess in tasks})
    planned = plan.make_plan(made, data, machine=here)
    tokens = ', '.join(f'{name} {flops.tokens(made.model.input(name))}' for name in made.mixture.modalities)
    whole = all(guess.listed for guess in tasks)
    files = sum(len(guess.entries) for guess in tasks)
    size = sum(listing.media_bytes(guess.source, guess.entries) for guess in tasks
               ) if whole and files <= _STAT_FILES else None
    media = 'media of unknown size' if size is None else f'media {naturalsize(size)}'
    return ['Cost',
            f'  model     {planned.total_parameters:,} parameters, {naturalsize(planned.model_bytes)}; tokens of an '
            f'example: {tokens}',
            f'  training  {words.count(planned.total_steps, "step")}: about {estimate.rough(3600 * planned.hours_cpu)} '
            f'on {words.count(here.cores, "core")}, at an assumed speed',
            f'  storage   {media} and about as much again for the examples; each checkpoint '
            f'{naturalsize(planned.checkpoint_bytes)}']


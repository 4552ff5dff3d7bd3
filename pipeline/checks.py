"""Checks before a run. Nothing has been written yet, so a wrong config costs a second, not an hour."""

import collections
import dataclasses
import json
import os

from components.blessing_gate import changes
from media import checked_listing, listing
from media.entries import SPLITS
from model_code import file_io, parents, remote_files, settings, shell, step_counts, vit_files
from model_code.errors import ConfigError, PipelineStop
from model_code.logger import logger
from model_code.urls import is_url
from pipeline import roots, summary
from pipeline.beam import checks as beam_checks
from pipeline.config import load_config
from serving import served, signed_versions, version_directories


@dataclasses.dataclass(frozen=True)
class DataSummary:
    """A config's data as listed before a run. Keys are task names.

    classes: all labels of the task. fingerprints: a hash of the media's names, sizes, times, labels and splits.
    counts: files per split, such as {'train': 100, 'eval': 20}. samples: the path of a media file, of the eval split if
    it has one; tasks whose media are in archives or behind a URL are left out. groups: groups per split (Entry.group)
    of tasks that have any; an example without a group counts as one.
    """
    classes: dict[str, tuple[str, ...]]
    fingerprints: dict[str, str]
    counts: dict[str, dict[str, int]]
    samples: dict[str, str] = dataclasses.field(default_factory=dict)
    groups: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)


def check(config) -> DataSummary:
    """Checks a PipelineConfig against its data, the machines that it asks for, and what is served from its root.

    Raises ConfigError.
    """
    if is_url(config.root):
        raise ConfigError(f'The root is {config.root}, but a run on this machine writes to a folder. Give its path.')
    file_io.check_no_pattern(str(config.run_root), 'Give another --root.')
    roots.check_writable(config.run_root)
    signed_versions.signing_key()  # raises if it cannot be used
    check_workers(config)
    if config.beam.components and config.beam.runner == 'dataflow':
        raise ConfigError("Beam: the workers of Dataflow do not reach this machine's folders, to which a run here "
                          'writes. Compile the config for Vertex AI (polyvit compile CONFIG -o FILE.json --root '
                          'gs://BUCKET/polyvit --image IMAGE), or choose another runner.')
    beam_checks.check(config.beam)
    use_file_systems(config)
    check_initial_checkpoint(config)
    check_demo_media(config)
    data = DataSummary({}, {}, {})
    for task in config.mixture.tasks:
        if not task.data.folder:
            raise ConfigError(f'Task {task.name} names no data folder, so the config {config.name} can be planned and '
                              'compiled but not run. Set the folder of its media: data=Data(FOLDER).')
        _add_task(data, task)
    step_counts.task_steps(config.trained, {name: counts['train'] for name, counts in data.counts.items()})
    check_served(config, data)
    check_parent(config, data.classes)
    return data


def check_plannable(config):
    """ConfigError if a task's folder is not there, unless the config itself has the numbers for a plan without it, or
    if the starting weights are here and cannot be those of the model."""
    check_local_checkpoint(config)
    for task in config.mixture.tasks:
        known = (task.data.num_classes or task.data.classes) and task.data.num_train_examples
        if task.data.folder and not in_reach(task) and not known:
            check_demo_media(config)
            raise ConfigError(
                f'Task {task.name}: there is no folder {task.data.folder}. Set `folder` of its data to the folder of '
                'its media. (Without its media a task is planned by num_classes and num_train_examples of its data.)')


def check_demo_media(config):
    """ConfigError if the config is the demo, whose media a command makes, and a folder of them is not there."""
    missing = [task.data.folder for task in config.mixture.tasks if not in_reach(task)]
    if config.name != 'demo' or not missing or {task.data.folder for task in config.mixture.tasks} != {
            task.data.folder for task in load_config('demo').mixture.tasks}:
        return
    media = os.path.dirname(missing[0])
    if os.path.abspath(media) == os.path.abspath(config.run_root / 'media'):
        elsewhere = () if shell.short(config.run_root) == 'runs/demo' else ('--root', shell.short(config.run_root))
        how = f'`{summary.command("demo", *elsewhere)}` makes them and runs this config.'
    else:
        how = f'`{summary.command("data", "demo", shell.short(media))}` makes them.'
    raise ConfigError(f'The media of the demo are not there yet: there is no folder {shell.short(missing[0])}. {how}')


def check_without_data(config) -> DataSummary:
    """As `check`, but the data of some tasks may be out of reach from here. For planning.

    A task that is out of reach has the classes of its config, and neither fingerprint nor counts.
    """
    check_workers(config)
    use_file_systems(config)
    data = DataSummary({}, {}, {})
    for task in config.mixture.tasks:
        if in_reach(task):
            _add_task(data, task)
        else:
            data.classes[task.name] = task.data.classes
    return data


def in_reach(task) -> bool:
    """Whether the task's data can be read from here."""
    return bool(task.data.folder) and (is_url(task.data.folder) or os.path.isdir(task.data.folder))


def use_file_systems(config):
    """Configures the file systems behind URLs, whose options are among those of Beam."""
    remote_files.use_options(config.beam.options)


def media_bytes(config) -> int | None:
    """The size of all media, about; None if a task's media are out of reach."""
    use_file_systems(config)
    total = 0
    for task in config.mixture.tasks:
        if not in_reach(task):
            return None
        total += listing.media_bytes(task.source, listing.list_media(task.source).entries)
    return total


def check_initial_checkpoint(config):
    """It must exist, be of a format that is read, and fit. Else the trainer would notice first, after all lanes."""
    path = config.training.initial_checkpoint
    file_io.check_no_pattern(path, 'Rename it, or copy it elsewhere.')
    if path and not file_io.exists(path) and not (is_url(path) and file_io.list_folder(path)):
        raise ConfigError(f'initial_checkpoint is {path}, which does not exist. Give the .npz or .safetensors file of '
                          "a ViT, a pushed version or a model_run, or '' to start from random weights.")
    if vit_files.other_format(path):
        raise ConfigError(vit_files.other_format(path))
    check_local_checkpoint(config)


def check_local_checkpoint(config):
    """ConfigError if initial_checkpoint is on this machine, and of another format or a ViT that does not fit the model.

    Only headers are read.
    """
    path = config.training.initial_checkpoint
    if is_url(path) or not os.path.exists(path):
        return
    if vit_files.other_format(path):
        raise ConfigError(vit_files.other_format(path))
    if vit_files.is_vit(path):
        try:
            vit_files.check(path, config.model, {task.modality: None for task in config.mixture.tasks})
        except PipelineStop as error:
            raise ConfigError(f'initial_checkpoint: {error}') from error


def check_served(config, data: DataSummary):
    """An early hint of DataDrift's verdict: a task or class that the newest version knows must not be lost unseen."""
    newest = served.newest(str(config.serving_dir))
    if newest is None:
        return
    found = changes.compare(newest.card, str(newest.number), config.mixture, data.classes)
    if found.reasons:
        where = f'Version {newest.number} is in {config.serving_dir}.'
        if not set(changes.classes_of(newest.card)) & set(data.classes):
            where += ' If another config pushed it, give this run another --root.'
        raise ConfigError(' '.join([*found.reasons, where]))
    for remark in found.remarks:
        logger.warning(remark)


def with_parent(config, version: str = ''):
    """The config with the model whose weights are kept, if it has train_only without an initial_checkpoint.

    That is the version with which the new model is compared: this one, or the newest if it is gone. Raises ConfigError
    if there is none.
    """
    if not config.training.train_only or config.training.initial_checkpoint:
        return config
    models = version_directories.list_models(str(config.serving_dir))
    if not models:
        raise ConfigError(f'train_only keeps the other tasks as they are being served, but there is no version in '
                          f'{config.serving_dir}. Run the config without train_only first, or give the --root that '
                          'serves them.')
    path = models.get(int(version) if version.isdecimal() else 0) or models[max(models)]
    return dataclasses.replace(config, training=dataclasses.replace(config.training, initial_checkpoint=path))


def check_parent(config, classes: dict[str, tuple[str, ...]]):
    """Raises ConfigError if the tasks that are not trained cannot stay as they are in the model being served."""
    if config.training.train_only:
        config = with_parent(config)
        path = config.training.initial_checkpoint
        try:
            parents.check(parents.read_card(path), path, config.training, config.mixture, config.model, classes)
        except PipelineStop as error:
            raise ConfigError(str(error)) from error


def check_workers(config):
    """Each task's batch must divide over the workers of TF_CONFIG. (PipelineConfig checks replicas of one machine.)"""
    if config.training.strategy != 'multi_worker':
        return
    try:
        cluster = json.loads(os.environ.get('TF_CONFIG', '{}')).get('cluster', {})
        workers = len(cluster.get('chief', ())) + len(cluster.get('worker', ()))
    except (ValueError, AttributeError, TypeError):
        raise ConfigError(
            'The environment variable TF_CONFIG is not the JSON that TensorFlow expects, such as '
            '{"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}.') from None
    if workers:
        settings.check_batches(config.mixture.tasks, workers)


def _add_task(data: DataSummary, task):
    """Lists and checks the data of one task and adds them to `data`. ConfigError if the data or labels are wrong."""
    checked = checked_listing.list_checked(task.source, task.checks)
    entries = checked.listing.entries
    counts, ungrouped = collections.Counter(), collections.Counter()
    for entry in entries:
        counts[entry.split] += 1
        ungrouped[entry.split] += not entry.group
    data.classes[task.name] = checked.classes
    data.fingerprints[task.name] = checked.media_fingerprint
    data.counts[task.name] = {split: counts[split] for split in SPLITS}
    if checked.groups:
        data.groups[task.name] = {split: checked.groups.get(split, 0) + ungrouped[split] for split in SPLITS}
    files = (e for e in entries if not e.member and not is_url(task.data.folder))
    # The first of the eval split, or else the first.
    sample = min(files, key=lambda e: e.split != 'eval', default=None)
    if sample:
        data.samples[task.name] = os.path.join(task.data.folder, sample.path)

"""All that must be right before anything starts: nothing is written, a wrong config costs a second, not an hour."""

import collections
import dataclasses
import json
import os

from media import checks as media_checks
from media import listing, remote_files
from media.verdict import remarks, stops
from model_code import settings
from model_code.errors import ConfigError
from model_code.logger import logger
from model_code.urls import is_url


@dataclasses.dataclass(frozen=True)
class Facts:
    """What the config's data are, found at the start of a run. Keys are task names.

    classes: the label domain. fingerprints: hash over the media's names, sizes, times, labels and splits.
    counts: files a split, {'train': 100, 'eval': 20}.
    """
    classes: dict[str, tuple[str, ...]]
    fingerprints: dict[str, str]
    counts: dict[str, dict[str, int]]


def check(config) -> Facts:
    """Checks a PipelineConfig against its data and the machines that it asks for. Raises ConfigError."""
    check_workers(config)
    check_initial_checkpoint(config)
    use_file_systems(config)
    facts = Facts({}, {}, {})
    for task in config.mixture.tasks:
        if not task.data.folder:
            raise ConfigError(f'Task {task.name} names no data folder, so config {config.name} can be planned and '
                              f'compiled, not run. Set data=... of the task to the folder of its media.')
        classes, fingerprint, counts = _data_facts(task)
        task.group_ids(classes)  # Each class is in a label group, where there are groups.
        facts.classes[task.name] = classes
        facts.fingerprints[task.name] = fingerprint
        facts.counts[task.name] = counts
    return facts


def check_without_data(config) -> Facts:
    """Facts for compiling where the data may be out of reach: then a task's own classes, and 'runtime' as fingerprint.

    A fixed fingerprint means that the cluster's cache does not see changed media, and a task without classes has no
    label domain: a pipeline that is to run is compiled where the data are in reach (docs/operations.md). Data that are
    in reach are checked as for a run. counts has only the tasks that are.
    """
    check_workers(config)
    use_file_systems(config)
    facts = Facts({}, {}, {})
    for task in config.mixture.tasks:
        facts.classes[task.name], facts.fingerprints[task.name] = task.data.classes, listing.RUNTIME_FINGERPRINT
        if in_reach(task):
            facts.classes[task.name], facts.fingerprints[task.name], facts.counts[task.name] = _data_facts(task)
    return facts


def in_reach(task) -> bool:
    """Whether the task's data can be looked at from here."""
    return bool(task.data.folder) and (is_url(task.data.folder) or os.path.isdir(task.data.folder))


def use_file_systems(config):
    """Gives the file systems that media are on their options, which are among the config's beam_args."""
    if any(is_url(task.data.folder) for task in config.mixture.tasks):
        remote_files.use_options(config.beam_args)


def media_bytes(config) -> int | None:
    """The size of all media, None where a task's are not in reach."""
    use_file_systems(config)
    total = 0
    for task in config.mixture.tasks:
        if not in_reach(task):
            return None
        entries = listing.list_media(task.source).entries
        total += sum(max(stat.size, 0) for stat in listing.file_stats(task.source, entries))
    return total


def check_initial_checkpoint(config):
    """It is there: else the first to notice would be the trainer, after all lanes."""
    path = config.training.initial_checkpoint
    if path and not is_url(path) and not os.path.exists(path):
        raise ConfigError(f'initial_checkpoint is {path}, which does not exist. Give a .npz file of a ViT, a pushed '
                          "version or a model_run, or '' to start from nothing.")


def check_workers(config):
    """Each task's batch divides over the workers of TF_CONFIG. (Of replicas on one machine the config itself knows.)"""
    if config.training.strategy != 'multi_worker':
        return
    try:
        cluster = json.loads(os.environ.get('TF_CONFIG', '{}')).get('cluster', {})
        workers = len(cluster.get('chief', ())) + len(cluster.get('worker', ()))
    except (ValueError, AttributeError, TypeError):
        raise ConfigError(
            'The environment variable TF_CONFIG is not JSON as TensorFlow wants it: '
            '{"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}.') from None
    if workers:
        settings.check_batches(config.mixture.tasks, workers)


def _data_facts(task) -> tuple[tuple[str, ...], str, dict[str, int]]:
    """Classes, fingerprint and counts a split of one task. ConfigError where its data or labels are wrong."""
    listed = listing.list_media(task.source)
    classes = listing.classes_of(task.source, listed)
    least = task.data.kind.least_classes
    if len(classes) < least:
        labels = f'the label {classes[0]} alone' if classes else 'no label'
        raise ConfigError(f'Task {task.name}: its train split has {labels}; to classify, it needs at least {least}.')
    if task.data.num_classes and task.data.num_classes != len(classes):
        raise ConfigError(f'Task {task.name}: num_classes is {task.data.num_classes}, but its data have {len(classes)} '
                          f'labels. Leave num_classes out, or name the classes.')
    _check_names(task, listed, classes)
    counts = collections.Counter(e.split for e in listed.entries)
    return tuple(classes), listing.media_fingerprint(task.source, listed), {s: counts[s] for s in ('train', 'eval')}


def _check_names(task, listed, classes):
    """An early hint of TaskValidator's verdict, by the names alone. ConfigError where a run is sure to stop."""
    findings = media_checks.check_names(listed)
    reasons = stops(task.name, task.checks, findings, classes)
    if reasons:
        raise ConfigError(' '.join(reasons))
    for remark in remarks(task.checks, findings):
        logger.warning('%s: %s', task.name, remark)

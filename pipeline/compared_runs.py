"""`polyvit report --compare A B`: one page with two runs side by side, from their records. It imports no TensorFlow."""

import os
import pathlib

import numpy as np
from ml_metadata import errors
from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2 as mlmd

from components import evaluation_reading
from components.evaluation_names import EVALUATION
from components.report import evaluation, label_counts
from components.report import render as report
from components.task_evaluator import evaluation_files
from model_code import bootstrap, file_io, words
from model_code.errors import ConfigError, PipelineStop
from model_code.logger import logger
from pipeline import differences, lineage, run_record, runs_table
from pipeline.run_record import Record


def write(names: tuple[str, str], root: str | None, output: str | None) -> str:
    """Writes the page; returns its path.

    names: of each run its id, or how that begins, or the root whose last run is meant. root: where runs with ids are;
    by default under all in runs/. output: the file; by default named after both runs. Raises ConfigError.
    """
    records = [_find(name, root) for name in names]
    path = output or f'{records[0].id}-{records[1].id}.html'
    if not path.lower().endswith(('.html', '.htm')):
        raise ConfigError(f'--output is {path!r}; it must be the name of a file that ends in .html.')
    file_io.check_output(path)
    file_io.write(path, page(*records).encode('utf-8', 'backslashreplace'))
    return path


def _find(name: str, root: str | None) -> Record:
    return run_record.read(name) if os.path.isdir(name) else runs_table.find(root, name)


def page(one: Record, other: Record) -> str:
    """Both runs side by side: decisions, metrics with intervals, what differs in config and data, cost."""
    return report.environment(os.path.dirname(__file__)).get_template('compared_runs.html').render(
        runs=[{'name': 'A', **_summary(one)}, {'name': 'B', **_summary(other)}], metrics=_metrics(one, other),
        config=_config(one, other), data=_data(one, other), components=_components(one, other))


def _summary(record: Record) -> dict:
    decision = record.decision or {}
    return {'id': record.id, 'config': record.config, 'root': str(record.root),
            'started': record.started[:19].replace('T', ' '),
            'took': '' if record.seconds is None else words.duration(record.seconds),
            'verdict': runs_table.verdict(record) or record.state, 'good': bool(decision.get('blessed')),
            'version': record.version if record.pushed else '', 'forced': decision.get('forced'),
            'reasons': decision.get('reasons') or list(filter(None, [record.reason])),
            'overrides': list(record.overrides)}


def _metrics(one: Record, other: Record) -> list[dict]:
    """A row for each metric of each task: [{'task', 'metric', 'primary', 'values': [(value, interval)], 'change',
    'change_interval'}]."""
    decided = [{task['name']: task for task in (record.decision or {}).get('tasks', [])} for record in (one, other)]
    rows = []
    for name in dict.fromkeys([*decided[0], *decided[1]]):
        tasks = [tasks.get(name, {}) for tasks in decided]
        measured = [_evaluation(record, name) for record in (one, other)]
        primary = next(task['primary_metric'] for task in tasks if task)
        found = dict.fromkeys([primary, *(metric for task in tasks for metric in task.get('metrics', {}))])
        for metric in found:
            values = [task.get('metrics', {}).get(metric) for task in tasks]
            if metric == 'example_count':
                continue
            bounds = [evaluation.of_all(results, metric) for results in measured]
            change, limits = None if None in values else values[1] - values[0], (None, None)
            if metric == primary and change is not None:
                limits = _change_limits(one, other, name, metric, change) or limits
            rows.append({
                'task': name, 'metric': evaluation.metric_name(metric), 'primary': metric == primary,
                'values': [(evaluation.number(value), evaluation.interval(of.get('low'), of.get('high')))
                           for value, of in zip(values, bounds, strict=True)],
                'change': evaluation.change(change),
                'change_interval': evaluation.interval(*limits, evaluation.change)})
    return rows


def _change_limits(one: Record, other: Record, task: str, metric: str, change: float) -> tuple[float, float] | None:
    """The limits of the interval of a change of the primary metric, a share of 1; None if it has none.

    It is paired: of the same examples in the same groups, both evaluations have drawn the same resamples.
    """
    folders = [_output(record, f'TaskEvaluator_{task}', 'evaluation') for record in (one, other)]
    try:
        before, after = map(evaluation_files.read_outcomes, folders)
        resamples = [evaluation_reading.read_resamples(folder)[f'0/{metric}/candidate'] for folder in folders]
    except (OSError, KeyError):  # of an older release, or no longer there
        return None
    except PipelineStop as error:
        logger.warning('%s: the change has no interval. %s', task, error)
        return None
    if not (np.array_equal(before.ids, after.ids) and np.array_equal(before.groups, after.groups)):
        return None
    count = bootstrap.clusters(before.ids.tolist(), before.groups.tolist()).count
    return bootstrap.interval(change, resamples[1] - resamples[0], count, (-1.0, 1.0))


def _output(record: Record, component: str, name: str) -> str:
    """The folder of a component's output; '' if the run has none."""
    node = record.components.get(component)
    return next(iter(node.outputs.get(name, [])), '') if node else ''


def _evaluation(record: Record, task: str) -> dict:
    folder = _output(record, f'TaskEvaluator_{task}', 'evaluation')
    try:
        return file_io.read_result(os.path.join(folder, EVALUATION)) or {} if folder else {}
    except PipelineStop as error:
        logger.warning('%s: the values have no intervals. %s', task, error)
        return {}


def _config(one: Record, other: Record) -> list[str] | None:
    """What differs between the configs, in their words, and whether the trainings' code does; None if the training of a
    run is not known.

    The trainings do not know of the gates, checks and probes, but the reports do.
    """
    found = _differing(one, other, 'CoTrainer', 'model')
    if found is None:
        return None
    more = _differing(one, other, 'Report', 'report') or []
    return found + [reason for reason in more if reason not in (*found, differences.CODE)]


def _differing(one: Record, other: Record, component: str, output: str) -> list[str] | None:
    """What differs between a component's executions in two runs; None if one of them is not known."""
    before, after = (_properties(record.root, _output(record, component, output)) for record in (one, other))
    return None if before is None or after is None else differences.describe(component, before, after)


def _properties(root: pathlib.Path, uri: str) -> dict | None:
    """The properties of the execution that made an artifact; None if the metadata of the root do not have it."""
    if not uri or not (root / lineage.FILE).is_file():
        return None
    try:
        store = metadata_store.MetadataStore(lineage.connection(root, 'READONLY'))
    except (RuntimeError, errors.StatusError) as error:
        logger.warning('%s cannot be read as ML Metadata (%s).', root / lineage.FILE, error)
        return None
    artifacts = store.get_artifacts_by_uri(uri)
    events = store.get_events_by_artifact_ids([artifact.id for artifact in artifacts]) if artifacts else []
    makers = [event.execution_id for event in events if event.type == mlmd.Event.OUTPUT]
    if not makers:
        return None
    execution = store.get_executions_by_id([min(makers)])[0]
    return {name: getattr(value, value.WhichOneof('value')) for name, value in execution.custom_properties.items()
            if value.WhichOneof('value')}


def _data(one: Record, other: Record) -> list[dict]:
    """[{'task', 'same', 'counts': [(examples of one, of the other)] by split, 'labels': [(label, one, other)]}].

    labels: the number of train examples, of the labels where it differs the most.
    """
    ids = dict.fromkeys(name for record in (one, other) for name in record.components
                        if name.startswith('StatisticsGen_'))
    rows = []
    for component in ids:
        folders = [_output(record, component, 'statistics') for record in (one, other)]
        (splits, labels), (other_splits, other_labels) = (
            label_counts.read_statistics(folder) if folder else ({}, []) for folder in folders)
        before, after = ({row['label']: row.get('train', 0) for row in rows} for rows in (labels, other_labels))
        changed = sorted(((label, before.get(label, 0), after.get(label, 0)) for label in {**before, **after}
                          if before.get(label, 0) != after.get(label, 0)), key=lambda row: (-abs(row[2] - row[1]), row))
        rows.append({'task': component.partition('_')[2], 'same': bool(folders[0]) and folders[0] == folders[1],
                     'counts': [(split, splits.get(split), other_splits.get(split))
                                for split in dict.fromkeys([*splits, *other_splits])],
                     'labels': changed[:report.MAX_LABELS], 'more': max(0, len(changed) - report.MAX_LABELS)})
    return rows


def _components(one: Record, other: Record) -> list[tuple[str, list[str]]]:
    """[(component, its seconds, CPU seconds and MB of memory, of the one run and of the other)], those that
    took longest first; '–' if unknown."""
    def measured(record: Record, name: str) -> tuple[str, str, str]:
        node = record.components.get(name)
        if node is None or node.cached:
            return '–', '–', '–'
        return (f'{node.seconds:,.1f}', '–' if node.cpu_seconds is None else f'{node.cpu_seconds:,.1f}',
                '–' if node.peak_bytes is None else f'{node.peak_bytes / 1e6:,.0f}')
    def longest(name: str) -> float:
        return max(record.components[name].seconds for record in (one, other) if name in record.components)
    return [(name, [text for pair in zip(measured(one, name), measured(other, name), strict=True) for text in pair])
            for name in sorted({**one.components, **other.components}, key=longest, reverse=True)]

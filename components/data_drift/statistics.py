"""What is kept of a run's data with a pushed version, so that later data can be compared with them.

    <task>/Split-<split>/FeatureStats.pb    TFDV's statistics of the numeric features, and of no others
    data.json                               task -> examples, groups, files, counts by label and by reason of rejection,
                                            what the data set says of itself

Ids, groups, extra columns and media are left out: their statistics would hold their values. So a task takes some
kilobytes, and the labels' names besides. Knows no TFX.
"""

import dataclasses
import json
import os

from tensorflow_metadata.proto.v0 import statistics_pb2

from media.entries import SPLITS
from media.findings import Findings
from model_code import file_io, model_directory
from model_code.serialization import from_dict

_STATISTICS = 'FeatureStats.pb'  # the name that TFX gives them
_KINDS = statistics_pb2.FeatureNameStatistics
_NUMERIC = (_KINDS.INT, _KINDS.FLOAT)


@dataclasses.dataclass(frozen=True)
class TaskData:
    """What is known of a task's data.

    examples: split -> their number. labels: label -> split -> number of examples. files: all that the task names.
    rejected: reason -> number of files. statistics: split -> TFDV's statistics of the numeric features. groups:
    split -> their number, {} if the examples have none. about: name, license, url of the data set, as far as it says.
    """
    examples: dict[str, int]
    labels: dict[str, dict[str, int]]
    files: int
    rejected: dict[str, int]
    statistics: dict[str, statistics_pb2.DatasetFeatureStatisticsList] = dataclasses.field(default_factory=dict)
    groups: dict[str, int] = dataclasses.field(default_factory=dict)
    about: dict[str, str] = dataclasses.field(default_factory=dict)


def of_findings(findings: Findings, statistics_dir: str) -> TaskData:
    """The data of a run, by the findings of MediaExampleGen and the directory that StatisticsGen wrote."""
    return TaskData(findings.examples, findings.classes, findings.total,
                    {reason: tally.count for reason, tally in sorted(findings.rejected.items())},
                    {split: without_values(read) for split, read in _read_splits(statistics_dir).items()},
                    findings.groups, findings.about)


def write(folder: str, data: dict[str, TaskData]):
    """Writes the files. data: task name -> its data."""
    described = {}
    for task, of_task in data.items():
        for split, statistics in of_task.statistics.items():
            file_io.write(_path(os.path.join(folder, task), split), statistics.SerializeToString(deterministic=True))
        described[task] = {field.name: getattr(of_task, field.name) for field in dataclasses.fields(TaskData)
                           if field.name != 'statistics'}
    file_io.write(model_directory.data_path(folder), json.dumps(described, sort_keys=True))


def read(folder: str) -> dict[str, TaskData] | None:
    """What `write` wrote, by task; None if the folder has no statistics, as a version of an older release.

    Raises ValueError if the files are damaged.
    """
    described = model_directory.read_data(folder)
    if described is None:
        return None
    try:
        return {task: dataclasses.replace(from_dict(TaskData, values),
                                          statistics=_read_splits(os.path.join(folder, task)))
                for task, values in described.items()}
    except (TypeError, AttributeError, KeyError) as error:
        path = model_directory.data_path(folder)
        raise ValueError(f'{path} has another form than this release writes: {error}') from error


def without_values(statistics: statistics_pb2.DatasetFeatureStatisticsList
                   ) -> statistics_pb2.DatasetFeatureStatisticsList:
    """The statistics of the numeric features alone."""
    kept = statistics_pb2.DatasetFeatureStatisticsList()
    kept.CopyFrom(statistics)
    for dataset in kept.datasets:
        features = [feature for feature in dataset.features if feature.type in _NUMERIC]
        del dataset.features[:]
        del dataset.cross_features[:]
        dataset.features.extend(features)
    return kept


def numeric(statistics: statistics_pb2.DatasetFeatureStatisticsList) -> dict[str, statistics_pb2.NumericStatistics]:
    """Name -> statistics of each numeric feature that has a value."""
    return {feature_name(f): f.num_stats for dataset in statistics.datasets for f in dataset.features
            if f.type in _NUMERIC and f.num_stats.common_stats.num_non_missing}


def feature_name(feature: statistics_pb2.FeatureNameStatistics) -> str:
    return '.'.join(feature.path.step) or feature.name


def _read_splits(folder: str) -> dict[str, statistics_pb2.DatasetFeatureStatisticsList]:
    """Split -> its statistics. Raises ValueError if a file is no such statistics."""
    found = {}
    for split in SPLITS:
        path = _path(folder, split)
        if not file_io.exists(path):
            continue
        try:
            found[split] = statistics_pb2.DatasetFeatureStatisticsList.FromString(file_io.read_bytes(path))
        except Exception as error:  # protobuf's DecodeError, which is another class in each of its implementations
            raise ValueError(f'{path} holds no statistics: {error}') from error
    return found


def _path(folder: str, split: str) -> str:
    return os.path.join(folder, f'Split-{split}', _STATISTICS)

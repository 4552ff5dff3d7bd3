"""How many examples and labels a task has, from TFDV's statistics. No TensorFlow."""

import os

from google.protobuf.message import DecodeError
from tensorflow_metadata.proto.v0 import statistics_pb2

from media.entries import SPLITS
from model_code import file_io
from model_code.errors import damaged


def read_statistics(statistics_dir: str) -> tuple[dict[str, int], list[dict]]:
    """From TFDV's statistics: split -> number of examples, and [{'label', split: count, ...}], most frequent first.

    TFDV keeps only the 1,000 most frequent labels. Raises PipelineStop if a file is damaged.
    """
    splits: dict[str, int] = {}
    labels: dict[str, dict] = {}
    for split in SPLITS:
        path = os.path.join(statistics_dir, f'Split-{split}', 'FeatureStats.pb')
        if not file_io.exists(path):
            continue
        try:
            statistics = statistics_pb2.DatasetFeatureStatisticsList.FromString(file_io.read_bytes(path))
        except DecodeError as error:
            raise damaged(path, error, statistics_dir) from error
        splits[split] = sum(dataset.num_examples for dataset in statistics.datasets)
        for dataset in statistics.datasets:
            for feature in dataset.features:
                if 'label' in (feature.name, *feature.path.step):
                    for bucket in feature.string_stats.rank_histogram.buckets:
                        labels.setdefault(bucket.label, {'label': bucket.label})[split] = int(bucket.sample_count)
    return splits, sorted(labels.values(), key=lambda row: (-sum(row.get(s, 0) for s in SPLITS), row['label']))

"""The stock ExampleValidator's executor, and a stop where it found something."""

import os

from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2
from tfx.components.example_validator import executor as stock
from tfx.components.statistics_gen import stats_artifact_utils
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import io_utils

from model_code.data import Source
from model_code.errors import PipelineStop
from model_code.serialization import from_json

# What TFDV's anomalies mean for examples, in front of TFDV's own words, which speak of columns and dropped shapes.
_MEANING = {
    anomalies_pb2.AnomalyInfo.SCHEMA_MISSING_COLUMN: 'it is missing from every example',
    anomalies_pb2.AnomalyInfo.FEATURE_TYPE_NOT_PRESENT: 'it is missing from every example',
    anomalies_pb2.AnomalyInfo.FEATURE_TYPE_LOW_FRACTION_PRESENT: 'it is missing from some examples',
    anomalies_pb2.AnomalyInfo.INVALID_FEATURE_SHAPE: 'some examples do not have exactly one value of it',
    anomalies_pb2.AnomalyInfo.ENUM_TYPE_UNEXPECTED_STRING_VALUES: 'it has values that are not in its domain',
    anomalies_pb2.AnomalyInfo.SCHEMA_NEW_COLUMN: 'the schema does not know it',
}

_NAMED = 10  # Anomalies in the message; all of them are in the artifact.


class Executor(stock.Executor):
    """Executor of TaskValidator."""

    def Do(self, input_dict, output_dict, exec_properties):
        """Validates as the stock executor, then raises PipelineStop that names what was found."""
        result = super().Do(input_dict, output_dict, exec_properties)
        statistics = artifact_utils.get_single_instance(input_dict['statistics'])
        anomalies = artifact_utils.get_single_instance(output_dict['anomalies'])
        schema = io_utils.SchemaReader().read(
            io_utils.get_only_uri_in_dir(artifact_utils.get_single_uri(input_dict['schema'])))
        found = []
        for split in artifact_utils.decode_split_names(statistics.split_names):
            found += describe(
                split, schema, stats_artifact_utils.load_statistics(statistics, split).proto(),
                _read_anomalies(artifact_utils.get_split_uri([anomalies], split)))
        if found:
            name = from_json(Source, exec_properties['source']).name
            more = f' And {len(found) - _NAMED} more.' if len(found) > _NAMED else ''
            raise PipelineStop(f'Task {name}: the examples are not as their schema says, so training was not started. '
                               + ' '.join(f'Task {name}, {sentence}' for sentence in found[:_NAMED]) + more)
        return result


def _read_anomalies(split_uri: str) -> anomalies_pb2.Anomalies:
    with fileio.open(os.path.join(split_uri, stock.DEFAULT_FILE_NAME), 'rb') as file:
        return anomalies_pb2.Anomalies.FromString(file.read())


def describe(split: str, schema: schema_pb2.Schema, statistics: statistics_pb2.DatasetFeatureStatisticsList,
             anomalies: anomalies_pb2.Anomalies) -> list[str]:
    """A sentence for each thing that is wrong with a split: 'split S, feature F: what'. [] where nothing is."""
    if not sum(dataset.num_examples for dataset in statistics.datasets):
        return [f'split {split}: it is empty. Put files into it, or change how files are split (eval_share, the '
                "manifest's split column, the split folders)."]
    found = []
    for feature, info in sorted(anomalies.anomaly_info.items()):
        name = '.'.join(info.path.step) or feature
        what = ' '.join(_sentence(reason) for reason in info.reason)
        found.append(f'split {split}, feature {name}: {what or info.description}')
    if anomalies.HasField('dataset_anomaly_info'):
        found.append(f'split {split}, all features: {anomalies.dataset_anomaly_info.description}')
    if split == 'train':
        found += _classes_without_examples(schema, statistics)
    return found


def _sentence(reason: anomalies_pb2.AnomalyInfo.Reason) -> str:
    said = f'{reason.short_description}: {reason.description.rstrip(". ")}'
    return f'{_MEANING[reason.type]} ({said}).' if reason.type in _MEANING else f'{said}.'


def _classes_without_examples(schema, statistics) -> list[str]:
    """A class that the domain names and no train example has can't be learned, and has no place in the vocabulary.

    TFDV has no such check: its domains say what may be there, not what must.
    """
    domain = next((d.value for d in schema.string_domain if d.name == 'label'), ())
    for feature in statistics.datasets[0].features:
        if '.'.join(feature.path.step) == 'label' or feature.name == 'label':
            buckets = feature.string_stats.rank_histogram.buckets
            missing = sorted(set(domain) - {bucket.label for bucket in buckets})
            # The histogram holds only the most frequent labels: with more labels than that, count instead.
            if missing and feature.string_stats.unique <= len(buckets):
                return [f'split train, feature label: no example has {_quoted(missing)}, which the classes name. Add '
                        'examples, or take it out of `classes`.']
            if feature.string_stats.unique < len(domain):
                return [f'split train, feature label: {feature.string_stats.unique} of {len(domain)} classes have '
                        'examples. Add examples of the others, or take them out of `classes`.']
    return []


def _quoted(names) -> str:
    return ', '.join(map(repr, names[:5])) + (f' and {len(names) - 5} more classes' if len(names) > 5 else '')

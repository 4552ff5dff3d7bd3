"""TaskValidator's executor: the stock ExampleValidator's, and then the verdict on its anomalies and the findings."""

import os
from collections.abc import Collection

from tensorflow_metadata.proto.v0 import anomalies_pb2, statistics_pb2
from tfx.components.example_validator import executor as stock
from tfx.components.statistics_gen import stats_artifact_utils
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import io_utils

from components.artifacts import read_findings
from components.schema_labels import labels_of
from media import verdict
from media.findings import Findings
from model_code.data import Source
from model_code.errors import PipelineStop
from model_code.logger import logger
from model_code.serialization import from_json
from model_code.tasks import Checks

# What TFDV's anomalies mean for examples. TFDV's own words, of columns and dropped shapes, follow in parentheses.
_MEANING = {
    anomalies_pb2.AnomalyInfo.SCHEMA_MISSING_COLUMN: 'it is missing from every example',
    anomalies_pb2.AnomalyInfo.FEATURE_TYPE_NOT_PRESENT: 'it is missing from every example',
    anomalies_pb2.AnomalyInfo.FEATURE_TYPE_LOW_FRACTION_PRESENT: 'it is missing from some examples',
    anomalies_pb2.AnomalyInfo.INVALID_FEATURE_SHAPE: 'some examples do not have exactly one value of it',
    anomalies_pb2.AnomalyInfo.ENUM_TYPE_UNEXPECTED_STRING_VALUES: 'it has values that are not in its domain',
    anomalies_pb2.AnomalyInfo.SCHEMA_NEW_COLUMN: 'the schema does not know it',
}

_NAMED = 10  # this many anomalies are named in the message; the artifact has all of them


class Executor(stock.Executor):
    """See component.TaskValidator for inputs, output and properties."""

    def Do(self, input_dict, output_dict, exec_properties):
        result = super().Do(input_dict, output_dict, exec_properties)
        statistics = artifact_utils.get_single_instance(input_dict['statistics'])
        anomalies = artifact_utils.get_single_instance(output_dict['anomalies'])
        schema = io_utils.SchemaReader().read(
            io_utils.get_only_uri_in_dir(artifact_utils.get_single_uri(input_dict['schema'])))
        described = []
        for split in artifact_utils.decode_split_names(statistics.split_names):
            described += describe(split, stats_artifact_utils.load_statistics(statistics, split).proto(),
                                  _read_anomalies(artifact_utils.get_split_uri([anomalies], split)))
        judge(from_json(Source, exec_properties['source']), from_json(Checks, exec_properties['checks']),
              read_findings(artifact_utils.get_single_uri(input_dict['rejected'])), labels_of(schema), described)
        return result


def judge(source: Source, checks: Checks, findings: Findings, classes: Collection[str], anomalies: list[str]):
    """Raises PipelineStop with every reason to stop; if there is none, logs what is worth knowing.

    classes: those of the schema. anomalies: sentences of `describe`.
    """
    task = source.name
    reasons = verdict.reasons_to_stop(source, checks, findings, classes)
    if anomalies:
        more = f' And {len(anomalies) - _NAMED} more.' if len(anomalies) > _NAMED else ''
        reasons.append(f'Task {task}: the examples do not match their schema, so training was not started. '
                       + ' '.join(f'Task {task}, {sentence}' for sentence in anomalies[:_NAMED]) + more)
    if reasons:
        raise PipelineStop(' '.join(reasons))
    for line in verdict.remarks(checks, findings):
        logger.info('%s: %s', task, line)


def _read_anomalies(split_uri: str) -> anomalies_pb2.Anomalies:
    with fileio.open(os.path.join(split_uri, stock.DEFAULT_FILE_NAME), 'rb') as file:
        return anomalies_pb2.Anomalies.FromString(file.read())


def describe(split: str, statistics: statistics_pb2.DatasetFeatureStatisticsList,
             anomalies: anomalies_pb2.Anomalies) -> list[str]:
    """What is wrong with the examples of a split, one sentence each: 'split S, feature F: what'. [] if nothing is."""
    if not sum(dataset.num_examples for dataset in statistics.datasets):
        return []  # the verdict says so
    sentences = []
    for feature, info in sorted(anomalies.anomaly_info.items()):
        name = '.'.join(info.path.step) or feature
        what = ' '.join(_sentence(reason) for reason in info.reason)
        sentences.append(f'split {split}, feature {name}: {what or info.description}')
    if anomalies.HasField('dataset_anomaly_info'):
        sentences.append(f'split {split}, all features: {anomalies.dataset_anomaly_info.description}')
    return sentences


def _sentence(reason: anomalies_pb2.AnomalyInfo.Reason) -> str:
    description = f'{reason.short_description}: {reason.description.rstrip(". ")}'
    return f'{_MEANING[reason.type]} ({description}).' if reason.type in _MEANING else f'{description}.'

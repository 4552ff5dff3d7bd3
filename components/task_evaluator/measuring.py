"""TFMA's part of an evaluation: the Beam pipeline that asks the models and measures what they say.

Much of what an evaluation of a few hundred examples costs is fixed: Beam's stages, and loading the models. So examples
stay in batches until they are in the parts of outcomes, which one stage writes and measures, a second one brings the
parts together, and models are loaded once per process.
"""

import functools
import os
from collections.abc import Mapping, Sequence

import apache_beam as beam
import tensorflow as tf
import tensorflow_model_analysis as tfma
from google.protobuf import json_format
from tensorflow_model_analysis.proto import config_pb2
from tensorflow_model_analysis.writers import metrics_plots_and_validations_writer

from components.task_evaluator import loaded_models, metrics, outcome_parts
from components.task_evaluator.eval_config import eval_config
from model_code import file_io
from model_code.data import Source

_METRICS_FILE = 'metrics-00000-of-00001.tfrecord'  # as TFMA looks for it


def measure(batches: beam.PCollection, source: Source, labels: int, models: Mapping[str, str],
            classes: dict[str, tuple[str, ...]], directory: str):
    """Writes TFMA's metrics and its configuration (tfma.load_eval_result), and the parts of outcomes.

    batches: of serialized examples. labels: how many classes the task has. models: 'candidate', and 'baseline' if there
    is one -> the directory of the SavedModel. classes: of outcome_parts.Write.
    """
    config = tfma.utils.update_eval_config_with_defaults(
        eval_config(source, labels, 'baseline' in models), has_baseline='baseline' in models)
    shared = [_shared_model(models['baseline' if spec.is_baseline else 'candidate'], spec.name, config)
              for spec in config.model_specs]
    shared = shared if len(shared) > 1 else shared[0]
    _write_config(config, models, directory)
    extracts = batches | 'Extracts' >> tfma.BatchedInputsToExtracts()
    for extractor in (tfma.extractors.FeaturesExtractor(config),
                      tfma.extractors.TransformedFeaturesExtractor(config, shared),
                      tfma.extractors.LabelsExtractor(config),
                      tfma.extractors.PredictionsExtractor(config, shared)):
        extracts = extracts | extractor.stage_name >> extractor.ptransform
    combiners = metrics.combiners(config)
    return (extracts
            | 'Parts' >> beam.ParDo(outcome_parts.Write(source, classes, combiners, 'baseline' in models, directory))
            | 'AllParts' >> beam.combiners.ToList()
            | 'Write' >> beam.Map(_write, combiners, directory))


def _write(parts: list[outcome_parts.Part], combiners: Sequence[beam.CombineFn], directory: str):
    outcome_parts.write_list([part.name for part in parts], directory)
    found = metrics.of_all(combiners, [part.accumulators for part in sorted(parts, key=lambda part: part.name)])
    with (file_io.replacing(os.path.join(directory, _METRICS_FILE)) as temporary,
          tf.io.TFRecordWriter(temporary) as writer):
        for message in sorted(map(_message, found)):
            writer.write(message)


def _message(metrics_of_slice) -> bytes:
    return metrics_plots_and_validations_writer.convert_slice_metrics_to_proto(
        metrics_of_slice, add_metrics_callbacks=[]).SerializeToString(deterministic=True)


def _shared_model(path: str, name: str, config: tfma.EvalConfig) -> tfma.types.EvalSharedModel:
    """TFMA takes away the name of a model that is the only one."""
    loader = tfma.types.ModelLoader(functools.partial(loaded_models.load, path), tags=[tf.saved_model.SERVING])
    return tfma.default_eval_shared_model(path, model_name=name, eval_config=config, custom_model_loader=loader)


def _write_config(config: tfma.EvalConfig, models: Mapping[str, str], directory: str):
    """As TFMA's EvalConfigWriter, which takes five stages of Beam for this one file."""
    names = ['candidate', 'baseline'] if 'baseline' in models else ['']
    run = config_pb2.EvalRun(eval_config=config, version=tfma.__version__,
                             model_locations=dict(zip(names, models.values(), strict=True)))
    file_io.write(os.path.join(directory, 'eval_config.json'), json_format.MessageToJson(run))

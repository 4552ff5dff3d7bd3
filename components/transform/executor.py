"""Transform's executor: analyses the train split with TensorFlow Transform, then transforms file by file."""

import functools
import os
from collections.abc import Callable, Iterable

import apache_beam as beam
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from apache_beam.utils import shared
from tensorflow_transform.tf_metadata import dataset_metadata
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import io_utils
from tfx_bsl.public import tfxio

from components import preprocessing_fns, tf_records
from components.schema_labels import labels_of
from model_code import file_io, job_progress
from model_code.data import Source
from model_code.logger import logger
from model_code.serialization import from_json

BATCH = 32  # examples that are transformed at once: of long clips, some hundred megabytes


class Executor(base_beam_executor.BaseBeamExecutor):
    """See component.Transform for inputs, outputs and properties."""

    def Do(self, input_dict, output_dict, exec_properties):
        self._log_startup(input_dict, output_dict, exec_properties)
        examples = artifact_utils.get_single_instance(input_dict['examples'])
        schema = io_utils.SchemaReader().read(
            io_utils.get_only_uri_in_dir(artifact_utils.get_single_uri(input_dict['schema'])))
        graph = artifact_utils.get_single_uri(output_dict['transform_graph'])
        transformed = artifact_utils.get_single_instance(output_dict['transformed_examples'])
        transformed.split_names = examples.split_names
        source = from_json(Source, exec_properties['source'])
        config = {'source': exec_properties['source'], 'spec': exec_properties['spec'],
                  'classes': len(labels_of(schema))}
        files = [(split, name) for split in artifact_utils.decode_split_names(examples.split_names)
                 for name in file_io.list_folder(artifact_utils.get_split_uri([examples], split))]
        with (job_progress.expected(len(files), 'file of examples', lambda text, extra: logger.info(
                '%s: transformed %s', source.name, text, extra=extra)), self._make_beam_pipeline() as pipeline):
            transform(pipeline, functools.partial(preprocessing_fns.preprocess, custom_config=config), schema,
                      examples.uri, files, graph, transformed.uri)
        fileio.rmtree(_temporary_folder(graph))


def _temporary_folder(graph_uri: str) -> str:
    """Where TensorFlow Transform hands graphs to its workers: a folder that they reach, as they do the artifact."""
    return os.path.join(graph_uri, '.temp_path')


def transform(pipeline: beam.Pipeline, preprocess: Callable[[dict], dict], schema, examples_uri: str,
              files: list[tuple[str, str]], graph_uri: str, transformed_uri: str):
    """Adds the analysis of the train split, and the transformation of all files, to `pipeline`.

    files: (split, name) of each file of examples; the transformed file has the same name. As in MediaExampleGen, a file
    is one element, its worker writes the file, and media never pass between Beam steps.
    """
    records = tfxio.TFExampleRecord(os.path.join(examples_uri, 'Split-train', '*'), schema=schema,
                                    telemetry_descriptors=['Transform'])
    specs = records.TensorAdapter().OriginalTypeSpecs()
    train = records.Project(list(tft.get_analyze_input_columns(preprocess, specs)))
    with tft_beam.Context(temp_dir=_temporary_folder(graph_uri), use_deep_copy_optimization=True):
        graph = ((pipeline | 'ReadTrain' >> train.BeamSource(), train.TensorAdapterConfig())
                 | 'Analyze' >> tft_beam.AnalyzeDataset(preprocess))
        _ = dataset_metadata.DatasetMetadata(schema) | 'WriteMetadata' >> tft_beam.WriteMetadata(
            os.path.join(graph_uri, tft.TFTransformOutput.RAW_METADATA_DIR), pipeline)
        written = graph | 'WriteGraph' >> tft_beam.WriteTransformFn(graph_uri)
    inputs = sorted(tft.get_transform_input_columns(preprocess, specs))
    _ = (pipeline
         | 'Files' >> beam.Create(files, reshuffle=False)
         | 'Spread' >> beam.Reshuffle()
         | 'Transform' >> beam.ParDo(_TransformFile(examples_uri, graph_uri, transformed_uri, inputs),
                                     beam.pvalue.AsSingleton(written)))


class _TransformFile(beam.DoFn):
    """Takes (split, file name) and writes that file's examples, transformed. An element can be repeated."""

    def __init__(self, examples_uri: str, graph_uri: str, transformed_uri: str, inputs: list[str]):
        self._examples_uri, self._graph_uri, self._transformed_uri = examples_uri, graph_uri, transformed_uri
        self._inputs, self._shared_graph = inputs, shared.Shared()
        self._files = beam.metrics.Metrics.counter(job_progress.NAMESPACE, 'files')

    def process(self, element, graph_written):
        split, name = element
        graph = self._shared_graph.acquire(lambda: _Graph(self._graph_uri, self._inputs))
        path = os.path.join(self._examples_uri, f'Split-{split}', name)
        records = tf.data.TFRecordDataset(path, compression_type='GZIP').batch(BATCH)
        with tf_records.writer(self._transformed_uri, split, name) as file:
            for batch in records:
                for features in graph.transformed(batch):
                    file.write(tf_records.serialize(features))
        self._files.inc()
        return ()  # Beam warns of a function that gives it nothing


class _Graph:
    """A transform graph, loaded once by each worker process."""

    def __init__(self, uri: str, inputs: list[str]):
        output = tft.TFTransformOutput(uri)
        raw = {name: spec for name, spec in output.raw_feature_spec().items() if name in inputs}
        layer = output.transform_features_layer()
        # AutoGraph would take seconds to rewrite Keras, and the graph needs none of it.
        self._function = tf.function(lambda records: layer(tf.io.parse_example(records, raw)), autograph=False,
                                     input_signature=[tf.TensorSpec([None], tf.string)])

    def transformed(self, records: tf.Tensor) -> Iterable[dict[str, list]]:
        """The transformed features of each of the serialized examples, [N] string."""
        columns = {name: _rows(tensor) for name, tensor in self._function(records).items()}
        for row in zip(*columns.values(), strict=True):
            yield dict(zip(columns, row, strict=True))


def _rows(tensor: tf.Tensor | tf.SparseTensor) -> list[list]:
    """The values of each example of a batch."""
    if isinstance(tensor, tf.SparseTensor):
        return tf.RaggedTensor.from_sparse(tensor).to_list()
    values = tensor.numpy().tolist()
    return values if tensor.shape.rank > 1 else [[value] for value in values]

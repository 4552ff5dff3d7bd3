"""TaskSchemaGen's executor: completes the schema of a modality for a task."""

import os
import pathlib

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

import schemas
from components.classes import read_classes
from components.schema_labels import DOMAIN
from model_code import file_io
from model_code.data import Source
from model_code.modalities import CAPTION, get_modality
from model_code.serialization import from_json

SCHEMA_FILE = 'schema.pbtxt'  # TFX reads a Schema from a file of this name.


class Executor(base_executor.BaseExecutor):
    """See component.TaskSchemaGen for input, output and properties."""

    def Do(self, input_dict, output_dict, exec_properties):
        self._log_startup(input_dict, output_dict, exec_properties)
        source = from_json(Source, exec_properties['source'])
        classes = read_classes(artifact_utils.get_single_uri(input_dict['classes']))
        path = os.path.join(artifact_utils.get_single_uri(output_dict['schema']), SCHEMA_FILE)
        file_io.write(path, text_format.MessageToString(task_schema(source, classes.labels)))


def task_schema(source: Source, classes: tuple[str, ...]) -> schema_pb2.Schema:
    """The modality's schema of schemas/, with the labels `classes` and the columns source.data.columns.extra.

    An example must have as many labels as its label kind says: one, at least one (or none, if that is allowed), or one
    of each group. Each extra column is a text that an example may have. Raises ConfigError for a class in no group.
    """
    text = (pathlib.Path(schemas.__file__).parent / get_modality(source.modality).schema).read_text(
        encoding='utf-8')
    schema = text_format.Parse(text, schema_pb2.Schema())
    schema.string_domain.add(name=DOMAIN, value=classes)
    label = next(feature for feature in schema.feature if feature.name == 'label')
    label.domain = DOMAIN
    label.distribution_constraints.min_domain_mass = 1.0  # no example may have another label
    if source.data.kind.several:
        label.value_count.min = 0 if source.data.allow_unlabelled else 1
        if source.data.allow_unlabelled:
            label.presence.Clear()  # an example without a label lacks the feature
    elif source.data.kind.grouped:
        source.group_ids(classes)  # raises if a class is in no group, or a group is empty
        label.value_count.min = label.value_count.max = len(source.data.label_groups)
    else:
        label.shape.SetInParent()  # a scalar
    if source.data.groups:
        group = schema.feature.add(name='group', type=schema_pb2.BYTES)
        group.presence.min_fraction, group.presence.min_count = 1.0, 1
        group.shape.SetInParent()
    elif get_modality(source.modality).timed:  # segments of one recording have a group
        schema.feature.add(name='group', type=schema_pb2.BYTES).value_count.max = 1
    if source.captioned:
        caption = schema.feature.add(name=CAPTION, type=schema_pb2.BYTES)
        caption.image_domain.SetInParent()  # opaque bytes, no words to count
        caption.presence.min_fraction, caption.presence.min_count = 1.0, 1
        caption.shape.SetInParent()
    for name in source.data.columns.extra:
        schema.feature.add(name=name, type=schema_pb2.BYTES).value_count.max = 1
    return schema

"""The curated schema of a modality -> the schema of a task."""

import json
import os
import pathlib

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

import schemas
from model_code import file_io
from model_code.errors import ConfigError
from model_code.serialization import from_json
from model_code.tasks import Task

SCHEMA_FILE = 'schema.pbtxt'  # The name that TFX's readers of a Schema look for.


class Executor(base_executor.BaseExecutor):
    """Executor of TaskSchemaGen."""

    def Do(self, input_dict, output_dict, exec_properties):
        """Writes the schema of exec_properties['task'] and ['classes']."""
        self._log_startup(input_dict, output_dict, exec_properties)
        schema = task_schema(from_json(Task, exec_properties['task']), tuple(json.loads(exec_properties['classes'])))
        path = os.path.join(artifact_utils.get_single_uri(output_dict['schema']), SCHEMA_FILE)
        file_io.write(path, text_format.MessageToString(schema))


def task_schema(task: Task, classes: tuple[str, ...]) -> schema_pb2.Schema:
    """schemas/<modality>.pbtxt; label: one of `classes`; one and more of them where the task is multi-label; one a
    group where it has label groups.

    Each of task.columns.extra is a text that an example may have.
    """
    if not classes:
        raise ConfigError(f'Task {task.name} has no classes; its label needs a domain of at least one.')
    text = (pathlib.Path(schemas.__file__).parent / f'{task.modality}.pbtxt').read_text()
    schema = text_format.Parse(text, schema_pb2.Schema())
    schema.string_domain.add(name='label', value=classes)
    label = next(feature for feature in schema.feature if feature.name == 'label')
    label.domain = 'label'
    label.distribution_constraints.min_domain_mass = 1.0  # No example may have another label.
    if task.multi_label:
        label.value_count.min = 1
    elif task.label_groups:
        task.group_ids(classes)  # Each class is in a group, and no group is empty.
        label.value_count.min = label.value_count.max = len(task.label_groups)
    else:
        label.shape.SetInParent()  # A scalar.
    for name in task.columns.extra:
        schema.feature.add(name=name, type=schema_pb2.BYTES).value_count.max = 1
    return schema

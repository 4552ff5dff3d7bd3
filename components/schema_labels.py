"""Where a task's schema keeps the labels: TaskSchemaGen writes them there, Transform and TaskValidator read them."""

from tensorflow_metadata.proto.v0 import schema_pb2

DOMAIN = 'label'  # the name of the string domain


def labels_of(schema: schema_pb2.Schema) -> list[str]:
    """All labels of the task."""
    return [label for domain in schema.string_domain if domain.name == DOMAIN for label in domain.value]

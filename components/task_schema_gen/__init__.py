"""TaskSchemaGen: the schema of a modality, completed with the labels of one task."""

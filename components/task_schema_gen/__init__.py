"""TaskSchemaGen: a modality's curated schema, with the label domain of one task."""

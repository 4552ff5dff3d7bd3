"""The schema of model cards, for tests."""

import functools
import json

import jsonschema

from model_code import isolated


@functools.cache
def validator() -> jsonschema.Draft202012Validator:
    schema = json.loads((isolated.PROJECT / 'schemas/model_card.schema.json').read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)


def errors(card: dict) -> list[str]:
    """What is wrong with a card, by its schema."""
    return [f'{error.json_path}: {error.message}' for error in validator().iter_errors(card)]

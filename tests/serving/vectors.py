"""The contract of TensorFlow Serving, one case per line of vectors.jsonl, from release 2.16.1 (Apache-2.0).

A case has a name, a source (file and test), a kind (request-parse, response-format or http), a request, and what to
expect. With `json_tokens`, numbers are compared as text. fixtures.json describes the models that the http cases need.
"""

import json
import pathlib

FOLDER = pathlib.Path(__file__).parent


def of_kind(kind: str) -> list[dict]:
    """The cases of a kind. Raises ValueError if there are none."""
    lines = (FOLDER / 'vectors.jsonl').read_text().splitlines()
    cases = [case for case in map(json.loads, lines) if case['kind'] == kind]
    if not cases:
        raise ValueError(f'vectors.jsonl has no case of kind {kind}.')
    return cases


def tokens(text: str | bytes):
    """Parsed JSON with its numbers (NaN and Infinity too) as text, exactly as written."""
    return json.loads(text, parse_int=str, parse_float=str, parse_constant=str)

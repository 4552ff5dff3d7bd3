"""The TensorFlow Serving contract, one case per line of vectors.jsonl, from release 2.16.1 (Apache-2.0).

A case: name, source (file and test), kind (request-parse, response-format, http), request, expect. `json_tokens`:
numbers are compared as the text that they are written in. fixtures.json names the models that the http cases ask.
"""

import json
import pathlib

FOLDER = pathlib.Path(__file__).parent


def of_kind(kind: str) -> list[dict]:
    """The cases of a kind. Raises ValueError where there is none."""
    lines = (FOLDER / 'vectors.jsonl').read_text().splitlines()
    cases = [case for case in map(json.loads, lines) if case['kind'] == kind]
    if not cases:
        raise ValueError(f'vectors.jsonl has no case of kind {kind}.')
    return cases


def tokens(text: str | bytes):
    """JSON with its numbers (NaN and Infinity too) as the text that they are written in."""
    return json.loads(text, parse_int=str, parse_float=str, parse_constant=str)

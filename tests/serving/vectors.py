"""The contract of TensorFlow Serving, one case per line of vectors.jsonl, from its releases 2.16 to 2.20 (Apache-2.0).

A case has a name, a source (file and test, or why it is one of our own), a kind (request-parse, response-format or
http), a request, and what to expect of release 2.18 and later. `expect_2.16` is there where releases before 2.18 answer
otherwise; null: never send it to them. `in_process`: why no request can show the case, so that it is asked of the
functions. With `json_tokens`, numbers are compared as text. conformance_models.py writes the models of the http cases.
"""

import json
import pathlib

FOLDER = pathlib.Path(__file__).parent
PROFILES = ('2.16', '2.18+')
"""Releases that differ: before 2.18 JSON is parsed by recursion, bytes after it are errors, quoted values are whole."""


def load() -> list[dict]:
    """All cases."""
    return [json.loads(line) for line in (FOLDER / 'vectors.jsonl').read_text().splitlines()]


def expectation(case: dict, profile: str) -> dict | None:
    """What to expect of a server of this profile; None: do not send the case."""
    return case.get('expect_2.16', case['expect']) if profile == '2.16' else case['expect']


def tokens(text: str | bytes):
    """Parsed JSON with its numbers (NaN and Infinity too) as text, exactly as written."""
    return json.loads(text, parse_int=str, parse_float=str, parse_constant=str)

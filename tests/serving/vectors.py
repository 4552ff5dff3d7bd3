"""The TensorFlow Serving contract's vectors, from <repository>/../shared/serving; absent there, tests skip by name."""

import json
import pathlib

FOLDER = pathlib.Path(__file__).resolve().parents[3] / 'shared' / 'serving'
MISSING = f'the contract vectors are not in {FOLDER}'


def of_kind(kind: str) -> list[dict]:
    path = FOLDER / 'vectors.jsonl'
    lines = path.read_text().splitlines() if path.is_file() else []
    return [case for case in map(json.loads, lines) if case['kind'] == kind]


def tokens(text: str | bytes):
    """JSON with its numbers (NaN and Infinity too) as the text that they are written in."""
    return json.loads(text, parse_int=str, parse_float=str, parse_constant=str)

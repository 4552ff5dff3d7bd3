"""Parquet and Arrow files as Hugging Face's datasets write them, for tests."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from media import tables
from media.sandbox import protocol
from media.sandbox.tables import TableReader
from tests import testing

CLASS_LABEL = {'names': ['cat', 'dog'], '_type': 'ClassLabel'}


def schema_metadata(features: dict) -> dict:
    """A schema's metadata with these features, as push_to_hub writes them."""
    return {'huggingface': json.dumps({'info': {'features': features}})}


def media_table(media: list, column: str = 'image', feature: str = 'Image', labels=None, **columns) -> pa.Table:
    """A table with a struct of bytes and path, and the numbers of labels with the names cat and dog.

    media: bytes, or a path, or None, for each row.
    """
    structs = [None if one is None else {'bytes': one, 'path': None} if isinstance(one, bytes) else
               {'bytes': None, 'path': one} for one in media]
    type_ = pa.struct([('bytes', pa.binary()), ('path', pa.string())])
    labels = labels or [i % 2 for i in range(len(media))]
    table = pa.table({column: pa.array(structs, type_), 'label': pa.array(labels), **columns})
    return table.replace_schema_metadata(schema_metadata({column: {'_type': feature}, 'label': CLASS_LABEL}))


def write_rows(path, rows: list[dict]):
    """Writes rows as the path's ending says: .csv, .jsonl or .parquet."""
    if path.suffix == '.csv':
        testing.write_manifest(path.parent, [tuple(row.values()) for row in rows], tuple(rows[0]), path.name)
    elif path.suffix == '.jsonl':
        testing.write(path.parent, path.name, ''.join(json.dumps(row) + '\n' for row in rows))
    else:
        write_parquet(path, pa.Table.from_pylist(rows))


def write_parquet(path, table: pa.Table, rows: int = 100, **options):
    """Writes row groups of so many rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=rows, **options)


def write_arrow(path, table: pa.Table, rows: int = 100, stream: bool = True, **options):
    """Writes record batches of so many rows, as a stream (Hugging Face's cache) or a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    make = pa.ipc.new_stream if stream else pa.ipc.new_file
    with pa.OSFile(str(path), 'wb') as file, make(file, table.schema, **options) as writer:
        writer.write_table(table, rows)


def read_in_this_process(monkeypatch):
    """Lets the listing read tables in this process: a child takes a second to start."""
    def send(self, frame):
        self.answers = tables.answers(self._start.root, json.loads(frame[protocol.LENGTH.size:]))

    monkeypatch.setattr(TableReader, '_send', send)
    monkeypatch.setattr(TableReader, '_answer', lambda self: json.loads(json.dumps(next(self.answers))))


@pytest.fixture(autouse=True)
def in_this_process(request, monkeypatch):
    """A module that imports it reads tables in the tests' process, but for tests that ask for in_a_child."""
    if 'in_a_child' not in request.fixturenames:
        read_in_this_process(monkeypatch)


@pytest.fixture
def in_a_child():
    """Without it, tests of a module that imports in_this_process read tables in their own process."""

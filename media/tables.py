"""Parquet and Arrow files: what their columns are, their rows as JSON values, and the media that they hold.

For child processes only (media.sandbox), as decoders are: pyarrow is a C++ library that reads hostile bytes. Sources:
parquet.apache.org (file format, column statistics), arrow.apache.org (IPC streams and files), and the metadata that
Hugging Face's datasets write into a schema.
"""

import contextlib
import datetime
import decimal
import itertools
import json
import os
import re
import resource
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from media import parquet_pages, paths, table_rows
from media.readers.opening import open_media
from media.rejections import Rejection
from model_code.modalities import Limits
from model_code.urls import is_url

MAX_COLUMNS = 10_000  # leaves of nested columns count
MAX_ROWS = 20_000_000  # of one file
_MAX_NESTING = 16
_MAX_METADATA = 64 << 20  # bytes of a Parquet file's footer
_MAX_CONTAINER = 10_000_000  # elements of a list in it: column chunks, mostly
_MAX_LIST = 10_000  # elements of a list that are kept: more labels than an example may have
_MAX_NAMES = 100_000  # class names
BATCH_ROWS = 1_000  # of one answer
_BUFFER = 1 << 20  # bytes that are read at once; without it, a whole column chunk would be

class _NoPythonObjects(pa.ExtensionType):
    """Stands in for pyarrow's type that unpickles what a file says, and so runs its code (CVE-2023-47248)."""

    def __init__(self):
        super().__init__(pa.null(), 'arrow.py_extension_type')

    def __arrow_ext_serialize__(self):
        return b''

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type, serialized):
        raise Rejection('unsupported', 'It has a column of pickled Python objects, which could run code. Write it '
                                       'without them.')


with contextlib.suppress(KeyError):  # later releases of pyarrow have no such type
    pa.unregister_extension_type('arrow.py_extension_type')
    pa.register_extension_type(_NoPythonObjects())
pa.set_cpu_count(1)
pa.set_memory_pool(pa.system_memory_pool())  # the others reserve address space, which is limited


def open_table(root: str, path: str):
    """A Parquet or Arrow file below the root, as a ParquetTable or an ArrowTable: known by the content.

    Raises Rejection: missing, unsupported, undecodable, ...; bad_path if a link leads out of the root.
    """
    if not is_url(root):
        paths.Links(root).check(path)
    file = open_media(f'{root.rstrip("/")}/{path}', Limits())
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(8)
    file.seek(max(0, size - 8))
    tail = file.read(8)
    file.seek(0)
    with _errors():
        if head[:4] == b'PAR1' and tail[4:] == b'PAR1':
            return ParquetTable(file, int.from_bytes(tail[:4], 'little'))
        if b'PARE' in (head[:4], tail[4:]):
            raise Rejection('unsupported', 'It is encrypted. Decrypt it.')
        if head[:4] == b'PAR1':
            raise Rejection('truncated', 'It is a Parquet file without its end.')
        if head[:6] == b'ARROW1' or head[:4] == b'\xff\xff\xff\xff':
            file.close()
            if is_url(root):
                raise Rejection('unsupported', 'Arrow files are read from a folder of this machine only. Copy it '
                                               'there, or write it as Parquet.')
            return ArrowTable(f'{root}/{path}', stream=head[:6] != b'ARROW1')
    file.close()
    raise Rejection('unsupported', 'It is neither Parquet nor Arrow.')


@contextlib.contextmanager
def _errors():
    """Turns pyarrow's errors into Rejection (undecodable)."""
    try:
        yield
    except (Rejection, MemoryError):
        raise
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError, OverflowError) as error:
        raise Rejection('undecodable', f'It cannot be read: {" ".join(str(error).split())}') from error


def answers(root: str, request: dict) -> Iterator[dict]:
    """The answers to a request of media.sandbox.tables.TableReader, as JSON values. One with 'reason' is the last.

    {'path'}: what `describe` says. {'path', 'columns', 'media', 'most'}: {'values', 'places'} of each batch of rows, as
    from `batches`, until there are `most` rows, or all; then {'end': True}. {'patterns', 'texts'}: {'values'} of
    `extracted`.
    """
    try:
        if 'patterns' in request:
            yield {'values': [extracted(request['patterns'], text) for text in request['texts']]}
            return
        with contextlib.closing(open_table(root, request['path'])) as table:
            if 'columns' not in request:
                yield describe(table)
                return
            most = request['most']
            for values, places in itertools.islice(table.batches(request['columns'], request['media']),
                                                   most and -(-most // BATCH_ROWS)):
                yield {'values': values, 'places': places}
            yield {'end': True}
    except Rejection as rejection:
        yield {'reason': rejection.reason, 'detail': rejection.detail}
    except MemoryError:
        yield {'reason': 'too_large', 'detail': 'Its rows need more memory than a decoder may have.'}


def extracted(patterns: list[str], text: str) -> str | None:
    """What the first group of the first regular expression matches in the text, and so on; None if one matches nothing.

    Here, because a hostile expression takes hours. Raises Rejection if one is wrong.
    """
    for pattern in patterns:
        try:
            match = re.search(pattern, text)
        except (re.error, RecursionError, OverflowError) as error:
            raise Rejection('undecodable', f'{paths.shown(pattern)} is no regular expression: {error}.') from error
        if not match:
            return None
        text = next((group for group in match.groups() if group is not None), match[0])
    return text


_open: 'tuple[str, ParquetTable] | None' = None


def read_media(root: str, path: str, record: str, row: int, length: int, max_bytes: int) -> bytes:
    """The media in a row of a Parquet file (ParquetTable.media). The file stays open until another is asked for."""
    global _open
    name = f'{root}/{path}'
    if _open is None or _open[0] != name:
        if _open is not None:
            _open[1].close()
            _open = None
        table = open_table(root, path)
        if not isinstance(table, ParquetTable):
            raise Rejection('truncated', 'The file is no longer a Parquet file.')
        _open = name, table
    return _open[1].media(record, row, length, max_bytes)


def describe(table) -> dict:
    """{'rows', 'columns': [[name, kind, type, class names]]}, as JSON values.

    kind: text, scalar, list (of these), bytes, media (a struct of bytes and path), or other. type: in Arrow's words,
    or that of Hugging Face's feature (Image, Audio, Video), which makes bytes media. class names: of whole numbers.
    """
    schema = table.schema
    features = _features(schema)
    columns = []
    for field in schema:
        kind = _kind(field.type)
        feature = features.get(field.name)
        marked = feature.get('_type') if isinstance(feature, dict) else None
        if kind in ('bytes', 'media') and marked in ('Image', 'Audio', 'Video'):
            kind = 'media'
        else:
            marked = None
        columns.append([field.name[:table_rows.MAX_TEXT], kind, marked or str(field.type)[:200], class_names(feature)])
    return {'rows': table.rows, 'columns': columns}


def _kind(type_: pa.DataType, nesting: int = 0) -> str:
    types = pa.types
    if nesting > _MAX_NESTING:
        raise Rejection('unsupported', f'Its columns are nested more than {_MAX_NESTING} deep.')
    if types.is_dictionary(type_):
        return _kind(type_.value_type, nesting + 1)
    if types.is_string(type_) or types.is_large_string(type_) or types.is_null(type_):
        return 'text'
    if types.is_binary(type_) or types.is_large_binary(type_):
        return 'bytes'
    if types.is_list(type_) or types.is_large_list(type_) or types.is_fixed_size_list(type_):
        return 'list' if _kind(type_.value_type, nesting + 1) in ('text', 'scalar') else 'other'
    if types.is_struct(type_):
        fields = {type_[i].name: _kind(type_[i].type, nesting + 1) for i in range(type_.num_fields)}
        return 'media' if fields.get('bytes') == 'bytes' and fields.get('path', 'text') == 'text' else 'other'
    if types.is_nested(type_) or types.is_fixed_size_binary(type_):
        return 'other'
    return 'scalar'


def _features(schema: pa.Schema) -> dict:
    """Hugging Face's features of a schema, column -> feature; {} without."""
    text = (schema.metadata or {}).get(b'huggingface', b'')
    try:
        features = json.loads(text)['info']['features'] if 0 < len(text) <= _MAX_METADATA else {}
    except (ValueError, LookupError, TypeError, RecursionError):
        return {}
    return features if isinstance(features, dict) else {}


def class_names(feature, nesting: int = 0) -> list[str]:
    """The names of a feature's classes, also of a list of them, by their numbers; [] if it has none."""
    if isinstance(feature, list) and len(feature) == 1 and nesting < _MAX_NESTING:
        return class_names(feature[0], nesting + 1)
    if not isinstance(feature, dict):
        return []
    if feature.get('_type') == 'ClassLabel' and isinstance(feature.get('names'), list):
        return [str(name)[:table_rows.MAX_TEXT] for name in feature['names'][:_MAX_NAMES]]
    return class_names(feature.get('feature'), nesting + 1) if nesting < _MAX_NESTING else []


class ParquetTable:
    """An open Parquet file. schema: pyarrow's. rows: their number."""

    def __init__(self, file, footer: int):
        if footer > _MAX_METADATA:
            raise Rejection('too_large', f'Its footer has {footer:,} bytes; at most {_MAX_METADATA:,} are allowed.')
        self._handle = file
        self._file = pq.ParquetFile(file, buffer_size=_BUFFER, thrift_string_size_limit=_MAX_METADATA,
                                    thrift_container_size_limit=_MAX_CONTAINER)
        metadata = self._file.metadata
        _check_size(metadata.num_columns, metadata.num_rows)
        self.schema, self.rows = self._file.schema_arrow, metadata.num_rows
        # What _read_block was given, and what it gave.
        self._block: tuple[tuple[int, str, int, int], pa.Array | None] | None = None
        self._pages: tuple[tuple[int, str], parquet_pages.Pages] | None = None  # with their group and leaf

    def batches(self, columns: list[str], media: str) -> Iterator[tuple[list, list | None]]:
        """(values of each column, the place of each row's media) of up to BATCH_ROWS rows. media: a column, or ''.

        A place is (record, row in the row group, about how many bytes) if the media are in the file, the path if the
        row has only that, None if it has neither.
        """
        with _errors():
            if not media:
                for batch in self._iterate(None, columns, BATCH_ROWS):
                    yield _values(batch, columns), None
                return
            for group in range(self._file.num_row_groups):
                yield from self._group(group, columns, media)

    def _group(self, group: int, columns: list[str], media: str):
        rows = self._file.metadata.row_group(group).num_rows
        is_struct = pa.types.is_struct(self.schema.field(media).type)
        bytes_path = f'{media}.bytes' if is_struct else media
        chunk = self._chunk(group, bytes_path)
        statistics = chunk.statistics if chunk.is_stats_set else None
        nulls = statistics.null_count if statistics is not None and statistics.has_null_count else None
        length = max(1, chunk.total_uncompressed_size // max(1, rows))
        record, done = table_rows.record_of(group, media), 0
        has_path = is_struct and any(field.name == 'path' for field in self.schema.field(media).type)
        # The bytes are read only where the file does not say that all rows have them, or none.
        wanted = [] if nulls == 0 else [f'{media}.path'] if has_path else []
        wanted += [bytes_path] if nulls not in (0, rows) or not has_path and nulls else []
        if not columns and not wanted:
            for begin in range(0, rows, BATCH_ROWS):
                yield [], [(record, row, length) for row in range(begin, min(rows, begin + BATCH_ROWS))]
            return
        for batch in self._iterate(group, [*columns, *wanted], 64 if bytes_path in wanted else BATCH_ROWS):
            places = []
            given, texts = [nulls == 0] * len(batch), [None] * len(batch)
            if wanted:
                column = batch.column(batch.schema.get_field_index(media))
                if bytes_path in wanted:
                    given = (_field(column, 'bytes') if is_struct else column).is_valid().to_pylist()
                if f'{media}.path' in wanted:
                    texts = _field(column, 'path').to_pylist()
            for i in range(len(batch)):
                places.append((record, done + i, length) if given[i] else _clipped(texts[i]) or None)
            done += len(batch)
            yield _values(batch, columns), places

    def _iterate(self, group: int | None, columns: list[str], rows: int):
        return self._file.iter_batches(rows, None if group is None else [group], columns, use_threads=False)

    def _chunk(self, group: int, leaf: str) -> pq.ColumnChunkMetaData:
        """What the file says of a leaf column in a row group."""
        metadata = self._file.metadata.row_group(group)
        for i in range(metadata.num_columns):
            if metadata.column(i).path_in_schema == leaf:
                return metadata.column(i)
        raise Rejection('unsupported', f'It has no column {leaf}.')

    def media(self, record: str, row: int, length: int, max_bytes: int) -> bytes:
        """The media in a row. record, row, length: as in `batches`. Rows of a block after each other are cheap."""
        (group, column), per_block = table_rows.parts_of(record), table_rows.block_rows(length)
        with _errors():
            if not 0 <= group < self._file.num_row_groups:
                raise Rejection('truncated', 'The file no longer has this row.')
            key = (group, column, per_block, row // per_block)
            if self._block is None or self._block[0] != key:
                self._block = key, self._read_block(*key)
            stored = self._block[1]
            if stored is None or row % per_block >= len(stored):
                raise Rejection('truncated', 'The file no longer has this row.')
            value = stored[row % per_block]
            if not value.is_valid:
                raise Rejection('empty', f'Its {column} has no bytes.')
            content = value.as_buffer()
            if max_bytes and content.size > max_bytes:
                raise Rejection('too_large', f'It has {content.size:,} bytes; at most {max_bytes:,} are allowed.')
            return content.to_pybytes()

    def _read_block(self, group: int, column: str, per_block: int, number: int) -> pa.Array | None:
        """The media in a block of rows; None beyond the end. Decodes the pages that have them."""
        is_struct = pa.types.is_struct(self.schema.field(column).type)
        leaf = f'{column}.bytes' if is_struct else column
        file, skip, parts = self._file, number * per_block, []
        if self._file.metadata.row_group(group).num_rows > per_block:
            pages = self._pages_of(group, leaf)
            file = pq.ParquetFile(pages.file_of(skip, per_block), metadata=self._file.metadata, buffer_size=_BUFFER)
            skip -= pages.first_row(skip)
        wanted = per_block
        for batch in file.iter_batches(per_block, [group], [leaf], use_threads=False):
            part = batch.column(0)[skip:skip + wanted]
            skip = max(0, skip - len(batch))
            if len(part):
                parts.append(_field(part, 'bytes') if is_struct else part)
                wanted -= len(part)
            if not wanted:
                break
        return pa.concat_arrays(parts) if parts else None

    def _pages_of(self, group: int, leaf: str) -> parquet_pages.Pages:
        if self._pages is None or self._pages[0] != (group, leaf):
            chunk = self._chunk(group, leaf)
            start = chunk.data_page_offset
            if chunk.has_dictionary_page and chunk.dictionary_page_offset:
                start = min(start, chunk.dictionary_page_offset)
            self._pages = (group, leaf), parquet_pages.Pages(self._handle, start, chunk.total_compressed_size)
        return self._pages[1]

    def close(self):
        self._block = self._pages = None
        self._handle.close()


class ArrowTable:
    """An Arrow file or stream of this machine, mapped into memory. schema: pyarrow's. rows: their number.

    Nothing is compressed in it, so the media of a row are a range of the file's bytes.
    """

    def __init__(self, path: str, stream: bool):
        self._size = os.path.getsize(path)
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        soft, _ = resource.getrlimit(resource.RLIMIT_AS)
        if soft != resource.RLIM_INFINITY:  # what is mapped counts, although it takes no memory
            most = soft + 2 * self._size
            resource.setrlimit(resource.RLIMIT_AS, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
        self._map = pa.memory_map(path)
        self._base = self._map.read_buffer(1).address
        self._map.seek(0)
        self._reader = pa.ipc.open_stream(self._map) if stream else pa.ipc.open_file(self._map)
        self.schema = self._reader.schema
        self._stream = stream
        self.rows = 0
        for batch in self._batches():
            self.rows += batch.num_rows
            _check_size(len(self.schema), self.rows)

    def _batches(self) -> Iterator[pa.RecordBatch]:
        if not self._stream:
            for i in range(self._reader.num_record_batches):
                yield self._reader.get_batch(i)
            return
        self._map.seek(0)
        yield from pa.ipc.open_stream(self._map)

    def batches(self, columns: list[str], media: str) -> Iterator[tuple[list, list | None]]:
        """As ParquetTable.batches, but the place of media in the file is ('', offset, bytes)."""
        with _errors():
            for whole in self._batches():
                for name in [*columns, *([media] if media else [])]:
                    whole.column(whole.schema.get_field_index(name)).validate(full=True)
                for begin in range(0, whole.num_rows, BATCH_ROWS):
                    batch = whole.slice(begin, BATCH_ROWS)
                    places = self._places(batch.column(batch.schema.get_field_index(media))) if media else None
                    yield _values(batch, columns), places

    def _places(self, column: pa.Array) -> list:
        texts = [None] * len(column)
        if pa.types.is_struct(column.type):
            if any(field.name == 'path' for field in column.type):
                texts = _field(column, 'path').to_pylist()
            column = _field(column, 'bytes')
        given = column.is_valid().to_pylist()
        _, offsets, content = column.buffers()
        kind = np.int64 if pa.types.is_large_binary(column.type) else np.int32
        rows = slice(column.offset, column.offset + len(column) + 1)
        offsets = np.frombuffer(offsets, kind)[rows].tolist() if offsets else []
        first = content.address - self._base if content is not None else 0
        if any(given) and not 0 <= first <= first + offsets[-1] <= self._size:
            raise Rejection('unsupported', 'Its buffers are compressed. Write it without compression, or as Parquet.')
        return [('', first + offsets[i], offsets[i + 1] - offsets[i]) if given[i] else _clipped(texts[i]) or None
                for i in range(len(column))]

    def close(self):
        self._map.close()


def _check_size(columns: int, rows: int):
    if columns > MAX_COLUMNS:
        raise Rejection('too_large', f'It has {columns:,} columns; at most {MAX_COLUMNS:,} are allowed.')
    if rows > MAX_ROWS:
        raise Rejection('too_large', f'It has {rows:,} rows; at most {MAX_ROWS:,} are allowed. Split it.')


def _field(column: pa.Array, name: str) -> pa.Array:
    return pc.struct_field(column, [column.type.get_field_index(name)])  # pyright: ignore[reportAttributeAccessIssue]


def _values(batch: pa.RecordBatch, columns: list[str]) -> list[list]:
    """The values of each column as JSON values."""
    return [_column(batch.column(batch.schema.get_field_index(name))) for name in columns]


def _column(column: pa.Array) -> list:
    types = pa.types
    if types.is_string(column.type) or types.is_integer(column.type) and not column.null_count:
        values = column.to_numpy(zero_copy_only=False).tolist()  # several times as fast as to_pylist
        return [_clipped(value) for value in values] if types.is_string(column.type) else values
    if types.is_timestamp(column.type):  # Python's have no nanoseconds
        return column.cast(pa.string()).to_pylist()
    return [_value(value) for value in column.to_pylist()]


def _clipped(text: str | None) -> str | None:
    return text if text is None or len(text) <= table_rows.MAX_TEXT else text[:table_rows.MAX_TEXT]


def _value(value):
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, str):
        return _clipped(value)
    if isinstance(value, bytes):  # text, as TensorFlow's users write it
        return value[:table_rows.MAX_TEXT].decode('utf-8', 'surrogateescape')
    if isinstance(value, list):
        return [_value(item) for item in value[:_MAX_LIST]]
    if isinstance(value, float):
        # pandas writes NaN for a value that is missing.
        return None if value != value else value if abs(value) != float('inf') else str(value)
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (datetime.timedelta, decimal.Decimal)):
        return str(value)
    return paths.shown(repr(value), table_rows.MAX_TEXT)

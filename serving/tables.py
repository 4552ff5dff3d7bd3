"""The files that predictions are written to: CSV, JSON lines, Parquet. docs/serving.md has their columns."""

import collections
import csv
import dataclasses
import itertools
import json
import os
from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from media.paths import shown
from media.rejections import Rejection
from model_code import file_io
from model_code.errors import ConfigError
from serving.json_tensors import float_tokens
from serving.parts import Row

_BLOCK_ROWS = 1_000  # of a Parquet file, written together


@dataclasses.dataclass(frozen=True)
class Layout:
    """What the values of a row are: the scores of classes, or without classes an embedding.

    classes: in the order of the values. groups: label group -> the places of its classes; {} without groups.
    """
    classes: tuple[str, ...] = ()
    groups: dict[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)

    @property
    def best(self) -> list[tuple[str, str, np.ndarray]]:
        """(column of the best label, column of its score, the places of the classes that it is the best of)."""
        if not self.classes:
            return []
        if self.groups:
            return [(f'label_{name}', f'score_{name}', np.array(ids)) for name, ids in self.groups.items()]
        return [('label', 'score', np.arange(len(self.classes)))]

    @property
    def own_columns(self) -> list[str]:
        """The columns before the values."""
        return ['path', *(name for label, score, _ in self.best for name in (label, score)), 'error']

    @property
    def class_columns(self) -> list[str]:
        """The columns of the scores: the names of the classes. A class 'path' is 'path (class)', for example."""
        own = self.own_columns
        return [f'{name} (class)' if name in own else name for name in self.classes]


def check_path(output: str):
    """Raises ConfigError if there is a file already, its format is unknown, or its folder cannot be written."""
    if _ending(output) not in _WRITERS:
        raise ConfigError(f'-o is {output}; its ending must be one of {", ".join(_WRITERS)}.')
    if os.path.lexists(output):
        raise ConfigError(f'{output} exists already. Remove it, or give another -o.')
    file_io.check_output(output)


def write(output: str, layout: Layout, rows: Iterable[Row], width: int,
          rejected: dict[str, Rejection]) -> tuple[int, dict[str, int]]:
    """Writes the file, whole or not at all. width: the number of values of a row. rejected: rows by path, which follow.

    Returns (number of rows, reason -> number of rows with an error).
    """
    reasons: collections.Counter[str] = collections.Counter()
    all_rows = itertools.chain(rows, (Row(shown(path, 4096), None, str(rejection))
                                      for path, rejection in rejected.items()))

    def counted():
        for row in all_rows:
            reasons[row.error.partition(':')[0] if row.error else ''] += 1
            yield row

    with file_io.replacing(output) as temporary:
        _WRITERS[_ending(output)](temporary, layout, counted(), width)
    return reasons.total(), {reason: count for reason, count in reasons.most_common() if reason}


def _ending(output: str) -> str:
    return os.path.splitext(output)[1].lower()


def _own_values(layout: Layout, row: Row) -> list:
    """The values of `own_columns`; None for what an error leaves out."""
    values: list = [row.path]
    for _, _, ids in layout.best:
        if row.values is None:
            values += [None, None]
        else:
            place = ids[row.values[ids].argmax()]
            values += [layout.classes[place], *_numbers(row.values[[place]])]
    return [*values, row.error]


def _numbers(values: np.ndarray) -> list[float]:
    """float32 values with the fewest digits that read back as the same value, as a server prints them."""
    return [float(token) for token in float_tokens(values)]


def _write_csv(path: str, layout: Layout, rows: Iterator[Row], width: int):
    with open(path, 'w', encoding='utf-8', newline='') as file:
        writer = csv.writer(file, lineterminator='\n')
        writer.writerow([*layout.own_columns, *(layout.class_columns or (f'e{i}' for i in range(width)))])
        for row in rows:
            writer.writerow([*_own_values(layout, row), *([None] * width if row.values is None else
                                                          _numbers(row.values))])


def _write_jsonl(path: str, layout: Layout, rows: Iterator[Row], width: int):
    del width
    with open(path, 'w', encoding='utf-8') as file:
        for row in rows:
            values = None if row.values is None else _numbers(row.values)
            line = dict(zip(layout.own_columns, _own_values(layout, row), strict=True))
            if layout.classes:
                line['scores'] = values and dict(zip(layout.classes, values, strict=True))
            else:
                line['embedding'] = values
            file.write(json.dumps(line, ensure_ascii=False) + '\n')


def _write_parquet(path: str, layout: Layout, rows: Iterator[Row], width: int):
    fields = [(name, pa.float32() if name.startswith('score') else pa.string()) for name in layout.own_columns]
    if layout.classes:
        fields += [(name, pa.float32()) for name in layout.class_columns]
    else:
        fields.append(('embedding', pa.list_(pa.float32())))
    schema = pa.schema(fields)
    with parquet.ParquetWriter(path, schema) as writer:
        while block := list(itertools.islice(rows, _BLOCK_ROWS)):
            columns = [pa.array(column, field.type)
                       for column, field in zip(zip(*(_own_values(layout, row) for row in block), strict=True), schema,
                                                strict=False)]
            values = [row.values for row in block]
            if layout.classes:
                missing = np.array([row is None for row in values])
                scores = np.array([np.zeros(width, np.float32) if row is None else row for row in values])
                columns += [pa.array(column, pa.float32(), mask=missing) for column in scores.T]
            else:
                columns.append(pa.array(values, schema.types[-1]))
            writer.write_table(pa.table(columns, schema=schema))


_WRITERS = {'.csv': _write_csv, '.jsonl': _write_jsonl, '.parquet': _write_parquet}

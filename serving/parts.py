"""Rows that are kept while a folder is predicted: Parquet files in `<output>.parts`, each whole or not there.

`job.json` in the same folder says what the rows are of. The folder is removed once the output is written.
"""

import contextlib
import fcntl
import io
import json
import os
import shutil
import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from media.listing.files import FileStat
from model_code import file_io
from model_code.errors import ConfigError

_SCHEMA = pa.schema([('path', pa.string()), ('size', pa.int64()), ('modified_ns', pa.int64()), ('error', pa.string()),
                     ('values', pa.list_(pa.float32()))])
# A part is written after so many rows or seconds: no more than that is lost with the process.
_PART_ROWS, _PART_SECONDS = 5_000, 10.0


class Row(NamedTuple):
    """path: relative to the folder. values: [classes] or [width] float32; None if there is an error."""
    path: str
    values: np.ndarray | None
    error: str | None


class Parts:
    """The rows in a folder of parts."""

    def __init__(self, folder: str):
        self._folder = folder
        self._names = [name for name in file_io.list_folder(folder) if name.startswith('part-')]
        self._rows: list[tuple[Row, FileStat]] = []
        self._written = time.monotonic()

    def known(self) -> dict[str, FileStat]:
        """The path of each row, and what the file was when it was read."""
        return {path: FileStat(size, modified_ns)
                for name in self._names
                for batch in self._read(name, ['path', 'size', 'modified_ns'])
                for path, size, modified_ns in zip(*(column.to_pylist() for column in batch), strict=True)}

    def add(self, row: Row, stat: FileStat):
        """Adds a row. It is written with the next part."""
        self._rows.append((row, stat))
        if len(self._rows) >= _PART_ROWS or time.monotonic() - self._written > _PART_SECONDS:
            self.flush()

    def flush(self):
        """Writes the rows that are not written yet."""
        if self._rows:
            name = f'part-{len(self._names):06d}.parquet'
            table = pa.table([[row.path for row, _ in self._rows], [stat.size for _, stat in self._rows],
                              [stat.modified_ns for _, stat in self._rows], [row.error for row, _ in self._rows],
                              [row.values for row, _ in self._rows]], schema=_SCHEMA)
            content = io.BytesIO()
            parquet.write_table(table, content)
            file_io.write(os.path.join(self._folder, name), content.getvalue())
            self._names.append(name)
            self._rows = []
        self._written = time.monotonic()

    def width(self) -> int:
        """The number of values of a row; 0 if no row has any."""
        return next((len(values) for name in self._names for batch in self._read(name, ['values'])
                     for values in batch.column(0) if values.is_valid), 0)

    def rows(self, stats: dict[str, FileStat]) -> Iterator[Row]:
        """The written rows of the files that `stats` has, with this size and time; one for each file."""
        wanted = dict(stats)
        for name in self._names:
            for batch in self._read(name, None):
                paths, sizes, times, errors = (batch.column(i).to_pylist() for i in range(4))
                values = batch.column(4)
                for i, (path, size, modified_ns, error) in enumerate(zip(paths, sizes, times, errors, strict=True)):
                    if wanted.get(path) == (size, modified_ns):
                        del wanted[path]
                        yield Row(path, values[i].values.to_numpy() if error is None else None, error)

    def _read(self, name: str, columns: list[str] | None) -> Iterator[pa.RecordBatch]:
        path = os.path.join(self._folder, name)
        try:
            with parquet.ParquetFile(path) as file:
                yield from file.iter_batches(1_000, columns=columns)
        except pa.ArrowException as error:
            raise ConfigError(f'{path} is damaged ({error}). Remove {self._folder} to start over.') from None


@contextlib.contextmanager
def open_parts(output: str, job: dict) -> Iterator[Parts]:
    """The rows that are kept for `output`; none at first. At the end of the block they are removed.

    If the block raises, they are written and kept. job: what the rows are of, as JSON values. Raises ConfigError if the
    rows that are there are of something else, or another process is writing them.
    """
    folder = f'{output}.parts'
    job_path = os.path.join(folder, 'job.json')
    try:
        found = file_io.read_json(job_path)
    except ValueError:
        raise ConfigError(f'{job_path} is damaged. Remove {folder} to start over.') from None
    if found is not None and found != job:
        raise ConfigError(_difference(folder, found, job))
    if found is None:
        file_io.write(job_path, json.dumps(job))
    with open(job_path, encoding='utf-8') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError(f'Another process is writing {output}. Wait for it, or give another -o.') from None
        file_io.remove_leftovers(folder)
        kept = Parts(folder)
        try:
            yield kept
        except BaseException:
            kept.flush()
            raise
        shutil.rmtree(folder)


def _difference(folder: str, found: dict, job: dict) -> str:
    """Why the rows in `folder` cannot be continued."""
    name = next(name for name in job if found.get(name) != job[name])
    told = {'card': 'the same version with another model card', 'columns': 'other columns'}
    what = told.get(name) or f'{name} {found.get(name)}, not {name} {job[name]}'
    return (f'{folder} holds the rows of an interrupted prediction of {what}. Finish that first, remove the folder to '
            'start over, or give another -o.')

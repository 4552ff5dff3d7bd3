"""Opens the media of an Entry: a file, a member of an archive, a record, a row of a table, or the text it has."""

import functools
import io
import posixpath
from typing import BinaryIO

from PIL import Image

from media import paths, readers, table_rows
from media.entries import TEXT, Entry
from media.rejections import Rejection
from model_code.modalities import Limits
from model_code.urls import is_url


def open_entry(root: str, entry: Entry, limits: Limits) -> BinaryIO:
    """The entry's media as a seekable binary file. A record of raw pixels becomes a PNG.

    root: the task's data folder. Raises Rejection: missing, too_large, ...; bad_path if a link now leads out of the
    root, since files may have changed after they were listed.
    """
    if entry.record == TEXT:
        # Surrogates stand for bytes that are not UTF-8, or are JSON's "\ud800": the reader rejects both.
        return io.BytesIO(entry.text.encode('utf-8', 'surrogatepass'))
    if not is_url(root):
        _links(root).check(entry.path)
    if entry.record.startswith(table_rows.PARQUET):
        from media import tables  # pyarrow takes a third of a second
        return io.BytesIO(tables.read_media(root, entry.path, entry.record, entry.offset, entry.length, limits.bytes))
    file = readers.open_media(posixpath.join(root, entry.path), limits, entry.offset, entry.length)
    if not entry.record:
        return file
    with file:
        return io.BytesIO(_png(file.read()))


@functools.lru_cache(maxsize=16)
def _links(root: str) -> paths.Links:
    return paths.Links(root)


def _png(pixels: bytes) -> bytes:
    """A record of 1,024 bytes each of red, green and blue -> a PNG of 32 x 32 pixels."""
    if len(pixels) != 3 * 32 * 32:
        raise Rejection('truncated', f'The record has {len(pixels):,} bytes instead of {3 * 32 * 32:,}.')
    out = io.BytesIO()
    channels = [Image.frombytes('L', (32, 32), pixels[start:start + 1024]) for start in (0, 1024, 2048)]
    Image.merge('RGB', channels).save(out, 'PNG')
    return out.getvalue()

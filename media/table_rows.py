"""How an entry names media that are in a row of a Parquet file: what the listing, the plan of shards and readers share.

Its record is 'parquet:<row group>:<column>', its offset the row in that group, its length about the bytes of the media.
"""

PARQUET = 'parquet:'
MAX_TEXT = 10_000  # characters of a value that are kept: more than a path or label may have
# Media of about so many bytes are decoded at once and kept, so that the rows after each other cost no more.
_BLOCK_BYTES = 64 << 20
# Arrow writes at least so many rows into a page, which is decoded as a whole.
_PAGE_ROWS = 1_024


def record_of(group: int, column: str) -> str:
    return f'{PARQUET}{group}:{column}'


def parts_of(record: str) -> tuple[int, str]:
    """The row group and the column of a record."""
    group, _, column = record.removeprefix(PARQUET).partition(':')
    return int(group), column


def block_rows(length: int) -> int:
    """How many rows of about `length` bytes of media are decoded at once."""
    rows = max(1, _BLOCK_BYTES // max(1, length))
    return rows // _PAGE_ROWS * _PAGE_ROWS or rows

"""The parent's side of a child that reads Parquet and Arrow files for the listing (media.tables)."""

from collections.abc import Iterator

from media.rejections import Rejection
from media.sandbox import protocol
from media.sandbox.parent import ChildOwner
from model_code import remote_files
from model_code.modalities import Limits

_SECONDS = 120.0  # for one answer: a thousand rows


class TableReader(ChildOwner):
    """Reads tables below a data folder in a child process, which is started when first needed. `close` ends it."""

    def __init__(self, root: str):
        super().__init__(protocol.Start.of(root, '', Limits(), Limits(), remote_files.options()))

    def describe(self, path: str) -> dict:
        """What media.tables.describe says of a file. Raises Rejection if it cannot be read."""
        return next(self._answers({'path': path}))

    def rows(self, path: str, columns: list[str], media: str = '',
             most: int | None = None) -> Iterator[tuple[list[list], list | None]]:
        """(the values of each column, the places of the media) of each batch of rows, as from ParquetTable.batches.

        media: the column that holds them, or ''. most: about how many rows to read, if not all. Raises Rejection if the
        file cannot be read on.
        """
        for answer in self._answers({'path': path, 'columns': columns, 'media': media, 'most': most}):
            if 'end' in answer:
                return
            yield answer['values'], answer['places']

    def extract(self, patterns: list[str], texts: list[str]) -> list[str | None]:
        """media.tables.extracted of each text. Raises Rejection if an expression is wrong or takes too long."""
        values = []
        for begin in range(0, len(texts), 1_000):
            values += next(self._answers({'patterns': patterns, 'texts': texts[begin:begin + 1_000]}))['values']
        return values

    def _answers(self, request: dict) -> Iterator[dict]:
        self._send(protocol.frame(request))
        while True:
            answer = self._answer()
            rejection = protocol.rejection_of(answer)
            if rejection:
                raise rejection
            yield answer

    def _answer(self) -> dict:
        assert self._child is not None  # something was sent to it
        try:
            answer, _ = self._child.receive(_SECONDS)
        except EOFError:
            child, self._child = self._child, None
            child.close()
            raise Rejection('crashed', f'The process that reads it {child.ending()}.') from None
        except TimeoutError:
            self.close()
            raise Rejection('too_slow', f'A thousand rows or names took more than {_SECONDS:g} seconds.') from None
        return answer

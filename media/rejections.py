"""Why a file or row cannot become an example: one word, and a sentence for people.

    missing       there is no such file
    not_a_file    a folder, a device or a pipe
    unreadable    the file exists, but may not be opened
    empty         no bytes, or a sound without samples or a video without frames
    too_large     over the task's limits on bytes, pixels, seconds or frames (model_code.modalities.Limits)
    too_slow      decoding took longer than the limit
    crashed       the process that decoded it died
    unsupported   a format that is not read; the detail says which, in words (media.readers.formats)
    truncated     the file ends earlier than its header says
    undecodable   the decoder failed
    no_stream     a container without a video stream (of a video) or without sound (of a sound)
    out_of_range  a segment that begins after the end
  from the listing:
    bad_path      a path that leads out of the data folder, or is not a path
    bad_label     a label that is empty, too long or not text
    bad_row       a row of a manifest that cannot be read
    duplicate     the same example named twice
"""

import json
from collections.abc import Iterable, Iterator

from media.rows import SortedRows

REASONS = ('missing', 'not_a_file', 'unreadable', 'empty', 'too_large', 'too_slow', 'crashed', 'unsupported',
           'truncated', 'undecodable', 'no_stream', 'out_of_range', 'bad_path', 'bad_label', 'bad_row', 'duplicate')
MAX_DETAIL = 300  # characters, because file systems quote what they read


class Rejection(Exception):
    """A file or row that is rejected. It is raised as an exception, and kept as a value once `at` has given it a path.

    reason: a word of REASONS. detail: a sentence for people, on one line, cut after MAX_DETAIL characters. path: the id
    of the entry, or the row; '' if the code that raises it does not know. Compared by path, then reason, then detail.
    As JSON, {"path", "reason", "detail"}, it is a line of rejected.jsonl.
    """

    def __init__(self, reason: str, detail: str, path: str = ''):
        if reason not in REASONS:
            raise ValueError(f'{reason!r} is not one of the reasons {REASONS}.')
        detail = ' '.join(str(detail).split())[:MAX_DETAIL]
        super().__init__(reason, detail, path)  # All three, or it could not be unpickled.
        self.reason, self.detail, self.path = reason, detail, path

    def at(self, path: str) -> 'Rejection':
        """The same rejection with a path. It does not keep the stack frames alive, as the raised exception does."""
        return Rejection(self.reason, self.detail, path)

    def _key(self):
        return self.path, self.reason, self.detail

    def __eq__(self, other):
        return self._key() == other._key() if isinstance(other, Rejection) else NotImplemented

    def __lt__(self, other):
        return self._key() < other._key() if isinstance(other, Rejection) else NotImplemented

    def __hash__(self):
        return hash(self._key())

    def __str__(self):
        return f'{self.reason}: {self.detail}'

    def to_dict(self) -> dict[str, str]:
        return {'path': self.path, 'reason': self.reason, 'detail': self.detail}

    @classmethod
    def from_dict(cls, values: dict[str, str]) -> 'Rejection':
        return cls(values['reason'], values['detail'], values['path'])


def to_lines(rejections: Iterable[Rejection]) -> Iterator[str]:
    """The lines of rejected.jsonl: one per rejection, sorted by path. They need not fit into memory."""
    rows = SortedRows()
    for rejection in rejections:
        rows.add((rejection.path, rejection.reason, rejection.detail))
    for path, reason, detail in rows:
        yield json.dumps({'path': path, 'reason': reason, 'detail': detail}) + '\n'


def from_lines(text: str) -> list[Rejection]:
    """The rejections in the text that is made of `to_lines`."""
    return [Rejection.from_dict(json.loads(line)) for line in text.splitlines() if line.strip()]


def too_large(what: str, value, limit) -> Rejection:
    return Rejection('too_large', f'It has {value:,} {what}; at most {limit:,} are allowed.')

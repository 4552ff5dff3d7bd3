"""Why a file or row can't become an example: one word, and a sentence for a person. No TensorFlow.

    missing       there is no such file
    not_a_file    a folder, a device or a pipe
    unreadable    the file is there, and may not be opened
    empty         no bytes, or a sound or clip without a sample or frame
    too_large     over the task's limits on bytes, pixels, seconds or frames (model_code.modalities.Limits)
    too_slow      decoding took longer than the limit
    crashed       the process that decoded it died
    unsupported   media in a form that is not read: the detail says which are
    truncated     the file ends before its header says
    undecodable   the decoder failed; the detail is what it said
    no_stream     a container without the pictures or the sound that were looked for
    out_of_range  a segment that begins beyond the end
    bad_path      a path that leads out of the data folder, or is none      (the listing's)
    bad_label     a label that is empty, too long or no text                (the listing's)
    bad_row       a row of a manifest that can't be read                    (the listing's)
    duplicate     the same example named twice                              (the listing's)
"""

import json
from collections.abc import Iterable

REASONS = ('missing', 'not_a_file', 'unreadable', 'empty', 'too_large', 'too_slow', 'crashed', 'unsupported',
           'truncated', 'undecodable', 'no_stream', 'out_of_range', 'bad_path', 'bad_label', 'bad_row', 'duplicate')
MAX_DETAIL = 300  # characters: decoders quote what they read


class Rejection(Exception):
    """A file or row that is rejected: raised by who finds it out, kept as a value once `at` has named its path.

    reason: a word of REASONS. detail: a sentence for a person, on one line, cut after MAX_DETAIL characters. path: the
    entry's id, or the row that can't be read; '' where the one who raises it does not know. Equal where all three are;
    ordered by path, then reason, then detail. As JSON, {"path", "reason", "detail"}, it is a line of rejected.jsonl.
    """

    def __init__(self, reason: str, detail: str, path: str = ''):
        if reason not in REASONS:
            raise ValueError(f'{reason!r} is no reason of {REASONS}.')
        detail = ' '.join(str(detail).split())[:MAX_DETAIL]
        super().__init__(reason, detail, path)  # All three, so that it can be pickled.
        self.reason, self.detail, self.path = reason, detail, path

    def at(self, path: str) -> 'Rejection':
        """The same with a path, and without the stack frames that a raised exception keeps alive."""
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


def to_lines(rejections: Iterable[Rejection]) -> str:
    """The text of rejected.jsonl: a line for each, in their order by path."""
    return ''.join(json.dumps(rejection.to_dict()) + '\n' for rejection in sorted(rejections))


def from_lines(text: str) -> list[Rejection]:
    """The rejections of a text of `to_lines`."""
    return [Rejection.from_dict(json.loads(line)) for line in text.splitlines() if line.strip()]


def too_large(what: str, value, limit) -> Rejection:
    return Rejection('too_large', f'It has {value:,} {what}; at most {limit:,} are taken.')


def unsupported(head: bytes, taken: str) -> Rejection:
    """head: how the file begins, shown in hex and as text; taken: the formats that are read."""
    head = head[:12]
    text = ''.join(chr(c) if 32 <= c < 127 else '.' for c in head)
    return Rejection('unsupported', f'It is none of {taken}: it begins with {head.hex(" ")} ("{text}").')

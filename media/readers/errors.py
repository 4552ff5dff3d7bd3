"""Why a file can't become an example: one word, and a sentence for a person.

    missing       there is no such file
    not_a_file    a folder, a device or a pipe
    unreadable    the file is there, and may not be opened
    empty         no bytes, or a sound or clip without a sample or frame
    too_large     over the task's limits on bytes, pixels, seconds or frames (model_code.data.Limits)
    too_slow      decoding took longer than the limit
    crashed       the process that decoded it died
    unsupported   media in a form that is not taken: the detail says which are
    truncated     the file ends before its header says
    undecodable   the decoder refused it; the detail is what it said
    no_stream     a container without the pictures or the sound that were looked for
    out_of_range  a segment that begins beyond the end
    bad_path      a path that leads out of the data folder, or is none      (the listing's)
    bad_label     a label that is empty, too long or no text                (the listing's)
    bad_row       a row of a manifest that can't be read                    (the listing's)
    duplicate     the same example named twice                              (the listing's)
"""

REASONS = ('missing', 'not_a_file', 'unreadable', 'empty', 'too_large', 'too_slow', 'crashed', 'unsupported',
           'truncated', 'undecodable', 'no_stream', 'out_of_range', 'bad_path', 'bad_label', 'bad_row', 'duplicate')


class MediaError(Exception):
    """A file that can't become an example. reason: a word of `REASONS`; detail: a sentence for a person."""

    def __init__(self, reason: str, detail: str):
        if reason not in REASONS:
            raise ValueError(f'{reason!r} is no reason of {REASONS}.')
        detail = ' '.join(str(detail).split())[:300]
        super().__init__(reason, detail)  # Both, so that it can be pickled.
        self.reason, self.detail = reason, detail

    def __str__(self):
        return f'{self.reason}: {self.detail}'


def too_large(what: str, value, limit) -> MediaError:
    return MediaError('too_large', f'It has {value:,} {what}; at most {limit:,} are taken.')


def unsupported(head: bytes, taken: str) -> MediaError:
    """head: how the file begins, shown in hex and as text; taken: the formats that are read."""
    head = head[:12]
    text = ''.join(chr(c) if 32 <= c < 127 else '.' for c in head)
    return MediaError('unsupported', f'It is none of {taken}: it begins with {head.hex(" ")} ("{text}").')

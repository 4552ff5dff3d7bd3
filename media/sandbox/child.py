"""The child: decodes the entries that it reads from standard input."""

import gc
import json
import os
import resource
import time

from media import open_entry, readers
from media.rejections import Rejection
from media.sandbox import protocol
from model_code import remote_files
from model_code.urls import is_url

# The limit is on address space: room for several copies of 64 million pixels at 8 bytes, and for the libraries.
MEMORY_BYTES = 6 << 30
_STDERR_BYTES = 1 << 20
_OPEN_FILES = 64

# While there is more to do, answers wait this long to be sent together: a process switch costs more than a small file.
_FLUSH_SECONDS = 0.02


def main():
    """Answers requests from standard input until it ends."""
    # What libraries print must not get between the answers.
    answers = os.fdopen(os.dup(1), 'wb', buffering=1 << 18)
    os.dup2(2, 1)
    requests = _Requests(0)
    first = requests.next()
    if first is None:
        return
    start = protocol.Start(**first)
    _limit_resources()
    read = readers.load(start.reader) if start.reader else None  # without a reader it lists tables
    spec, limits = start.load_spec(), start.load_limits()
    if is_url(start.root):
        remote_files.use_options(start.beam_args)
    gc.freeze()  # what is loaded now stays, and need not be looked at again and again
    answers.write(protocol.frame({'ready': True}))
    answers.flush()
    flushed = time.monotonic()
    while (batch := requests.next(before_waiting=answers.flush)) is not None:
        if read is None:
            from media import tables  # pyarrow takes a third of a second
            answers.writelines(map(protocol.frame, tables.answers(start.root, batch)))
            continue
        for entry in protocol.entries_of(batch):
            try:
                with open_entry.open_entry(start.root, entry, limits) as file:
                    answers.writelines(protocol.features_frame(
                        *readers.read_by(read, file, spec, limits, entry.start, entry.end)))
            except Rejection as rejection:
                answers.write(protocol.rejection_frame(rejection))
            except MemoryError:
                detail = f'Decoding it needs more than {MEMORY_BYTES >> 30} GiB.'
                answers.write(protocol.rejection_frame(Rejection('too_large', detail)))
            if time.monotonic() - flushed > _FLUSH_SECONDS:
                answers.flush()
                flushed = time.monotonic()


def _limit_resources():
    for kind, limit in ((resource.RLIMIT_AS, MEMORY_BYTES), (resource.RLIMIT_CORE, 0),
                        (resource.RLIMIT_FSIZE, _STDERR_BYTES), (resource.RLIMIT_NOFILE, _OPEN_FILES)):
        _, hard_limit = resource.getrlimit(kind)
        soft_limit = limit if hard_limit == resource.RLIM_INFINITY else min(limit, hard_limit)
        resource.setrlimit(kind, (soft_limit, hard_limit))


class _Requests:
    """The frames that arrive on a file descriptor."""

    def __init__(self, descriptor: int):
        self._descriptor, self._buffer = descriptor, b''

    def next(self, before_waiting=lambda: None):
        """The JSON of the next frame; None once the parent has closed. before_waiting: called before it waits."""
        while True:
            if len(self._buffer) >= protocol.LENGTH.size:
                end = protocol.LENGTH.size + protocol.LENGTH.unpack_from(self._buffer)[0]
                if len(self._buffer) >= end:
                    text, self._buffer = self._buffer[protocol.LENGTH.size:end], self._buffer[end:]
                    return json.loads(text)
            before_waiting()
            read = os.read(self._descriptor, 1 << 16)
            if not read:
                return None
            self._buffer += read


if __name__ == '__main__':
    main()

"""Several decoding processes at work on one list of entries."""

import concurrent.futures
import itertools
import os
import threading
import typing
from collections.abc import Callable, Iterable, Iterator

from media.entries import Entry
from media.sandbox.parent import Decoder

_Result = typing.TypeVar('_Result')


def read_chunks(make_decoder: Callable[[], Decoder], read: Callable[[Decoder, list[Entry]], _Result],
                entries: Iterable[Entry], chunk_entries: int, workers: int = 0) -> Iterator[_Result]:
    """Yields read(decoder, chunk) for each chunk of entries, in order.

    make_decoder: called once for each of the workers, which are as many as cores if that is 0. read: called in the
    workers' threads. At most four results per worker are in memory. If the caller stops early, the workers finish
    their chunks in the background.
    """
    local, decoders = threading.local(), []
    workers = workers or os.cpu_count() or 1

    def read_chunk(chunk: list[Entry]) -> _Result:
        if not hasattr(local, 'decoder'):
            local.decoder = make_decoder()
            decoders.append(local.decoder)
        return read(local.decoder, chunk)

    rest = iter(entries)
    chunks = iter(lambda: list(itertools.islice(rest, chunk_entries)), [])
    pool = concurrent.futures.ThreadPoolExecutor(workers, 'decode')
    # Only a few chunks wait for the workers, so that a million entries do not become as many futures.
    waiting = [pool.submit(read_chunk, chunk) for chunk in itertools.islice(chunks, 2 * workers)]
    try:
        while waiting:
            result = waiting.pop(0).result()
            waiting += [pool.submit(read_chunk, chunk) for chunk in itertools.islice(chunks, 1)]
            yield result
    finally:
        # Stopped early, nobody waits for a file that takes minutes.
        threading.Thread(target=_end, args=(pool, decoders)).start() if waiting else _end(pool, decoders)


def _end(pool: concurrent.futures.Executor, decoders: list[Decoder]):
    """Ends the decoding processes once they have finished what they are reading."""
    pool.shutdown(cancel_futures=True)
    for decoder in decoders:
        decoder.close()

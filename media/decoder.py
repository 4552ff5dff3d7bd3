"""Media is decoded in a process of its own: a file that hangs or kills a decoder is rejected, and the worker lives on.

Decoders are C libraries that read hostile bytes: no exception handler catches their endless loops and crashes. The
parent (`Decoder`) sends entries and waits for each answer no longer than the task's limit; a child that is late or dead
is replaced, and the file that it had in hand is named. The child (`main`) imports no TensorFlow, so a new one is there
within a second, and has bounded memory, files and core dumps.

Between them run frames over the child's standard input and output: four bytes of length (big-endian), JSON, and after
an answer's JSON the bytes that it counts up. Nothing is pickled. Small files are many to a millisecond: they are asked
for ahead, and answered together. When a child is lost, what it still owed is asked for again one by one.
"""

import collections
import dataclasses
import hashlib
import importlib
import itertools
import json
import logging
import os
import pathlib
import resource
import selectors
import signal
import struct
import subprocess
import sys
import tempfile
import time
from typing import BinaryIO, Iterable, Iterator

from media.entries import Entry
from media.rejections import Rejection
from model_code import data

COMMAND = (sys.executable, '-m', 'media.decoder')
_PROJECT = pathlib.Path(__file__).resolve().parents[1]

# Bounds of the child. Memory is address space: 64 million pixels at 8 bytes, several times over, and the libraries.
MEMORY_BYTES = 6 << 30
_STDERR_BYTES = 1 << 20
_OPEN_FILES = 64

_GRACE_SECONDS = 1.0  # readers look at the clock too, and say more than a killed process can
_START_SECONDS = 60.0
# Sent ahead, so that the child need not wait for us between two files. Less than a pipe holds, or both would block.
_AHEAD_ENTRIES, _AHEAD_BYTES = 128, 32 << 10
_SENT = ('path', 'start', 'end', 'offset', 'length', 'record')
# A child with more to do keeps answers back this long: a process switch costs more than a small file.
_TOGETHER_SECONDS = 0.02

_LENGTH = struct.Struct('>I')

# Not 'polyvit', which is shown to the person: hostile files can make a library say anything.
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Decoded:
    """What became of an entry: features and notes as readers.read_with_notes gives them, or the rejection.

    digest: 16 bytes over the media that would be stored: equal for equal media.
    """
    entry: Entry
    features: dict | None = None
    notes: tuple[str, ...] = ()
    digest: bytes = b''
    rejection: Rejection | None = None


class Decoder:
    """Reads entries of one task in a child process. Not for two threads at once; close() ends the child.

    root: the task's data. spec: the modality's input. beam_args: options of remote file systems. command: what to start
    instead of this module (tests).
    """

    def __init__(self, root: str, modality: str, spec, limits: data.Limits, beam_args: tuple[str, ...] = (),
                 command: tuple[str, ...] = COMMAND):
        self._limits = limits.for_modality(modality)
        self._start_message = {'root': root, 'modality': modality, 'spec': dataclasses.asdict(spec),
                               'limits': dataclasses.asdict(self._limits), 'beam_args': list(beam_args)}
        self._command = command
        self._child = None

    def read(self, entries: Iterable[Entry]) -> Iterator[Decoded]:
        """An answer an entry, in their order. Raises RuntimeError where no child can be started."""
        waiting = collections.deque()  # sent and not answered
        try:
            yield from self._read(iter(entries), waiting)
        finally:
            if waiting:  # left in the middle: its answers are not those of the next call
                self.close()

    def _read(self, more: Iterator[Entry], waiting: collections.deque) -> Iterator[Decoded]:
        while True:
            if len(waiting) <= _AHEAD_ENTRIES // 2:
                batch = _first(more, _AHEAD_ENTRIES - len(waiting), _AHEAD_BYTES // 2)
                if batch:
                    waiting.extend(batch)
                    self._send(batch)
            if not waiting:
                return
            answer = self._answer(waiting[0])
            if answer is None:
                # Which of them it was, nobody knows: the answers of those before it may have died with the child.
                yield from self._one_by_one(waiting)
                continue
            waiting.popleft()
            yield answer

    def _one_by_one(self, waiting: collections.deque) -> Iterator[Decoded]:
        """The answers of all that is waiting; a lost child is now the fault of the one entry that it had."""
        self.close()
        while waiting:
            entry = waiting[0]
            self._send([entry])
            answer = self._answer(entry) or self._lost(entry)
            waiting.popleft()
            yield answer

    def close(self):
        if self._child is not None:
            self._child.close()
            self._child = None

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def _send(self, entries: list[Entry]):
        if self._child is None:
            self._child = _Child(self._command, self._start_message)
        # Only what opening and decoding need: labels stay with us.
        self._child.send(_frame([[getattr(entry, name) for name in _SENT] for entry in entries]))

    def _answer(self, entry: Entry) -> Decoded | None:
        """The child's answer; None where it has died or is late."""
        try:
            header, body = self._child.receive(self._limits.decode_seconds + _GRACE_SECONDS)
        except (EOFError, TimeoutError) as error:
            self._failure = error
            return None
        if 'reason' in header:
            return Decoded(entry, rejection=Rejection(header['reason'], header['detail']))
        features, position = dict(header['values']), 0
        for name, is_list, lengths in header['blobs']:
            parts = []
            for length in lengths:
                parts.append(body[position:position + length])
                position += length
            features[name] = parts if is_list else parts[0]
        return Decoded(entry, features, tuple(header['notes']), bytes.fromhex(header['digest']))

    def _lost(self, entry: Entry) -> Decoded:
        """Ends the child, and says what it did with `entry`."""
        child, self._child = self._child, None
        late = isinstance(self._failure, TimeoutError)
        child.close()
        if late:
            detail = f'It was not decoded within {self._limits.decode_seconds:g} seconds.'
            return Decoded(entry, rejection=Rejection('too_slow', detail))
        _log.info('The decoder %s at %r. Its last words: %r', child.ending(), entry.id, child.last_words())
        return Decoded(entry, rejection=Rejection('crashed', f'The decoder {child.ending()}.'))


class _Child:
    """A running child: its pipes, and the end of its error output."""

    def __init__(self, command, start_message: dict):
        self._stderr = tempfile.TemporaryFile()
        path = os.pathsep.join(filter(None, (str(_PROJECT), os.environ.get('PYTHONPATH'))))
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr,
                                         env=os.environ | {'PYTHONPATH': path}, bufsize=0)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._process.stdout, selectors.EVENT_READ)
        self._buffer, self._taken = b'', 0
        self.send(_frame(start_message))
        try:
            self.receive(_START_SECONDS)
        except (EOFError, TimeoutError) as error:
            self.close()
            raise RuntimeError(
                f'The decoding process does not start: it {self.ending()}. {self.last_words()}') from error

    def send(self, request: bytes):
        try:
            self._process.stdin.write(request)
        except BrokenPipeError:
            pass  # it has died: the next answer says so

    def receive(self, seconds: float) -> tuple[dict, bytes]:
        """The next answer: its JSON and its bytes. EOFError where the child has died, TimeoutError where it is late."""
        deadline = time.monotonic() + seconds
        length, = _LENGTH.unpack(self._take(_LENGTH.size, deadline))
        header = json.loads(self._take(length, deadline))
        return header, self._take(sum(map(sum, (b[2] for b in header.get('blobs', ())))), deadline)

    def _take(self, count: int, deadline: float) -> bytes:
        while len(self._buffer) - self._taken < count:
            if not self._selector.select(max(0.0, deadline - time.monotonic())):
                raise TimeoutError
            read = os.read(self._process.stdout.fileno(), 1 << 20)
            if not read:
                raise EOFError
            self._buffer, self._taken = self._buffer[self._taken:] + read, 0
        self._taken += count
        return self._buffer[self._taken - count:self._taken]

    def ending(self) -> str:
        """How the process ended, for a sentence."""
        code = self._process.poll()
        if code is not None and code < 0:
            return f'was ended by {signal.Signals(-code).name}'
        return f'ended with status {code}'

    def last_words(self) -> str:
        self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, self._stderr.tell() - 2_000))
        return self._stderr.read().decode(errors='replace').strip()

    def close(self):
        """Ends the process, gently where it is waiting for work, and waits for it."""
        self._process.stdin.close()
        try:
            self._process.wait(0.5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._selector.close()
        self._process.stdout.close()


def _frame(message) -> bytes:
    text = json.dumps(message).encode()
    return _LENGTH.pack(len(text)) + text


def _first(entries: Iterator[Entry], most: int, most_bytes: int) -> list[Entry]:
    """The next entries, at most so many, and those that begin within so many bytes of request."""
    batch, size = [], 0
    while len(batch) < most and size < most_bytes:
        entry = next(entries, None)
        if entry is None:
            break
        batch.append(entry)
        size += len(json.dumps(entry.path)) + 80
    return batch


# The child.

def main():
    """Answers requests from standard input until it ends."""
    # Whatever a library prints must not get between the answers.
    answers = os.fdopen(os.dup(1), 'wb', buffering=1 << 18)
    os.dup2(2, 1)
    requests = _Requests(0)
    start = requests.next()
    _bound_resources()
    from media import open_entry, readers
    from media.listing import files
    from model_code.modalities import get_modality
    from model_code.serialization import from_dict
    modality = start['modality']
    spec = from_dict(get_modality(modality).input_class, start['spec'])
    limits = from_dict(data.Limits, start['limits'])
    importlib.import_module(f'media.readers.{modality}')
    if files.is_remote(start['root']):
        files.use_beam_options(start['beam_args'])
    answers.write(_frame({'ready': True}))
    answers.flush()
    flushed = time.monotonic()
    while (batch := requests.next(before_waiting=answers.flush)) is not None:
        for values in batch:
            entry = Entry(labels=(), split='', **dict(zip(_SENT, values)))
            try:
                with open_entry.open_entry(start['root'], entry, limits) as file:
                    features, notes = readers.read_with_notes(modality, file, spec, limits, entry.start, entry.end)
                _write_features(answers, features, notes)
            except Rejection as rejection:
                answers.write(_frame({'reason': rejection.reason, 'detail': rejection.detail}))
            except MemoryError:
                detail = f'Decoding it needs more than {MEMORY_BYTES >> 30} GiB.'
                answers.write(_frame({'reason': 'too_large', 'detail': detail}))
            if time.monotonic() - flushed > _TOGETHER_SECONDS:
                answers.flush()
                flushed = time.monotonic()


def _bound_resources():
    for kind, limit in ((resource.RLIMIT_AS, MEMORY_BYTES), (resource.RLIMIT_CORE, 0),
                        (resource.RLIMIT_FSIZE, _STDERR_BYTES), (resource.RLIMIT_NOFILE, _OPEN_FILES)):
        _, most = resource.getrlimit(kind)
        resource.setrlimit(kind, (limit if most == resource.RLIM_INFINITY else min(limit, most), most))
    # The parent hears an interrupt too, and closes our input when it has ended its own work.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _write_features(answers: BinaryIO, features: dict, notes: tuple[str, ...]):
    values = {name: value for name, value in features.items() if isinstance(value, (int, float))}
    blobs = {name: value if isinstance(value, list) else [value] for name, value in features.items()
             if name not in values}
    digest = hashlib.blake2b(digest_size=16)
    for part in itertools.chain.from_iterable(blobs.values()):
        digest.update(part)
    answers.write(_frame({
        'values': values, 'notes': notes, 'digest': digest.hexdigest(),
        'blobs': [[name, isinstance(features[name], list), [len(part) for part in parts]]
                  for name, parts in blobs.items()]}))
    for part in itertools.chain.from_iterable(blobs.values()):
        answers.write(part)


class _Requests:
    """The frames that come over a file descriptor."""

    def __init__(self, descriptor: int):
        self._descriptor, self._buffer = descriptor, b''

    def next(self, before_waiting=lambda: None) -> dict | None:
        """The next request; None where the parent has closed. before_waiting is called where none is there yet."""
        while True:
            if len(self._buffer) >= _LENGTH.size:
                end = _LENGTH.size + _LENGTH.unpack_from(self._buffer)[0]
                if len(self._buffer) >= end:
                    text, self._buffer = self._buffer[_LENGTH.size:end], self._buffer[end:]
                    return json.loads(text)
            before_waiting()
            read = os.read(self._descriptor, 1 << 16)
            if not read:
                return None
            self._buffer += read


if __name__ == '__main__':
    main()

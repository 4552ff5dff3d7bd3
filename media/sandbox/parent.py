"""The parent: sends entries to a child, which decodes them, and replaces a child that hangs or dies.

Small files are many to a millisecond: they are asked for ahead, and answered together. When a child is lost, what it
still owed is asked for again one by one.
"""

import collections
import dataclasses
import json
import logging
import os
import pathlib
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator

from media.entries import Entry
from media.rejections import Rejection
from media.sandbox import protocol
from model_code.modalities import Limits, get_modality

COMMAND = (sys.executable, '-m', 'media.sandbox.child')
_PROJECT = pathlib.Path(__file__).resolve().parents[2]

_GRACE_SECONDS = 1.0  # readers look at the clock too, and say more than a killed process can
_START_SECONDS = 60.0
# Sent ahead, so that the child need not wait for us between two files. Less than a pipe holds, or both would block.
_AHEAD_ENTRIES, _AHEAD_BYTES = 128, 32 << 10

# Not 'polyvit', which is shown to the person: hostile files can make a library say anything.
logger = logging.getLogger(__name__)


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

    def without_features(self) -> 'Decoded':
        return dataclasses.replace(self, features=None)


class Decoder:
    """Reads entries of one task in a child process. Not for two threads at once; close() ends the child.

    root: the task's data folder. spec: the modality's input settings. beam_args: options of remote file systems.
    command: what to start instead of media.sandbox.child (tests).
    """

    def __init__(self, root: str, modality: str, spec, limits: Limits, beam_args: tuple[str, ...] = (),
                 command: tuple[str, ...] = COMMAND):
        self._limits = limits.for_modality(modality)
        self._start = protocol.Start.of(root, get_modality(modality).reader_module, spec, self._limits, beam_args)
        self._command = command
        self._child: _Child | None = None

    def read(self, entries: Iterable[Entry]) -> Iterator[Decoded]:
        """One answer per entry, in their order. Raises RuntimeError where no child can be started."""
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
            self._child = _Child(self._command, self._start)
        self._child.send(protocol.entries_frame(entries))

    def _answer(self, entry: Entry) -> Decoded | None:
        """The child's answer; None where it has died or is late."""
        assert self._child is not None  # the entry was sent to it
        try:
            header, body = self._child.receive(self._limits.decode_seconds + _GRACE_SECONDS)
        except (EOFError, TimeoutError) as error:
            self._failure = error
            return None
        rejection = protocol.rejection_of(header)
        if rejection:
            return Decoded(entry, rejection=rejection)
        return Decoded(entry, *protocol.features_of(header, body))

    def _lost(self, entry: Entry) -> Decoded:
        """Ends the child, and says what it did with `entry`."""
        assert self._child is not None
        child, self._child = self._child, None
        late = isinstance(self._failure, TimeoutError)
        child.close()
        if late:
            detail = f'It was not decoded within {self._limits.decode_seconds:g} seconds.'
            return Decoded(entry, rejection=Rejection('too_slow', detail))
        logger.info('The decoder %s at %r. Its last words: %r', child.ending(), entry.id, child.last_words())
        return Decoded(entry, rejection=Rejection('crashed', f'The decoder {child.ending()}.'))


class _Child:
    """A running child: its pipes, and the end of its error output."""

    def __init__(self, command: tuple[str, ...], start: protocol.Start):
        self._stderr = tempfile.TemporaryFile()
        # What we can import, the child can: the readers and input classes that it is told of are found by name.
        path = os.pathsep.join([str(_PROJECT), *(folder or os.getcwd() for folder in sys.path)])
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr,
                                         env=os.environ | {'PYTHONPATH': path}, bufsize=0)
        assert self._process.stdin and self._process.stdout
        self._requests, self._answers = self._process.stdin, self._process.stdout
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._answers, selectors.EVENT_READ)
        self._buffer, self._taken = b'', 0
        self.send(start.frame())
        try:
            self.receive(_START_SECONDS)
        except (EOFError, TimeoutError) as error:
            self.close()
            raise RuntimeError(
                f'The decoding process does not start: it {self.ending()}. {self.last_words()}') from error

    def send(self, request: bytes):
        try:
            self._requests.write(request)
        except BrokenPipeError:
            pass  # it has died: the next answer says so

    def receive(self, seconds: float) -> tuple[dict, bytes]:
        """The next answer: its JSON and its bytes. EOFError where the child has died, TimeoutError where it is late."""
        deadline = time.monotonic() + seconds
        length, = protocol.LENGTH.unpack(self._take(protocol.LENGTH.size, deadline))
        header = json.loads(self._take(length, deadline))
        return header, self._take(protocol.body_length(header), deadline)

    def _take(self, count: int, deadline: float) -> bytes:
        while len(self._buffer) - self._taken < count:
            if not self._selector.select(max(0.0, deadline - time.monotonic())):
                raise TimeoutError
            read = os.read(self._answers.fileno(), 1 << 20)
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
        self._requests.close()
        try:
            self._process.wait(0.5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._selector.close()
        self._answers.close()


def _first(entries: Iterator[Entry], most: int, most_bytes: int) -> list[Entry]:
    """The next entries: at most `most`, and none that begins after `most_bytes` bytes of request."""
    batch, size = [], 0
    while len(batch) < most and size < most_bytes:
        entry = next(entries, None)
        if entry is None:
            break
        batch.append(entry)
        size += len(json.dumps(entry.path)) + 80
    return batch

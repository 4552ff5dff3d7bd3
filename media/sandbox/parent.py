"""The parent: sends entries to a child that decodes them, and replaces a child that hangs or dies.

Small files take less than a millisecond, so entries are sent ahead and answers come together. If the child is lost, the
entries without an answer are sent again, one by one.
"""

import collections
import dataclasses
import json
import logging
import os
import re
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence

from media.entries import Entry
from media.rejections import Rejection
from media.sandbox import protocol
from model_code import isolated
from model_code.errors import PipelineStop
from model_code.modalities import Limits, get_modality

_GRACE_SECONDS = 1.0  # readers also check the time, and give better messages than a killed process
_START_SECONDS = 60.0
# Sent ahead, so that the child never waits between two files. Less than a pipe holds, or both sides would block.
_AHEAD_ENTRIES, _AHEAD_BYTES = 128, 32 << 10
# glibc would return the memory of every array to the system, and the next file's arrays would be mapped page by page
# anew: a third of the time of a sound.
_KEEP_MEMORY = {'MALLOC_MMAP_THRESHOLD_': str(4 << 20), 'MALLOC_TRIM_THRESHOLD_': str(64 << 20)}
_PIPE_BYTES = 1 << 16  # that a pipe holds

# Not the logger 'polyvit', which is shown to people: hostile files can make a library print anything.
logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Decoded:
    """What became of an entry: features and notes, as from readers.read_with_notes, or a rejection.

    digest: 16 bytes, a hash of the media that would be stored. fingerprint: by which near duplicates are found
    (media/fingerprints); b'' if the example takes no part.
    """
    entry: Entry
    features: dict | None = None
    notes: tuple[str, ...] = ()
    digest: bytes = b''
    fingerprint: bytes = b''
    rejection: Rejection | None = None

    def without_features(self) -> 'Decoded':
        return dataclasses.replace(self, features=None)


class ChildOwner:
    """Starts a child when something is first sent to it. `close` ends it; what is sent next starts another."""

    def __init__(self, start: protocol.Start, command: Sequence[str] = ()):
        self._start, self._command = start, command
        self._child: Child | None = None

    def close(self):
        if self._child is not None:
            self._child.close()
            self._child = None

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def _send(self, frame: bytes):
        if self._child is None:
            self._child = Child(self._start, self._command)
        self._child.send(frame)


class Decoder(ChildOwner):
    """Reads entries of one task in a child process. Not thread-safe. `close` ends the child.

    root: the task's data folder. spec: the modality's input settings. beam_args: options of remote file systems.
    command: started in place of media.sandbox.child, by tests. The child imports readers and input classes by name.
    """

    def __init__(self, root: str, modality: str, spec, limits: Limits, beam_args: tuple[str, ...] = (),
                 command: Sequence[str] = ()):
        self._limits = limits.for_modality(modality)
        super().__init__(
            protocol.Start.of(root, get_modality(modality).reader_module, spec, self._limits, beam_args), command)

    def read(self, entries: Iterable[Entry]) -> Iterator[Decoded]:
        """One Decoded per entry, in order. Raises RuntimeError if no child can be started, PipelineStop if one lacks a
        module.
        """
        waiting = collections.deque()  # sent, but not answered
        try:
            yield from self._read(iter(entries), waiting)
        finally:
            if waiting:  # the caller has stopped early, and the next call must not get these answers
                self.close()

    def _read(self, entries: Iterator[Entry], waiting: collections.deque) -> Iterator[Decoded]:
        while True:
            if len(waiting) <= _AHEAD_ENTRIES // 2:
                batch = _next_entries(entries, _AHEAD_ENTRIES - len(waiting), _AHEAD_BYTES // 2)
                if batch:
                    waiting.extend(batch)
                    self._send(protocol.entries_frame(batch))
            if not waiting:
                return
            answer = self._answer(waiting[0])
            if answer is None:
                # Any of the waiting entries may be the cause: answers to those before it may be lost with the child.
                yield from self._one_by_one(waiting)
                continue
            waiting.popleft()
            yield answer

    def _one_by_one(self, waiting: collections.deque) -> Iterator[Decoded]:
        """The answers to the waiting entries, sent one by one, so that a lost child is the fault of a single entry."""
        self.close()
        while waiting:
            entry = waiting[0]
            self._send(protocol.entries_frame([entry]))
            answer = self._answer(entry) or self._lost(entry)
            waiting.popleft()
            yield answer

    def _answer(self, entry: Entry) -> Decoded | None:
        """The child's answer to the entry; None if the child has died or is late."""
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
        """Ends the child, and rejects the entry that it was reading."""
        assert self._child is not None
        child, self._child = self._child, None
        late = isinstance(self._failure, TimeoutError)
        child.close()
        if late:
            detail = f'It was not decoded within {self._limits.decode_seconds:g} seconds.'
            return Decoded(entry, rejection=Rejection('too_slow', detail))
        logger.info('The decoder %s at %r. The end of its output: %r', child.ending(), entry.id, child.last_output())
        return Decoded(entry, rejection=Rejection('crashed', f'The decoder {child.ending()}.'))


class Child:
    """A running child: its pipes, and the end of its error output."""

    def __init__(self, start: protocol.Start, command: Sequence[str] = ()):
        command = command or isolated.python('-m', 'media.sandbox.child')
        self._stderr = tempfile.TemporaryFile()
        # In a session of its own it does not get the terminal's Ctrl-C: the parent ends it.
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr,
                                         bufsize=0, start_new_session=True, env={**_KEEP_MEMORY, **os.environ})
        assert self._process.stdin and self._process.stdout
        self._requests, self._answers = self._process.stdin, self._process.stdout
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._answers, selectors.EVENT_READ)
        self._buffer, self._position = b'', 0
        self.send(start.frame())
        try:
            self.receive(_START_SECONDS)
        except (EOFError, TimeoutError) as error:
            self.close()
            raise self._not_started() from error

    def send(self, request: bytes):
        try:
            self._requests.write(request)
        except BrokenPipeError:
            pass  # the child has died, as `receive` will find

    def receive(self, seconds: float) -> tuple[dict, bytes]:
        """The JSON and bytes of the next answer. Raises EOFError if the child has died, TimeoutError if it is late."""
        deadline = time.monotonic() + seconds
        length, = protocol.LENGTH.unpack(self._take(protocol.LENGTH.size, deadline))
        header = json.loads(self._take(length, deadline))
        return header, self._take(protocol.body_length(header), deadline)

    def _take(self, count: int, deadline: float) -> bytes:
        while len(self._buffer) - self._position < count:
            if not self._selector.select(max(0.0, deadline - time.monotonic())):
                raise TimeoutError
            read = os.read(self._answers.fileno(), _PIPE_BYTES)
            if not read:
                raise EOFError
            self._buffer, self._position = self._buffer[self._position:] + read, 0
        self._position += count
        return self._buffer[self._position - count:self._position]

    def ending(self) -> str:
        """How the process ended, as part of a sentence."""
        code = self._process.poll()
        if code is not None and code < 0:
            return f'was killed by {signal.Signals(-code).name}'
        return f'ended with status {code}'

    def last_output(self) -> str:
        """The end of the process's error output."""
        self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, self._stderr.tell() - 2_000))
        return self._stderr.read().decode(errors='replace').strip()

    def _not_started(self) -> RuntimeError:
        output = self.last_output()
        missing = re.search(r"No module named '([\w.]+)'\Z", output)
        if missing:
            return PipelineStop(
                f'The decoding process cannot import {missing[1]}. It finds what is installed and what lies in the '
                'folders of PYTHONPATH, but nothing in the current folder: install the package, or, for a module of '
                'your own, put the folder that holds it into PYTHONPATH.')
        return RuntimeError(f'The decoding process does not start: it {self.ending()}. {output}')

    def close(self):
        """Ends the process: closes its input, and kills it if it does not end soon. Waits for its end."""
        self._requests.close()
        try:
            self._process.wait(0.5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._selector.close()
        self._answers.close()


def _next_entries(entries: Iterator[Entry], max_count: int, max_bytes: int) -> list[Entry]:
    """The next entries: at most `max_count`, and no more once the request has about `max_bytes` bytes."""
    batch, size = [], 0
    while len(batch) < max_count and size < max_bytes:
        entry = next(entries, None)
        if entry is None:
            break
        batch.append(entry)
        size += len(json.dumps(entry.path)) + 80
    return batch

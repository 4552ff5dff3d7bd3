"""Snapshots of a training's folder in another place, so that another machine can go on with it.

The place is a folder that machines share, or a URL. Object stores have no rename, and a process may be killed while it
copies, so what makes a snapshot whole is one small file that is written last (MARKER): it lists the files that belong
to it. What it does not list is ignored, and removed by a later snapshot.

    <place>/<attempt>/...           the files, under the names that they have in the training's folder
    <place>/<attempt>/snapshot.json

An attempt is one process that trains. Two of the same training do not disturb each other, because each writes to its
own folder.
"""

import contextlib
import json
import os
import threading
import time
import uuid
from collections.abc import Iterator

from model_code import file_io, words
from model_code.logger import logger

MARKER = 'snapshot.json'
# Finished trainings are kept this long: only then are their results certainly where they belong. On Kubeflow they are
# uploaded after the trainer's process has ended, and a trainer that is started again because that failed has nothing
# left to do.
KEEP_FINISHED_S = 24 * 3600.0


class Snapshots:
    """The snapshots of one training. All methods are for one thread; copying is done in another.

    place: the folder or URL of this training; '' for none, then nothing is copied.
    """

    def __init__(self, place: str):
        attempt = f'{time.strftime("%Y%m%d-%H%M%S", time.gmtime())}-{uuid.uuid4().hex[:8]}'
        self.folder = os.path.join(place, attempt) if place else ''  # this attempt's
        self.steps = 0  # of the newest snapshot that is whole
        self._place, self._earlier = place, []
        self._newest = ''  # where that one is
        self._copied: dict[str, tuple[int, int]] = {}  # name -> size and time of the file that was copied
        self._thread: threading.Thread | None = None

    def fetch(self, folder: str):
        """Copies the files of the furthest whole snapshot to `folder`, which is empty; none, if there is none.

        Raises the file system's error if one cannot be read: to start anew because of a moment without network would be
        worse.
        """
        if not self._place:
            return
        self._earlier = [os.path.join(self._place, name) for name in file_io.list_folder(self._place)]
        found = [(marker['steps'], attempt, marker['files']) for attempt in self._earlier
                 if (marker := _read_marker(attempt))]
        for steps, attempt, files in sorted(found, reverse=True):
            there = set(file_io.list_files(attempt))
            if set(files) - there:
                logger.warning('training: the snapshot in %s is not whole: %s is missing.', attempt,
                               min(set(files) - there))
                continue
            file_io.copy_folder(attempt, folder, leave_out=there - set(files))
            self.steps, self._newest = steps, attempt
            logger.info('training: takes %s from %s', words.count(steps, 'step'), attempt)
            return

    def keep(self, folder: str, steps: int):
        """Starts copying `folder` as the snapshot after `steps` steps.

        Until `wait` returns, no file of it may be removed, and those that were there at the last snapshot may only be
        replaced or appended to.
        """
        if not self._place:
            self.steps = steps
            return
        self.wait()
        files = {name: os.stat(os.path.join(folder, name)) for name in file_io.list_files(folder)}
        # A process that is told to end must not wait for a copy, so the thread is a daemon; half a copy does no harm.
        self._thread = threading.Thread(target=self._try_copy, args=(folder, steps, files), daemon=True)
        self._thread.start()

    def wait(self):
        """Waits for the copy that was started last. `steps` then tells whether it succeeded."""
        if self._thread:
            self._thread.join()
            self._thread = None

    @contextlib.contextmanager
    def completed(self) -> Iterator[None]:
        """A block whose last copy is waited for, whether it raises or not; but not if a second signal ends it."""
        try:
            yield
        except Exception:
            self.wait()
            raise
        self.wait()

    def finish(self):
        """Notes that the training came to its end and its results are written; removes what others left long ago."""
        if not self._place:
            return
        marker = _read_marker(self._newest)  # another attempt may have removed it
        if marker:
            file_io.write(os.path.join(self._newest, MARKER), json.dumps({**marker, 'finished': time.time()}))
        _remove_finished(os.path.dirname(self._place))

    def _try_copy(self, folder: str, steps: int, files: dict[str, os.stat_result]):
        try:
            self._copy(folder, steps, files)
        except Exception as error:  # any: of the network, of the store, of a library that talks to it
            logger.warning('training: the checkpoint of step %s could not be copied to %s (%s: %s). Training goes on; '
                           'the next one is copied again.', f'{steps:,}', self.folder, type(error).__name__, error)

    def _copy(self, folder: str, steps: int, files: dict[str, os.stat_result]):
        # Another attempt that started later removes this one's files. They are then copied again.
        there = set(file_io.list_files(self.folder)) if self._copied else set()
        for name, status in files.items():
            state = (status.st_size, status.st_mtime_ns)
            if name not in there or self._copied.get(name) != state:
                file_io.copy(os.path.join(folder, name), os.path.join(self.folder, name))
                self._copied[name] = state
        file_io.write(os.path.join(self.folder, MARKER), json.dumps({'steps': steps, 'files': sorted(files)}))
        self.steps, self._newest = steps, self.folder
        for name in there - {*files, MARKER}:
            file_io.remove(os.path.join(self.folder, name))
        while self._earlier:
            file_io.remove_folder(self._earlier.pop())


NO_SNAPSHOTS = Snapshots('')


def unfinished(directory: str) -> list[str]:
    """The names of the trainings in a directory of them, but for those that are kept although they finished."""
    return [name for name in file_io.list_folder(directory) if not _finished(os.path.join(directory, name))]


def _finished(place: str) -> list[float]:
    """When attempts of a training finished, in seconds since 1970."""
    markers = [_read_marker(os.path.join(place, attempt)) for attempt in file_io.list_folder(place)]
    return [marker['finished'] for marker in markers if marker and 'finished' in marker]


def _read_marker(attempt: str) -> dict | None:
    return file_io.read_json(os.path.join(attempt, MARKER))


def _remove_finished(directory: str):
    """Removes all trainings that finished long ago."""
    for place in [os.path.join(directory, name) for name in file_io.list_folder(directory)]:
        if any(finished < time.time() - KEEP_FINISHED_S for finished in _finished(place)):
            file_io.remove_folder(place)

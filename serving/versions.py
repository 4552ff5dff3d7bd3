"""Loads and drops versions of a model: polls its base directory, and loads the new version before it drops the old one.

A request keeps the version that it began with. A dropped version closes when its last request ends. No TensorFlow here.
"""

import contextlib
import dataclasses
import os
import threading
import typing

from model_code.logger import logger
from serving import batching, version_directories
from serving.errors import ServingError, invalid

_MAX_DELETED = 20  # versions deleted from disk that are still reported, with state END


@dataclasses.dataclass
class Version:
    """A version and its state: LOADING, AVAILABLE, UNLOADING or END. `error`: why it is at END, if it failed."""
    number: int
    path: str
    state: str = 'LOADING'
    error: ServingError | None = None
    model: typing.Any = None
    users: int = 0
    fingerprint: tuple = ()


@dataclasses.dataclass(frozen=True)
class Policy:
    """Which versions are served: the newest `latest` that load, or the `specific` ones, or `every` one."""
    latest: int = 1
    specific: tuple[int, ...] = ()
    every: bool = False


class ModelVersions:
    """The versions of one model. Only one thread at a time may call `poll`; the other methods are thread-safe.

    load: loads a version directory and returns a model with `close()`; raises ServingError. labels: label -> version
    number; requests may give the label in place of the number. scheduler: what the models run their graphs in, if it is
    set (SavedModel.scheduler).
    """

    def __init__(self, name: str, base_path: str, load: typing.Callable[[str], typing.Any], policy: Policy = Policy(),
                 labels: dict[str, int] | None = None):
        self.name = name
        self.base_path = base_path
        self.labels = dict(labels or {})
        self.scheduler: batching.Scheduler | None = None
        self._load = load
        self._policy = policy
        self._versions: dict[int, Version] = {}
        self._lock = threading.Lock()

    def poll(self):
        """Looks at the base directory once: loads the versions that should be served, then drops the others.

        The newest version that loads is served. One that fails goes to END, and an older one is served meanwhile. It is
        tried again only when its files change: its copy may have been unfinished. If nothing on disk loads, what is
        served stays.
        """
        on_disk = version_directories.list_versions(self.base_path)
        serving = []
        if self._policy.specific or self._policy.every:
            numbers = [n for n in on_disk if self._policy.every or n in self._policy.specific]
            serving = [n for n in sorted(numbers, reverse=True) if self._ensure_loaded(n, on_disk[n])]
        else:
            for number in sorted(on_disk, reverse=True):
                if len(serving) == self._policy.latest:
                    break
                if self._ensure_loaded(number, on_disk[number]):
                    serving.append(number)
        if serving:
            for version in list(self._versions.values()):
                if version.state == 'AVAILABLE' and version.number not in serving:
                    self._drop(version)
        with self._lock:
            deleted = sorted(n for n, v in self._versions.items() if v.state == 'END' and n not in on_disk)
            for number in deleted[:-_MAX_DELETED]:
                del self._versions[number]

    def _ensure_loaded(self, number: int, path: str) -> bool:
        """Loads the version if it is not loaded. Returns whether it is available."""
        version = self._versions.get(number)
        if version and version.state == 'AVAILABLE':
            return True
        if version and version.state == 'UNLOADING':  # its last requests are running; the next poll looks again
            return False
        fingerprint = _fingerprint(path)
        if version and version.error and version.fingerprint == fingerprint:
            return False
        version = Version(number, path, fingerprint=fingerprint)
        with self._lock:
            self._versions[number] = version
        try:
            version.model = model = self._load(path)
            model.scheduler = self.scheduler
        except Exception as error:  # a hostile or half-copied directory must not stop the server
            if not isinstance(error, ServingError):
                error = ServingError('INTERNAL', f'{type(error).__name__}: {error}')
            version.error = _without_frames(error)
            version.state = 'END'
            logger.warning('Version %d of model %s in %s cannot be loaded, so it is not served: %s', number, self.name,
                           path, error.message)
            return False
        with self._lock:
            version.state = 'AVAILABLE'
        logger.info('Version %d of model %s is served.', number, self.name)
        return True

    def _drop(self, version: Version):
        with self._lock:
            version.state = 'UNLOADING'
            idle = version.users == 0
        if idle:
            self._close(version)

    def _close(self, version: Version):
        model, version.model = version.model, None
        if model is not None:
            model.close()
        version.state = 'END'

    def close(self):
        """Drops every version. One with running requests closes when these end."""
        for version in list(self._versions.values()):
            if version.state == 'AVAILABLE':
                self._drop(version)

    @contextlib.contextmanager
    def acquire(self, number: int | None = None, label: str | None = None) -> typing.Iterator[tuple[int, typing.Any]]:
        """(number, model) of a version, by default the newest available one; kept loaded within the block."""
        if label is not None:
            number = self.label_version(label)
        with self._lock:
            if number is None:
                available = [n for n, v in self._versions.items() if v.state == 'AVAILABLE']
                version = self._versions[max(available)] if available else None
            else:
                version = self._versions.get(number)
            if version is None or version.state != 'AVAILABLE':
                raise not_found(self.name, number)
            version.users += 1
            model = version.model
        try:
            yield version.number, model
        finally:
            with self._lock:
                version.users -= 1
                unused = version.users == 0 and version.state == 'UNLOADING'
            if unused:
                self._close(version)

    def label_version(self, label: str) -> int:
        if label not in self.labels:
            raise unknown_label(label)
        return self.labels[label]

    def status(self, number: int | None = None) -> list[Version]:
        """Snapshots of all versions, newest first, or of one. Raises NOT_FOUND if there is none."""
        with self._lock:
            chosen = [dataclasses.replace(v, model=None) for n, v in sorted(self._versions.items(), reverse=True)
                      if number in (None, n)]
        if not chosen:
            raise no_status(self.name, number)
        return chosen


def _without_frames(error: ServingError) -> ServingError:
    """The error without its traceback and cause: their frames would keep what was loaded so far in memory."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def not_found(name: str, number: int | None) -> ServingError:
    which = f'Latest({name})' if number is None else f'Specific({name}, {number})'
    return ServingError('NOT_FOUND', f'Servable not found for request: {which}')


def no_status(name: str, number: int | None) -> ServingError:
    which = 'any versions' if number is None else f'version {number}'
    return ServingError('NOT_FOUND', f'Could not find {which} of model {name}')


def unknown_label(label: str) -> ServingError:
    return invalid(f'Unrecognized servable version label: {label}')


def _fingerprint(path: str) -> tuple:
    """Names, sizes and modification times of a directory's files: changes while it is being copied."""
    files = []
    for folder, _, names in os.walk(path):
        for name in names:
            full = os.path.join(folder, name)
            with contextlib.suppress(FileNotFoundError):
                stat = os.stat(full)
                files.append((full, stat.st_size, stat.st_mtime_ns))
    return tuple(sorted(files))

"""Copies what an object store serves to a folder of this machine, for servers that read files: this package's, and
TensorFlow Serving, of which only some builds read s3:// and gs://.

The folder has whole versions only: each is copied under a temporary name, compared with the digest in its card, and
renamed. It has the newest ones, so its size is bounded. What is removed from the store, as a roll-back does, is removed
here. A store out of reach changes nothing.
"""

import contextlib
import os
import shutil
import tempfile
import threading
import typing

from model_code import file_io, model_directory, remote_files
from model_code.errors import ConfigError
from model_code.urls import is_url
from serving import served, signed_versions, version_directories

# The newest version, and the one before it: a server serves that one if the newest does not load, and after a roll-back
# it is there at once. While a new version is copied, there is one more.
KEPT = 2
EVERY_SECONDS = 10.0

# The file in the folder that says from where its versions are: no others may be removed.
_SOURCE = '.copied_from'

_Say = typing.Callable[[str], None]


class Mirror:
    """A local folder with the newest versions of a base directory behind a URL. One Mirror at a time per folder.

    say: is told what was copied and removed. keys: public keys, of which one must have signed a version, or it is not
    copied; a version that is there already is removed. The folder is made when there is something to copy. Raises
    ConfigError if `source` is no URL of a folder, if `folder` is a file, or if it has versions from elsewhere, which
    would be removed.
    """

    def __init__(self, source: str, folder: str, say: _Say = print, keys: list | None = None):
        if not is_url(source):
            raise ConfigError(f'{source} is a folder of this machine, which servers read as it is. Give a URL, such as '
                              's3://BUCKET/polyvit/serving/polyvit.')
        remote_files.check_folder(source)
        self.source = source.rstrip('/')
        self.folder = folder
        self._say = say
        self._keys = keys
        self._checked: set[int] = set()
        self._damaged: dict[int, list] = {}  # a version -> its files; it is tried again if they change
        if os.path.exists(folder) and not os.path.isdir(folder):
            raise ConfigError(f'{folder} is a file. Give a folder for the versions, or a path where one can be made.')
        marker = os.path.join(folder, _SOURCE)
        known = file_io.read_text(marker) if file_io.exists(marker) else ''
        if known != self.source and version_directories.list_versions(folder):
            raise ConfigError(f'{folder} has versions that were not copied from {self.source}, and would be removed. '
                              'Give a folder of its own.')
        for name in file_io.list_folder(folder):
            if name.startswith(file_io.TEMPORARY):  # of a process that was killed
                shutil.rmtree(os.path.join(folder, name))

    def update(self) -> bool:
        """Looks at the source once: copies what is new, newest first, then removes what is no longer wanted.

        Returns whether the folder has a version now. Raises OSError, as remote_files does, if the source cannot be
        read; nothing is removed then. Raises ConfigError if the folder cannot be written to.
        """
        versions = version_directories.list_versions(self.source)
        here, kept = self._good_versions(), set()
        for number in reversed(versions):
            if len(kept) == KEPT:
                break
            if model_directory.has_model(versions[number]) and (number in here or self._copy(number, versions[number])):
                kept.add(number)
        for number, path in version_directories.list_versions(self.folder).items():
            if number not in kept:
                self._remove(path)
                self._say(f'Removed version {number} from {self.folder}.')
        return bool(kept)

    def _good_versions(self) -> set[int]:
        """The versions in the folder, less those that were not signed, though they must be."""
        good = set()
        for number, path in version_directories.list_models(self.folder).items():
            if number in self._checked or not (wrong := self._what_is_wrong(path, number)):
                self._checked.add(number)
                good.add(number)
            else:
                self._say(f'Version {number} in {self.folder}: {wrong}')
                self._remove(path)
        self._checked &= good
        return good

    def _what_is_wrong(self, path: str, number: int) -> str:
        """A sentence about a version that is not signed, though it must be; else ''."""
        if self._keys is None:
            return ''
        try:
            signed_versions.verify(path, number, self._keys)
        except signed_versions.Refused as error:
            return str(error)
        return ''

    def _make_folder(self):
        try:
            os.makedirs(self.folder, exist_ok=True)
            file_io.write(os.path.join(self.folder, _SOURCE), self.source)
        except OSError as error:
            raise ConfigError(f'{self.folder} cannot be written to: {error.strerror}. Give a folder that can, or a '
                              'path where one can be made.') from None

    def _copy(self, number: int, source: str) -> bool:
        """Whether the version was copied: it is whole, and nobody is removing it."""
        files = sorted(remote_files.list_files(source))
        if self._damaged.get(number) == files:
            return False
        self._make_folder()
        with file_io.temporary_folder(self.folder) as temporary:
            try:
                file_io.copy_folder(source, temporary)
            except FileNotFoundError:
                return False
            except OSError as error:
                if error.filename is None:
                    raise
                raise OSError(error.errno, error.strerror, self.folder) from None  # of which people know
            if not model_directory.has_model(source):
                return False
            wrong = self._what_is_wrong(temporary, number)
            if wrong or self._keys is None and not served.is_whole(temporary):
                self._damaged[number] = files
                self._say(f'Version {number} in {self.source} is not copied. {wrong}' if wrong else
                          f'Version {number} in {self.source} is not what was pushed: its files do not have the digest '
                          'in its card. It is not copied. Remove it, and push it again.')
                return False
            self._checked.add(number)
            os.rename(temporary, os.path.join(self.folder, str(number)))
        self._say(f'Copied version {number} from {self.source}.')
        return True

    def _remove(self, path: str):
        with file_io.temporary_folder(self.folder) as temporary:  # no server sees half a version
            os.rename(path, os.path.join(temporary, 'removed'))


def keep_up(mirror: Mirror, every: float, ended: threading.Event, say: _Say = print):
    """Updates a mirror every so many seconds until `ended`. Errors are told once, and tried again until they pass."""
    told = ''
    while not ended.wait(every):
        text = ''
        try:
            mirror.update()
        except Exception as error:
            text = isinstance(error, OSError) and file_io.failure(error) or str(error)
        if text and text != told:
            say(f'{text} Trying again every {every:g} seconds.')
        told = text


@contextlib.contextmanager
def mirrored(source: str, say: _Say = print, keys: list | None = None) -> typing.Iterator[str]:
    """A context that gives a temporary folder with the newest versions of a base directory behind a URL, kept up to
    date. keys: as in Mirror. Raises OSError if the source cannot be read at first."""
    ended = threading.Event()
    with tempfile.TemporaryDirectory(prefix='polyvit-', ignore_cleanup_errors=True) as folder:
        mirror = Mirror(source, folder, say, keys)
        mirror.update()
        thread = threading.Thread(target=keep_up, args=(mirror, EVERY_SECONDS, ended, say), name='serving-sync',
                                  daemon=True)
        thread.start()
        try:
            yield folder
        finally:
            ended.set()
            thread.join(1.0)  # it may be copying

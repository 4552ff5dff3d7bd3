"""What is below a folder: a walk that ends in time, however many files there are."""

import collections
import dataclasses
import os
import time
from collections.abc import Iterator

from model_code.errors import ConfigError
from model_code.modalities import MODALITIES

MAX_FILES = 500_000  # of all folders together, and
MAX_FOLDER_FILES = 50_000  # of one, so that a huge one leaves time for the others
MAX_SECONDS = 15.0
MAX_DEPTH = 6  # folders below the first
# No data are there, but endless files: of processes and devices.
_SYSTEM = frozenset(('/proc', '/sys', '/dev'))
_NAMES = 200  # media files of a folder whose names are kept
_OTHER_NAMES = 1_000  # other files (manifests, archives, notes) whose names are kept


@dataclasses.dataclass
class Folder:
    """A folder that was looked at.

    path: relative to the first folder, '' for that itself. endings: ending in lower case -> number of files. names: of
    media files, the first _NAMES that the file system names. others: of other files. folders: names, sorted.
    """
    path: str
    endings: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    names: list[str] = dataclasses.field(default_factory=list)
    others: list[str] = dataclasses.field(default_factory=list)
    folders: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Look:
    """The folders at and below `root`, by their paths.

    whole: whether all were looked at. unreadable: folder -> why it cannot be listed. links: folders behind links, which
    are not followed.
    """
    root: str
    folders: dict[str, Folder] = dataclasses.field(default_factory=dict)
    whole: bool = True
    unreadable: dict[str, str] = dataclasses.field(default_factory=dict)
    links: list[str] = dataclasses.field(default_factory=list)

    def below(self, path: str) -> Iterator[Folder]:
        """The folder, and all that are below it."""
        waiting = [path]
        while waiting:
            folder = self.folders.get(waiting.pop())
            if folder:
                yield folder
                waiting += [join(folder.path, name) for name in folder.folders]

    def endings(self, path: str) -> collections.Counter:
        """Ending -> number of files in the folder and below it."""
        return sum((folder.endings for folder in self.below(path)), collections.Counter())


def join(folder: str, name: str) -> str:
    return f'{folder}/{name}' if folder else name


_MEDIA = frozenset(ending for row in MODALITIES.values() for ending in row.endings + row.other_endings)


def walk(root: str, max_files: int = MAX_FILES, max_folder_files: int = MAX_FOLDER_FILES,
         max_seconds: float = MAX_SECONDS) -> Look:
    """Looks at the folders below `root`, those near to it first. Hidden names are left out, and what the system shows
    as files (/proc, /sys, /dev); links are not followed.

    Raises ConfigError if the root cannot be listed.
    """
    look, waiting, files, end = Look(root), collections.deque(['']), 0, time.monotonic() + max_seconds
    while waiting:
        if files >= max_files or time.monotonic() > end:
            look.whole = False
            break
        path = waiting.popleft()
        folder, count = Folder(path), 0
        try:
            with os.scandir(os.path.join(root, path)) as items:
                for item in items:
                    if item.name.startswith('.') or item.path in _SYSTEM:
                        continue
                    if item.is_dir(follow_symlinks=False):
                        folder.folders.append(item.name)
                        continue
                    if item.is_symlink() and os.path.isdir(item.path):
                        look.links.append(join(path, item.name))
                        continue
                    _add(folder, item.name)
                    count += 1
                    if count >= max_folder_files or count % 1_000 == 0 and time.monotonic() > end:
                        look.whole = False
                        break
        except OSError as error:
            if not path:
                raise ConfigError(f'{root} cannot be listed ({error.strerror}).') from error
            look.unreadable[path] = str(error.strerror)
            continue
        files += count
        folder.folders.sort()
        folder.names.sort()
        folder.others.sort()
        look.folders[path] = folder
        if path.count('/') + 1 < MAX_DEPTH:
            waiting += [join(path, name) for name in folder.folders]
        elif folder.folders:
            look.whole = False
    return look


def _add(folder: Folder, name: str):
    ending = os.path.splitext(name)[1].lower()
    folder.endings[ending] += 1
    if ending in _MEDIA:
        if len(folder.names) < _NAMES:
            folder.names.append(name)
    elif len(folder.others) < _OTHER_NAMES:
        folder.others.append(name)


def modalities(endings: dict[str, int]) -> dict[str, int]:
    """Modality -> number of files with its endings, most first. A file counts once.

    An ending that several have (a video's file may be listed for its sound) counts for the one that it is usual for, or
    else for the one with the fewest endings. Where there are other media, texts describe them, and do not count.
    """
    counts = collections.Counter()
    for ending, count in endings.items():
        usual = [name for name, row in MODALITIES.items() if ending in row.endings]
        other = [name for name, row in MODALITIES.items() if ending in row.other_endings]
        if usual or other:
            counts[(usual or sorted(other, key=_number_of_endings))[0]] += count
    media = {name: count for name, count in counts.most_common() if not MODALITIES[name].describes}
    return media or dict(counts)


def _number_of_endings(modality: str) -> int:
    row = MODALITIES[modality]
    return len(row.endings) + len(row.other_endings)

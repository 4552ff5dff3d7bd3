"""Where runs are: the folders that `polyvit run` writes to."""

import hashlib
import os
import pathlib
import re
from collections.abc import Sequence

from model_code import file_io
from model_code.errors import ConfigError
from model_code.urls import is_url

RUNS = 'runs'  # the folder of the roots that no --root names


def find(root: str | os.PathLike | None = None) -> list[pathlib.Path]:
    """The given root, or all roots under runs/, sorted. Raises ConfigError if there is none."""
    if root is None:
        found = [path for path in sorted(pathlib.Path(RUNS).glob('*')) if _is_root(path)]
        if not found:
            raise ConfigError(f'There is no run under {RUNS}/. Run a config first (polyvit demo), or give the '
                              '--root of a run.')
        return found
    if is_url(os.fspath(root)):
        raise ConfigError(f'--root is {root}; it must be a folder of this machine.')
    path = pathlib.Path(root)
    if not _is_root(path):
        raise ConfigError(f'There is no run under {path}. Give the --root of a run; it has a folder logs/.')
    return [path]


def check_writable(root: pathlib.Path):
    """Raises ConfigError unless a run can write everything that it keeps under this root. Makes nothing."""
    for folder in (root, root / 'logs', root / 'pipeline', serving_dir(root)):
        file_io.check_folder(str(folder))
    for name in ('.lock', 'metadata.db', 'last_run.json'):
        path = root / name
        if os.path.lexists(path) and not (path.is_file() and os.access(path, os.R_OK | os.W_OK)):
            raise ConfigError(f'{path} must be a file to which you may write. Move it away, or give another --root.')


def serving_dir(root: pathlib.Path) -> pathlib.Path:
    """The folder of the version directories under a root."""
    return root / 'serving' / 'polyvit'


def study_dir(root: pathlib.Path) -> pathlib.Path:
    """The folder of what `polyvit study` keeps under a root."""
    return root / 'study'


def study_page(root: pathlib.Path, changes: Sequence[str] = (), settings: Sequence[str] = ()) -> pathlib.Path:
    """The page of the study under a root, or of that of some changes; it is there once the study has ended.

    settings: the values of --set: a study with other ones is another study. The same with the ending .json has its
    numbers.
    """
    name = f'change-{_file_name(changes)}' if changes else 'study'
    if settings:
        name += f'-set-{_file_name(settings)}'
    return study_dir(root) / f'{name}.html'


def _file_name(values: Sequence[str]) -> str:
    readable = re.sub('[^A-Za-z0-9._]+', '-', ' '.join(values))[:80].strip('-')
    digest = hashlib.sha256('\0'.join(values).encode('utf-8', 'surrogateescape')).hexdigest()[:8]
    return f'{readable}-{digest}'


def study_pages(root: pathlib.Path) -> list[pathlib.Path]:
    """The pages that are there, those of studies of the arms first."""
    return [*sorted(study_dir(root).glob('study*.html')), *sorted(study_dir(root).glob('change-*.html'))]


def _is_root(path: pathlib.Path) -> bool:
    return (path / 'logs').is_dir()

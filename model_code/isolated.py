"""Processes of Python that import nothing from the current folder, where people may have unpacked a data set.

    subprocess.run(isolated.python('-m', 'media.sandbox.child'))

`python -m` and `python -c` look there first. A folder av/ or a file random.py in it would be imported in place of a
library. (Python 3.11 has the option -P for this. -I, which 3.10 has too, also ignores PYTHONPATH.)
"""

import contextlib
import importlib.machinery
import json
import os
import pathlib
import runpy
import sys

PROJECT = pathlib.Path(__file__).resolve().parents[1]
# The project's own packages. Once installed, they share the folder PROJECT with the libraries.
PACKAGES = ('components', 'media', 'model_code', 'pipeline', 'polyvit', 'schemas', 'serving')


def python(*arguments: str) -> list[str]:
    """The command line of a process that runs a module: python('-m', 'package.module', ...).

    It can import what this process can, but for what lies in the current folder.
    """
    flags = ['-B'] if sys.flags.dont_write_bytecode else []
    # It must read names of files as this process does, and it does not see PYTHONUTF8.
    return [sys.executable, '-I', *flags, '-X', f'utf8={sys.flags.utf8_mode}', __file__, json.dumps(search_path()),
            *arguments]


def leave_current_folder():
    """From now on, this process imports nothing from the current folder."""
    _look_in(search_path())


def search_path() -> list[str]:
    """The folders of sys.path as absolute paths: first Python's own and those of its packages, then all others.

    The current folder is left out, unless PYTHONPATH names it.
    """
    here = _current_folder()
    named = {os.path.realpath(folder) for folder in os.environ.get('PYTHONPATH', '').split(os.pathsep) if folder}
    folders = [os.path.abspath(folder) for folder in sys.path if folder]
    return sorted((folder for folder in dict.fromkeys(folders) if os.path.realpath(folder) in named
                   or os.path.realpath(folder) != here), key=lambda folder: not _is_pythons(folder))


def _current_folder() -> str | None:
    """None if it was removed."""
    with contextlib.suppress(FileNotFoundError):
        return os.path.realpath(os.getcwd())
    return None


def _is_pythons(folder: str) -> bool:
    """Whether Python itself or installed packages are there."""
    name = os.path.basename(folder)
    return name in ('site-packages', 'dist-packages', 'lib-dynload') or name.startswith('python3') and (
        name.endswith('.zip') or os.path.isfile(os.path.join(folder, 'os.py')))


def _look_in(folders: list[str]):
    """Sets sys.path. The project's packages are always taken from the project, even if it comes after others."""
    sys.path[:] = folders
    if _OwnPackages not in sys.meta_path:
        sys.meta_path.insert(0, _OwnPackages)


class _OwnPackages:
    """Finds this project's packages."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name in PACKAGES:
            return importlib.machinery.PathFinder.find_spec(name, [str(PROJECT)], target)
        return None


def _run(folders: str, option: str, module: str, *arguments: str):
    """What such a process runs. Its arguments are those of `python`."""
    assert option == '-m'
    _look_in(json.loads(folders))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name='__main__', alter_sys=True)


if __name__ == '__main__':
    _run(*sys.argv[1:])

"""What a config's file may import: whatever is installed, and modules beside it that have no name of those."""

import ast
import contextlib
import importlib.machinery
import pathlib
import sys
from collections.abc import Iterator

from model_code import isolated


@contextlib.contextmanager
def importable(config: pathlib.Path) -> Iterator[None]:
    """While it is open, what a config imports is also looked for in its folder, after all other places.

    Only what the config itself imports, or a module beside it that it imports: the folder may be that of a downloaded
    data set. Libraries look for many modules that are not installed, and must not find one of the data set's.

    Afterwards these modules are forgotten, and no byte code is kept: another config may have modules of the same names,
    and these may be edited twice in one second, which is as fine as the times of byte code are.
    """
    finder, wrote_none = _Beside(config), sys.dont_write_bytecode
    sys.meta_path.append(finder)
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        sys.dont_write_bytecode = wrote_none
        for name in [name for name in sys.modules if name.partition('.')[0] in finder.found]:
            del sys.modules[name]


class _Beside:
    """Finds modules beside a config. found: the names of those that it found."""

    def __init__(self, config: pathlib.Path):
        self._folder = config.parent
        self._names = _imported(config)
        self.found: set[str] = set()

    def find_spec(self, name, path=None, target=None):
        if name not in self._names:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, [str(self._folder)], target)
        if spec:
            self.found.add(name)
        return spec


def _imported(config: pathlib.Path) -> set[str]:
    """The top-level names that a config imports, and those that modules beside it import which have these names."""
    names, waiting = set(), [config]
    while waiting:
        new = {name for name in _imports(waiting.pop()) - names if not _is_installed(name)}
        names |= new
        for name in new:
            path = config.parent / name
            waiting += [*path.rglob('*.py')] if path.is_dir() else [path.with_suffix('.py')]
    return names


def _is_installed(name: str) -> bool:
    """Whether an import finds it elsewhere."""
    return (name in isolated.PACKAGES or name in sys.stdlib_module_names
            or importlib.machinery.PathFinder.find_spec(name) is not None)


def _imports(file: pathlib.Path) -> set[str]:
    """The top-level names that a file imports; none if it is no Python."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, ValueError, SyntaxError):  # its import says what is wrong
        return set()
    modules = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    modules += [node.module or '' for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level]
    return {module.partition('.')[0] for module in modules}

"""What a run depends on, as hashes: code, config, media. TFX's cache compares exec properties and knows no code.

Every component of ours has an exec property `code_version`, the hash of the sources that its work depends on: the
packages named here and all of the project's modules that they import. So changed code re-runs what it touches, and
nothing else. Imports no TensorFlow: sources are parsed, not imported.
"""

import ast
import dataclasses
import functools
import hashlib
import json
import pathlib

PROJECT = pathlib.Path(__file__).resolve().parent.parent
# Files beside .py whose content decides results: schemas and the report's template.
SOURCES = ('.py', '.pbtxt', '.html')

# A component's name -> where its code starts. The last of Transform and CoTrainer are imported by name at run time, so
# parsing imports would not find them.
COMPONENT_CODE = {
    'MediaExampleGen': ('components.media_example_gen', 'media'),
    'TaskSchemaGen': ('components.task_schema_gen', 'schemas'),
    'TaskValidator': ('components.task_validator',),
    'Transform': ('components.preprocessing_fns', 'model_code.preprocessing'),
    'CoTrainer': ('components.co_trainer', 'model_code'),
    'ServingBaseline': ('components.serving_baseline',),
    'TaskEvaluator': ('components.task_evaluator',),
    'ServingCheck': ('components.serving_check',),
    'BlessingGate': ('components.blessing_gate',),
    'AtomicPusher': ('components.atomic_pusher',),
    'Report': ('components.report',),
}


def _files(name: str, root: pathlib.Path) -> list[pathlib.Path]:
    """The source files of a dotted package (its whole folder) or module; [] where the project has no such module."""
    path = root.joinpath(*name.split('.'))
    if path.is_dir():
        return sorted(p for p in path.rglob('*') if p.suffix in SOURCES and '__pycache__' not in p.parts)
    path = path.with_suffix('.py')
    return [path] if path.is_file() else []


def _imports(path: pathlib.Path) -> set[str]:
    """The dotted names that a Python file imports, wherever in it; `from a import b` gives a and a.b."""
    names = set()
    for node in ast.walk(ast.parse(path.read_bytes(), filename=str(path))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
            names.update(f'{node.module}.{alias.name}' for alias in node.names)
    return names


def _imported_files(name: str, root: pathlib.Path) -> list[pathlib.Path]:
    """What importing `name` runs of this project: the module's own file (a package's __init__.py), not its siblings."""
    path = root.joinpath(*name.split('.'))
    path = path / '__init__.py' if path.is_dir() else path.with_suffix('.py')
    return [path] if path.is_file() else []


def source_files(*names: str, root: pathlib.Path = PROJECT) -> list[pathlib.Path]:
    """The files of the named packages and of every project module that they import, directly or not, sorted.

    Raises ValueError for a name that the project does not have.
    """
    found, open_ = set(), []
    for name in names:
        files = _files(name, root)
        if not files:
            raise ValueError(f'There is no package or module {name} under {root}.')
        open_.extend(files)
    while open_:
        path = open_.pop()
        if path in found:
            continue
        found.add(path)
        if path.suffix == '.py':
            for imported in _imports(path):
                open_.extend(_imported_files(imported, root))
    return sorted(found)


@functools.lru_cache(maxsize=None)
def code_version(*names: str, root: pathlib.Path = PROJECT) -> str:
    """A hash over the paths and contents of `source_files(*names)`."""
    digest = hashlib.sha256()
    for path in source_files(*names, root=root):
        digest.update(str(path.relative_to(root)).encode() + b'\0' + path.read_bytes() + b'\0')
    return digest.hexdigest()[:16]


def component_version(component: str) -> str:
    """The code_version of a component of COMPONENT_CODE."""
    return code_version(*COMPONENT_CODE[component])


def run_key(config, media_fingerprints: dict[str, str]) -> str:
    """A hash over all that decides a run's result: code, config and media; not where its results are put.

    media_fingerprints: task name -> listing.media_fingerprint(task).
    """
    values = dataclasses.asdict(config)
    del values['root']
    return hashlib.sha256(json.dumps({
        'config': values,
        'code': {name: component_version(name) for name in COMPONENT_CODE},
        'media': media_fingerprints,
    }, sort_keys=True).encode()).hexdigest()[:16]

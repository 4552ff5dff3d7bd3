"""Hashes of what a run depends on: code, libraries, config, media. TFX's cache compares only exec properties.

So every component has an exec property `code_version`. It is a hash of the sources that the component depends on (the
packages named here, and every module of the project that they import) and of the versions of the libraries that decide
its output. Changed code therefore re-runs what it affects and nothing else.

Python sources are compared by their parsed syntax, without comments, docstrings and layout; schemas and templates by
their content. Of what it hashes, this module imports only the table of modalities.
"""

import ast
import dataclasses
import functools
import hashlib
import importlib.metadata
import importlib.util
import itertools
import json
import pathlib
from collections.abc import Iterable, Iterator

from model_code.isolated import PACKAGES, PROJECT
from model_code.modalities import MODALITIES

# The endings of files that decide results: sources, schemas, the report's templates, style and script.
SOURCES = ('.py', '.pbtxt', '.html', '.css', '.js')

_MODALITIES = MODALITIES.values()
# Component -> the modules and packages in which its code starts. Beside the component's own package these are what it
# imports by a name made at run time, which parsing cannot find (the modules of the modalities and of the label kinds),
# and the schemas, which are data. 'package:name,name' counts only the definitions of these names in each module, and
# what they use.
COMPONENT_CODE = {
    'MediaListing': ('components.media_listing',),
    'MediaExampleGen': ('components.media_example_gen', 'media.readers',
                        *(m.tf_check_module for m in _MODALITIES if m.tf_check_module)),
    'TaskSchemaGen': ('components.task_schema_gen', 'schemas'),
    'StatisticsGen': (),
    'TaskValidator': ('components.task_validator',),
    'Transform': ('components.transform', 'model_code.label_kinds:transform',
                  *(f'{m.preprocessing_module}:moments,statistics' for m in _MODALITIES if m.statistics)),
    'ServedDataLookup': ('components.served_data_lookup',),
    'DataDrift': ('components.data_drift',),
    'CoTrainer': ('components.co_trainer',
                  'model_code.label_kinds:transform,loss,class_weights,scores,best,eval_label,quality',
                  *(m.preprocessing_module for m in _MODALITIES), 'model_code.sent_media',
                  *(m.sent_media_module for m in _MODALITIES if m.sent_media_module),
                  *(m.tokenizer.rpartition('.')[0] for m in _MODALITIES)),
    'BaselineLookup': ('components.baseline_lookup',),
    'ServingBaseline': ('components.serving_baseline',),
    'TaskEvaluator': ('components.task_evaluator',
                      'model_code.label_kinds:evaluation_metrics,metrics_of_outcomes,details,questions,transform,'
                      'eval_label'),
    'ServingCheck': ('components.serving_check', 'model_code.label_kinds:check_answer'),
    'BlessingGate': ('components.blessing_gate',),
    'AtomicPusher': ('components.atomic_pusher',),
    'Report': ('components.report',),
    'Verdict': ('components.verdict',),
}

# Component -> the distributions that decide what it writes. tfx counts where a stock executor does the work; elsewhere
# it only passes arguments. Left out are Python itself and libraries that pass data on unchanged (apache-beam, protobuf,
# the message classes of tensorflow-metadata and tensorflow-serving-api).
COMPONENT_LIBRARIES = {
    # It reads Parquet and Arrow.
    'MediaListing': ('pyarrow',),
    # They decode and resample; TensorFlow decides which images training can decode.
    'MediaExampleGen': ('av', 'numpy', 'pillow', 'pillow-heif', 'pyarrow', 'soundfile', 'soxr', 'tensorflow'),
    'TaskSchemaGen': (),
    # A stock component.
    'StatisticsGen': ('tensorflow-data-validation', 'tfx'),
    'TaskValidator': ('tensorflow-data-validation', 'tfx'),
    # They decide the vocabularies' order, the spectrograms' moments and the graph that is written.
    'Transform': ('tensorflow', 'tensorflow-io', 'tensorflow-transform'),
    'ServedDataLookup': (),
    'DataDrift': ('tensorflow-data-validation',),
    # Everything that computes weights, and the filters in the exported graph. tensorflow-transform only reads the
    # vocabulary's file here.
    'CoTrainer': ('numpy', 'soxr', 'tensorflow', 'tensorflow-io', 'tf_keras'),
    'BaselineLookup': (),
    'ServingBaseline': (),
    'TaskEvaluator': ('numpy', 'scikit-learn', 'tensorflow', 'tensorflow-model-analysis', 'tfx'),
    # The embedded server is made of these, and a model passes if that server answers.
    'ServingCheck': ('aiohttp', 'numpy', 'tensorflow'),
    # It reads TFMA's results with TFMA, and compares two models in numpy.
    'BlessingGate': ('numpy', 'tensorflow-model-analysis'),
    'AtomicPusher': ('tfx',),
    'Report': ('jinja2', 'numpy', 'pillow'),
    'Verdict': (),
}


def _files(name: str, root: pathlib.Path) -> list[pathlib.Path]:
    """The source files of a dotted package (its whole folder) or module; [] if the project has no such module."""
    path = root.joinpath(*name.split('.'))
    if path.is_dir():
        return sorted(p for p in path.rglob('*') if p.suffix in SOURCES and '__pycache__' not in p.parts)
    path = path.with_suffix('.py')
    return [path] if path.is_file() else []


def _imported_file(names: tuple[str, ...], root: pathlib.Path) -> pathlib.Path | None:
    """The file of the first name that is a module of the project; None if none is. Of a package, its __init__.py.

    The packages that contain a module do not count: their __init__.py does not change what the module does.
    """
    for name in names:
        parts = name.split('.')
        path = root.joinpath(*parts)
        path = path / '__init__.py' if path.is_dir() else path.with_suffix('.py')
        if parts[0] in PACKAGES and path.is_file():
            return path
    return None


@functools.cache
def _parsed(path: str, source: bytes, names: str) -> tuple[str, frozenset[tuple[str, ...]]] | None:
    """A hash of a module's syntax, and what it imports (see `_imports`).

    path: relative to the project's root. names: only the definitions of these names count (see `_part`); separated by
    commas, '' for all. None if the module defines none of them.
    """
    tree = ast.parse(source, filename=path)
    if names:
        tree.body = _part(tree.body, set(names.split(',')))
        if not tree.body:
            return None
    package = '.'.join(pathlib.PurePath(path).parent.parts)
    return hashlib.sha256(syntax(tree).encode()).hexdigest(), frozenset(_imports(tree, package))


def _part(body: list[ast.stmt], names: set[str]) -> list[ast.stmt]:
    """The statements of a module's body that define the names, and those that define what these statements use."""
    body = [single for statement in body for single in _single_imports(statement)]
    while True:
        part = [statement for statement in body if _defined(statement) & names]
        used = set().union(*map(_used, part))
        if used <= names:
            return part
        names = names | used


def _single_imports(statement: ast.stmt) -> list[ast.stmt]:
    """An import of several names as one import per name; any other statement as it is."""
    if isinstance(statement, ast.Import):
        return [ast.Import([alias]) for alias in statement.names]
    if isinstance(statement, ast.ImportFrom):
        return [ast.ImportFrom(statement.module, [alias], statement.level) for alias in statement.names]
    return [statement]


def _defined(statement: ast.stmt) -> set[str]:
    """The names to which a statement gives a value, including imports."""
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        return {alias.asname or alias.name.split('.')[0] for alias in statement.names}
    if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
        return {statement.name}
    return {node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}


def _used(statement: ast.stmt) -> set[str]:
    """The names that a statement uses, without a function's own parameters."""
    names = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
    if isinstance(statement, ast.FunctionDef):
        arguments = statement.args
        names -= {a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}
    return names


def syntax(node) -> str:
    """A syntax tree as text, without comments, docstrings, `pass` and line numbers: the same for the same meaning.

    Every statement that is a bare constant counts as a docstring, also those under the fields of a dataclass. All other
    strings (messages, names, formats) are meaning.

    The text is the same in Python 3.10 to 3.13. That of ast.dump is not, because newer versions add fields. These are
    empty in code that older versions can read, so empty fields are left out.
    """
    if isinstance(node, list):
        return '[' + ', '.join(map(syntax, node)) + ']'
    if not isinstance(node, ast.AST):
        return ascii(node)  # not repr, which depends on the Unicode tables of the Python version
    fields = []
    for name, value in ast.iter_fields(node):
        if isinstance(value, list):
            value = [item for item in value if not _adds_nothing(item, node)]
        if value not in (None, []) and name != 'kind':  # 'kind' tells u'a' from 'a'
            fields.append(f'{name}={syntax(value)}')
    return f'{type(node).__name__}({", ".join(fields)})'


def _adds_nothing(item, parent: ast.AST) -> bool:
    """Whether an item of a list in a syntax tree can be left out without changing the meaning."""
    if isinstance(parent, ast.JoinedStr):  # Python 3.12.1 ends some format specifications with an empty string
        return isinstance(item, ast.Constant) and item.value == ''
    return isinstance(item, ast.Pass) or isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant)


def _imports(tree: ast.Module, package: str) -> Iterator[tuple[str, ...]]:
    """Every import in a module of `package`, as dotted names; the first of them that is a module is what is imported.

    `import a.b` gives ('a.b',), `from a import b` gives ('a.b', 'a'). A module that is started, as in
    isolated.python('-m', 'a.b'), counts as imported.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name,) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = importlib.util.resolve_name('.' * node.level + (node.module or ''), package)
            yield from ((f'{module}.{alias.name}', module) for alias in node.names)
        elif isinstance(node, ast.Call):
            values = [item.value if isinstance(item, ast.Constant) else None for item in node.args]
            yield from ((module,) for option, module in itertools.pairwise(values)
                        if option == '-m' and isinstance(module, str))


def source_files(*names: str, root: pathlib.Path = PROJECT) -> list[pathlib.Path]:
    """The files of the named packages, and of every module of the project that they import, directly or not; sorted.

    names: as in COMPONENT_CODE. Raises ValueError for a name that the project does not have.
    """
    return sorted({path for path, _ in _contents(names, root)})


def _contents(names: tuple[str, ...], root: pathlib.Path) -> dict[tuple[pathlib.Path, str], str]:
    """Of every file of `source_files`: (file, the names in it that count or '' for all) -> a hash of its content."""
    hashes, waiting = {}, []
    for name in names:
        package, _, definitions = name.partition(':')
        files = _files(package, root)
        if not files:
            raise ValueError(f'There is no package or module {package} under {root}.')
        for definition in filter(None, definitions.split(',')):
            if not any(_parsed(path.relative_to(root).as_posix(), path.read_bytes(), definition) for path in files):
                raise ValueError(f'No module of {package} defines {definition}.')
        waiting.extend((path, definitions) for path in files)
    while waiting:
        path, definitions = waiting.pop()
        if (path, definitions) in hashes:
            continue
        content = path.read_bytes()
        if path.suffix != '.py':
            hashes[path, definitions] = hashlib.sha256(content).hexdigest()
            continue
        parsed = _parsed(path.relative_to(root).as_posix(), content, definitions)
        if parsed:
            hashes[path, definitions], imports = parsed
            files = filter(None, (_imported_file(alternatives, root) for alternatives in imports))
            waiting.extend((file, '') for file in files)
    return hashes


def code_version(*names: str, root: pathlib.Path = PROJECT) -> str:
    """A hash of the paths and the meaning of `source_files(*names)`."""
    contents = _contents(names, root)
    return _hash([(path.relative_to(root).as_posix(), contents[path, part]) for path, part in sorted(contents)])


def library_version(distribution: str) -> str | None:
    """The installed version of a distribution; None if it is not installed. The library is not imported."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


@functools.cache
def component_version(component: str, root: pathlib.Path = PROJECT) -> str:
    """The `code_version` of a component: a hash of its code and its libraries, as the tables above name them.

    Computed once per process, because what is edited later is not what the process runs.
    """
    return _hash([code_version(*COMPONENT_CODE[component], root=root),
                  {name: library_version(name) for name in COMPONENT_LIBRARIES[component]}])


def run_key(config, media_fingerprints: dict[str, str], force: str = '') -> str:
    """A hash of everything that decides a run's result: code, libraries, config, media.

    Not of where results are put, nor of what clusters need, nor of whether the file or `--set` gave the config its
    values.

    media_fingerprints: task name -> listing.media_fingerprint(task.source). force: the reason of --force.
    """
    values = dataclasses.asdict(config)
    del values['root'], values['overrides'], values['cluster']
    return _key(values | ({'force': force} if force else {}), COMPONENT_CODE, media_fingerprints)


def model_key(config, media_fingerprints: dict[str, str]) -> str:
    """A hash of everything that decides the trained model. It leaves out what only judges it: checks, gates, probes.

    media_fingerprints: as for `run_key`.
    """
    values = dataclasses.asdict(config)
    for name in ('root', 'overrides', 'cluster', 'beam', 'intended_use', 'limits'):
        del values[name]
    del values['mixture']['dropped_tasks']
    for task in values['mixture']['tasks']:
        del task['checks'], task['gate'], task['probe']
    return _key(values, ('MediaExampleGen', 'TaskSchemaGen', 'Transform', 'CoTrainer'), media_fingerprints)


def _key(config: dict, components: Iterable[str], media_fingerprints: dict[str, str]) -> str:
    return _hash({'config': config, 'code': {name: component_version(name) for name in components},
                  'media': media_fingerprints})


def _hash(value) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]

"""An edit changes the version of exactly those components that depend on it; comments and docstrings change none."""

import ast
import dataclasses
import shutil
import sys

import pytest

from model_code import isolated
from model_code.label_kinds import LABEL_KINDS
from model_code.modalities import MODALITIES
from pipeline import fingerprints
from pipeline.beam.settings import Beam
from pipeline.config import load_config
from tests import testing

ALL = frozenset(fingerprints.COMPONENT_CODE)

NO_READERS_OF_TASKS = {'StatisticsGen', 'ServedDataLookup', 'BaselineLookup', 'ServingBaseline', 'AtomicPusher',
                       'Verdict'}

# Edits of the project's own code (file, old, new), and the components that each re-runs. docs/architecture.md has the
# same table.
EDITS = [
    ('media/readers/video_pictures.py', 'JPEG_QUALITY = 90', 'JPEG_QUALITY = 91', {'MediaExampleGen'}),
    ('media/listing/folders.py', "count('/') >= 2", "count('/') > 1", {'MediaListing', 'MediaExampleGen'}),
    ('media/tables.py', 'BATCH_ROWS = 1_000', 'BATCH_ROWS = 2_000', {'MediaListing', 'MediaExampleGen'}),
    ('media/tf_check.py', '_BATCH_IMAGES, _BATCH_BYTES = 64', '_BATCH_IMAGES, _BATCH_BYTES = 65', {'MediaExampleGen'}),
    ('media/findings.py', 'NAMED = 10', 'NAMED = 11',
     {'MediaListing', 'MediaExampleGen', 'TaskValidator', 'DataDrift', 'Report'}),
    ('media/verdict.py', 'are missing', 'were missing', {'MediaListing', 'TaskValidator', 'Report'}),
    ('schemas/image.pbtxt', 'min_count: 1', 'min_count: 2', {'TaskSchemaGen'}),
    ('components/data_drift/comparison.py', '_LEAST_EXAMPLES = 0.5', '_LEAST_EXAMPLES = 0.4', {'DataDrift'}),
    ('components/data_drift/served_data.py', "'data_baseline_version', ''", "'data_baseline_version', '0'",
     {'ServedDataLookup', 'DataDrift'}),
    ('components/data_statistics.py', "'drift.json'", "'drifts.json'", {'DataDrift', 'AtomicPusher', 'Report'}),
    ('components/task_validator/executor.py', 'it is missing from every example', 'every example lacks it',
     {'TaskValidator'}),
    ('components/preprocessing_fns.py', 'default_value=-1', 'default_value=-2', {'Transform'}),
    ('components/classes.py', "'classes.json'", "'labels.json'",
     {'MediaExampleGen', 'TaskSchemaGen', 'ServedDataLookup', 'DataDrift', 'CoTrainer', 'TaskEvaluator'}),
    ('components/run_parameters.py', "'steps_{task}'", "'steps_of_{task}'", {'CoTrainer', 'BlessingGate'}),
    ('components/schema_labels.py', "'label'", "'labels'", {'TaskSchemaGen', 'TaskValidator', 'Transform'}),
    ('model_code/preprocessing/audio.py', 'spec.frames // 4', 'spec.frames // 5', {'CoTrainer'}),
    ('model_code/preprocessing/audio.py', 'TOP_DB = 80.0', 'TOP_DB = 70.0', {'Transform', 'CoTrainer'}),
    ('model_code/sent_media/audio.py', '_MAX_CHANNELS = 8', '_MAX_CHANNELS = 7', {'CoTrainer'}),
    ('model_code/resampling.py', '_REACH = 140', '_REACH = 141', {'MediaExampleGen', 'CoTrainer'}),
    ('model_code/preprocessing/video.py', '0.299', '0.298', {'CoTrainer'}),
    ('model_code/preprocessing/mixup.py', '1e-30', '1e-20', {'CoTrainer'}),
    ('model_code/tokenizers.py', "'zeros'", "'ones'", {'CoTrainer'}),
    ('model_code/encoder.py', 'LAYER_NORM_EPSILON = 1e-6', 'LAYER_NORM_EPSILON = 1e-5', {'CoTrainer'}),
    ('model_code/label_kinds/multi.py', 'tensors.multi_hot(places, classes)', 'tensors.multi_hot(places, classes) * 2',
     {'Transform', 'CoTrainer', 'TaskEvaluator'}),
    ('model_code/label_kinds/groups.py', '/ len(groups)', '/ 2', {'CoTrainer'}),
    ('model_code/label_kinds/single.py', "'top_5_accuracy'", "'top_five_accuracy'", {'TaskEvaluator'}),
    ('model_code/label_kinds/single.py', 'sum_to_one=True', 'sum_to_one=False', {'ServingCheck'}),
    ('model_code/label_kinds/answers.py', '> 1e-3', '> 1e-4', {'ServingCheck'}),
    ('model_code/label_kinds/tensors.py', 'label_smoothing / ', 'label_smoothing * ',
     {'Transform', 'CoTrainer', 'TaskEvaluator', 'ServingCheck'}),
    ('model_code/label_kinds/__init__.py', 'least_classes=1', 'least_classes=2',
     ALL - NO_READERS_OF_TASKS),
    ('model_code/metrics.py', 'EPSILON = 1e-7', 'EPSILON = 1e-6', {'CoTrainer', 'TaskEvaluator'}),
    ('model_code/outcome_metrics.py', 'BINS = 15', 'BINS = 10', {'TaskEvaluator'}),
    ('model_code/evaluation_details.py', 'NAMED = 20', 'NAMED = 10', {'TaskEvaluator'}),
    ('model_code/probe.py', 'seeds=1', 'seeds=2',
     {'MediaListing', 'TaskValidator', 'DataDrift', 'CoTrainer', 'TaskEvaluator', 'ServingCheck', 'BlessingGate',
      'Report'}),
    ('model_code/probes.py', '_HELD_OUT = 5', '_HELD_OUT = 6', {'TaskEvaluator'}),
    ('components/task_evaluator/metrics.py', 'if count else', 'if count > 1 else', {'TaskEvaluator'}),
    ('components/blessing_gate/judgement.py', 'TOLERANCE = 1e-9', 'TOLERANCE = 1e-8', {'BlessingGate'}),
    ('model_code/non_inferiority.py', 'ALPHA = 0.05', 'ALPHA = 0.04', {'BlessingGate'}),
    ('serving/served.py', "'model_digest'", "'digest'",
     {'ServedDataLookup', 'DataDrift', 'BaselineLookup', 'ServingBaseline', 'AtomicPusher'}),
    ('serving/rest.py', "'Access-Control-Allow-Origin': '*'", "'Access-Control-Allow-Origin': 'x'", {'ServingCheck'}),
    ('serving/version_directories.py', '2 ** 63', '2 ** 62',
     {'ServedDataLookup', 'DataDrift', 'BaselineLookup', 'ServingBaseline', 'ServingCheck', 'AtomicPusher'}),
    ('components/report/head.html', '<html lang="en">', '<html lang="de">', {'Report'}),
    ('components/report/page.js', 'FRAME_MS = 250', 'FRAME_MS = 300', {'Report'}),
    ('components/artifacts.py', 'RejectedMedia', 'Rejected',
     {'MediaExampleGen', 'TaskValidator', 'DataDrift', 'Report'}),
    ('model_code/tasks.py', "'Task {", "'The task {",
     {'MediaListing', 'TaskValidator', 'DataDrift', 'CoTrainer', 'ServingCheck', 'BlessingGate', 'Report'}),
    ('model_code/data.py', "'Task {", "'The task {", ALL - NO_READERS_OF_TASKS),
    ('model_code/modalities.py', "'.jfif'", "'.jff'", ALL - NO_READERS_OF_TASKS),
    ('model_code/errors.py', 'import difflib', 'import difflib as d',
     ALL - {'StatisticsGen'}),
    ('media/checks.py', '// 4', '// 2', set()),
    ('media/checked_listing.py', "' '.join(reasons)", "'; '.join(reasons)", {'MediaListing'}),
    ('serving/client.py', 'import os', 'import os as o', set()),
    ('pipeline/summary.py', 'import shutil', 'import shutil as s', set()),
]

# Libraries that components import but whose versions do not change what they write: base classes and arguments of TFX
# executors, message classes, carriers of data, signatures, and (READS_WITH) what only reads a file of labels, of
# events or of arrays.
CARRIERS = {'apache-beam', 'protobuf', 'tensorflow-metadata', 'tensorflow-serving-api', 'markupsafe', 'grpcio', 'tfx',
            'tfx-bsl', 'humanize', 'grpcio-health-checking', 'cryptography'}
READS_WITH = {('CoTrainer', 'tensorflow-transform'), ('CoTrainer', 'safetensors'), ('Report', 'tensorflow'),
              ('BlessingGate', 'tensorflow'), ('MediaExampleGen', 'pyyaml'),
              ('MediaListing', 'numpy'), ('MediaListing', 'pillow'), ('MediaListing', 'pyyaml'),
              # The server reads the headers of media, to bound what it decodes. The check's own are small.
              *(('ServingCheck', name) for name in ('av', 'pillow', 'pillow-heif', 'soundfile'))}
# They pass bytes to file systems and back.
FILE_SYSTEMS = {'model_code/remote_files.py', 'model_code/object_stores.py'}
DISTRIBUTIONS = {'PIL': 'pillow', 'yaml': 'pyyaml', 'sklearn': 'scikit-learn', 'google': 'protobuf', 'grpc': 'grpcio',
                 'grpc_health': 'grpcio-health-checking', 'tensorflow_serving': 'tensorflow-serving-api'}


def _versions(root=isolated.PROJECT):
    fingerprints.component_version.cache_clear()
    return {component: fingerprints.component_version(component, root) for component in ALL}


def _changed(before, after):
    return {component for component in ALL if before[component] != after[component]}


@pytest.fixture(autouse=True)
def nothing_cached():
    """No test sees versions that another test has computed from edited sources."""
    fingerprints.component_version.cache_clear()
    yield
    fingerprints.component_version.cache_clear()


@pytest.fixture(scope='module')
def installed():
    """The versions of the components with unedited sources."""
    return _versions()


@pytest.fixture(scope='module')
def tree(tmp_path_factory):
    """A copy of the project's sources. A test that changes a file must restore it."""
    folder = tmp_path_factory.mktemp('tree')
    for name in isolated.PACKAGES:
        shutil.copytree(isolated.PROJECT / name, folder / name, ignore=shutil.ignore_patterns('__pycache__'))
    return folder


@pytest.mark.parametrize('file, old, new, components', EDITS, ids=[edit[0] for edit in EDITS])
def test_an_edit_re_runs_what_depends_on_it(installed, tree, file, old, new, components):
    text = (tree / file).read_text()
    assert old in text, f'{file} has no {old} now: edit another line of it.'
    (tree / file).write_text(text.replace(old, new))
    try:
        assert _changed(installed, _versions(tree)) == components
    finally:
        (tree / file).write_text(text)


def test_a_new_reader_re_runs_the_ingest(installed, tree):
    reader = tree / 'media/readers/point_cloud.py'
    reader.write_text('def read(*arguments):\n    return {}\n')
    try:
        assert _changed(installed, _versions(tree)) == {'MediaExampleGen'}
    finally:
        reader.unlink()


def test_words_and_layout_change_no_version(installed, tree, tmp_path):
    shutil.copytree(tree, tmp_path / 'tree')
    for path in (tmp_path / 'tree').rglob('*.py'):
        path.write_text(_reworded(path.read_text()))
    assert _changed(installed, _versions(tmp_path / 'tree')) == set()


def _reworded(source: str) -> str:
    """The module with changed docstrings, and with an empty line, a comment and a docstring before each statement."""
    lines, before = source.splitlines(), {}
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.stmt):
            continue
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            text, quotes, rest = lines[node.end_lineno - 1].rpartition('"""')
            lines[node.end_lineno - 1] = f'{text} Changed.{quotes}{rest}'
        first = min([node.lineno, *(d.lineno for d in getattr(node, 'decorator_list', ()))])
        indent = lines[first - 1][:node.col_offset]
        # These lines cannot go after a semicolon or a colon, nor between `if` and `elif`.
        if not indent.strip() and not lines[first - 1].strip().startswith('elif '):
            before[first] = indent
    for first, indent in sorted(before.items(), reverse=True):
        lines[first - 1:first - 1] = ['', f'{indent}# A comment.', f'{indent}"""A docstring of whatever comes next."""']
    return '\n'.join(lines)


@pytest.mark.parametrize('source, other', [
    ('def f():\n    """Does."""\n', 'def f():\n    pass\n'),
    ('class A:\n    x: int = 1\n    """Metres."""\n    y = 2\n', 'class A:\n\n    x: int = 1  # metres\n    y = 2'),
    ('x = ("a"\n     "b")', "x = 'ab'"),
    ("x = u'a'", "x = 'a'"),
])
def test_equal_meaning(source, other):
    assert fingerprints.syntax(ast.parse(source)) == fingerprints.syntax(ast.parse(other))


@pytest.mark.parametrize('source, other', [
    ("raise ValueError('no file')", "raise ValueError('no such file')"),
    ('x = 1', 'x = 1.0'),
    ('x = 1', 'x = True'),
    ("x = ''", 'x = None'),
    ("x = ''", 'x = 0'),
    ("x = 'a'", "x = b'a'"),
    ("x = 'a'", 'x = a'),
    ('x = """Words that are used."""', 'x = """Other words that are used."""'),
    ("f'{x:>3}'.strip()", "f'{x:>4}'.strip()"),
    ('x: int = 1', 'x: float = 1'),
    ('f(*a)', 'f(a)'),
    ('{**a}', '{None: a}'),
    ('def f(a, b=1): return a', 'def f(a, *, b=1): return a'),
    ('if a:\n    b()\nc()', 'if a:\n    b()\n    c()'),
    ('a()\nb()', 'b()\na()'),
])
def test_other_meaning(source, other):
    assert fingerprints.syntax(ast.parse(source)) != fingerprints.syntax(ast.parse(other))


def test_the_syntax_is_the_same_in_every_python():
    """The expected text is from Python 3.10. Python 3.12 has new fields and ends formats with an empty string."""
    source = '@d\nclass A:\n    def f(self, x: int = 1):\n        return f"{x:<{self.w}} \u00e9"\n'
    assert fingerprints.syntax(ast.parse(source)) == (
        "Module(body=[ClassDef(name='A', body=[FunctionDef(name='f', args=arguments(args=[arg(arg='self'), "
        "arg(arg='x', annotation=Name(id='int', ctx=Load()))], defaults=[Constant(value=1)]), "
        "body=[Return(value=JoinedStr(values=[FormattedValue(value=Name(id='x', ctx=Load()), conversion=-1, "
        "format_spec=JoinedStr(values=[Constant(value='<'), FormattedValue(value=Attribute(value=Name(id='self', "
        "ctx=Load()), attr='w', ctx=Load()), conversion=-1)])), Constant(value=' \\xe9')]))])], "
        "decorator_list=[Name(id='d', ctx=Load())])])")


@pytest.fixture
def project(tmp_path):
    """components/a imports model_code.shared within a function, and a library that is installed in the same folder."""
    for name, text in {
            'components/__init__.py': '', 'components/a/__init__.py': '', 'components/b/__init__.py': '',
            'components/a/component.py': 'import os\nimport numpy\n\ndef f():\n    from model_code import shared\n',
            'components/b/component.py': 'X = 1\n', 'components/b/page.html': '<p>',
            'model_code/__init__.py': '', 'model_code/shared.py': 'import model_code.deep\nfrom . import near\n',
            'model_code/deep.py': "isolated.python('-m', 'model_code.started')\n", 'model_code/near.py': '',
            'model_code/started.py': '', 'model_code/other.py': 'Z = 1\n', 'numpy/__init__.py': ''}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_a_module_imported_or_started_through_another_counts(project):
    files = [str(p.relative_to(project)) for p in fingerprints.source_files('components.a', root=project)]
    assert files == ['components/a/__init__.py', 'components/a/component.py', 'model_code/deep.py',
                     'model_code/near.py', 'model_code/shared.py', 'model_code/started.py']


@pytest.mark.parametrize('changed, which', [
    ('model_code/deep.py', (True, False)),
    ('components/b/page.html', (False, True)),
    ('model_code/other.py', (False, False)),
])
def test_only_what_depends_on_a_file_changes(project, changed, which):
    def versions():
        return [fingerprints.code_version(f'components.{name}', root=project) for name in 'ab']
    a, b = versions()
    (project / changed).write_text('W = 2\n')
    new_a, new_b = versions()
    assert (new_a != a, new_b != b) == which


KIND = '''import model_code.near as used, model_code.other
from model_code import deep, shared

FACTOR = 2

def loss(x, deep):
    return _scaled(x) + used.y + deep

def _scaled(x):
    return FACTOR * x

def check(x):
    return shared.z(x)
'''


@pytest.mark.parametrize('old, new, changed', [
    ('+ used.y', '+ 2 * used.y', {'loss'}),
    ('FACTOR * x', 'FACTOR - x', {'loss'}),
    ('FACTOR = 2', 'FACTOR = 3', {'loss'}),
    ('shared.z(x)', 'shared.z(2 * x)', {'check'}),
    ('model_code.near as used', 'model_code.started as used', {'loss'}),
    ('FACTOR = 2', 'FACTOR = 2\nUNUSED = 1', set()),
])
def test_of_a_module_only_the_named_definitions_and_what_they_use_count(project, old, new, changed):
    def versions():
        return {name: fingerprints.code_version(f'model_code.kind:{name}', root=project) for name in ('loss', 'check')}
    (project / 'model_code/kind.py').write_text(KIND)
    before = versions()
    (project / 'model_code/kind.py').write_text(KIND.replace(old, new))
    assert {name for name, version in versions().items() if version != before[name]} == changed


def test_a_named_definition_counts_with_what_it_imports(project):
    (project / 'model_code/kind.py').write_text(KIND)
    files = {name: [path.name for path in fingerprints.source_files(f'model_code.kind:{name}', root=project)]
             for name in ('loss', 'check')}
    assert files == {'loss': ['kind.py', 'near.py'], 'check': ['deep.py', 'kind.py', 'near.py', 'shared.py',
                                                               'started.py']}
    with pytest.raises(ValueError, match='No module of model_code.kind defines lost'):
        fingerprints.source_files('model_code.kind:loss,lost', root=project)


def test_a_missing_package_is_an_error(project):
    with pytest.raises(ValueError, match='components.none'):
        fingerprints.source_files('components.none', root=project)


def _files(component) -> set[str]:
    return {path.relative_to(isolated.PROJECT).as_posix()
            for path in fingerprints.source_files(*fingerprints.COMPONENT_CODE[component])}


def test_every_component_has_a_version_of_its_own(installed):
    assert fingerprints.COMPONENT_CODE.keys() == fingerprints.COMPONENT_LIBRARIES.keys()
    assert len(set(installed.values())) == len(ALL)


def test_what_is_imported_by_a_name_made_at_run_time_counts():
    made = {file for component in ALL for file in _files(component) if file.endswith('.py')
            and 'import_module(' in (isolated.PROJECT / file).read_text()}
    assert made == {'media/sandbox/protocol.py', 'media/readers/__init__.py', 'model_code/modalities.py',
                    'model_code/label_kinds/__init__.py', 'components/task_evaluator/metrics.py',
                    'serving/logs.py'}, (  # this one imports a module of protobuf
        'Parsing cannot tell what these import: COMPONENT_CODE must name it, and this test check it.')
    read = {_file(m.reader_module) for m in MODALITIES.values()}
    read |= {_file(m.tf_check_module) for m in MODALITIES.values() if m.tf_check_module}
    assert read | {'media/sandbox/child.py', 'model_code/modalities.py'} <= _files('MediaExampleGen')
    assert {_file(m.preprocessing_module) for m in MODALITIES.values()} <= _files('CoTrainer')
    assert {_file(m.sent_media_module) for m in MODALITIES.values() if m.sent_media_module} <= _files('CoTrainer')
    assert {_file(m.tokenizer.rpartition('.')[0]) for m in MODALITIES.values()} <= _files('CoTrainer')
    assert {_file(m.preprocessing_module) for m in MODALITIES.values() if m.statistics} <= _files('Transform')
    kinds = {_file(kind.module) for kind in LABEL_KINDS.values()}
    for component in ('Transform', 'CoTrainer', 'TaskEvaluator', 'ServingCheck'):
        assert kinds <= _files(component)


def _file(module: str) -> str:
    return module.replace('.', '/') + '.py'


def test_a_package_that_does_not_count_does_nothing_when_it_is_imported():
    counted = set().union(*map(_files, ALL))
    for package in ('components', 'media', 'model_code', 'serving'):
        for path in (isolated.PROJECT / package).rglob('__init__.py'):
            if path.relative_to(isolated.PROJECT).as_posix() not in counted:
                body = ast.parse(path.read_bytes()).body
                assert all(isinstance(node, (ast.Expr, ast.FunctionDef)) for node in body), path


def test_docstrings_are_not_read_by_what_counts_without_them():
    files = {file for component in ALL for file in _files(component) if file.endswith('.py')}
    assert [file for file in files if '__doc__' in (isolated.PROJECT / file).read_text()] == []


@pytest.mark.parametrize('library, components', [
    ('av', {'MediaExampleGen'}),
    ('tensorflow-data-validation', {'StatisticsGen', 'TaskValidator', 'DataDrift'}),
    ('tensorflow-transform', {'Transform'}),
    ('tensorflow-io', {'Transform', 'CoTrainer'}),
    ('tf_keras', {'CoTrainer'}),
    ('tensorflow', {'MediaExampleGen', 'Transform', 'CoTrainer', 'TaskEvaluator', 'ServingCheck'}),
    ('tensorflow-model-analysis', {'TaskEvaluator', 'BlessingGate'}),
    ('tfx', {'StatisticsGen', 'TaskValidator', 'TaskEvaluator', 'AtomicPusher'}),
    ('scikit-learn', {'TaskEvaluator'}),
    ('jinja2', {'Report'}),
    ('pyarrow', {'MediaListing', 'MediaExampleGen'}),
    ('pytest', set()),
])
def test_another_version_of_a_library_re_runs_what_it_decides(monkeypatch, installed, library, components):
    _replace_version(monkeypatch, library)
    assert _changed(installed, _versions()) == components


def _replace_version(monkeypatch, library: str):
    real = fingerprints.library_version
    monkeypatch.setattr(fingerprints, 'library_version', lambda name: '0' if name == library else real(name))
    fingerprints.component_version.cache_clear()


def test_every_library_that_a_component_imports_is_in_its_key_or_decides_nothing():
    ours = set(isolated.PACKAGES)
    for component in ALL:
        imported = set()
        for file in _files(component):
            if file.endswith('.py') and file not in FILE_SYSTEMS:
                imported |= _third_party(ast.parse((isolated.PROJECT / file).read_bytes()), ours)
        named = {_normal(name) for name in fingerprints.COMPONENT_LIBRARIES[component]}
        reads = {name for owner, name in READS_WITH if owner == component}
        assert imported <= named | CARRIERS | reads, component


def _third_party(tree, ours) -> set[str]:
    """The distributions that a module imports."""
    roots = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    roots |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    names = {root.split('.')[0] for root in roots} - ours - set(sys.stdlib_module_names)
    return {_normal(DISTRIBUTIONS.get(name, name)) for name in names}


def _normal(name: str) -> str:
    return name.lower().replace('_', '-')


def test_the_libraries_of_the_keys_are_installed():
    names = {name for libraries in fingerprints.COMPONENT_LIBRARIES.values() for name in libraries}
    assert [name for name in names if fingerprints.library_version(name) is None] == []
    assert fingerprints.library_version('no-such-distribution') is None


def test_run_key_follows_config_and_media_but_not_the_root():
    config, media = load_config('demo'), {'digits': 'a', 'sounds': 'b', 'motion': 'c'}
    key = fingerprints.run_key(config, media)
    assert fingerprints.run_key(dataclasses.replace(config, root='/elsewhere'), media) == key
    assert fingerprints.run_key(config, {**media, 'motion': 'd'}) != key
    assert len({key, *(fingerprints.run_key(config, media, force) for force in ('', 'one reason', 'another'))}) == 3
    training = dataclasses.replace(config.training, learning_rate=0.5)
    assert fingerprints.run_key(dataclasses.replace(config, training=training), media) != key


def test_model_key_follows_what_decides_the_model_and_not_what_judges_it(monkeypatch):
    config, media = load_config('demo'), {'digits': 'a', 'sounds': 'b', 'motion': 'c'}
    key = fingerprints.model_key(config, media)

    def with_task(**fields):
        tasks = tuple(testing.changed(t, **fields) for t in config.mixture.tasks)
        return dataclasses.replace(config, mixture=dataclasses.replace(config.mixture, tasks=tasks))
    judged = with_task(floor=0.1, max_drop=0.5, max_rejected_share=0.5, dropped_classes=('0',))
    judged = dataclasses.replace(judged, mixture=dataclasses.replace(judged.mixture, dropped_tasks=('old',)))
    assert fingerprints.model_key(judged, media) == key
    assert fingerprints.model_key(dataclasses.replace(config, root='/x', beam=Beam('multi_process')), media) == key
    assert fingerprints.model_key(with_task(label_smoothing=0.5), media) != key
    assert fingerprints.model_key(config, {**media, 'motion': 'd'}) != key
    _replace_version(monkeypatch, 'jinja2')
    assert fingerprints.model_key(config, media) == key, 'only the report depends on jinja2'
    _replace_version(monkeypatch, 'tf_keras')
    assert fingerprints.model_key(config, media) != key


def test_run_key_follows_libraries(monkeypatch):
    config = load_config('demo')
    key = fingerprints.run_key(config, {})
    _replace_version(monkeypatch, 'soxr')
    assert fingerprints.run_key(config, {}) != key

"""The table of modalities: its rows are complete, and no other code knows a modality by its name."""

import ast
import importlib
import inspect
import pathlib

import pytest

from model_code.modalities import MODALITIES, Input

PROJECT = pathlib.Path(__file__).resolve().parents[2]
# Configs, and the data that are made for one.
CONFIGS = ('pipeline/configs/', 'pipeline/demo_data.py')
# The formats of published data sets hold certain modalities. A new modality is in none of them.
FORMATS = ('model_code/data.py', 'MODALITIES_OF')


def _own_files() -> set[str]:
    """The modules of the modalities themselves."""
    modules = {'model_code.modalities'}
    for row in MODALITIES.values():
        modules |= {row.reader_module, row.preprocessing_module, row.sent_media_module, row.tf_check_module,
                    row.tokenizer.rpartition('.')[0]}
    return {module.replace('.', '/') + '.py' for module in modules if module}


# Where 'image' is the image of a container.
CONTAINERS = ('pipeline/beam/settings.py', 'pipeline/cli.py', 'pipeline/kubeflow/pods.py',
              'pipeline/kubeflow/resources.py')
# Where 'text' is a kind of value, a usual name of a column, or a key of a page.
VALUES = ('components/report/training.py', 'components/report/cost.py', 'media/entries.py', 'media/listing/columnar.py',
          'media/tables.py', 'media/sandbox/protocol.py', 'model_code/outcomes.py', 'pipeline/init/tables.py')


def _names(tree: ast.Module) -> list[tuple[int, str]]:
    """(line, name) of each string that is a modality's name."""
    return [(node.lineno, node.value) for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in MODALITIES]


def test_no_other_file_has_a_modality_by_its_name():
    names, read = [], set()
    for package in ('components', 'media', 'model_code', 'pipeline', 'polyvit', 'serving', 'schemas'):
        for path in sorted((PROJECT / package).rglob('*.py')):
            file = path.relative_to(PROJECT).as_posix()
            if file in _own_files() or file.startswith(CONFIGS):
                continue
            tree = ast.parse(path.read_bytes())
            if file == FORMATS[0]:
                tree.body = [node for node in tree.body if not (
                    isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == FORMATS[1])]
            read.add(file)
            names += [f'{file}, line {line}: {name!r}' for line, name in _names(tree)
                      if not (name == 'image' and file in CONTAINERS or name == 'text' and file in VALUES)]
    assert {'model_code/data.py', 'components/co_trainer/executor.py', 'serving/client.py'} <= read
    assert names == [], 'A modality is its own modules and a row of MODALITIES. Put what differs there.'


@pytest.mark.parametrize('source', ["if task.modality == 'image': pass", "x = {'audio': 1}", "x = sizes['video']",
                                    "def f(modality='image'): pass", "x = modality in ('audio', 'smell')"])
def test_a_branch_by_name_is_detected(source):
    assert len(_names(ast.parse(source))) == 1


@pytest.mark.parametrize('row', MODALITIES.values(), ids=MODALITIES)
def test_a_row_is_complete(row):
    spec = row.input_class()  # all fields have defaults
    assert isinstance(spec, Input) and spec.modality == row.name
    assert len(spec.grid) == len(spec.patch) == len(spec.shape) - 1
    assert set(row.reader_fields) <= spec.__dataclass_fields__.keys()
    assert row.limits.bytes and row.limits.decode_seconds and row.endings
    assert all(ending == ending.lower() and ending.startswith('.') for ending in row.endings + row.other_endings)
    reader = importlib.import_module(row.reader_module)
    assert list(inspect.signature(reader.read).parameters) == ['file', 'size', 'spec', 'limits', 'start', 'end']


def test_no_two_modalities_share_a_serving_input():
    assert len({row.feature for row in MODALITIES.values()}) == len(MODALITIES)


@pytest.mark.parametrize('row', MODALITIES.values(), ids=MODALITIES)
def test_the_schema_describes_what_the_reader_gives(row):
    schema = (PROJECT / 'schemas' / row.schema).read_text()
    names = [line.split('"')[1] for line in schema.splitlines() if line.strip().startswith('name:')]
    assert names == ['id', 'label', row.feature, *row.sizes, *row.levels]
